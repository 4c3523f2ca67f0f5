"""The database keeps what it acknowledged, waits fairly, and says so when it is away."""

import multiprocessing
import sqlite3
import stat
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import exc, insert, inspect, select, text

from prefs import demo, ledger, tables
from prefs.address import Address, Channel
from prefs.database import Database, Unavailable, migrate, sqlite_file
from prefs.demo import Cast
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.policy import ALL, Event, Kind, Outcome, Voice
from prefs.settings import Settings, create_secrets
from tests.conftest import NOON, Clock
from tests.postgres import Server

SPAWN = multiprocessing.get_context("spawn")

sqlite_only = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
postgresql_only = pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    opened = Database(database_url)
    yield opened
    opened.close()


def grace(tenant: Tenant) -> Subject:
    return Subject.of(tenant, Address(Channel.EMAIL, "grace@example.org"))


def leave(opened: Installation, cast: Cast, source_id: str | None = None) -> Outcome:
    said = Said(grace(cast.tenant), Event(Kind.OUT, NOON, ALL, Voice.PERSON), "test", source_id)
    with opened.database.writing() as connection:
        return ledger.record(connection, cast.tenant.id, said).outcome


def heard(opened: Installation, cast: Cast) -> int:
    with opened.database.reading() as connection:
        digest = grace(cast.tenant).digest
        return ledger.standing(connection, cast.tenant.id, digest).seq


# --- migrations ---


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database that nobody has migrated."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'a folder' / 'prefs.sqlite3'}"
    else:
        server: Server = request.getfixturevalue("postgres")
        server.create("unmigrated")
        yield server.url("unmigrated")
        server.drop("unmigrated")


def differences(url: str) -> list[Any]:
    """What a migration would still have to change."""
    with closing(Database(url)) as database, database.engine.connect() as connection:
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_name": lambda name, kind, _: name != "alembic_version",
            },
        )
        found: list[Any] = compare_metadata(context, tables.metadata)
        return found


def test_migrating_from_empty_makes_the_tables_and_nothing_else(empty_url: str) -> None:
    migrate(empty_url)
    assert differences(empty_url) == []
    with closing(Database(empty_url)) as database, database.reading() as connection:
        there = set(inspect(connection).get_table_names())
    assert there == {*tables.metadata.tables, "alembic_version"}


def test_a_database_that_lacks_something_is_found_to_differ(empty_url: str) -> None:
    migrate(empty_url)
    with closing(Database(empty_url)) as database, database.writing() as connection:
        connection.execute(text("DROP INDEX event_changes"))
    assert differences(empty_url) != []


def test_migrating_again_changes_nothing(opened: Installation, cast: Cast) -> None:
    before = heard(opened, cast)
    leave(opened, cast)
    migrate(opened.settings.database_url)
    assert heard(opened, cast) == before + 1
    assert differences(opened.settings.database_url) == []


def test_a_database_of_the_release_before_keeps_every_word(empty_url: str) -> None:
    if file := sqlite_file(empty_url):
        Path(file).parent.mkdir()
        Path(file).touch()
    config = Config()
    config.set_main_option("script_location", "prefs:migrations")
    left = '[1,1,[[[null,null],"person","",1,5,5,"one-click"]],[],[],[],[]]'
    with closing(Database(empty_url)) as database:
        with database.writing() as connection:
            config.attributes["connection"] = connection
            command.upgrade(config, "0001")
            for statement in (
                "INSERT INTO installation VALUES (1, 1, 'x')",
                "INSERT INTO tenant (id, slug, name, created_at) VALUES (1, 'acme', 'Acme', 1)",
                "INSERT INTO brand VALUES (1, 1, 'acme', 'Acme', 'help', 1)",
                """INSERT INTO topic VALUES
                   (1, 1, 1, 'news', 'News', '', 'marketing', '{"email": "opt_out"}', 1)""",
            ):
                connection.execute(text(statement))
            connection.execute(
                text(
                    "INSERT INTO address (digest, tenant_id, channel, seq, standing) "
                    "VALUES (:digest, 1, 'email', 1, :standing)"
                ),
                {"digest": b"d" * 16, "standing": left},
            )
            connection.execute(
                text(
                    "INSERT INTO event (tenant_id, digest, channel, seq, kind, voice, authority, "
                    "heard_at, clock, basis, door, retracts, outcome) VALUES (1, :digest, "
                    "'email', 1, 'out', 'person', 'person', 5, '', '', 'one-click', '', 'applied')"
                ),
                {"digest": b"d" * 16},
            )
        migrate(empty_url)
        with database.reading() as connection:
            assert ledger.standing(connection, 1, b"d" * 16).outs[0].scope == ALL
            assert list(ledger.replay(connection, 1)) == []
    assert differences(empty_url) == []


