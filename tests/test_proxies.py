"""Behind proxies: whose address is in the evidence, and where pages send their forms."""

from dataclasses import replace

from prefs.demo import ALICE, Cast
from prefs.installation import Installation
from prefs.ledger import Subject, history
from prefs.links import Action, Claim
from wsgi import create_app


def leave(opened: Installation, cast: Cast, headers: dict[str, str]) -> str:
    """The IP in the evidence of a press on Alice's link."""
    subject = Subject.of(cast.tenant, ALICE)
    scope = cast.tenant.topic("product-news").scope
    claim = Claim(Action.UNSUBSCRIBE, cast.tenant.id, ALICE.channel, subject.digest, scope)
    client = create_app(opened).test_client()
    answer = client.post(f"/u/{opened.links.sign(claim)}", headers=headers)
    assert answer.status_code == 200
    with opened.database.reading() as connection:
        said = history(connection, cast.tenant.id, subject.digest)[-1]
    assert said.evidence
    return said.evidence["ip"]


def test_nobody_names_their_own_ip_where_no_proxy_is_configured(
    opened: Installation, cast: Cast
) -> None:
    assert leave(opened, cast, {"X-Forwarded-For": "203.0.113.9"}) == "127.0.0.1"


def test_behind_one_proxy_the_evidence_has_what_that_proxy_saw(
    opened: Installation, cast: Cast
) -> None:
    behind = replace(opened, settings=replace(opened.settings, proxies=1))
    forwarded = {"X-Forwarded-For": "198.51.100.7, 203.0.113.9"}
    assert leave(behind, cast, forwarded) == "203.0.113.9"


def test_host_and_scheme_are_never_taken_from_a_request(opened: Installation, cast: Cast) -> None:
    behind = replace(opened, settings=replace(opened.settings, proxies=1))
    client = create_app(behind).test_client()
    asked = {"items": [{"channel": "email", "address": "a@example.org"}]}
    headers = {
        "Authorization": f"Bearer {cast.key}",
        "Host": "evil.example",
        "X-Forwarded-Host": "evil.example",
        "X-Forwarded-Proto": "http",
    }
    minted = client.post("/v1/links", json=asked, headers=headers).get_json()["items"][0]
    assert minted["unsubscribe"].startswith("https://prefs.example.com/u/")


def test_below_a_path_pages_send_their_forms_below_it(opened: Installation, cast: Cast) -> None:
    below = replace(
        opened, settings=replace(opened.settings, public_url="https://example.com/prefs")
    )
    subject = Subject.of(cast.tenant, ALICE)
    scope = cast.tenant.topic("product-news").scope
    claim = Claim(Action.UNSUBSCRIBE, cast.tenant.id, ALICE.channel, subject.digest, scope)
    # The proxy has taken /prefs off.
    page = create_app(below).test_client().get(f"/u/{opened.links.sign(claim)}").get_data(True)
    assert 'action="/prefs/u/' in page
    assert 'href="/prefs/static/prefs.css' in page
