"""What the ledger is told and what it tells."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from prefs.address import Address, Channel
from prefs.directory import Tenant
from prefs.policy import (
    NOTHING,
    Event,
    Kind,
    Outcome,
    Standing,
)

EMPTY = NOTHING.pack()


SENTENCES: Mapping[Kind, str] = {
    Kind.OUT: "Do not send: somebody opted out.",
    Kind.IN: "Somebody consented to one topic.",
    Kind.LIFT: "Outs were taken back; nothing was consented to.",
    Kind.SNOOZE: "Somebody asked for a pause until a date.",
    Kind.BLOCK: "A fact about the address stops marketing to it.",
    Kind.UNBLOCK: "That fact no longer holds.",
    Kind.REGISTERED: "An app told us of this push token.",
    Kind.LIMIT: "Somebody said how many messages a week they want about one topic.",
    Kind.PENDING: "A consent was asked for and is not confirmed yet.",
    Kind.REASON: "Somebody said why they had left.",
    Kind.TEXT: "Somebody sent a text that says nothing about being texted.",
    Kind.REVIEW: "Somebody sent a text that may be a no: a person must read it and decide.",
    Kind.REVIEWED: "Somebody has read that text and decided that it was no no.",
    Kind.FAILED: "A message did not reach the address.",
    Kind.RETRACT: "Events were taken back: a mistake of a machine or a file, or undone at once.",
}
"""Every kind of event in one sentence."""

ASKED: Mapping[Kind, str] = {
    Kind.IN: "Somebody would have consented to one topic.",
    Kind.LIFT: "Somebody asked that outs be taken back.",
    Kind.OUT: "A STOP came late: something later was heard before it.",
    Kind.LIMIT: "Somebody would have had more messages a week about one topic.",
    Kind.UNBLOCK: "Somebody asked that a block be ended.",
    Kind.REVIEWED: "Somebody has decided about a text that waits for no decision (any more).",
}


def sentence(kind: Kind, outcome: Outcome) -> str:
    """What an event says, in one sentence that is true of what became of it."""
    if outcome is Outcome.APPLIED:
        return SENTENCES[kind]
    return f"{ASKED.get(kind, SENTENCES[kind])} It changed nothing."


OUTCOMES: Mapping[Outcome, str] = {
    Outcome.APPLIED: "This holds from now on.",
    Outcome.REFUSED: "Recorded, and it changes nothing: it does not lift the no that stands.",
    Outcome.LATE: "Recorded, and it changes nothing: something later was heard before it.",
    Outcome.DUPLICATE: "This very event was recorded before; nothing changed.",
}


class Subject(NamedTuple):
    """Whom an event is about: an address as the tenant knows it. Its value may be unknown.

    ``language`` is given where its author knows which one the person reads.
    """

    channel: Channel
    digest: bytes
    value: str | None = None
    language: str | None = None

    @classmethod
    def of(cls, tenant: Tenant, address: Address) -> "Subject":
        return cls(address.channel, tenant.digest(address), address.value)


@dataclass(frozen=True, slots=True)
class Said:
    """One event on its way into the ledger.

    ``source`` and ``source_id`` name the event where it came from, such as a provider and its
    message id: the same pair is recorded once, ever. ``evidence`` is what may identify
    someone; it is kept apart and can be erased. ``person`` is the sender's own id.
    """

    subject: Subject
    event: Event
    source: str | None = None
    source_id: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    person: str | None = None
    batch: int | None = None


class Recorded(NamedTuple):
    """What became of it, and the standing before and after."""

    outcome: Outcome
    before: Standing
    standing: Standing

    @property
    def seq(self) -> int:
        return self.standing.seq


class Entry(NamedTuple):
    """One line of a history."""

    seq: int
    event: Event
    outcome: Outcome
    source: str | None
    source_id: str | None
    evidence: Mapping[str, str] | None


class Known(NamedTuple):
    """An address and what is known of it."""

    digest: bytes
    value: str | None
    standing: Standing
    language: str | None = None


class Cursor(NamedTuple):
    """A place in the order of commit: all up to here has been seen."""

    xact: int = 0
    position: int = 0

    def __str__(self) -> str:
        return f"{self.xact}.{self.position}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Raises ValueError for what is no cursor."""
        xact, position = map(int, text.split("."))
        return cls(xact, position)


class Change(NamedTuple):
    cursor: Cursor
    digest: bytes
    channel: Channel
    value: str | None
    seq: int
    event: Event
    outcome: Outcome


def unpacked(text: str | None) -> Standing:
    """The standing that was stored, ``NOTHING`` where nobody has said anything."""
    return NOTHING if text is None or text == EMPTY else Standing.unpack(text)


class Difference(NamedTuple):
    """An address whose standing is not what its events amount to.

    ``stored`` is None where it cannot be read, or where the whole row is gone.
    """

    digest: bytes
    stored: Standing | None
    folded: Standing
