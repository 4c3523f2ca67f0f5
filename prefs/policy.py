"""The policy: what was said, what it amounts to, and whether a message may be sent.

Two pure functions. ``after(standing, event)`` folds one event into a standing;
``may_send(message, standing, now)`` answers the sender's question in the order
counsel reads it. Nothing here knows a database, a clock, a setting or HTTP, and
nothing else in the project decides anything.

All times are whole milliseconds since the epoch, UTC.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial
from typing import NamedTuple, TypeVar

import orjson

from prefs.address import Address, Channel

Millis = int
_EPOCH = datetime(1970, 1, 1)


def written(moment: Millis) -> str:
    """The moment as every door writes it: ISO 8601, UTC, to the millisecond."""
    return f"{(_EPOCH + timedelta(milliseconds=moment)).isoformat(timespec='milliseconds')}Z"


RELY_FOR: Millis = 60_000
"""How long a decision may be relied on. Ask again for each message, not for each campaign."""

START_AFTER: Millis = 120_000
"""A START without a provider's time counts as later than a STOP heard longer ago than this.

By then the provider has given up retrying the webhook, so the STOP cannot be the
delayed copy of something said before the START.
"""

MOST_REVIEWS = 50
"""Texts of one address that wait to be read. A machine that answers each of ours with another would
make its standing longer for ever."""

CLOCK_STEP: Millis = 1_000
"""Providers stamp whole seconds; two stamps closer than this have no known order."""


class BadEvent(ValueError):
    """An event that cannot mean anything: an ``in`` to a brand, a snooze without a date."""


class Purpose(StrEnum):
    MARKETING = "marketing"
    TRANSACTIONAL = "transactional"


class Mode(StrEnum):
    """The consent model of a topic on one channel."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"


class Kind(StrEnum):
    """What an event says."""

    OUT = "out"
    IN = "in"
    LIFT = "lift"
    SNOOZE = "snooze"
    BLOCK = "block"
    UNBLOCK = "unblock"
    REGISTERED = "registered"
    LIMIT = "limit"
    PENDING = "pending"
    REASON = "reason"
    TEXT = "text"
    REVIEW = "review"
    REVIEWED = "reviewed"
    FAILED = "failed"
    RETRACT = "retract"


class Voice(StrEnum):
    """Whose no it is, from the easiest to take back to the hardest."""

    SENDER = "sender"
    STOP = "stop"
    PERSON = "person"
    ERASURE = "erasure"
    COMPLAINT = "complaint"


class Authority(StrEnum):
    """In whose right an ``in``, ``lift``, ``snooze`` or ``unblock`` is said."""

    IMPORT = "import"
    SENDER = "sender"
    START = "start"
    OVERRIDE = "override"
    PERSON = "person"
    CONFIRMED = "confirmed"
    CONFIRMED_OVER_COMPLAINT = "confirmed_over_complaint"
    RIGHTS = "rights"


class Block(StrEnum):
    """A fact about an address that is not a wish."""

    HARD_BOUNCE = "hard_bounce"
    INVALID = "invalid"
    UNREACHABLE = "unreachable"
    REASSIGNED = "reassigned"
    MINOR = "minor"
    RESTRICTED = "restricted"
    DO_NOT_CONTACT = "do_not_contact"


class Outcome(StrEnum):
    """What became of an event. ``duplicate`` is never stored: the event already was."""

    APPLIED = "applied"
    REFUSED = "refused"
    LATE = "late"
    DUPLICATE = "duplicate"


class Verdict(StrEnum):
    ALLOW = "allow"
    DENY = "deny"
    HOLD = "hold"


class Scope(NamedTuple):
    """What an event is about: all marketing, one brand, or one topic of a brand."""

    brand: int | None = None
    topic: int | None = None

    def covers(self, other: "Scope") -> bool:
        if self.topic is not None:
            # A link to a topic that is gone knows no brand, and its no still counts.
            return self.topic == other.topic
        return self.brand is None or self.brand == other.brand


