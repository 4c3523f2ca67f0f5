"""The ledger keeps every word, once, in order, with its proof, and forgets only whom it must."""

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from itertools import chain, count
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import delete, exc, insert, select, text, update

from prefs import directory, ledger, rights, tables
from prefs.address import Address, Channel
from prefs.database import Unavailable
from prefs.demo import Cast
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.ledger import Difference, Entry, Recorded, Said, Subject
from prefs.policy import (
    ALL,
    NOTHING,
    Authority,
    Block,
    Event,
    Kind,
    Message,
    Millis,
    Outcome,
    Scope,
    Standing,
    Verdict,
    Voice,
    fold,
    may_send,
)
from tests.conftest import NOON
from tests.test_policy_properties import BLOCKS, SPOKEN, histories

SECOND: Millis = 1000
DAY: Millis = 24 * 3600 * SECOND

MODEST = hypothesis_settings(
    deadline=None,
    max_examples=25,
    # Every example speaks about addresses that no other has.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
EVERYTHING_SAID = histories([*SPOKEN, *BLOCKS, Kind.RETRACT])

Result = TypeVar("Result")


@dataclass
class Acme:
    """Acme's ledger, read and written as a door does: one transaction per request."""

    opened: Installation
    tenant: Tenant

    def __post_init__(self) -> None:
        self._numbers = count(1)

    def somebody(self) -> Subject:
        """An address that nothing was said about yet."""
        number = next(self._numbers)
        return Subject.of(self.tenant, Address(Channel.EMAIL, f"somebody-{number}@example.org"))

    def scope(self, topic: str) -> Scope:
        return self.tenant.topic(topic).scope

    def record(self, *said: Said) -> list[Recorded]:
        with self.opened.database.writing() as connection:
            return ledger.record_many(connection, self.tenant.id, said)

    def hear(self, subject: Subject, *events: Event) -> list[Recorded]:
        return self.record(*(Said(subject, event) for event in events))

    def erase(self, subject: Subject) -> None:
        with self.opened.database.writing() as connection:
            rights.erase(connection, self.tenant.id, subject, NOON)

    def standing(self, subject: Subject) -> Standing:
        with self.opened.database.reading() as connection:
            return ledger.standing(connection, self.tenant.id, subject.digest)

    def history(self, subject: Subject) -> list[Entry]:
        with self.opened.database.reading() as connection:
            return ledger.history(connection, self.tenant.id, subject.digest)

    def value(self, subject: Subject) -> str | None:
        with self.opened.database.reading() as connection:
            return ledger.known(connection, self.tenant.id, subject.digest).value

    def differences(self) -> list[Difference]:
        with self.opened.database.reading() as connection:
            return list(ledger.replay(connection, self.tenant.id))

    def row(self, subject: Subject) -> Any:
        with self.opened.database.reading() as connection:
            table = tables.address
            return connection.execute(
                select(table).where(table.c.digest == subject.digest)
            ).one_or_none()

    def allows(self, subject: Subject, topic: str = "product-news") -> bool:
        message = Message(self.tenant.topic(topic), subject.channel)
        return may_send(message, self.standing(subject), NOON).verdict is Verdict.ALLOW

    @contextmanager
    def altered(self) -> Iterator[Callable[[Any], object]]:
        """For what nobody but an operator with a console does."""
        with self.opened.database.writing() as connection:
            yield connection.execute


@pytest.fixture
def acme(opened: Installation, cast: Cast) -> Acme:
    return Acme(opened, cast.tenant)


def out(at: Millis = NOON, scope: Scope = ALL, voice: Voice = Voice.PERSON) -> Event:
    return Event(Kind.OUT, at, scope, voice, Authority.PERSON, door="test")


def yes(
    topic: Scope,
    at: Millis = NOON,
    authority: Authority = Authority.PERSON,
    saw: int | None = None,
) -> Event:
    return Event(Kind.IN, at, topic, authority=authority, saw=saw, basis="express", door="test")


def at_once(acts: Iterable[Callable[[], Result]]) -> list[Result]:
    """What the acts return, each done by a thread of its own, all beginning together."""
    acts = list(acts)
    begin = threading.Barrier(len(acts))

    def go(act: Callable[[], Result]) -> Result:
        begin.wait(10)
        return act()

    with ThreadPoolExecutor(len(acts)) as threads:
        return list(threads.map(go, acts))


def outcomes(recorded: Sequence[Recorded]) -> list[Outcome]:
    return [one.outcome for one in recorded]


# --- one transaction ---


def test_an_event_its_outcome_its_evidence_and_the_standing_are_there_together(
    acme: Acme,
) -> None:
    who = acme.somebody()
    (recorded,) = acme.record(
        Said(who, out(), "twilio", "SM1", {"text": "STOP", "ip": "192.0.2.1"}, person="17")
    )
    assert recorded == (Outcome.APPLIED, NOTHING, acme.standing(who))
    assert acme.history(who) == [
        (1, out(), Outcome.APPLIED, "twilio", "SM1", {"text": "STOP", "ip": "192.0.2.1"})
    ]
    row = acme.row(who)
    assert (row.value, row.person, row.seq) == (who.value, "17", 1)
    assert not acme.allows(who)


def test_a_door_that_breaks_after_recording_has_recorded_nothing(acme: Acme) -> None:
    who = acme.somebody()
    with pytest.raises(RuntimeError), acme.opened.database.writing() as connection:  # noqa: PT012
        ledger.record(connection, acme.tenant.id, Said(who, out(), evidence={"ip": "192.0.2.1"}))
        raise RuntimeError("the door broke")
    assert acme.history(who) == []
    assert acme.row(who) is None


def test_evidence_that_cannot_be_written_leaves_no_event_and_no_standing(acme: Acme) -> None:
    who = acme.somebody()
    with acme.altered() as execute:
        execute(
            insert(tables.evidence).values(
                digest=who.digest, seq=1, tenant_id=acme.tenant.id, salt=b"", body="{}"
            )
        )
    with pytest.raises(exc.IntegrityError):
        acme.record(Said(who, out(), evidence={"ip": "192.0.2.1"}))
    assert acme.history(who) == []
    assert acme.standing(who) == NOTHING


def test_one_event_that_no_column_takes_leaves_nothing_of_the_others(acme: Acme) -> None:
    first, second = acme.somebody(), acme.somebody()
    too_far = Event(Kind.PENDING, NOON, until=2**63)
    with pytest.raises((OverflowError, exc.DataError)):
        acme.record(Said(first, out()), Said(second, too_far), Said(second, out()))
    assert acme.history(first) == acme.history(second) == []
    assert acme.standing(first) == acme.standing(second) == NOTHING


def test_recording_nothing_is_no_error(acme: Acme) -> None:
    assert acme.record() == []


# --- the same event twice ---


def test_the_same_source_event_twice_changes_nothing_however_old_it_is(acme: Acme) -> None:
    who, news = acme.somebody(), acme.scope("product-news")
    consent = Said(who, yes(news), "form", "17", {"ip": "192.0.2.1"})
    acme.record(consent)
    for day in range(30):
        acme.hear(who, out(NOON + day * DAY, news))
    before, told = acme.standing(who), acme.history(who)
    years_later = replace(consent.event, heard_at=NOON + 3000 * DAY, saw=31)
    (again,) = acme.record(replace(consent, event=years_later))
    assert again == (Outcome.DUPLICATE, before, before)
    assert acme.standing(who) == before
    assert acme.history(who) == told
    assert not acme.allows(who)


def test_a_duplicate_is_known_by_its_source_even_if_it_names_another_address(acme: Acme) -> None:
    one, other = acme.somebody(), acme.somebody()
    acme.record(Said(one, out(), "twilio", "SM1"))
    assert outcomes(acme.record(Said(other, out(), "twilio", "SM1"))) == [Outcome.DUPLICATE]
    assert acme.history(other) == []


def test_the_same_source_event_twice_in_one_go_is_recorded_once(acme: Acme) -> None:
    who = acme.somebody()
    said = Said(who, out(), "import", "line 1")
    assert outcomes(acme.record(said, Said(who, out()), said)) == [
        Outcome.APPLIED,
        Outcome.APPLIED,
        Outcome.DUPLICATE,
    ]
    assert [entry.seq for entry in acme.history(who)] == [1, 2]


def test_events_of_one_source_without_an_id_are_all_different(acme: Acme) -> None:
    who = acme.somebody()
    nameless = Said(who, out(), "desk")
    acme.record(nameless, nameless)
    acme.record(nameless)
    assert [entry.seq for entry in acme.history(who)] == [1, 2, 3]


def test_the_same_id_from_another_source_is_another_event(acme: Acme) -> None:
    who = acme.somebody()
    said = acme.record(Said(who, out(), "twilio", "1"), Said(who, out(), "sendgrid", "1"))
    assert outcomes(said) == [Outcome.APPLIED, Outcome.APPLIED]


@pytest.mark.parametrize("together", [1, 3])
def test_the_same_source_event_arriving_at_once_is_recorded_once(acme: Acme, together: int) -> None:
    who = acme.somebody()
    said = [Said(who, out(), "twilio", f"SM{number}") for number in range(together)]
    results = at_once([lambda: acme.record(*said)] * 8)
    assert sorted(map(outcomes, results)) == sorted(
        [[Outcome.APPLIED] * together, *[[Outcome.DUPLICATE] * together] * 7]
    )
    assert [entry.seq for entry in acme.history(who)] == list(range(1, together + 1))
    assert acme.standing(who).seq == together


def test_a_duplicate_of_an_event_that_is_just_being_recorded_waits_and_stops_no_other(
    acme: Acme,
) -> None:
    one, other, third = acme.somebody(), acme.somebody(), acme.somebody()
    with ThreadPoolExecutor(1) as thread:
        with acme.opened.database.writing() as connection:
            ledger.record(connection, acme.tenant.id, Said(one, out(), "twilio", "SM1"))
            second = thread.submit(
                acme.record,
                Said(third, out(), "twilio", "SM2"),
                Said(other, out(), "twilio", "SM1"),
                Said(third, out(), "twilio", "SM3"),
            )
            with pytest.raises(TimeoutError):
                second.result(0.2)
        assert outcomes(second.result(10)) == [
            Outcome.APPLIED,
            Outcome.DUPLICATE,
            Outcome.APPLIED,
        ]
    assert [entry.seq for entry in acme.history(third)] == [1, 2]
    assert acme.history(other) == []


# --- order ---


def test_what_is_recorded_in_one_go_is_heard_in_the_order_given(acme: Acme) -> None:
    news = acme.scope("product-news")
    one, other = acme.somebody(), acme.somebody()
    acme.record(
        Said(one, out()),
        Said(other, yes(news)),
        Said(one, yes(news, saw=1)),
        Said(other, out()),
    )
    assert acme.allows(one)
    assert not acme.allows(other)
    assert [entry.event.kind for entry in acme.history(one)] == [Kind.OUT, Kind.IN]
    assert [entry.event.kind for entry in acme.history(other)] == [Kind.IN, Kind.OUT]


@st.composite
def mixtures(draw: st.DrawFn) -> list[tuple[int, Event, str | None, str | None]]:
    """What is said about three addresses, in one order; some of it twice."""
    said = [
        (number, event)
        for number in range(3)
        for event in draw(histories([*SPOKEN, Kind.RETRACT], longest=5))
    ]
    sources = st.sampled_from([None, None, "a", "b"])
    names = st.sampled_from([None, "1", "2", "3"])
    return [(n, event, draw(sources), draw(names)) for n, event in draw(st.permutations(said))]


@MODEST
@given(mixtures(), st.booleans())
def test_many_at_once_come_to_the_same_as_one_by_one(
    acme: Acme, mixture: list[tuple[int, Event, str | None, str | None]], some_before: bool
) -> None:
    def said(name: str) -> tuple[list[Subject], list[Said]]:
        subjects = [acme.somebody() for _ in range(3)]
        if some_before:
            acme.record(Said(subjects[0], out(), f"a {subjects[0].value}", "1"))
        return subjects, [
            Said(
                subjects[number],
                event,
                source and f"{source} {subjects[0].value}",
                source_id,
                {"number": str(number)},
            )
            for number, event, source, source_id in mixture
        ]

    def known(subject: Subject) -> Any:
        told = [(e.seq, e.event, e.outcome, e.source_id, e.evidence) for e in acme.history(subject)]
        return acme.standing(subject), told

    together, all_of_them = said("together")
    singly, each_of_them = said("singly")
    at_one_go = acme.record(*all_of_them)
    one_by_one = [acme.record(one)[0] for one in each_of_them]
    assert at_one_go == one_by_one
    assert list(map(known, together)) == list(map(known, singly))


@MODEST
@given(st.lists(EVERYTHING_SAID, min_size=1, max_size=3))
def test_numbers_count_every_event_without_a_gap_and_replay_finds_no_difference(
    acme: Acme, told: list[list[Event]]
) -> None:
    for history in told:
        who = acme.somebody()
        acme.hear(who, *history[:4])
        for event in history[4:]:
            acme.hear(who, event)
        entries = acme.history(who)
        assert [entry.event for entry in entries] == history
        assert [entry.seq for entry in entries] == list(range(1, len(history) + 1))
        assert acme.standing(who) == fold(history)[0]
        if history:
            assert acme.row(who).seq == acme.standing(who).seq == len(history)
    assert acme.differences() == []


# --- many at once ---


def test_sixteen_writers_about_one_address_lose_nothing(acme: Acme) -> None:
    who = acme.somebody()

    def speak(writer: int) -> Callable[[], object]:
        return lambda: [
            acme.record(Said(who, out(), "writer", f"{writer}.{number}")) for number in range(4)
        ]

    at_once(speak(writer) for writer in range(16))
    told = acme.history(who)
    assert [entry.seq for entry in told] == list(range(1, 65))
    assert {entry.source_id for entry in told} == {f"{w}.{n}" for w in range(16) for n in range(4)}
    assert acme.differences() == []


def test_sixteen_writers_about_many_addresses_in_every_order_never_wait_for_each_other(
    acme: Acme,
) -> None:
    """Each time about addresses that are new to the ledger, and then once more."""
    rounds = [[acme.somebody() for _ in range(8)] for _ in range(4)]

    def speak(writer: int) -> None:
        for number, people in enumerate([*rounds, *rounds]):
            mine = people if writer % 2 else people[::-1]
            mine = [*mine[writer % 8 :], *mine[: writer % 8]]
            acme.record(*(Said(who, out(), f"{writer} {who.value}", str(number)) for who in mine))

    at_once(partial(speak, writer) for writer in range(16))
    for who in chain(*rounds):
        assert [entry.seq for entry in acme.history(who)] == list(range(1, 33))
    assert acme.differences() == []


# --- refused and late ---


def test_what_is_refused_is_kept_and_changes_nothing(acme: Acme) -> None:
    who, news = acme.somebody(), acme.scope("product-news")
    acme.hear(who, out())
    (refused,) = acme.record(
        Said(who, yes(news, authority=Authority.IMPORT), evidence={"file": "spring.csv"})
    )
    assert refused.outcome is Outcome.REFUSED
    assert refused.standing == replace(refused.before, seq=2)
    last = acme.history(who)[-1]
    assert (last.outcome, last.evidence) == (Outcome.REFUSED, {"file": "spring.csv"})
    assert not acme.allows(who)


def test_a_stop_that_comes_late_is_kept_as_late(acme: Acme) -> None:
    who = acme.somebody()
    start = Event(Kind.LIFT, NOON, authority=Authority.START, said_at=NOON - SECOND, clock="twilio")
    stop = replace(out(NOON, voice=Voice.STOP), said_at=NOON - 60 * SECOND, clock="twilio")
    assert outcomes(acme.hear(who, start, stop)) == [Outcome.APPLIED, Outcome.LATE]
    assert [entry.outcome for entry in acme.history(who)] == [Outcome.APPLIED, Outcome.LATE]
    assert acme.standing(who).outs == ()


# --- history ---


def test_a_history_is_read_page_by_page_with_the_evidence_of_each_event(acme: Acme) -> None:
    who, other = acme.somebody(), acme.somebody()
    awkward = {"text": "STOP \u2014 \U0001f6d1 \ud800 \x00", "wording": "Ja, gern"}
    for number in range(5):
        acme.record(
            Said(who, out(NOON + number), evidence={} if number == 2 else awkward),
            Said(other, out(NOON + number), evidence={"text": "not theirs"}),
        )
    with acme.opened.database.reading() as connection:
        first = ledger.history(connection, acme.tenant.id, who.digest, limit=3)
        rest = ledger.history(connection, acme.tenant.id, who.digest, beyond=first[-1].seq)
    assert [*first, *rest] == acme.history(who)
    assert [entry.seq for entry in (*first, *rest)] == [1, 2, 3, 4, 5]
    assert [entry.evidence for entry in (*first, *rest)] == [
        awkward,
        awkward,
        None,
        awkward,
        awkward,
    ]


def test_every_part_of_an_event_comes_back_as_it_was_said(acme: Acme) -> None:
    who = acme.somebody()
    told = [
        Event(
            Kind.IN,
            NOON,
            acme.scope("events"),
            authority=Authority.CONFIRMED,
            said_at=NOON - 1,
            clock="twilio",
            saw=0,
            until=NOON + 400 * DAY,
            basis="express",
            door="sign-up form",
        ),
        Event(Kind.BLOCK, NOON, block=Block.HARD_BOUNCE),
        Event(Kind.SNOOZE, NOON, Scope(acme.scope("events").brand), until=NOON + DAY),
        Event(Kind.RETRACT, NOON, authority=Authority.RIGHTS, retracts=(2, 3)),
    ]
    acme.hear(who, *told)
    assert [entry.event for entry in acme.history(who)] == told


def test_every_kind_of_event_and_every_outcome_has_its_sentence() -> None:
    assert set(ledger.SENTENCES) == set(Kind)
    assert set(ledger.OUTCOMES) == set(Outcome)


# --- replay ---


def test_replay_finds_a_standing_that_somebody_edited(acme: Acme) -> None:
    who, calm = acme.somebody(), acme.somebody()
    acme.hear(who, out())
    acme.hear(calm, out())
    with acme.altered() as execute:
        execute(
            update(tables.address)
            .where(tables.address.c.digest == who.digest)
            .values(standing=Standing(1).pack())
        )
    (difference,) = acme.differences()
    assert difference.digest == who.digest
    assert difference.stored == Standing(1)
    assert difference.folded.outs


@pytest.mark.parametrize("text", ["", "{}", "[2,1,[],[],[],[],[]]", "not JSON"])
def test_replay_finds_a_standing_that_cannot_be_read(acme: Acme, text: str) -> None:
    who = acme.somebody()
    acme.hear(who, out())
    with acme.altered() as execute:
        execute(
            update(tables.address)
            .where(tables.address.c.digest == who.digest)
            .values(standing=text)
        )
    assert [(d.digest, d.stored) for d in acme.differences()] == [(who.digest, None)]


def test_replay_finds_a_no_whose_address_somebody_deleted(acme: Acme) -> None:
    who = acme.somebody()
    acme.hear(who, out())
    with acme.altered() as execute:
        execute(delete(tables.address).where(tables.address.c.digest == who.digest))
    (difference,) = acme.differences()
    assert (difference.digest, difference.stored) == (who.digest, None)
    assert difference.folded.outs


def test_replay_finds_a_consent_that_nobody_gave(acme: Acme) -> None:
    who = acme.somebody()
    invented = fold([yes(acme.scope("events"))])[0]
    with acme.opened.database.writing() as connection:
        ledger.remember(connection, acme.tenant.id, [who])
        connection.execute(
            update(tables.address)
            .where(tables.address.c.digest == who.digest)
            .values(standing=invented.pack())
        )
    assert acme.differences() == [(who.digest, invented, NOTHING)]


# --- only appended ---


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE event SET outcome = 'refused'",
        "UPDATE event SET voice = 'sender' WHERE seq = 1",
        "DELETE FROM event",
        "DELETE FROM event WHERE seq = 1",
    ],
)
def test_events_cannot_be_changed_or_deleted(acme: Acme, change: str) -> None:
    who = acme.somebody()
    acme.hear(who, out())
    told = acme.history(who)
    with pytest.raises((exc.IntegrityError, Unavailable)), acme.altered() as execute:
        execute(text(change))
    assert acme.history(who) == told


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_events_cannot_be_truncated(acme: Acme) -> None:
    who = acme.somebody()
    acme.hear(who, out())
    with pytest.raises(Unavailable), acme.altered() as execute:
        execute(text("TRUNCATE event CASCADE"))
    assert len(acme.history(who)) == 1


