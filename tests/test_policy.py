"""The policy as a table of sentences: the ids of `test_the_policy`, read in order, are the policy.

`pytest --collect-only -q tests/test_policy.py` prints them.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import pytest

from prefs.address import Address, Channel
from prefs.policy import (
    ALL,
    NOTHING,
    OUT_REASONS,
    REASONS,
    RELY_FOR,
    Authority,
    BadEvent,
    Block,
    Decision,
    Event,
    Ground,
    Kind,
    Message,
    Millis,
    Mode,
    Outcome,
    Purpose,
    Scope,
    Standing,
    Topic,
    Verdict,
    Voice,
    after,
    fold,
    hold,
    may_send,
    written,
)

START_OF_TIME: Millis = 1_790_000_000_000
SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
MONTH, YEAR = 30 * DAY, 365 * DAY

EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH
ACME, PARTNER = Scope(1), Scope(2)
NEWS, EVENTS, ORDERS, DEALS = Scope(1, 10), Scope(1, 11), Scope(1, 12), Scope(2, 20)

ASKS = {EMAIL: Mode.OPT_OUT, SMS: Mode.OPT_IN}
TOPICS = {
    scope: Topic(scope, slug, slug, "", purpose, ASKS)
    for scope, slug, purpose in [
        (NEWS, "news", Purpose.MARKETING),
        (EVENTS, "events", Purpose.MARKETING),
        (ORDERS, "orders", Purpose.TRANSACTIONAL),
        (DEALS, "deals", Purpose.MARKETING),
    ]
}


def decide(
    history: list[Event], topic: Scope | None, channel: Channel = EMAIL, when: Millis = DAY
) -> Decision:
    standing, _ = fold(history)
    message = Message(TOPICS.get(topic) if topic else None, channel)
    return may_send(message, standing, START_OF_TIME + when)


# --- the words, as the table writes them: times count from the start of time ---


def said(kind: Kind, at: Millis, said_at: Millis | None = None, **parts: Any) -> Event:
    if said_at is not None:
        said_at += START_OF_TIME
    if parts.get("until") is not None:
        parts["until"] += START_OF_TIME
    return Event(kind, START_OF_TIME + at, said_at=said_at, **parts)


def out(scope: Scope = ALL, voice: Voice = Voice.PERSON, at: Millis = 0, **parts: Any) -> Event:
    return said(Kind.OUT, at, scope=scope, voice=voice, **parts)


def stop(at: Millis = 0, said_at: Millis | None = None, **parts: Any) -> Event:
    clock = "" if said_at is None else "twilio"
    return said(Kind.OUT, at, said_at, **{"voice": Voice.STOP, "clock": clock, **parts})


def start(at: Millis = HOUR, said_at: Millis | None = None, **parts: Any) -> Event:
    clock = "" if said_at is None else "twilio"
    return said(Kind.LIFT, at, said_at, **{"authority": Authority.START, "clock": clock, **parts})


def yes(
    scope: Scope = NEWS, by: Authority = Authority.PERSON, at: Millis = HOUR, **parts: Any
) -> Event:
    return said(Kind.IN, at, scope=scope, authority=by, **parts)


def lift(
    scope: Scope = ALL, by: Authority = Authority.PERSON, at: Millis = HOUR, **parts: Any
) -> Event:
    return said(Kind.LIFT, at, scope=scope, authority=by, **parts)


def snooze(
    until: Millis = MONTH, scope: Scope = ALL, by: Authority = Authority.PERSON, **parts: Any
) -> Event:
    return said(Kind.SNOOZE, parts.pop("at", 0), scope=scope, authority=by, until=until, **parts)


def block(name: Block, at: Millis = 0) -> Event:
    return said(Kind.BLOCK, at, block=name)


def unblock(name: Block, by: Authority = Authority.RIGHTS) -> Event:
    return said(Kind.UNBLOCK, HOUR, block=name, authority=by)


def registered() -> Event:
    return said(Kind.REGISTERED, HOUR)


def review(scope: Scope = ALL, at: Millis = 0) -> Event:
    return said(Kind.REVIEW, at, scope=scope)


def reviewed(saw: int, scope: Scope = ALL, at: Millis = HOUR) -> Event:
    return said(Kind.REVIEWED, at, scope=scope, saw=saw)


def pending() -> Event:
    return said(Kind.PENDING, HOUR, scope=NEWS)


def retract(*seqs: int, at: Millis = HOUR) -> Event:
    return said(Kind.RETRACT, at, retracts=seqs)


# --- the questions and the answers ---

ALLOWED = {"transactional", "no_objection", "consent"}
HELD = {"unknown_topic", "not_offered", "in_review"}


class Answer(NamedTuple):
    topic: Scope | None
    reason: str
    channel: Channel = EMAIL
    when: Millis = DAY


def news(reason: str, channel: Channel = EMAIL, when: Millis = DAY) -> Answer:
    return Answer(NEWS, reason, channel, when)


def events(reason: str, channel: Channel = EMAIL, when: Millis = DAY) -> Answer:
    return Answer(EVENTS, reason, channel, when)


def deals(reason: str, channel: Channel = EMAIL, when: Millis = DAY) -> Answer:
    return Answer(DEALS, reason, channel, when)


def orders(reason: str, channel: Channel = EMAIL, when: Millis = DAY) -> Answer:
    return Answer(ORDERS, reason, channel, when)


def that(sentence: str, history: list[Event], *answers: Answer, last: str = "applied") -> Any:
    """One sentence of the policy: what was said, what is answered, what became of the last word."""
    return pytest.param(history, answers, last, id=sentence)


PERSON, STOPPED, SENDER = Voice.PERSON, Voice.STOP, Voice.SENDER
COMPLAINED, ERASED = Voice.COMPLAINT, Voice.ERASURE
IMPORT, API, OVERRIDE = Authority.IMPORT, Authority.SENDER, Authority.OVERRIDE
CONFIRMED, PERMITTED = Authority.CONFIRMED, Authority.CONFIRMED_OVER_COMPLAINT

# fmt: off
POLICY = [
    # 1. Transactional
    that("a transactional message passes", [], orders("transactional")),
    that("... also on a channel that its topic names nowhere", [], orders("transactional", PUSH)),
    that("... after an out of all", [out()], orders("transactional")),
    that("... after an out of that very topic", [out(ORDERS)], orders("transactional")),
    that("... after STOP", [stop()], orders("transactional", SMS)),
    that("... after a spam complaint", [out(voice=COMPLAINED)], orders("transactional")),
    that("... after erasure", [out(voice=ERASED)], orders("transactional")),
    that("... during a snooze", [snooze()], orders("transactional")),
    *[that(f"... to an address that is {b}", [block(b)], orders("transactional"))
     for b in (Block.HARD_BOUNCE, Block.REASSIGNED, Block.MINOR, Block.DO_NOT_CONTACT)],
    # 2. Doubt
    that("a message about an unknown topic is held", [], Answer(None, "unknown_topic")),
    that("... even with consent to others", [yes()], Answer(None, "unknown_topic")),
    that("... and even after an out of all", [out()], Answer(None, "unknown_topic")),
    that("a topic not offered on the channel is held", [], news("not_offered", PUSH)),
    that("... even with consent to it", [yes()], news("not_offered", PUSH)),
    # Nothing said
    that("where nothing was said, an opt-out topic may be sent", [], news("no_objection")),
    that("... and an opt-in topic may not", [], news("no_consent", SMS)),
    that("an empty form says nothing", [], news("no_objection"), news("no_consent", SMS)),
    # 3. Blocks
    *[that(f"{b} denies", [block(b)], news(b), news(b, SMS), deals(b))
     for b in Block],
    that("a block denies whatever the person agreed to",
         [yes(at=0), block(Block.HARD_BOUNCE, at=HOUR)], news("hard_bounce")),
    that("a block is named before an out",
         [out(voice=COMPLAINED), block(Block.INVALID)], news("invalid")),
    that("of several blocks, the one that only the rights desk ends is named",
         [block(Block.DO_NOT_CONTACT), block(Block.HARD_BOUNCE)], news("do_not_contact")),
    that("a bounce told twice is one block",
         [block(Block.HARD_BOUNCE), block(Block.HARD_BOUNCE, at=MINUTE), registered()],
         news("no_objection")),
    *[that(f"{b} ends when the device registers again",
           [block(b), registered()], news("no_objection"))
     for b in (Block.HARD_BOUNCE, Block.INVALID, Block.UNREACHABLE)],
    *[that(f"{b} ends on a confirmed opt-in", [block(b), yes(by=CONFIRMED)], news("consent"))
     for b in (Block.HARD_BOUNCE, Block.INVALID, Block.UNREACHABLE, Block.REASSIGNED)],
    *[that(f"a hard bounce does not end on an opt-in by the authority {by}",
           [block(Block.HARD_BOUNCE), yes(by=by)], news("hard_bounce"))
     for by in (IMPORT, API, OVERRIDE, Authority.PERSON)],
    that("a confirmed opt-in that is refused ends no block",
         [out(voice=COMPLAINED), block(Block.HARD_BOUNCE), yes(by=CONFIRMED, saw=2)],
         news("hard_bounce"), last="refused"),
    that("reassigned does not end when a device registers",
         [block(Block.REASSIGNED), registered()], news("reassigned")),
    that("reassigned removes the consents before it, and ending it restores none",
         [yes(EVENTS, at=0), block(Block.REASSIGNED, at=MINUTE), yes(NEWS, CONFIRMED)],
         news("consent", SMS), events("no_consent", SMS)),
    that("... but never the outs",
         [out(EVENTS), block(Block.REASSIGNED, at=MINUTE), yes(NEWS, CONFIRMED)],
         events("opted_out")),
    that("... so an out that a removed consent had beaten is in force again",
         [out(EVENTS), yes(EVENTS, at=0, saw=1), block(Block.REASSIGNED), yes(NEWS, CONFIRMED)],
         events("opted_out")),
    that("another block leaves the consents",
         [yes(at=0), block(Block.HARD_BOUNCE), registered()], news("consent", SMS)),
    *[that(f"{b} does not end on a confirmed opt-in", [block(b), yes(by=PERMITTED)], news(b))
     for b in (Block.MINOR, Block.RESTRICTED, Block.DO_NOT_CONTACT)],
    *[that(f"{b} does not end when a device registers", [block(b), registered()], news(b))
     for b in (Block.MINOR, Block.RESTRICTED, Block.DO_NOT_CONTACT)],
    *[that(f"the rights desk ends {b}", [block(b), unblock(b)], news("no_objection"))
     for b in (Block.MINOR, Block.RESTRICTED, Block.DO_NOT_CONTACT)],
    *[that(f"{by} does not end minor",
           [block(Block.MINOR), unblock(Block.MINOR, by)], news("minor"), last="refused")
     for by in Authority if by is not Authority.RIGHTS],
    *[that(f"the rights desk does not end {b}", [block(b), unblock(b)], news(b), last="refused")
     for b in (Block.HARD_BOUNCE, Block.INVALID, Block.UNREACHABLE, Block.REASSIGNED)],
    that("the rights desk ends one block and leaves the others",
         [block(Block.MINOR), block(Block.RESTRICTED), unblock(Block.MINOR)], news("restricted")),
    # 4. Outs
    that("an out of a topic silences it", [out(NEWS)], news("opted_out"), news("opted_out", SMS)),
    that("... and no other topic", [out(NEWS)], events("no_objection"), deals("no_objection")),
    that("an out of a brand silences its topics",
         [out(ACME)], news("opted_out"), events("opted_out")),
    that("... and no other brand's", [out(ACME)], deals("no_objection")),
    that("an out of all silences all", [out()], news("opted_out"), deals("opted_out")),
    that("outs of every topic one by one are not an out of all",
         [out(NEWS), out(EVENTS)], deals("no_objection")),
    that("an out never expires", [out(NEWS)], news("opted_out", when=100 * YEAR)),
    that("an out holds at the very millisecond in which it was heard",
         [out(NEWS)], news("opted_out", when=0)),
    that("an out without consent to take back is still an out",
         [out(NEWS)], news("opted_out", SMS)),
    that("an out after consent silences", [yes(at=0), out(NEWS, at=HOUR)], news("opted_out", SMS)),
    that("an out of all after consent silences", [yes(at=0), out(at=HOUR)], news("opted_out", SMS)),
    that("an out said long before the consent, but heard after, silences",
         [yes(at=0), out(NEWS, at=HOUR, said_at=-YEAR)], news("opted_out")),
    that("an out said in the future silences now", [out(NEWS, said_at=YEAR)], news("opted_out")),
    that("an imported unsubscribe is the person's own", [out(NEWS)], news("opted_out")),
    that("the sender's own out denies", [out(NEWS, SENDER)], news("sender_opted_out")),
    that("a STOP silences every topic",
         [stop()], news("replied_stop", SMS), deals("replied_stop", SMS)),
    that("a STOP to one brand's number leaves the others",
         [stop(scope=ACME)], deals("no_objection")),
    that("a complaint silences all",
         [out(voice=COMPLAINED)], news("complained"), deals("complained")),
    that("erasure silences all", [out(voice=ERASED)], news("erased"), deals("erased")),
    that("a complaint is named before an erasure",
         [out(voice=COMPLAINED), out(voice=ERASED)], news("complained")),
    that("... an erasure before the person's own out",
         [out(voice=ERASED), out(NEWS)], news("erased")),
    that("... the person's own out before a STOP", [out(NEWS), stop()], news("opted_out")),
    that("... and a STOP before the sender's out",
         [stop(), out(NEWS, SENDER)], news("replied_stop")),
    that("a voice replaces no other: under a lifted STOP the person's out still holds",
         [out(), stop(at=MINUTE), start()], news("opted_out")),
    that("... and under the sender's lifted out",
         [out(NEWS), out(NEWS, SENDER), lift(NEWS, API, saw=2)], news("opted_out")),
    # 5. Consent
    that("an opt-in topic may be sent after consent", [yes()], news("consent", SMS)),
    that("consent to one topic is none to another", [yes()], events("no_consent", SMS)),
    that("a pending opt-in is no consent", [pending()], news("no_consent", SMS)),
    that("... and no objection", [pending()], news("no_objection")),
    that("... and lifts nothing", [out(NEWS), pending()], news("opted_out")),
    that("an imported consent counts where nobody said no", [yes(by=IMPORT)], news("consent", SMS)),
    that("so does one by the sender's API", [yes(by=API)], news("consent", SMS)),
    that("consent lasts until its expiry", [yes(until=DAY)], news("consent", SMS, when=DAY - 1)),
    that("... and not at that millisecond",
         [yes(until=DAY)], news("consent_expired", SMS, when=DAY)),
    that("... nor after", [yes(until=DAY)], news("consent_expired", SMS, when=YEAR)),
    that("an opt-out topic needs no consent, so an expired one is nothing to it",
         [yes(until=DAY)], news("no_objection", when=DAY)),
    that("consents stand side by side: a shorter one after a longer takes nothing away",
         [yes(until=YEAR), yes(until=DAY, by=API)], news("consent", SMS, when=MONTH)),
    that("... and one without end outlasts all",
         [yes(), yes(until=DAY)], news("consent", SMS, when=YEAR)),
    that("... and a longer one after a shorter lengthens",
         [yes(until=DAY), yes(until=YEAR, by=IMPORT)], news("consent", SMS, when=MONTH)),
    that("... when all have expired, consent has expired",
         [yes(until=DAY), yes(until=2 * DAY)], news("consent_expired", SMS, when=2 * DAY)),
    that("a consent that had expired when it was told is an expired one",
         [yes(at=HOUR, until=MINUTE)], news("consent_expired", SMS)),
    # in over out: authority
    that("an imported opt-in does not undo a person's opt-out",
         [out(NEWS), yes(by=IMPORT)], news("opted_out"), last="refused"),
    that("... not even with the standing in view",
         [out(NEWS), yes(by=IMPORT, saw=1)], news("opted_out"), last="refused"),
    that("... not even dated later",
         [out(NEWS), yes(by=IMPORT, said_at=MINUTE)], news("opted_out"), last="refused"),
    that("... not even the sender's own out",
         [out(NEWS, SENDER), yes(by=IMPORT, saw=1)], news("sender_opted_out"), last="refused"),
    that("... and what it could not undo, it does not grant elsewhere",
         [out(NEWS), yes(by=IMPORT)], events("no_consent", SMS), last="refused"),
    that("the sender's API takes back the sender's own out",
         [out(NEWS, SENDER), yes(by=API, saw=1)], news("consent")),
    that("... but no person's", [out(NEWS), yes(by=API, saw=1)], news("opted_out"), last="refused"),
    that("... no STOP", [stop(), yes(by=API, saw=1)], news("replied_stop"), last="refused"),
    that("... and not blindly",
         [out(NEWS, SENDER), yes(by=API)], news("sender_opted_out"), last="refused"),
    that("a person on a page takes back their own out", [out(NEWS), yes(saw=1)], news("consent")),
    that("... a STOP", [stop(), yes(saw=1)], news("consent", SMS)),
    that("... the sender's out", [out(NEWS, SENDER), yes(saw=1)], news("consent")),
    that("... all three at once",
         [out(NEWS), stop(), out(ACME, SENDER), yes(saw=3)], news("consent")),
    that("... but no complaint",
         [out(voice=COMPLAINED), yes(saw=1)], news("complained"), last="refused"),
    that("... and no erasure", [out(voice=ERASED), yes(saw=1)], news("erased"), last="refused"),
    that("an opt-in must prevail over every out that is in force, or it is refused whole",
         [out(NEWS), out(voice=COMPLAINED), yes(saw=2)],
         news("complained"), news("complained", SMS), last="refused"),
    that("a confirmed opt-in takes back an erasure",
         [out(voice=ERASED), yes(by=CONFIRMED, saw=1)], news("consent")),
    that("... but a complaint only where the tenant permits it",
         [out(voice=COMPLAINED), yes(by=CONFIRMED, saw=1)], news("complained"), last="refused"),
    that("... and where it does, that too",
         [out(voice=COMPLAINED), yes(by=PERMITTED, saw=1)], news("consent")),
    that("... from the link that was mailed before, not",
         [yes(EVENTS, at=0), out(voice=ERASED), yes(by=CONFIRMED, saw=1)],
         news("erased"), last="refused"),
    that("support with an override takes back a person's out",
         [out(NEWS), yes(by=OVERRIDE, saw=1)], news("consent")),
    that("... but no complaint",
         [out(voice=COMPLAINED), yes(by=OVERRIDE, saw=1)], news("complained"), last="refused"),
    that("... and no erasure",
         [out(voice=ERASED), yes(by=OVERRIDE, said_at=MINUTE)], news("erased"), last="refused"),
    # in over out: later
    that("an opt-in from a form that showed the out prevails",
         [out(NEWS), pending(), yes(saw=1)], news("consent")),
    that("... from a form loaded before the out, not",
         [pending(), out(NEWS), yes(saw=1)], news("opted_out"), last="refused"),
    that("... from a form that showed nothing, not",
         [out(NEWS), yes(saw=0)], news("opted_out"), last="refused"),
    that("... without word of what was shown, not",
         [out(NEWS), yes()], news("opted_out"), last="refused"),
    that("... nor if the out was repeated since the form was loaded",
         [out(NEWS), out(NEWS, at=MINUTE), yes(saw=1)], news("opted_out"), last="refused"),
    that("... nor by a date, which only an override carries",
         [out(NEWS), yes(said_at=MINUTE)], news("opted_out"), last="refused"),
    that("an override with the time of the person's act prevails over an out heard before",
         [out(NEWS), yes(by=OVERRIDE, said_at=1)], news("consent")),
    that("... not if the act and the out are of one moment",
         [out(NEWS), yes(by=OVERRIDE, said_at=0)], news("opted_out"), last="refused"),
    that("... not if the act came before",
         [out(NEWS), yes(by=OVERRIDE, said_at=-DAY)], news("opted_out"), last="refused"),
    that("... not if the act came after the out was said, but before it was heard",
         [out(NEWS, at=MINUTE, said_at=0), yes(by=OVERRIDE, said_at=SECOND)],
         news("opted_out"), last="refused"),
    that("... not if the act lies in the future",
         [out(NEWS), yes(by=OVERRIDE, said_at=HOUR + 1)], news("opted_out"), last="refused"),
    that("... though it may be as young as its telling",
         [out(NEWS), yes(by=OVERRIDE, said_at=HOUR)], news("consent")),
    that("... not without a time",
         [out(NEWS), yes(by=OVERRIDE)], news("opted_out"), last="refused"),
    that("... and not over the repetition of the out",
         [out(NEWS), out(NEWS, at=30 * MINUTE), yes(by=OVERRIDE, said_at=MINUTE)],
         news("opted_out"), last="refused"),
    that("two times by one provider's clock decide alone: later by a second",
         [out(NEWS, said_at=0, clock="esp"), yes(said_at=SECOND, clock="esp")], news("consent")),
    that("... not by less",
         [out(NEWS, said_at=0, clock="esp"), yes(said_at=SECOND - 1, clock="esp")],
         news("opted_out"), last="refused"),
    that("... against a form that showed the out",
         [out(NEWS, said_at=MINUTE, clock="esp"), yes(said_at=0, clock="esp", saw=1)],
         news("opted_out"), last="refused"),
    that("... against an override's evidence",
         [out(NEWS, said_at=2 * HOUR, clock="esp"), yes(by=OVERRIDE, said_at=HOUR, clock="esp")],
         news("opted_out"), last="refused"),
    that("... but give no authority",
         [out(NEWS, said_at=0, clock="esp"), yes(by=API, said_at=HOUR, clock="esp")],
         news("opted_out"), last="refused"),
    that("... and say nothing about another provider's clock",
         [out(NEWS, said_at=0, clock="esp"), yes(said_at=HOUR, clock="other")],
         news("opted_out"), last="refused"),
    that("... nor does a clock without a time",
         [out(NEWS, clock="esp"), yes(said_at=HOUR, clock="esp")],
         news("opted_out"), last="refused"),
    that("... so that the form decides there",
         [out(NEWS, clock="esp"), yes(clock="esp", saw=1)], news("consent")),
    that("of an out told twice by one clock the later time counts, in either order",
         [out(NEWS, said_at=HOUR, clock="esp"), out(NEWS, said_at=0, clock="esp"),
          yes(said_at=MINUTE, clock="esp")],
         news("opted_out"), last="refused"),
    # in over out: what it beats
    that("an opt-in over an out of all prevails for its own topic alone",
         [out(), yes(saw=1)], news("consent"), events("opted_out"), deals("opted_out")),
    that("... and for its own topic alone over a brand's",
         [out(ACME), yes(saw=1)], news("consent"), events("opted_out")),
    that("a new out after it silences again",
         [out(), yes(saw=1), out(NEWS, at=2 * HOUR)], news("opted_out")),
    that("so does the same out said again",
         [out(), yes(saw=1), out(at=2 * HOUR)], news("opted_out")),
    that("when the consent expires, the out that it had beaten holds again",
         [out(NEWS), yes(saw=1, until=2 * DAY)], news("consent"), news("opted_out", when=2 * DAY)),
    that("no import prolongs a consent that holds off a person's out",
         [out(NEWS), yes(saw=1, until=2 * DAY), yes(by=IMPORT)],
         news("consent"), news("opted_out", when=2 * DAY)),
    that("... nor does the sender's API",
         [out(NEWS), yes(saw=1, until=2 * DAY), yes(by=API, saw=2)],
         news("opted_out", when=2 * DAY)),
    that("... the person may",
         [out(NEWS), yes(saw=1, until=2 * DAY), yes(saw=2)], news("consent", when=YEAR)),
    that("... and once it has expired, an import is refused",
         [out(NEWS), yes(at=0, saw=1, until=MINUTE), yes(by=IMPORT)],
         news("opted_out"), last="refused"),
    that("an out of a narrower or other scope is no hindrance to an opt-in",
         [out(EVENTS), out(PARTNER), yes()], news("consent"), events("opted_out")),
    # lift
    that("a lift takes back the out of its scope",
         [out(NEWS), lift(NEWS, saw=1)], news("no_objection")),
    that("... and consents to nothing", [out(NEWS), lift(NEWS, saw=1)], news("no_consent", SMS)),
    that("... so that earlier consent holds again",
         [yes(at=0), out(NEWS, at=1), lift(NEWS, saw=2)], news("consent", SMS)),
    that("a lift of all leaves the out of a brand", [out(ACME), lift(saw=1)], news("opted_out")),
    that("... and the out of a topic",
         [out(NEWS), out(), lift(saw=2)], news("opted_out"), events("no_objection")),
    that("a lift of a topic leaves the out of all", [out(), lift(NEWS, saw=1)], news("opted_out")),
    that("a lift of a brand leaves the other brand's out",
         [out(ACME), out(PARTNER), lift(ACME, saw=2)], news("no_objection"), deals("opted_out")),
    that("a lift that finds nothing changes nothing",
         [lift()], news("no_objection"), news("no_consent", SMS)),
    that("a lift takes back what its author may, and leaves the rest",
         [out(NEWS), out(NEWS, SENDER), lift(NEWS, API, saw=2)], news("opted_out")),
    that("... a person: not the complaint",
         [out(), out(voice=COMPLAINED), lift(saw=2)], news("complained")),
    that("... and what was shown, not what was said since",
         [out(), stop(), lift(saw=1)], news("replied_stop")),
    that("a lift from a form loaded before the out is refused",
         [out(NEWS), lift(NEWS, saw=0)], news("opted_out"), last="refused"),
    that("an import lifts nothing",
         [out(NEWS, SENDER), lift(NEWS, IMPORT, saw=1)], news("sender_opted_out"), last="refused"),
    that("the rights desk lifts nothing",
         [out(NEWS), lift(NEWS, Authority.RIGHTS, saw=1)], news("opted_out"), last="refused"),
    that("an override lifts by the time of the person's act",
         [out(), lift(by=OVERRIDE, said_at=MINUTE)], news("no_objection")),
    # STOP and START
    that("START lifts a STOP heard more than two minutes before",
         [stop(), start(at=2 * MINUTE + 1)], news("no_objection")),
    that("... not within two minutes",
         [stop(), start(at=2 * MINUTE)], news("replied_stop"), last="refused"),
    that("... not within two minutes of the last of several",
         [stop(), stop(at=MINUTE), start(at=2 * MINUTE + 1)], news("replied_stop"), last="refused"),
    that("... unless the provider's own times, looked up, show it to be later",
         [stop(), start(at=MINUTE, saw=1)], news("no_objection")),
    that("... than that STOP, and not than one heard since",
         [stop(), stop(scope=ACME, at=1), start(at=MINUTE, saw=1)], news("replied_stop")),
    that("START that was said before the STOP was heard lifts nothing, however late it is heard",
         [stop(at=HOUR), start(at=DAY, said_at=HOUR - MINUTE)],
         news("replied_stop", when=2 * DAY), last="refused"),
    that("... and said two minutes after, it does",
         [stop(at=HOUR), start(at=DAY, said_at=HOUR + 2 * MINUTE + 1)],
         news("no_objection", when=2 * DAY)),
    that("within two minutes START is later by the provider's own times",
         [stop(said_at=0), start(at=2, said_at=SECOND)], news("no_objection")),
    that("... by a second or more",
         [stop(said_at=0), start(at=2, said_at=SECOND - 1)], news("replied_stop"), last="refused"),
    that("... and these decide alone, however long ago the STOP was heard",
         [stop(said_at=HOUR), start(at=DAY, said_at=HOUR)],
         news("replied_stop", when=2 * DAY), last="refused"),
    that("... not another provider's",
         [stop(said_at=0), start(at=MINUTE, said_at=MINUTE, clock="other")],
         news("replied_stop"), last="refused"),
    that("START after the two minutes lifts a STOP of another clock",
         [stop(said_at=0), start(at=HOUR, said_at=HOUR, clock="other")], news("no_objection")),
    that("START consents to nothing", [stop(), start()], news("no_consent", SMS)),
    that("... what was said before the STOP holds again: consent",
         [yes(at=0), stop(at=1), start()], news("consent", SMS)),
    that("... and a no", [out(NEWS), stop(), start()], news("opted_out"), events("no_objection")),
    that("START does not lift the person's own out", [out(), start()], news("opted_out")),
    that("... nor the sender's", [out(voice=SENDER), start()], news("sender_opted_out")),
    that("... nor a complaint", [out(voice=COMPLAINED), start()], news("complained")),
    that("... nor an erasure", [out(voice=ERASED), start()], news("erased")),
    that("... nor a snooze", [snooze(), start()], news("snoozed")),
    that("START lifts STOPs of its scope and any narrower",
         [stop(scope=ACME), stop(scope=NEWS), stop(scope=PARTNER), start()],
         news("no_objection"), deals("no_objection")),
    that("... not of a wider", [stop(), start(scope=ACME)], news("replied_stop")),
    that("... nor of another brand",
         [stop(scope=PARTNER), start(scope=ACME)], deals("replied_stop")),
    that("START alone allows nothing", [start()], news("no_consent", SMS)),
    that("a STOP older than a START of the same clock is late, and not in force",
         [start(at=0, said_at=SECOND), stop(at=1, said_at=0)], news("no_objection"), last="late"),
    that("... by a second or more",
         [start(at=0, said_at=SECOND - 1), stop(at=1, said_at=0)], news("replied_stop")),
    that("... also where the START lifted another STOP",
         [stop(said_at=0), start(at=1, said_at=MINUTE), stop(at=2, said_at=SECOND)],
         news("no_objection"), last="late"),
    that("... not by another clock",
         [start(at=0, said_at=MINUTE), stop(at=1, said_at=0, clock="other")], news("replied_stop")),
    that("... not without a time",
         [start(at=0, said_at=MINUTE), stop(at=1, clock="twilio")], news("replied_stop")),
    that("... not if it is wider than the START",
         [start(at=0, said_at=MINUTE, scope=ACME), stop(at=1, said_at=0)], news("replied_stop")),
    that("... but if it is narrower",
         [start(at=0, said_at=MINUTE), stop(at=1, said_at=0, scope=ACME)],
         news("no_objection"), last="late"),
    that("... nor if the START told no time",
         [start(at=0, clock="twilio"), stop(at=1, said_at=-DAY)], news("replied_stop")),
    that("the latest of several STARTs decides, in either order",
         [start(at=0, said_at=MINUTE), start(at=1, said_at=0), stop(at=2, said_at=SECOND)],
         news("no_objection"), last="late"),
    that("only a STOP can be late: an out by the same clock is applied",
         [start(at=0, said_at=MINUTE), out(at=1, said_at=0, clock="twilio")], news("opted_out")),
    that("a STOP after START silences again",
         [stop(), start(), stop(at=2 * HOUR)], news("replied_stop")),
    # 6. Snooze
    # 7. A text that may be a no
    that("a text that may be a no holds marketing", [yes(at=0), review()],
         news("in_review", SMS), events("in_review")),
    that("... in its scope", [review(scope=ACME)], news("in_review"), deals("no_objection")),
    that("... and no transactional message", [review()], orders("transactional", SMS)),
    that("... and is no no: without a consent the answer is as before",
         [review()], news("no_consent", SMS)),
    that("... nor hides one", [out(NEWS), review()], news("opted_out")),
    that("it waits until somebody has read it", [review(), reviewed(saw=1)],
         news("no_objection")),
    that("... whatever texts came since: each is read",
         [review(), review(at=1), reviewed(saw=1)], news("in_review")),
    that("... of its scope", [review(scope=ACME), reviewed(saw=1)], news("in_review"),
         last="refused"),
    that("what was decided already is decided no other way",
         [review(), reviewed(saw=1), reviewed(saw=1)], news("no_objection"), last="refused"),
    that("a STOP said since is stronger", [review(), stop(at=1)], news("replied_stop")),
    that("... in its scope", [review(), stop(scope=ACME, at=1)], deals("in_review")),
    that("... and decides nothing once it is taken back",
         [review(), out(voice=SENDER), lift(by=API, saw=2)], news("in_review")),
    that("the person's own yes to a topic decides it for that topic",
         [review(), yes(saw=1)], news("consent"), events("in_review")),
    that("... and not the sender's", [review(), yes(by=API, saw=1)], news("in_review")),
    that("... nor an import's", [review(), yes(by=IMPORT, saw=1)], news("in_review")),
    that("START two minutes later decides it", [review(), start()], news("no_objection")),
    that("... and not sooner", [review(), start(at=MINUTE)], news("in_review"), last="refused"),
    that("the person who takes all back on a page decides it", [review(), lift(saw=1)],
         news("no_objection")),
    that("fifty of them are enough to read", [review()] * 51, news("in_review"), last="refused"),
    that("a text that says nothing changes nothing", [said(Kind.TEXT, 0)], news("no_objection")),
    that("... nor does one message that did not arrive", [said(Kind.FAILED, 0)],
         news("no_objection")),
    that("a snooze denies until its date",
         [snooze(until=2 * DAY)], news("snoozed", when=2 * DAY - 1)),
    that("... and not from then on", [snooze(until=2 * DAY)], news("no_objection", when=2 * DAY)),
    that("a snooze is no consent", [snooze(until=2 * DAY)], news("no_consent", SMS, when=2 * DAY)),
    that("... and is not named where consent is missing", [snooze()], news("no_consent", SMS)),
    that("a snooze of a topic leaves the others",
         [snooze(scope=NEWS)], news("snoozed"), events("no_objection")),
    that("a snooze of a brand leaves the other brand",
         [snooze(scope=ACME)], events("snoozed"), deals("no_objection")),
    that("an out is named before a snooze", [out(NEWS), snooze()], news("opted_out")),
    that("the end of a snooze ends no out",
         [out(NEWS), snooze(until=DAY)], news("opted_out", when=2 * DAY)),
    that("a consent before the snooze does not end it",
         [yes(at=0), snooze(at=1)], news("snoozed", SMS)),
    that("the person's own opt-in ends it for that topic",
         [snooze(), yes(saw=1)], news("consent"), events("snoozed")),
    that("... not from a form that did not show it", [snooze(), yes(saw=0)], news("snoozed")),
    that("... nor an import's",
         [snooze(), yes(by=IMPORT, saw=1)], news("snoozed"), news("snoozed", SMS)),
    that("... nor the sender's", [snooze(), yes(by=API, saw=1)], news("snoozed")),
    that("... nor an import's between two words of the person",
         [snooze(), yes(saw=1, until=DAY), yes(by=IMPORT)], news("snoozed", when=2 * DAY)),
    that("a lift of its scope by the person ends it",
         [snooze(), lift(saw=1)], news("no_objection")),
    that("... a lift of another scope does not", [snooze(), lift(ACME, saw=1)], news("snoozed")),
    that("... nor by the sender", [snooze(), lift(by=API, saw=1)], news("snoozed"), last="refused"),
    that("... nor by an import",
         [snooze(), lift(by=IMPORT, saw=1)], news("snoozed"), last="refused"),
    that("... nor blindly", [snooze(), lift()], news("snoozed"), last="refused"),
    that("the person shortens a snooze that they saw",
         [snooze(), snooze(until=2 * DAY, at=HOUR, saw=1)],
         news("snoozed"), news("no_objection", when=2 * DAY)),
    that("... not one that they did not see",
         [snooze(), snooze(until=2 * DAY, at=HOUR)], news("snoozed", when=2 * DAY)),
    that("the sender shortens none",
         [snooze(), snooze(until=2 * DAY, by=API, saw=1)], news("snoozed", when=2 * DAY)),
    that("anybody lengthens",
         [snooze(until=2 * DAY), snooze(by=IMPORT)], news("snoozed", when=3 * DAY)),
    that("snoozes of several scopes stand side by side",
         [snooze(until=2 * DAY), snooze(scope=NEWS), lift(saw=2)],
         news("snoozed"), events("no_objection")),
    # Retract
    that("a retract takes back a mistaken batch",
         [out(NEWS), out(EVENTS), retract(1, 2)], news("no_objection"), events("no_objection")),
    that("... and everything else that was said stands",
         [out(NEWS), out(EVENTS), retract(1)], news("no_objection"), events("opted_out")),
    that("... also what the person has repeated since",
         [out(NEWS), out(NEWS, at=MINUTE), retract(1)], news("opted_out")),
    that("... also what the person had said before",
         [out(NEWS), out(NEWS, at=MINUTE), retract(2)], news("opted_out")),
    that("... an opt-in that it had refused is heard",
         [out(NEWS), yes(), retract(1)], news("consent", SMS)),
    that("... an out that it had lifted holds again",
         [out(NEWS), lift(NEWS, saw=1), retract(2)], news("opted_out")),
    that("... consents that a mistaken reassignment removed return",
         [yes(at=0), block(Block.REASSIGNED), retract(2)], news("consent", SMS)),
    that("a retract cannot silence what is said after it",
         [retract(2), out(NEWS, at=DAY)], news("opted_out")),
    that("... nor itself", [out(NEWS), retract(1, 2)], news("no_objection")),
    that("a retract may be retracted", [out(NEWS), retract(1), retract(2)], news("opted_out")),
    that("... and that again",
         [out(NEWS), retract(1), retract(2), retract(3)], news("no_objection")),
]
# fmt: on


@pytest.mark.parametrize(("history", "answers", "last"), POLICY)
def test_the_policy(history: list[Event], answers: tuple[Answer, ...], last: str) -> None:
    _, outcomes = fold(history)
    assert not outcomes or outcomes[-1] == last
    assert answers
    for topic, reason, channel, when in answers:
        decision = decide(history, topic, channel, when)
        assert decision.reason == reason
        verdict = "allow" if reason in ALLOWED else "hold" if reason in HELD else "deny"
        assert decision.verdict == verdict


# Whose outs each authority takes back, having seen them. Written out here, so that no slip of
# the hand in the policy can widen it unnoticed.
TAKES_BACK = {
    Authority.IMPORT: set(),
    Authority.SENDER: {SENDER},
    Authority.START: {STOPPED},
    Authority.OVERRIDE: {SENDER, PERSON, STOPPED},
    Authority.PERSON: {SENDER, PERSON, STOPPED},
    Authority.CONFIRMED: {SENDER, PERSON, STOPPED, ERASED},
    Authority.CONFIRMED_OVER_COMPLAINT: {SENDER, PERSON, STOPPED, ERASED, COMPLAINED},
    Authority.RIGHTS: set(),
}


@pytest.mark.parametrize("voice", Voice)
@pytest.mark.parametrize("by", Authority)
def test_each_authority_lifts_the_outs_of_these_voices_and_of_no_other(
    by: Authority, voice: Voice
) -> None:
    standing, (_, outcome) = fold([out(voice=voice), lift(by=by, saw=1)])
    lifted = voice in TAKES_BACK[by]
    assert (standing.outs == ()) is lifted
    # START looks at STOPs alone: where there is none, it has found nothing, and that is no refusal.
    found_nothing = by is Authority.START and voice is not STOPPED
    assert outcome is (Outcome.APPLIED if lifted or found_nothing else Outcome.REFUSED)


@pytest.mark.parametrize("voice", Voice)
@pytest.mark.parametrize("by", [by for by in Authority if by not in ("start", "rights")])
def test_each_authority_opts_in_over_the_outs_of_these_voices_and_of_no_other(
    by: Authority, voice: Voice
) -> None:
    decision = decide([out(voice=voice), yes(by=by, saw=1)], NEWS)
    assert decision.reason == ("consent" if voice in TAKES_BACK[by] else OUT_REASONS[voice])


@pytest.mark.parametrize(
    "parts",
    [
        pytest.param({"kind": "in"}, id="an in to all"),
        pytest.param({"kind": "in", "scope": ACME}, id="an in to a brand"),
        pytest.param({"kind": "in", "scope": NEWS, "authority": "start"}, id="an in by START"),
        pytest.param({"kind": "in", "scope": NEWS, "authority": "rights"}, id="an in by the desk"),
        pytest.param({"kind": "out"}, id="an out of nobody"),
        pytest.param(
            {"kind": "out", "voice": "complaint", "scope": NEWS}, id="a topic's complaint"
        ),
        pytest.param({"kind": "out", "voice": "erasure", "scope": ACME}, id="a brand's erasure"),
        pytest.param(
            {"kind": "out", "voice": "person", "scope": Scope(None, 1)}, id="a topic of no brand"
        ),
        pytest.param({"kind": "snooze"}, id="a snooze without a date"),
        pytest.param({"kind": "block"}, id="a block without a name"),
        pytest.param({"kind": "unblock"}, id="an unblock without a name"),
        pytest.param({"kind": "reviewed"}, id="a decision about no text"),
        pytest.param({"kind": "retract"}, id="a retract of nothing"),
        pytest.param(
            {"kind": "out", "voice": "person", "retracts": (1,)}, id="an out that retracts"
        ),
    ],
)
def test_an_event_that_cannot_mean_anything_is_an_error(parts: dict[str, Any]) -> None:
    parts = {**parts, "kind": Kind(parts["kind"])}
    if "voice" in parts:
        parts["voice"] = Voice(parts["voice"])
    if "authority" in parts:
        parts["authority"] = Authority(parts["authority"])
    with pytest.raises(BadEvent):
        Event(heard_at=START_OF_TIME, **parts)


def test_a_scope_covers_itself_and_what_lies_in_it() -> None:
    scopes = [ALL, ACME, PARTNER, NEWS, EVENTS, DEALS]
    covered = {scope: {other for other in scopes if scope.covers(other)} for scope in scopes}
    assert covered == {
        ALL: set(scopes),
        ACME: {ACME, NEWS, EVENTS},
        PARTNER: {PARTNER, DEALS},
        NEWS: {NEWS},
        EVENTS: {EVENTS},
        DEALS: {DEALS},
    }


# --- what a decision rests on ---


def test_an_out_is_explained_by_what_was_said_when_and_through_which_door() -> None:
    decision = decide([pending(), out(ACME, at=HOUR, said_at=MINUTE, door="one-click")], NEWS)
    then = START_OF_TIME + MINUTE
    assert decision.ground == Ground(2, "out", ACME, "person", then, "one-click")


def test_an_out_that_tells_no_time_was_said_when_it_was_heard() -> None:
    history = [out(NEWS, said_at=-YEAR, door="import"), out(NEWS, at=HOUR, door="link")]
    then = START_OF_TIME + HOUR
    assert decide(history, NEWS).ground == Ground(2, "out", NEWS, "person", then, "link")


def test_of_equally_strong_outs_the_last_one_is_named() -> None:
    ground = decide([out(), out(ACME), out(NEWS, SENDER)], NEWS).ground
    assert ground is not None
    assert (ground.seq, ground.scope) == (2, ACME)


def test_consent_is_named_by_the_one_that_lasts_longest() -> None:
    history = [yes(until=DAY), yes(until=YEAR, door="page"), yes(until=MONTH)]
    then = START_OF_TIME + HOUR
    ground = Ground(2, "in", NEWS, "", then, "page")
    assert decide(history, NEWS, SMS, 2 * HOUR).ground == ground
    expired = decide(history, NEWS, SMS, YEAR)
    assert (expired.reason, expired.ground) == ("consent_expired", ground)
    endless = decide([*history, yes(), yes(until=2 * YEAR)], NEWS, SMS).ground
    assert endless == Ground(4, "in", NEWS, "", then, "")


def test_a_block_is_explained_by_its_event() -> None:
    decision = decide([yes(at=0), block(Block.INVALID, at=HOUR)], NEWS)
    assert decision.ground == Ground(2, "block", ALL, "", START_OF_TIME + HOUR, "")


def test_a_snooze_is_explained_by_the_one_that_lasts_longest() -> None:
    decision = decide([snooze(until=YEAR, door="page"), snooze(scope=NEWS)], NEWS)
    assert decision.ground == Ground(1, "snooze", ALL, "", START_OF_TIME, "page")


@pytest.mark.parametrize(
    ("topic", "channel"), [(NEWS, EMAIL), (NEWS, SMS), (NEWS, PUSH), (ORDERS, EMAIL), (None, EMAIL)]
)
def test_where_nothing_was_said_there_is_nothing_to_rest_on(
    topic: Scope | None, channel: Channel
) -> None:
    decision = decide([], topic, channel)
    assert (decision.ground, decision.notes) == (None, ())
    assert decision.valid_until == START_OF_TIME + DAY + RELY_FOR


def test_every_reason_has_its_sentence() -> None:
    reasons = {answer.reason for _, answers, _ in (p.values for p in POLICY) for answer in answers}
    assert reasons <= set(REASONS)
    assert {*OUT_REASONS.values(), *Block} <= set(REASONS)
    assert set(REASONS) - reasons == {"state_unknown", "bad_address", "bad_item"}
    assert all(text.endswith(".") for text in REASONS.values())


# --- notes ---


def test_a_transactional_message_after_stop_is_noted_as_one_that_the_carrier_will_block() -> None:
    decision = decide([stop()], ORDERS, SMS)
    assert decision.verdict is Verdict.ALLOW
    assert decision.notes == ("replied_stop", "carrier_will_block")


def test_an_opt_in_on_a_page_does_not_open_the_carrier() -> None:
    decision = decide([stop(), yes(saw=1)], NEWS, SMS)
    assert (decision.reason, decision.notes) == ("consent", ("replied_stop", "carrier_will_block"))


def test_a_stop_that_no_carrier_took_for_one_is_noted_without_the_carrier() -> None:
    assert decide([stop(ours_alone=True)], ORDERS, SMS).notes == ("replied_stop",)
    both = [stop(ours_alone=True), stop(at=1)]
    assert decide(both, ORDERS, SMS).notes == ("replied_stop", "carrier_will_block")
    assert decide(both[::-1], ORDERS, SMS).notes == ("replied_stop", "carrier_will_block")


def test_a_stop_to_a_transactional_message_is_noted_and_lets_it_pass() -> None:
    for history in ([stop(to_transactional=True)], [stop(to_transactional=True), stop(at=1)]):
        decision = decide(history, ORDERS, SMS)
        assert decision.reason == "transactional"
        assert "replied_stop_to_transactional" in decision.notes
    assert decide([stop(to_transactional=True), start()], ORDERS, SMS).notes == ()


def test_a_text_that_waits_to_be_read_is_noted() -> None:
    assert decide([review()], ORDERS, SMS).notes == ("in_review",)
    held = decide([yes(at=0), review()], NEWS, SMS)
    assert held.ground == Ground(2, "review", ALL, "", START_OF_TIME, "")
    assert held.verdict is Verdict.HOLD


def test_start_ends_the_note() -> None:
    assert decide([stop(), start()], ORDERS, SMS).notes == ()


def test_a_transactional_message_to_a_bounced_address_is_noted_as_such() -> None:
    history = [block(Block.HARD_BOUNCE), block(Block.RESTRICTED), out()]
    assert decide(history, ORDERS).notes == ("hard_bounce", "restricted")


# --- how long it may be relied on ---


def test_a_decision_may_be_relied_on_for_a_minute() -> None:
    for history in ([], [out()], [yes()], [yes(until=YEAR)], [snooze(until=YEAR)]):
        assert decide(history, NEWS).valid_until == START_OF_TIME + DAY + RELY_FOR


def test_an_allow_is_not_to_be_relied_on_beyond_the_consent() -> None:
    decision = decide([yes(until=DAY + SECOND)], NEWS, SMS)
    assert decision.valid_until == START_OF_TIME + DAY + SECOND


def test_a_deny_is_not_to_be_relied_on_beyond_the_snooze() -> None:
    decision = decide([snooze(until=DAY + SECOND), yes(until=DAY)], NEWS)
    assert (decision.reason, decision.valid_until) == ("snoozed", START_OF_TIME + DAY + SECOND)


def test_where_no_standing_could_be_read_the_message_is_held_and_asked_again() -> None:
    assert hold("state_unknown", 5) == Decision(Verdict.HOLD, "state_unknown", None, (), 5)


# --- the fold ---


def test_every_event_takes_a_seq_whatever_became_of_it() -> None:
    history = [
        start(at=0, said_at=MINUTE),
        stop(at=1, said_at=0),
        out(NEWS),
        yes(by=IMPORT),
        pending(),
        retract(4),
        registered(),
    ]
    standing, outcomes = fold(history)
    assert standing.seq == len(history)
    assert outcomes == ["applied", "late", "applied", "refused", "applied", "applied", "applied"]


def test_a_retracted_event_counts_as_refused() -> None:
    assert fold([out(), retract(1)]) == (Standing(seq=2), [Outcome.REFUSED, Outcome.APPLIED])


def test_an_out_told_a_thousand_times_takes_the_room_of_one() -> None:
    standing, _ = fold([stop(at=n, said_at=n) for n in range(1000)])
    assert len(standing.outs) == 1
    assert standing.outs[0].said_at == START_OF_TIME + 999
    assert standing.outs[0].seq == 1000


def test_consents_that_can_make_no_difference_any_more_are_forgotten() -> None:
    standing, _ = fold([yes(until=n * DAY) for n in range(1, 100)])
    assert len(standing.consents) == 1


def test_starts_take_the_room_of_one_per_scope_and_clock() -> None:
    standing, _ = fold([start(at=n, said_at=n) for n in range(100)])
    assert len(standing.starts) == 1


def test_a_standing_reads_back_as_it_was_written() -> None:
    history = [out(ACME, said_at=1), stop(said_at=2), yes(DEALS, by=CONFIRMED, saw=2, until=DAY)]
    history += [snooze(scope=NEWS), block(Block.MINOR), start(said_at=HOUR, scope=ACME)]
    history += [yes(DEALS, by=IMPORT, basis="implied_ebr", door="import")]
    standing, _ = fold(history)
    assert Standing.unpack(standing.pack()) == standing
    assert Standing.unpack(standing.pack().encode()) == standing
    assert Standing.unpack(NOTHING.pack()) == NOTHING


def test_the_form_in_which_a_standing_is_stored_never_changes_silently() -> None:
    standing = NOTHING
    for event in [stop(said_at=2), yes(saw=1), snooze(), block(Block.MINOR), start(said_at=1)]:
        standing, _ = after(standing, event)
    t = START_OF_TIME
    assert standing.pack() == (
        f'[1,5,[[[null,null],"stop","twilio",1,{t},{t + 2},""]],'
        f'[[[1,10],2,[],null,"",{t + HOUR},""]],[[[null,null],3,{t + MONTH},{t},""]],'
        f'[["minor",4,{t},""]],[[[null,null],"twilio",{t + 1}]]]'
    )


def test_what_waits_to_be_read_and_the_marks_of_a_stop_are_stored_in_a_form_of_their_own() -> None:
    t = START_OF_TIME
    histories = {
        f'[3,1,[],[],[],[],[],[],[[[1,null],1,{t},""]]]': [review(scope=ACME)],
        f'[3,1,[[[null,null],"stop","",1,{t},{t},"",false,true]],[],[],[],[],[],[]]': [
            stop(ours_alone=True)
        ],
        f'[1,2,[[[null,null],"stop","",2,{t + 1},{t + 1},""]],[],[],[],[]]': [
            stop(ours_alone=True),
            stop(at=1),
        ],
    }
    for form, history in histories.items():
        standing = fold(history)[0]
        assert standing.pack() == form
        assert Standing.unpack(form) == standing


def test_somebody_has_to_read_what_no_no_has_made_clear() -> None:
    unread = {
        (review(), review(scope=ACME)): 2,
        (review(), review(scope=ACME), stop(scope=ACME)): 1,
        (review(), stop()): 0,
        (review(), out(voice=SENDER)): 1,
        (review(), stop(), start()): 0,
        (review(at=HOUR), stop(at=HOUR), start(at=HOUR)): 0,
    }
    for history, count in unread.items():
        standing = fold(history)[0]
        assert len(standing.unread) == count, history
        assert standing.objects(NEWS, START_OF_TIME + DAY) is bool(
            standing.reviews or standing.outs
        )


@pytest.mark.parametrize(
    "text",
    [
        *["", "x", "5", "null", "[]", "{}", "[2,0,[],[],[],[],[]]", "[1,0,[],[],[],[],[],[]]"],
        *["[3,0,[],[],[],[],[],[]]", "[1,0,null,[],[],[],[]]"],
        *["[1,0,[[1]],[],[],[],[]]", "[1,0,[[[],1]],[],[],[],[]]", "[1,0,[],[],[],[[]],[]]"],
    ],
)
def test_a_stored_form_that_this_release_cannot_read_is_an_error_and_never_an_empty_standing(
    text: str,
) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        Standing.unpack(text)


@pytest.mark.parametrize(
    ("spelling", "history", "topic", "reason"),
    [
        pytest.param("alice@example.org", [], NEWS, "no_objection", id="a real address passes"),
        pytest.param("a b@example", [], NEWS, "bad_address", id="what cannot be one is held"),
        pytest.param("a b@example", [out()], NEWS, "opted_out", id="… but a no for it is kept"),
        pytest.param("a b@example", [], ORDERS, "transactional", id="… and transactional passes"),
    ],
)
def test_marketing_goes_to_what_can_be_an_address(
    spelling: str, history: list[Event], topic: Scope, reason: str
) -> None:
    message = Message(TOPICS[topic], EMAIL, Address.parse(EMAIL, spelling))
    decision = may_send(message, fold(history)[0], START_OF_TIME + DAY)
    assert decision.reason == reason
    assert (decision.verdict is Verdict.HOLD) == (reason == "bad_address")


def test_a_moment_is_written_in_utc_to_the_millisecond() -> None:
    assert written(0) == "1970-01-01T00:00:00.000Z"
    assert written(1_793_620_800_007) == "2026-11-02T12:00:00.007Z"


@pytest.mark.parametrize(
    ("history", "objects"),
    [
        pytest.param([], False, id="nobody objects"),
        pytest.param([out(ACME)], True, id="an out that covers the scope does"),
        pytest.param([out(DEALS)], False, id="… another's does not"),
        pytest.param([said(Kind.SNOOZE, 0, scope=NEWS, until=2 * DAY)], True, id="a pause does"),
        pytest.param([said(Kind.SNOOZE, 0, scope=NEWS, until=HOUR)], False, id="… until it ends"),
    ],
)
def test_who_objects_to_a_scope(history: list[Event], objects: bool) -> None:
    standing, _ = fold(history)
    assert standing.objects(NEWS, START_OF_TIME + DAY) is objects


@pytest.mark.parametrize(
    ("history", "left"),
    [
        pytest.param([out(ACME)], True, id="who said no has left"),
        pytest.param([out(ACME, SENDER)], False, id="… not whom the sender took off"),
        pytest.param([snooze()], False, id="… nor who paused"),
        pytest.param([out(NEWS), yes(saw=1), out(ACME, SENDER)], False, id="… nor who came back"),
    ],
)
def test_who_has_left_a_scope(history: list[Event], left: bool) -> None:
    assert fold(history)[0].has_left(NEWS, START_OF_TIME + DAY) is left


def limit(per_week: int, at: Millis = 0, **parts: Any) -> Event:
    parts = {"scope": NEWS, "authority": Authority.PERSON, **parts}
    return said(Kind.LIMIT, at, per_week=per_week, **parts)


@pytest.mark.parametrize(
    ("history", "notes", "outcome"),
    [
        pytest.param([limit(2)], ("at_most_2_a_week",), "applied", id="a limit is a note"),
        pytest.param([limit(2), limit(1)], ("at_most_1_a_week",), "applied", id="fewer holds"),
        pytest.param([limit(1), limit(2)], ("at_most_1_a_week",), "refused", id="more does not"),
        pytest.param(
            [limit(1), limit(2, saw=1)], ("at_most_2_a_week",), "applied", id="… unless it was seen"
        ),
        pytest.param(
            [limit(1), limit(0)], ("at_most_1_a_week",), "refused", id="nor does no limit"
        ),
        pytest.param([limit(1), limit(0, saw=1)], (), "applied", id="… unless it was seen "),
        pytest.param(
            [limit(1), limit(3, saw=1, authority=API)],
            ("at_most_1_a_week",),
            "refused",
            id="a sender gives itself no more",
        ),
        pytest.param(
            [limit(3), limit(1, authority=IMPORT)],
            ("at_most_1_a_week",),
            "applied",
            id="… and may give itself less",
        ),
        pytest.param([limit(1, scope=EVENTS)], (), "applied", id="another topic's is no note here"),
    ],
)
def test_a_limit_is_kept_and_told(
    history: list[Event], notes: tuple[str, ...], outcome: str
) -> None:
    standing, outcomes = fold(history)
    decision = decide(history, NEWS)
    assert (decision.notes, outcomes[-1]) == (notes, outcome)
    assert decision.reason == "no_objection"
    assert Standing.unpack(standing.pack()) == standing


def test_only_who_has_a_limit_is_stored_in_the_newer_form() -> None:
    assert fold([limit(1), limit(0, saw=1)])[0].pack().startswith("[1,2,")
    assert fold([limit(1)])[0].pack().startswith("[2,1,")


def test_a_limit_is_about_one_topic_and_says_how_many() -> None:
    for parts in ({"scope": ALL}, {"scope": ACME}, {"per_week": None}):
        with pytest.raises(BadEvent):
            said(Kind.LIMIT, 0, **{"scope": NEWS, "per_week": 1, **parts})


def test_a_no_to_a_topic_whose_brand_is_not_known_counts() -> None:
    assert decide([out(Scope(0, 10))], NEWS).reason == "opted_out"
    assert decide([out(Scope(0, 10))], EVENTS).reason == "no_objection"


def test_why_somebody_left_is_no_word() -> None:
    assert decide([said(Kind.REASON, 0, scope=NEWS)], NEWS).reason == "no_objection"


def test_nobody_was_shown_what_has_not_happened() -> None:
    standing, _ = after(NOTHING, out(NEWS, Voice.SENDER))
    yes = said(Kind.IN, HOUR, scope=NEWS, authority=Authority.SENDER, basis="express")
    assert after(standing, replace(yes, saw=1))[1] is Outcome.APPLIED
    assert after(standing, replace(yes, saw=99))[1] is Outcome.REFUSED
