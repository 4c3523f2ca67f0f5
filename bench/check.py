"""Requests per second of a single check, beside its peers, interleaved in one run.

    .venv/bin/python bench/check.py [--rows 100000] [--rounds 7] [--seconds 3]

Needs redis-server and wrk (Debian: apt-get install redis-server wrk). All servers are granian
with the same two workers and threads; all are asked over loopback by the same wrk with the
same bodies: addresses drawn from everybody on file, one in ten of whom has left. PostgreSQL is
the one that the tests start, reached by its Unix socket as Redis is, and with fsync on.
"""

import argparse
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import redis

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from prefs import demo, ledger, serve  # noqa: E402
from prefs.address import Address, Channel  # noqa: E402
from prefs.database import migrate  # noqa: E402
from prefs.installation import Installation  # noqa: E402
from prefs.ledger import Said, Subject  # noqa: E402
from prefs.policy import Authority, Event, Kind, Voice  # noqa: E402
from prefs.settings import Settings, create_secrets  # noqa: E402
from tests.postgres import Server  # noqa: E402

CONNECTIONS = 32


def people(rows: int) -> list[str]:
    return [f"person.{number:08d}@example.org" for number in range(rows)]


def fill(settings: Settings, rows: int) -> str:
    """Everybody on file, one in ten of them out of product news; returns an API key."""
    opened = Installation.open(settings)
    cast = demo.load(opened)
    tenant = cast.tenant
    news = tenant.topic("product-news").scope
    subjects = [Subject.of(tenant, Address(Channel.EMAIL, one)) for one in people(rows)]
    for start in range(0, rows, 1000):
        chunk = subjects[start : start + 1000]
        with opened.database.writing() as connection:
            ledger.remember(connection, tenant.id, chunk)
            out = Event(
                Kind.OUT, opened.clock(), news, Voice.PERSON, Authority.PERSON, door="bench"
            )
            ledger.record_many(connection, tenant.id, [Said(s, out) for s in chunk[::10]])
    opened.database.close()
    return cast.key


def start(app: str, port: int, environ: dict[str, str]) -> "subprocess.Popen[bytes]":
    command = serve._granian(app, "127.0.0.1", port, 2)
    process = subprocess.Popen(command, env={**os.environ, **environ}, cwd=ROOT)
    for _ in range(200):
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1).close()
        except urllib.error.HTTPError:
            return process
        except OSError:
            time.sleep(0.05)
        else:
            return process
    raise SystemExit(f"{app} does not answer")


def script(folder: Path, rows: int, key: str) -> Path:
    """wrk's script: a ready pool of requests, walked round and round."""
    chosen = random.Random(7).choices(people(rows), k=5000)
    bodies = [
        json.dumps({"channel": "email", "address": one, "topic": "product-news"}) for one in chosen
    ]
    lines = ",\n".join(f"'{body}'" for body in bodies)
    file = folder / "asked.lua"
    file.write_text(
        f"local bodies = {{{lines}}}\n"
        "local asked, at = {}, 0\n"
        "wrk.method = 'POST'\n"
        "wrk.headers['Content-Type'] = 'application/json'\n"
        f"wrk.headers['Authorization'] = 'Bearer {key}'\n"
        # Written once: what wrk spends on writing requests is taken from the servers.
        "init = function()\n  for n, body in ipairs(bodies) do\n"
        "    asked[n] = wrk.format(nil, nil, nil, body)\n  end\nend\n"
        "request = function()\n  at = at % #asked + 1\n  return asked[at]\nend\n"
    )
    return file


def measure(url: str, file: Path, seconds: float) -> float:
    said = subprocess.run(
        ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-s", str(file), url],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    if "Non-2xx" in said or "Socket errors" in said:
        raise SystemExit(f"{url}: {said}")
    found = re.search(r"Requests/sec:\s+([0-9.]+)", said)
    assert found
    return float(found[1])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--rows", type=int, default=100_000)
    asked.add_argument("--rounds", type=int, default=7)
    asked.add_argument("--seconds", type=int, default=3)
    options = asked.parse_args()
    for needed in ("wrk", "redis-server"):
        if not shutil.which(needed):
            raise SystemExit(f"Install {needed} (Debian: apt-get install redis-server wrk).")
    folder = Path(tempfile.mkdtemp(prefix="bench"))
    running: list[subprocess.Popen[bytes]] = []
    postgres = Server()
    try:
        socket = str(folder / "redis.sock")
        running.append(
            subprocess.Popen(
                ["redis-server", "--port", "0", "--unixsocket", socket, "--save", ""],
                stdout=subprocess.DEVNULL,
            )
        )
        time.sleep(1)
        store = redis.Redis(unix_socket_path=socket)
        store.sadd("out:product-news", *people(options.rows)[::10])
        postgres.create("bench")
        urls: dict[str, tuple[str, Path]] = {}
        databases = {
            "sqlite": f"sqlite:///{folder / 'prefs.sqlite3'}",
            "postgresql": f"postgresql+psycopg://postgres@/bench?host={postgres.folder}&port={postgres.port}",
        }
        key = ""
        for number, (name, url) in enumerate(databases.items()):
            data = folder / name
            create_secrets(data)
            environ = {"PREFS_DATA": str(data), "PREFS_DATABASE_URL": url}
            settings = Settings.load(environ)
            migrate(url)
            key = fill(settings, options.rows)
            port = 8711 + number
            running.append(start("wsgi:create_app", port, environ))
            urls[f"check on {name}"] = (
                f"http://127.0.0.1:{port}/v1/check",
                script(data, options.rows, key),
            )
        running.append(start("bench.peers:create_app", 8721, {"BENCH_REDIS": socket}))
        plain = script(folder, options.rows, key)
        urls["empty Flask view"] = ("http://127.0.0.1:8721/empty", plain)
        urls["Flask view asking Redis"] = ("http://127.0.0.1:8721/redis", plain)
        for url, file in urls.values():
            measure(url, file, 1)
        found: dict[str, list[float]] = {name: [] for name in urls}
        for round_ in range(options.rounds):
            names = list(urls)
            random.Random(round_).shuffle(names)
            for name in names:
                found[name].append(measure(*urls[name], options.seconds))
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait()
        postgres.close()
        shutil.rmtree(folder, ignore_errors=True)
    peer = statistics.median(found["Flask view asking Redis"])
    print(f"{options.rows} people, {options.rounds} rounds of {options.seconds} s, medians\n")
    print("| path | requests/s | x Flask asking Redis |\n|---|---|---|")
    for name, rates in found.items():
        middle = statistics.median(rates)
        print(f"| {name} | {middle:,.0f} | {middle / peer:.2f} |")


if __name__ == "__main__":
    main()
