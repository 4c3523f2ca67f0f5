"""The server stays up whatever dies in it, and nothing of it outlives a stop."""

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from pathlib import Path

import pytest

from prefs.settings import ROOT

STUB = """
import os, time

def create_app():
    def app(environ, start_response):
        start_response("200 OK", [("Content-Type", "text/plain")])
        if environ["PATH_INFO"] == "/slow":
            time.sleep(1)
        if environ["PATH_INFO"] == "/public-url":
            return [os.environ["PREFS_PUBLIC_URL"].encode()]
        return [f"{os.getppid()} {os.getpid()}".encode()]
    return app
"""

SERVE = """
import os, sys
from prefs import serve
from prefs.settings import BadSetting, Settings

app, host, port = sys.argv[1:]
serve.FIRST_ANSWER_WITHIN = float(os.environ.get("FIRST_ANSWER_WITHIN", "120"))
try:
    code = serve.serve(
        Settings.load(os.environ),
        host=host,
        port=None if port == "next" else int(port),
        workers=2,
        ready=lambda url: print(url, flush=True),
        app=app,
    )
except BadSetting as error:
    sys.exit(str(error))
sys.exit(code)
"""


class Running:
    """A server under its supervisor, as ``prefs serve`` starts it."""

    def __init__(self, app: str, port: str = "0", host: str = "127.0.0.1", **environ: str) -> None:
        key = secrets.token_hex(32)
        keys = {"PREFS_DIGEST_KEY": key, "PREFS_SIGNING_KEYS": key, "PYTHONPATH": str(ROOT)}
        ours = ("PREFS_", "GRANIAN_")
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(ours)}
        self.process = subprocess.Popen(
            [sys.executable, "-c", SERVE, app, host, port],
            env=inherited | keys | environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.seen: set[int] = {self.process.pid}

    def wait_until_ready(self) -> "Running":
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        assert self.url, self.process.communicate()[1]
        self.port = int(self.url.rsplit(":", 1)[1])
        return self

    def get(self, path: str) -> str | None:
        connection = HTTPConnection("127.0.0.1", self.port, timeout=3)
        try:
            connection.request("GET", path)
            return connection.getresponse().read().decode()
        except (OSError, HTTPException):
            return None
        finally:
            connection.close()

    def ask(self) -> tuple[int, int] | None:
        """The pids of granian and of the worker that answered."""
        answer = self.get("/")
        if not answer:
            return None
        granian, worker = map(int, answer.split())
        self.seen |= {granian, worker}
        return granian, worker

    def workers(self) -> set[int]:
        """The pids of the workers that answer, which are two."""
        found: set[int] = set()

        def both() -> bool:
            if pids := self.ask():
                found.add(pids[1])
            return len(found) == 2

        within(10, both)
        return found

    def left(self) -> set[int]:
        """Of all processes that were seen, those still alive."""
        return {pid for pid in self.seen if alive(pid)}

    def close(self) -> None:
        self.process.terminate()
        try:
            self.process.communicate(timeout=15)
        finally:
            for pid in self.left():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        status = Path(f"/proc/{pid}/stat").read_text()
    except ProcessLookupError:
        return False
    except FileNotFoundError:
        return Path("/proc").is_dir() is False
    return status.rsplit(")", 1)[1].split()[0] != "Z"


def within(seconds: float, happens: Callable[[], object]) -> float:
    """Waits until it happens and says how long that took."""
    begun = time.monotonic()
    while not happens():
        assert time.monotonic() - begun < seconds, "did not happen in time"
        time.sleep(0.02)
    return time.monotonic() - begun


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Running]]:
    (tmp_path / "stub.py").write_text(STUB)
    started = []

    def start(**options: str) -> Running:
        started.append(Running(f"{tmp_path / 'stub.py'}:create_app", **options))
        return started[-1]

    yield start
    for running in started:
        running.close()


def test_a_killed_worker_is_replaced_while_the_other_answers(
    start: Callable[..., Running],
) -> None:
    server = start().wait_until_ready()
    killed, other = server.workers()
    os.kill(killed, signal.SIGKILL)
    within(30, lambda: server.ask())
    replaced = server.workers()
    assert other in replaced
    assert killed not in replaced


