"""A real Chromium, and what every page for recipients must hold, a function each.

A check takes a ``Screen`` and returns what is wrong, in sentences: none is good. It leaves the
page as it found it. ``faults`` asks all of ``CHECKS``.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Self
from urllib.parse import urljoin, urlsplit

import pytest
from axe_playwright_python.base import AXE_SCRIPT
from playwright.sync_api import (
    Browser,
    ConsoleMessage,
    Locator,
    Page,
    Playwright,
    Request,
    Response,
    Route,
    sync_playwright,
)

from prefs.demo import ALICE, CAROL, DAVE, Cast
from prefs.installation import Installation, system_clock
from prefs.links import Action, Claim, Minted
from prefs.settings import Settings

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
MISSING = (
    "no Chromium that runs. Install one: `apt-get install chromium` on Debian, or else "
    f"`python -m playwright install chromium`. On the PATH it may be any of {', '.join(NAMES)}"
)
PICTURES = Path(__file__).parent.parent / "docs" / "screenshots"
IN_DOCS = frozenset(
    {
        "leave-en-phone",
        "leave-ar-phone",
        "leave-de-desktop",
        "left-en-phone",
        "preferences-en-phone",
        "preferences-en-phone-dark",
        "preferences-ar-phone",
        "preferences-of-the-other-brand-de-phone",
        "preferences-after-stop-en-phone",
        "saved-de-phone",
        "sign-up-ar-phone",
        "question-en-phone",
        "code-wrong-de-phone",
        "problem-en-phone",
    }
)
"""The pictures that docs/pages.md shows: few, because a repository never forgets one."""
LOOKING = Path(__file__).with_name("browser.js").read_text()

Scheme = Literal["light", "dark"]


def executable(playwright: Playwright) -> str | None:
    """The machine's Chromium or Chrome, or else Playwright's own, in the user's cache."""
    own = playwright.chromium.executable_path
    for path in (*filter(None, map(shutil.which, NAMES)), own):
        # Ubuntu's chromium-browser is there and only says to install a snap.
        if Path(path).exists() and _runs(path):
            return path
    return None


def _runs(path: str) -> bool:
    done = subprocess.run([path, "--version"], capture_output=True, check=False)
    return done.returncode == 0


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """One for each process that runs tests. While it lives, ``asyncio.run`` is refused there."""
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
        found = executable(playwright)
        if found is None:
            pytest.fail(MISSING, pytrace=False)
        browser = playwright.chromium.launch(executable_path=found, args=[*quiet, *alone])
        yield browser
        browser.close()


