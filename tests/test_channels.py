"""SMS, WhatsApp and RCS: one phone number, and on each channel an address of its own."""

import csv
import io
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient

from prefs import codes, directory, ledger, rights
from prefs.address import BY_NUMBER, Address, Channel
from prefs.demo import ALICE, FRANK, Cast
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.policy import ALL, Authority, Event, Kind, Mode, Purpose, Voice
from prefs.sheets import export
from tests.conftest import Api, Clock
from tests.test_leave_page import NEWS, ONE_STORE, Person, history, link, record
from tests.test_person_page import APP, chooser, joined, key, tick
from tests.test_sheets import imported, nothing, scrubbed
from wsgi import create_app

NUMBER = FRANK.value
ON = {channel: Address(channel, NUMBER) for channel in sorted(BY_NUMBER)}
WHATSAPP, RCS, SMS = ON[Channel.WHATSAPP], ON[Channel.RCS], ON[Channel.SMS]
NAMES = {Channel.SMS: "Text messages to", Channel.WHATSAPP: "WhatsApp", Channel.RCS: "RCS"}

EACH = pytest.mark.parametrize("channel", ON)
NEW = pytest.mark.parametrize("channel", [Channel.WHATSAPP, Channel.RCS])


def reasons(api: Api, topic: str = "product-news") -> dict[Channel, str]:
    return {channel: api.check(NUMBER, topic, channel)["reason"] for channel in ON}


def yes(api: Api, channel: Channel) -> None:
    answer = api.put(NUMBER, "in", channel=channel, scope=NEWS, basis="express")
    assert answer.get_json()["outcome"] == "applied"


@pytest.fixture
def agreed(api: Api) -> Api:
    """Frank, who asked for Product news on all three."""
    for channel in ON:
        yes(api, channel)
    assert set(reasons(api).values()) == {"consent"}
    return api


def others(channel: Channel, reason: str = "consent") -> dict[Channel, str]:
    return {other: reason for other in ON if other is not channel}


# --- a standing of its own ---


@EACH
@pytest.mark.parametrize("scope", [NEWS, {"brand": "acme"}, {"all": True}])
def test_a_no_on_one_channel_is_of_that_channel(
    agreed: Api, channel: Channel, scope: dict[str, Any]
) -> None:
    agreed.put(NUMBER, "out", channel=channel, scope=scope)
    assert reasons(agreed) == {channel: "opted_out", **others(channel)}


@NEW
def test_a_yes_on_one_channel_is_of_that_channel(api: Api, channel: Channel) -> None:
    stranger = "+14155550177"
    said = {"channel": channel, "scope": NEWS, "basis": "express"}
    assert api.put(stranger, "in", **said).get_json()["outcome"] == "applied"
    found = {other: api.check(stranger, channel=other)["reason"] for other in ON}
    assert found == {channel: "consent", **others(channel, "no_consent")}


@NEW
def test_a_stop_to_texts_says_nothing_about_the_other_channels(
    agreed: Api, opened: Installation, cast: Cast, clock: Clock, channel: Channel
) -> None:
    record(opened, cast, SMS, Event(Kind.OUT, clock.now, ALL, Voice.STOP, Authority.PERSON))
    assert reasons(agreed)[Channel.SMS] == "replied_stop"
    assert reasons(agreed)[channel] == "consent"


def test_a_batch_asks_on_every_channel_at_once(agreed: Api) -> None:
    agreed.put(NUMBER, "out", channel="rcs", scope=NEWS)
    items = [{"channel": channel, "address": f"{channel}:{NUMBER}"} for channel in ON]
    items += [{"channel": "email", "address": ALICE.value}, {"channel": "whatsapp"}]
    answer = agreed("POST", "/v1/checks", {"topic": "product-news", "items": items}).get_json()
    found = [decision["reason"] for decision in answer["items"]]
    by_number = ["opted_out" if channel == "rcs" else "consent" for channel in ON]
    assert found == [*by_number, "consent", "bad_item"]


