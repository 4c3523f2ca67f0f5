"""STOPs by webhook: 10,000 of one number, and 10,000 numbers, beside the same store's own commits.

    .venv/bin/python bench/stops.py [--stops 10000] [--connections 200] [--rounds 3]

Every STOP is signed as Twilio signs it, comes over loopback to a real server of two workers, and
is answered once it is durable; whoever is told to come later (503) comes again. Beside it, in the
same run, what the store itself does: one bare INSERT and commit for each, of a row as wide, by as
many writers as the server has (two workers).
"""

import argparse
import json
import os
import re
import shutil
import socket
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import psycopg
from twilio.request_validator import RequestValidator

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from bench.check import start  # noqa: E402
from prefs import demo, directory, ledger  # noqa: E402
from prefs.address import Address, Channel  # noqa: E402
from prefs.database import migrate  # noqa: E402
from prefs.demo import ACCOUNT, SENDER, TOKEN  # noqa: E402
from prefs.installation import Installation  # noqa: E402
from prefs.settings import Settings, create_secrets, keep_token  # noqa: E402
from tests.postgres import Server  # noqa: E402

PATH = "/webhooks/twilio/acme"
KEPT_FOR = 20
"""Requests on one connection: one that is kept for ever stays with its worker for ever."""
CLIENTS = 2
"""Processes that send: one alone would be what is measured."""


def signed(public: str, author: str, number: int) -> tuple[bytes, str]:
    """A STOP as Twilio posts it, and its signature."""
    from urllib.parse import urlencode

    sid = f"SM{number:032x}"
    fields = {
        "MessageSid": sid,
        "SmsSid": sid,
        "AccountSid": ACCOUNT,
        "From": author,
        "To": SENDER,
        "Body": "STOP",
        "NumMedia": "0",
        "NumSegments": "1",
        "ApiVersion": "2010-04-01",
    }
    signature = RequestValidator(TOKEN).compute_signature(public + PATH, fields)
    return urlencode(fields).encode(), signature


def post(line: socket.socket, body: bytes, signature: str) -> int:
    """The status of the answer. By hand: the clients share the cores with what is measured."""
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {len(body)}\r\n"
        "Content-Type: application/x-www-form-urlencoded\r\n"
        f"X-Twilio-Signature: {signature}\r\n\r\n"
    )
    line.sendall(head.encode() + body)
    answer = b""
    while (end := answer.find(b"\r\n\r\n")) < 0 or len(answer) < end + 4 + length(answer[:end]):
        more = line.recv(65536)
        if not more:
            raise SystemExit("the server closed a line in the middle of an answer")
        answer += more
    return int(answer[9:12])


def length(head: bytes) -> int:
    found = re.search(rb"(?i)content-length: (\d+)", head)
    return int(found[1]) if found else 0


def post_all(port: int, requests: list[tuple[bytes, str]], connections: int) -> list[float]:
    """Posts every request until it is answered 200; how long each waited for that, in seconds."""

    def one_line(mine: list[tuple[bytes, str]]) -> list[float]:
        waited = []
        for at in range(0, len(mine), KEPT_FOR):
            with socket.create_connection(("127.0.0.1", port), timeout=60) as line:
                for body, signature in mine[at : at + KEPT_FOR]:
                    began = time.perf_counter()
                    while (status := post(line, body, signature)) == 503:
                        # A fifth of what Retry-After asks for: sooner, refusals are measured.
                        time.sleep(0.2)
                    if status != 200:
                        raise SystemExit(f"a STOP was answered {status}")
                    waited.append(time.perf_counter() - began)
        return waited

    shares = [requests[number::connections] for number in range(connections)]
    with ThreadPoolExecutor(connections) as threads:
        return [one for share in threads.map(one_line, shares) for one in share]


def storm(port: int, requests: list[tuple[bytes, str]], connections: int) -> tuple[float, float]:
    """Seconds until the last was answered, and the longest that any waited."""
    began = time.perf_counter()
    with ProcessPoolExecutor(CLIENTS) as processes:
        shares = [requests[number::CLIENTS] for number in range(CLIENTS)]
        each = connections // CLIENTS
        done = [processes.submit(post_all, port, share, each) for share in shares]
        waited = [one for share in done for one in share.result()]
    return time.perf_counter() - began, max(waited)


ROW = json.dumps({"text": "STOP", "to": SENDER, "standing": "x" * 200})


