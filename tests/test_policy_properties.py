"""What holds for every history that anybody can think of, and for many that nobody would."""

import ast
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from functools import reduce
from itertools import product
from pathlib import Path

from hypothesis import HealthCheck, assume, event, example, given, settings
from hypothesis import strategies as st

import prefs
from prefs.address import Channel
from prefs.policy import (
    ALL,
    NOTHING,
    OUT_REASONS,
    Authority,
    Block,
    Decision,
    Event,
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
    may_send,
)

settings.register_profile(
    "policy", deadline=None, max_examples=200, suppress_health_check=[HealthCheck.too_slow]
)
POLICY = settings.get_profile("policy")
# Where each example tries every word that there is.
FEWER = settings(POLICY, max_examples=60)

T0: Millis = 1_790_000_000_000
SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000

SCOPES = [ALL, Scope(1), Scope(2), Scope(1, 10), Scope(1, 11), Scope(2, 20)]
ASKS = {Channel.EMAIL: Mode.OPT_OUT, Channel.SMS: Mode.OPT_IN}
TOPICS = [
    Topic(scope, "topic", "Topic", "", Purpose.MARKETING, ASKS)
    for scope in SCOPES
    if scope.topic is not None
]

# The voices of people. The sender may take back its own word.
NOES = {reason for voice, reason in OUT_REASONS.items() if voice is not Voice.SENDER} | {"snoozed"}

History = list[Event]
Asked = tuple[Scope, Channel, Millis]


