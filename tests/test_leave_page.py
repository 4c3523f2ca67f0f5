"""The page behind an unsubscribe link: it leaves, says what happened, and takes it back."""

from collections import Counter
from html.parser import HTMLParser
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from prefs import ledger
from prefs.address import Address
from prefs.demo import ALICE, BOB, CAROL, FRANK, Cast
from prefs.installation import Installation
from prefs.ledger import Entry, Said, Subject
from prefs.policy import ALL, Authority, Event, Kind, Outcome, Voice
from tests.conftest import Api, Clock

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what a page shows: it is the same for both."""

GRACE = "grace@example.org"
NEWS = {"topic": "product-news"}


class Page(HTMLParser):
    """What a person has in front of them: words, links, forms."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.html = html
        self.tags: Counter[str] = Counter()
        self.links: dict[str, str] = {}
        self.forms: list[dict[str, Any]] = []
        self.inside: list[str] = []
        self.heard: dict[str, list[str]] = {}
        self.about: dict[str, str] = {}
        self.chosen: dict[str, str] = {}
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.tags[tag] += 1
        assert not [name for name in given if name.startswith(("on", "style"))]
        if tag == "form":
            self.forms.append({"to": given["action"], "fields": [], "boxes": [], "buttons": {}})
        elif tag == "input" and given.get("type") == "checkbox":
            box = {"id": given["id"], "value": given["value"], "on": "checked" in given}
            self.forms[-1]["boxes"].append(box)
        elif tag == "input":
            assert given["type"] == "hidden", "nobody is asked to type anything"
            self.forms[-1]["fields"].append((given["name"], given["value"]))
        elif tag == "select":
            self.choice = given["name"]
        elif tag == "option" and ("selected" in given or self.choice not in self.chosen):
            self.chosen[self.choice] = given["value"]
        if tag not in ("meta", "link", "input", "img", "br"):
            self.inside.append(tag)
            self.heard.setdefault(tag, []).append("")
            if tag == "label":
                self.about[given["for"]] = str(len(self.heard["label"]) - 1)
            if tag == "button":
                self.pressed = (given.get("name"), given.get("value", ""))
            if tag == "a":
                self.href = given["href"]

    def handle_data(self, data: str) -> None:
        for tag in set(self.inside):
            self.heard[tag][-1] += data

    def handle_endtag(self, tag: str) -> None:
        assert self.inside.pop() == tag
        text = " ".join(self.heard[tag][-1].split())
        self.heard[tag][-1] = text
        if tag == "button":
            self.forms[-1]["buttons"][text] = self.pressed
        if tag == "a":
            self.links[text] = self.href

    @property
    def h1(self) -> str:
        return self.heard["h1"][0]

    @property
    def text(self) -> str:
        return " ".join(self.heard["body"][0].split())

    def button(self, label: str) -> tuple[dict[str, Any], tuple[str | None, str]]:
        for form in self.forms:
            for text, pressed in form["buttons"].items():
                if text.startswith(label):
                    return form, pressed
        raise AssertionError(f"no button {label!r} among {[f['buttons'] for f in self.forms]}")

    def shows(self, label: str) -> bool:
        return any(text.startswith(label) for form in self.forms for text in form["buttons"])

    @property
    def undo(self) -> str:
        form, _ = self.button("Undo")
        return str(dict(form["fields"])["undo"])

    def boxes(self) -> list[dict[str, Any]]:
        return [box for form in self.forms for box in form["boxes"]]

    def ticked(self) -> set[str]:
        """The topics that are on, on whichever address."""
        return {box["value"].partition(".")[2] for box in self.boxes() if box["on"]}


