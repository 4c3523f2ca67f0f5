"""A text, and the event that it is.

Every text becomes one event, with the rule and version that read it: what says nothing is kept
too, because "I told you to stop" is answered with what was written.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sqlalchemy import Connection

from prefs import keywords, ledger, letters
from prefs.address import Address, Channel
from prefs.directory import Tenant
from prefs.keywords import Reading, Says
from prefs.ledger import Entry, Recorded, Said, Subject
from prefs.letters.asking import locked
from prefs.policy import (
    ALL,
    CLOCK_STEP,
    START_AFTER,
    Authority,
    Event,
    Kind,
    Millis,
    Purpose,
    Scope,
    Standing,
    Topic,
    Voice,
)
from prefs.texts import words
from prefs.texts.carrying import also_on, carried, lock
from prefs.texts.text import DOOR, Text

CLARIFY_WITHIN: Millis = 3_600_000
"""How long "reply 1 to keep Product news" may be answered. Without an answer, all is stopped, and a
"1" of the next day answers something else."""

LATEST = 12
"""Events of an address that are looked at for a START or STOP heard a moment ago."""


class Heard(NamedTuple):
    """What a text said, what became of it, and the one answer that is ours to give, if any.

    ``unsettled`` are the ids of texts of which only the provider knows which came first: ask it
    for their times, and ``settle``.
    """

    says: Says
    recorded: Recorded
    reply: str | None = None
    unsettled: tuple[str, ...] = ()


def hear(connection: Connection, tenant: Tenant, text: Text, now: Millis) -> Heard:
    """Records what a text says. Heard before: nothing changes, and the answer is the same."""
    return hear_many(connection, tenant, [text], now)[0]


def hear_many(
    connection: Connection, tenant: Tenant, said: Sequence[Text], now: Millis
) -> list[Heard]:
    """Records what texts say, those of one author in the order given, and each once."""
    lock(connection, tenant, [text.author for text in said])
    heard: dict[int, Heard] = {}
    # What answers a question of ours needs what was said before it; the rest is written together.
    together: list[_Read] = []
    for number, text in enumerate(said):
        reading = _read(tenant, text)
        asks_back = reading.says is Says.OUT and text.sender.clarifies
        may_answer = reading.says in (Says.NOTHING, Says.START, Says.HELP) and (
            keywords.yes_in(text.body) or words.choices(text.body)
        )
        if asks_back or may_answer:
            heard |= _record(connection, tenant, together, now)
            together = []
        answered = None
        if may_answer:
            answered = _yes(connection, tenant, text, now) or _kept(connection, tenant, text, now)
        if answered is not None:
            heard[number] = answered
            continue
        if reading.says is Says.NOTHING and text.taken_for is Says.START:
            reading = Reading(Says.START, f"{text.source}/start")
        event = _event(text, reading, now)
        evidence = _evidence(text)
        if asks_back:
            evidence |= _offer(connection, tenant, text, event.scope, now)
        subject = Subject.of(tenant, text.author)
        one = Said(subject, event, text.source, text.id, evidence)
        together.append(_Read(number, text, reading, one))
    heard |= _record(connection, tenant, together, now)
    return [heard[number] for number in range(len(said))]


class _Read(NamedTuple):
    """A text in its place among others, and the event that it is."""

    number: int
    text: Text
    reading: Reading
    said: Said


_ABOUT_TEXTS = (Says.OUT, Says.START, Says.REVIEW)


def _record(
    connection: Connection, tenant: Tenant, together: Sequence[_Read], now: Millis
) -> dict[int, Heard]:
    said = [one.said for one in together]
    about_texts = [one for one in together if one.reading.says in _ABOUT_TEXTS]
    elsewhere = [
        carried(tenant, one.said, other)
        for one in about_texts
        for other in also_on(tenant, one.text.author)
    ]
    recorded = ledger.record_many(connection, tenant.id, [*said, *elsewhere])
    return {
        one.number: Heard(
            one.reading.says,
            done,
            _reply(connection, tenant, one, done, now),
            _unsettled(connection, tenant, one, done, now),
        )
        for one, done in zip(together, recorded, strict=False)
    }


def _reply(
    connection: Connection, tenant: Tenant, one: _Read, recorded: Recorded, now: Millis
) -> str | None:
    if not one.text.is_ours_to_answer(now):
        return None
    return words.reply(connection, tenant, one.text, one.reading, recorded, one.said, now)


def _read(tenant: Tenant, text: Text) -> Reading:
    """What the rules and the provider make of it. A no of either is one, and doubt is kept."""
    reading = keywords.read(text.body, tenant.words)
    if reading.says is Says.OUT or text.taken_for in (None, Says.NOTHING, reading.says):
        return reading
    if text.taken_for is Says.OUT:
        return Reading(Says.OUT, f"{text.source}/stop")
    if reading.says is Says.REVIEW or keywords.yes_in(text.body):
        return reading
    return Reading(text.taken_for or Says.NOTHING, f"{text.source}/{text.taken_for}")


def _event(text: Text, reading: Reading, now: Millis) -> Event:
    rule = f"{reading.rule or 'none'} {keywords.VERSION}"
    clock = text.source if text.said_at is not None else ""
    scope = ALL if reading.everything else text.sender.scope
    match reading.says:
        case Says.OUT:
            return Event(
                Kind.OUT,
                now,
                scope,
                Voice.STOP,
                Authority.PERSON,
                said_at=text.said_at,
                clock=clock,
                door=DOOR,
                rule=rule,
                to_transactional=text.sender.purpose == Purpose.TRANSACTIONAL,
                ours_alone=text.taken_for is not Says.OUT,
            )
        case Says.START:
            return Event(
                Kind.LIFT,
                now,
                text.sender.scope,
                authority=Authority.START,
                said_at=text.said_at,
                clock=clock,
                door=DOOR,
                rule=rule,
            )
        case Says.REVIEW:
            return Event(
                Kind.REVIEW,
                now,
                text.sender.scope,
                door=DOOR,
                rule=rule,
                to_transactional=text.sender.purpose == Purpose.TRANSACTIONAL,
            )
        case _:
            return Event(Kind.TEXT, now, ALL, door=DOOR, rule=rule)


def _evidence(text: Text) -> dict[str, str]:
    return {"text": text.body[: keywords.LONGEST], "to": text.sender.identity, **text.evidence}


# --- what is answered to a question of ours ---


def _yes(connection: Connection, tenant: Tenant, text: Text, now: Millis) -> Heard | None:
    """A YES to a question that we have asked by text; None if it answers nothing."""
    spoken = keywords.yes_in(text.body)
    if not spoken or text.author.channel is not Channel.SMS:
        return None
    agreed = letters.said_yes(
        connection,
        tenant,
        text.author,
        text.sender.brand_id,
        spoken,
        through=DOOR,
        evidence=_evidence(text),
        now=now,
        source=text.source,
        source_id=text.id,
        said_at=text.said_at,
    )
    if agreed is None:
        return None
    reply = None
    if text.is_ours_to_answer(now):
        reply = words.agreed(tenant, text, agreed)
    return Heard(Says.NOTHING, agreed.recorded, reply)


def _offer(
    connection: Connection, tenant: Tenant, text: Text, scope: Scope, now: Millis
) -> dict[str, str]:
    """The programmes that whoever says STOP may keep, where there is more than one to choose from.

    47 CFR 64.1200(a)(12) lets the confirmation ask. Where the carrier blocks, no answer of ours
    to what they choose would arrive, and nothing is asked.
    """
    subject = Subject.of(tenant, text.author)
    standing = locked(connection, tenant, subject)
    if not text.is_ours_to_answer(now):
        return {}
    if standing.stopped:
        # A webhook that comes again is answered as it was the first time.
        past = _latest(connection, tenant, subject, standing)
        first = next((e for e in past if (e.source, e.source_id) == (text.source, text.id)), None)
        said = (first.evidence or {}) if first else {}
        return {"offered": said["offered"]} if "offered" in said else {}
    had = words.gets(tenant, text, standing, scope, now)
    offered = had[: words.MOST_OFFERED] if len(had) > 1 else []
    return {"offered": " ".join(str(topic.scope.topic) for topic in offered)} if offered else {}


def _kept(connection: Connection, tenant: Tenant, text: Text, now: Millis) -> Heard | None:
    """What "1", or "1 2", keeps after a STOP whose confirmation offered it; None if nothing."""
    chosen = words.choices(text.body)
    if not chosen:
        return None
    subject = Subject.of(tenant, text.author)
    standing = locked(connection, tenant, subject)
    if ledger.heard(connection, tenant.id, text.source, text.id):
        # It was heard when it answered nothing, and comes again.
        return None
    past = _latest(connection, tenant, subject, standing)
    stop = next((e for e in reversed(past) if e.event.kind is Kind.OUT), None)
    offered = _offered_by(tenant, stop)
    if stop is None or max(chosen) > len(offered):
        return None
    is_over = now - stop.event.heard_at > CLARIFY_WITHIN
    # Read from the provider's log, it may be older than what it would answer.
    is_older = text.said_at is not None and text.said_at < stop.event.heard_at
    if is_over or is_older or (stop.evidence or {}).get("to") != text.sender.identity:
        return None
    keep = [offered[number - 1] for number in chosen]
    evidence = {**_evidence(text), "offered": " ".join(topic.slug for topic in offered)}
    said = [
        Said(subject, _keeping(topic, stop.seq, now), text.source, f"{text.id}.{number}", evidence)
        for number, topic in enumerate(keep, 1)
    ]
    recorded = ledger.record_many(connection, tenant.id, said)[-1]
    reply = None
    if text.is_ours_to_answer(now):
        reply = words.kept(connection, tenant, text, keep)
    return Heard(Says.NOTHING, recorded, reply)


def _keeping(topic: Topic, saw: int, now: Millis) -> Event:
    """The person's yes to one programme, which beats the STOP for that one alone."""
    return Event(
        Kind.IN,
        now,
        topic.scope,
        authority=Authority.PERSON,
        saw=saw,
        basis="express",
        door=DOOR,
        rule=f"own/clarified {keywords.VERSION}",
    )