@EACH
def test_what_is_known_and_said_names_its_channel_and_shows_nothing_of_the_others(
    agreed: Api, channel: Channel
) -> None:
    since = agreed("GET", "/v1/changes").get_json()["cursor"]
    agreed.put(NUMBER, "out", channel=channel, scope={"all": True})
    agreed.put(NUMBER, "out", channel="email", scope=NEWS)
    (change,) = agreed("GET", f"/v1/changes?since={since}").get_json()["changes"]
    assert (change["channel"], change["address"]) == (channel, NUMBER)
    for other in ON:
        about = {"channel": other, "address": NUMBER}
        outs = agreed("POST", "/v1/standing", about).get_json()["outs"]
        assert len(outs) == (other is channel)
        events = agreed("POST", "/v1/history", about).get_json()["events"]
        assert [event["what"] for event in events].count("out") == (other is channel)
        listed = agreed("GET", f"/v1/suppressions?channel={other}&topic=product-news").get_json()
        numbers = [row["address"] for row in listed["suppressions"]]
        assert (NUMBER in numbers) == (other is channel)


# --- the right number on the right channel ---


@EACH
def test_a_number_that_names_another_channel_is_refused_and_the_answer_says_what_to_change(
    agreed: Api, channel: Channel
) -> None:
    for other in others(channel):
        answer = agreed.put(f"{other}:{NUMBER}", "out", channel=channel, scope={"all": True})
        assert answer.status_code == 422
        assert f"name the channel {other}," in answer.get_json()["errors"]["address"][0].lower()
        assert NUMBER not in answer.text
        assert agreed.check(f"{other}:{NUMBER}", channel=channel)["allowed"] is False
    assert set(reasons(agreed).values()) == {"consent"}


# --- a consent model of its own ---


@NEW
def test_marketing_needs_a_yes_there_unless_the_topic_says_otherwise(
    api: Api, channel: Channel
) -> None:
    topic = {"slug": "offers", "brand": "acme", "title": "Offers", "purpose": "marketing"}
    assert api("POST", "/v1/topics", {**topic, "channels": {"email": None}}).status_code == 201
    assert api.check(NUMBER, "offers", channel)["reason"] == "not_offered"
    for mode, is_now, reason in (
        (None, "opt_in", "no_consent"),
        ("opt_out", "opt_out", "no_objection"),
        ("off", None, "not_offered"),
    ):
        changed = api("PATCH", "/v1/topics/offers", {"channels": {channel: mode}}).get_json()
        assert changed["channels"].get(channel) == is_now
        assert changed["channels"]["email"] == "opt_out"
        assert api.check(NUMBER, "offers", channel)["reason"] == reason


@NEW
def test_a_transactional_message_passes_there_too(agreed: Api, channel: Channel) -> None:
    agreed.put(NUMBER, "out", channel=channel, scope={"all": True})
    assert agreed.check(NUMBER, "account-security", channel)["allowed"] is True


# --- links ---


@NEW
@pytest.mark.parametrize("kind", ["unsubscribe", "short"])
def test_links_are_minted_for_it_and_a_mailbox_or_finger_leaves_by_them(
    agreed: Api, channel: Channel, kind: str
) -> None:
    item = {"channel": channel, "address": f"{channel}:{NUMBER}", **NEWS}
    asked = {"items": [item], "short": True}
    (minted,) = agreed("POST", "/v1/links", asked).get_json()["items"]
    assert "device" not in minted
    assert "mailto" not in minted["headers"]["List-Unsubscribe"]
    form = {"List-Unsubscribe": "One-Click"}
    assert agreed.client.post(urlsplit(minted[kind]).path, data=form).status_code == 200
    assert reasons(agreed) == {channel: "opted_out", **others(channel)}


@NEW
def test_a_one_time_code_opens_the_page_of_that_channel(
    agreed: Api, opened: Installation, cast: Cast, channel: Channel
) -> None:
    with opened.database.writing() as connection:
        subject = Subject.of(cast.tenant, ON[channel])
        code = codes.make(connection, cast.tenant.id, subject, opened.clock())
    answer = agreed.client.post("/code", data={"code": code}, follow_redirects=True)
    person = Person(agreed.client, answer.request.path)
    assert f"{NAMES[channel]} +1•••••••06" in person.page.text
    person.press("Unsubscribe from everything")
    assert reasons(agreed) == {channel: "opted_out", **others(channel)}


# --- pages ---


@NEW
def test_its_page_names_the_channel_leaves_it_and_takes_that_back(
    client: FlaskClient, agreed: Api, channel: Channel
) -> None:
    person = Person(client, link(agreed, NUMBER, channel=channel, **NEWS))
    assert f"{NAMES[channel]} +1•••••••06" in person.page.text
    assert "Text message" not in person.page.text
    person.press("Unsubscribe")
    assert person.page.h1 == "You are unsubscribed from Product news."
    assert reasons(agreed) == {channel: "opted_out", **others(channel)}
    person.press("Undo")
    assert set(reasons(agreed).values()) == {"consent"}
    person.go(link(agreed, NUMBER, channel=channel, **NEWS))
    person.press("Unsubscribe from all marketing")
    assert reasons(agreed) == {channel: "opted_out", **others(channel)}


