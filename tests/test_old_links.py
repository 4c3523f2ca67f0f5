"""Links of older releases open for ever, and what was never ours never opens.

`links.json` is what mails of the past hold, with keys made up for it. It is added to, and
never changed: a release that reads one of its links otherwise loses somebody's no.
"""

import json
from dataclasses import replace
from itertools import permutations
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from flask.testing import FlaskClient

from prefs.address import Channel
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.links import Action, BadLink, Claim, Links
from prefs.policy import Scope
from wsgi import create_app

PAST: dict[str, Any] = json.loads((Path(__file__).parent / "links.json").read_text())
KEYS = [bytes.fromhex(key) for key in PAST["keys"]]


def claim_of(link: dict[str, Any]) -> Claim:
    return Claim(
        Action[link["action"]],
        link["tenant"],
        Channel(link["channel"]),
        bytes.fromhex(link["digest"]),
        Scope(*link["scope"]),
        link["minted"],
        link["campaign"],
    )


def test_there_are_links_of_every_action_and_width_by_old_and_newer_keys() -> None:
    claims = [claim_of(link) for link in PAST["links"]]
    assert {claim.action for claim in claims} == set(Action)
    for action in Action:
        widths = {
            (claim.scope.brand is None, claim.scope.topic is None)
            for claim in claims
            if claim.action is action
        }
        assert len(widths) == 3, action
    assert {link["signed_by"] for link in PAST["links"]} == {0, 1}
    assert {claim.channel for claim in claims} == {Channel.EMAIL, Channel.SMS, Channel.PUSH}


@pytest.mark.parametrize("link", PAST["links"], ids=lambda link: link["token"][:12])
def test_links_of_older_releases_open_for_ever(link: dict[str, Any]) -> None:
    claim = claim_of(link)
    for keys in permutations(KEYS):
        assert Links(keys).open(link["token"], claim.action) == claim


@pytest.mark.parametrize("link", PAST["links"], ids=lambda link: link["token"][:12])
def test_each_opens_for_its_own_action_and_its_own_key_alone(link: dict[str, Any]) -> None:
    claim = claim_of(link)
    for action in set(Action) - {claim.action}:
        with pytest.raises(BadLink):
            Links(KEYS).open(link["token"], action)
    without = [key for at, key in enumerate(KEYS) if at != link["signed_by"]]
    with pytest.raises(BadLink):
        Links(without).open(link["token"], claim.action)


def test_a_release_that_signs_otherwise_says_so_by_adding_to_this_file() -> None:
    for link in PAST["links"]:
        assert Links(KEYS[: link["signed_by"] + 1]).sign(claim_of(link)) == link["token"]


@pytest.mark.parametrize("glued", PAST["opens"])
def test_what_mail_programs_glue_to_a_link_keeps_nobody_from_leaving(glued: str) -> None:
    whole = Links(KEYS).open(PAST["of"], Action.UNSUBSCRIBE)
    assert Links(KEYS).open(PAST["opens"][glued], Action.UNSUBSCRIBE) == whole


@pytest.mark.parametrize("broken", PAST["refused"])
def test_what_is_forged_cut_or_changed_opens_nothing(broken: str) -> None:
    with pytest.raises(BadLink):
        Links(KEYS).open(PAST["refused"][broken], Action.UNSUBSCRIBE)


# --- as a browser brings them ---


@pytest.fixture
def years_later(opened: Installation, cast: Cast) -> FlaskClient:
    """The same installation after two rotations of its keys."""
    return create_app(replace(opened, links=Links(KEYS))).test_client()


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_one_click_works_years_later_however_the_link_was_written(
    years_later: FlaskClient, cast: Cast
) -> None:
    mails = [
        link
        for link in PAST["links"]
        if link["action"] == "UNSUBSCRIBE" and link["tenant"] == cast.tenant.id
        if cast.tenant.whole(Scope(*link["scope"])) is not None
    ]
    assert len(mails) > 2
    for link in mails:
        encoded = "".join(f"%{ord(sign):02x}" for sign in link["token"])
        for path in (link["token"], encoded, quote(link["token"] + "\u200b>.")):
            answer = years_later.post(f"/u/{path}", data={"List-Unsubscribe": "One-Click"})
            assert answer.status_code == 200, link


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("broken", PAST["refused"])
def test_a_broken_link_is_a_page_that_says_so(
    years_later: FlaskClient, cast: Cast, broken: str
) -> None:
    assert years_later.post(f"/u/{PAST['of']}").status_code == 200
    assert years_later.post(f"/u/{quote(PAST['refused'][broken])}").status_code == 404