# --- retract ---


def test_what_a_machine_said_by_mistake_is_taken_back_and_the_rest_is_folded_anew(
    acme: Acme,
) -> None:
    who, news, events = acme.somebody(), acme.scope("product-news"), acme.scope("events")
    acme.hear(who, yes(news), yes(events), out(), out(scope=events))
    assert not acme.allows(who)
    retract = Event(Kind.RETRACT, NOON, authority=Authority.RIGHTS, retracts=(3,))
    (recorded,) = acme.hear(who, retract)
    assert recorded.standing == acme.standing(who)
    assert recorded.standing.seq == 5
    assert acme.allows(who)
    assert not acme.allows(who, "events"), "what else was said still stands"
    assert len(acme.history(who)) == 5, "and nothing is gone from the history"
    assert acme.differences() == []


def test_a_retract_in_one_go_with_what_it_takes_back_sees_it(acme: Acme) -> None:
    who = acme.somebody()
    acme.hear(
        who, out(), Event(Kind.RETRACT, NOON, authority=Authority.RIGHTS, retracts=(1,)), out()
    )
    assert [o.seq for o in acme.standing(who).outs] == [3]
    assert acme.differences() == []


# --- erasure ---

CANARY = "canary-7f3a91"


def everything_stored(acme: Acme) -> str:
    """Every row of every table, as text."""
    with acme.opened.database.reading() as connection:
        rows = [
            row
            for table in tables.metadata.sorted_tables
            for row in connection.execute(select(table))
        ]
    return "\n".join(
        str(bytes(cell) if isinstance(cell, memoryview) else cell) for row in rows for cell in row
    )


