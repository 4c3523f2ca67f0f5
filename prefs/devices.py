"""Push tokens: of one device after another, and of one person's several devices."""

from collections.abc import Mapping
from dataclasses import replace

from sqlalchemy import Connection, select

from prefs import ledger, tables
from prefs.address import Channel
from prefs.ledger import Recorded, Said, Subject
from prefs.policy import Block, Event, Kind, Millis, Out, Standing

DOOR = "device"
_STAYS_WITH_THE_PERSON = (Block.MINOR, Block.RESTRICTED, Block.DO_NOT_CONTACT)


def register(
    connection: Connection,
    tenant: int,
    new: Subject,
    old: Subject | None,
    person: str | None,
    now: Millis,
) -> Recorded:
    """Writes down that an app has the token ``new``, in place of ``old`` if that is given.

    A token that replaces another is the same device: it takes over the whole history. Another
    device of the same person is a new place: it takes over the noes, and no consent.
    """
    others = _other_devices(connection, tenant, new, person) if person is not None else []
    # A no that arrives at the old token in this moment waits, and is then heard there.
    ledger.lock(connection, tenant, [new, *others, *([old] if old else [])])
    said: list[Said] = []
    if old is not None and old.digest != new.digest:
        said += _taken_over(connection, tenant, new, old, now)
    for other in others:
        said += _noes(new, other, ledger.standing(connection, tenant, other.digest), now)
    registered = Said(new, Event(Kind.REGISTERED, now, door=DOOR), person=person)
    return ledger.record_many(connection, tenant, [*said, registered])[-1]


def _taken_over(
    connection: Connection, tenant: int, new: Subject, old: Subject, now: Millis
) -> list[Said]:
    here = ledger.standing(connection, tenant, new.digest)
    if here.outs or here.consents or here.snoozes:
        # The person has spoken on the new token already: its yes stands, but no no is lost.
        there = ledger.standing(connection, tenant, old.digest)
        return _noes(new, old, there, now)
    # The same events in the same order fold to the same standing; only what they refer to
    # is counted from a later start.
    return [
        _copy(
            new,
            old,
            entry.seq,
            _moved(entry.event, here.seq),
            entry.evidence or {},
        )
        for entry in ledger.history(connection, tenant, old.digest)
    ]


def _moved(event: Event, by: int) -> Event:
    saw = None if event.saw is None else event.saw + by
    return replace(event, saw=saw, retracts=tuple(seq + by for seq in event.retracts))


def _noes(new: Subject, old: Subject, there: Standing, now: Millis) -> list[Said]:
    def event(word: Out) -> Event:
        return Event(
            Kind.OUT,
            now,
            word.scope,
            word.voice,
            said_at=word.said_at,
            clock=word.clock,
            door=word.door,
        )

    outs = [_copy(new, old, out.seq, event(out), {}) for out in there.outs]
    snoozes = [
        _copy(
            new,
            old,
            s.seq,
            Event(Kind.SNOOZE, now, s.scope, until=s.until, door=s.door),
            {},
        )
        for s in there.snoozes
    ]
    blocks = [
        _copy(new, old, b.seq, Event(Kind.BLOCK, now, block=b.block, door=b.door), {})
        for b in there.blocks
        if b.block in _STAYS_WITH_THE_PERSON
    ]
    return [*outs, *snoozes, *blocks]


def _copy(new: Subject, old: Subject, seq: int, event: Event, evidence: Mapping[str, str]) -> Said:
    # Registering again copies nothing twice.
    return Said(new, event, "device", f"{old.digest.hex()}.{seq}.{new.digest.hex()}", evidence)


def _other_devices(connection: Connection, tenant: int, new: Subject, person: str) -> list[Subject]:
    table = tables.address
    found = connection.execute(
        select(table.c.digest, table.c.value)
        .where(
            table.c.tenant_id == tenant,
            table.c.person == person,
            table.c.channel == Channel.PUSH,
            table.c.shared.is_(False),
            table.c.digest != new.digest,
        )
        .order_by(table.c.digest)
    )
    return [Subject(Channel.PUSH, bytes(digest), value) for digest, value in found]
