"""Signing up: by our form or the sender's own. It tells nothing of anybody, and floods nobody."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser
from sqlalchemy import select
from werkzeug.test import TestResponse

from prefs import directory, languages, ledger, letters, rights, tables
from prefs.address import Address, Channel
from prefs.demo import ALICE, BOB, CAROL, DAVE, SENDER, Cast
from prefs.installation import Installation
from prefs.ledger import Entry, Said, Subject
from prefs.letters.asking import MOST_A_NETWORK_AN_HOUR
from prefs.policy import ALL, Authority, Block, Event, Kind, Mode, Purpose, Voice
from tests.browser import Screen
from tests.conftest import Api, Clock
from tests.test_check import taken_away
from tests.test_sending import Mailbox, TwilioApi, mail, mailbox, post, twilio_api
from tests.webhooks.test_twilio import Twilio, message, replies
from webhooks.letters import deliver
from wsgi import create_app

__all__ = ["mail", "mailbox", "post", "twilio_api"]

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
GRACE = "grace@example.org"
HEIDI = "+14155550108"
FORM = "/s/acme/events"
NEWS = "/s/acme/product-news"
HOME = {"Origin": "https://www.acme.example"}


def events(opened: Installation, cast: Cast, text: str, channel: str = "email") -> list[Entry]:
    digest = cast.tenant.digest(Address.parse(Channel(channel), text))
    with opened.database.reading() as connection:
        return ledger.history(connection, cast.tenant.id, digest)


def letters_to(opened: Installation, text: str) -> int:
    """How many letters wait for an address."""
    with opened.database.reading() as connection:
        return len(
            connection.execute(
                select(tables.letter.c.id).where(tables.letter.c.value == text)
            ).all()
        )


# --- all the way ---


def test_by_email_a_letter_comes_its_link_shows_a_button_and_the_press_is_the_yes(
    post: Installation, cast: Cast, api: Api, mailbox: Mailbox
) -> None:
    browser = create_app(post).test_client()
    page = browser.get(FORM)
    assert page.status_code == 200
    assert "Yes, send me Events from Acme by email. I can unsubscribe at any time." in page.text
    fields = dict(re.findall(r'type="hidden" name="(\w+)" value="(\w+)"', page.text))
    answer = browser.post(FORM, data={**fields, "address": " Grace@Example.ORG "})
    assert answer.status_code == 200
    assert "g•••@e•••.org" in answer.text
    assert GRACE not in answer.text
    assert deliver(post) == 1
    ((envelope, letter),) = mailbox.taken
    assert envelope.rcpt_tos == [GRACE]
    link = re.search(r"https://prefs\.example\.com(/c/\S+)", letter.get_content())
    assert link
    for method in ("HEAD", "GET", "GET"):
        assert browser.open(link[1], method=method).status_code == 200
    assert api.check(GRACE, "events")["allowed"] is False
    assert [entry.event.kind for entry in events(post, cast, GRACE)] == [Kind.PENDING]
    agent = {"User-Agent": "Grace's browser"}
    pressed = browser.post(link[1], data={"answer": "yes"}, headers=agent)
    assert "You will get <bdi>Events</bdi>" in pressed.text
    assert api.check(GRACE, "events")["allowed"] is True
    pending, yes = events(post, cast, GRACE)
    assert pending.evidence
    assert yes.evidence
    assert pending.evidence["wording"].startswith("Yes, send me Events from Acme by email.")
    assert yes.evidence["wording text"] == pending.evidence["wording"]
    assert (yes.evidence["ip"], yes.evidence["user_agent"]) == ("127.0.0.1", "Grace's browser")
    assert (yes.event.saw, yes.event.basis) == (1, "express")


def test_by_text_a_yes_that_twilio_signed_is_the_yes(
    post: Installation, api: Api, twilio_api: TwilioApi
) -> None:
    browser = create_app(post).test_client()
    answer = browser.post(FORM, data={"channel": "sms", "address": "+1 (415) 555-0108"})
    assert "+1•••••••08" in answer.text
    assert deliver(post) == 1
    (text,) = twilio_api.heard
    assert text.fields["To"] == HEIDI
    assert text.fields["Body"].startswith("Acme: reply YES to get Events by text")
    twilio = Twilio(browser)
    assert api.check(HEIDI, "events", "sms")["allowed"] is False
    forged = twilio.send(message("YES", From=HEIDI, To=SENDER), token="another")
    assert forged.status_code == 403
    assert api.check(HEIDI, "events", "sms")["allowed"] is False
    replies(twilio.send(message("YES", From=HEIDI, To=SENDER)))
    assert api.check(HEIDI, "events", "sms")["allowed"] is True


@pytest.fixture
def site(post: Installation, cast: Cast) -> Iterator[str]:
    """The pages over HTTP, with a mail server behind them."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *said: Any) -> None:
            pass

    with make_server("127.0.0.1", 0, create_app(post), handler_class=Quiet) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@ONE_STORE