class Screen:
    """A phone without JavaScript.

    ``wrong`` is what its console said and which other host it asked for something.
    """

    def __init__(
        self,
        browser: Browser,
        host: str,
        width: int = 390,
        scheme: Scheme = "light",
        *,
        language: str = "en-US",
    ) -> None:
        self.browser = browser
        self.host = host
        self.scheme: Scheme = scheme
        self.wrong: list[str] = []
        self.documents: set[str] = set()
        self.responses: list[Response] = []
        context = browser.new_context(
            viewport={"width": width, "height": 800},
            java_script_enabled=False,
            color_scheme=scheme,
            locale=language,
        )
        self.page: Page = context.new_page()
        self.page.set_default_timeout(5000)
        self.page.on("console", self._said)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("requestfailed", lambda request: self.wrong.append(request.url))
        self.page.on("request", self._asked)
        self.page.on("response", lambda response: self.responses.append(response))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.page.context.close()

    def _said(self, message: ConsoleMessage) -> None:
        # Chromium remarks on every page that is answered 404 or 503, and the page shows it.
        if "Failed to load resource" in message.text and message.location["url"] in self.documents:
            return
        self.wrong.append(f"{message.text} {message.location['url']}")

    def _asked(self, request: Request) -> None:
        if request.is_navigation_request():
            self.documents.add(request.url)
        if urlsplit(request.url).netloc != self.host:
            self.wrong.append(request.url)

    def h1(self) -> str:
        return self.page.inner_text("h1")

    def press(self, label: str) -> None:
        self.page.get_by_role("button", name=label).first.click()

    def tab_to(self, control: Locator) -> None:
        """Goes there by the Tab key alone."""
        for _ in range(self.page.locator("*").count()):
            self.page.keyboard.press("Tab")
            if control.evaluate("one => one === document.activeElement"):
                return
        raise AssertionError(f"Tab never comes to {control}")

    def enter(self, label: str, role: Literal["button", "link"] = "button") -> None:
        """Presses what is called so, with the keyboard alone."""
        self.tab_to(self.page.get_by_role(role, name=label).first)
        with self.page.expect_navigation():
            self.page.keyboard.press("Enter")

    def fits(self) -> bool:
        """Whether nothing is wider than the screen, and every button is big enough to hit."""
        html = self.page.locator("html")
        wide = html.evaluate("e => Math.max(e.scrollWidth, document.body.scrollWidth)")
        boxes = [button.bounding_box() for button in self.page.get_by_role("button").all()]
        assert all(box and box["height"] >= 44 and box["width"] >= 100 for box in boxes)
        size = self.page.viewport_size
        return bool(size and wide <= size["width"])

    def look(self, function: str, *arguments: Any) -> Any:
        """Calls a function of browser.js in the page."""
        script = f"(given) => {{ {LOOKING}\nreturn {function}(...given) }}"
        return self.page.evaluate(script, list(arguments))

    @contextmanager
    def sized(self, width: int, height: int = 800) -> Iterator[None]:
        before = self.page.viewport_size
        self.page.set_viewport_size({"width": width, "height": height})
        yield
        if before:
            self.page.set_viewport_size(before)

    @contextmanager
    def media(self, **emulated: Any) -> Iterator[None]:
        """As ``Page.emulate_media``, for a while."""
        self.page.emulate_media(**emulated)
        yield
        self.page.emulate_media(color_scheme=self.scheme, media="null", forced_colors="null")

    @contextmanager
    def wearing(self, css: str) -> Iterator[None]:
        """With a style sheet of the reader's own, which no Content-Security-Policy forbids."""
        self.look("wear", css)
        yield
        self.look("unwear")

    def violations(self, scheme: Scheme | None = None) -> list[str]:
        """What axe-core finds: WCAG 2.2 A and AA, and its best practices.

        axe needs JavaScript, so it looks at a copy: the same bytes of HTML at the same URL. What
        a POST answered is looked at without a second POST.
        """
        html, url = self.page.content(), self.page.url

        def answer(route: Route) -> None:
            if route.request.is_navigation_request():
                route.fulfill(body=html, content_type="text/html; charset=utf-8")
            else:
                route.continue_()

        context = self.browser.new_context(
            viewport=self.page.viewport_size,
            color_scheme=scheme or self.scheme,
            bypass_csp=True,
        )
        try:
            copy = context.new_page()
            copy.route("**/*", answer)
            copy.goto(url)
            copy.evaluate(AXE_SCRIPT)
            found = copy.evaluate("options => axe.run(options)", AXE)["violations"]
        finally:
            context.close()
        return [
            f"{one['id']} at {' '.join(map(str, node['target']))}: {one['help']}"
            for one in found
            for node in one["nodes"]
        ]


AXE = {
    "resultTypes": ["violations"],
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    # Off in axe-core unless asked for.
    "rules": {"target-size": {"enabled": True}},
}


# --- what every page must hold ---


def axe_finds_nothing(screen: Screen) -> list[str]:
    return screen.violations()


