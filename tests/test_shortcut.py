"""A plain check is answered before Flask, exactly as Flask would have answered it."""

import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from prefs.demo import Cast
from prefs.web import shortcut
from tests.conftest import Api, Clock

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
            # A charset is enough to be out of the ordinary.
            api("POST", "/v1/check", data=text, headers={"Content-Type": kind})
            for kind in ("application/json", "application/json; charset=utf-8")
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