def test_the_whole_way_is_gone_by_keyboard_without_javascript(
    site: str, post: Installation, cast: Cast, api: Api, mailbox: Mailbox, browser: Browser
) -> None:
    with Screen(browser, site.removeprefix("http://")) as screen:
        screen.page.goto(f"{site}{FORM}")
        assert screen.h1() == "Get Events"
        screen.tab_to(screen.page.get_by_label("Your email address"))
        screen.page.keyboard.type(GRACE)
        screen.enter("Sign up")
        assert screen.h1() == "One more step"
        assert deliver(post) == 1
        link = re.search(r"/c/\S+", mailbox.taken[0][1].get_content())
        assert link
        screen.page.goto(site + link[0])
        assert screen.h1() == "Do you want Events?"
        assert api.check(GRACE, "events")["allowed"] is False
        screen.enter("Yes, send it to me")
        assert screen.h1() == "You will get Events."
        assert api.check(GRACE, "events")["allowed"] is True
        screen.enter("See your other choices", "link")
        assert screen.h1() == "Your choices"
        assert screen.wrong == []
    (pending, _) = events(post, cast, GRACE)
    assert pending.evidence
    assert pending.evidence["form"] == "ours"


# --- nobody learns who is known ---


def say(opened: Installation, cast: Cast, address: Address, event: Event) -> None:
    with opened.database.writing() as connection:
        ledger.record(connection, cast.tenant.id, Said(Subject.of(cast.tenant, address), event))


def answers(client: FlaskClient, address: Address, path: str = FORM) -> list[Any]:
    """Everything that an answer shows, for a form and a script, but the masked address."""
    asked = {"channel": str(address.channel), "address": address.value}
    kept = [
        client.post(path, data=asked),
        client.post(path, json=asked),
        client.post(path, data=asked, headers={"Accept": "application/json"}),
        client.post(path, data={**asked, "address": address.value.upper()}),
        client.post("/lost/acme", data=asked),
        client.post("/lost/acme", data=asked),
    ]
    return [
        (one.status_code, sorted(one.headers), one.text.replace(address.masked, "•"))
        for one in kept
    ]


def test_every_answer_is_the_same_whoever_is_asked_for(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock
) -> None:
    minor = Address(Channel.EMAIL, "minor@example.org")
    block = Event(Kind.BLOCK, clock(), block=Block.MINOR, authority=Authority.RIGHTS)
    say(opened, cast, minor, block)
    gone = Address(Channel.EMAIL, "gone@example.org")
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, gone), clock())
    stranger = answers(client, Address(Channel.EMAIL, "nobody@example.org"))
    for known in (ALICE, BOB, CAROL, minor, gone):
        clock.forward(minutes=61)
        assert answers(client, known) == stranger, known
    sent = [letters_to(opened, one) for one in ("nobody@example.org", CAROL.value, minor.value)]
    assert sent == [2, 1, 0], "a no leaves the link to their choices, and a block leaves nothing"
    clock.forward(minutes=61)
    number = answers(client, Address(Channel.SMS, HEIDI))
    clock.forward(minutes=61)
    assert answers(client, DAVE) == number
    assert letters_to(opened, DAVE.value) == 0
    assert letters_to(opened, HEIDI) == 2