ALL = Scope()

_BY_PERSON = frozenset({Voice.SENDER, Voice.PERSON, Voice.STOP})
MAY_LIFT: Mapping[Authority, frozenset[Voice]] = {
    Authority.IMPORT: frozenset(),
    Authority.SENDER: frozenset({Voice.SENDER}),
    Authority.START: frozenset({Voice.STOP}),
    Authority.OVERRIDE: _BY_PERSON,
    Authority.PERSON: _BY_PERSON,
    Authority.CONFIRMED: _BY_PERSON | {Voice.ERASURE},
    Authority.CONFIRMED_OVER_COMPLAINT: _BY_PERSON | {Voice.ERASURE, Voice.COMPLAINT},
    Authority.RIGHTS: frozenset(),
}
"""Whose outs each authority may take back. A snooze is always the person's own voice."""

_CONFIRMED = frozenset({Authority.CONFIRMED, Authority.CONFIRMED_OVER_COMPLAINT})
_ENDED_BY_REGISTERING = frozenset({Block.HARD_BOUNCE, Block.INVALID, Block.UNREACHABLE})
_ENDED_BY_CONFIRMING = _ENDED_BY_REGISTERING | {Block.REASSIGNED}
OF_THE_PERSON = frozenset({Block.MINOR, Block.RESTRICTED, Block.DO_NOT_CONTACT})
"""Blocks that are about somebody and not about an address. They end through the rights desk."""
_STRENGTH = {voice: rank for rank, voice in enumerate(Voice)}
_GRAVITY = {block: rank for rank, block in enumerate(Block)}


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that was said or happened to an address.

    ``heard_at`` is our clock when it reached us; ``said_at`` is when it was said
    as far as its author knows, on the provider's clock named by ``clock`` if there
    is one. ``saw`` is the address's ``seq`` that the author had in front of them; of a START,
    up to which the provider's own times, looked up, show it to be later.
    ``until`` ends a consent or a snooze. ``rule`` is what a text was read by, with its version.
    A STOP was ``to_transactional`` if it answered a transactional message, and ``ours_alone``
    if neither provider nor carrier took it for one, so that they block nothing. ``per_week`` is
    how many messages a week a limit leaves; 0 takes the limit away. Raises ``BadEvent`` where the
    parts contradict each other.
    """

    kind: Kind
    heard_at: Millis
    scope: Scope = ALL
    voice: Voice | None = None
    authority: Authority = Authority.IMPORT
    said_at: Millis | None = None
    clock: str = ""
    saw: int | None = None
    until: Millis | None = None
    basis: str = ""
    block: Block | None = None
    per_week: int | None = None
    door: str = ""
    rule: str = ""
    to_transactional: bool = False
    ours_alone: bool = False
    retracts: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.scope.topic is not None and self.scope.brand is None:
            raise BadEvent("a topic's scope names its brand too")
        if self.kind is Kind.OUT:
            if self.voice is None:
                raise BadEvent("an out needs the voice that said it")
            if self.voice in (Voice.COMPLAINT, Voice.ERASURE) and self.scope != ALL:
                raise BadEvent(f"{self.voice} is always an out of all")
        elif self.kind is Kind.IN:
            if self.scope.topic is None:
                raise BadEvent("an in is about one topic, never a brand or all")
            if self.authority in (Authority.START, Authority.RIGHTS):
                raise BadEvent(f"{self.authority} consents to nothing")
        elif self.kind is Kind.LIMIT and (self.scope.topic is None or self.per_week is None):
            raise BadEvent("a limit is about one topic, and says how many a week")
        elif self.kind is Kind.SNOOZE and self.until is None:
            raise BadEvent("a snooze needs the date it ends")
        elif self.kind in (Kind.BLOCK, Kind.UNBLOCK) and self.block is None:
            raise BadEvent(f"{self.kind} needs the name of the block")
        elif self.kind is Kind.REVIEWED and self.saw is None:
            raise BadEvent("a decision about a text names the number that it was about")
        elif self.kind is Kind.RETRACT and not self.retracts:
            raise BadEvent("a retract names the events it takes back")
        if self.retracts and self.kind is not Kind.RETRACT:
            raise BadEvent("only a retract takes events back")


class Out(NamedTuple):
    scope: Scope
    voice: Voice
    clock: str
    seq: int
    heard_at: Millis
    said_at: Millis
    door: str
    to_transactional: bool = False
    ours_alone: bool = False


class Consent(NamedTuple):
    """An ``in`` that was applied. It beats every out and snooze said before it, ``but_not`` some.

    Those are words that an older consent was holding off and that this one's author could
    not have lifted: otherwise an import could prolong what only the person may allow.
    """

    scope: Scope
    seq: int
    but_not: tuple[int, ...]
    until: Millis | None
    basis: str
    heard_at: Millis
    door: str

    def lasts(self, now: Millis) -> bool:
        return self.until is None or self.until > now

    def beats(self, word: "Out | Snooze | Review") -> bool:
        return self.seq > word.seq and word.seq not in self.but_not


class Snooze(NamedTuple):
    scope: Scope
    seq: int
    until: Millis
    heard_at: Millis
    door: str


class Review(NamedTuple):
    """A text that may be a no. Until somebody has decided, nothing it could be about is sent."""

    scope: Scope
    seq: int
    heard_at: Millis
    door: str


class Limit(NamedTuple):
    """At most ``per_week`` messages about a topic. The sender counts; we tell."""

    scope: Scope
    seq: int
    per_week: int
    heard_at: Millis
    door: str


class Blocked(NamedTuple):
    block: Block
    seq: int
    heard_at: Millis
    door: str


class Start(NamedTuple):
    """The latest START of a scope by one provider's clock, so that an older STOP is known late."""

    scope: Scope
    clock: str
    said_at: Millis


