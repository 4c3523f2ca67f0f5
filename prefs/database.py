"""The engine, its transactions, the one fast read, and migrations.

The only lines that tell PostgreSQL from SQLite. A transaction is opened at a door
(``writing``, ``reading``); nothing below a door commits.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from sqlalchemy import (
    BigInteger,
    Connection,
    Engine,
    Select,
    Table,
    Text,
    cast,
    create_engine,
    event,
    exc,
    func,
    make_url,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite

WAIT_SECONDS = 5.0
"""How long a writer waits for its turn. Twilio gives a webhook 15 seconds in all."""


class Unavailable(Exception):
    """The database cannot be reached, or not in time: nothing was stored, nothing is known."""


# The last is what the pool says when a connection has gone twice in a row.
_AWAY = (exc.DatabaseError, exc.InterfaceError, exc.TimeoutError, exc.InvalidRequestError)


class Database:
    """One database and its connections. Safe to share between threads, not between processes."""

    def __init__(self, url: str) -> None:
        self._file = sqlite_file(url)
        self.engine = _sqlite_engine(self._file) if self._file else _postgresql_engine(url)
        self._local = threading.local()
        self._fetch = self._fetch_sqlite if self._file else self._fetch_postgresql

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is durable once the block has ended. Raises ``Unavailable``."""
        with _translated(), self.engine.execution_options(prefs_writes=True).begin() as connection:
            yield connection

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One unchanging view of everything committed so far. Raises ``Unavailable``."""
        options: dict[str, Any] = {}
        if not self._file:
            options = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        with _translated(), self.engine.execution_options(**options).begin() as connection:
            yield connection

    def standing(self, tenant: int, digest: bytes) -> str | None:
        """The stored standing of one address, as of every commit that has been answered.

        The hot path: one primary-key read on a connection of the thread's own, without
        SQLAlchemy, which would cost more than the read. Raises ``Unavailable``.
        """
        try:
            row = self._fetch(tenant, digest)
        except (psycopg.Error, sqlite3.Error, OSError):
            # Closed by a restart of the server, or a file put back: once more, on a new one.
            self._forget_connection()
            try:
                row = self._fetch(tenant, digest)
            except (psycopg.Error, sqlite3.Error, OSError) as error:
                self._forget_connection()
                raise Unavailable(type(error).__name__) from None
        return row[0] if row else None

    def _fetch_sqlite(self, tenant: int, digest: bytes) -> Any:
        assert self._file
        inode = os.stat(self._file).st_ino
        held: tuple[int, sqlite3.Connection] | None = getattr(self._local, "held", None)
        if held is None or held[0] != inode:
            self._forget_connection()
            held = self._local.held = (inode, _open_sqlite(self._file))
        return held[1].execute(_STANDING_SQLITE, (digest, tenant)).fetchone()

    def _fetch_postgresql(self, tenant: int, digest: bytes) -> Any:
        held: tuple[int, psycopg.Connection[Any]] | None = getattr(self._local, "held", None)
        if held is None:
            arguments, options = self.engine.dialect.create_connect_args(self.engine.url)
            connection = psycopg.connect(
                *arguments, **{**_POSTGRESQL_OPTIONS, **options}, autocommit=True
            )
            held = self._local.held = (0, connection)
            self._local.cursor = connection.cursor(binary=True)
        cursor: psycopg.Cursor[Any] = self._local.cursor
        return cursor.execute(_STANDING_POSTGRESQL, (digest, tenant), prepare=True).fetchone()

    def _forget_connection(self) -> None:
        held = getattr(self._local, "held", None)
        self._local.held = None
        if held is not None:
            with suppress(psycopg.Error, sqlite3.Error):
                held[1].close()

    def close(self) -> None:
        self._forget_connection()
        self.engine.dispose()


_STANDING_SQLITE = "SELECT standing FROM address WHERE digest = ? AND tenant_id = ?"
_STANDING_POSTGRESQL = "SELECT standing FROM address WHERE digest = %b AND tenant_id = %s"


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (exc.IntegrityError, exc.DataError):
        # A value that no column takes is a mistake of ours or a caller's, and not an outage.
        raise
    except _AWAY as error:
        raise Unavailable(type(error).__name__) from None


def insert(connection: Connection, table: Table) -> "postgresql.Insert | sqlite.Insert":
    """An INSERT that can say ON CONFLICT, in the dialect of ``connection``."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table)
    return postgresql.insert(table)


def committed_before_all_running(connection: Connection) -> int | None:
    """On PostgreSQL, the transaction number below which everything has ended; else None.

    A sequence is handed out before commit: 6 may be visible before 5, and a reader that
    remembers 6 would skip 5 for ever. SQLite has one writer, so its numbers commit in order.
    """
    if connection.dialect.name == "sqlite":
        return None
    row = connection.exec_driver_sql(
        "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint"
    ).one()
    return int(row[0])


def commit_number(connection: Connection, latest: "Select[tuple[int | None]]") -> int | None:
    """On PostgreSQL, this transaction's number in the order of commit; else None.

    A transaction takes its own number before it waits for an address that another one is
    writing to: the later of two may have the lower number. So it takes at least ``latest``,
    the number of what it waited for.
    """
    if connection.dialect.name == "sqlite":
        return None
    own = cast(cast(func.pg_current_xact_id(), Text), BigInteger)
    return connection.scalar(select(func.greatest(own, latest.scalar_subquery())))