def _offered_by(tenant: Tenant, stop: Entry | None) -> list[Topic]:
    """The topics that the confirmation of a STOP offered, in its order; none if one is gone."""
    ids = ((stop.evidence or {}).get("offered", "") if stop else "").split()
    scopes = [tenant.whole(Scope(None, int(number))) for number in ids]
    topics = [topic for scope in scopes if scope and (topic := tenant.topic_of(scope))]
    return topics if len(topics) == len(ids) else []


# --- which came first ---


def _latest(
    connection: Connection, tenant: Tenant, subject: Subject, standing: Standing
) -> list[Entry]:
    beyond = max(0, standing.seq - LATEST)
    return ledger.history(connection, tenant.id, subject.digest, beyond)


def _since(text: Text, now: Millis) -> Millis:
    return min(now, now if text.said_at is None else text.said_at) - START_AFTER


def _is_stop(entry: Entry) -> bool:
    event = entry.event
    is_out = event.kind is Kind.OUT and event.voice is Voice.STOP
    return is_out or event.kind is Kind.REVIEW


def _is_start(entry: Entry) -> bool:
    return entry.event.kind is Kind.LIFT and entry.event.authority is Authority.START


def _contested(past: Sequence[Entry], since: Millis) -> list[Entry]:
    """The STOPs and STARTs heard since then, where there are both and all of them are at hand."""
    if past and past[0].seq > 1 and past[0].event.heard_at >= since:
        return []
    recent = [e for e in past if e.event.heard_at >= since and (_is_stop(e) or _is_start(e))]
    return recent if any(map(_is_stop, recent)) and any(map(_is_start, recent)) else []


