"""The switches in an app: off holds for ever, on is the person's own, a link is one device's."""

from dataclasses import replace
from typing import Any

import pytest
from flask.testing import FlaskClient

from prefs import directory, ledger
from prefs.address import Address, Channel
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.links import MAY_TURN_ON_FOR, Action, Links
from prefs.policy import ALL, Event, Kind, Mode, Purpose, Voice
from prefs.web import shortcut
from tests.conftest import NOON, Api, Clock
from wsgi import create_app

PHONE, TABLET = "fcm:phone", "fcm:tablet"
NEWS = "product-news"


class Device:
    """An app on one device, which was handed its link."""

    def __init__(self, api: Api, address: str, path: str | None = None) -> None:
        self.client, self.address = api.client, address
        self.path = path or link_of(api, address)

    def get(self) -> dict[str, Any]:
        answer = self.client.get(self.path)
        assert answer.status_code == 200, answer.get_data(as_text=True)
        shown: dict[str, Any] = answer.get_json()
        return shown

    def on(self, slug: str = NEWS) -> bool:
        return {topic["slug"]: bool(topic["on"]) for topic in self.get()["topics"]}[slug]

    def put(self, **press: Any) -> Any:
        return self.client.put(self.path, json=press, headers={"User-Agent": "the app/3"})


def link_of(api: Api, address: str) -> str:
    asked = {"items": [{"channel": "push", "address": address, "topic": NEWS, "campaign": "x"}]}
    url: str = api("POST", "/v1/links", asked).get_json()["items"][0]["device"]
    assert url.startswith("https://prefs.example.com/d/")
    return url.removeprefix("https://prefs.example.com")


def heard(api: Api, address: str) -> list[dict[str, Any]]:
    asked = {"channel": "push", "address": address}
    events: list[dict[str, Any]] = api("POST", "/v1/history", asked).get_json()["events"]
    return events


@pytest.fixture
def phone(api: Api) -> Device:
    return Device(api, PHONE)


@pytest.fixture
def reported(opened: Installation, cast: Cast) -> Subject:
    """A phone whose owner reported a message as spam."""
    subject = Subject.of(cast.tenant, Address(Channel.PUSH, PHONE))
    complaint = Event(Kind.OUT, NOON, ALL, Voice.COMPLAINT, door="feedback loop")
    with opened.database.writing() as connection:
        ledger.record(connection, cast.tenant.id, Said(subject, complaint))
    return subject


# --- shown ---


def test_it_shows_the_marketing_topics_sent_by_push_and_writes_nothing(
    api: Api, phone: Device
) -> None:
    shown = phone.get()
    assert shown == {
        "seq": 0,
        "topics": [
            {"slug": NEWS, "title": "Product news", "on": False, "reason": "no_consent"},
        ],
    }
    assert phone.get() == shown
    assert phone.client.head(phone.path).status_code == 200
    assert heard(api, PHONE) == []


def test_it_shows_those_of_every_brand(
    api: Api, phone: Device, opened: Installation, cast: Cast
) -> None:
    tenant = cast.tenant
    with opened.database.writing() as connection:
        directory.add_topic(
            connection, tenant.id, tenant.brand("outdoor").id, "snow", "Snow", "",
            Purpose.MARKETING, {Channel.PUSH: Mode.OPT_OUT}, NOON,
        )  # fmt: skip
    opened.directory.refresh()
    assert {topic["slug"]: topic["on"] for topic in phone.get()["topics"]} == {
        NEWS: False,
        "snow": True,
    }


def test_it_tells_until_when_everything_is_paused(api: Api, phone: Device, clock: Clock) -> None:
    until = "2026-11-10T12:00:00.000Z"
    said = {"channel": "push", "scope": {"all": True}, "until": until}
    assert api.put(PHONE, "snooze", **said).status_code == 200
    assert phone.get()["paused_until"] == until
    clock.forward(days=9)
    assert "paused_until" not in phone.get()


def test_only_a_push_token_has_such_a_link(api: Api) -> None:
    asked = {"items": [{"channel": "email", "address": "a@example.org"}]}
    assert "device" not in api("POST", "/v1/links", asked).get_json()["items"][0]


# --- pressed ---


def test_a_press_turns_a_topic_on_and_another_turns_it_off(api: Api, phone: Device) -> None:
    answer = phone.put(topic=NEWS, on=True, saw=phone.get()["seq"], wording="Product news")
    assert answer.status_code == 200
    assert answer.get_json() == phone.get()
    assert api.check(PHONE, channel="push")["allowed"] is True
    assert phone.put(topic=NEWS, on=False).get_json()["topics"][0]["reason"] == "opted_out"
    assert api.check(PHONE, channel="push")["allowed"] is False