class Person:
    """Somebody with a browser and a link. ``page`` is what they look at."""

    def __init__(self, client: FlaskClient, path: str) -> None:
        self.client = client
        self.page = self.go(path)

    def go(self, path: str, status: int = 200) -> Page:
        answer = self.client.get(path)
        assert answer.status_code == status
        self.page = Page(answer.text)
        return self.page

    def press(
        self, label: str, status: int = 200, chosen: dict[str, str] | None = None, **ticks: bool
    ) -> Page:
        """Sends what a browser sends; ``ticks`` are changed before, by the topic's slug.

        The first address's box of a topic is meant.
        """
        form, (name, value) = self.page.button(label)
        ticked = {box["value"]: box["on"] for box in form["boxes"]}
        for slug, on in ticks.items():
            ticked[next(v for v in ticked if v.endswith(f".{slug.replace('_', '-')}"))] = on
        data: dict[str, Any] = dict(form["fields"])
        data |= {**self.page.chosen, **(chosen or {})}
        data["on"] = [slug for slug, on in ticked.items() if on]
        data |= {"undo": [v for n, v in form["fields"] if n == "undo"]} if "undo" in data else {}
        if name:
            data[name] = value
        answer = self.client.post(form["to"], data=data)
        assert (answer.status_code, answer.mimetype) == (status, "text/html")
        assert "Set-Cookie" not in answer.headers
        self.page = Page(answer.text)
        return self.page


def link(api: Api, address: str, kind: str = "unsubscribe", **about: str) -> str:
    item = {"channel": "sms" if address[0] == "+" else "email", "address": address, **about}
    answer = api("POST", "/v1/links", {"items": [item]}).get_json()
    return urlsplit(answer["items"][0][kind]).path


def history(opened: Installation, cast: Cast, address: Address) -> list[Entry]:
    with opened.database.reading() as connection:
        return ledger.history(connection, cast.tenant.id, cast.tenant.digest(address))


def record(opened: Installation, cast: Cast, address: Address, event: Event) -> None:
    with opened.database.writing() as connection:
        ledger.record(connection, cast.tenant.id, Said(Subject.of(cast.tenant, address), event))


def reasons(api: Api, address: str) -> list[str]:
    topics = ("product-news", "events", "trail-tips")
    return [api.check(address, topic)["reason"] for topic in topics]


# --- leaving ---


def test_the_button_leaves_the_topic_and_nothing_else(client: FlaskClient, api: Api) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    assert person.page.h1 == "Unsubscribe from Product news?"
    assert reasons(api, ALICE.value) == ["consent", "consent", "no_objection"]
    person.press("Unsubscribe")
    assert person.page.h1 == "You are unsubscribed from Product news."
    assert reasons(api, ALICE.value) == ["opted_out", "consent", "no_objection"]