# --- SQLite ---


def sqlite_file(url: str) -> str | None:
    """The file of an SQLite URL, None for PostgreSQL."""
    parsed = make_url(url)
    return parsed.database if parsed.get_backend_name() == "sqlite" else None


def _open_sqlite(file: str) -> sqlite3.Connection:
    # mode=rw: a file that has gone must be an error, not a new and empty database
    # in which nobody has said no.
    connection = sqlite3.connect(
        f"file:{quote(file)}?mode=rw", uri=True, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in (
            "busy_timeout = 5000",
            "journal_mode = WAL",
            # NORMAL would lose the last commits with the power, and one of them is a no.
            "synchronous = FULL",
            "foreign_keys = ON",
            # What a person had erased must not be left in the unused parts of the file.
            "secure_delete = ON",
        ):
            connection.execute(f"PRAGMA {pragma}")
    except BaseException:
        connection.close()
        raise
    return connection


def _sqlite_engine(file: str) -> Engine:
    engine = create_engine(
        f"sqlite:///{file}", creator=lambda: _open_sqlite(file), hide_parameters=True, **_POOL
    )

    @event.listens_for(engine, "connect")
    def remember(connection: Any, record: Any) -> None:
        with suppress(OSError):
            record.info["inode"] = os.stat(file).st_ino

    @event.listens_for(engine, "checkout")
    def same_file(connection: Any, record: Any, proxy: Any) -> None:
        with suppress(OSError):
            if os.stat(file).st_ino == record.info.get("inode"):
                return
        raise exc.DisconnectionError("the database's file has gone or is another one")

    @event.listens_for(engine, "begin")
    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get("prefs_writes"):
            connection.exec_driver_sql("PRAGMA busy_timeout = 0")
            try:
                _take_turn(lambda: connection.exec_driver_sql("BEGIN IMMEDIATE"))
            finally:
                connection.exec_driver_sql("PRAGMA busy_timeout = 5000")
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


def _take_turn(begin: Callable[[], object]) -> None:
    """Begins a write as soon as no other writer is at work.

    SQLite's own waiting sleeps longer the longer it has waited, so a late comer overtakes
    and somebody starves; asking at an even pace gives each an equal chance.
    A transaction that reads first and writes later fails whatever the waiting time,
    which is why every write begins IMMEDIATE.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            begin()
            return
        except exc.OperationalError as error:
            if "locked" not in str(error.orig) or time.monotonic() > deadline:
                raise
        time.sleep(0.001)


# --- PostgreSQL ---

_POOL: dict[str, Any] = {"pool_size": 8, "max_overflow": 8, "pool_timeout": 2}

_POSTGRESQL_OPTIONS: dict[str, Any] = {
    "connect_timeout": 2,
    "options": "-c statement_timeout=10000 -c lock_timeout=5000 -c timezone=UTC"
    " -c idle_in_transaction_session_timeout=60000",
    "application_name": "prefs",
    # A standby, which may not have heard the last no, is refused at connect.
    "target_session_attrs": "read-write",
    "client_encoding": "utf8",
}


def _postgresql_engine(url: str) -> Engine:
    engine = create_engine(
        url,
        connect_args=_POSTGRESQL_OPTIONS,
        hide_parameters=True,
        # A restarted server leaves dead connections behind; they are asked before use.
        pool_pre_ping=True,
        **_POOL,
    )

    @event.listens_for(engine, "connect")
    def durable(connection: Any, record: Any) -> None:
        # A server may be set to answer before a commit is on its disk; what is stricter stays.
        connection.autocommit = True
        connection.execute(
            "SELECT set_config('synchronous_commit', 'on', false) "
            "WHERE current_setting('synchronous_commit') IN ('off', 'local', 'remote_write')"
        )
        connection.autocommit = False

    return engine


# --- migrations ---


class WrongEncoding(ValueError):
    """The database cannot hold every text."""


def migrate(url: str) -> None:
    """Brings the database to the newest form, creating it if it is an SQLite file.

    Several processes may call it at once; one does the work. Raises ``Unavailable``,
    ``WrongEncoding``.
    """
    # Alembic takes a third of a second to import, and only this function needs it.
    from alembic import command
    from alembic.config import Config

    if file := sqlite_file(url):
        Path(file).parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(file, os.O_CREAT | os.O_RDWR, 0o600)
        os.close(descriptor)
    database = Database(url)
    config = Config()
    config.set_main_option("script_location", "prefs:migrations")
    try:
        with database.writing() as connection:
            if not file:
                encoding = connection.exec_driver_sql("SHOW server_encoding").scalar()
                if encoding != "UTF8":
                    raise WrongEncoding(
                        f"the database's encoding is {encoding}: make one with "
                        "createdb -E UTF8 -T template0"
                    )
                # A large table takes longer to change than any request may.
                connection.exec_driver_sql("SET LOCAL statement_timeout = 0")
                connection.exec_driver_sql("SELECT pg_advisory_xact_lock(7261011)")
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
    finally:
        database.close()