def test_what_was_pressed_is_the_persons_word_with_its_evidence(api: Api, phone: Device) -> None:
    phone.put(topic=NEWS, on=True, saw=0, wording="Product news, twice a month")
    phone.put(topic=NEWS, on=False)
    yes, no = heard(api, PHONE)
    assert (yes["what"], yes["authority"], yes["basis"]) == ("in", "person", "express")
    assert (yes["saw"], yes["door"]) == (0, "app switch")
    assert yes["evidence"] == {
        "ip": "127.0.0.1",
        "user_agent": "the app/3",
        "wording": "Product news, twice a month",
    }
    assert (no["what"], no["voice"], no["door"]) == ("out", "person", "app switch")
    assert no["scope"] == {"brand": "acme", "topic": NEWS}


def test_everything_is_turned_off_at_once(api: Api, phone: Device) -> None:
    phone.put(topic=NEWS, on=True, saw=0)
    assert phone.put(all=True, on=False).status_code == 200
    assert phone.on() is False
    assert heard(api, PHONE)[-1]["scope"] == {"all": True}
    assert phone.put(topic=NEWS, on=True, saw=2).status_code == 200
    assert phone.on() is True


def test_pressing_off_again_is_no_error(phone: Device) -> None:
    for _ in range(3):
        assert phone.put(topic=NEWS, on=False).status_code == 200
    assert phone.on() is False


def test_on_over_a_no_that_was_not_seen_is_refused_with_what_holds_now(
    api: Api, phone: Device
) -> None:
    saw = phone.get()["seq"]
    api.put(PHONE, "out", channel="push", scope={"all": True}, door="support call")
    answer = phone.put(topic=NEWS, on=True, saw=saw)
    assert answer.status_code == 409
    assert answer.content_type == "application/problem+json"
    state = answer.get_json()
    assert state["topics"] == phone.get()["topics"]
    assert state["seq"] == phone.get()["seq"] == 2, "the refusal is on record"
    assert phone.on() is False
    assert phone.put(topic=NEWS, on=True, saw=state["seq"]).status_code == 200
    assert phone.on() is True


def test_nobody_has_seen_what_has_not_happened(api: Api, phone: Device) -> None:
    phone.put(topic=NEWS, on=False)
    assert phone.put(topic=NEWS, on=True, saw=10**9).status_code == 409
    assert phone.on() is False


def test_a_press_does_not_take_back_a_spam_complaint(
    api: Api, phone: Device, reported: Subject
) -> None:
    answer = phone.put(topic=NEWS, on=True, saw=phone.get()["seq"])
    assert answer.status_code == 409
    assert answer.get_json()["topics"][0]["reason"] == "complained"
    assert phone.on() is False


def test_an_old_link_turns_nothing_on_and_turns_off_for_ever(
    api: Api, phone: Device, clock: Clock
) -> None:
    clock.now += MAY_TURN_ON_FOR
    assert phone.put(topic=NEWS, on=True, saw=0).status_code == 200
    clock.now += 1
    answer = phone.put(topic=NEWS, on=True, saw=1)
    assert answer.status_code == 409
    assert "mint a fresh one" in answer.get_json()["detail"]
    clock.forward(days=3650)
    assert phone.put(topic=NEWS, on=False).status_code == 200
    assert phone.on() is False
    assert Device(api, PHONE).put(topic=NEWS, on=True, saw=2).status_code == 200


def test_a_link_turns_off_after_a_rotation_of_the_signing_keys(
    opened: Installation, api: Api, phone: Device
) -> None:
    keys = (*opened.settings.signing_keys, bytes(range(32)))
    rotated = create_app(replace(opened, links=Links(keys))).test_client()
    assert rotated.put(phone.path, json={"topic": NEWS, "on": False}).status_code == 200
    assert phone.on() is False


# --- one device ---


def test_a_new_device_of_the_person_does_not_turn_on_what_they_turned_off(api: Api) -> None:
    api("PUT", "/v1/devices", {"address": PHONE, "person": "crm:1"})
    phone = Device(api, PHONE)
    assert phone.put(topic=NEWS, on=True, saw=phone.get()["seq"]).status_code == 200
    assert phone.put(topic=NEWS, on=False).status_code == 200

    api("PUT", "/v1/devices", {"address": TABLET, "person": "crm:1"})
    tablet = Device(api, TABLET)
    assert tablet.on() is False
    assert api.check(TABLET, channel="push")["reason"] == "opted_out"
    assert tablet.put(topic=NEWS, on=True).status_code == 422
    assert tablet.put(topic=NEWS, on=True, saw=0).status_code == 409
    assert tablet.put(topic=NEWS, on=True, saw=tablet.get()["seq"]).status_code == 200
    assert tablet.on() is True
    assert phone.on() is False


