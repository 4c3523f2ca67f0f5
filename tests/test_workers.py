"""A no holds at once, on every worker, and the store may go and come back."""

import http.client
import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest

from prefs.demo import Cast
from tests.conftest import Served
from tests.postgres import Server


class Line:
    """One kept-alive connection, which stays with one worker."""

    def __init__(self, url: str, key: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        assert parts.port
        self.connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=20)
        self.headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self.worker = ""

    def __call__(self, method: str, path: str, body: Any) -> tuple[int, Any]:
        self.connection.request(method, path, json.dumps(body), self.headers)
        answer = self.connection.getresponse()
        self.worker = answer.headers["X-Worker"]
        return answer.status, json.loads(answer.read())

    def check(self, address: str, topic: str = "product-news") -> tuple[int, Any]:
        asked = {"channel": "email", "address": address, "topic": topic}
        return self("POST", "/v1/check", asked)


@pytest.fixture
def lines(served: Served, cast: Cast) -> Iterator[list[Line]]:
    """A line to each of the two workers."""
    found: dict[str, Line] = {}
    for _ in range(200):
        line = Line(served.url, cast.key)
        line.check("alice@example.org")
        if found.setdefault(line.worker, line) is not line:
            line.connection.close()
        if len(found) == 2:
            break
        time.sleep(0.01)
    assert len(found) == 2, "only one worker ever answered"
    yield list(found.values())
    for line in found.values():
        line.connection.close()


def test_an_opt_out_through_one_worker_holds_at_once_on_the_other(lines: list[Line]) -> None:
    for number in range(2000):
        tells, asks = lines[number % 2], lines[1 - number % 2]
        address = f"person{number}@example.org"
        said = {
            "channel": "email",
            "address": address,
            "word": "out",
            "scope": {"topic": "product-news"},
            "said_by": "person",
        }
        assert asks.check(address)[1]["decision"] == "allow"
        assert tells("PUT", "/v1/preferences", said)[0] == 200
        status, decision = asks.check(address)
        assert (status, decision["reason"]) == (200, "opted_out")
        assert tells.worker != asks.worker


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_while_the_store_is_away_transactional_passes_and_marketing_is_held(
    lines: list[Line], postgres: Server
) -> None:
    line = lines[0]
    assert line.check("alice@example.org")[1]["decision"] == "allow"
    postgres.crash()
    try:
        for asks in lines:
            status, held = asks.check("alice@example.org")
            assert (status, held["allowed"], held["decision"]) == (503, False, "hold")
            status, passes = asks.check("alice@example.org", "order-updates")
            assert (status, passes["decision"]) == (200, "allow")
    finally:
        postgres.start()
    for asks in lines:
        assert asks.check("alice@example.org")[1]["decision"] == "allow"
        assert asks.check("bob@example.org")[1]["decision"] == "deny"