def it_names_itself(screen: Screen) -> list[str]:
    """Its language, its direction, its title, and one main heading."""
    html = screen.page.locator("html")
    wrong = []
    if not html.get_attribute("lang"):
        wrong.append("<html> has no lang")
    direction = html.get_attribute("dir")
    if direction not in ("ltr", "rtl"):
        wrong.append(f"<html> has the dir {direction}, and neither ltr nor rtl")
    elif html.evaluate("one => getComputedStyle(one).direction") != direction:
        wrong.append(f"<html> has the dir {direction}, and its style the other")
    if not screen.page.title().strip():
        wrong.append("it has no title")
    if (count := screen.page.locator("h1").count()) != 1:
        wrong.append(f"it has {count} h1 and not one")
    return wrong


def nothing_scrolls_sideways(screen: Screen) -> list[str]:
    """320 px: the smallest phone, and a screen of 1280 px at 400 % (WCAG 1.4.10)."""
    wrong = []
    for width, height in ((320, 800), (320, 256), (1280, 1024)):
        with screen.sized(width, height):
            wrong += screen.look("sticksOut") + screen.look("cutOff")
    return wrong


def every_target_is_big_enough(screen: Screen) -> list[str]:
    """24 by 24 px (WCAG 2.5.8, without its exceptions), and buttons 44 high."""
    wrong = []
    for width in (320, 1280):
        with screen.sized(width):
            wrong += screen.look("small")
    return list(dict.fromkeys(wrong))


def the_keyboard_reaches_all(screen: Screen) -> list[str]:
    """Tab stops at each control in the page's order, visibly, and Space ticks a box."""
    wrong = []
    keys = screen.page.keyboard
    for index in range(screen.look("stops") + 1):
        keys.press("Tab")
        wrong += screen.look("stoppedAt", index)
        active = screen.page.locator("[type=checkbox]:focus")
        if active.count():
            ticked = active.is_checked()
            keys.press("Space")
            if active.is_checked() is ticked:
                wrong.append(f"Space does nothing at {active.get_attribute('id')}")
            keys.press("Space")
    return wrong


def light_and_dark_can_be_read(screen: Screen) -> list[str]:
    wrong: list[str] = []
    for scheme in ("light", "dark"):
        with screen.media(color_scheme=scheme):
            if (screen.look("brightness") < 0.2) is not (scheme == "dark"):
                wrong.append(f"{scheme} was asked for, and it is not")
            wrong += [f"{scheme}: {fault}" for fault in screen.look("faint", False)]
    other: Scheme = "light" if screen.scheme == "dark" else "dark"
    return wrong + [f"{other}: {fault}" for fault in screen.violations(other)]


def forced_colours_leave_it_usable(screen: Screen) -> list[str]:
    """As Windows' contrast themes do."""
    with screen.media(forced_colors="active"):
        wrong: list[str] = screen.look("faint", False)
        wrong += screen.look("edgeless")
        wrong += screen.look("unforced")
        return wrong


def text_may_be_spaced(screen: Screen) -> list[str]:
    """WCAG 1.4.12, to the letter."""
    spaced = (
        "* { line-height: 1.5 !important; letter-spacing: 0.12em !important;"
        " word-spacing: 0.16em !important } p { margin-block-end: 2em !important }"
    )
    return _worn(screen, spaced, 320, 1280)


def text_may_be_doubled(screen: Screen) -> list[str]:
    """WCAG 1.4.4 by the reader's own size of letters, as phones have it, and not by zoom."""
    return _worn(screen, ":root { font-size: 200% !important }", 390, 1280)


def _worn(screen: Screen, css: str, *widths: int) -> list[str]:
    wrong = []
    with screen.wearing(css):
        for width in widths:
            with screen.sized(width):
                wrong += screen.look("sticksOut") + screen.look("cutOff")
    return wrong


def paper_loses_nothing(screen: Screen) -> list[str]:
    """A4 less its margins, printed from a dark screen. Only what is pressed may be left out."""
    words = screen.look("words")
    with screen.media(media="print", color_scheme="dark"), screen.sized(718, 1000):
        left = screen.look("words")
        wrong = [f"not printed: {text}" for text in words if text not in left]
        return wrong + screen.look("faint", True) + screen.look("sticksOut") + screen.look("cutOff")