def test_a_network_learns_nothing_from_when_it_is_limited(
    client: FlaskClient, opened: Installation
) -> None:
    """Whether its own letter still comes must not depend on who was asked for before."""
    asked = [CAROL.value] * (MOST_A_NETWORK_AN_HOUR - 1) + ["last@example.org", "over@example.org"]
    for address in asked:
        sent = client.post(
            NEWS, data={"address": address}, environ_overrides={"REMOTE_ADDR": "8.8.4.4"}
        )
        assert sent.status_code == 200
    assert letters_to(opened, CAROL.value) == 0
    assert letters_to(opened, "last@example.org") == 1
    assert letters_to(opened, "over@example.org") == 0


def test_the_answer_is_in_the_browsers_language_and_not_in_the_persons(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock
) -> None:
    with opened.database.writing() as connection:
        there = Subject.of(cast.tenant, ALICE)._replace(language="de")
        left = Event(Kind.OUT, clock(), ALL, Voice.PERSON, Authority.PERSON)
        ledger.record(connection, cast.tenant.id, Said(there, left))
    answer = client.post(FORM, data={"address": ALICE.value}, headers={"Accept-Language": "fr"})
    assert answer.headers["Content-Language"] == "fr"


# --- nobody is flooded ---


def test_many_topics_spellings_and_ways_are_one_address(
    client: FlaskClient, opened: Installation, clock: Clock
) -> None:
    spellings = [GRACE, " GRACE@example.org", "grace@EXAMPLE.org\u200b", "gr\u200bace@example.org"]
    for spelling in spellings:
        for path in (FORM, NEWS, "/s/acme/trail-tips", "/lost/acme"):
            client.post(path, data={"address": spelling})
            client.post(path, json={"address": spelling})
    assert letters_to(opened, GRACE) == 3


def test_tags_and_gmails_dots_are_one_mailbox_for_counting_alone(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock
) -> None:
    tagged = [f"g{'.' * (n % 2)}race+{n}@gmail.com" for n in range(8)]
    for address in tagged:
        clock.forward(minutes=11)
        client.post(FORM, data={"address": address})
    sent = [letters_to(opened, address) for address in tagged]
    assert sum(sent) == 3
    assert len({cast.tenant.digest(Address(Channel.EMAIL, a)) for a in tagged}) == 8
    assert letters_to(opened, "grace@gmail.com") == 0


def test_who_answers_for_a_tag_has_answered_for_the_mailbox(
    opened: Installation, cast: Cast, clock: Clock
) -> None:
    for number in range(7):
        clock.forward(days=1)
        address = Address(Channel.EMAIL, f"grace+{number}@example.org")
        with opened.database.writing() as connection:
            asked = letters.ask(
                connection,
                cast.tenant,
                address,
                cast.tenant.topic("events"),
                language="en",
                through="sign-up form",
                evidence={},
                network=None,
                now=clock(),
            )
            assert asked.letter, number
            url = letters.written(cast.tenant, asked.letter, opened.links, "https://p.example").link
        client = create_app(opened).test_client()
        assert client.post(url.removeprefix("https://p.example"), data={"answer": "yes"}).text