@dataclass(frozen=True, slots=True)
class Standing:
    """All that an address's events amount to. ``seq`` is the number of the last one."""

    seq: int = 0
    outs: tuple[Out, ...] = ()
    consents: tuple[Consent, ...] = ()
    snoozes: tuple[Snooze, ...] = ()
    blocks: tuple[Blocked, ...] = ()
    starts: tuple[Start, ...] = ()
    limits: tuple[Limit, ...] = ()
    reviews: tuple[Review, ...] = ()

    @property
    def stopped(self) -> bool:
        """Whether a STOP is on record."""
        return any(out.voice is Voice.STOP for out in self.outs)

    @property
    def carrier_blocks(self) -> bool:
        """Whether a STOP is on record that the carrier heard too."""
        return any(out.voice is Voice.STOP and not out.ours_alone for out in self.outs)

    def objects(self, scope: Scope, now: Millis) -> bool:
        """Whether a no, perhaps one, or a pause that covers ``scope`` is in force."""
        return bool(
            _in_force(self.outs, scope, self, now)
            or _in_force(self.snoozes, scope, self, now)
            or _in_force(self.reviews, scope, self, now)
        )

    @property
    def unread(self) -> tuple[Review, ...]:
        """The texts that somebody has to read: not those that a no in force has made clear."""
        noes = [out for out in self.outs if out.voice is not Voice.SENDER]
        return tuple([r for r in self.reviews if not any(self._clears(no, r) for no in noes)])

    def _clears(self, no: Out, review: Review) -> bool:
        """Whether nothing is left for ``review`` to hold: no consent beats ``no`` alone."""
        agreed = [c for c in self.consents if review.scope.covers(c.scope)]
        return no.scope.covers(review.scope) and not any(
            consent.beats(no) and not consent.beats(review) for consent in agreed
        )

    def has_left(self, scope: Scope, now: Millis) -> bool:
        """Whether the person's own no to ``scope`` is in force."""
        outs = _in_force(self.outs, scope, self, now)
        return any(out.voice is Voice.PERSON for out in outs)

    def limit(self, scope: Scope) -> Limit | None:
        """How many messages a week the person wants of a topic, where they said so."""
        return next((limit for limit in self.limits if limit.scope == scope), None)

    def pack(self) -> str:
        """The standing as one line of JSON, the form in which it is stored."""
        flagged = any(out.to_transactional or out.ours_alone for out in self.outs)
        outs: tuple[tuple[object, ...], ...] = self.outs
        if not flagged:
            outs = tuple([tuple(out)[:_UNFLAGGED] for out in self.outs])
        form = (self.seq, outs, self.consents, self.snoozes, self.blocks, self.starts)
        # The simplest form that holds it: most are as short as they ever were.
        versioned: tuple[object, ...] = (1, *form)
        if self.reviews or flagged:
            versioned = (3, *form, self.limits, self.reviews)
        elif self.limits:
            versioned = (2, *form, self.limits)
        # orjson refuses a NamedTuple unless told that it is a tuple.
        return orjson.dumps(versioned, default=tuple).decode()

    @classmethod
    def unpack(cls, text: str | bytes) -> "Standing":
        """The reader of every form ever stored. Raises ValueError on any other."""
        try:
            version, seq, outs, consents, snoozes, blocks, starts, *more = orjson.loads(text)
            if (version, len(more)) not in ((1, 0), (2, 1), (3, 2)):
                raise ValueError("a standing of a version this release cannot read")
            return cls(
                seq,
                tuple([Out(Scope(*o[0]), Voice(o[1]), *o[2:]) for o in outs]),
                tuple([Consent(Scope(*c[0]), c[1], tuple(c[2]), *c[3:]) for c in consents]),
                tuple([Snooze(Scope(*s[0]), *s[1:]) for s in snoozes]),
                tuple([Blocked(Block(b[0]), *b[1:]) for b in blocks]),
                tuple([Start(Scope(*s[0]), *s[1:]) for s in starts]),
                tuple([Limit(Scope(*m[0]), *m[1:]) for m in more[0]]) if more else (),
                tuple([Review(Scope(*r[0]), *r[1:]) for r in more[1]]) if version == 3 else (),
            )
        except (TypeError, LookupError):
            raise ValueError("this is not a stored standing") from None