def test_several_processes_that_migrate_at_once_do_it_once(empty_url: str) -> None:
    with SPAWN.Pool(4) as processes:
        processes.map(migrate, [empty_url] * 4, chunksize=1)
    assert differences(empty_url) == []
    with closing(Database(empty_url)) as database, database.reading() as connection:
        assert len(connection.execute(text("SELECT * FROM alembic_version")).all()) == 1


def test_a_database_that_nobody_migrated_is_unavailable_and_not_empty(empty_url: str) -> None:
    if file := sqlite_file(empty_url):
        Path(file).parent.mkdir()
        Path(file).touch()
    with closing(Database(empty_url)) as database:
        with pytest.raises(Unavailable):
            database.standing(1, b"x" * 16)
        with pytest.raises(Unavailable), database.reading() as connection:
            ledger.standing(connection, 1, b"x" * 16)


def test_a_new_sqlite_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    file = tmp_path / "prefs.sqlite3"
    migrate(f"sqlite:///{file}")
    for part in tmp_path.iterdir():
        assert stat.S_IMODE(part.stat().st_mode) & 0o077 == 0, part


# --- transactions ---


def test_what_a_block_wrote_is_there_once_it_has_ended_and_not_before(
    opened: Installation, cast: Cast
) -> None:
    with opened.database.writing() as connection:
        said = Said(grace(cast.tenant), Event(Kind.OUT, NOON, ALL, Voice.PERSON))
        ledger.record(connection, cast.tenant.id, said)
        assert heard(opened, cast) == 0
        assert opened.database.standing(cast.tenant.id, grace(cast.tenant).digest) is None
    assert heard(opened, cast) == 1
    assert opened.database.standing(cast.tenant.id, grace(cast.tenant).digest)


def test_a_reading_block_sees_one_unchanging_view(opened: Installation, cast: Cast) -> None:
    table, digest = tables.address, grace(cast.tenant).digest
    query = select(table.c.seq).where(table.c.digest == digest)
    leave(opened, cast)
    with opened.database.reading() as connection:
        assert connection.scalar(query) == 1
        leave(opened, cast)
        assert connection.scalar(query) == 1
    assert heard(opened, cast) == 2


def test_the_one_fast_read_sees_every_commit_at_once(opened: Installation, cast: Cast) -> None:
    tenant, digest = cast.tenant.id, grace(cast.tenant).digest
    assert opened.database.standing(tenant, digest) is None
    for number in range(1, 30):
        leave(opened, cast)
        assert ledger.unpacked(opened.database.standing(tenant, digest)).seq == number
    assert opened.database.standing(tenant + 1, digest) is None


def test_what_no_column_takes_is_an_error_of_its_own_and_no_outage(
    opened: Installation, cast: Cast
) -> None:
    brand = {"tenant_id": cast.tenant.id, "name": "A", "contact": "a@b.example", "created_at": 1}
    for wrong in (
        brand | {"slug": "acme"},
        brand | {"slug": "new", "name": None},
        brand | {"slug": "new", "tenant_id": 12345},
    ):
        with pytest.raises(exc.IntegrityError), opened.database.writing() as connection:
            connection.execute(insert(tables.brand).values(wrong))
    assert leave(opened, cast) is Outcome.APPLIED