@NEW
def test_its_choices_turn_a_topic_on_and_off_there_without_a_letter(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, channel: Channel
) -> None:
    person = chooser(client, api, ON[channel], channel=channel)
    assert "Notification" not in person.page.text
    for on, said in ((True, "You will get it."), (False, "You are unsubscribed.")):
        page = person.press("Save", product_news=on)
        assert f"Product news · {NAMES[channel]}: {said}" in page.heard["li"]
        assert api.check(NUMBER, channel=channel)["allowed"] is on
        person.press("Undo")
        if on:
            assert api.check(NUMBER, channel=channel)["reason"] == "no_consent"
            yes(api, channel)
            person.go(link(api, NUMBER, "preferences", channel=channel))
    assert api.check(NUMBER, channel=channel)["reason"] == "consent"
    doors = {entry.event.door for entry in history(opened, cast, ON[channel])}
    assert {"preference page", "undo"} <= doors


@ONE_STORE
def test_a_person_sees_one_number_once_for_each_channel_and_in_one_order(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, APP, RCS, WHATSAPP, SMS)
    labels = chooser(client, api).page.heard["label"]
    there = [label for label in labels if "•" in label]
    assert there[:5] == [
        "Email a•••@e•••.org",
        "Text message +1•••••••06",
        "WhatsApp +1•••••••06",
        "RCS +1•••••••06",
        "Notification fcm:•••",
    ]


@EACH
def test_from_one_channel_another_is_left_and_everything_on_all_of_them(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, channel: Channel
) -> None:
    joined(opened, cast, ALICE, *ON.values())
    for other in others(channel):
        person = chooser(client, api, ON[channel], channel=channel)
        tick(person, cast, ON[other], "product-news", False)
        assert reasons(api) == {other: "opted_out", **others(other)}
        said = history(opened, cast, ON[other])[-1]
        assert (said.evidence or {})["link"] == key(cast, ON[channel])
        person.press("Undo")
    person = chooser(client, api, ON[channel], channel=channel)
    person.press("Unsubscribe from everything")
    assert {*reasons(api).values(), api.check(ALICE.value)["reason"]} == {"opted_out"}
    person.press("Undo")
    assert {*reasons(api).values(), api.check(ALICE.value)["reason"]} == {"consent"}
    person.press("For a month")
    assert set(reasons(api).values()) == {"snoozed"}


@ONE_STORE
@pytest.mark.parametrize(
    ("channel", "told"), [(Channel.SMS, True), (Channel.RCS, True), (Channel.WHATSAPP, False)]
)
def test_that_texts_are_blocked_until_a_start_is_not_said_of_whatsapp(
    client: FlaskClient,
    agreed: Api,
    opened: Installation,
    cast: Cast,
    clock: Clock,
    channel: Channel,
    told: bool,
) -> None:
    stop = Event(Kind.OUT, clock.now, ALL, Voice.STOP, Authority.PERSON)
    record(opened, cast, ON[channel], stop)
    page = chooser(client, agreed, ON[channel], channel=channel).page
    assert ("No text message reaches you until you also text START" in page.text) is told
    assert "You replied STOP on" in page.text


# --- what we send goes by email and SMS ---


@ONE_STORE
@pytest.mark.parametrize("preview", [False, True], ids=["a server", "a demo"])
def test_where_we_cannot_ask_no_form_is_offered_and_no_page_promises_to_ask(
    opened: Installation, cast: Cast, preview: bool
) -> None:
    shown = replace(opened, settings=replace(opened.settings, preview=preview))
    api = Api(create_app(shown).test_client(), cast.key)
    topic = {"slug": "chat", "brand": "acme", "title": "Chat", "purpose": "marketing"}
    chats = {"whatsapp": "opt_in", "rcs": "opt_in"}
    assert api("POST", "/v1/topics", {**topic, "channels": chats}).status_code == 201
    assert api.client.get("/s/acme/chat").status_code == 404
    form = api.client.get("/s/acme/product-news?channel=whatsapp").text
    assert 'name="channel" value="email"' in form
    assert "channel=rcs" not in form
    joined(opened, cast, WHATSAPP, RCS)
    page = chooser(api.client, api, WHATSAPP, channel="whatsapp").page
    assert "we send a message" not in page.text
    # On the other, a tick would have to be asked: what is off can only stay so.
    off = [box["value"] for box in page.boxes() if box["value"].endswith(".chat")]
    assert off == [f"{key(cast, WHATSAPP)}.chat"]


