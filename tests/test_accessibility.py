"""Every page for recipients is usable by whoever comes: each check of tests/browser.py on each."""

import re
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from prefs import demo, ledger
from prefs.address import Address, Channel
from prefs.demo import CAROL, DAVE, Cast
from prefs.installation import Installation, system_clock
from prefs.ledger import Said, Subject
from prefs.links import Action, Claim
from prefs.policy import ALL, Authority, Event, Kind, Scope, Voice
from prefs.settings import Settings, create_secrets
from tests.browser import (
    CHECKS,
    Check,
    Screen,
    Shoot,
    axe_finds_nothing,
    every_target_is_big_enough,
    faults,
    forced_colours_leave_it_usable,
    it_asks_no_other_host,
    it_names_itself,
    it_sets_no_cookie,
    it_weighs_little,
    light_and_dark_can_be_read,
    nothing_scrolls_sideways,
    paper_loses_nothing,
    text_may_be_doubled,
    text_may_be_spaced,
    the_keyboard_reaches_all,
)
from tests.conftest import Served


class Site:
    """A server with the cast, a brand of two looks, and a new person whenever one is wanted."""

    def __init__(self, served: Served, opened: Installation, cast: Cast) -> None:
        self.url = served.url
        self.opened = opened
        self.tenant = cast.tenant

    def token(self, action: Action, who: Address | None = None, **parts: Any) -> str:
        who = who or Address(Channel.EMAIL, f"{secrets.token_hex(4)}@example.org")
        scope = parts.pop("scope", self.tenant.topic("product-news").scope)
        digest = self.tenant.digest(who)
        claim = Claim(action, self.tenant.id, who.channel, digest, scope, system_clock(), **parts)
        with self.opened.database.writing() as connection:
            ledger.remember(connection, self.tenant.id, [Subject.of(self.tenant, who)])
        return self.opened.links.sign(claim)

    def link(self, door: str, action: Action, who: Address | None = None, **parts: Any) -> str:
        return f"{self.url}/{door}/{self.token(action, who, **parts)}"

    def leave(self, **parts: Any) -> str:
        return self.link("u", Action.UNSUBSCRIBE, **parts)

    def preferences(self, who: Address | None = None, **parts: Any) -> str:
        return self.link("p", Action.PREFERENCES, who, **parts)

    def somebody(self) -> Address:
        """Somebody with an email address and a phone, who asked for something on each."""
        email = Address(Channel.EMAIL, f"{secrets.token_hex(4)}@example.org")
        phone = Address(Channel.SMS, f"+1415555{secrets.randbelow(9000) + 1000}")
        person = secrets.token_hex(4)
        yes = Event(
            Kind.IN,
            system_clock() - 9 * 24 * 3600 * 1000,
            self.tenant.topic("product-news").scope,
            authority=Authority.PERSON,
            basis="express",
            door="sign-up form",
        )
        with self.opened.database.writing() as connection:
            for address in (email, phone):
                said = Said(Subject.of(self.tenant, address), yes, person=person)
                ledger.record(connection, self.tenant.id, said)
        return email