MOST_BYTES = 20_000


def it_weighs_little(screen: Screen) -> list[str]:
    """The document and all it loads, unpacked, and the icon, which no test browser fetches."""
    screen.page.wait_for_load_state("load")
    weights: dict[str, int] = screen.look("weights")
    for icon in screen.page.locator("link[rel~=icon]").all():
        url = urljoin(screen.page.url, icon.get_attribute("href"))
        if not url.startswith("data:"):
            weights[url] = len(screen.page.request.get(url).body())
    total = sum(weights.values())
    if total < MOST_BYTES:
        return []
    # A link's path is a token, and no finding repeats one.
    parts = (f"{urlsplit(url).path[:8]}… {size}" for url, size in weights.items())
    return [f"{total} bytes, and not below {MOST_BYTES}: {', '.join(parts)}"]


def it_asks_no_other_host(screen: Screen) -> list[str]:
    """And says nothing on the console."""
    return list(screen.wrong)


def it_sets_no_cookie(screen: Screen) -> list[str]:
    kept = [f"it sets the cookie {one.get('name')}" for one in screen.page.context.cookies()]
    sent = [
        f"{urlsplit(one.url).path[:8]}… sends Set-Cookie"
        for one in screen.responses
        if "set-cookie" in one.all_headers()
    ]
    return kept + sent


Check = Callable[[Screen], list[str]]

CHECKS: tuple[Check, ...] = (
    axe_finds_nothing,
    it_names_itself,
    nothing_scrolls_sideways,
    every_target_is_big_enough,
    the_keyboard_reaches_all,
    light_and_dark_can_be_read,
    forced_colours_leave_it_usable,
    text_may_be_spaced,
    text_may_be_doubled,
    paper_loses_nothing,
    it_weighs_little,
    it_asks_no_other_host,
    it_sets_no_cookie,
)


def faults(screen: Screen, but: Collection[Check] = ()) -> list[str]:
    """All that is wrong with the page on the screen, each with the promise that it breaks."""
    return [
        f"{check.__name__}: {fault}"
        for check in CHECKS
        if check not in but
        for fault in check(screen)
    ]


# --- links to look at, and pictures ---


def minted(url: str, settings: Settings, cast: Cast) -> dict[str, Minted]:
    """Links to Product news, by whose they are: Alice's, Carol's and Dave's."""
    opened = Installation.open(settings)
    try:
        scope = cast.tenant.topic("product-news").scope
        return {
            str(person.value): opened.links.mint(
                url,
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


Shoot = Callable[[Screen, str], None]


@pytest.fixture(scope="session")
def shoot(request: pytest.FixtureRequest) -> Shoot:
    """``shoot(screen, name)`` keeps pictures of the page where ``--screenshots`` says."""
    where = request.config.getoption("--screenshots")
    folder = PICTURES if where == "docs" else Path(where or ".")

    def shoot(screen: Screen, name: str) -> None:
        for kind, width, scheme in SHOTS if where else ():
            picture = f"{name}-{kind}"
            if where != "docs" or picture in IN_DOCS:
                with screen.sized(width), screen.media(color_scheme=scheme):
                    path = folder / f"{picture}.png"
                    screen.page.screenshot(path=path, full_page=True, animations="disabled")

    return shoot


SHOTS: tuple[tuple[str, int, Scheme], ...] = (
    ("phone", 390, "light"),
    ("phone-dark", 390, "dark"),
    ("desktop", 1100, "light"),
)


def main() -> None:
    """Says which browser the tests would use, for bin/browser."""
    with sync_playwright() as playwright:
        found = executable(playwright)
    if found is None:
        sys.exit(MISSING)
    print(found)


if __name__ == "__main__":
    main()
