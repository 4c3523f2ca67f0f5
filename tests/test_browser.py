"""The recipient's pages in a real Chromium, without JavaScript, as a phone shows them."""

from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser

from prefs.demo import ALICE, CAROL, DAVE, Cast
from prefs.directory import change_topic
from prefs.installation import Installation
from prefs.settings import Settings
from tests.browser import Screen, minted
from tests.conftest import Served
from tests.test_leave_page import history

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""A browser sees the same of both stores."""


@ONE_STORE
def test_on_a_phone_without_javascript_one_leaves_undoes_and_chooses(
    browser: Browser, served: Served, settings: Settings, cast: Cast
) -> None:
    screen = Screen(browser, urlsplit(served.url).netloc, 390)
    links = minted(served.url, settings, cast)[ALICE.value]

    screen.page.goto(links.unsubscribe)
    assert screen.h1() == "Unsubscribe from Product news?"
    screen.press("Unsubscribe")
    assert screen.h1() == "You are unsubscribed from Product news."
    screen.press("Undo")
    assert screen.h1() == "Undone. Everything is as it was before."
    screen.press("Unsubscribe")
    screen.press("Too many messages")
    assert "Thank you for telling us." in screen.page.inner_text("main")
    screen.page.get_by_role("link", name="See your other choices").click()
    assert screen.h1() == "Your choices"
    # Through such a link what is off is asked for by mail, and this server has none.
    assert screen.page.locator(".off").count() == 1

    screen.page.goto(links.preferences)
    # The whole row is the target: a tick box, and the reason beside it.
    screen.page.get_by_text("You unsubscribed on").click(force=True)
    screen.page.get_by_text("You have not objected.").click(force=True)
    screen.page.get_by_label("How often").select_option("2")
    screen.press("Save")
    assert screen.page.locator(".good li").all_inner_texts() == [
        "Product news by email: You will get it.",
        "Trail tips by email: You are unsubscribed.",
        "Product news: At most 2 a week",
    ]
    screen.press("Undo")
    assert not screen.page.get_by_role("checkbox").first.is_checked()
    screen.press("For a month")
    screen.press("End the pause")
    screen.press("Unsubscribe from everything")
    assert screen.page.locator(".good li").all_inner_texts() == [
        "All marketing: You are unsubscribed."
    ]
    screen.page.locator("summary").click()
    screen.page.get_by_role("link", name="Deutsch").click()
    assert screen.h1() == "Ihre Einstellungen"
    screen.page.goto(links.unsubscribe)
    assert screen.h1().startswith("You are already unsubscribed from all marketing")
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
        links = minted(served.url, settings, cast)
        for scheme, width in (("light", 320), ("dark", 1200)):
            screen = Screen(browser, urlsplit(served.url).netloc, width, scheme)
            for person in (ALICE.value, CAROL.value, DAVE.value):
                for url in (links[person].unsubscribe, links[person].preferences):
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


@ONE_STORE
def test_enter_on_a_checkbox_saves_and_does_not_leave_the_brand(
    browser: Browser, served: Served, settings: Settings, cast: Cast, opened: Installation
) -> None:
    links = minted(served.url, settings, cast)[ALICE.value]
    with Screen(browser, urlsplit(served.url).netloc) as screen:
        screen.page.goto(links.preferences)
        before = len(history(opened, cast, ALICE))
        boxes = screen.page.get_by_role("checkbox")
        screen.tab_to(boxes.nth(1))
        screen.page.keyboard.press("Space")
        with screen.page.expect_navigation():
            screen.page.keyboard.press("Enter")
        assert screen.page.locator(".good li").all_inner_texts() == [
            "Events by email: You are unsubscribed."
        ]
        (said,) = history(opened, cast, ALICE)[before:]
        assert said.event.scope == cast.tenant.topic("events").scope
        assert screen.wrong == []
