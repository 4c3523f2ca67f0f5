"""The preference page: it saves exactly what was changed on it, and its no always holds."""

import pytest
from flask.testing import FlaskClient

from prefs import rights
from prefs.address import Address, Channel
from prefs.demo import ALICE, BOB, CAROL, DAVE, ERIN, Cast
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.policy import Authority, Block, Event, Kind, Outcome
from tests.conftest import Api, Clock
from tests.test_check import taken_away
from tests.test_leave_page import GRACE, NEWS, ONE_STORE, Person, history, link, reasons, record


def chooser(client: FlaskClient, api: Api, address: str, **about: str) -> Person:
    return Person(client, link(api, address, "preferences", **about))


# --- saving ---


@ONE_STORE
def test_it_shows_what_the_person_gets_and_why(client: FlaskClient, api: Api) -> None:
    page = chooser(client, api, ALICE.value).page
    assert page.ticked() == {"product-news", "events", "trail-tips"}
    assert "You asked for this on 16 April 2026." in page.text
    assert "You have not objected." in page.text
    page = chooser(client, api, BOB.value).page
    assert page.ticked() == {"trail-tips"}
    assert "You unsubscribed on 21 October 2026." in page.text
    assert "You have not asked for this." in page.text


@ONE_STORE
def test_a_link_of_one_brand_shows_that_brand_first(client: FlaskClient, api: Api) -> None:
    page = chooser(client, api, ALICE.value, **NEWS).page
    assert page.heard["h2"][:2] == ["Acme", "Acme Outdoor"]
    page = chooser(client, api, ALICE.value, brand="outdoor").page
    assert page.heard["h2"][:2] == ["Acme Outdoor", "Acme"]
    assert page.ticked() == {"product-news", "events", "trail-tips"}


def test_saved_is_exactly_what_was_changed(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api, BOB.value)
    person.press("Save", events=True, trail_tips=False)
    assert person.page.ticked() == {"events"}
    assert reasons(api, BOB.value) == ["opted_out", "consent", "opted_out"]
    new = history(opened, cast, BOB)[1:]
    said = [(entry.event.kind, entry.event.scope) for entry in new]
    events, tips = (cast.tenant.topic(slug).scope for slug in ("events", "trail-tips"))
    assert sorted(said) == sorted([(Kind.IN, events), (Kind.OUT, tips)])
    told = {"Events by email: You will get it.", "Trail tips by email: You are unsubscribed."}
    assert told <= set(person.page.heard["li"])