def commits_sqlite(folder: Path, rows: int) -> float:
    """Rows a second, each inserted and committed as durably as the service does it."""
    file = folder / "raw.sqlite3"
    for leftover in folder.glob("raw.sqlite3*"):
        leftover.unlink()
    connection = sqlite3.connect(file, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE raw (id TEXT PRIMARY KEY, body TEXT)")
    began = time.perf_counter()
    for number in range(rows):
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO raw VALUES (?, ?)", (f"SM{number:032x}", ROW))
        connection.execute("COMMIT")
    return rows / (time.perf_counter() - began)


def commits_postgresql(url: str, rows: int, writers: int = 2) -> float:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("DROP TABLE IF EXISTS raw")
        connection.execute("CREATE TABLE raw (id TEXT PRIMARY KEY, body TEXT)")

    def write(writer: int) -> None:
        with psycopg.connect(url, autocommit=True) as connection:
            for number in range(writer, rows, writers):
                connection.execute("INSERT INTO raw VALUES (%s, %s)", (f"SM{number:032x}", ROW))

    began = time.perf_counter()
    with ThreadPoolExecutor(writers) as threads:
        list(threads.map(write, range(writers)))
    return rows / (time.perf_counter() - began)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--stops", type=int, default=10_000)
    asked.add_argument("--connections", type=int, default=200)
    asked.add_argument("--rounds", type=int, default=3)
    options = asked.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    postgres = Server()
    running: list[subprocess.Popen[bytes]] = []
    try:
        postgres.create("bench")
        raw = f"postgresql://postgres@/bench?host={postgres.folder}&port={postgres.port}"
        databases = {
            "sqlite": f"sqlite:///{folder / 'prefs.sqlite3'}",
            "postgresql": raw.replace("postgresql:", "postgresql+psycopg:"),
        }
        for number, (name, url) in enumerate(databases.items()):
            data, port = folder / name, 8731 + number
            public = f"http://127.0.0.1:{port}"
            create_secrets(data)
            keep_token(data, "twilio", ACCOUNT, TOKEN)
            environ = {
                "PREFS_DATA": str(data),
                "PREFS_DATABASE_URL": url,
                "PREFS_PUBLIC_URL": public,
            }
            settings = Settings.load(environ)
            migrate(url)
            opened = Installation.open(settings)
            cast = demo.load(opened)
            without_rcs(opened, cast)
            running.append(start("wsgi:create_app", port, {**os.environ, **environ}))
            one_number, many, commits = [], [], []
            sids = iter(range(1, 10**9))
            begin = [signed(public, "+14155550001", next(sids)) for _ in range(500)]
            storm(port, begin, options.connections)
            if name == "postgresql":
                # As autovacuum does within a minute. Before it, PostgreSQL takes all that the
                # tenant was ever told for next to nothing, and reads it for every batch.
                with psycopg.connect(raw, autocommit=True) as connection:
                    connection.execute("ANALYZE")
            for round_ in range(options.rounds):
                author = f"+1415556{round_:04}"
                same = [signed(public, author, next(sids)) for _ in range(options.stops)]
                one_number.append(storm(port, same, options.connections))
                check_out(opened, cast, author, options.stops)
                others = [
                    signed(public, f"+1{2_010_000_000 + round_ * 10**6 + n}", next(sids))
                    for n in range(options.stops)
                ]
                many.append(storm(port, others, options.connections))
                rate = (
                    commits_sqlite(folder, options.stops)
                    if name == "sqlite"
                    else commits_postgresql(raw, options.stops)
                )
                commits.append(rate)
            opened.database.close()
            base = statistics.median(commits)
            print(f"\n{name}: {options.stops} STOPs, {options.connections} connections, medians")
            print("| | all answered in | longest wait | STOPs/s | x bare commits |")
            print("|---|---|---|---|---|")
            for label, times in (("of one number", one_number), ("of as many", many)):
                seconds = statistics.median(t for t, _ in times)
                longest = statistics.median(w for _, w in times)
                rate = options.stops / seconds
                cells = (
                    f"{seconds:.1f} s",
                    f"{longest:.2f} s",
                    f"{rate:,.0f}",
                    f"{rate / base:.2f}",
                )
                print(f"| {label} | {' | '.join(cells)} |")
            print(f"| bare INSERT and commit | | | {base:,.0f} | 1.00 |", flush=True)
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
        postgres.close()
        shutil.rmtree(folder, ignore_errors=True)


def without_rcs(opened: Installation, cast: demo.Cast) -> None:
    """Most tenants send no RCS. Where one does, as the demo's, each STOP is kept for both."""
    topic = cast.tenant.topic("product-news")
    offered = {channel: mode for channel, mode in topic.offered.items() if channel != Channel.RCS}
    with opened.database.writing() as connection:
        directory.change_topic(connection, cast.tenant, topic.slug, offered=offered)


def check_out(opened: Installation, cast: demo.Cast, author: str, stops: int) -> None:
    """One final state, and every STOP in it."""
    digest = cast.tenant.digest(Address(Channel.SMS, author))
    with opened.database.reading() as connection:
        standing = ledger.standing(connection, cast.tenant.id, digest)
    if len(standing.outs) != 1 or standing.seq < stops:
        raise SystemExit(f"{standing.seq} of {stops} STOPs are on record")


if __name__ == "__main__":
    main()