@pytest.fixture(scope="module")
def site(sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    data = tmp_path_factory.mktemp("site")
    create_secrets(data)
    shutil.copy(sqlite_template, data / "prefs.sqlite3")
    settings = Settings.load({"PREFS_DATA": str(data)})
    opened = Installation.open(settings)
    cast = demo.load(opened)
    # It shows its letters instead of sending them, and so has the forms that lead to one.
    served = Served(settings, PREFS_PREVIEW="1")
    yield Site(served, opened, cast)
    served.stop()
    opened.database.close()


@pytest.fixture
def screen(browser: Browser, site: Site, language: str) -> Iterator[Screen]:
    with Screen(browser, urlsplit(site.url).netloc, language=language) as screen:
        yield screen


@pytest.fixture
def language() -> str:
    return "en"


def press(screen: Screen, which: str) -> None:
    """A button by what it does, in whatever language it says so."""
    screen.page.locator(f"main {which}").first.click()
    screen.page.wait_for_load_state("networkidle")


def leave(screen: Screen, site: Site) -> None:
    screen.page.goto(site.leave())


def leave_all(screen: Screen, site: Site) -> None:
    screen.page.goto(site.leave(scope=ALL))


def left(screen: Screen, site: Site) -> None:
    leave(screen, site)
    press(screen, "button.first")


def left_before(screen: Screen, site: Site) -> None:
    left(screen, site)
    screen.page.goto(screen.page.url)


def left_and_said_why(screen: Screen, site: Site) -> None:
    left(screen, site)
    press(screen, "button[value=too-many]")


def undone(screen: Screen, site: Site) -> None:
    left(screen, site)
    press(screen, "form:has([name=undo]) button")


def gone(screen: Screen, site: Site) -> None:
    screen.page.goto(site.leave(scope=Scope(None, 999)))


def preferences(screen: Screen, site: Site) -> None:
    screen.page.goto(site.preferences(site.somebody()))


def preferences_of_the_other_brand(screen: Screen, site: Site) -> None:
    screen.page.goto(site.preferences(scope=Scope(site.tenant.brand("outdoor").id)))


def preferences_after_spam(screen: Screen, site: Site) -> None:
    screen.page.goto(site.preferences(CAROL))


def preferences_after_stop(screen: Screen, site: Site) -> None:
    screen.page.goto(site.preferences(DAVE))


def saved(screen: Screen, site: Site) -> None:
    preferences(screen, site)
    # The second is of the other address, and is asked there.
    for box in screen.page.get_by_role("checkbox").all():
        box.click()
    screen.page.locator("select[name='most.product-news']").select_option("2")
    press(screen, "button.first")


def saved_all(screen: Screen, site: Site) -> None:
    preferences(screen, site)
    press(screen, "button[value=all]")


def paused(screen: Screen, site: Site) -> None:
    preferences(screen, site)
    press(screen, "button[value=month]")


def changed_meanwhile(screen: Screen, site: Site) -> None:
    who = site.somebody()
    screen.page.goto(site.preferences(who))
    left = Event(Kind.OUT, system_clock(), ALL, Voice.PERSON)
    with site.opened.database.writing() as connection:
        said = Said(Subject.of(site.tenant, who), left)
        ledger.record(connection, site.tenant.id, said)
    press(screen, "button.first")


def sign_up(screen: Screen, site: Site) -> None:
    screen.page.goto(f"{site.url}/s/acme/product-news")


def sign_up_by_text(screen: Screen, site: Site) -> None:
    screen.page.goto(f"{site.url}/s/acme/product-news?channel=sms")


def sign_up_misspelt(screen: Screen, site: Site) -> None:
    sign_up_by_text(screen, site)
    screen.page.locator("#address").fill("12")
    press(screen, "button.first")


def asked(screen: Screen, site: Site) -> None:
    sign_up(screen, site)
    screen.page.locator("#address").fill(f"{secrets.token_hex(4)}@example.org")
    press(screen, "button.first")


def question(screen: Screen, site: Site) -> None:
    screen.page.goto(site.link("c", Action.CONFIRM, campaign="0"))


def confirmed(screen: Screen, site: Site) -> None:
    question(screen, site)
    press(screen, "button.first")


def refused(screen: Screen, site: Site) -> None:
    question(screen, site)
    press(screen, "button[value=no]")


def lost(screen: Screen, site: Site) -> None:
    screen.page.goto(f"{site.url}/lost/acme")


def code(screen: Screen, site: Site) -> None:
    screen.page.goto(f"{site.url}/code")


def code_wrong(screen: Screen, site: Site) -> None:
    code(screen, site)
    screen.page.locator("#code").fill("AAAA-AAAA-AA")
    press(screen, "button.first")


def problem(screen: Screen, site: Site) -> None:
    screen.page.goto(site.leave()[:-3])


PAGES = (
    *(leave, leave_all, left, left_before, left_and_said_why, undone, gone),
    *(preferences, preferences_of_the_other_brand, preferences_after_spam),
    *(preferences_after_stop, saved, saved_all, paused, changed_meanwhile),
    *(sign_up, sign_up_by_text, sign_up_misspelt, asked, question, confirmed, refused),
    *(lost, code, code_wrong, problem),
)


@pytest.mark.parametrize("language", ["en", "ar", "de"])
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.__name__)
def test_every_page_holds_all_checks(
    page: Callable[[Screen, Site], None], screen: Screen, site: Site, shoot: Shoot, language: str
) -> None:
    page(screen, site)
    assert screen.page.locator("html").get_attribute("lang") == language
    shoot(screen, f"{page.__name__.replace('_', '-')}-{language}")
    assert faults(screen) == []


