"""Who has no link gets one, at the address itself, and nobody else learns anything by asking."""

import re

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from prefs import directory, tables
from prefs.demo import ALICE, Cast
from prefs.installation import Installation
from tests.conftest import Api, Clock
from tests.test_check import taken_away
from tests.test_sending import Mailbox, TwilioApi, mail, mailbox, post, twilio_api
from tests.test_sign_up import letters_to
from webhooks.letters import deliver
from wsgi import create_app

__all__ = ["mail", "mailbox", "post", "twilio_api"]

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
LOST = "/lost/acme"
GRACE = "grace@example.org"


def test_the_link_comes_by_email_and_leaves_everything(
    post: Installation, api: Api, mailbox: Mailbox
) -> None:
    browser = create_app(post).test_client()
    assert browser.get(LOST).status_code == 200
    page = browser.post(LOST, data={"address": "ALICE@example.org"}).text
    assert "a•••@e•••.org" in page
    assert "/p/" not in page
    assert deliver(post) == 1
    ((envelope, letter),) = mailbox.taken
    assert envelope.rcpt_tos == [ALICE.value]
    link = re.search(r"https://prefs\.example\.com(/p/\S+)", letter.get_content())
    assert link
    assert browser.get(link[1]).status_code == 200
    assert browser.post(link[1], data={"leave": "all"}).status_code == 200
    assert api.check(ALICE.value)["reason"] == "opted_out"


def test_the_link_comes_by_text_to_a_number(post: Installation, twilio_api: TwilioApi) -> None:
    browser = create_app(post).test_client()
    page = browser.post(LOST, data={"address": "+1 (415) 555-0108"}).text
    assert "+1•••••••08" in page
    assert deliver(post) == 1
    (text,) = twilio_api.heard
    assert "https://prefs.example.com/p/" in text.fields["Body"]


@ONE_STORE
def test_it_is_written_by_a_brand_that_can_write(
    post: Installation, opened: Installation, cast: Cast, mailbox: Mailbox
) -> None:
    with opened.database.writing() as connection:
        directory.change_brand(connection, cast.tenant, "acme", mail_from="")
    opened.directory.refresh()
    create_app(post).test_client().post(LOST, data={"address": GRACE})
    assert deliver(post) == 1
    assert mailbox.taken[0][1]["From"].addresses[0].addr_spec == "walks@outdoor.example"


@ONE_STORE
@pytest.mark.parametrize(
    "typed", ["", "nonsense", "a@b", "0171 5550108", "\x00@example.org", "<b>@x", "x" * 9000, "+1"]
)
def test_what_is_no_address_is_asked_for_again(client: FlaskClient, typed: str) -> None:
    answer = client.post(LOST, data={"address": typed})
    assert (answer.status_code, answer.mimetype) == (422, "text/html")
    assert 'role="alert"' in answer.text
    assert "<b>@x" not in answer.text


@ONE_STORE
def test_nothing_is_recorded_and_three_a_day_is_all(
    client: FlaskClient, opened: Installation, clock: Clock
) -> None:
    with opened.database.reading() as connection:
        before = len(connection.execute(select(tables.event)).all())
    for _ in range(9):
        clock.forward(minutes=15)
        assert client.post(LOST, data={"address": GRACE}).status_code == 200
    assert letters_to(opened, GRACE) == 3
    with opened.database.reading() as connection:
        assert len(connection.execute(select(tables.event)).all()) == before


@ONE_STORE
def test_a_tenant_that_nobody_sends_for_has_no_such_page(
    client: FlaskClient, opened: Installation, clock: Clock
) -> None:
    with opened.database.writing() as connection:
        directory.add_tenant(connection, "empty", "Empty", clock())
    for path in ("/lost/empty", "/lost/none", "/lost/%00", "/s/empty/events"):
        for answer in (client.get(path), client.post(path, data={"address": GRACE})):
            assert (answer.status_code, answer.mimetype) == (404, "text/html")
            # It would lead back to this page.
            assert "/lost/empty" not in answer.text.replace('action="', "")


def test_without_the_store_the_page_shows_and_says_to_try_again(
    client: FlaskClient, opened: Installation, request: pytest.FixtureRequest
) -> None:
    with taken_away(opened, request):
        assert client.get(LOST).status_code == 200
        answer = client.post(LOST, data={"address": GRACE})
        assert (answer.status_code, answer.mimetype) == (503, "text/html")
        assert answer.headers["Retry-After"] == "5"