@pytest.mark.parametrize(
    ("proxies", "forwarded", "sent"),
    [
        # A proxy that is not counted is no network: everybody comes from it.
        (0, "8.8.4.{n}", MOST_A_NETWORK_AN_HOUR + 3),
        (1, "198.51.100.{n}, 8.8.4.{n}", MOST_A_NETWORK_AN_HOUR),
        (1, "2001:4860:1:{n}::1", MOST_A_NETWORK_AN_HOUR),
        (1, "::ffff:8.8.4.{n}", MOST_A_NETWORK_AN_HOUR),
        (1, "2001:4860:{n}::1", MOST_A_NETWORK_AN_HOUR + 3),
    ],
)
@ONE_STORE
def test_a_network_is_what_our_own_proxy_saw_and_its_neighbours(
    opened: Installation, cast: Cast, proxies: int, forwarded: str, sent: int
) -> None:
    behind = replace(opened, settings=replace(opened.settings, proxies=proxies))
    client = create_app(behind).test_client()
    for n in range(MOST_A_NETWORK_AN_HOUR + 3):
        headers = {"X-Forwarded-For": forwarded.format(n=n)}
        client.post(FORM, data={"address": f"g{n}@example.org"}, headers=headers)
    asked = [letters_to(opened, f"g{n}@example.org") for n in range(MOST_A_NETWORK_AN_HOUR + 3)]
    assert sum(asked) == sent


# --- the sender's own form, and its script ---


def test_what_a_form_elsewhere_says_it_showed_is_kept_as_its_word(
    client: FlaskClient, opened: Installation, cast: Cast
) -> None:
    sent = {"address": GRACE, "wording": "Yes to\x00 everything \ud800\u200d✓", "form": "ours"}
    assert client.post(FORM, json=sent, headers=HOME).status_code == 202
    (pending,) = events(opened, cast, GRACE)
    assert pending.evidence
    assert pending.evidence["form"] == "https://www.acme.example"
    assert pending.evidence["wording claimed by the form"] == "Yes to everything \u200d✓"
    assert "wording" not in pending.evidence
    plain = {"address": "judy@example.org", "form": "ours"}
    assert client.post(FORM, data=plain, headers=HOME).status_code == 200
    (pending,) = events(opened, cast, "judy@example.org")
    assert pending.evidence
    assert not {"wording", "wording claimed by the form"} & set(pending.evidence)


def test_a_script_may_ask_from_any_site_and_reads_what_everybody_is_told(
    client: FlaskClient,
) -> None:
    asks = {
        **HOME,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }
    may = client.options(FORM, headers=asks)
    assert may.status_code in (200, 204)
    assert may.headers["Access-Control-Allow-Origin"] == "*"
    assert may.headers["Access-Control-Allow-Headers"] == "Content-Type"
    assert "Access-Control-Allow-Credentials" not in may.headers
    for address, status in ((GRACE, 202), ("nonsense", 422)):
        answer = client.post(FORM, json={"address": address}, headers=HOME)
        assert (answer.status_code, answer.headers["Access-Control-Allow-Origin"]) == (status, "*")
    for path in ("/lost/acme", "/code", "/c/x", "/u/x", "/p/x"):
        for answer in (client.options(path, headers=asks), client.post(path, headers=HOME)):
            assert "Access-Control-Allow-Origin" not in answer.headers
    assert "Access-Control-Allow-Origin" not in client.get(FORM, headers=HOME).headers


@ONE_STORE
@pytest.mark.parametrize(
    ("body", "status", "field"),
    [
        ({"address": "nonsense"}, 422, "address"),
        ({"address": 5}, 422, "address"),
        ({"address": None}, 422, "address"),
        ({}, 422, "address"),
        ([], 422, "body"),
        ({"address": "a\x00b@example.org"}, 422, "address"),
        ({"address": "\ud800@example.org"}, 422, "address"),
        ({"address": GRACE, "channel": "fax"}, 422, "channel"),
        ({"address": GRACE, "channel": "push"}, 422, "channel"),
        ({"address": HEIDI, "channel": "whatsapp"}, 422, "channel"),
        ({"address": GRACE, "channel": []}, 422, "channel"),
        ({"address": "5550108", "channel": "sms", "region": "\x00\ud800"}, 422, "region"),
        ({"address": GRACE, "wording": {}}, 422, "wording"),
    ],
)
def test_a_script_is_told_which_field_is_wrong(
    client: FlaskClient, body: Any, status: int, field: str
) -> None:
    answer = client.post(FORM, json=body)
    assert (answer.status_code, answer.mimetype) == (status, "application/problem+json")
    assert list(answer.get_json()["errors"]) == [field]