@st.composite
def an_event(
    draw: st.DrawFn,
    heard_at: Millis,
    heard_before: int,
    kinds: list[Kind],
    scopes: list[Scope] = SCOPES,
    authorities: Sequence[Authority] = tuple(Authority),
) -> Event:
    """Anything that could be said at ``heard_at``, with ``heard_before`` events on record."""
    kind = draw(st.sampled_from(kinds))
    authority = draw(st.sampled_from(authorities))
    scope = draw(st.sampled_from(scopes))
    voice = None
    if kind is Kind.OUT:
        voice = draw(st.sampled_from([Voice.PERSON, Voice.STOP, *Voice]))
        if voice in (Voice.COMPLAINT, Voice.ERASURE):
            scope = ALL
    if kind in (Kind.IN, Kind.LIMIT):
        scope = draw(st.sampled_from([s for s in scopes if s.topic is not None]))
        if authority in (Authority.START, Authority.RIGHTS):
            authority = Authority.PERSON
    until = draw(
        st.sampled_from([MINUTE // 2, 2 * DAY, 400 * DAY, *([None] if kind is Kind.IN else [])])
    )
    earlier = draw(st.sampled_from([None, 0, 1, SECOND, 3 * MINUTE, DAY, -MINUTE]))
    return Event(
        kind,
        heard_at,
        scope=scope,
        voice=voice,
        authority=authority,
        said_at=None if earlier is None else heard_at - earlier,
        clock=draw(st.sampled_from(["", "", "a", "b"])),
        # Most authors have just looked: without them, next to nothing would be lifted.
        saw=draw(
            st.sampled_from(
                [
                    *([] if kind is Kind.REVIEWED else [None]),
                    heard_before,
                    heard_before,
                    max(0, heard_before - 1),
                    0,
                ]
            )
        ),
        until=None if until is None else heard_at + until,
        block=draw(st.sampled_from(Block)) if kind in (Kind.BLOCK, Kind.UNBLOCK) else None,
        per_week=draw(st.integers(0, 3)) if kind is Kind.LIMIT else None,
        to_transactional=draw(st.booleans()) and kind is Kind.OUT,
        ours_alone=draw(st.booleans()) and kind is Kind.OUT,
        retracts=(draw(st.integers(1, heard_before + 2)),) if kind is Kind.RETRACT else (),
    )


SPOKEN = [Kind.OUT, Kind.OUT, Kind.IN, Kind.IN, Kind.LIFT, Kind.SNOOZE, Kind.LIMIT, Kind.PENDING]
SPOKEN += [Kind.REVIEW, Kind.REVIEWED, Kind.TEXT]
BLOCKS = [Kind.BLOCK, Kind.UNBLOCK, Kind.REGISTERED]
STEPS = st.sampled_from([0, 1, SECOND, MINUTE, 3 * MINUTE, DAY])


@st.composite
def histories(draw: st.DrawFn, kinds: list[Kind], longest: int = 9) -> History:
    told: History = []
    heard_at = T0
    for _ in range(draw(st.integers(0, longest))):
        heard_at += draw(STEPS)
        told.append(draw(an_event(heard_at, len(told), kinds)))
    return told


def last_heard(history: History) -> Millis:
    return history[-1].heard_at if history else T0


def answers(standing: Standing, since: Millis) -> dict[Asked, Decision]:
    """What is answered to every message, then, three days later and 500."""
    return {
        (topic.scope, channel, now): may_send(Message(topic, channel), standing, now)
        for now in (since, since + 3 * DAY, since + 500 * DAY)
        for topic, channel in product(TOPICS, ASKS)
    }


def inserted(history: History, word: Event, at: int) -> History:
    """The history with ``word`` said as number ``at``, seen by whoever saw what came after it."""

    def shifted(e: Event) -> Event:
        return replace(
            e,
            saw=e.saw + 1 if e.saw is not None and e.saw >= at else e.saw,
            retracts=tuple(seq + 1 if seq >= at else seq for seq in e.retracts),
        )

    return [*history[: at - 1], word, *map(shifted, history[at - 1 :])]


@st.composite
def with_a_place(
    draw: st.DrawFn, kinds: list[Kind], words: list[Kind], scopes: list[Scope] = SCOPES
) -> tuple[History, Event, int]:
    """A history, a word that was not said in it, and where it might have been."""
    history = draw(histories(kinds))
    at = draw(st.integers(1, len(history) + 1))
    heard_at = last_heard(history[: at - 1])
    if at <= len(history):
        heard_at = draw(st.sampled_from([heard_at, history[at - 1].heard_at]))
    return history, draw(an_event(heard_at, at - 1, words, scopes)), at


@POLICY
@given(with_a_place([*SPOKEN, *BLOCKS, Kind.RETRACT], [Kind.OUT]))
def test_an_out_inserted_anywhere_in_a_history_never_allows_what_was_not_allowed(
    told: tuple[History, Event, int],
) -> None:
    history, out, at = told
    longer = inserted(history, out, at)
    before = answers(fold(history)[0], last_heard(longer))
    for asked, decision in answers(fold(longer)[0], last_heard(longer)).items():
        if decision.verdict is Verdict.ALLOW:
            assert before[asked].verdict is Verdict.ALLOW
        else:
            event("denied" if before[asked].verdict is Verdict.ALLOW else "as before")


@POLICY
@given(with_a_place([*SPOKEN, *BLOCKS], [Kind.OUT]))
def test_an_out_silences_what_it_covers_at_once(told: tuple[History, Event, int]) -> None:
    history, out, _ = told
    standing, outcome = after(fold(history)[0], replace(out, heard_at=last_heard(history)))
    assume(outcome is not Outcome.LATE)
    for (scope, *_), decision in answers(standing, last_heard(history)).items():
        if out.scope.covers(scope):
            assert decision.verdict is Verdict.DENY


@st.composite
def stops_and_starts(draw: st.DrawFn) -> tuple[History, History]:
    """STOPs and STARTs with their provider's times, in two orders of arrival."""
    words = draw(
        st.lists(
            st.tuples(
                st.booleans(),
                st.sampled_from(SCOPES),
                st.sampled_from(["a", "a", "b"]),
                st.sampled_from([0, 500, SECOND, 1500, 2 * SECOND, MINUTE, 10 * MINUTE]),
            ),
            min_size=2,
            max_size=8,
        )
    )
    # Within two minutes, or else a START would lift the STOP of the other provider's clock by
    # our own clock, which does see them in an order.
    heard = sorted(draw(st.lists(st.integers(0, 2 * MINUTE), min_size=8, max_size=8)))
    orders = words, draw(st.permutations(words))
    one, other = (
        [
            Event(
                Kind.OUT if is_stop else Kind.LIFT,
                T0 + at,
                scope,
                voice=Voice.STOP if is_stop else None,
                authority=Authority.START,
                said_at=T0 + said_at,
                clock=clock,
            )
            for (is_stop, scope, clock, said_at), at in zip(order, heard, strict=False)
        ]
        for order in orders
    )
    return one, other


@POLICY
@given(stops_and_starts())
def test_stops_and_starts_with_their_providers_times_end_the_same_in_any_order_of_arrival(
    told: tuple[History, History],
) -> None:
    consents = [
        Event(Kind.IN, T0 - DAY, topic.scope, authority=Authority.CONFIRMED) for topic in TOPICS[1:]
    ]
    ends = []
    for order in told:
        standing, _ = fold([*consents, *order])
        ends.append(
            (
                {(o.scope, o.voice, o.clock, o.said_at) for o in standing.outs},
                {k: d[:2] for k, d in answers(standing, T0 + 2 * MINUTE).items()},
            )
        )
    assert ends[0] == ends[1]
    event("silenced" if ends[0][0] else "heard again")


@POLICY
@given(with_a_place(SPOKEN, [Kind.OUT, Kind.IN, Kind.LIFT, Kind.SNOOZE], [Scope(1, 10)]))
def test_words_about_one_topic_change_no_other_topics_answer(
    told: tuple[History, Event, int],
) -> None:
    history, word, at = told
    # A complaint and an erasure are about all, whatever topic gave rise to them.
    assume(word.scope == Scope(1, 10))
    longer = inserted(history, word, at)
    before = answers(fold(history)[0], last_heard(longer))
    for asked, decision in answers(fold(longer)[0], last_heard(longer)).items():
        if asked[0] != word.scope:
            assert decision[:2] == before[asked][:2]


def every_word(
    heard_at: Millis, authorities: Iterable[Authority], saws: Iterable[int | None], dated: bool
) -> Iterator[Event]:
    """All that these authors could say at ``heard_at`` to turn a no, in every scope."""
    times = [(None, ""), (heard_at, ""), (heard_at, "a"), (heard_at + DAY, "b")]
    for kind, scope, authority, saw, (said_at, clock) in product(
        [Kind.IN, Kind.LIFT, Kind.SNOOZE], SCOPES, authorities, saws, times if dated else times[:1]
    ):
        if kind is Kind.IN and (scope.topic is None or authority in ("start", "rights")):
            continue
        yield Event(
            kind,
            heard_at,
            scope,
            authority=authority,
            said_at=said_at,
            clock=clock,
            saw=saw,
            until=heard_at if kind is Kind.SNOOZE else None,
        )


def denied_by_a_person(standing: Standing, now: Millis) -> set[Asked]:
    return {asked for asked, d in answers(standing, now).items() if d.reason in NOES}


def allowed(standing: Standing, now: Millis) -> set[Asked]:
    return {asked for asked, d in answers(standing, now).items() if d.verdict is Verdict.ALLOW}


@FEWER
@given(histories([*SPOKEN, Kind.OUT]), STEPS)
def test_no_import_and_no_word_of_the_sender_turns_a_persons_no_into_an_allow(
    history: History, later: Millis
) -> None:
    """Whatever they claim to have seen, and whichever time they claim it was said."""
    standing, _ = fold(history)
    now = last_heard(history) + later
    denied = denied_by_a_person(standing, now)
    for word in every_word(now, [Authority.IMPORT, Authority.SENDER], [None, standing.seq], True):
        assert not denied & allowed(after(standing, word)[0], now)


@POLICY
@given(histories([*SPOKEN, Kind.OUT]), STEPS)
def test_no_row_of_such_words_does_either(history: History, later: Millis) -> None:
    standing = NOTHING
    for word in history:
        theirs = replace(word, authority=Authority.IMPORT if word.saw else Authority.SENDER)
        denied = denied_by_a_person(standing, word.heard_at + later)
        standing, _ = after(standing, theirs)
        assert not denied & allowed(standing, word.heard_at + later)


@FEWER
@given(histories([*SPOKEN, Kind.OUT]), STEPS)
def test_who_did_not_see_the_no_and_cannot_date_the_persons_act_turns_none(
    history: History, later: Millis
) -> None:
    standing, _ = fold(history)
    now = last_heard(history) + later
    denied = denied_by_a_person(standing, now)
    blind = [authority for authority in Authority if authority is not Authority.START]
    for word in every_word(now, blind, [None, 0], False):
        assert not denied & allowed(after(standing, word)[0], now)


@FEWER
@given(histories([*SPOKEN, Kind.OUT]), STEPS)
def test_start_allows_nothing_but_what_stops_and_unread_texts_alone_had_silenced(
    history: History, later: Millis
) -> None:
    standing, _ = fold(history)
    now = last_heard(history) + later
    outs = tuple(o for o in standing.outs if o.voice is not Voice.STOP)
    without = replace(standing, outs=outs, reviews=())
    unstopped = answers(without, now)
    for word in every_word(now, [Authority.START], [None, standing.seq], True):
        if word.kind is Kind.LIFT:
            for asked, decision in answers(after(standing, word)[0], now).items():
                if decision.verdict is Verdict.ALLOW:
                    assert unstopped[asked].verdict is Verdict.ALLOW


@POLICY
@given(histories([*SPOKEN, *BLOCKS, Kind.LIFT]))
def test_a_word_that_is_refused_or_late_changes_no_answer(history: History) -> None:
    standing = NOTHING
    for word in history:
        then, outcome = after(standing, word)
        assert then.seq == standing.seq + 1
        if outcome is not Outcome.APPLIED:
            event(outcome)
            # A START is remembered even so: the STOP before it may still be under way.
            assert replace(then, seq=standing.seq, starts=standing.starts) == standing
        standing = then


@POLICY
@given(histories([*SPOKEN, *BLOCKS]))
def test_folding_the_events_gives_the_standing_that_each_step_gave(history: History) -> None:
    def step(so_far: tuple[Standing, list[Outcome]], e: Event) -> tuple[Standing, list[Outcome]]:
        standing, outcome = after(so_far[0], e)
        return standing, [*so_far[1], outcome]

    start: tuple[Standing, list[Outcome]] = (NOTHING, [])
    assert fold(history) == reduce(step, history, start)
    assert fold(iter(history)) == fold(history)


@POLICY
@given(st.data(), histories([*SPOKEN, *BLOCKS]))
def test_a_retract_leaves_what_would_have_been_said_without_the_mistake(
    data: st.DataObject, history: History
) -> None:
    gone = data.draw(st.sets(st.integers(1, max(1, len(history))), min_size=1))
    told = [
        replace(e, kind=Kind.PENDING) if seq in gone else e
        for seq, e in enumerate(history, start=1)
    ]
    retract = Event(Kind.RETRACT, last_heard(history), retracts=tuple(gone))
    assert fold([*history, retract])[0] == fold([*told, retract])[0]


@POLICY
@given(histories([*SPOKEN, *BLOCKS, Kind.LIFT]))
def test_a_standing_reads_back_as_it_was_written(history: History) -> None:
    standing, _ = fold(history)
    again = Standing.unpack(standing.pack())
    assert again == standing
    assert again.pack() == standing.pack()
    for stored, fresh in zip(again.outs, standing.outs, strict=True):
        assert type(stored.voice) is type(fresh.voice)
        assert type(stored.scope) is type(fresh.scope)


@POLICY
@given(histories([*SPOKEN, *BLOCKS]))
def test_the_longer_a_decision_may_be_relied_on_the_longer_it_is_true(history: History) -> None:
    standing, _ = fold(history)
    for (scope, channel, now), decision in answers(standing, last_heard(history)).items():
        topic = next(t for t in TOPICS if t.scope == scope)
        assert now < decision.valid_until
        until_then = may_send(Message(topic, channel), standing, decision.valid_until - 1)
        assert until_then[:2] == decision[:2]


@POLICY
@given(histories([*SPOKEN, *BLOCKS, Kind.RETRACT]))
@example([Event(Kind.OUT, T0, voice=Voice.ERASURE), Event(Kind.BLOCK, T0, block=Block.MINOR)])
def test_transactional_passes_whatever_was_said(history: History) -> None:
    standing, _ = fold(history)
    for topic, channel in product(TOPICS, Channel):
        message = Message(replace(topic, purpose=Purpose.TRANSACTIONAL), channel)
        assert may_send(message, standing, last_heard(history))[:2] == ("allow", "transactional")


@POLICY
@given(histories([*SPOKEN, *BLOCKS]))
def test_doubt_is_held_whatever_was_said(history: History) -> None:
    standing, _ = fold(history)
    now = last_heard(history)
    assert may_send(Message(None, Channel.EMAIL), standing, now)[:2] == ("hold", "unknown_topic")
    for topic in TOPICS:
        assert may_send(Message(topic, Channel.PUSH), standing, now)[:2] == ("hold", "not_offered")


# --- the house: one function says allow ---


def sayings_of_allow() -> Iterator[str]:
    """Every place that makes a decision or hands on an ``allow``; comparing with one is free."""
    root = Path(prefs.__file__).parent.parent
    files = [*root.glob("prefs/**/*.py"), *root.glob("webhooks/**/*.py"), *root.glob("wsgi.py")]
    assert len(files) > 1
    for file in sorted(files):
        tree = ast.parse(file.read_text(encoding="utf-8"))
        for function in ast.walk(tree):
            if not isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            for node in ast.walk(function):
                if not isinstance(node, ast.Call):
                    continue
                name = ast.unparse(node.func).rpartition(".")[2]
                given = [ast.unparse(a) for a in [*node.args, *(k.value for k in node.keywords)]]
                if name == "Decision" or any(a.endswith("Verdict.ALLOW") for a in given):
                    yield f"{file.relative_to(root)}: {function.name} calls {name}"


def test_only_may_send_can_say_allow() -> None:
    assert set(sayings_of_allow()) == {
        "prefs/policy.py: may_send calls decide",
        "prefs/policy.py: hold calls Decision",
        "prefs/policy.py: _decide calls Decision",
    }
