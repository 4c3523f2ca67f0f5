"""What a link was about may be gone from the directory. Whoever opens it still leaves it, and the
no holds should it come back."""

from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete

from prefs import tables
from prefs.demo import ALICE, Cast
from prefs.directory import Tenant
from prefs.directory.changing import changed
from prefs.installation import Installation
from prefs.policy import Kind, Scope
from tests.conftest import Api
from tests.test_leave_page import NEWS, Person, history, link, reasons

OUTDOOR = {"brand": "outdoor"}


class Gone:
    """Trail tips, and Acme Outdoor with it where that is wanted, until they come back."""

    def __init__(self, opened: Installation, cast: Cast, brand: bool) -> None:
        self.opened = opened
        self.tenant = cast.tenant
        self.kept: list[tuple[Any, list[dict[str, Any]]]] = []
        with opened.database.writing() as connection:
            for table in (tables.topic, tables.brand) if brand else (tables.topic,):
                which = (table.c.tenant_id == cast.tenant.id) & (
                    table.c.slug == ("trail-tips" if table is tables.topic else "outdoor")
                )
                rows = connection.execute(table.select().where(which)).mappings()
                self.kept.append((table, [dict(row) for row in rows]))
                connection.execute(delete(table).where(which))
            changed(connection)
        opened.directory.refresh()

    def come_back(self) -> None:
        with self.opened.database.writing() as connection:
            for table, rows in reversed(self.kept):
                connection.execute(table.insert(), rows)
            changed(connection)
        self.opened.directory.refresh()


TIPS = {"topic": "trail-tips"}
WHAT = pytest.mark.parametrize(
    ("about", "brand"),
    [
        pytest.param(TIPS, False, id="a topic"),
        pytest.param(TIPS, True, id="a topic and its brand"),
        pytest.param(OUTDOOR, True, id="a brand"),
    ],
)


@WHAT
def test_the_page_says_that_these_are_no_longer_sent_and_the_button_still_leaves(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    about: dict[str, str],
    brand: bool,
) -> None:
    target = link(api, ALICE.value, **about)
    gone = Gone(opened, cast, brand)
    person = Person(client, target)
    assert person.page.h1 == "These messages are no longer sent"
    person.press("Unsubscribe")
    assert person.page.h1 == "You are unsubscribed"
    assert "Acme Group" not in person.page.h1
    assert Person(client, target).page.h1 == "You are already unsubscribed"
    assert api.check(ALICE.value)["reason"] == "consent"
    gone.come_back()
    assert reasons(api, ALICE.value) == ["consent", "consent", "opted_out"]


@WHAT
def test_one_click_is_heard_and_holds_when_it_comes_back(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    about: dict[str, str],
    brand: bool,
) -> None:
    target = link(api, ALICE.value, **about)
    gone = Gone(opened, cast, brand)
    answer = client.post(target, data={"List-Unsubscribe": "One-Click"})
    assert (answer.status_code, answer.mimetype) == (200, "text/plain")
    gone.come_back()
    assert reasons(api, ALICE.value) == ["consent", "consent", "opted_out"]


@WHAT
def test_what_was_left_so_is_undone_so(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    about: dict[str, str],
    brand: bool,
) -> None:
    target = link(api, ALICE.value, **about)
    gone = Gone(opened, cast, brand)
    person = Person(client, target)
    person.press("Unsubscribe")
    person.press("Undo")
    assert person.page.h1.startswith("Undone.")
    gone.come_back()
    assert reasons(api, ALICE.value)[2] == "no_objection"


@WHAT
def test_everything_can_be_left_from_there_too(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    about: dict[str, str],
    brand: bool,
) -> None:
    target = link(api, ALICE.value, **about)
    Gone(opened, cast, brand)
    person = Person(client, target)
    person.press("Unsubscribe from all marketing from Acme Group")
    assert "all marketing from Acme Group" in person.page.h1
    assert reasons(api, ALICE.value)[0] == "opted_out"


@WHAT
def test_history_and_changes_do_not_call_it_all(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    about: dict[str, str],
    brand: bool,
) -> None:
    target = link(api, ALICE.value, **about)
    client.post(target, data={"List-Unsubscribe": "One-Click"})
    Gone(opened, cast, brand)
    client.post(target, data={"List-Unsubscribe": "One-Click"})
    alice = {"channel": "email", "address": ALICE.value}
    history = api("POST", "/v1/history", alice).get_json()["events"][-2:]
    changes = api("GET", "/v1/changes").get_json()["changes"][-2:]
    outs = api("POST", "/v1/standing", alice).get_json()["outs"]
    what = next(iter(about))
    for entry in (*history, *changes, *outs):
        assert entry["scope"]["gone"] == what
        assert not {"all", what} & entry["scope"].keys()
    # Said as well in the commands and files.
    tenant: Tenant = opened.directory.latest.tenants[cast.tenant.id]
    tips = cast.tenant.topic("trail-tips").scope
    for scope in (tips, Scope(0, tips.topic)) if what == "topic" else (Scope(tips.brand),):
        assert tenant.told(scope) == f"a {what} that is gone"


def test_a_form_that_still_shows_the_topic_is_saved_for_the_rest_and_says_that_something_changed(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = Person(client, link(api, ALICE.value, "preferences", **NEWS))
    gone = Gone(opened, cast, False)
    before = history(opened, cast, ALICE)
    page = person.press("Save", events=False, trail_tips=False)
    assert "Something changed meanwhile" in page.text
    assert "Events by email: You are unsubscribed." in page.heard["li"]
    assert "Trail tips" not in page.text
    said = [entry.event.kind for entry in history(opened, cast, ALICE)[len(before) :]]
    assert said == [Kind.OUT]
    gone.come_back()
    assert reasons(api, ALICE.value) == ["consent", "opted_out", "no_objection"]


def test_a_preference_link_of_a_brand_that_is_gone_shows_the_others(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, ALICE.value, "preferences", **OUTDOOR)
    api.put(ALICE.value, "snooze", scope={"brand": "outdoor"}, until="2027-01-01T00:00:00Z")
    Gone(opened, cast, True)
    person = Person(client, target)
    assert person.page.ticked() == {"product-news", "events"}
    assert "Everything is paused" not in person.page.text
    person.press("Save", events=False)
    person.press("Unsubscribe from everything")
    assert reasons(api, ALICE.value)[0] == "opted_out"