@ONE_STORE
def test_a_body_that_is_no_json_or_too_long_or_a_strange_form_is_refused(
    client: FlaskClient, opened: Installation
) -> None:
    def send(body: bytes, kind: str = "application/json", **headers: str) -> TestResponse:
        return client.post(FORM, data=body, content_type=kind, headers=headers)

    assert send(b"{").status_code == 400
    assert send(b'{"address": "a@example.org", "address": "b@example.org"}').status_code == 400
    assert send(b"[" * 9000).status_code == 400
    assert send(b"{}", **{"Content-Encoding": "gzip"}).status_code == 415
    long = send(json.dumps({"address": GRACE, "wording": "x" * 20_000}).encode())
    assert (long.status_code, "20000 bytes" in long.text) == (413, True)
    form = "application/x-www-form-urlencoded"
    strange = (b"", b"address=", b"address=%00%ff%ed%a0%80@x", b"address=" + b"x" * 30_000)
    for body in (*strange, b"channel=fax&address=grace@example.org", b"region=%00&address=5"):
        answer = send(body, form)
        assert (answer.status_code, answer.mimetype) == (422, "text/html")
        assert 'role="alert"' in answer.text
    hidden = b"address=grace@example.org&wording=%00%ed%a0%80&channel="
    odd = {"User-Agent": "\x80\xff", "Origin": "\xff" * 999}
    assert send(hidden, form, **odd).status_code == 200
    assert letters_to(opened, GRACE) == 1


# --- which forms there are ---


@ONE_STORE
def test_there_is_a_form_for_what_may_be_asked_and_a_page_for_what_may_not(
    client: FlaskClient,
) -> None:
    for path in (FORM, NEWS, "/s/acme/trail-tips"):
        assert client.get(path).status_code == 200
    ours = ("/s/acme/order-updates", "/s/acme/none", "/s/acme")
    for path in (*ours, "/s/none/events", "/s/%00/%ff", "/s/", "/lost", "/lost/none"):
        for answer in (client.get(path), client.post(path, data={"address": GRACE})):
            assert (answer.status_code, answer.mimetype) == (404, "text/html")
        assert ('href="/lost/acme"' in client.get(path).text) is (path in ours)
    told = client.post("/s/none/events", json={"address": GRACE})
    assert (told.status_code, told.mimetype) == (404, "application/problem+json")


@ONE_STORE
def test_a_topic_for_apps_alone_has_no_form(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock
) -> None:
    brand = cast.tenant.brand("acme").id
    with opened.database.writing() as connection:
        directory.add_topic(
            connection,
            cast.tenant.id,
            brand,
            "alerts",
            "Alerts",
            "",
            Purpose.MARKETING,
            {Channel.PUSH: Mode.OPT_IN},
            clock(),
        )
    assert client.get("/s/acme/alerts").status_code == 404


@ONE_STORE
def test_only_what_can_be_sent_is_offered(post: Installation, opened: Installation) -> None:
    assert "By text message instead" in create_app(post).test_client().get(FORM).text
    mail_alone = replace(opened, settings=replace(post.settings, data=Path("/nowhere")))
    client = create_app(mail_alone).test_client()
    assert "By text message instead" not in client.get(FORM).text
    assert client.post(FORM, json={"channel": "sms", "address": HEIDI}).status_code == 422


