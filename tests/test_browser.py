"""The recipient's pages in a real Chromium, without JavaScript, as a phone shows them."""

import os
import shutil
from collections.abc import Iterator
from typing import Literal
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

from prefs.demo import ALICE, CAROL, DAVE, Cast
from prefs.directory import change_topic
from prefs.installation import Installation, system_clock
from prefs.links import Action, Claim, Minted
from prefs.settings import Settings
from tests.conftest import Served

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""A browser sees the same of both stores."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    names = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        pytest.fail(
            f"no browser: install Chromium (`apt-get install chromium`), as one of {names}",
            pytrace=False,
        )
    quiet = (
        "--no-first-run",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
    )
    # Chromium refuses its own sandbox to root.
    alone = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=[*quiet, *alone])
        yield browser
        browser.close()


class Screen:
    """A phone. ``wrong`` is what its console said and which other host it asked for something."""

    def __init__(
        self, browser: Browser, host: str, width: int, scheme: Literal["light", "dark"] = "light"
    ) -> None:
        self.wrong: list[str] = []
        self.host = host
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            java_script_enabled=False,
            color_scheme=scheme,
        )
        self.page: Page = context.new_page()
        self.page.set_default_timeout(5000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(request.url))
        self.page.on("request", lambda request: self._asked(request.url))

    def _said(self, message: ConsoleMessage) -> None:
        self.wrong.append(f"{message.text} {message.location['url']}")

    def _asked(self, url: str) -> None:
        if urlsplit(url).netloc != self.host:
            self.wrong.append(url)

    def h1(self) -> str:
        return self.page.inner_text("h1")

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label).first.click()

    def fits(self) -> bool:
        """Whether nothing is wider than the screen, and every button is big enough to hit."""
        html = self.page.locator("html")
        wide = html.evaluate("e => Math.max(e.scrollWidth, document.body.scrollWidth)")
        boxes = [button.bounding_box() for button in self.page.get_by_role("button").all()]
        assert all(box and box["height"] >= 44 and box["width"] >= 200 for box in boxes)
        size = self.page.viewport_size
        return bool(size and wide <= size["width"])


def minted(served: Served, settings: Settings, cast: Cast) -> dict[str, Minted]:
    opened = Installation.open(settings)
    try:
        scope = cast.tenant.topic("product-news").scope
        return {
            str(person.value): opened.links.mint(
                served.url,
                Claim(
                    Action.UNSUBSCRIBE,
                    cast.tenant.id,
                    person.channel,
                    cast.tenant.digest(person),
                    scope,
                ),
                system_clock(),
            )
            for person in (ALICE, CAROL, DAVE)
        }
    finally:
        opened.database.close()


@ONE_STORE
def test_on_a_phone_without_javascript_one_leaves_undoes_and_chooses(
    browser: Browser, served: Served, settings: Settings, cast: Cast
) -> None:
    screen = Screen(browser, urlsplit(served.url).netloc, 390)
    links = minted(served, settings, cast)[ALICE.value]

    screen.page.goto(links.unsubscribe)
    assert screen.h1() == "Unsubscribe from Product news?"
    screen.press("Unsubscribe from Product news")
    assert screen.h1() == "You are unsubscribed from Product news."
    screen.press("Undo this unsubscribe")
    assert screen.h1() == "Undone. Your unsubscribe from Product news is taken back."
    screen.page.get_by_role("link", name="See your other choices").click()
    assert screen.h1() == "Your email preferences"

    screen.page.goto(links.preferences)
    news = screen.page.get_by_role("checkbox", name="Product news")
    assert news.is_checked()
    news.uncheck()
    # The whole row is the target.
    screen.page.get_by_text("Invitations to meetings near you.").click(force=True)
    screen.press("Save")
    assert screen.page.locator(".good li").all_inner_texts() == [
        "Product news: you are unsubscribed.",
        "Events: you are unsubscribed.",
    ]
    assert not screen.page.get_by_role("checkbox", name="Product news").is_checked()
    screen.press("Unsubscribe from everything")
    screen.press("Undo")
    assert screen.h1().startswith("Undone.")
    screen.page.goto(links.unsubscribe)
    assert screen.h1() == "You are already unsubscribed from Product news."
    assert screen.wrong == []
    screen.page.context.close()


@ONE_STORE
def test_no_page_is_wider_than_the_smallest_phone_or_says_anything_on_the_console(
    browser: Browser, settings: Settings, cast: Cast, opened: Installation
) -> None:
    with opened.database.writing() as connection:
        # As long as they may be, and without a space to break at.
        change_topic(connection, cast.tenant, "events", title="W" * 120, description="w" * 1000)
    served = Served(settings)
    try:
        links = minted(served, settings, cast)
        for scheme, width in (("light", 320), ("dark", 1200)):
            screen = Screen(browser, urlsplit(served.url).netloc, width, scheme)
            for person in (ALICE.value, CAROL.value, DAVE.value):
                for url in links[person]:
                    screen.page.goto(url)
                    assert screen.fits(), (screen.h1(), width)
            screen.page.goto(links[DAVE.value].unsubscribe)
            screen.press("Unsubscribe")
            assert screen.fits()
            assert screen.wrong == []
            screen.page.goto(f"{served.url}/u/made-up")
            assert screen.h1() == "This link does not work"
            assert screen.fits()
            screen.page.context.close()
    finally:
        served.stop()
