"""Keeps the server up: starts granian, starts it again should it end, stops all of it.

granian replaces a worker that died, but when one dies again within 5.5 seconds it
takes that for a crash loop and ends, with every worker. One poisonous request sent
twice would then silence transactional answers too, so something outside must start
it again, always.
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from http.client import HTTPConnection, HTTPException
from ipaddress import ip_address

from prefs.settings import ROOT, BadSetting, Settings

PORTS = range(8000, 8101)
"""Where a free port is looked for when none was asked for."""

GRACE = 10
"""Seconds that requests under way are given when the server is stopped."""

FIRST_ANSWER_WITHIN = 30
"""Seconds after which a server that never answered is taken for one that cannot."""

PAUSES = (0.1, 1.0)
"""Seconds between the end of a server and the next: at first, and at most."""

THREADS = 96
"""How many requests one worker is at together; ``web/shortcut`` keeps some of them free."""

TICK = 0.05

LINUX = sys.platform == "linux"
PR_SET_PDEATHSIG = 1


def serve(
    settings: Settings,
    *,
    host: str,
    port: int | None,
    workers: int,
    ready: Callable[[str], None],
    app: str = f"{ROOT / 'wsgi.py'}:create_app",
) -> int:
    """Serves until SIGINT or SIGTERM, then returns the exit code.

    Calls ``ready`` with the local URL, once, when ``/healthz`` answers; from then on it
    starts the server again for ever. A port of ``None`` is the first free one of
    ``PORTS``, 0 any free one. Raises ``BadSetting``.
    """
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)

    with _claim(host, port) as held:
        address, port = held.getsockname()[:2]
        if not LINUX:
            held.close()
        if not ip_address(address).is_loopback and settings.public_url.startswith("http://"):
            _say("Links lead to this machine alone: set PREFS_PUBLIC_URL")
        here = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address, address)
        url = f"http://[{here}]:{port}" if ":" in here else f"http://{here}:{port}"
        announced = False
        begun = time.monotonic()
        pause = PAUSES[0]
        while not stopping:
            answering = False
            server = _start(_granian(app, address, port, workers), port)
            try:
                while server.poll() is None and not stopping:
                    if not answering and _answers(here, port):
                        answering = True
                        pause = PAUSES[0]
                        if not announced:
                            announced = True
                            ready(url)
                    if not announced and time.monotonic() - begun > FIRST_ANSWER_WITHIN:
                        _say(
                            f"The server did not answer within {FIRST_ANSWER_WITHIN} seconds: "
                            "what it said above is the reason"
                        )
                        return 1
                    time.sleep(TICK)
            finally:
                _stop(server, GRACE if answering else 0)
            if not stopping:
                _say(f"The server ended (exit code {server.returncode}): starting it again")
                time.sleep(pause)
                pause = min(2 * pause, PAUSES[1])
    return 0


def _claim(host: str, port: int | None) -> socket.socket:
    """Takes a free port, and keeps it from others for as long as the socket is open.

    granian's workers listen with SO_REUSEPORT: a second installation on the same port
    would not fail, it would quietly get half of the requests.
    """
    try:
        found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
    except OSError as error:
        raise BadSetting(f"--host {host} is not a name or an address") from error
    address = str(found[0][4][0])
    for candidate in PORTS if port is None else (port,):
        try:
            return _bind(address, candidate)
        except OSError as error:
            if port is not None:
                raise BadSetting(
                    f"cannot serve on port {port} of {address} ({error.strerror}): "
                    "stop what listens there, or choose another with --port"
                ) from error
    raise BadSetting(
        f"no port from {PORTS[0]} to {PORTS[-1]} of {address} is free: choose another with --port"
    )


def _bind(address: str, port: int) -> socket.socket:
    """A socket that is bound and never listens: no connection goes to it.

    On Linux SO_REUSEPORT may be set after bind(). Our own workers can then join the
    port, while a first bind() of anybody else still fails, this function's included.
    """
    held = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
    try:
        # Connections of an earlier server linger in TIME_WAIT. Once it is bound the option
        # goes, else a second socket that sets it could be bound beside one that does not listen.
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, True)
        held.bind((address, port))
        if LINUX:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, False)
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, True)
    except OSError:
        held.close()
        raise
    return held


def _granian(app: str, address: str, port: int, workers: int) -> list[str]:
    options = {
        "--interface": "wsgi",
        "--host": address,
        "--port": port,
        "--workers": workers,
        # How many makes no difference to how many checks are answered (1 to 24 tried). A body
        # that trickles in holds one for as long as it likes: in front of the internet belongs a
        # proxy that buffers requests.
        "--blocking-threads": THREADS,
        "--backlog": 1024,
        "--http": "1",
        "--http1-buffer-size": 65_536,
        "--http1-header-read-timeout": 30_000,
        "--workers-kill-timeout": GRACE,
        # One level down it finds that there are many threads, at each start.
        "--log-level": "error",
    }
    switches = [
        "--factory",
        "--no-ws",
        "--respawn-failed-workers",
        # URLs hold tokens, and GRANIAN_LOG_ACCESS_ENABLED in the environment would log them.
        "--no-access-log",
    ]
    pairs = [str(part) for option in options.items() for part in option]
    return [sys.executable, "-m", "granian", *switches, *pairs, app]


def _start(command: list[str], port: int) -> "subprocess.Popen[bytes]":
    """Starts the server in a session of its own: Ctrl-C reaches us alone, and we stop it."""
    environ = dict(os.environ)
    if not (environ.get("PREFS_PUBLIC_URL") or environ.get("PREFS_PUBLIC_URL_FILE")):
        environ["PREFS_PUBLIC_URL"] = f"http://127.0.0.1:{port}"
    parent = os.getpid()
    prctl = ctypes.CDLL(None).prctl if LINUX else None

    def stop_with_parent() -> None:
        if prctl is not None:
            prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:
                os._exit(1)

    return subprocess.Popen(
        command,
        env=environ,
        stdin=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=stop_with_parent,
    )


def _answers(host: str, port: int) -> bool:
    connection = HTTPConnection(host, port, timeout=1)
    try:
        connection.request("GET", "/healthz")
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _stop(server: "subprocess.Popen[bytes]", grace: float) -> None:
    """Ends the server and its workers, also those that a killed server left behind."""
    if grace:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(grace + 1)
    # macOS refuses (EPERM) where Linux finds nobody (ESRCH).
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