_UNFLAGGED = len(Out._fields) - len(Out._field_defaults)

NOTHING = Standing()
"""The standing of an address that nobody has said anything about."""


@dataclass(frozen=True, slots=True)
class Topic:
    """What a message is about.

    ``offered`` gives the consent model per channel it goes out on; ``at_most`` how many a week
    people may choose, if they may; ``texts`` its title and description in other languages.
    """

    scope: Scope
    slug: str
    title: str
    description: str
    purpose: Purpose
    offered: Mapping[Channel, Mode]
    at_most: tuple[int, ...] = ()
    texts: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class Message(NamedTuple):
    """What a sender is about to send, and to which address where that is known.

    ``topic`` is None where the tenant has no such topic. A no is kept for anything that might
    be an address; marketing goes to one that is valid, as a yes comes from one.
    """

    topic: Topic | None
    channel: Channel
    address: Address | None = None


class Ground(NamedTuple):
    """The event a decision rests on."""

    seq: int
    what: str
    scope: Scope
    voice: str
    when: Millis
    door: str


class Decision(NamedTuple):
    """``allow``, ``deny`` or ``hold``, why, and until when that may be relied on."""

    verdict: Verdict
    reason: str
    ground: Ground | None
    notes: tuple[str, ...]
    valid_until: Millis


OUT_REASONS: Mapping[Voice, str] = {
    Voice.COMPLAINT: "complained",
    Voice.ERASURE: "erased",
    Voice.PERSON: "opted_out",
    Voice.STOP: "replied_stop",
    Voice.SENDER: "sender_opted_out",
}