# --- files ---

FILE = (
    "name,phone,WhatsApp number,RCS\n"
    "one,+14155550121,whatsapp:+14155550131,rcs:+14155550141\n"
    "two,+14155550122,+14155550132,+1 415 555 0142\n"
)


def exported(opened: Installation, cast: Cast, channel: Channel) -> set[str]:
    output, topics = io.BytesIO(), [cast.tenant.topic("chat")]
    export(opened, cast.tenant, output, channel=channel, topics=topics, progress=nothing)
    rows = csv.DictReader(io.StringIO(output.getvalue().decode()))
    return {row["address"].lstrip("'") for row in rows}


def sendable(opened: Installation, cast: Cast, file: str, channel: Channel) -> list[str]:
    _, sent, _ = scrubbed(opened, cast, file.encode(), "chat", channel=channel)
    return [row.partition(",")[0] for row in sent.decode().splitlines()[1:]]


def suppressed(opened: Installation, cast: Cast, file: str, channel: Channel) -> None:
    done, rejects = imported(opened, cast, file.encode(), channel=channel)
    assert (done.recorded, rejects) == (2, "line,reason,row\n")


@pytest.fixture
def chat(opened: Installation, cast: Cast) -> Cast:
    """A topic on all three, that goes to whoever has not said no."""
    with opened.database.writing() as connection:
        directory.add_topic(
            connection, cast.tenant.id, cast.tenant.brand("acme").id, "chat", "Chat", "",
            Purpose.MARKETING, dict.fromkeys(ON, Mode.OPT_OUT), opened.clock(),
        )  # fmt: skip
    opened.directory.refresh()
    return replace(cast, tenant=opened.directory.latest.tenants[cast.tenant.id])


@EACH
def test_a_file_is_of_one_channel_and_its_column_is_found(
    opened: Installation, chat: Cast, channel: Channel
) -> None:
    digit = {Channel.SMS: 2, Channel.WHATSAPP: 3, Channel.RCS: 4}[channel]
    mine = {f"+141555501{digit}{row}" for row in (1, 2)}
    suppressed(opened, chat, FILE, channel)
    for other in ON:
        is_mine = other is channel
        assert exported(opened, chat, other) & mine == (mine if is_mine else set())
        assert sendable(opened, chat, FILE, other) == ([] if is_mine else ["one", "two"])


@EACH
def test_a_column_of_phone_numbers_serves_any_of_the_three(
    opened: Installation, chat: Cast, channel: Channel
) -> None:
    file = "name,Mobile Phone,size\none,+14155550121,1\ntwo,+14155550122,2\n"
    suppressed(opened, chat, file, channel)
    for other in ON:
        left = [] if other is channel else ["one", "two"]
        assert sendable(opened, chat, file, other) == left
    # The same file is another list on another channel, and not the same one again.
    (other, *_) = others(channel)
    suppressed(opened, chat, file, other)
    assert sendable(opened, chat, file, other) == []


def test_a_row_that_names_another_channel_is_rejected_and_recorded_nowhere(
    opened: Installation, chat: Cast
) -> None:
    file = b"phone\n+14155550121\nwhatsapp:+14155550122\n"
    done, rejects = imported(opened, chat, file, channel=Channel.SMS)
    assert (done.recorded, done.unreadable) == (1, 1)
    assert "name the channel whatsapp" in rejects
    for channel in ON:
        assert "+14155550122" not in exported(opened, chat, channel)


# --- erasure ---


@EACH
def test_an_erasure_on_one_channel_leaves_the_others(
    client: FlaskClient, agreed: Api, opened: Installation, cast: Cast, channel: Channel
) -> None:
    joined(opened, cast, *ON.values())
    target = link(agreed, NUMBER, "preferences", channel=channel)
    with opened.database.writing() as connection:
        subject = Subject.of(cast.tenant, ON[channel])
        rights.erase(connection, cast.tenant.id, subject, opened.clock())
    assert reasons(agreed) == {channel: "erased", **others(channel)}
    with opened.database.reading() as connection:
        for other, address in ON.items():
            known = ledger.known(connection, cast.tenant.id, cast.tenant.digest(address))
            assert known.value == (None if other is channel else NUMBER)
    page = Person(client, target).page
    assert "•" not in page.text
    assert {box["value"].partition(".")[0] for box in page.boxes()} <= {key(cast, ON[channel])}