def test_saving_without_a_change_says_nothing(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    before = history(opened, cast, ALICE)
    person = chooser(client, api, ALICE.value)
    person.press("Save")
    assert "Saved" not in person.page.text
    assert history(opened, cast, ALICE) == before


def test_an_empty_or_strange_form_says_nothing(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, ALICE.value, "preferences")
    before = history(opened, cast, ALICE)
    strange: list[dict[str, str]] = [
        {},
        {"saw": "2"},
        {"on": "events"},
        {"on": "trail-tips", "saw": "999"},
        {"shown": "", "saw": "x"},
        {"shown": "nothing of ours", "on": "order-updates", "saw": "9" * 40},
        {"shown": "order-updates account-security", "saw": "2"},
        {"leave": "some"},
        {"List-Unsubscribe": "x\x00", "shown\x00": "events"},
    ]
    for form in strange:
        assert client.post(target, data=form).status_code == 200
    for body, kind in ((b"\xff\x00", "multipart/form-data; boundary=x"), (b"{}", "text/plain")):
        assert client.post(target, data=body, content_type=kind).status_code == 200
    assert history(opened, cast, ALICE) == before


def test_unticking_every_topic_is_no_no_to_topics_to_come(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api, ALICE.value)
    person.press("Save", product_news=False, events=False, trail_tips=False)
    new = history(opened, cast, ALICE)[2:]
    assert len(new) == 3
    assert all(entry.event.scope.topic is not None for entry in new)
    topic = {
        "slug": "new",
        "brand": "acme",
        "title": "New",
        "purpose": "marketing",
        "channels": {"email": "opt_out"},
    }
    api("POST", "/v1/topics", topic)
    assert api.check(ALICE.value, "new")["reason"] == "no_objection"


@ONE_STORE
def test_a_topic_that_was_not_on_the_page_is_not_touched(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api, ALICE.value, brand="acme")
    person.press("Save", product_news=False, events=False)
    assert reasons(api, ALICE.value) == ["opted_out", "opted_out", "no_objection"]


def test_everything_can_be_left_and_that_undone(client: FlaskClient, api: Api) -> None:
    before = reasons(api, ALICE.value)
    person = chooser(client, api, ALICE.value)
    person.press("Unsubscribe from everything")
    assert "All marketing: You are unsubscribed." in person.page.text
    assert person.page.ticked() == set()
    assert reasons(api, ALICE.value) == ["opted_out"] * 3
    person.press("Undo")
    assert "Undone." in person.page.text
    assert reasons(api, ALICE.value) == before


def test_after_leaving_everything_a_topic_ticked_is_that_topic_only(
    client: FlaskClient, api: Api
) -> None:
    person = chooser(client, api, ALICE.value)
    person.press("Unsubscribe from everything")
    person.press("Save", trail_tips=True)
    assert person.page.ticked() == {"trail-tips"}
    assert "You get only what is ticked below." in person.page.text
    assert reasons(api, ALICE.value) == ["opted_out", "opted_out", "consent"]
    person.press("Save", trail_tips=False)
    assert reasons(api, ALICE.value) == ["opted_out"] * 3


def test_a_yes_is_stored_with_the_words_and_the_browser_it_came_from(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    chooser(client, api, GRACE).press("Save", events=True)
    (heard,) = history(opened, cast, Address.parse(Channel.EMAIL, GRACE))
    assert (heard.event.basis, heard.event.door) == ("express", "preference page")
    assert heard.event.authority is Authority.PERSON
    assert heard.evidence
    assert heard.evidence["ip"] == "127.0.0.1"
    assert heard.evidence["user_agent"].startswith("Werkzeug")
    assert heard.evidence["wording title"] == "Events"
    assert heard.evidence["wording description"] == "Invitations to meetings near you."
    assert heard.evidence["wording"] == "Tick what you want to get."
    assert heard.evidence["wording language"] == "en"


# --- a form that is out of date ---


def test_of_a_stale_form_the_no_is_applied_and_a_yes_over_a_later_no_is_not(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    person = chooser(client, api, BOB.value)
    clock.forward(minutes=5)
    client.post(link(api, BOB.value, **NEWS), data={"List-Unsubscribe": "One-Click"})
    person.press("Save", product_news=True, trail_tips=False)
    assert "Something changed meanwhile" in person.page.text
    assert "Product news by email: You will get it." not in person.page.text
    assert "Trail tips by email: You are unsubscribed." in person.page.text
    assert reasons(api, BOB.value) == ["opted_out", "no_consent", "opted_out"]
    assert Outcome.REFUSED in [entry.outcome for entry in history(opened, cast, BOB)]
    person.press("Save", product_news=True)
    assert reasons(api, BOB.value)[0] == "consent"


def test_of_a_stale_form_a_tick_that_was_only_shown_is_no_yes(
    client: FlaskClient, api: Api
) -> None:
    person = chooser(client, api, ALICE.value)
    client.post(link(api, ALICE.value, **NEWS), data={"leave": "all"})
    person.press("Save", events=False)
    assert reasons(api, ALICE.value) == ["opted_out"] * 3
    assert "Something changed meanwhile" in person.page.text
    assert person.page.ticked() == set()


def test_a_stale_form_whose_picture_is_still_true_is_simply_saved(
    client: FlaskClient, api: Api
) -> None:
    person = chooser(client, api, ALICE.value)
    chooser(client, api, ALICE.value).press("Save", trail_tips=False)
    person.press("Save", trail_tips=False, events=False)
    assert "Something changed meanwhile" not in person.page.text
    assert reasons(api, ALICE.value) == ["consent", "opted_out", "opted_out"]


# --- what cannot be turned on ---


def test_a_complaint_cannot_be_lifted_from_the_page(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, CAROL.value, "preferences")
    person = Person(client, target)
    assert not person.page.shows("Save")
    assert "You reported a message as spam" in person.page.text
    assert "You unsubscribed from all" not in person.page.text
    before = history(opened, cast, CAROL)
    answer = client.post(target, data={"shown": "", "saw": "9", "on": "product-news"})
    assert "It cannot be turned on from here." in answer.text
    assert reasons(api, CAROL.value) == ["complained"] * 3
    assert history(opened, cast, CAROL) == before


def test_nor_can_an_erasure_or_a_block(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    bounced = Event(Kind.BLOCK, clock.now, block=Block.HARD_BOUNCE)
    record(opened, cast, Address.parse(Channel.EMAIL, GRACE), bounced)
    for address, reason in ((ERIN.value, "erased"), (GRACE, "hard_bounce")):
        target = link(api, address, "preferences")
        assert Person(client, target).page.shows("Save") is (address == GRACE)
        client.post(target, data={"shown": "", "saw": "9", "on": "product-news"})
        assert api.check(address)["reason"] == reason


def test_an_old_link_leaves_and_turns_nothing_on(
    client: FlaskClient, api: Api, clock: Clock
) -> None:
    target = link(api, BOB.value, "preferences")
    clock.forward(days=60)
    assert Person(client, target).page.shows("Save")
    clock.forward(seconds=1)
    person = Person(client, target)
    assert "Before something is turned on, we send a message to the address" in person.page.text
    person.press("Save", product_news=True)
    assert "Product news by email: We are asking there first" in person.page.text
    assert reasons(api, BOB.value) == ["opted_out", "no_consent", "no_objection"]
    person.press("Save", trail_tips=False)
    assert reasons(api, BOB.value)[2] == "opted_out"
    clock.forward(days=3650)
    Person(client, target).press("Unsubscribe from everything")
    assert reasons(api, BOB.value) == ["opted_out"] * 3


def test_the_choices_reached_from_an_unsubscribe_link_turn_nothing_on(
    client: FlaskClient, api: Api
) -> None:
    person = Person(client, link(api, BOB.value, **NEWS))
    person.press("Unsubscribe")
    target = person.page.links["See your other choices"]
    person.go(target)
    client.post(target, data={"shown": "", "saw": "9", "on": "product-news"})
    assert api.check(BOB.value)["reason"] == "opted_out"
    person.press("Unsubscribe from everything")
    assert reasons(api, BOB.value)[2] == "opted_out"


def test_a_link_turns_nothing_on_for_another_address_whatever_is_added(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, GRACE, "preferences")
    others = (ALICE, BOB, CAROL)
    before = [history(opened, cast, other) for other in others]
    added = dict.fromkeys(("address", "email", "digest", "token", "tenant", "person"), BOB.value)
    form = {"shown": "", "saw": "9", "on": ["product-news", "events"], **added}
    assert client.post(target, data=form, query_string=added).status_code == 200
    assert [history(opened, cast, other) for other in others] == before
    assert api.check(GRACE, "events")["reason"] == "consent"


@ONE_STORE
def test_a_transactional_topic_is_shown_and_cannot_be_switched(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, ALICE.value, "preferences")
    before = history(opened, cast, ALICE)
    assert "Order updates" in Person(client, target).page.heard["li"]
    client.post(target, data={"shown": "order-updates", "saw": "2"})
    client.post(target, data={"shown": "", "on": "order-updates", "saw": "2"})
    assert history(opened, cast, ALICE) == before
    assert api.check(ALICE.value, "order-updates")["allowed"] is True


@ONE_STORE
def test_over_a_stop_the_page_says_that_a_start_is_needed_too(
    client: FlaskClient, api: Api
) -> None:
    person = chooser(client, api, DAVE.value)
    assert "You replied STOP on 30 October 2026." in person.page.text
    person.press("Save", product_news=True)
    assert "No text message reaches you until you also text START" in person.page.text
    decision = api.check(DAVE.value, channel="sms")
    assert decision["allowed"] is True
    assert "carrier_will_block" in decision["notes"]
    assert "text START" not in chooser(client, api, ALICE.value).page.text


# --- the rest ---


@ONE_STORE
def test_an_erased_person_is_named_to_nobody(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, ALICE.value, "preferences")
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, ALICE), opened.clock())
    page = Person(client, target).page
    assert "Emails to this address" in page.text
    assert "@e" not in page.text


@ONE_STORE
def test_a_topic_on_another_channel_is_not_shown(client: FlaskClient, api: Api) -> None:
    page = chooser(client, api, DAVE.value).page
    assert "Text messages to +1•••••••04" in page.text
    assert "Trail tips" not in page.text


@ONE_STORE
def test_the_answer_to_saving_is_the_page_itself_and_can_be_saved_again(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api, ALICE.value)
    for wanted in (False, True, False, True):
        person.press("Save", events=wanted)
        assert ("events" in person.page.ticked()) is wanted
    assert len(history(opened, cast, ALICE)) == 6


def test_a_double_click_on_save_changes_nothing_twice(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api, ALICE.value)
    shown = person.page
    for _ in range(2):
        person.page = shown
        person.press("Save", events=False)
    assert reasons(api, ALICE.value) == ["consent", "opted_out", "no_objection"]
    person.page = shown = chooser(client, api, BOB.value).page
    for _ in range(2):
        person.page = shown
        person.press("Save", events=True)
    assert reasons(api, BOB.value)[1] == "consent"
    assert "Not saved" not in person.page.text


def test_words_without_the_store_are_refused_with_a_page(
    client: FlaskClient, api: Api, opened: Installation, request: pytest.FixtureRequest
) -> None:
    target = link(api, ALICE.value, "preferences")
    with taken_away(opened, request):
        for answer in (client.get(target), client.post(target, data={"leave": "all"})):
            assert (answer.status_code, answer.mimetype) == (503, "text/html")
            assert "Nothing has changed" in answer.text
    assert reasons(api, ALICE.value)[0] == "consent"