def canary(acme: Acme) -> Said:
    who = Subject.of(acme.tenant, Address(Channel.EMAIL, f"{CANARY}@example.org"))
    return Said(
        who,
        yes(acme.scope("product-news")),
        evidence={"ip": f"ip {CANARY}", "wording": f"wording {CANARY}"},
        person=f"person {CANARY}",
    )


def test_erasure_leaves_nothing_that_names_the_person_in_any_table(acme: Acme) -> None:
    said = canary(acme)
    acme.record(said, replace(said, event=out()))
    assert everything_stored(acme).count(CANARY) == 6
    acme.erase(said.subject)
    assert CANARY not in everything_stored(acme)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_erasure_leaves_nothing_in_the_unused_parts_of_the_file(
    acme: Acme, database_url: str
) -> None:
    said = canary(acme)
    for number in range(50):
        acme.record(replace(said, evidence={"text": f"{CANARY} {number}" * 50}))
    acme.erase(said.subject)
    with acme.opened.database.engine.connect() as connection:
        connection.exec_driver_sql("COMMIT")
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        connection.exec_driver_sql("BEGIN")
    with open(database_url.removeprefix("sqlite:///"), "rb") as file:
        assert CANARY.encode() not in file.read()


def test_the_no_and_the_events_survive_the_erasure(acme: Acme) -> None:
    said = canary(acme)
    acme.record(said)
    acme.erase(said.subject)
    assert not acme.allows(said.subject)
    told = acme.history(said.subject)
    assert [(entry.seq, entry.evidence) for entry in told] == [(1, None), (2, None)]
    assert told[-1].event.voice is Voice.ERASURE
    assert acme.differences() == []