REASONS: Mapping[str, str] = {
    "transactional": "Transactional messages always pass.",
    "no_objection": "Nobody has said no, and this topic may be sent until someone does.",
    "consent": "There is consent to this topic on this channel.",
    "unknown_topic": "There is no such topic, so nobody can have agreed to it. Create it first.",
    "not_offered": "This topic is not offered on this channel. Configure it first.",
    "hard_bounce": "Mail to this address bounced for good.",
    "invalid": "This address does not exist.",
    "unreachable": "This address cannot be reached.",
    "reassigned": "This address belongs to somebody else now.",
    "minor": "This address belongs to a minor.",
    "restricted": "Processing of this person's data is restricted.",
    "do_not_contact": "This person is on the do-not-contact list.",
    "complained": "The person reported a message as spam.",
    "erased": "The person had their data erased.",
    "opted_out": "The person opted out.",
    "replied_stop": "The person replied STOP.",
    "sender_opted_out": "The sender took this address off.",
    "no_consent": "This topic needs consent on this channel and there is none.",
    "consent_expired": "The consent to this topic has expired.",
    "snoozed": "The person asked for a pause.",
    "in_review": "The person sent a text that may be a no. Somebody has to read it and decide.",
    "state_unknown": "What this person said cannot be known now. Keep the message, ask again.",
    "bad_address": "This is not an address. Correct it.",
    "bad_item": "This item cannot be read. Correct it.",
}
"""Every reason a decision can have, in one sentence each."""


def may_send(message: Message, standing: Standing, now: Millis) -> Decision:
    """Whether ``message`` may be sent to the address with this ``standing`` at ``now``."""
    topic = message.topic
    decide = partial(_decide, standing, now, topic)
    if topic is not None and topic.purpose is Purpose.TRANSACTIONAL:
        return decide(Verdict.ALLOW, "transactional")
    if topic is None:
        return decide(Verdict.HOLD, "unknown_topic")
    mode = topic.offered.get(message.channel)
    if mode is None:
        return decide(Verdict.HOLD, "not_offered")
    if standing.blocks:
        block = max(standing.blocks, key=lambda b: (_GRAVITY[b.block], b.seq))
        return decide(Verdict.DENY, block.block, block)
    if outs := _in_force(standing.outs, topic.scope, standing, now):
        out = max(outs, key=lambda o: (_STRENGTH[o.voice], o.seq))
        return decide(Verdict.DENY, OUT_REASONS[out.voice], out)
    consents = [c for c in standing.consents if c.scope == topic.scope]
    lasting = [c for c in consents if c.lasts(now)]
    if mode is Mode.OPT_IN and not lasting:
        if not consents:
            return decide(Verdict.DENY, "no_consent")
        last = max(consents, key=lambda c: (c.until or 0, c.seq))
        return decide(Verdict.DENY, "consent_expired", last)
    if snoozes := _in_force(standing.snoozes, topic.scope, standing, now):
        snooze = max(snoozes, key=lambda s: s.until)
        return decide(Verdict.DENY, "snoozed", snooze)
    if reviews := _in_force(standing.reviews, topic.scope, standing, now):
        return decide(Verdict.HOLD, "in_review", min(reviews, key=lambda r: r.seq))
    if lasting:
        consent = max(lasting, key=lambda c: (c.until is None, c.until or 0, c.seq))
        return decide(Verdict.ALLOW, "consent", consent)
    if message.address is not None and not message.address.can_consent:
        return decide(Verdict.HOLD, "bad_address")
    return decide(Verdict.ALLOW, "no_objection")


def hold(reason: str, now: Millis) -> Decision:
    """The answer where no standing could be read: keep the message and ask again."""
    return Decision(Verdict.HOLD, reason, None, (), now)


