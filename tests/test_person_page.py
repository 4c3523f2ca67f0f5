"""One page for a person: every address and brand is left from it, and each address answers for
itself before anything is turned on there."""

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select

from prefs import ledger, rights, tables
from prefs.address import Address, Channel
from prefs.demo import ALICE, BOB, CAROL, FRANK, Cast
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.links import Action, Claim
from prefs.policy import ALL, Authority, Block, Event, Kind, Outcome, Voice
from tests.conftest import Api, Clock
from tests.test_leave_page import NEWS, ONE_STORE, Page, Person, history, link, reasons, record

WORK = Address(Channel.EMAIL, "alice@work.example")
APP = Address(Channel.PUSH, "fcm:alices-app")


def joined(opened: Installation, cast: Cast, *addresses: Address, person: str = "7") -> None:
    """The sender says that these are one person's, and that they asked for Product news."""
    news = cast.tenant.topic("product-news").scope
    yes = Event(Kind.IN, opened.clock(), news, authority=Authority.PERSON, basis="express")
    with opened.database.writing() as connection:
        ledger.record_many(
            connection,
            cast.tenant.id,
            [Said(Subject.of(cast.tenant, one), yes, person=person) for one in addresses],
        )


def chooser(client: FlaskClient, api: Api, address: Address = ALICE, **about: str) -> Person:
    return Person(client, link(api, str(address.value), "preferences", **about))


def key(cast: Cast, address: Address) -> str:
    return cast.tenant.digest(address).hex()[:12]


def tick(person: Person, cast: Cast, address: Address, slug: str, on: bool) -> Page:
    """Saves the page with one box of one address changed."""
    form, _ = person.page.button("Save")
    name = f"{key(cast, address)}.{slug}"
    assert name in [box["value"] for box in form["boxes"]]
    on_now = {box["value"] for box in form["boxes"] if box["on"]} - {name} | (
        {name} if on else set()
    )
    answer = person.client.post(
        form["to"], data={**dict(form["fields"]), **person.page.chosen, "on": sorted(on_now)}
    )
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    person.page = Page(answer.text)
    return person.page


def questions(opened: Installation) -> list[str]:
    with opened.database.reading() as connection:
        return list(connection.scalars(select(tables.letter.c.value)))


def sms(api: Api, topic: str = "product-news") -> str:
    return str(api.check(FRANK.value, topic, "sms")["reason"])


# --- what it shows ---


@ONE_STORE
def test_it_says_whose_page_it_is_and_shows_every_address_masked(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK, WORK, APP)
    page = chooser(client, api).page
    assert "Emails to a•••@e•••.org" in page.text
    assert {"a•••@e•••.org", "a•••@w•••.example", "+1•••••••06", "fcm:•••"} <= set(
        page.heard["bdi"]
    )
    for address in (ALICE, WORK, FRANK, APP):
        assert address.value not in page.html
    assert {"Order updates", "Passwords and security"} <= set(page.heard["li"])