def test_a_no_of_somebody_nobody_ever_heard_of_holds_after_erasure_too(acme: Acme) -> None:
    who = acme.somebody()
    acme.erase(who)
    assert not acme.allows(who)
    assert acme.value(who) is None


def test_an_erased_address_that_is_imported_again_stays_out_and_unknown(acme: Acme) -> None:
    said = canary(acme)
    acme.record(said)
    acme.erase(said.subject)
    imported = replace(said.event, heard_at=NOON + DAY, authority=Authority.IMPORT)
    again = acme.record(
        replace(said, event=imported, evidence={}),
        replace(said, event=out(NOON + DAY), evidence={}),
    )
    assert outcomes(again) == [Outcome.REFUSED, Outcome.APPLIED]
    with acme.opened.database.writing() as connection:
        ledger.remember(connection, acme.tenant.id, [said.subject])
    assert not acme.allows(said.subject)
    assert CANARY not in everything_stored(acme)


def test_whoever_was_erased_and_consents_anew_is_known_anew(acme: Acme) -> None:
    said = canary(acme)
    acme.record(said)
    acme.erase(said.subject)
    acme.record(replace(said, event=yes(acme.scope("product-news"), NOON + DAY, saw=2)))
    assert acme.value(said.subject) is None, "a click on a page lifts no erasure"
    confirmed = yes(acme.scope("product-news"), NOON + DAY, Authority.CONFIRMED, saw=3)
    assert outcomes(acme.record(replace(said, event=confirmed))) == [Outcome.APPLIED]
    assert acme.value(said.subject) == said.subject.value
    assert acme.allows(said.subject)
    assert not acme.allows(said.subject, "events")