def _decide(
    standing: Standing,
    now: Millis,
    topic: Topic | None,
    verdict: Verdict,
    reason: str,
    word: "Word | None" = None,
) -> Decision:
    ground = _ground(word) if word is not None else None
    if standing is NOTHING:
        return Decision(verdict, reason, ground, (), now + RELY_FOR)
    notes: list[str] = [b.block.value for b in standing.blocks]
    if standing.stopped:
        notes.append("replied_stop")
    if standing.carrier_blocks:
        # The carrier or Twilio refuses the message (21610) until the person sends
        # START, whatever they switched on elsewhere.
        notes.append("carrier_will_block")
    if any(out.to_transactional for out in standing.outs):
        # FCC 24-24: a STOP in direct reply to an informational text is about those too. That
        # transactional messages pass is our promise, and no safe harbour for texts.
        notes.append("replied_stop_to_transactional")
    if standing.unread:
        notes.append("in_review")
    if topic is not None and (limit := standing.limit(topic.scope)):
        notes.append(f"at_most_{limit.per_week}_a_week")
    turns = [c.until for c in standing.consents if c.until is not None]
    turns += [s.until for s in standing.snoozes]
    until = min([t for t in turns if t > now], default=now + RELY_FOR)
    return Decision(verdict, reason, ground, tuple(notes), min(until, now + RELY_FOR))


Word = Out | Consent | Snooze | Blocked | Review
_KINDS = {
    Out: Kind.OUT,
    Consent: Kind.IN,
    Snooze: Kind.SNOOZE,
    Blocked: Kind.BLOCK,
    Review: Kind.REVIEW,
}


def _ground(word: Word) -> Ground:
    return Ground(
        word.seq,
        _KINDS[type(word)],
        ALL if isinstance(word, Blocked) else word.scope,
        word.voice if isinstance(word, Out) else "",
        word.said_at if isinstance(word, Out) else word.heard_at,
        word.door,
    )


def after(standing: Standing, event: Event) -> tuple[Standing, Outcome]:
    """The standing once ``event`` has been heard, and what became of the event.

    Events are folded in the order of commit. Every one of them takes a ``seq``,
    whatever its outcome.
    """
    if event.saw is not None and event.saw > standing.seq and event.kind is not Kind.REVIEWED:
        # Nobody was shown what has not happened.
        event = replace(event, saw=None)
    now = replace(standing, seq=standing.seq + 1)
    match event.kind:
        case Kind.OUT:
            return _out(now, event)
        case Kind.IN:
            return _in(now, event)
        case Kind.LIFT:
            return _lift(now, event)
        case Kind.SNOOZE:
            return _snooze(now, event)
        case Kind.LIMIT:
            return _limit(now, event)
        case Kind.BLOCK:
            return _block(now, event)
        case Kind.REVIEW:
            if len(now.reviews) >= MOST_REVIEWS:
                # Nothing is sent as it is, and enough of them wait to be read.
                return now, Outcome.REFUSED
            review = Review(event.scope, now.seq, event.heard_at, event.door)
            return replace(now, reviews=(*now.reviews, review)), Outcome.APPLIED
        case Kind.REVIEWED:
            return _reviewed(now, event)
        case Kind.UNBLOCK:
            if event.authority is Authority.RIGHTS and event.block in OF_THE_PERSON:
                return _without_blocks(now, frozenset({event.block})), Outcome.APPLIED
            return now, Outcome.REFUSED
        case Kind.REGISTERED:
            return _without_blocks(now, _ENDED_BY_REGISTERING), Outcome.APPLIED
        case _:
            # Pending: asking is not an answer. Reason: why, and not what. Text: talk. Failed: one
            # message that did not arrive. Retract: it speaks through `fold`.
            return now, Outcome.APPLIED


def taken_back(retracts: Mapping[int, Iterable[int]]) -> set[int]:
    """Which events were retracted, by what each event, under its number, takes back."""
    gone: set[int] = set()
    for seq in sorted(retracts, reverse=True):
        # It reaches back only, or it would silence a no yet to come. One that was itself
        # taken back takes nothing back.
        if seq not in gone:
            gone.update(s for s in retracts[seq] if s < seq)
    return gone