def test_a_link_of_one_device_says_nothing_of_another(api: Api, phone: Device) -> None:
    tablet = Device(api, TABLET)
    phone.put(topic=NEWS, on=True, saw=0)
    assert tablet.get()["seq"] == 0
    tablet.put(all=True, on=False)
    assert phone.on() is True


def test_a_no_by_the_link_of_a_token_that_was_replaced_reaches_the_new_one(api: Api) -> None:
    phone = Device(api, PHONE)
    phone.put(topic=NEWS, on=True, saw=0)
    api("PUT", "/v1/devices", {"address": "fcm:newer", "replaces": PHONE})
    assert api.check("fcm:newer", channel="push")["allowed"] is True
    assert phone.put(topic=NEWS, on=False).status_code == 200
    assert api.check("fcm:newer", channel="push")["reason"] == "opted_out"


# --- what is no press ---


@pytest.mark.parametrize(
    ("press", "field"),
    [
        ({}, "on"),
        ({"topic": NEWS}, "on"),
        ({"on": False}, "topic"),
        ({"topic": NEWS, "all": True, "on": False}, "topic"),
        ({"all": True, "on": True, "saw": 1}, "on"),
        ({"all": False, "on": False}, "all"),
        ({"topic": NEWS, "on": True}, "saw"),
        ({"topic": NEWS, "on": "yes"}, "on"),
        ({"topic": NEWS, "on": None}, "on"),
        ({"topic": NEWS, "on": True, "saw": "0"}, "saw"),
        ({"topic": NEWS, "on": True, "saw": -1}, "saw"),
        ({"topic": "order-updates", "on": False}, "topic"),
        ({"topic": "no-such-topic", "on": False}, "topic"),
        ({"topic": "no such topic", "on": False}, "topic"),
        ({"topic": "events", "on": True, "saw": 0}, "topic"),
        ({"topic": NEWS, "on": False, "wording": "a\x00b"}, "wording"),
        ({"topic": NEWS, "on": False, "surprise": 1}, "surprise"),
        ([], "body"),
    ],
)
def test_what_cannot_be_read_names_its_field_and_changes_nothing(
    api: Api, phone: Device, press: Any, field: str
) -> None:
    answer = phone.client.put(phone.path, json=press)
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    assert field in answer.get_json()["errors"]
    assert phone.path.rpartition("/")[2] not in answer.get_data(as_text=True)
    assert heard(api, PHONE) == []


def test_a_topic_that_another_worker_made_a_moment_ago_is_known(
    api: Api, phone: Device, opened: Installation, cast: Cast
) -> None:
    tenant = cast.tenant
    with opened.database.writing() as connection:
        directory.add_topic(
            connection, tenant.id, tenant.brand("acme").id, "new", "New", "",
            Purpose.MARKETING, {Channel.PUSH: Mode.OPT_IN}, NOON,
        )  # fmt: skip
    assert phone.put(topic="new", on=True, saw=0).status_code == 200


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_what_is_no_link_of_a_device_is_404_and_not_repeated(
    api: Api, phone: Device, opened: Installation, method: str
) -> None:
    token = phone.path.removeprefix("/d/")
    claim = opened.links.open(token, Action.DEVICE)
    stranger = Links([bytes(range(32))])
    wrong = [
        "x",
        token[:-1],
        token.swapcase(),
        stranger.sign(claim),
        opened.links.sign(replace(claim, tenant=999)),
        *(opened.links.sign(replace(claim, action=a)) for a in Action if a is not Action.DEVICE),
    ]
    for other in wrong:
        answer = phone.client.open(f"/d/{other}", method=method, json={"all": True, "on": False})
        assert answer.status_code == 404, other
        assert answer.content_type == "application/problem+json"
        assert other not in answer.get_data(as_text=True) or other == "x"
    assert heard(api, PHONE) == []


def test_a_device_link_opens_no_page(client: FlaskClient, phone: Device) -> None:
    token = phone.path.removeprefix("/d/")
    for path in (f"/u/{token}", f"/p/{token}"):
        assert client.get(path).status_code == 404
        assert client.post(path).status_code == 404


def test_other_methods_and_other_bodies_are_problems_too(phone: Device) -> None:
    for answer, status in (
        (phone.client.post(phone.path, json={"all": True, "on": False}), 405),
        (phone.client.put(phone.path, data="all=true"), 415),
        (phone.client.put(phone.path, data="{", headers={"Content-Type": "application/json"}), 400),
    ):
        assert (answer.status_code, answer.content_type) == (status, "application/problem+json")


def test_a_switch_has_a_seat_among_what_people_say() -> None:
    assert "/d/x".startswith(shortcut.PEOPLES_DOORS)