@postgresql_only
def test_a_value_out_of_range_is_an_error_of_its_own_too(database: Database) -> None:
    for wrong in (
        {"slug": "x" * 65, "name": "A", "created_at": 1},
        {"slug": "a", "name": "a\x00b", "created_at": 1},
        {"slug": "a", "name": "A", "created_at": 2**63},
    ):
        with pytest.raises(exc.DataError), database.writing() as connection:
            connection.execute(insert(tables.tenant).values(wrong))


def test_no_error_repeats_what_it_was_about(opened: Installation, cast: Cast) -> None:
    """An address or a secret in a message would end in a log."""
    row = {"digest": b"x" * 16, "tenant_id": 12345, "channel": "email", "value": "canary@a.example"}
    with pytest.raises(exc.IntegrityError) as error, opened.database.writing() as connection:
        connection.execute(insert(tables.address).values(seq=0, standing="", **row))
    assert "canary" not in str(error.value)


# --- SQLite ---


@sqlite_only
def test_every_connection_to_sqlite_is_durable_and_holds_its_references(
    database: Database,
) -> None:
    asked = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}
    with ExitStack() as stack:
        for _ in range(16):
            connection = stack.enter_context(database.reading())
            assert {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in asked
            } == asked
    with database.writing() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2
    with pytest.raises(exc.IntegrityError), database.writing() as connection:
        connection.execute(
            insert(tables.batch).values(
                tenant_id=12345, name="", file_digest="", started_at=1, counts=""
            )
        )


def copied(file: Path, to: Path) -> None:
    """A whole copy under another inode, as a backup makes it."""
    with closing(sqlite3.connect(file)) as old, closing(sqlite3.connect(to)) as new:
        old.backup(new)


@sqlite_only
@pytest.mark.parametrize("same_inode", [True, False])
def test_a_deleted_file_is_unavailable_and_well_again_once_it_is_back(
    opened: Installation, cast: Cast, database_url: str, tmp_path: Path, same_inode: bool
) -> None:
    file, elsewhere = Path(database_url.removeprefix("sqlite:///")), tmp_path / "elsewhere"
    tenant, digest = cast.tenant.id, grace(cast.tenant).digest
    leave(opened, cast)
    opened.database.standing(tenant, digest)
    if same_inode:
        file.rename(elsewhere)
    else:
        copied(file, elsewhere)
        for part in file.parent.glob("prefs.sqlite3*"):
            part.unlink()
    for _ in range(3):
        with pytest.raises(Unavailable):
            opened.database.standing(tenant, digest)
        with pytest.raises(Unavailable):
            heard(opened, cast)
        with pytest.raises(Unavailable):
            leave(opened, cast)
    assert not file.exists(), "nor was an empty database made"
    elsewhere.rename(file)
    assert ledger.unpacked(opened.database.standing(tenant, digest)).seq == 1
    leave(opened, cast)
    assert heard(opened, cast) == 2
    assert ledger.unpacked(opened.database.standing(tenant, digest)).seq == 2
    with closing(Database(database_url)) as another:
        assert ledger.unpacked(another.standing(tenant, digest)).seq == 2


@sqlite_only
def test_another_file_in_its_place_is_noticed_by_every_connection(
    opened: Installation, cast: Cast, database_url: str, tmp_path: Path
) -> None:
    file, earlier = Path(database_url.removeprefix("sqlite:///")), tmp_path / "earlier"
    copied(file, earlier)
    leave(opened, cast)
    assert opened.database.standing(cast.tenant.id, grace(cast.tenant).digest)
    for part in file.parent.glob("prefs.sqlite3*"):
        part.unlink()
    earlier.rename(file)
    assert opened.database.standing(cast.tenant.id, grace(cast.tenant).digest) is None
    assert heard(opened, cast) == 0
    leave(opened, cast)
    assert heard(opened, cast) == 1