def _named(entry: Entry) -> str:
    return (entry.source_id or "").partition(".")[0]


def _time(entry: Entry, text: Text, times: Mapping[str, Millis]) -> Millis | None:
    """When the provider that carried ``text`` says that an earlier one was sent, if it did."""
    if entry.source != text.source:
        return None
    if entry.event.said_at is not None and entry.event.clock == text.source:
        return entry.event.said_at
    return times.get(_named(entry))


def _unsettled(
    connection: Connection, tenant: Tenant, one: _Read, recorded: Recorded, now: Millis
) -> tuple[str, ...]:
    text, before, after = one.text, recorded.before, recorded.standing
    was_out, is_out = (s.stopped or bool(s.reviews) for s in (before, after))
    is_no = one.reading.says in (Says.OUT, Says.REVIEW)
    # Of somebody's first word, and of another no after a no, there is nothing to ask.
    may_be = is_out and before.seq > 0 and (one.reading.says is Says.START or is_no)
    if not may_be or (was_out and is_no):
        return ()
    subject = Subject.of(tenant, text.author)
    past = _latest(connection, tenant, subject, after)
    contested = _contested(past, _since(text, now))
    if any(entry.source != text.source for entry in contested):
        return ()
    times = {} if text.said_at is None else {text.id: text.said_at}
    unknown = [_named(entry) for entry in contested if _time(entry, text, times) is None]
    return tuple(dict.fromkeys(unknown))