def test_without_the_store_the_form_shows_and_its_answer_says_to_try_again(
    client: FlaskClient, opened: Installation, request: pytest.FixtureRequest
) -> None:
    assert client.get(FORM).status_code == 200
    with taken_away(opened, request):
        assert client.get(FORM).status_code == 200
        page = client.post(FORM, data={"address": GRACE})
        assert (page.status_code, page.mimetype) == (503, "text/html")
        told = client.post(FORM, json={"address": GRACE})
        assert (told.status_code, told.mimetype) == (503, "application/problem+json")
    assert letters_to(opened, GRACE) == 0


# --- in every language ---


@ONE_STORE
@pytest.mark.parametrize("code", languages.ALL)
def test_form_and_letters_speak_the_language_and_run_its_way(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock, code: str
) -> None:
    page = client.get(FORM, headers={"Accept-Language": code}).text
    direction = languages.ALL[code].direction
    assert f'<html lang="{code}" dir="{direction}">' in page
    assert (direction == "rtl") is (code in ("ar", "fa", "he"))
    client.post(f"{FORM}?lang={code}", data={"address": GRACE})
    client.post(f"/lost/acme?lang={code}", data={"address": GRACE})
    with opened.database.writing() as connection:
        waiting = letters.claim_due(connection, clock(), 9)
    texts = [
        letters.written(cast.tenant, one, opened.links, "https://prefs.example.com")
        for one in waiting
    ]
    assert [one.kind for one in waiting] == ["confirm", "link"]
    for one in texts:
        assert one.subject
        # Alone on its line, so that nothing is glued to it, whichever way the text runs.
        assert len([line for line in one.text.splitlines() if line.startswith("https://")]) == 1
        assert "%" not in one.text + one.subject
        assert "help@acme.example" in one.text
    if code != "en":
        english = [replace(one, language="en") for one in waiting]
        plain = [letters.written(cast.tenant, one, opened.links, "https://p") for one in english]
        assert all(a.subject != b.subject for a, b in zip(texts, plain, strict=True))


# --- as the guide says ---


@pytest.fixture
def guide() -> str:
    text = (Path(__file__).parent.parent / "docs" / "guide.md").read_text()
    return text.partition("## Sign-up forms")[2].partition("\n## ")[0]


@ONE_STORE
def test_the_form_of_the_guide_works_from_another_site(
    guide: str,
    site: str,
    opened: Installation,
    cast: Cast,
    browser: Browser,
    tmp_path: Path,
) -> None:
    form = guide.partition("```html\n")[2].partition("```")[0]
    page = tmp_path / "form.html"
    page.write_text(form.replace("https://prefs.example.com", site))
    with Screen(browser, site.removeprefix("http://")) as screen:
        screen.page.goto(page.as_uri())
        screen.page.get_by_label("Your email address").fill(GRACE)
        screen.enter("Sign up")
        assert screen.h1() == "One more step"
    (pending,) = events(opened, cast, GRACE)
    assert pending.evidence
    claimed = pending.evidence["wording claimed by the form"]
    assert claimed in re.sub("<input[^>]*hidden[^>]*>", "", form), "it claims what it shows"
    assert "wording" not in pending.evidence


@ONE_STORE
def test_the_script_of_the_guide_works_from_another_site(
    guide: str, site: str, opened: Installation, cast: Cast, browser: Browser
) -> None:
    script = guide.partition("```js\n")[2].partition("```")[0]
    # Another site to a browser, which asks for permission first.
    elsewhere = site.replace("127.0.0.1", "localhost")
    context = browser.new_context(bypass_csp=True)
    try:
        page = context.new_page()
        page.goto(f"{elsewhere}/healthz")
        told = page.evaluate(
            "async () => {"
            + script.replace("https://prefs.example.com", site)
            + "\nreturn [answer.status, await answer.json()] }"
        )
    finally:
        context.close()
    assert told == [202, {"outcome": "asked"}]
    (pending,) = events(opened, cast, HEIDI, "sms")
    assert pending.evidence
    assert pending.evidence["form"] == elsewhere
    assert pending.evidence["wording claimed by the form"].startswith("Yes, text me Events.")
