"""A demo shows every page: looking writes nothing, and each link and button leads where it says."""

import html
import re
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser
from sqlalchemy import func, select

from prefs import languages, ledger, tables
from prefs.address import Address, Channel
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.settings import Settings
from tests.browser import Screen, faults, it_weighs_little
from tests.conftest import Served
from wsgi import create_app

pytestmark = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@pytest.fixture
def visitor(opened: Installation, cast: Cast) -> FlaskClient:
    """Of an installation that shows its pages, as a demo does."""
    shown = replace(opened, settings=replace(opened.settings, preview=True))
    app = create_app(shown)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app.test_client()


class Shown(NamedTuple):
    """A link, or a button with what it sends."""

    name: str
    url: str
    sends: dict[str, list[str]] | None

    def open(self, visitor: FlaskClient) -> str:
        answer = (
            visitor.get(self.url)
            if self.sends is None
            else visitor.post(self.url, data=self.sends, follow_redirects=True)
        )
        assert answer.status_code == STATUSES.get(self.name, 200), self.name
        return answer.text


STATUSES = {
    "Number misspelt": 422,
    "Address misspelt": 422,
    "Get a link, misspelt": 422,
    "A wrong code": 422,
    "A link that is not whole": 404,
    "The store is away": 503,
    "Our mistake": 500,
}

HEADINGS = {
    "Leave a topic": "Unsubscribe from",
    "Leave the brand": "Unsubscribe from all marketing from",
    "Leave WhatsApp": "WhatsApp",
    "Leave everything": "Unsubscribe from all marketing from Acme Group?",
    "Leave texts: Frank": "Unsubscribe from Product news?",
    "A topic that is gone": "These messages are no longer sent",
    "Left the topic, with undo and reasons": "You are unsubscribed from",
    "Left the brand": "You are unsubscribed from all marketing from",
    "Left everything": "You are unsubscribed from all marketing from Acme Group.",
    "Already left: Bob": "You are already unsubscribed from Product news.",
    "Said why: Bob": "Thank you for telling us.",
    "Choices": "Your choices",
    "Choices saved": "You are unsubscribed.",
    "Choices paused": "Everything is paused until",
    "All left from the choices": "You unsubscribed from all marketing.",
    "Two addresses: Kim": "Text message +1•••••••12",
    "After a spam report: Carol": "You reported a message as spam on",
    "After STOP: Dave": "You replied STOP. No text message reaches you",
    "After erasure: Erin": "Your data was erased on",
    "Through an old link: Alice": "Before something is turned on, we send a message",
    "Changed meanwhile: Bob": "Something changed meanwhile",
    "Sign up": "Your email address",
    "Sign up by text": "Your mobile number",
    "Number misspelt": "Please write the number with its country code",
    "Address misspelt": "Please check the address",
    "Asked": "Open the link in it",
    "Asked by text": "Reply YES to it",
    "The question": "Do you want",
    "The question, too old": "This question is too old",
    "Yes, to a question from before a no: Bob": "After we had asked, you said no.",
    "Confirmed": "You will get",
    "Refused": "You will not get",
    "Get a link": "Get your link",
    "Get a link, misspelt": "Please check it",
    "Link on its way": "We are sending a link to",
    "Enter a code": "Enter your code",
    "A wrong code": "This code does not work.",
    "Make a code for Alice's choices": "Every page",
    "A link that is not whole": "This link does not work",
    "The store is away": "Please try again",
    "Our mistake": "This is our mistake",
}
"""What the page of each state says, in English."""


def shown(page: str) -> Iterator[Shown]:
    for url, name in re.findall(r'<a href="(/[^"]+)">([^<]+)', page):
        yield Shown(html.unescape(name), html.unescape(url), None)
    form = r'<form method="post" action="([^"]+)">(.*?)<button[^>]*>([^<]+)'
    for url, fields, name in re.findall(form, page, re.DOTALL):
        sends: dict[str, list[str]] = {}
        for field, value in re.findall(r'name="([^"]+)" value="([^"]*)"', fields):
            sends.setdefault(field, []).append(html.unescape(value))
        yield Shown(html.unescape(name), html.unescape(url), sends)


def words(page: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", "", page)).split())


def test_only_who_was_told_to_serves_it(client: FlaskClient, visitor: FlaskClient) -> None:
    for path in ("/preview", "/preview/away"):
        assert client.get(path).status_code == 404
        assert path == "/preview/away" or visitor.get(path).status_code == 200
    assert client.post("/preview").status_code == 404


def test_every_link_and_button_leads_where_it_says(visitor: FlaskClient) -> None:
    states = list(shown(visitor.get("/preview").text))
    assert {state.name for state in states} == set(HEADINGS)
    for state in states:
        assert HEADINGS[state.name] in words(state.open(visitor)), state.name


@pytest.mark.parametrize("language", ["ar", "de", "ja"])
def test_all_of_it_opens_in_the_language_that_is_picked(
    visitor: FlaskClient, language: str
) -> None:
    page = visitor.get(f"/preview?lang={language}").text
    for state in shown(page):
        if state.url != f"/preview?lang={language}":
            assert f'<html lang="{language}"' in state.open(visitor), state.name


def test_letters_are_shown_in_every_language(visitor: FlaskClient) -> None:
    for code, language in languages.ALL.items():
        page = visitor.get(f"/preview?lang={code}").text
        found = re.findall(r'<div class="letter" lang="(\w+)" dir="(\w+)">', page)
        assert set(found) == {(code, language.direction)}
        assert html.escape(language.say("If it was not you, do nothing: nothing changes.")) in page


def test_a_code_opens_alices_choices(visitor: FlaskClient) -> None:
    [made] = [s for s in shown(visitor.post("/preview").text) if "by the code" in s.name]
    assert "Emails to a•••@e•••.org" in words(made.open(visitor))


def test_a_demo_shows_the_letter_that_it_does_not_send_and_its_link_signs_up(
    visitor: FlaskClient, opened: Installation, cast: Cast
) -> None:
    asked = visitor.post("/s/acme/events", data={"address": "zoe@example.org", "channel": "email"})
    assert "We are sending a message to" in asked.text
    page = visitor.get("/preview").text
    assert "To z•••@e•••.org" in page
    (found,) = re.findall(r'href="(/c/[^"]+)">Open its link', page)
    visitor.post(found, data={"answer": "yes"})
    zoe = Address(Channel.EMAIL, "zoe@example.org")
    with opened.database.reading() as connection:
        standing = ledger.standing(connection, cast.tenant.id, cast.tenant.digest(zoe))
    assert [c.scope for c in standing.consents] == [cast.tenant.topic("events").scope]
    assert "To z•••" not in visitor.get("/preview").text


def test_looking_writes_nothing(visitor: FlaskClient, opened: Installation) -> None:
    def rows() -> list[int | None]:
        with opened.database.reading() as connection:
            return [
                connection.scalar(select(func.count()).select_from(table))
                for table in tables.metadata.tables.values()
            ]

    before = rows()
    for state in shown(visitor.get("/preview").text):
        if state.sends is None:
            state.open(visitor)
    assert rows() == before
    visitor.post("/preview")
    assert rows() != before


def test_it_is_as_usable_as_what_it_shows(browser: Browser, settings: Settings, cast: Cast) -> None:
    served = Served(settings, PREFS_PREVIEW="1")
    try:
        with Screen(browser, urlsplit(served.url).netloc) as screen:
            screen.page.goto(f"{served.url}/preview")
            assert faults(screen, but=[it_weighs_little]) == []
    finally:
        served.stop()