def fold(events: Iterable[Event]) -> tuple[Standing, list[Outcome]]:
    """The standing that a whole history amounts to, without what was retracted."""
    history = list(events)
    gone = taken_back({seq: event.retracts for seq, event in enumerate(history, start=1)})
    standing, outcomes = NOTHING, []
    for seq, event in enumerate(history, start=1):
        if seq in gone:
            standing = replace(standing, seq=seq)
            outcomes.append(Outcome.REFUSED)
        else:
            standing, outcome = after(standing, event)
            outcomes.append(outcome)
    return standing, outcomes


def _out(now: Standing, event: Event) -> tuple[Standing, Outcome]:
    assert event.voice is not None
    clock = event.clock if event.said_at is not None else ""
    said_at = event.heard_at if event.said_at is None else event.said_at
    if event.voice is Voice.STOP:
        starts = [s for s in now.starts if s.clock == clock and s.scope.covers(event.scope)]
        if any(start.said_at - said_at >= CLOCK_STEP for start in starts):
            return now, Outcome.LATE
    key = (event.scope, event.voice, clock)
    same = [o for o in now.outs if (o.scope, o.voice, o.clock) == key]
    out = Out(
        *key,
        seq=now.seq,
        heard_at=max([event.heard_at, *(o.heard_at for o in same)]),
        said_at=max([said_at, *(o.said_at for o in same)]),
        door=event.door,
        to_transactional=any([event.to_transactional, *(o.to_transactional for o in same)]),
        ours_alone=all([event.ours_alone, *(o.ours_alone for o in same)]),
    )
    kept = tuple([o for o in now.outs if o not in same])
    return replace(now, outs=(*kept, out)), Outcome.APPLIED


def _in(now: Standing, event: Event) -> tuple[Standing, Outcome]:
    outs = _in_force(now.outs, event.scope, now, event.heard_at)
    if not all(_lifts(event, out) for out in outs):
        return now, Outcome.REFUSED
    words: list[Out | Snooze | Review] = [*now.outs, *now.snoozes, *now.reviews]
    held = [w.seq for w in words if w.scope.covers(event.scope) and not _lifts(event, w)]
    consent = Consent(
        event.scope,
        now.seq,
        tuple(held),
        event.until,
        event.basis,
        event.heard_at,
        event.door,
    )
    kept = [c for c in now.consents if c.scope != event.scope or not _outdone(c, consent)]
    if event.authority in _CONFIRMED:
        now = _without_blocks(now, _ENDED_BY_CONFIRMING)
    return replace(now, consents=(*kept, consent)), Outcome.APPLIED


No = TypeVar("No", Out, Snooze, Review)


def _in_force(words: Iterable[No], scope: Scope, standing: Standing, now: Millis) -> list[No]:
    """Those of ``words`` that cover ``scope``, are not over, and that no consent to it beats."""
    agreed = [c for c in standing.consents if c.scope == scope and c.lasts(now)]
    return [
        word
        for word in words
        if word.scope.covers(scope)
        and (not isinstance(word, Snooze) or word.until > now)
        and not any(consent.beats(word) for consent in agreed)
    ]


def _outdone(old: Consent, new: Consent) -> bool:
    """Whether ``old`` can never again make a difference beside ``new``."""
    longer = new.until is None or (old.until is not None and new.until >= old.until)
    return longer and all(seq > old.seq or seq in old.but_not for seq in new.but_not)


def _lift(now: Standing, event: Event) -> tuple[Standing, Outcome]:
    if event.authority is Authority.START:
        # "In its sender's scope and any narrower one", and of the voice `stop` alone.
        stops = [o for o in now.outs if o.voice is Voice.STOP]
        perhaps: list[Out | Snooze | Review] = [*stops, *now.reviews]
        asked = [word for word in perhaps if event.scope.covers(word.scope)]
        now = _started(now, event)
    else:
        words: list[Out | Snooze | Review] = [*now.outs, *now.snoozes, *now.reviews]
        asked = [word for word in words if word.scope == event.scope]
    gone = [word for word in asked if _lifts(event, word)]
    if asked and not gone:
        return now, Outcome.REFUSED
    lifted = replace(
        now,
        outs=tuple([o for o in now.outs if o not in gone]),
        snoozes=tuple([s for s in now.snoozes if s not in gone]),
        reviews=tuple([r for r in now.reviews if r not in gone]),
    )
    return lifted, Outcome.APPLIED


