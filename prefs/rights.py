"""What a person may demand of us about themselves."""

from sqlalchemy import Connection, delete, update

from prefs import ledger, tables
from prefs.ledger import Recorded, Said, Subject
from prefs.policy import ALL, Authority, Event, Kind, Millis, Voice


def erase(connection: Connection, tenant: int, subject: Subject, now: Millis) -> Recorded:
    """Erases what could identify the person, and keeps their no.

    The address's value, its language, the sender's own id, letters and all evidence go; the
    digest and the events, which hold nothing personal, stay, and with them every no (GDPR
    Article 17(3)(b), (e)).
    Erasure is itself an out of all marketing.
    """
    unknown = subject._replace(value=None)
    ledger.lock(connection, tenant, [unknown])
    address, evidence = tables.address, tables.evidence
    letter, code = tables.letter, tables.one_time_code
    connection.execute(
        update(address)
        .where(address.c.tenant_id == tenant, address.c.digest == subject.digest)
        .values(value=None, person=None, shared=False, language=None, erased_at=now)
    )
    connection.execute(
        delete(evidence).where(evidence.c.tenant_id == tenant, evidence.c.digest == subject.digest)
    )
    connection.execute(
        update(letter)
        .where(letter.c.tenant_id == tenant, letter.c.digest == subject.digest)
        .values(value=None, text=None, due_at=None)
    )
    connection.execute(
        delete(code).where(code.c.tenant_id == tenant, code.c.digest == subject.digest)
    )
    event = Event(Kind.OUT, now, ALL, Voice.ERASURE, Authority.RIGHTS, door="erasure")
    return ledger.record(connection, tenant, Said(unknown, event))