def test_erasing_one_person_leaves_the_others(acme: Acme) -> None:
    said, other = canary(acme), acme.somebody()
    acme.record(said, Said(other, out(), evidence={"ip": "192.0.2.1"}))
    acme.erase(said.subject)
    assert acme.value(other) == other.value
    assert acme.history(other)[0].evidence == {"ip": "192.0.2.1"}


# --- addresses and persons ---


def test_an_address_that_a_link_was_minted_for_is_remembered_and_nothing_is_said(
    acme: Acme,
) -> None:
    who, known = acme.somebody(), acme.somebody()
    acme.hear(known, out())
    before = acme.row(known)
    with acme.opened.database.writing() as connection:
        ledger.remember(connection, acme.tenant.id, [who, known, who])
        ledger.remember(connection, acme.tenant.id, [])
    assert acme.value(who) == who.value
    assert acme.standing(who) == NOTHING
    assert acme.history(who) == []
    assert acme.row(known) == before


def test_an_out_by_a_link_alone_needs_no_address_and_learns_it_later(acme: Acme) -> None:
    who = acme.somebody()
    acme.hear(who._replace(value=None), out())
    assert acme.value(who) is None
    assert not acme.allows(who)
    with acme.opened.database.writing() as connection:
        ledger.remember(connection, acme.tenant.id, [who])
    assert acme.value(who) == who.value
    assert not acme.allows(who)