@pytest.mark.slow
def test_a_crash_loop_ends_granian_and_the_server_comes_back_each_time(
    start: Callable[..., Running],
) -> None:
    server = start().wait_until_ready()
    for _ in range(2):
        granian, worker = server.ask() or (0, 0)

        def ended(granian: int = granian) -> bool:
            if (pids := server.ask()) and pids[0] == granian:
                with suppress(ProcessLookupError):
                    os.kill(pids[1], signal.SIGKILL)
            return not alive(granian)

        within(10, ended)
        within(30, lambda: server.ask())
        assert (server.ask() or (granian, worker))[0] != granian
    assert len(server.workers()) == 2


def test_granian_killed_leaves_no_worker_behind_and_comes_back(
    start: Callable[..., Running],
) -> None:
    server = start().wait_until_ready()
    before = server.workers()
    granian, _ = server.ask() or (0, 0)
    os.kill(granian, signal.SIGKILL)
    within(30, lambda: not any(map(alive, before)))
    within(30, lambda: server.ask())
    assert not before & server.workers()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_stop_lets_requests_finish_leaves_no_process_and_is_no_failure(
    start: Callable[..., Running], number: signal.Signals
) -> None:
    server = start().wait_until_ready()
    server.workers()
    asked = HTTPConnection("127.0.0.1", server.port)
    asked.request("GET", "/slow")
    time.sleep(0.2)
    server.process.send_signal(number)
    assert asked.getresponse().status == 200
    assert server.process.wait(30) == 0
    assert server.left() == set()


def test_a_stop_before_the_server_answers_leaves_no_process(
    start: Callable[..., Running],
) -> None:
    server = start()
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
    within(30, lambda: children.read_text())
    server.seen |= {int(pid) for pid in children.read_text().split()}
    server.process.terminate()
    assert server.process.wait(30) == 0
    assert server.left() == set()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of a parent's death")
def test_a_killed_supervisor_leaves_no_process(start: Callable[..., Running]) -> None:
    server = start().wait_until_ready()
    server.workers()
    server.ask()
    server.process.kill()
    server.process.wait()
    within(30, lambda: not server.left())


def test_an_application_that_cannot_start_is_a_failure_and_no_endless_loop(
    start: Callable[..., Running], tmp_path: Path
) -> None:
    (tmp_path / "stub.py").write_text("raise RuntimeError('a mistake in the code')")
    server = start(FIRST_ANSWER_WITHIN="5")
    _, stderr = server.process.communicate(timeout=60)
    assert server.process.returncode == 1
    assert "a mistake in the code" in stderr
    assert "did not answer within" in stderr.splitlines()[-1]


def test_a_second_installation_takes_the_next_free_port(start: Callable[..., Running]) -> None:
    # Both at once: neither listens yet while the other one looks for a port.
    first, second = start(port="next"), start(port="next")
    assert first.wait_until_ready().port != second.wait_until_ready().port
    assert {first.port, second.port} < set(range(8000, 8101))
    assert first.ask() != second.ask()


def test_a_port_that_was_asked_for_and_is_taken_is_an_error_that_says_so(
    start: Callable[..., Running],
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        stdout, stderr = start(port=str(port)).process.communicate(timeout=30)
    assert stdout == ""
    assert f"port {port} of 127.0.0.1" in stderr
    assert "--port" in stderr
    assert "Traceback" not in stderr


def test_links_lead_to_the_port_that_was_chosen_unless_the_public_address_is_set(
    start: Callable[..., Running],
) -> None:
    chosen = start().wait_until_ready()
    assert chosen.get("/public-url") == chosen.url
    public = "https://news.example.com"
    assert start(PREFS_PUBLIC_URL=public).wait_until_ready().get("/public-url") == public


def test_the_access_log_stays_off_because_urls_hold_tokens(start: Callable[..., Running]) -> None:
    server = start(GRANIAN_LOG_ACCESS_ENABLED="true", GRANIAN_LOG_LEVEL="info").wait_until_ready()
    server.get("/u/a-secret-token")
    server.process.terminate()
    assert "a-secret-token" not in "".join(server.process.communicate(timeout=15))
