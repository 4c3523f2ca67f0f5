"""What became of a message that somebody sent, where that says something about the address."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from sqlalchemy import Connection

from prefs import ledger
from prefs.address import Address
from prefs.directory import Sender, Tenant
from prefs.ledger import Entry, Recorded, Said, Subject
from prefs.policy import (
    START_AFTER,
    Authority,
    Block,
    Event,
    Kind,
    Millis,
    Outcome,
    Voice,
)
from prefs.texts.carrying import also_on, carried, lock

DOOR = "delivery report"

DAY: Millis = 24 * 3_600_000
TIMES = 3
WITHIN: Millis = 30 * DAY
"""A phone that is off says the same as one that is gone: so often, on as many days, is gone."""


class Failure(StrEnum):
    """Why a message did not arrive, as far as that is about the address and not its sender."""

    STOPPED = "stopped"
    INVALID = "invalid"
    UNREACHABLE = "unreachable"
    PERHAPS_UNREACHABLE = "perhaps_unreachable"


@dataclass(frozen=True, slots=True)
class Undelivered:
    """A message of a sender's that did not arrive. ``code`` is the provider's own.

    ``failed_at`` is when, by the clock of ``source``, where we hear of it later.
    """

    sender: Sender
    to: Address = field(repr=False)
    failure: Failure
    code: str
    source: str
    id: str
    failed_at: Millis | None = None


def undelivered(
    connection: Connection, tenant: Tenant, message: Undelivered, now: Millis
) -> Recorded:
    """Records what a failed delivery says. The same report, heard again, changes nothing."""
    subject = Subject.of(tenant, message.to)
    if message.failure is Failure.STOPPED and message.failed_at is not None:
        lock(connection, tenant, [message.to])
        past = ledger.history(connection, tenant.id, subject.digest)
        if any(_started_since(entry, message.failed_at) for entry in past):
            # The block that it tells of is over: their START ended it.
            message = replace(message, failure=Failure.PERHAPS_UNREACHABLE)
            return ledger.record(connection, tenant.id, _said(subject, message, now))
    said = _said(subject, message, now)
    # The provider's block is of both channels of texts, as the STOP was.
    stopped = message.failure is Failure.STOPPED
    others = also_on(tenant, message.to) if stopped else []
    elsewhere = [carried(tenant, said, other) for other in others]
    recorded = ledger.record_many(connection, tenant.id, [said, *elsewhere])[0]
    is_new = recorded.outcome is not Outcome.DUPLICATE
    if is_new and message.failure is Failure.PERHAPS_UNREACHABLE:
        past = ledger.history(connection, tenant.id, subject.digest)
        if _is_gone([e.event.heard_at for e in past if e.event.kind is Kind.FAILED], now):
            block = Event(Kind.BLOCK, now, block=Block.UNREACHABLE, door=DOOR)
            return ledger.record(connection, tenant.id, Said(subject, block))
    return recorded


def _said(subject: Subject, message: Undelivered, now: Millis) -> Said:
    return Said(
        subject,
        _event(message, now),
        message.source,
        f"{message.id}.{message.code}",
        {"error": message.code, "from": message.sender.identity},
    )


def _started_since(entry: Entry, moment: Millis) -> bool:
    """Whether it is a START from later than ``moment``. Without a time of its own, one may have
    been said as long before it was heard as a provider goes on trying."""
    event = entry.event
    if event.kind is not Kind.LIFT or event.authority is not Authority.START:
        return False
    said_at = event.heard_at - START_AFTER if event.said_at is None else event.said_at
    return entry.outcome is Outcome.APPLIED and said_at > moment


def _event(message: Undelivered, now: Millis) -> Event:
    match message.failure:
        case Failure.STOPPED:
            return Event(
                Kind.OUT,
                now,
                message.sender.scope,
                Voice.STOP,
                Authority.PERSON,
                said_at=message.failed_at,
                clock="" if message.failed_at is None else message.source,
                door=DOOR,
            )
        case Failure.INVALID:
            return Event(Kind.BLOCK, now, block=Block.INVALID, door=DOOR)
        case Failure.UNREACHABLE:
            return Event(Kind.BLOCK, now, block=Block.UNREACHABLE, door=DOOR)
        case _:
            return Event(Kind.FAILED, now, door=DOOR)


def _is_gone(failures: list[Millis], now: Millis) -> bool:
    return len({failed // DAY for failed in failures if now - failed < WITHIN}) >= TIMES
