"""A scanner that opens, renders and follows all that is in a thousand mails leaves for nobody."""

import re
from collections.abc import Iterable, Iterator
from email import message_from_bytes, policy
from email.message import EmailMessage
from itertools import cycle
from urllib.parse import urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from playwright.sync_api import Browser, Page, Request
from sqlalchemy import func, select

from prefs import languages, ledger, letters, tables
from prefs.address import Address, Channel
from prefs.demo import Cast
from prefs.installation import Installation, system_clock
from prefs.ledger import Subject
from prefs.letters.words import written
from prefs.links import Action, Claim
from prefs.policy import Kind, Millis
from tests.conftest import Api, Clock, Served
from tests.test_bursts import AGENT, SCANNER, listed
from tests.test_crawl import links_on
from tests.test_one_click import FIELD, FORM, ONE_STORE, everything

MAILS = 1_000
HTTP = re.compile(r"https?://[^\s\"'<>]+")


def staff(count: int) -> list[Address]:
    return [Address(Channel.EMAIL, f"staff{number}@firm.example") for number in range(count)]


def delivered(
    opened: Installation, cast: Cast, people: list[Address], base: str, now: Millis
) -> list[bytes]:
    """Two mails for each: a campaign's, and the question whether they want another topic."""
    tenant = cast.tenant
    news, events = tenant.topic("product-news"), tenant.topic("events")
    mails = []
    with opened.database.writing() as connection:
        ledger.remember(connection, tenant.id, [Subject.of(tenant, who) for who in people])
        for number, who in enumerate(people):
            digest = tenant.digest(who)
            claim = Claim(Action.UNSUBSCRIBE, tenant.id, who.channel, digest, news.scope)
            minted = opened.links.mint(base, claim, now, "News <product-news.acme.example>")
            minted = minted._replace(mailbox=f"unsubscribe-{number:012}@mail.acme.example")
            mails.append(campaign(who, minted.headers, minted.unsubscribe, minted.preferences))
            asked = letters.ask(
                connection,
                tenant,
                who,
                events,
                language="en",
                through="sign-up form",
                evidence={},
                network=None,
                now=now,
                # Else the server of a test would send it, and write down that it has tried.
                by_sender=True,
            )
            assert asked.letter
            question = written(tenant, asked.letter, opened.links, base)
            mail = mail_to(who, question.subject)
            mail.set_content(question.text)
            mails.append(mail.as_bytes())
    return mails


def mail_to(who: Address, subject: str) -> EmailMessage:
    mail = EmailMessage(policy.SMTP)
    mail["From"] = "Acme <news@acme.example>"
    mail["To"] = who.value
    mail["Subject"] = subject
    return mail


def campaign(who: Address, headers: dict[str, str], leave: str, choose: str) -> bytes:
    mail = mail_to(who, "What is new")
    for name, text in headers.items():
        mail[name] = text
    mail.set_content(f"News.\n\nUnsubscribe: {leave}\nYour choices: {choose}\n")
    mail.add_alternative(
        f'<p>News.<p><a href="{leave}">Unsubscribe</a> <a href="{choose}">Your choices</a>',
        subtype="html",
    )
    return mail.as_bytes()


def urls_in(mail: bytes) -> list[str]:
    """Every web address in the header and in each part, as a scanner finds them."""
    message = message_from_bytes(mail, policy=policy.default)
    texts = [str(text) for text in message.values()]
    texts += [p.get_content() for p in message.walk() if p.get_content_maintype() == "text"]
    return sorted({url for text in texts for url in HTTP.findall(text)})


class Looker:
    """Opens whatever it finds, as gateways do: HEAD, GET, and what the answer links to."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client
        self.seen: set[str] = set()
        self.languages = cycle(languages.ALL)
        self.questions = 0

    def scan(self, mail: bytes) -> None:
        wanted = f"lang={next(self.languages)}"
        pending = [urlsplit(url).path for url in urls_in(mail)]
        assert pending
        while pending:
            path = pending.pop()
            if path in self.seen:
                continue
            self.seen.add(path)
            for method in ("HEAD", "GET"):
                answer = self.client.open(
                    path,
                    method=method,
                    headers={"User-Agent": AGENT},
                    environ_base={"REMOTE_ADDR": SCANNER},
                    buffered=True,
                )
                assert answer.status_code in (200, 404), answer.status_code
            self.questions += path.startswith("/c/") and answer.status_code == 200
            # Of the languages one for each mail, and all of them over the thousand.
            pending += [
                link
                for link in links_on(answer.text, path)
                if "lang=" not in link or wanted in link
            ]


@ONE_STORE
def test_a_thousand_mails_that_a_scanner_opens_and_follows_are_no_word_of_anybody(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock, api: Api
) -> None:
    people = staff(MAILS)
    mails = delivered(opened, cast, people, "https://prefs.example.com", clock())
    before = everything(opened)
    scanner = Looker(client)
    for mail in mails:
        scanner.scan(mail)
    # Each question was there to be answered, each link open to be pressed.
    opened_ = {
        kind: sum(p.startswith(kind) for p in scanner.seen) for kind in ("/u/", "/p/", "/c/")
    }
    assert all(number >= 2 * MAILS - 100 for number in opened_.values()), opened_
    assert scanner.questions >= MAILS
    assert everything(opened) == before
    assert words(opened, cast) == 0
    assert listed(api) == []
    for who in people[:: MAILS // 20]:
        assert api.check(who.value)["reason"] == "no_objection"
        assert api.check(who.value, "events")["reason"] == "no_consent"


def words(opened: Installation, cast: Cast) -> int:
    """How many events of the firm's people say anything."""
    table, address = tables.event, tables.address
    with opened.database.reading() as connection:
        return connection.scalar(
            select(func.count())
            .select_from(table.join(address, address.c.digest == table.c.digest))
            .where(
                table.c.tenant_id == cast.tenant.id,
                address.c.value.like("%@firm.example"),
                table.c.kind != Kind.PENDING,
            )
        )


