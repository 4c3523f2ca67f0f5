"""Undo takes back what the page it stands on has just done, on every address, and nothing else."""

import re

import pytest
from flask.testing import FlaskClient

from prefs import ledger
from prefs.address import Address, Channel
from prefs.demo import ALICE, BOB, FRANK, Cast
from prefs.installation import Installation
from prefs.links import Action, Claim, undo_of
from prefs.policy import ALL, Authority, Event, Kind, Voice
from tests.conftest import Api, Clock
from tests.test_leave_page import NEWS, Page, Person, history, link, reasons, record
from tests.test_person_page import APP, WORK, chooser, joined, key, sms, tick


def tokens(page: Page) -> list[str]:
    form, _ = page.button("Undo")
    return [value for name, value in form["fields"] if name == "undo"]


def test_a_save_is_undone_whole_and_the_history_keeps_both(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api, BOB)
    before = reasons(api, BOB.value)
    said = history(opened, cast, BOB)
    most = {"most.product-news": "2"}
    person.press("Save", chosen=most, events=True, trail_tips=False)
    assert reasons(api, BOB.value) == ["opted_out", "consent", "opted_out"]
    person.press("Undo")
    assert reasons(api, BOB.value) == before
    after = history(opened, cast, BOB)
    assert after[: len(said)] == said
    kinds = [entry.event.kind for entry in after[len(said) :]]
    assert sorted(kinds[:-1]) == sorted([Kind.IN, Kind.OUT, Kind.LIMIT])
    assert kinds[-1] is Kind.RETRACT
    assert after[-1].event.retracts == (2, 3, 4)
    with opened.database.reading() as connection:
        assert list(ledger.replay(connection, cast.tenant.id)) == []


def test_a_save_across_addresses_is_undone_across_addresses(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK, WORK)
    person = chooser(client, api)
    tick(person, cast, FRANK, "product-news", False)
    assert len(tokens(person.page)) == 1
    person.press("Undo")
    assert sms(api) == "consent"
    for pause in ("For a week", "For a month"):
        person.press(pause)
        assert sms(api) == reasons(api, ALICE.value)[0] == "snoozed"
        person.press("Undo")
        assert sms(api) == reasons(api, ALICE.value)[0] == "consent"
    with opened.database.reading() as connection:
        assert list(ledger.replay(connection, cast.tenant.id)) == []


@pytest.mark.parametrize("seconds", [0, 9])
def test_a_double_click_on_save_is_one_press_and_undone_as_one(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock, seconds: int
) -> None:
    joined(opened, cast, BOB, FRANK)
    before = reasons(api, BOB.value)
    person = chooser(client, api, BOB)
    shown = person.page
    for _ in range(2):
        person.page = shown
        person.press("Save", events=True, trail_tips=False)
        clock.forward(seconds=seconds)
    assert "Events by email: You will get it." in person.page.heard["li"]
    assert "Trail tips by email: You are unsubscribed." in person.page.heard["li"]
    person.press("Undo")
    assert reasons(api, BOB.value) == before


def test_a_double_click_on_leave_everything_is_undone_on_every_address(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, FRANK)
    person = chooser(client, api)
    shown = person.page
    for _ in range(2):
        person.page = shown
        person.press("Unsubscribe from everything")
        clock.forward(seconds=2)
    person.press("Undo")
    assert sms(api) == "consent"
    assert reasons(api, ALICE.value) == ["consent", "consent", "no_objection"]


