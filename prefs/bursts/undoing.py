"""Taking a burst back, by an operator and with a reason."""

from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from sqlalchemy import Connection

from prefs import ledger
from prefs.bursts.finding import Burst, Member, chunks, looked_up, words_of
from prefs.directory import BadEntry, Tenant
from prefs.ledger import Said, Subject
from prefs.policy import (
    Authority,
    Decision,
    Event,
    Kind,
    Message,
    Millis,
    Purpose,
    Standing,
    Topic,
    may_send,
)

UNDONE_AT_ONCE = 200
"""Members in one transaction: every address stays locked until it ends, on SQLite every other
writer waits, and who waits for five seconds is sent away."""


class Became(StrEnum):
    """What an undo did for a member."""

    UNDONE = "undone"
    REPEATED = "repeated"
    UNDONE_BEFORE = "undone_before"


class Turn(NamedTuple):
    """Whether a topic may be sent, before the undo and after it."""

    topic: Topic
    before: Decision
    after: Decision


class Touched(NamedTuple):
    member: Member
    became: Became
    retracted: tuple[int, ...]
    turns: tuple[Turn, ...]


class Undone(NamedTuple):
    """``left`` members are still to be undone: do it again."""

    burst: Burst
    touched: list[Touched]
    left: int

    def count(self, became: Became) -> int:
        return sum(one.became is became for one in self.touched)


def reasoned(reason: str) -> None:
    """Raises ``BadEntry`` where an undo is given no reason."""
    if not reason.strip() or len(reason) > 500:
        raise BadEntry("reason", "say in 1 to 500 characters why this was a machine")


def undo(
    connection: Connection,
    tenant: Tenant,
    burst: Burst,
    reason: str,
    by: str,
    now: Millis,
    most: int = UNDONE_AT_ONCE,
) -> Undone:
    """Takes the outs of a burst back, of at most so many members, and of none who repeated theirs.

    ``burst`` may have been found in an earlier transaction: which outs it has never changes, and
    what has become of them is looked up again. Everything else that was said stands. ``reason``
    and ``by`` are evidence, and can be erased. Raises ``BadEntry``.
    """
    reasoned(reason)
    waiting = [member for member in burst.members if member.waiting]
    chosen = waiting[:most]
    if chosen:
        # Who repeats a no at this very moment is waited for, or waits.
        ledger.lock(connection, tenant.id, [Subject(m.channel, m.digest) for m in chosen])
    words = words_of(connection, tenant, [member.digest for member in chosen])
    chosen = [looked_up(member, words[member.digest]) for member in chosen]
    others = [member for member in burst.members if not member.waiting]
    before = _standings(connection, tenant, [*chosen, *others])
    evidence = {"reason": reason, "by": by, "burst": burst.id}
    ledger.record_many(
        connection,
        tenant.id,
        [
            Said(
                Subject(member.channel, member.digest),
                Event(
                    Kind.RETRACT,
                    now,
                    authority=Authority.OVERRIDE,
                    door="burst undo",
                    retracts=member.waiting,
                ),
                "burst",
                f"{burst.id}.{member.digest.hex()}.{member.waiting[0]}",
                evidence,
            )
            for member in chosen
            if member.waiting
        ],
    )
    after = before | _standings(connection, tenant, chosen)
    return Undone(
        burst,
        [
            _touched(tenant, member, before[member.digest], after[member.digest], now)
            for member in [*chosen, *others]
        ],
        len(waiting) - len(chosen),
    )


def _standings(
    connection: Connection, tenant: Tenant, members: Sequence[Member]
) -> dict[bytes, Standing]:
    found: dict[bytes, Standing] = {}
    for chunk in chunks([member.digest for member in members]):
        for digest, standing in ledger.standings(connection, tenant.id, chunk).items():
            # One that a newer release wrote is folded from its events.
            found[digest] = standing or ledger.standing(connection, tenant.id, digest)
    return found


def _touched(
    tenant: Tenant, member: Member, before: Standing, after: Standing, now: Millis
) -> Touched:
    if member.waiting:
        became = Became.UNDONE
    elif any(out.repeated and not out.undone for out in member.outs):
        became = Became.REPEATED
    else:
        became = Became.UNDONE_BEFORE
    turns = []
    for topic in tenant.topics.values():
        is_about_it = any(out.scope.covers(topic.scope) for out in member.outs)
        if topic.purpose is Purpose.MARKETING and member.channel in topic.offered and is_about_it:
            message = Message(topic, member.channel, member.address)
            turns.append(
                Turn(topic, *(may_send(message, standing, now) for standing in (before, after)))
            )
    return Touched(member, became, member.waiting, tuple(turns))
