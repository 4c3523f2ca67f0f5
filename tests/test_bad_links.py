"""A link that does not work says so on a page, in the reader's language, with a way to leave."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from prefs import languages, rights
from prefs.address import Channel
from prefs.demo import ALICE, Cast
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.links import Action, Claim, Links
from prefs.policy import Scope
from tests.conftest import Api, Clock
from wsgi import create_app

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what a page shows: it is the same for both."""

PAST: dict[str, Any] = json.loads((Path(__file__).parent / "links.json").read_text())
KEYS = [bytes.fromhex(key) for key in PAST["keys"]]
PAGES = {"u": Action.UNSUBSCRIBE, "p": Action.PREFERENCES, "c": Action.CONFIRM}
WAYS = ('href="/lost/acme"', 'href="/code"', "help@acme.example", "help@outdoor.example")


def claim(cast: Cast, action: Action, **changed: Any) -> Claim:
    scope = cast.tenant.topic("product-news").scope
    digest = cast.tenant.digest(ALICE)
    made = Claim(action, cast.tenant.id, Channel.EMAIL, digest, scope, campaign="1")
    return replace(made, **changed)


def both(client: FlaskClient, path: str, status: int = 404) -> str:
    """The page that a look and a press get, which is one."""
    pages = []
    for method in ("GET", "POST"):
        answer = client.open(path, method=method)
        assert (answer.status_code, answer.mimetype) == (status, "text/html"), path[:6]
        assert answer.headers["Cache-Control"] == "no-store"
        pages.append(answer.text)
    assert pages[0] == pages[1]
    assert ALICE.value not in pages[0]
    assert "•••" not in pages[0]
    return pages[0]


@pytest.mark.parametrize("kind", PAGES)
def test_forged_cut_rewrapped_and_glued_links_still_show_a_way_to_leave(
    client: FlaskClient, opened: Installation, cast: Cast, kind: str
) -> None:
    token = opened.links.sign(claim(cast, PAGES[kind]))
    others = [opened.links.sign(claim(cast, action)) for action in Action if action != PAGES[kind]]
    forged = Links([b"k" * 32]).sign(claim(cast, PAGES[kind]))
    wrapped = (token[:30] + "=\r\n" + token[30:], token[:30] + " " + token[30:], f"<{token[:-2]}>")
    for broken in (*others, forged, *wrapped, token[:-1], token[:20], token.lower(), token + "é"):
        page = both(client, f"/{kind}/{quote(broken)}")
        assert "This link does not work" in page
        if broken != token.lower():
            assert all(way in page for way in WAYS), broken


def test_of_what_names_no_tenant_only_the_code_page_is_offered(client: FlaskClient) -> None:
    for path in (
        "/u/",
        "/u",
        "/c/",
        "/p/x",
        "/l/aaaaaaaaaaaa",
        "/l/",
        "/lost/",
        "/s/",
        "/u/é%00%ff",
    ):
        page = both(client, path)
        assert 'href="/code"' in page
        assert "/lost/" not in page
        assert "acme" not in page
    nowhere = client.get("/v1/none")
    assert (nowhere.status_code, nowhere.mimetype) == (404, "application/problem+json")


def test_a_link_of_another_tenant_shows_that_tenants_ways_alone(
    client: FlaskClient, opened: Installation, cast: Cast
) -> None:
    foreign = opened.links.sign(claim(cast, Action.UNSUBSCRIBE, tenant=99))
    page = both(client, f"/u/{foreign}")
    assert "acme" not in page


@pytest.mark.parametrize("code", languages.ALL)
def test_it_is_in_the_browsers_language(client: FlaskClient, cast: Cast, code: str) -> None:
    answer = client.get("/u/x", headers={"Accept-Language": code})
    assert f'<html lang="{code}" dir="{languages.ALL[code].direction}">' in answer.text
    assert ("This link does not work" in answer.text) is (code == "en")


def test_a_browser_that_names_no_language_gets_the_tenants(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    assert api("PATCH", "/v1/tenant", {"language": "de"}).status_code == 200
    token = opened.links.sign(claim(cast, Action.UNSUBSCRIBE))[:-1]
    assert client.get(f"/u/{token}").headers["Content-Language"] == "de"
    french = client.get(f"/u/{token}", headers={"Accept-Language": "fr"})
    assert french.headers["Content-Language"] == "fr"


@pytest.fixture
def years_later(opened: Installation, cast: Cast) -> FlaskClient:
    """The same installation after two rotations of its keys."""
    return create_app(replace(opened, links=Links(KEYS))).test_client()


def test_old_links_of_every_kind_open_a_page_or_show_a_way_to_leave(
    years_later: FlaskClient, cast: Cast
) -> None:
    kinds = {action.name: kind for kind, action in PAGES.items()}
    seen = set()
    for link in PAST["links"]:
        for kind in "upc":
            answer = years_later.get(f"/{kind}/{link['token']}")
            assert answer.mimetype == "text/html"
            works = kinds.get(link["action"]) == kind and link["tenant"] == cast.tenant.id
            assert answer.status_code == (200 if works else 404), link
            seen.add((kind, works))
            if link["tenant"] == cast.tenant.id:
                leaves = "<button" in answer.text if works else WAYS[0] in answer.text
                assert leaves, link
    assert len(seen) == 6


def test_a_key_that_was_thrown_away_leaves_a_way(opened: Installation, cast: Cast) -> None:
    client = create_app(replace(opened, links=Links([b"n" * 32]))).test_client()
    token = opened.links.sign(claim(cast, Action.UNSUBSCRIBE))
    assert all(way in both(client, f"/u/{token}") for way in WAYS)


def test_links_of_erased_people_and_of_gone_topics_are_no_bad_links(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock
) -> None:
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, ALICE), clock())
    for kind, action in PAGES.items():
        for scope in (Scope(1, 1), Scope(1, 9999), Scope(9999)):
            token = opened.links.sign(claim(cast, action, scope=scope))
            answer = client.get(f"/{kind}/{token}")
            assert answer.status_code == 200
            assert re.search(r"<button[^>]*>", answer.text)
            assert "@e" not in answer.text


def test_a_confirmation_that_expired_says_so_and_can_still_refuse(
    client: FlaskClient, opened: Installation, cast: Cast
) -> None:
    token = opened.links.sign(claim(cast, Action.CONFIRM, minted=1000))
    page = client.get(f"/c/{token}")
    assert page.status_code == 200
    assert "This question is too old" in page.text
    assert 'value="no"' in page.text


def test_a_program_is_told_in_json(client: FlaskClient) -> None:
    answer = client.post("/u/x", headers={"Accept": "application/json"})
    assert (answer.status_code, answer.mimetype) == (404, "application/problem+json")
    plain = client.post("/u/x", headers={"Accept": "*/*"})
    assert (plain.status_code, plain.mimetype) == (404, "text/html")
