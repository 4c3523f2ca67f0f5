"""A plain check is answered before Flask, exactly as Flask would have answered it."""

import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from flask.testing import FlaskClient

from prefs.database import WAIT_SECONDS, sqlite_file
from prefs.demo import Cast
from prefs.settings import Settings
from prefs.web import shortcut
from tests.conftest import Api, Clock, Served

ADDRESSES = [
    ("email", "alice@example.org"),
    ("email", " BOB@Example.org "),
    ("email", "carol@example.org"),
    ("email", "erin@example.org"),
    ("email", "nobody@example.org"),
    ("email", "not an address"),
    ("email", ""),
    ("email", "bücher@bücher.example"),
    ("sms", "+14155550104"),
    ("sms", "+14155550106"),
    ("sms", "04155550106"),
    ("push", "fcm:token"),
    ("pigeon", "coo"),
]
TOPICS = ["product-news", "events", "order-updates", "trail-tips", "no-such-topic", 7, None]


def bodies() -> list[Any]:
    asked = [
        {"channel": channel, "address": address, "topic": topic}
        for channel, address in ADDRESSES
        for topic in TOPICS
    ]
    odd = [
        {},
        [],
        None,
        "text",
        {"topic": "order-updates"},
        {**asked[0], "explain": True},
        {**asked[0], "explain": "yes"},
        {**asked[0], "more": 1},
        {**asked[0], "region": "US"},
        {**asked[0], "region": 1},
        {"channel": "sms", "address": "(415) 555-0104", "topic": "order-updates", "explain": True},
        {"channel": "sms", "address": "4155550104", "topic": "product-news", "region": "US"},
    ]
    return asked + odd


def test_both_doors_answer_every_question_alike(api: Api) -> None:
    direct = 0
    for body in bodies():
        text = json.dumps(body)
        answers = [
            # This is JSON too, and out of the ordinary.
            api("POST", "/v1/check", data=text, headers={"Content-Type": kind})
            for kind in ("application/json; charset=utf-8", "application/vnd.prefs+json")
        ]
        first, second = answers
        assert first.status_code == second.status_code, text
        assert first.get_data() == second.get_data(), text
        assert dict(first.headers) == dict(second.headers), text
        direct += first.status_code == 200
    assert direct > 20


def test_it_is_the_shortcut_that_answers_the_plain_question(
    client: FlaskClient, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError

    monkeypatch.setitem(client.application.view_functions, "check.check", never)
    assert api.check("bob@example.org")["reason"] == "opted_out"
    assert shortcut.LONGEST_BODY > 1000


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_another_method_is_for_flask(api: Api, method: str) -> None:
    assert api(method, "/v1/check").status_code in (200, 405)


def test_a_key_that_ended_or_lacks_the_scope_opens_neither_door(
    api: Api, client: FlaskClient, cast: Cast, clock: Clock
) -> None:
    asked = {"channel": "email", "address": "alice@example.org", "topic": "order-updates"}
    made = api("POST", "/v1/keys", {"name": "links", "scopes": ["links"]}).get_json()
    other = Api(client, made["key"])
    assert other("POST", "/v1/check", asked).status_code == 403
    made = api("POST", "/v1/keys", {"name": "checks", "scopes": ["check"]}).get_json()
    other = Api(client, made["key"])
    assert other("POST", "/v1/check", asked).status_code == 200
    api("DELETE", f"/v1/keys/{made['id']}")
    clock.forward(seconds=1)
    refused = other("POST", "/v1/check", asked)
    assert refused.status_code == 401
    assert refused.get_json()["allowed"] is False


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_transactional_passes_while_everything_else_waits_for_the_store(
    served: Served, settings: Settings, cast: Cast
) -> None:
    """Another process holds SQLite's one write lock; more people leave than there are threads."""
    file = sqlite_file(settings.database_url)
    assert file
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")

    def ask(topic: str, word: str | None = None) -> tuple[int, float]:
        asked = {"channel": "email", "address": "zoe@example.org", "topic": topic}
        path, method = "/v1/check", "POST"
        if word:
            path, method = "/v1/preferences", "PUT"
            asked = {**asked, "word": word, "scope": {"all": True}, "said_by": "person"}
            del asked["topic"]
        request = Request(f"{served.url}{path}", json.dumps(asked).encode(), method=method)
        request.add_header("Authorization", f"Bearer {cast.key}")
        request.add_header("Content-Type", "application/json")
        began = time.monotonic()
        try:
            with urlopen(request, timeout=30) as answer:
                return answer.status, time.monotonic() - began
        except HTTPError as error:
            error.close()
            return error.code, time.monotonic() - began

    with ThreadPoolExecutor(100) as people:
        leaving = [people.submit(ask, "", "out") for _ in range(80)]
        time.sleep(1)
        passed = [ask("order-updates") for _ in range(10)]
        holder.execute("ROLLBACK")
        left = [one.result()[0] for one in leaving]
    holder.close()
    assert {status for status, _ in passed} == {200}
    # The lock was held for as long as all of these took: had they waited for it, none would be.
    assert sum(seconds for _, seconds in passed) < WAIT_SECONDS
    assert set(left) <= {200, 503}
    assert 200 in left
    assert ask("product-news")[0] == 200
