"""A pause lasts until its date, and a limit is told to senders. A page makes both stricter on every
address, and looser on its own alone."""

import pytest
from flask.testing import FlaskClient

from prefs import ledger
from prefs.address import Address
from prefs.demo import ALICE, FRANK, Cast
from prefs.installation import Installation
from tests.conftest import Api, Clock
from tests.test_leave_page import ONE_STORE, history, link, reasons
from tests.test_person_page import chooser, joined, key, sms

MOST = "most.product-news"


def limits(opened: Installation, cast: Cast, address: Address) -> list[int]:
    with opened.database.reading() as connection:
        found = ledger.standing(connection, cast.tenant.id, cast.tenant.digest(address))
    return [limit.per_week for limit in found.limits]


# --- pause ---


@pytest.mark.parametrize(
    ("button", "days"), [("For a week", 7), ("For a month", 30), ("For three months", 91)]
)
def test_everything_is_paused_until_the_date_on_every_address_and_then_goes_on(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    clock: Clock,
    button: str,
    days: int,
) -> None:
    joined(opened, cast, ALICE, FRANK)
    page = chooser(client, api).press(button)
    assert "All marketing: Paused until" in page.text
    assert "Everything is paused until" in page.text
    clock.forward(days=days, seconds=-1)
    assert reasons(api, ALICE.value) == ["snoozed"] * 3
    assert sms(api) == "snoozed"
    assert api.check(ALICE.value, "order-updates")["allowed"] is True
    clock.forward(seconds=1)
    assert reasons(api, ALICE.value) == ["consent", "consent", "no_objection"]
    assert sms(api) == "consent"


def test_one_brand_is_paused_and_the_other_goes_on(client: FlaskClient, api: Api) -> None:
    page = chooser(client, api).press("For a week", chosen={"pause_what": "acme"})
    assert "Messages from Acme are paused until" in page.text
    assert reasons(api, ALICE.value) == ["snoozed", "snoozed", "no_objection"]


def test_a_pause_is_ended_on_its_own_address_and_nowhere_else(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    person = chooser(client, api)
    person.press("For a month")
    person.press("End the pause")
    assert "All marketing: The pause is over." in person.page.heard["li"]
    assert "Everything is paused" not in person.page.text
    assert reasons(api, ALICE.value)[0] == "consent"
    assert sms(api) == "snoozed"
    person.press("Undo")
    assert reasons(api, ALICE.value)[0] == "snoozed"


def test_a_shorter_pause_of_another_address_is_not_put_in_place_of_a_longer_one(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, FRANK)
    chooser(client, api, FRANK).press("For three months")
    target = link(api, ALICE.value, "preferences")
    saw = f"{key(cast, ALICE)}:99 {key(cast, FRANK)}:99"
    for _ in range(2):
        client.post(target, data={"pause": "week", "pause_what": "all", "saw": saw})
    clock.forward(days=90)
    assert sms(api) == "snoozed"


@pytest.mark.parametrize("how", ["stale form", "old link"])
def test_neither_a_stale_form_nor_an_old_link_shortens_or_ends_a_pause(
    client: FlaskClient, api: Api, clock: Clock, opened: Installation, cast: Cast, how: str
) -> None:
    old = chooser(client, api)
    if how == "old link":
        clock.forward(days=61)
    chooser(client, api).press("For three months")
    saw = "99" if how == "old link" else "2"
    page = old.press("For a week")
    assert "Paused until" in page.text
    with opened.database.reading() as connection:
        digest = cast.tenant.digest(ALICE)
        (snooze,) = ledger.standing(connection, cast.tenant.id, digest).snoozes
    assert snooze.until == clock.now + 91 * 24 * 3600 * 1000
    answer = client.post(old.page.forms[0]["to"], data={"resume": "all", "saw": saw})
    assert "The pause is over." not in answer.text
    assert reasons(api, ALICE.value) == ["snoozed"] * 3


def test_while_everything_is_paused_everything_can_still_be_left(
    client: FlaskClient, api: Api, clock: Clock
) -> None:
    person = chooser(client, api)
    person.press("For a week")
    person.press("Unsubscribe from everything")
    clock.forward(days=8)
    assert reasons(api, ALICE.value) == ["opted_out"] * 3


def test_saving_the_page_as_it_is_changes_no_pause(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api)
    person.press("For a week")
    before = history(opened, cast, ALICE)
    person.press("Save")
    assert history(opened, cast, ALICE) == before


# --- limit ---


def test_a_limit_is_kept_on_every_address_and_told_with_each_decision(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    page = chooser(client, api).press("Save", chosen={MOST: "2"})
    assert "Product news: At most 2 a week" in page.heard["li"]
    for address, channel in ((ALICE, "email"), (FRANK, "sms")):
        decision = api.check(address.value, channel=channel)
        assert (decision["allowed"], decision["notes"]) == (True, ["at_most_2_a_week"])
    assert page.chosen[MOST] == "2"
    assert limits(opened, cast, ALICE) == limits(opened, cast, FRANK) == [2]


def test_more_messages_again_is_for_the_pages_own_address_alone(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    person = chooser(client, api)
    person.press("Save", chosen={MOST: "1"})
    person.press("Save", chosen={MOST: "0"})
    assert "Product news: No limit" in person.page.heard["li"]
    assert person.page.chosen[MOST] == "0"
    assert (limits(opened, cast, ALICE), limits(opened, cast, FRANK)) == ([], [1])


def test_a_stale_form_loosens_no_limit_and_shows_what_holds(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    chooser(client, api).press("Save", chosen={MOST: "4"})
    stale, shown = chooser(client, api), chooser(client, api)
    chooser(client, api).press("Save", chosen={MOST: "1"})
    for wanted in ("2", "0"):
        page = stale.press("Save", chosen={MOST: wanted})
        assert "Something changed meanwhile" in page.text
        assert limits(opened, cast, ALICE) == [1]
        stale.page = shown.page
    page = stale.press("Save")
    assert "Something changed meanwhile" in page.text
    assert page.chosen[MOST] == "1"


def test_a_limit_that_the_topic_does_not_offer_is_no_limit(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, ALICE.value, "preferences")
    before = history(opened, cast, ALICE)
    for number in ("3", "-1", "x", "1e3", "²"):
        form = {"shown": "", "limits": "product-news:7 trail-tips:0", MOST: number}
        client.post(target, data={**form, "most.trail-tips": "1"} if number == "3" else form)
    said = history(opened, cast, ALICE)[len(before) :]
    assert all(entry.event.per_week == 0 for entry in said)
    assert limits(opened, cast, ALICE) == []


@ONE_STORE
def test_through_an_old_link_a_limit_is_made_stricter_and_not_looser(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    person = chooser(client, api)
    clock.forward(days=61)
    person.press("Save", chosen={MOST: "2"})
    assert limits(opened, cast, ALICE) == [2]
    page = person.press("Save", chosen={MOST: "4"})
    assert "Product news: It cannot be turned on from here." in page.heard["li"]
    assert limits(opened, cast, ALICE) == [2]
