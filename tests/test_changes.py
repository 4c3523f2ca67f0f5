"""The change feed: everything, once, in the order of commit, and of nobody else."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from time import sleep
from typing import Any

import pytest
from sqlalchemy import Connection, event, select

from prefs import directory, ledger, rights, tables
from prefs.address import Address, Channel
from prefs.database import Database
from prefs.demo import Cast
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.ledger import Change, Cursor, Said, Subject
from prefs.policy import ALL, Event, Kind, Outcome, Scope, Voice
from tests.conftest import NOON, Clock


class Reader:
    """Somebody who polls the feed and remembers nothing but the cursor."""

    def __init__(self, opened: Installation, tenant: int, limit: int = 1000) -> None:
        self.database = opened.database
        self.tenant = tenant
        self.limit = limit
        with self.database.reading() as connection:
            self.cursor = ledger.here(connection, tenant)

    def poll(self) -> list[Change]:
        with self.database.reading() as connection:
            page = ledger.changes(connection, self.tenant, self.cursor, self.limit)
        if page:
            self.cursor = page[-1].cursor
        return page

    def values(self) -> list[str | None]:
        return [change.value for change in self.poll()]


@pytest.fixture
def acme(cast: Cast) -> Tenant:
    return cast.tenant


@pytest.fixture
def database(opened: Installation) -> Database:
    return opened.database


def leave(connection: Connection, tenant: Tenant, value: str, scope: Scope = ALL) -> None:
    subject = Subject.of(tenant, Address(Channel.EMAIL, value))
    event = Event(Kind.OUT, NOON, scope, Voice.PERSON, door="test")
    ledger.record(connection, tenant.id, Said(subject, event))


def everything(opened: Installation, tenant: Tenant) -> list[tuple[bytes, int]]:
    table = tables.event
    with opened.database.reading() as connection:
        return [
            (bytes(row.digest), row.seq)
            for row in connection.execute(select(table).where(table.c.tenant_id == tenant.id))
        ]


def test_a_change_tells_whom_it_is_about_what_was_said_and_what_became_of_it(
    opened: Installation, acme: Tenant
) -> None:
    reader = Reader(opened, acme.id)
    news = acme.topic("product-news").scope
    with opened.database.writing() as connection:
        leave(connection, acme, "grace@example.org", news)
    (change,) = reader.poll()
    assert change.digest == acme.digest(Address(Channel.EMAIL, "grace@example.org"))
    assert (change.channel, change.value, change.seq) == (Channel.EMAIL, "grace@example.org", 1)
    assert change.event == Event(Kind.OUT, NOON, news, Voice.PERSON, door="test")
    assert change.outcome is Outcome.APPLIED
    assert reader.poll() == [], "and it is told once"


def test_from_the_beginning_the_feed_tells_everything_page_by_page(
    opened: Installation, acme: Tenant
) -> None:
    whole, pages = Reader(opened, acme.id), Reader(opened, acme.id, limit=2)
    whole.cursor = pages.cursor = Cursor()
    told = whole.poll()
    assert sorted((c.digest, c.seq) for c in told) == sorted(everything(opened, acme))
    paged: list[Change] = []
    while page := pages.poll():
        assert len(page) <= 2
        paged += page
    assert paged == told
    assert [c.cursor for c in told] == sorted({c.cursor for c in told})


def test_whoever_begins_here_is_told_what_comes_after_and_nothing_before(
    opened: Installation, database: Database, acme: Tenant
) -> None:
    with database.writing() as connection:
        leave(connection, acme, "before@example.org")
    reader = Reader(opened, acme.id)
    with database.writing() as connection:
        leave(connection, acme, "after@example.org")
    assert reader.values() == ["after@example.org"]


def test_what_was_rolled_back_is_not_told_and_stops_nothing(
    opened: Installation, database: Database, acme: Tenant
) -> None:
    reader = Reader(opened, acme.id)
    with pytest.raises(RuntimeError), database.writing() as connection:  # noqa: PT012
        leave(connection, acme, "never@example.org")
        raise RuntimeError("the door broke")
    with database.writing() as connection:
        leave(connection, acme, "grace@example.org")
    assert reader.values() == ["grace@example.org"]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_was_begun_first_and_committed_last_is_not_skipped(
    opened: Installation, database: Database, acme: Tenant
) -> None:
    reader = Reader(opened, acme.id)

    def visible() -> list[int]:
        with database.reading() as connection:
            positions = select(tables.event.c.position).order_by(tables.event.c.position)
            return list(connection.scalars(positions))

    before = visible()
    with database.writing() as slow:
        leave(slow, acme, "slow@example.org")
        with database.writing() as quick:
            leave(quick, acme, "quick@example.org")
        while_open = visible()
        seen = reader.values()
        begun_meanwhile = Reader(opened, acme.id)
    seen += reader.values()
    assert sorted(map(str, seen)) == ["quick@example.org", "slow@example.org"]
    assert set(map(str, begun_meanwhile.values())) == {"quick@example.org", "slow@example.org"}, (
        "a reader that begins while both are open is told both"
    )
    # A cursor that is a plain position would have stood at the quick one's already, beyond
    # the slow one's.
    (quick_position,) = set(while_open) - set(before)
    (slow_position,) = set(visible()) - set(while_open)
    assert slow_position < quick_position


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_a_transaction_that_is_left_open_delays_the_feed_and_loses_nothing(
    opened: Installation, database: Database, acme: Tenant
) -> None:
    reader = Reader(opened, acme.id)
    seen: list[str | None] = []
    with database.writing() as first:
        leave(first, acme, "1@example.org")
        for number in (2, 3, 4):
            with database.writing() as other:
                leave(other, acme, f"{number}@example.org")
            seen += reader.values()
    seen += reader.values()
    assert sorted(map(str, seen)) == [f"{number}@example.org" for number in (1, 2, 3, 4)]


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_of_two_words_about_one_address_the_one_that_waited_is_told_second(
    opened: Installation, database: Database, acme: Tenant
) -> None:
    """It began first, so it has the lower transaction number, and it was heard second."""
    reader, impatient = Reader(opened, acme.id), Reader(opened, acme.id, limit=1)
    with ThreadPoolExecutor(1) as thread, database.writing() as waiting:
        waiting.exec_driver_sql("SELECT pg_current_xact_id()")
        with database.writing() as quick:
            leave(quick, acme, "grace@example.org", acme.topic("events").scope)
            later = thread.submit(leave, waiting, acme, "grace@example.org")
            with pytest.raises(TimeoutError):
                later.result(0.2)
        later.result(10)
    assert [change.seq for change in reader.poll()] == [1, 2]
    assert [impatient.poll()[0].seq, impatient.poll()[0].seq] == [1, 2]


def test_a_reader_that_polls_among_many_writers_misses_nothing_and_is_told_nothing_twice(
    opened: Installation, database: Database, acme: Tenant
) -> None:
    reader = Reader(opened, acme.id, limit=7)
    before = set(everything(opened, acme))
    writers, each = 8, 12
    begin = threading.Barrier(writers)

    def write(writer: int) -> None:
        begin.wait(10)
        for number in range(each):
            with database.writing() as connection:
                leave(connection, acme, f"{writer}.{number}@example.org")
                leave(connection, acme, "everybody@example.org")
                # Between its event and its commit, so that others commit in between.
                sleep((writer * number) % 3 / 1000)

    seen: list[Change] = []
    with ThreadPoolExecutor(writers) as threads:
        done = [threads.submit(write, writer) for writer in range(writers)]
        while not all(one.done() for one in done):
            seen += reader.poll()
        for one in done:
            one.result()
    while page := reader.poll():
        seen += page
    told = [(change.digest, change.seq) for change in seen]
    assert len(told) == len(set(told)) == 2 * writers * each
    assert set(told) == set(everything(opened, acme)) - before
    assert [c.cursor for c in seen] == sorted(c.cursor for c in seen)
    shared = acme.digest(Address(Channel.EMAIL, "everybody@example.org"))
    assert [c.seq for c in seen if c.digest == shared] == list(range(1, writers * each + 1)), (
        "and what was said about one address is told in the order it was heard"
    )


@pytest.fixture
def umbra(opened: Installation, cast: Cast, clock: Clock) -> Tenant:
    with opened.database.writing() as connection:
        number = directory.add_tenant(connection, "umbra", "Umbra", clock())
    opened.directory.refresh()
    return opened.directory.latest.tenants[number]


def test_another_tenants_words_never_appear(
    opened: Installation, database: Database, acme: Tenant, umbra: Tenant
) -> None:
    ours, theirs = Reader(opened, acme.id), Reader(opened, umbra.id)
    with database.writing() as connection:
        for number in count(1):
            leave(connection, (acme, umbra)[number % 2], f"{number}@example.org")
            if number == 6:
                break
    assert ours.values() == ["2@example.org", "4@example.org", "6@example.org"]
    assert theirs.values() == ["1@example.org", "3@example.org", "5@example.org"]
    theirs.cursor = Cursor()
    assert len(theirs.poll()) == 3


def test_what_an_erased_person_said_is_told_without_their_address(
    opened: Installation, database: Database, acme: Tenant, clock: Callable[[], int]
) -> None:
    reader = Reader(opened, acme.id)
    grace = Subject.of(acme, Address(Channel.EMAIL, "grace@example.org"))
    with database.writing() as connection:
        leave(connection, acme, "grace@example.org")
        rights.erase(connection, acme.id, grace, clock())
    told = reader.poll()
    assert [(c.digest, c.value) for c in told] == [(grace.digest, None)] * 2


def test_on_sqlite_a_place_is_walked_to_and_not_searched_for(
    database: Database, acme: Tenant
) -> None:
    if database.engine.dialect.name != "sqlite":
        pytest.skip("PostgreSQL compares rows by its index")
    asked: list[tuple[str, Any]] = []

    @event.listens_for(database.engine, "before_cursor_execute")
    def hear(*heard: Any) -> None:
        if "FROM event" in heard[2]:
            asked.append((heard[2], heard[3]))

    with database.reading() as connection:
        ledger.changes(connection, acme.id, ledger.here(connection, acme.id))
        plans = [
            [row.detail for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {said}", values)]
            for said, values in asked[:2]
        ]
    _, changes = plans
    for plan in plans:
        assert "event_changes (tenant_id=? AND xact=?" in plan[0]
        assert not any("TEMP B-TREE" in line for line in plan)
    assert "position>?" in changes[0]