def test_the_keyboard_alone_leaves_undoes_and_chooses(screen: Screen, site: Site) -> None:
    leave(screen, site)
    screen.enter("Unsubscribe")
    assert screen.h1() == "You are unsubscribed from Product news."
    screen.enter("Undo")
    screen.enter("See your other choices", "link")
    screen.tab_to(screen.page.get_by_role("checkbox").first)
    screen.page.keyboard.press("Space")
    screen.enter("Save")
    saved = screen.page.locator(".good li").all_inner_texts()
    assert saved == ["Product news by email: You are unsubscribed."]
    assert screen.wrong == []


# --- and the checks themselves find what is wrong ---

BROKEN: tuple[tuple[Check, str, str], ...] = (
    (axe_finds_nothing, "html.removeAttribute('lang')", "html-has-lang at html"),
    (axe_finds_nothing, "one('label').remove()", "label at #t1-1-1"),
    (axe_finds_nothing, "one('h1 + p').style.color = '#999'", "color-contrast at"),
    (axe_finds_nothing, "one('main').role = 'none'", "landmark-one-main"),
    (axe_finds_nothing, "one('main').setAttribute('aria-hidden', 'true')", "aria-hidden-focus"),
    (it_names_itself, "html.lang = ''", "no lang"),
    (it_names_itself, "html.dir = 'auto'", "the dir auto"),
    (it_names_itself, "html.dir = 'rtl'; html.style.direction = 'ltr'", "its style the other"),
    (it_names_itself, "document.title = ' '", "no title"),
    (it_names_itself, "one('h2').outerHTML = '<h1>Two</h1>'", "2 h1"),
    (nothing_scrolls_sideways, "wear('main { min-width: 22rem }')", "to 352px: <h1>"),
    (nothing_scrolls_sideways, "wear('h1 { width: 5em; overflow: hidden; height: 1em }')", "<h1>"),
    (nothing_scrolls_sideways, "wear('h1 { margin-bottom: -1em }')", "<h1> .* lies over <p>"),
    (nothing_scrolls_sideways, "wear('.first { white-space: nowrap; width: 2rem }')", "<button>"),
    (every_target_is_big_enough, "wear('[type=checkbox] { width: 23px }')", "#t1-1-1> .* is 23px"),
    (every_target_is_big_enough, "wear('button { min-height: 0; padding: 0 }')", "below 44"),
    (the_keyboard_reaches_all, "one('.first').tabIndex = 1", "and not at <button> .Save"),
    (the_keyboard_reaches_all, "wear(':focus-visible { outline: 0 }')", "no outline"),
    (the_keyboard_reaches_all, "wear(':focus-visible { outline-color: #eee }')", "of contrast 1"),
    (the_keyboard_reaches_all, "one('h1').tabIndex = 0", "<h1> .* no key does anything"),
    (
        the_keyboard_reaches_all,
        "wear('h1 { position: fixed; inset: 0; z-index: 9 }')",
        "under <h1>",
    ),
    (light_and_dark_can_be_read, "wear(':root { --page: white }')", "dark was asked for"),
    (light_and_dark_can_be_read, "wear(':root { --page: black }')", "light was asked for"),
    (light_and_dark_can_be_read, "wear(':root { --quiet: #777b }')", "light: .* contrast"),
    (light_and_dark_can_be_read, "one('h1').style.color = '#1b1d22'", "dark: color-contrast at h1"),
    (forced_colours_leave_it_usable, "wear('button { border: 0 }')", "no border"),
    (forced_colours_leave_it_usable, "wear('input { appearance: none }')", "no border"),
    (
        forced_colours_leave_it_usable,
        "wear('main { forced-color-adjust: none }')",
        "<main> .* keeps its own colours",
    ),
    (text_may_be_spaced, "wear('h1 { max-height: 1.25em; overflow: hidden }')", "<h1>"),
    (text_may_be_doubled, "wear('h1 { max-height: 70px; overflow: hidden }')", "<h1>"),
    (paper_loses_nothing, "wear('@media print { li { display: none } }')", "not printed: Order"),
    (paper_loses_nothing, "wear('@media print { :root { --ink: #bbb } }')", "has contrast"),
    (paper_loses_nothing, "wear('@media print { h1 { width: 60rem } }')", "scrolls sideways"),
)