@ONE_STORE
def test_what_always_arrives_is_named_for_each_channel_that_the_person_has(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    topic = {"slug": "codes", "brand": "acme", "title": "Codes by text", "purpose": "transactional"}
    api("POST", "/v1/topics", {**topic, "channels": {"sms": "opt_out"}})
    assert "Codes by text" not in chooser(client, api).page.text
    joined(opened, cast, ALICE, FRANK)
    assert "Codes by text" in chooser(client, api).page.heard["li"]


@ONE_STORE
def test_an_address_that_two_persons_claimed_shows_neither_the_others(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    joined(opened, cast, FRANK, BOB, person="8")
    for address, others in ((ALICE, (FRANK, BOB)), (FRANK, (ALICE, BOB)), (BOB, (ALICE, FRANK))):
        page = chooser(client, api, address).page
        for other in others:
            assert key(cast, other) not in page.html
        client.post(link(api, str(address.value), "preferences"), data={"leave": "all"})
    assert [len(history(opened, cast, one)) for one in (ALICE, FRANK, BOB)] == [4, 4, 3]


@ONE_STORE
def test_of_somebody_erased_the_page_of_another_address_shows_nothing(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    target = link(api, FRANK.value, "preferences")
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, FRANK), opened.clock())
    assert key(cast, FRANK) not in chooser(client, api).page.html
    person = Person(client, target)
    assert key(cast, ALICE) not in person.page.html
    assert "•" not in person.page.text
    person.press("Unsubscribe from everything")
    assert sms(api) == "erased"
    assert reasons(api, ALICE.value)[0] == "consent"


@ONE_STORE
def test_a_device_that_is_gone_is_not_shown(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, APP)
    assert "fcm:•••" in chooser(client, api).page.text
    record(opened, cast, APP, Event(Kind.BLOCK, clock.now, block=Block.UNREACHABLE))
    assert "fcm:•••" not in chooser(client, api).page.text


# --- turning off ---


def test_from_one_address_a_topic_of_another_is_turned_off(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    page = tick(chooser(client, api), cast, FRANK, "product-news", False)
    assert "Product news by text message: You are unsubscribed." in page.heard["li"]
    assert sms(api) == "opted_out"
    assert reasons(api, ALICE.value) == ["consent", "consent", "no_objection"]
    said = history(opened, cast, FRANK)[-1]
    # Which address's link it was said through, for whoever asks how this came about.
    assert (said.evidence or {})["link"] == key(cast, ALICE)


def test_leaving_everything_leaves_every_address_and_undo_puts_all_back(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK, WORK, APP)
    people = [(ALICE.value, "email"), (FRANK.value, "sms"), (WORK.value, "email")]
    people += [(APP.value, "push")]

    def all_reasons() -> list[str]:
        return [str(api.check(value, channel=channel)["reason"]) for value, channel in people]

    before = all_reasons()
    person = chooser(client, api)
    person.press("Unsubscribe from everything")
    assert all_reasons() == ["opted_out"] * 4
    person.press("Undo")
    assert all_reasons() == before == ["consent"] * 4


def test_a_brand_is_left_on_every_address_and_the_other_brands_stay(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    chooser(client, api).press("Unsubscribe from all marketing from Acme")
    assert sms(api) == "opted_out"
    assert reasons(api, ALICE.value) == ["opted_out", "opted_out", "no_objection"]


def test_leaving_everything_reaches_the_addresses_beyond_those_that_one_page_shows(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    phones = [Address(Channel.SMS, f"+141555502{number:02}") for number in range(30)]
    joined(opened, cast, ALICE, *phones)
    person = chooser(client, api)
    assert len({box["value"].partition(".")[0] for box in person.page.boxes()}) == 20
    person.press("Unsubscribe from everything")
    for phone in phones:
        assert api.check(phone.value, channel="sms")["reason"] == "opted_out"
    person.press("Undo")
    for phone in phones:
        assert api.check(phone.value, channel="sms")["reason"] == "consent"


def test_an_id_that_a_sender_gave_to_everybody_is_nobodys(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    crowd = [Address(Channel.SMS, f"+1415556{number:04}") for number in range(1000)]
    joined(opened, cast, ALICE, *crowd, person="0")
    person = chooser(client, api)
    assert len({box["value"].partition(".")[0] for box in person.page.boxes()}) == 1
    person.press("Unsubscribe from everything")
    assert api.check(crowd[0].value, channel="sms")["reason"] == "consent"
    assert reasons(api, ALICE.value) == ["opted_out"] * 3


def test_leaving_a_brand_beats_a_tick_on_the_same_form(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, BOB, WORK)
    person = chooser(client, api, BOB)
    person.press("Unsubscribe from all marketing from Acme", events=True, trail_tips=False)
    assert reasons(api, BOB.value) == ["opted_out"] * 3
    assert "You will get it." not in person.page.text
    assert "Trail tips by email: You are unsubscribed." in person.page.heard["li"]
    assert Kind.IN not in [entry.event.kind for entry in history(opened, cast, BOB)[2:]]


# --- turning on elsewhere ---


def test_turning_something_on_for_another_address_asks_there_and_sends_nothing_before(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, WORK)
    page = tick(chooser(client, api), cast, WORK, "events", True)
    assert "Events by email: We are asking there first: confirm it to turn this on." in page.text
    assert questions(opened) == [WORK.value]
    assert reasons(api, WORK.value)[1] == "no_consent"
    assert history(opened, cast, WORK)[-1].event.kind is Kind.PENDING
    assert not page.shows("Undo")


def test_a_second_click_is_told_the_same_and_one_question_is_sent(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, WORK)
    person = chooser(client, api)
    shown = person.page
    for _ in range(2):
        person.page = shown
        tick(person, cast, WORK, "events", True)
        clock.forward(seconds=1)
    assert "We are asking there first" in person.page.text
    assert "Not saved" not in person.page.text
    assert questions(opened) == [WORK.value]


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(APP, id="a device"),
        pytest.param(Address(Channel.WHATSAPP, FRANK.value), id="WhatsApp"),
        pytest.param(Address(Channel.RCS, FRANK.value), id="RCS"),
        pytest.param(Address(Channel.EMAIL, "alice@nowhere..example"), id="no valid address"),
        pytest.param(CAROL, id="somebody who complained"),
    ],
)
def test_where_nothing_can_be_asked_nothing_is_turned_on_and_the_noes_of_the_form_are_kept(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    clock: Clock,
    other: Address,
) -> None:
    joined(opened, cast, ALICE, other)
    record(opened, cast, other, Event(Kind.OUT, clock.now, ALL, Voice.PERSON, Authority.PERSON))
    person = chooser(client, api)
    name = f"{key(cast, other)}.product-news"
    assert name not in [box["value"] for box in person.page.boxes()]
    form, _ = person.page.button("Save")
    # As a page would send it that was shown before.
    sent = {**dict(form["fields"]), "on": [name, f"{key(cast, ALICE)}.events"]}
    answer = client.post(form["to"], data=sent)
    assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert "It cannot be turned on from here." in answer.text
    assert reasons(api, ALICE.value) == ["opted_out", "consent", "opted_out"]
    assert api.check(other.value, channel=other.channel)["allowed"] is False
    assert questions(opened) == []


@ONE_STORE
def test_a_block_that_ends_through_the_rights_desk_alone_is_no_yes_on_a_page(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    person = chooser(client, api, BOB)
    record(opened, cast, BOB, Event(Kind.BLOCK, clock.now, block=Block.MINOR))
    person.press("Save", events=True)
    assert "You will get it." not in person.page.text
    assert [e.event.kind for e in history(opened, cast, BOB)] == [Kind.OUT, Kind.BLOCK]


def test_a_link_of_one_address_lifts_no_stop_of_another(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, ALICE, FRANK)
    record(opened, cast, FRANK, Event(Kind.OUT, clock.now, ALL, Voice.STOP, Authority.PERSON))
    name = f"{key(cast, FRANK)}.product-news"
    form = {"shown": "", "saw": f"{key(cast, FRANK)}:99", "on": name}
    client.post(link(api, ALICE.value, "preferences"), data=form)
    assert sms(api) == "replied_stop"


# --- a form that is out of date ---


def test_the_form_opened_changed_elsewhere_then_saved_keeps_its_noes_and_asks_its_yeses_again(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    joined(opened, cast, BOB, FRANK)
    person = chooser(client, api, BOB)
    shown = person.page
    clock.forward(minutes=5)
    client.post(link(api, BOB.value, **NEWS), data={"leave": "all"})
    person.press("Save", events=True, trail_tips=False)
    person.page, first = shown, person.page
    assert "Something changed meanwhile" in first.text
    assert reasons(api, BOB.value) == ["opted_out"] * 3
    refused = [e for e in history(opened, cast, BOB) if e.outcome is Outcome.REFUSED]
    assert refused[-1].event.scope == cast.tenant.topic("events").scope
    page = tick(person, cast, FRANK, "product-news", False)
    assert "Something changed meanwhile" in page.text
    assert sms(api) == "opted_out"
    person.page = page
    person.press("Save", events=True)
    assert reasons(api, BOB.value) == ["opted_out", "consent", "opted_out"]


def test_a_tick_of_a_stale_form_does_not_outlive_a_pause_that_it_did_not_show(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api, BOB)
    chooser(client, api, BOB).press("For a month")
    before = history(opened, cast, BOB)
    person.press("Save", events=True)
    assert "Something changed meanwhile" in person.page.text
    assert "You will get it." not in person.page.text
    assert history(opened, cast, BOB) == before


def test_an_address_that_left_the_family_meanwhile_is_not_touched_and_the_page_says_so(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    person = chooser(client, api)
    joined(opened, cast, FRANK, person="8")
    before = history(opened, cast, FRANK)
    page = tick(person, cast, FRANK, "product-news", False)
    assert "Something changed meanwhile" in page.text
    assert "You are unsubscribed." not in page.text
    assert history(opened, cast, FRANK) == before


def test_an_address_that_joined_the_family_meanwhile_is_not_touched(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = chooser(client, api)
    joined(opened, cast, ALICE, FRANK)
    before = history(opened, cast, FRANK)
    person.press("Save", events=False)
    assert history(opened, cast, FRANK) == before
    assert reasons(api, ALICE.value)[1] == "opted_out"
    assert person.page.shows("Undo")


@ONE_STORE
def test_a_brand_that_is_gone_meanwhile_is_not_called_left(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    before = history(opened, cast, ALICE)
    for form in ({"leave": "gone"}, {"pause": "week", "pause_what": "gone"}):
        answer = client.post(link(api, ALICE.value, "preferences"), data=form)
        assert "Something changed meanwhile" in answer.text
    assert history(opened, cast, ALICE) == before


def test_a_page_of_the_release_before_is_heard_for_its_one_address(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    old = {"shown": "product-news trail-tips", "saw": "3", "on": ["trail-tips", "events"]}
    answer = client.post(link(api, ALICE.value, "preferences"), data=old)
    assert answer.status_code == 200
    assert "Something changed meanwhile" not in answer.text
    assert reasons(api, ALICE.value) == ["opted_out", "consent", "no_objection"]
    assert sms(api) == "consent"


# --- the rest ---


def test_the_language_picked_on_the_page_is_kept_of_its_own_address_alone_and_by_no_get(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)

    def language(address: Address) -> str | None:
        with opened.database.reading() as connection:
            digest = cast.tenant.digest(address)
            return ledger.known(connection, cast.tenant.id, digest).language

    target = link(api, ALICE.value, "preferences")
    assert client.get(target, query_string={"lang": "de"}).headers["Content-Language"] == "de"
    assert language(ALICE) is None
    client.post(target, data={"leave": "all"})
    assert language(ALICE) is None
    client.post(target, data={"leave": "all"}, query_string={"lang": "de"})
    assert (language(ALICE), language(FRANK)) == ("de", None)


def test_a_huge_or_hostile_form_is_a_page_and_says_nothing(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    target = link(api, ALICE.value, "preferences")
    before = [history(opened, cast, one) for one in (ALICE, FRANK)]
    names = [f"{key(cast, FRANK)}.nothing-{number}" for number in range(20_000)]
    hostile: list[dict[str, object]] = [
        {"shown": " ".join(names), "saw": "1", "on": names[:5_000]},
        {"saw": " ".join(f"{key(cast, FRANK)}:{'9' * 30}" for _ in range(1_000)), "shown": ""},
        {"shown": "", "limits": "product-news:1 :: a:b:c", "most.product-news": "-1"},
        {"shown": "", "limits": "product-news:0", "most.product-news": "9" * 50},
        {"pause": "ever", "pause_what": "all"},
        {"resume": "acme\x00"},
    ]
    for form in hostile:
        answer = client.post(target, data=form)
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
    assert [history(opened, cast, one) for one in (ALICE, FRANK)] == before


def test_fifty_presses_are_one_no_and_replay_finds_nothing(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    target = link(api, ALICE.value, "preferences")
    for _ in range(50):
        assert client.post(target, data={"leave": "all"}).status_code == 200
    assert sms(api) == "opted_out"
    assert reasons(api, ALICE.value) == ["opted_out"] * 3
    with opened.database.reading() as connection:
        standing = ledger.standing(connection, cast.tenant.id, cast.tenant.digest(FRANK))
        assert len(standing.outs) == 1
        assert list(ledger.replay(connection, cast.tenant.id)) == []


def test_a_link_of_another_tenant_shows_nobody_of_this_one(
    client: FlaskClient, opened: Installation, cast: Cast
) -> None:
    joined(opened, cast, ALICE, FRANK)
    claim = Claim(Action.PREFERENCES, 99, Channel.EMAIL, cast.tenant.digest(ALICE), ALL)
    assert client.get(f"/p/{opened.links.sign(claim)}").status_code == 404