def _started(now: Standing, event: Event) -> Standing:
    if not event.clock or event.said_at is None:
        return now
    key = (event.scope, event.clock)
    same = [s for s in now.starts if (s.scope, s.clock) == key]
    start = Start(*key, max([event.said_at, *(s.said_at for s in same)]))
    return replace(now, starts=(*(s for s in now.starts if s not in same), start))


def _lifts(event: Event, word: Out | Snooze | Limit | Review) -> bool:
    """Whether the author of ``event`` may take ``word`` back and spoke later than it."""
    voice = Voice.PERSON
    if isinstance(word, Out):
        voice = word.voice
    elif isinstance(word, Review):
        voice = Voice.STOP
    if voice not in MAY_LIFT[event.authority]:
        return False
    if isinstance(word, Out) and event.said_at is not None and word.clock == event.clock != "":
        return event.said_at - word.said_at >= CLOCK_STEP
    if event.saw is not None and word.seq <= event.saw:
        return True
    if event.authority is Authority.START:
        # Heard hours after it was said, as by reading the provider's log, it is as old as it is.
        spoken = event.heard_at if event.said_at is None else min(event.said_at, event.heard_at)
        return spoken - word.heard_at > START_AFTER
    if event.authority is not Authority.OVERRIDE or event.said_at is None:
        return False
    return word.heard_at < event.said_at <= event.heard_at


def _snooze(now: Standing, event: Event) -> tuple[Standing, Outcome]:
    assert event.until is not None
    until = event.until
    for s in now.snoozes:
        if s.scope == event.scope and not _lifts(event, s):
            until = max(until, s.until)
    kept = [s for s in now.snoozes if s.scope != event.scope]
    snooze = Snooze(event.scope, now.seq, until, event.heard_at, event.door)
    return replace(now, snoozes=(*kept, snooze)), Outcome.APPLIED


def _limit(now: Standing, event: Event) -> tuple[Standing, Outcome]:
    """Fewer holds at once; more again takes whoever may take the person's word back."""
    assert event.per_week is not None
    old = now.limit(event.scope)
    looser = old is not None and not 0 < event.per_week <= old.per_week
    if old is not None and looser and not _lifts(event, old):
        return now, Outcome.REFUSED
    kept = tuple([limit for limit in now.limits if limit.scope != event.scope])
    if event.per_week > 0:
        kept += (Limit(event.scope, now.seq, event.per_week, event.heard_at, event.door),)
    return replace(now, limits=kept), Outcome.APPLIED


def _reviewed(now: Standing, event: Event) -> tuple[Standing, Outcome]:
    assert event.saw is not None
    kept = [r for r in now.reviews if (r.scope, r.seq) != (event.scope, event.saw)]
    outcome = Outcome.APPLIED if len(kept) < len(now.reviews) else Outcome.REFUSED
    return replace(now, reviews=tuple(kept)), outcome


def _block(now: Standing, event: Event) -> tuple[Standing, Outcome]:
    assert event.block is not None
    kept = _without_blocks(now, frozenset({event.block}))
    blocked = Blocked(event.block, now.seq, event.heard_at, event.door)
    # A number or mailbox with a new owner: the old owner's yes is void, their no is not.
    consents = () if event.block is Block.REASSIGNED else kept.consents
    return replace(kept, blocks=(*kept.blocks, blocked), consents=consents), Outcome.APPLIED


def _without_blocks(now: Standing, names: frozenset[Block]) -> Standing:
    return replace(now, blocks=tuple([b for b in now.blocks if b.block not in names]))