def settle(
    connection: Connection,
    tenant: Tenant,
    text: Text,
    heard: Heard,
    times: Mapping[str, Millis],
    now: Millis,
) -> Heard:
    """Lets a START that the provider's own times show to be the later one count.

    ``times`` are by message id. Where one of them is not known, or they are less than a second
    apart, the person stays out.
    """
    lock(connection, tenant, [text.author])
    settled = _settled(connection, tenant, text.author, text, times, now)
    for other in also_on(tenant, text.author):
        _settled(connection, tenant, other, text, times, now)
    if settled is None:
        return heard
    start, said, recorded = settled
    reply = None
    if start == text.id and text.is_ours_to_answer(now):
        reply = words.reply(connection, tenant, text, Reading(Says.START), recorded, said, now)
    return Heard(heard.says, recorded, reply)


def _settled(
    connection: Connection,
    tenant: Tenant,
    address: Address,
    text: Text,
    times: Mapping[str, Millis],
    now: Millis,
) -> tuple[str, Said, Recorded] | None:
    """The id of the START that counts at an address, and what is recorded of it, if one does."""
    subject = Subject.of(tenant, address)
    standing = ledger.standing(connection, tenant.id, subject.digest)
    past = _latest(connection, tenant, subject, standing)
    contested = _contested(past, _since(text, now))
    when = {entry.seq: _time(entry, text, times) for entry in contested}
    known = {seq: time for seq, time in when.items() if time is not None}
    if not contested or len(known) < len(contested):
        return None
    stops = [entry for entry in contested if _is_stop(entry)]
    start = max(filter(_is_start, contested), key=lambda entry: known[entry.seq])
    said_at = known[start.seq]
    if said_at - max(known[stop.seq] for stop in stops) < CLOCK_STEP:
        return None
    saw = max(stop.seq for stop in stops)
    event = Event(
        Kind.LIFT,
        now,
        start.event.scope,
        authority=Authority.START,
        said_at=said_at,
        clock=text.source,
        saw=saw,
        door=DOOR,
        rule=start.event.rule,
    )
    # Again for an older STOP that comes after this one was settled.
    source_id = f"{_named(start)}.settled.{saw}"
    if address != text.author:
        source_id = f"{source_id}.{address.channel}"
    said = Said(subject, event, text.source, source_id)
    return _named(start), said, ledger.record(connection, tenant.id, said)