def test_the_other_button_leaves_everything_and_the_page_names_whose(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe from all marketing from Acme Group")
    assert person.page.h1 == "You are unsubscribed from all marketing from Acme Group."
    assert reasons(api, ALICE.value) == ["opted_out"] * 3
    assert history(opened, cast, ALICE)[-1].event.scope == ALL


def test_after_leaving_a_topic_everything_can_be_left_from_the_same_page(
    client: FlaskClient, api: Api
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe")
    person.press("Unsubscribe from all marketing")
    assert reasons(api, ALICE.value) == ["opted_out"] * 3


def test_a_brands_link_leaves_the_brand(client: FlaskClient, api: Api) -> None:
    person = Person(client, link(api, ALICE.value, brand="acme"))
    assert person.page.h1 == "Unsubscribe from all marketing from Acme?"
    person.press("Unsubscribe")
    assert "Other brands of Acme Group stay as they are." in person.page.text
    assert reasons(api, ALICE.value) == ["opted_out", "opted_out", "no_objection"]


@ONE_STORE
def test_a_link_about_everything_has_one_button(client: FlaskClient, api: Api) -> None:
    person = Person(client, link(api, ALICE.value))
    assert len(person.page.forms[0]["buttons"]) == 1
    person.press("Unsubscribe")
    assert reasons(api, ALICE.value) == ["opted_out"] * 3


@ONE_STORE
def test_the_page_says_what_still_arrives_and_it_does(client: FlaskClient, api: Api) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe")
    assert {"Order updates", "Passwords and security"} <= set(person.page.heard["li"])
    assert "Trail tips" not in person.page.text
    assert api.check(ALICE.value, "order-updates")["allowed"] is True


@ONE_STORE
def test_a_text_message_is_called_so_and_the_email_of_the_same_person_is_not_touched(
    client: FlaskClient, api: Api
) -> None:
    person = Person(client, link(api, FRANK.value, **NEWS))
    person.press("Unsubscribe from all marketing")
    assert api.check(FRANK.value, channel="sms")["reason"] == "opted_out"
    assert reasons(api, ALICE.value) == ["consent", "consent", "no_objection"]


def test_whoever_has_left_already_is_told_so_and_may_say_it_again(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = Person(client, link(api, BOB.value, **NEWS))
    assert person.page.h1 == "You are already unsubscribed from Product news."
    person.press("Unsubscribe again")
    assert person.page.h1 == "You are unsubscribed from Product news."
    assert [e.event.kind for e in history(opened, cast, BOB)] == [Kind.OUT, Kind.OUT]


def test_whoever_came_back_to_the_topic_is_not_told_that_they_left_it(
    client: FlaskClient, api: Api
) -> None:
    chooser = Person(client, link(api, BOB.value, "preferences", **NEWS))
    chooser.press("Save", product_news=True)
    assert Person(client, link(api, BOB.value, **NEWS)).page.h1 == "Unsubscribe from Product news?"


# --- undo ---


def test_undo_puts_back_what_was(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    for label in ("Unsubscribe", "Unsubscribe from all marketing"):
        for address in (ALICE.value, GRACE):
            before = reasons(api, address)
            person = Person(client, link(api, address, **NEWS))
            person.press(label)
            assert reasons(api, address) != before
            person.press("Undo")
            assert person.page.h1.startswith("Undone.")
            assert reasons(api, address) == before
    undone = history(opened, cast, ALICE)[-1]
    assert (undone.event.kind, undone.event.door) == (Kind.RETRACT, "undo")
    assert (undone.evidence or {})["ip"] == "127.0.0.1"


def test_undo_works_for_an_hour(client: FlaskClient, api: Api, clock: Clock) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe")
    left = person.page
    clock.forward(minutes=60, seconds=1)
    person.press("Undo", status=404)
    assert api.check(ALICE.value)["reason"] == "opted_out"
    clock.forward(seconds=-1)
    person.page = left
    person.press("Undo")
    assert api.check(ALICE.value)["reason"] == "consent"


def test_undo_does_not_take_back_a_later_no(client: FlaskClient, api: Api, clock: Clock) -> None:
    target = link(api, ALICE.value, **NEWS)
    person = Person(client, target)
    person.press("Unsubscribe")
    clock.forward(minutes=10)
    client.post(target, data={"List-Unsubscribe": "One-Click"})
    person.press("Undo")
    assert person.page.h1 == "You are still unsubscribed"
    assert api.check(ALICE.value)["reason"] == "opted_out"


@pytest.mark.parametrize(
    ("voice", "reason"), [(Voice.COMPLAINT, "complained"), (Voice.SENDER, "sender_opted_out")]
)
def test_undo_does_not_take_back_a_no_in_another_voice(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    clock: Clock,
    voice: Voice,
    reason: str,
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe")
    record(opened, cast, ALICE, Event(Kind.OUT, clock.now, ALL, voice))
    person.press("Undo")
    assert person.page.h1 == "You are still unsubscribed"
    assert reasons(api, ALICE.value)[2] == reason


def test_a_double_click_is_one_press_and_can_be_undone(
    client: FlaskClient, api: Api, clock: Clock
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    shown = person.page
    person.press("Unsubscribe")
    clock.forward(seconds=1)
    person.page = shown
    person.press("Unsubscribe")
    assert person.page.h1 == "You are unsubscribed from Product news."
    person.press("Undo")
    assert person.page.h1.startswith("Undone.")
    assert api.check(ALICE.value)["reason"] == "consent"


def test_undo_twice_is_undo_once(client: FlaskClient, api: Api) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    left = person.press("Unsubscribe")
    for _ in range(2):
        person.page = left
        assert person.press("Undo").h1.startswith("Undone.")
    assert api.check(ALICE.value)["reason"] == "consent"


@pytest.mark.parametrize("kind", ["unsubscribe", "preferences"])
@pytest.mark.parametrize("presses", [1, 2])
def test_an_old_no_cannot_be_lifted_by_pressing_anew_and_undoing_that(
    client: FlaskClient, api: Api, clock: Clock, presses: int, kind: str
) -> None:
    # Whoever was forwarded a mail could do it.
    client.post(link(api, ALICE.value, **NEWS), data={"leave": "all"})
    clock.forward(days=70)
    person = Person(client, link(api, ALICE.value, kind, **NEWS))
    assert not person.page.shows("Unsubscribe from everything")
    for _ in range(presses):
        clock.forward(seconds=1)
        # The page has no such button any more; whoever kept an older one has.
        pressed = client.post(link(api, ALICE.value, kind, **NEWS), data={"leave": "all"})
        assert pressed.status_code == 200
        assert 'name="undo"' not in pressed.get_data(as_text=True)


def test_whoever_left_everything_is_told_so_and_not_asked_to_leave_again(
    client: FlaskClient, api: Api
) -> None:
    client.post(link(api, ALICE.value, **NEWS), data={"leave": "all"})
    person = Person(client, link(api, ALICE.value, **NEWS))
    assert "all marketing" in person.page.h1
    left = person.press("Unsubscribe again")
    assert "all marketing" in left.h1
    assert not left.shows("Your other topics stay as they are")


def test_where_a_complaint_or_a_pause_covers_the_topic_there_is_nothing_to_undo(
    client: FlaskClient, api: Api, clock: Clock
) -> None:
    until = "2027-01-01T00:00:00Z"
    api.put(GRACE, "snooze", scope={"topic": "product-news"}, until=until)
    for address in (CAROL.value, GRACE):
        person = Person(client, link(api, address, **NEWS))
        assert not person.press("Unsubscribe").shows("Undo")
    clock.forward(days=90)
    person = Person(client, link(api, GRACE, **NEWS))
    assert not person.press("Unsubscribe").shows("Undo")


def test_a_no_that_a_later_yes_had_ended_does_not_stand_in_the_way_of_undo(
    client: FlaskClient, api: Api, clock: Clock
) -> None:
    Person(client, link(api, BOB.value, "preferences", **NEWS)).press("Save", product_news=True)
    clock.forward(days=1)
    person = Person(client, link(api, BOB.value, **NEWS))
    person.press("Unsubscribe")
    person.press("Undo")
    assert api.check(BOB.value)["reason"] == "consent"


def test_an_undo_belongs_to_the_address_it_was_made_for(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    alice, grace = (Person(client, link(api, a, **NEWS)) for a in (ALICE.value, GRACE))
    alice.press("Unsubscribe")
    grace.press("Unsubscribe")
    undo = alice.page.undo
    before = history(opened, cast, ALICE)
    answer = client.post(link(api, GRACE, **NEWS), data={"undo": undo})
    assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert api.check(GRACE)["reason"] == api.check(ALICE.value)["reason"] == "opted_out"
    assert history(opened, cast, ALICE) == before


@ONE_STORE
def test_an_undo_is_no_link_and_a_link_is_no_undo(client: FlaskClient, api: Api) -> None:
    target = link(api, ALICE.value, **NEWS)
    person = Person(client, target)
    person.press("Unsubscribe")
    undo = person.page.undo
    for door in ("u", "p"):
        assert client.post(f"/{door}/{undo}").status_code == 404
    for wrong in (target.removeprefix("/u/"), undo[:-1], "", "x", "\x00"):
        assert client.post(target, data={"undo": wrong}).status_code == 404
    assert api.check(ALICE.value)["reason"] == "opted_out"


# --- what the pages show ---


@ONE_STORE
def test_an_address_is_shown_masked_and_never_whole(client: FlaskClient, api: Api) -> None:
    for address, masked in ((ALICE.value, "a•••@e•••.org"), (FRANK.value, "+1•••••••06")):
        person = Person(client, link(api, address, **NEWS))
        pages = [person.page, person.press("Unsubscribe")]
        pages += [person.go(person.page.links["See your other choices"])]
        person.page = pages[1]
        pages += [person.press("Undo")]
        for page in pages:
            assert masked in page.text
            assert address not in page.html
            assert address.partition("@")[0].lstrip("+") not in page.html


@ONE_STORE
def test_the_page_after_leaving_leads_to_the_choices_that_brand_first(
    client: FlaskClient, api: Api
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe")
    page = person.go(person.page.links["See your other choices"])
    assert page.h1 == "Your choices"
    assert page.heard["h2"][:2] == ["Acme", "Acme Outdoor"]


HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></h1><b>bold</b>",
    "{{ 7 * 7 }} {% raw %}",
    "Tom & Jerry's <3 &lt;i&gt;",
    "أخبار المنتج",
    "\u202eevil\u202c",
)


@ONE_STORE
@pytest.mark.parametrize("kind", ["unsubscribe", "preferences"])
def test_titles_and_names_come_out_as_they_are_and_do_nothing(
    client: FlaskClient, api: Api, kind: str
) -> None:
    api("PATCH", "/v1/tenant", {"name": "Group <u>& Co</u>"})
    brand = {"slug": "odd", "name": "<em>Odd</em> & العلامة", "contact": "x"}
    assert api("POST", "/v1/brands", brand).status_code == 201
    plain = Person(client, link(api, GRACE, kind, **NEWS)).page
    for number, title in enumerate(HOSTILE):
        topic = {
            "slug": f"odd-{number}",
            "brand": "odd",
            "title": title,
            "description": f"About {title}",
            "purpose": "marketing",
            "channels": {"email": "opt_out"},
        }
        assert api("POST", "/v1/topics", topic).status_code == 201
    for number, title in enumerate(HOSTILE):
        person = Person(client, link(api, GRACE, kind, topic=f"odd-{number}"))
        pages = [person.page]
        if kind == "unsubscribe":
            assert person.page.h1 == f"Unsubscribe from {title}?"
            assert person.page.heard["title"][0].startswith(f"Unsubscribe from {title}")
            pages += [person.press("Unsubscribe")]
            assert title not in person.press("Undo").html
        else:
            slug = f"odd_{number}"
            pages += [person.press("Save", **{slug: False}), person.press("Save", **{slug: True})]
            assert f"{title} by email: You will get it." in person.page.text
        for page in pages:
            assert "<em>Odd</em> & العلامة" in page.text
            assert title in page.heard["bdi"]
            assert set(page.tags) <= set(plain.tags) | {
                "p",
                "h2",
                "section",
                "ul",
                "li",
                "div",
                "a",
                "input",
            }


@ONE_STORE
def test_every_page_forbids_scripts_frames_caches_and_referrers(
    client: FlaskClient, api: Api
) -> None:
    for path in (link(api, GRACE, **NEWS), link(api, GRACE, "preferences"), "/u/made-up"):
        for answer in (client.get(path), client.post(path)):
            policy = answer.headers["Content-Security-Policy"]
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert "script-src" not in policy
            assert answer.headers["Cache-Control"] == "no-store"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["X-Robots-Tag"] == "noindex"


def test_a_stop_is_not_lifted_by_leaving_and_undoing_on_a_page(
    client: FlaskClient, api: Api, clock: Clock, opened: Installation, cast: Cast
) -> None:
    stop = Event(Kind.OUT, clock.now, ALL, Voice.STOP, Authority.PERSON)
    record(opened, cast, FRANK, stop)
    clock.forward(minutes=5)
    person = Person(client, link(api, FRANK.value))
    assert not person.press("Unsubscribe").shows("Undo")
    assert history(opened, cast, FRANK)[-1].outcome is Outcome.APPLIED


def test_whoever_turned_one_topic_on_again_is_not_told_that_all_is_left(
    client: FlaskClient, api: Api
) -> None:
    client.post(link(api, ALICE.value, **NEWS), data={"leave": "all"})
    chooses = Person(client, link(api, ALICE.value, "preferences", **NEWS))
    chooses.press("Save", events=True)
    assert api.check(ALICE.value, "events")["allowed"] is True
    person = Person(client, link(api, ALICE.value, **NEWS))
    assert "all marketing" not in person.page.h1
    person.press("Unsubscribe from all")
    assert "all marketing" in person.page.h1
    assert api.check(ALICE.value, "events")["allowed"] is False