def test_an_address_that_two_persons_claim_is_marked_shared(acme: Acme) -> None:
    who = acme.somebody()
    acme.record(Said(who, out(), person="17"))
    acme.record(Said(who, out(), person="17"), Said(who, out()))
    assert (acme.row(who).person, acme.row(who).shared) == ("17", False)
    acme.record(Said(who, out(), person="18"))
    acme.record(Said(who, out(), person="17"))
    assert (acme.row(who).person, acme.row(who).shared) == ("17", True)


def test_the_roll_is_read_page_by_page_and_names_everybody_once(acme: Acme) -> None:
    people = [acme.somebody() for _ in range(7)]
    for who in people:
        acme.hear(who, out())
    with acme.opened.database.reading() as connection:
        whole = ledger.roll(connection, acme.tenant.id, Channel.EMAIL)
        pages: list[ledger.Known] = []
        while page := ledger.roll(
            connection, acme.tenant.id, Channel.EMAIL, pages[-1].digest if pages else b"", 2
        ):
            pages += page
        texts = ledger.roll(connection, acme.tenant.id, Channel.SMS)
    assert pages == whole
    assert [known.digest for known in whole] == sorted({known.digest for known in whole})
    assert {who.digest for who in people} < {known.digest for known in whole}
    assert {known.value for known in texts} == {"+14155550104", "+14155550106", "+14155550112"}


def test_no_tenant_sees_what_another_tenant_heard(acme: Acme, clock: Callable[[], Millis]) -> None:
    with acme.opened.database.writing() as connection:
        other = directory.add_tenant(connection, "umbra", "Umbra", clock())
    who = acme.somebody()
    acme.record(Said(who, out(), "twilio", "SM1", {"text": "STOP"}))
    with acme.opened.database.reading() as connection:
        assert ledger.standing(connection, other, who.digest) is NOTHING
        assert ledger.known(connection, other, who.digest).value is None
        assert ledger.history(connection, other, who.digest) == []
        assert ledger.roll(connection, other, Channel.EMAIL) == []
        assert list(ledger.replay(connection, other)) == []
    assert acme.opened.database.standing(other, who.digest) is None
    acme.opened.directory.refresh()
    theirs = Acme(acme.opened, acme.opened.directory.latest.tenants[other])
    (said,) = theirs.record(Said(theirs.somebody(), out(), "twilio", "SM1"))
    assert said.outcome is Outcome.APPLIED, "nor do their ids meet"