@sqlite_only
@pytest.mark.parametrize("text", [b"", b"this is no database" * 100])
def test_a_file_that_holds_no_database_is_unavailable(
    opened: Installation, cast: Cast, database_url: str, text: bytes
) -> None:
    file = Path(database_url.removeprefix("sqlite:///"))
    for part in file.parent.glob("prefs.sqlite3*"):
        part.unlink()
    file.write_bytes(text)
    with pytest.raises(Unavailable):
        opened.database.standing(cast.tenant.id, grace(cast.tenant).digest)
    with pytest.raises(Unavailable):
        heard(opened, cast)
    with pytest.raises(Unavailable):
        leave(opened, cast)


@sqlite_only
def test_a_reader_never_waits_for_a_writer(opened: Installation, cast: Cast) -> None:
    with opened.database.writing(), ThreadPoolExecutor(1) as thread:
        assert thread.submit(heard, opened, cast).result(2) == 0


@sqlite_only
def test_a_writer_that_never_gets_its_turn_is_told_so(
    opened: Installation, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("prefs.database.WAIT_SECONDS", 0.05)
    with opened.database.writing(), ThreadPoolExecutor(1) as thread, pytest.raises(Unavailable):
        thread.submit(leave, opened, cast).result(5)
    assert leave(opened, cast) is Outcome.APPLIED


def _write_until(url: str, total: int, begin: Any) -> int:
    """Writes row after row until all writers together have written ``total``."""
    mine = 0
    with closing(Database(url)) as database:
        with database.reading():
            begin.wait(30)
        while True:
            with database.writing() as connection:
                written = connection.scalar(text("SELECT count(*) FROM batch"))
                if written is None or written >= total:
                    return mine
                connection.execute(
                    insert(tables.batch).values(
                        tenant_id=1, name="", file_digest="", started_at=1, counts=""
                    )
                )
            mine += 1


@sqlite_only
def test_each_of_several_processes_gets_its_turn_to_write(database_url: str) -> None:
    with closing(Database(database_url)) as database, database.writing() as connection:
        connection.execute(insert(tables.tenant).values(slug="acme", name="Acme", created_at=1))
    total, writers = 800, 4
    with SPAWN.Manager() as manager, SPAWN.Pool(writers) as processes:
        begin = manager.Barrier(writers)
        turns = processes.starmap(_write_until, [(database_url, total, begin)] * writers)
    assert sum(turns) == total
    assert min(turns) > total / writers / 2, turns


# --- PostgreSQL ---


@postgresql_only
def test_a_commit_waits_for_the_disk_even_where_the_server_is_told_not_to(
    database_url: str, postgres: Server
) -> None:
    name = database_url.rpartition("/")[2]
    with postgres.admin() as admin:
        admin.execute(f'ALTER DATABASE "{name}" SET synchronous_commit = off'.encode())
    with closing(Database(database_url)) as database, database.writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == "on"


@postgresql_only
def test_nothing_of_ours_waits_for_ever(database: Database) -> None:
    with database.writing() as connection:
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            assert connection.exec_driver_sql(f"SHOW {name}").scalar() != "0", name


@dataclass
class Fallible:
    """An installation whose PostgreSQL can be taken away."""

    server: Server
    opened: Installation
    cast: Cast


@pytest.fixture(scope="module")
def fallible(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fallible]:
    data = tmp_path_factory.mktemp("data")
    create_secrets(data)
    server = Server()
    try:
        server.create("prefs")
        migrate(server.url("prefs"))
        told = {"PREFS_DATA": str(data), "PREFS_DATABASE_URL": server.url("prefs")}
        opened = Installation.open(Settings.load(told), Clock())
        yield Fallible(server, opened, demo.load(opened))
        opened.database.close()
    finally:
        server.close()


def until_away(ask: Callable[[], object]) -> None:
    """A killed server's connections answer for a moment more, until they notice its death."""
    deadline = time.monotonic() + 20
    with pytest.raises(Unavailable):  # noqa: PT012
        while time.monotonic() < deadline:
            ask()


def test_postgresql_that_is_away_is_unavailable_and_well_again_without_a_restart_of_ours(
    fallible: Fallible,
) -> None:
    opened, cast, server = fallible.opened, fallible.cast, fallible.server
    tenant, digest = cast.tenant.id, grace(cast.tenant).digest
    leave(opened, cast)
    with ExitStack() as stack:
        for _ in range(6):
            # Connections that lie in the pool when the server goes.
            stack.enter_context(opened.database.reading())
    before = opened.database.standing(tenant, digest)
    assert before
    server.crash()
    try:
        until_away(lambda: opened.database.standing(tenant, digest))
        until_away(lambda: heard(opened, cast))
        for _ in range(8):
            with pytest.raises(Unavailable):
                opened.database.standing(tenant, digest)
            with pytest.raises(Unavailable):
                heard(opened, cast)
            with pytest.raises(Unavailable):
                leave(opened, cast)
    finally:
        server.start()
    assert opened.database.standing(tenant, digest) == before
    assert heard(opened, cast) == ledger.unpacked(before).seq
    leave(opened, cast)
    assert heard(opened, cast) == ledger.unpacked(before).seq + 1


@pytest.mark.parametrize("asked_first", ["standing", "reading", "writing"])
def test_after_a_restart_that_nobody_noticed_the_first_request_succeeds(
    fallible: Fallible, asked_first: str
) -> None:
    opened, cast, server = fallible.opened, fallible.cast, fallible.server
    tenant, digest = cast.tenant.id, grace(cast.tenant).digest
    leave(opened, cast)
    opened.database.standing(tenant, digest)
    server.crash()
    server.start()
    ask: dict[str, Callable[[], object]] = {
        "standing": lambda: opened.database.standing(tenant, digest),
        "reading": lambda: heard(opened, cast),
        "writing": lambda: leave(opened, cast),
    }
    assert ask[asked_first]()


def test_a_transaction_that_was_under_way_is_unavailable_and_can_be_sent_again(
    fallible: Fallible,
) -> None:
    opened, cast, server = fallible.opened, fallible.cast, fallible.server
    said = Said(grace(cast.tenant), Event(Kind.OUT, NOON, ALL, Voice.PERSON), "test", "once")
    before = heard(opened, cast)
    with pytest.raises(Unavailable), opened.database.writing() as connection:  # noqa: PT012
        ledger.record(connection, cast.tenant.id, said)
        server.crash()
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            connection.execute(text("SELECT 1"))
    server.start()
    assert heard(opened, cast) == before
    assert leave(opened, cast, "once") is Outcome.APPLIED
    assert leave(opened, cast, "once") is Outcome.DUPLICATE
    assert heard(opened, cast) == before + 1


def test_threads_that_ask_while_postgresql_goes_and_comes_hear_the_truth_or_that_it_is_away(
    fallible: Fallible,
) -> None:
    opened, cast, server = fallible.opened, fallible.cast, fallible.server
    tenant, digest = cast.tenant.id, grace(cast.tenant).digest
    leave(opened, cast)
    gone = threading.Event()

    def ask() -> tuple[int, int]:
        known = away = 0
        try:
            while not (gone.is_set() and known > 20):
                try:
                    assert opened.database.standing(tenant, digest) is not None
                    known += 1
                except Unavailable:
                    away += 1
            return known, away
        finally:
            opened.database.close()

    with ThreadPoolExecutor(4) as threads:
        asked = [threads.submit(ask) for _ in range(4)]
        server.crash()
        server.start()
        gone.set()
        assert all(known > 20 for known, _ in (one.result(30) for one in asked))


def test_a_wrong_name_or_port_is_unavailable(postgres: Server) -> None:
    for url in (
        postgres.url("no-such-database"),
        "postgresql+psycopg://postgres@127.0.0.1:1/prefs",
    ):
        with closing(Database(url)) as database:
            with pytest.raises(Unavailable) as refused:
                database.standing(1, b"x" * 16)
            with pytest.raises(Unavailable), database.writing():
                pass
            assert "postgres@" not in str(refused.value)
