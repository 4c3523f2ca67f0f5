"""Push tokens: of one device after another, and of one person's several devices."""

from sqlalchemy import Connection

from prefs import ledger
from prefs.address import Channel
from prefs.ledger import Recorded, Said, Subject
from prefs.policy import OF_THE_PERSON, Block, Event, Kind, Millis, Out, Outcome, Standing

DOOR = "device"


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
    others = []
    if person is not None:
        mine = ledger.of_person(connection, tenant, person, Channel.PUSH)
        others = [device for device in mine if device.digest != new.digest]
    # A no that arrives at the old token in this moment waits, and then goes on to the new one.
    rows = ledger.lock(connection, tenant, [new, *others, *([old] if old else [])])
    said: list[Said] = []
    if old is not None and old.digest != new.digest:
        said += _taken_over(connection, tenant, new, old, now)
        gone = Event(Kind.BLOCK, now, block=Block.UNREACHABLE, door=DOOR)
        said.append(Said(old, gone, "device", f"{old.digest.hex()}.replaced.{new.digest.hex()}"))
    for other in others:
        said += _noes(new, other, ledger.standing(connection, tenant, other.digest), now)
    recorded = ledger.record_many(connection, tenant, said)
    standing = ledger.standing(connection, tenant, new.digest)
    is_news = any(one.outcome is not Outcome.DUPLICATE for one in recorded)
    same_person = person in (None, rows[new.digest].person)
    if standing.seq and same_person and not is_news and not standing.blocks:
        # Apps tell of their token at every start.
        return Recorded(Outcome.DUPLICATE, standing, standing)
    registered = Said(new, Event(Kind.REGISTERED, now, door=DOOR), person=person)
    told = ledger.record(connection, tenant, registered)
    if old is not None and old.digest != new.digest:
        ledger.replace_token(connection, tenant, old, new)
    return told


def _taken_over(
    connection: Connection, tenant: int, new: Subject, old: Subject, now: Millis
) -> list[Said]:
    if ledger.standing(connection, tenant, new.digest).seq:
        # The new token has been heard of already: what was said there stands, and no no is lost.
        return _noes(new, old, ledger.standing(connection, tenant, old.digest), now)
    # The same events in the same order fold to the same standing.
    return [
        ledger.carried(entry.event, old, entry.seq, new)
        for entry in ledger.history(connection, tenant, old.digest)
    ]


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

    outs = [ledger.carried(event(out), old, out.seq, new) for out in there.outs]
    snoozes = [
        ledger.carried(
            Event(Kind.SNOOZE, now, s.scope, until=s.until, door=s.door), old, s.seq, new
        )
        for s in there.snoozes
    ]
    blocks = [
        ledger.carried(Event(Kind.BLOCK, now, block=b.block, door=b.door), old, b.seq, new)
        for b in there.blocks
        if b.block in OF_THE_PERSON
    ]
    limits = [
        ledger.carried(
            Event(Kind.LIMIT, now, m.scope, per_week=m.per_week, door=m.door), old, m.seq, new
        )
        for m in there.limits
    ]
    return [*outs, *snoozes, *blocks, *limits]