def test_each_check_finds_what_breaks_it_and_leaves_the_page_as_it_was(
    screen: Screen, site: Site
) -> None:
    preferences(screen, site)
    before = screen.page.content()
    assert faults(screen) == []
    assert screen.page.content() == before
    assert screen.page.viewport_size == {"width": 390, "height": 800}
    for media in ("print", "(prefers-color-scheme: dark)", "(forced-colors: active)"):
        assert not screen.page.evaluate("media => matchMedia(media).matches", media)

    for check, how, finding in BROKEN:
        preferences(screen, site)
        screen.look(
            "((html = document.documentElement, one = (css) => document.querySelector(css)) => "
            f"{{ {how} }})"
        )
        assert re.search(finding, "\n".join(check(screen))), (check.__name__, how, check(screen))


class Careless(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        style = self.path.endswith(".css")
        body = b"/*  */" * 4000 if style else b'<title>x</title><link rel=stylesheet href="/a.css">'
        self.send_response(200)
        self.send_header("Content-Type", "text/css" if style else "text/html")
        # A browser refuses another host's cookie, and shows it among none that it keeps.
        self.send_header("Set-Cookie", "seen=yes; SameSite=None; Secure; Domain=elsewhere.test")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


def test_what_a_page_fetches_and_keeps_is_seen(browser: Browser) -> None:
    with ThreadingHTTPServer(("127.0.0.1", 0), Careless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        host = f"127.0.0.1:{server.server_port}"
        with Screen(browser, host) as screen:
            screen.page.goto(f"http://{host}/u/a-token-that-is-not-repeated")
            [weight] = it_weighs_little(screen)
            assert re.search(r"^24\d\d\d bytes.*/a.css… 24000", weight)
            cookies = it_sets_no_cookie(screen)
            assert cookies == ["/u/a-tok… sends Set-Cookie", "/a.css… sends Set-Cookie"]
            screen.page.context.add_cookies(
                [{"name": "kept", "value": "1", "url": screen.page.url}]
            )
            assert "it sets the cookie kept" in it_sets_no_cookie(screen)

            assert it_asks_no_other_host(screen) == []
            with screen.page.expect_request("**/pixel"):
                screen.look("(() => { new Image().src = 'http://127.0.0.2:9/pixel' })")
            assert "http://127.0.0.2:9/pixel" in it_asks_no_other_host(screen)
        server.shutdown()


def test_each_check_is_seen_to_fail_here() -> None:
    fetched = {it_weighs_little, it_sets_no_cookie, it_asks_no_other_host}
    assert {check for check, _, _ in BROKEN} | fetched == set(CHECKS)