def test_the_others_own_press_a_moment_before_is_not_taken_for_the_first_click(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    # Whoever holds a forwarded mail of one address must not lift the no of another.
    joined(opened, cast, ALICE, FRANK)
    mine, theirs = chooser(client, api, ALICE), chooser(client, api, FRANK)
    tick(theirs, cast, FRANK, "product-news", False)
    clock.forward(seconds=3)
    shown = mine.page
    tick(mine, cast, FRANK, "product-news", False)
    assert not mine.page.shows("Undo")
    mine.page = shown
    mine.press("Unsubscribe from everything")
    mine.press("Undo")
    assert reasons(api, ALICE.value)[0] == "consent"
    assert sms(api) == "opted_out"


def test_another_doors_no_a_moment_before_is_not_taken_for_the_first_click(
    client: FlaskClient, api: Api, clock: Clock
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    api.put(ALICE.value, "out", scope={"topic": "product-news"}, door="phone")
    clock.forward(seconds=3)
    assert not person.press("Unsubscribe").shows("Undo")
    assert api.check(ALICE.value)["reason"] == "opted_out"


def test_an_old_no_of_another_address_is_not_lifted_by_pressing_and_undoing(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, FRANK)
    record(opened, cast, FRANK, Event(Kind.OUT, clock.now, ALL, Voice.PERSON, Authority.PERSON))
    clock.forward(days=3)
    person = chooser(client, api)
    person.press("Unsubscribe from everything")
    person.press("Undo")
    assert reasons(api, ALICE.value)[0] == "consent"
    assert sms(api) == "opted_out"


def test_an_undo_belongs_to_the_page_that_offered_it(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    mine, theirs = chooser(client, api, ALICE), chooser(client, api, FRANK)
    theirs.press("Unsubscribe from everything")
    undo = tokens(theirs.page)
    target = link(api, ALICE.value, "preferences")
    for token in undo:
        assert client.post(target, data={"undo": token}).status_code == 404
    assert sms(api) == reasons(api, ALICE.value)[0] == "opted_out"
    # What Frank's page did to Alice is not hers to undo by her own link either, but by leave to.
    assert (
        client.post(link(api, FRANK.value, "preferences"), data={"undo": undo}).status_code == 200
    )
    assert sms(api) == reasons(api, ALICE.value)[0] == "consent"
    assert mine.page.shows("Unsubscribe from everything")


def test_an_undo_works_for_an_hour_and_all_of_it_or_none(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, FRANK)
    person = chooser(client, api)
    person.press("Unsubscribe from everything")
    clock.forward(minutes=60, seconds=1)
    left = person.page
    person.press("Undo", status=404)
    target = link(api, ALICE.value, "preferences")
    clock.forward(seconds=-1)
    good = tokens(left)
    assert client.post(target, data={"undo": [good[0], good[1][:-1]]}).status_code == 404
    assert sms(api) == reasons(api, ALICE.value)[0] == "opted_out"
    assert client.post(target, data={"undo": good * 50}).status_code == 200
    assert sms(api) == reasons(api, ALICE.value)[0] == "consent"


def test_an_undo_of_the_release_before_is_good_for_its_own_address(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    client.post(link(api, ALICE.value, "preferences"), data={"leave": "all"})
    digest = cast.tenant.digest(ALICE)
    claim = Claim(Action.UNDO, cast.tenant.id, Channel.EMAIL, digest, ALL)
    token = opened.links.sign(undo_of(claim, 3, 3, clock.now, digest))
    answer = client.post(link(api, ALICE.value, "preferences"), data={"undo": token})
    assert answer.status_code == 200
    assert reasons(api, ALICE.value)[0] == "consent"


def test_undo_twice_and_in_two_tabs_is_undo_once(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    one, two = chooser(client, api), chooser(client, api)
    one.press("Unsubscribe from everything")
    two.press("Unsubscribe from everything")
    one.press("Undo")
    if two.page.shows("Undo"):
        two.press("Undo")
    left = history(opened, cast, FRANK)
    assert [e.event.kind for e in left[:4]] == [Kind.IN, Kind.IN, Kind.OUT, Kind.OUT]
    with opened.database.reading() as connection:
        assert list(ledger.replay(connection, cast.tenant.id)) == []


def test_a_no_said_elsewhere_since_is_not_undone(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, FRANK)
    person = chooser(client, api)
    person.press("Unsubscribe from everything")
    clock.forward(minutes=1)
    client.post(link(api, FRANK.value), data={"List-Unsubscribe": "One-Click"})
    person.press("Undo")
    assert sms(api) == "opted_out"
    assert reasons(api, ALICE.value)[0] == "consent"


def test_a_no_that_a_replaced_device_passed_on_is_undone_with_it(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    news = Address(Channel.PUSH, "fcm:alices-newer-app")
    joined(opened, cast, ALICE, APP, news)
    tenant = cast.tenant
    old, new = (ledger.Subject.of(tenant, one) for one in (APP, news))
    with opened.database.writing() as connection:
        ledger.replace_token(connection, tenant.id, old, new)
    person = chooser(client, api)
    person.press("Unsubscribe from everything")
    assert api.check(news.value, channel="push")["reason"] == "opted_out"
    person.press("Undo")
    assert api.check(news.value, channel="push")["reason"] == "consent"


def test_the_token_of_an_undo_names_no_address(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    page = chooser(client, api).press("Unsubscribe from everything")
    assert len(tokens(page)) == 2
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+", token) for token in tokens(page))
    assert key(cast, FRANK) in page.html
