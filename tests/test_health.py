"""Whether it lives, whether it can keep what it is told, and the headers of every answer."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from prefs.demo import ALICE, Cast
from prefs.installation import Installation
from tests.conftest import Api
from tests.test_check import taken_away
from wsgi import create_app


def test_it_is_ready_while_the_database_is_there_and_alive_all_the_time(
    client: FlaskClient, opened: Installation, request: pytest.FixtureRequest
) -> None:
    assert client.get("/readyz").get_json() == {"status": "ready"}
    with taken_away(opened, request):
        for _ in range(2):
            assert client.get("/healthz").get_json() == {"status": "alive"}
            away = client.get("/readyz")
            assert away.status_code == 503
            assert away.content_type == "application/problem+json"
            assert away.headers["Retry-After"]
    assert client.get("/readyz").status_code == 200


KINDS = {
    "a page": ("/u/no-such-link", 404, "text/html; charset=utf-8"),
    "the docs": ("/docs", 200, "text/html; charset=utf-8"),
    "an answer": ("/healthz", 200, "application/json"),
    "the document": ("/openapi.json", 200, "application/json"),
    "a problem": ("/v1/tenant", 401, "application/problem+json"),
    "nothing there": ("/no-such-page", 404, "application/problem+json"),
    "a wrong method": ("/v1/check", 405, "application/problem+json"),
    "no such file": ("/static/none.css", 404, "application/problem+json"),
    "a style sheet": ("/static/prefs.css", 200, "text/css; charset=utf-8"),
    "a script": ("/static/swagger/start.js", 200, "text/javascript; charset=utf-8"),
}


def test_every_answer_carries_the_security_headers(api: Api) -> None:
    answers: dict[str, tuple[Any, int, str]] = {
        kind: (api.client.get(path, buffered=True), status, content_type)
        for kind, (path, status, content_type) in KINDS.items()
    }
    check = {"channel": "email", "address": ALICE.value, "topic": "product-news"}
    answers["a check"] = (api("POST", "/v1/check", check), 200, "application/json")
    answers["nothing"] = (api("DELETE", "/v1/keys/x"), 404, "application/problem+json")
    for kind, (answer, status, content_type) in answers.items():
        assert (answer.status_code, answer.content_type) == (status, content_type), kind
        headers = answer.headers
        assert headers["X-Content-Type-Options"] == "nosniff", kind
        assert headers["Referrer-Policy"] == "no-referrer", kind
        assert headers["X-Robots-Tag"] == "noindex", kind
        policy = headers["Content-Security-Policy"]
        assert "frame-ancestors 'none'" in policy, kind
        assert "base-uri 'none'" in policy, kind
        scripts = "default-src 'self'" if kind == "the docs" else "default-src 'none'"
        assert policy.startswith(scripts), kind
        assert "Set-Cookie" not in headers, kind
        assert "X-Worker" not in headers, kind


def test_only_files_may_be_kept_by_whoever_fetched_them(client: FlaskClient) -> None:
    for kind, (path, status, _) in KINDS.items():
        answer = client.get(path, buffered=True)
        if path.startswith("/static/") and status == 200:
            assert answer.headers["Cache-Control"] == "public, max-age=3600", kind
            shown = {"If-None-Match": answer.headers["ETag"]}
            again = client.get(path, headers=shown, buffered=True)
            assert again.status_code == 304, kind
        else:
            assert answer.headers["Cache-Control"] == "no-store", kind


def test_a_wrong_method_says_which_are_right(client: FlaskClient) -> None:
    answer = client.get("/v1/check")
    assert {"POST", "OPTIONS"} == set(answer.headers["Allow"].split(", "))


def test_a_worker_names_itself_only_where_that_is_switched_on(
    opened: Installation, cast: Cast
) -> None:
    shown = replace(opened, settings=replace(opened.settings, worker_header=True))
    api = Api(create_app(shown).test_client(), cast.key)
    for path, _, _ in KINDS.values():
        assert api.client.get(path, buffered=True).headers["X-Worker"].isdigit(), path
    check = {"channel": "email", "address": ALICE.value, "topic": "product-news"}
    assert api("POST", "/v1/check", check).headers["X-Worker"].isdigit()
