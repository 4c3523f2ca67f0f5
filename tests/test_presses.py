"""However many press at once, whoever is told that they have left has left."""

import http.client
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select

from prefs import ledger, tables
from prefs.address import Address, Channel
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.links import Action, Claim
from prefs.policy import Kind, Message, Verdict, may_send
from tests.conftest import Served
from tests.test_one_click import FIELD, FORM

pytestmark = pytest.mark.slow

AT_ONCE = 200
"""Connections. Each has its next press ready as soon as one is answered."""

MOST_TRIES = 500


class Presser:
    """A mailbox provider: it posts, and again as often as it is told to come later."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self.at = (parts.hostname, parts.port)

    def press(self, paths: list[str]) -> list[tuple[int, ...]]:
        """What each press was answered, try by try."""
        line = http.client.HTTPConnection(*self.at, timeout=120)
        try:
            return [tuple(self._one(line, path)) for path in paths]
        finally:
            line.close()

    def _one(self, line: http.client.HTTPConnection, path: str) -> list[int]:
        told: list[int] = []
        for _ in range(MOST_TRIES):
            try:
                line.request("POST", path, FIELD, {"Content-Type": FORM})
            except (BrokenPipeError, ConnectionResetError):
                # A server may close a line between two requests: nothing was said on it.
                line.close()
                continue
            answer = line.getresponse()
            body = answer.read()
            told.append(answer.status)
            if answer.status != 503:
                assert (answer.status, body) == (200, b"Unsubscribed."), answer.status
                return told
            wait = answer.headers["Retry-After"]
            # As asked, though a hundred times as impatient.
            time.sleep(int(wait) / 100)
        raise AssertionError("told to come later for ever")


def press_all(served: Served, paths: list[str]) -> Counter[int]:
    """Presses all, as many at once as there are connections; the answers by their status."""
    presser = Presser(served.url)
    shares = [paths[number::AT_ONCE] for number in range(AT_ONCE)]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        told = [one for share in threads.map(presser.press, shares) for one in share]
    assert len(told) == len(paths)
    assert all(tries[-1] == 200 and set(tries[:-1]) <= {503} for tries in told)
    return Counter(status for tries in told for status in tries)


def people(count: int) -> list[Address]:
    return [Address(Channel.EMAIL, f"person{number}@example.org") for number in range(count)]


def link(opened: Installation, cast: Cast, who: Address) -> str:
    scope = cast.tenant.topic("product-news").scope
    digest = cast.tenant.digest(who)
    claim = Claim(Action.UNSUBSCRIBE, cast.tenant.id, who.channel, digest, scope)
    return f"/u/{opened.links.sign(claim)}"


def events(opened: Installation) -> int:
    with opened.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.event))


def test_of_ten_thousand_presses_at_once_none_is_lost(
    served: Served, opened: Installation, cast: Cast
) -> None:
    everybody, before = people(10_000), events(opened)
    told = press_all(served, [link(opened, cast, who) for who in everybody])
    assert told.keys() <= {200, 503}
    assert told[200] == len(everybody)
    # Once for each 200, and never for a 503.
    assert events(opened) - before == told[200]
    topic = cast.tenant.topic("product-news")
    with opened.database.reading() as connection:
        for who in everybody:
            digest = cast.tenant.digest(who)
            standing = ledger.standing(connection, cast.tenant.id, digest)
            decision = may_send(Message(topic, who.channel), standing, opened.clock())
            assert (decision.verdict, decision.reason) == (Verdict.DENY, "opted_out")
            (heard,) = ledger.history(connection, cast.tenant.id, digest)
            assert (heard.event.kind, heard.event.scope) == (Kind.OUT, topic.scope)


def test_of_a_thousand_presses_of_one_link_at_once_each_is_written_down(
    served: Served, opened: Installation, cast: Cast
) -> None:
    (who,), before = people(1), events(opened)
    told = press_all(served, [link(opened, cast, who)] * 1_000)
    assert told.keys() <= {200, 503}
    assert events(opened) - before == told[200] == 1_000
    with opened.database.reading() as connection:
        heard = ledger.history(connection, cast.tenant.id, cast.tenant.digest(who))
        standing = ledger.standing(connection, cast.tenant.id, cast.tenant.digest(who))
    assert [entry.seq for entry in heard] == list(range(1, 1_001))
    assert {entry.event.kind for entry in heard} == {Kind.OUT}
    assert standing.seq == 1_000
    assert len(standing.outs) == 1