# --- in a real browser ---

SAMPLE = 10


class Renderer:
    """A sandbox of a gateway: a browser that runs scripts, touches all and waits for what comes."""

    def __init__(self, browser: Browser, host: str) -> None:
        self.host = host
        self.context = browser.new_context(
            java_script_enabled=True, viewport={"width": 1280, "height": 900}
        )
        self.context.set_default_timeout(5000)
        self.context.on("request", self._asked)
        self.requests: list[tuple[str, str]] = []
        self.page: Page = self.context.new_page()
        # Timers run an hour ahead at a word: nothing has to be waited for.
        self.page.clock.install()

    def _asked(self, request: Request) -> None:
        self.requests.append((request.method, request.url))

    def render(self, url: str) -> list[str]:
        """What the page links to, after all has been touched that is not a click."""
        self.page.goto(url, wait_until="load")
        assert self.page.evaluate("1 + 1") == 2
        self.page.mouse.wheel(0, 10_000)
        for one in self.page.locator("a, button, input, label, select, summary, img").all():
            if one.is_visible():
                one.hover()
        self.page.eval_on_selector_all("*", "all => all.forEach(one => one.focus())")
        self.page.evaluate(
            """() => { for (const kind of ['load', 'pageshow', 'focus', 'visibilitychange',
                'beforeunload', 'mousemove', 'touchstart', 'online', 'message'])
                { dispatchEvent(new Event(kind)); document.dispatchEvent(new Event(kind)) } }"""
        )
        self.page.clock.fast_forward(3600 * 1000)
        self.page.wait_for_load_state("networkidle")
        assert self.page.url == url
        found = self.page.eval_on_selector_all("a[href]", "all => all.map(one => one.href)")
        return [link for link in found if urlsplit(link).netloc == self.host]


@pytest.mark.slow
@ONE_STORE
def test_a_scanner_with_a_real_browser_that_runs_scripts_is_no_word_of_anybody(
    browser: Browser, served: Served, opened: Installation, cast: Cast
) -> None:
    mails = delivered(opened, cast, staff(SAMPLE), served.url, system_clock())
    before = everything(opened)
    gateway = Renderer(browser, urlsplit(served.url).netloc)
    try:
        seen: set[str] = set()
        spoken = cycle(languages.ALL)
        for mail in mails:
            pending, wanted = urls_in(mail), f"lang={next(spoken)}"
            while pending:
                url = pending.pop()
                if url in seen:
                    continue
                seen.add(url)
                pending += [
                    link
                    for link in gateway.render(url)
                    if "lang=" not in link or link.endswith(wanted)
                ]
    finally:
        gateway.context.close()
    assert len(seen) > 4 * SAMPLE
    assert {method for method, _ in gateway.requests} == {"GET"}
    assert everything(opened) == before
    assert words(opened, cast) == 0


# --- one that presses ---


def buttons(page: str) -> Iterator[tuple[str, dict[str, str]]]:
    """Each form's target, and what each of its buttons sends."""
    for form in re.findall(r"<form.*?</form>", page, re.DOTALL):
        to = re.search(r'action="([^"]*)"', form)
        assert to
        hidden = dict(re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', form))
        for named in re.findall(r"<button([^>]*)>", form):
            pressed = re.search(r'name="([^"]*)" value="([^"]*)"', named)
            yield to[1], hidden | ({pressed[1]: pressed[2]} if pressed else {})


def press_all(client: FlaskClient, clock: Clock, mails: Iterable[bytes], pressed: str) -> None:
    headers = {"User-Agent": AGENT}
    seat = {"REMOTE_ADDR": SCANNER}
    for mail in mails:
        for url in urls_in(mail):
            path = urlsplit(url).path
            if not path.startswith(pressed):
                continue
            clock.now += 20
            page = client.get(path, headers=headers, environ_base=seat)
            for to, form in buttons(page.text):
                answer = client.post(
                    urljoin(path, to), data=form, headers=headers, environ_base=seat
                )
                assert answer.status_code == 200


@ONE_STORE
def test_a_scanner_that_presses_every_button_is_flagged_and_every_press_counts(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock, api: Api
) -> None:
    people = staff(MAILS)
    mails = delivered(opened, cast, people, "https://prefs.example.com", clock())
    press_all(client, clock, mails, "/u/")
    (burst,) = listed(api)
    assert burst["count"] == MAILS
    # Two buttons on each: from the topic, and from everything.
    assert all(len(member["outs"]) == 2 for member in burst["members"])
    assert burst["user_agents"] == [AGENT]
    items = [{"channel": "email", "address": w.value, "topic": "product-news"} for w in people]
    decisions = api("POST", "/v1/checks", {"items": items}).get_json()["items"]
    assert {one["reason"] for one in decisions} == {"opted_out"}
    assert len(decisions) == MAILS


@ONE_STORE
def test_one_that_posts_one_click_for_a_company_is_flagged_too(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock, api: Api
) -> None:
    people = staff(50)
    for mail in delivered(opened, cast, people, "https://prefs.example.com", clock()):
        header = message_from_bytes(mail, policy=policy.default)["List-Unsubscribe"]
        for url in HTTP.findall(header or ""):
            clock.now += 20
            client.post(urlsplit(url).path, data=FIELD, content_type=FORM)
    (burst,) = listed(api)
    assert burst["count"] == len(people)
    assert burst["doors"] == ["one-click"]
    assert not any(api.check(who.value)["allowed"] for who in people)
