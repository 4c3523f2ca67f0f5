"""May I send this? One address or ten thousand, with the reason, whatever the store is doing."""

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from prefs import directory, ledger
from prefs.address import Channel
from prefs.database import Database, sqlite_file
from prefs.demo import ALICE, BOB, CAROL, DAVE, ERIN, FRANK, Cast
from prefs.directory import CurrentDirectory
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.policy import RELY_FOR, Authority, Block, Event, Kind, Mode, Purpose, written
from tests.conftest import NOON, Api, Clock
from wsgi import create_app

GRACE = "grace@example.org"
"""Of whom nobody has said anything."""


@contextmanager
def taken_away(opened: Installation, request: pytest.FixtureRequest) -> Iterator[None]:
    """The database is gone: its file moved elsewhere, or its server stopped."""
    if file := sqlite_file(opened.settings.database_url):
        parts = [Path(file + suffix) for suffix in ("", "-wal", "-shm")]
        there = [part for part in parts if part.exists()]
        for part in there:
            part.rename(f"{part}.away")
        yield
        for part in there:
            os.rename(f"{part}.away", part)
    else:
        server = request.getfixturevalue("postgres")
        server.stop()
        try:
            yield
        finally:
            server.start()


Outage = Callable[[], AbstractContextManager[None]]


@pytest.fixture
def outage(opened: Installation, request: pytest.FixtureRequest) -> Outage:
    return lambda: taken_away(opened, request)


def asked(address: str, topic: str = "product-news", channel: str = "email") -> dict[str, Any]:
    return {"channel": channel, "address": address, "topic": topic}


# --- one ---


SENTENCES = [
    ("Alice asked for it", ALICE, "product-news", "allow", "consent"),
    ("and for the events", ALICE, "events", "allow", "consent"),
    ("Bob left the news", BOB, "product-news", "deny", "opted_out"),
    ("and nothing else", BOB, "trail-tips", "allow", "no_objection"),
    ("but he never asked for events", BOB, "events", "deny", "no_consent"),
    ("Carol complained, so she gets nothing", CAROL, "trail-tips", "deny", "complained"),
    ("but her order", CAROL, "order-updates", "allow", "transactional"),
    ("Dave replied STOP", DAVE, "product-news", "deny", "replied_stop"),
    ("and gets his code", DAVE, "account-security", "allow", "transactional"),
    ("Erin was erased", ERIN, "product-news", "deny", "erased"),
    ("and can log in", ERIN, "account-security", "allow", "transactional"),
    ("Frank asked for texts", FRANK, "product-news", "allow", "consent"),
    ("of the news alone", FRANK, "events", "deny", "no_consent"),
    ("and tips are not texted", FRANK, "trail-tips", "hold", "not_offered"),
]


def test_the_cast_gets_the_answer_and_the_reason(api: Api) -> None:
    for sentence, person, topic, decision, reason in SENTENCES:
        answer = api("POST", "/v1/check", asked(person.value, topic, person.channel))
        assert answer.status_code == 200, sentence
        shown = answer.get_json()
        assert (shown["decision"], shown["reason"]) == (decision, reason), sentence
        assert shown["allowed"] is (decision == "allow"), sentence
        assert shown["explanation"], sentence


def test_a_decision_names_its_scope_its_event_and_how_long_it_holds(api: Api) -> None:
    assert api.check(BOB.value) == {
        "decision": "deny",
        "allowed": False,
        "reason": "opted_out",
        "explanation": "The person opted out.",
        "scope": {"brand": "acme", "topic": "product-news"},
        "event": {
            "seq": 1,
            "what": "out",
            "voice": "person",
            "when": written(NOON - 12 * 24 * 3600 * 1000),
            "door": "one-click",
        },
        "notes": [],
        "valid_until": written(NOON + RELY_FOR),
    }


def test_an_out_of_everything_shows_that_as_its_scope(api: Api) -> None:
    assert api.check(CAROL.value)["scope"] == {"all": True}


def test_a_stop_carries_the_note_that_the_carrier_will_block(api: Api) -> None:
    notes = api.check(DAVE.value, channel="sms")["notes"]
    assert notes == ["replied_stop", "carrier_will_block"]


def test_nobody_knows_grace_so_the_topic_alone_decides(api: Api) -> None:
    assert api.check(GRACE)["reason"] == "no_objection"
    assert api.check(GRACE, "events")["reason"] == "no_consent"
    assert api.check(GRACE)["event"] is None


def test_an_answer_is_not_relied_on_past_the_end_of_the_consent_it_rests_on(
    api: Api, clock: Clock
) -> None:
    api.put(
        GRACE,
        "in",
        scope={"topic": "events"},
        basis="implied_inquiry",
        until=written(NOON + 30_000),
    )
    assert api.check(GRACE, "events")["valid_until"] == written(NOON + 30_000)
    clock.forward(seconds=30)
    assert api.check(GRACE, "events")["reason"] == "consent_expired"


def test_a_no_is_found_under_every_spelling(api: Api) -> None:
    for spelling in ("BOB@EXAMPLE.ORG", " bob@example.org", "Bob <bob@example.org>"):
        assert api.check(spelling)["reason"] == "opted_out"


def test_a_phone_number_is_read_with_its_region(api: Api) -> None:
    dialled = asked("(415) 555-0104", channel="sms") | {"region": "US"}
    assert api("POST", "/v1/check", dialled).get_json()["reason"] == "replied_stop"


def test_an_unknown_topic_is_422_and_hold(api: Api) -> None:
    answer = api("POST", "/v1/check", asked(ALICE.value, "no-such-topic"))
    assert answer.status_code == 422
    assert answer.content_type == "application/problem+json"
    problem = answer.get_json()
    assert (problem["decision"], problem["allowed"]) == ("hold", False)
    assert problem["reason"] == "unknown_topic"
    assert list(problem["errors"]) == ["topic"]


UNREADABLE: list[tuple[str, dict[str, Any], str]] = [
    ("a channel that there is not", {"channel": "fax"}, "channel"),
    ("no channel", {"channel": None}, "channel"),
    ("a list of channels", {"channel": ["email"]}, "channel"),
    ("no topic", {"topic": None}, "topic"),
    ("a topic that is an object", {"topic": {"slug": "events"}}, "topic"),
    ("an address without @", {"address": "nobody"}, "address"),
    ("no address", {"address": None}, "address"),
    ("a number", {"address": 15}, "address"),
    ("two addresses", {"address": "a@example.org,b@example.org"}, "address"),
    ("a word for true", {"explain": "yes"}, "explain"),
    ("a region that is a number", {"region": 1}, "region"),
    ("a region that there is not", {"region": "XX", "channel": "sms"}, "region"),
    ("a misspelled field", {"adress": "x"}, "adress"),
    ("an address as a field", {"alice@example.org": 1}, "(a field)"),
]


def test_what_cannot_be_read_is_422_and_hold_and_names_the_field(api: Api) -> None:
    for what, change, field in UNREADABLE:
        answer = api("POST", "/v1/check", asked(ALICE.value) | change)
        assert answer.status_code == 422, what
        problem = answer.get_json()
        assert list(problem["errors"]) == [field], what
        assert (problem["decision"], problem["allowed"]) == ("hold", False), what
        assert problem["reason"] in ("bad_item", "bad_address"), what
        assert ALICE.value not in answer.get_data(as_text=True), what


def test_transactional_passes_whatever_else_is_wrong_with_the_address(api: Api) -> None:
    for odd in ({"address": "???"}, {"address": None}, {"region": "nowhere"}, {"channel": "fax"}):
        assert (
            api("POST", "/v1/check", asked(CAROL.value, "order-updates") | odd).status_code == 200
        )


def test_transactional_tells_its_notes_only_to_who_asks_for_an_explanation(
    api: Api, opened: Installation, cast: Cast
) -> None:
    bounced = Event(Kind.BLOCK, NOON, authority=Authority.IMPORT, block=Block.HARD_BOUNCE)
    with opened.database.writing() as connection:
        ledger.record(connection, cast.tenant.id, Said(Subject.of(cast.tenant, BOB), bounced))
    question = asked(BOB.value, "order-updates")
    plain = api("POST", "/v1/check", question).get_json()
    explained = api("POST", "/v1/check", question | {"explain": True}).get_json()
    assert plain["allowed"] is explained["allowed"] is True
    assert (plain["notes"], explained["notes"]) == ([], ["hard_bounce"])


def test_a_topic_made_elsewhere_a_moment_ago_is_known(
    api: Api, opened: Installation, cast: Cast
) -> None:
    brand = cast.tenant.brand("acme").id
    with opened.database.writing() as connection:
        directory.add_topic(
            connection,
            cast.tenant.id,
            brand,
            "offers",
            "Offers",
            "",
            Purpose.MARKETING,
            {Channel.EMAIL: Mode.OPT_OUT},
            NOON,
        )
    assert api.check(GRACE, "offers")["allowed"] is True
    assert api.put(GRACE, "out", scope={"topic": "offers"}).status_code == 200


# --- without a database ---


def test_without_the_database_transactional_passes_marketing_is_held_and_all_is_well_after(
    api: Api, outage: Outage
) -> None:
    marketing, transactional = asked(ALICE.value), asked(ALICE.value, "account-security")
    assert api("POST", "/v1/check", marketing).get_json()["allowed"] is True
    with outage():
        for _ in range(2):
            for question in (transactional, transactional | {"explain": True}):
                answer = api("POST", "/v1/check", question)
                assert answer.status_code == 200
                assert answer.get_json()["allowed"] is True
            answer = api("POST", "/v1/check", marketing)
            assert answer.status_code == 503
            assert answer.headers["Retry-After"]
            problem = answer.get_json()
            assert (problem["allowed"], problem["decision"]) == (False, "hold")
            assert problem["reason"] == "state_unknown"
            unknown = api("POST", "/v1/check", asked(ALICE.value, "no-such-topic"))
            assert (unknown.status_code, unknown.get_json()["decision"]) == (503, "hold")
    assert api("POST", "/v1/check", marketing).get_json()["allowed"] is True


class Watched(Database):
    """The real database, which counts how often it is asked."""

    asked = 0

    def standing(self, tenant: int, digest: bytes) -> str | None:
        self.asked += 1
        return super().standing(tenant, digest)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        self.asked += 1
        with super().reading() as connection:
            yield connection


@pytest.fixture
def watched(opened: Installation, cast: Cast) -> Iterator[tuple[Api, Watched]]:
    database = Watched(opened.settings.database_url)
    known = CurrentDirectory(database, opened.settings.digest_master, opened.settings.snapshot)
    app = create_app(replace(opened, database=database, directory=known))
    database.asked = 0
    yield Api(app.test_client(), cast.key), database
    database.close()


def test_transactional_touches_no_database_and_marketing_reads_once(
    watched: tuple[Api, Watched],
) -> None:
    api, database = watched
    assert api.check("anyone@example.org", "order-updates")["allowed"] is True
    items = [asked(ALICE.value, "order-updates"), asked(BOB.value, "account-security")]
    assert api("POST", "/v1/checks", {"items": items}).status_code == 200
    assert database.asked == 0
    assert api.check(ALICE.value)["allowed"] is True
    assert database.asked == 1
    assert api("POST", "/v1/checks", {"items": [asked(ALICE.value)] * 50}).status_code == 200
    assert database.asked == 2


def test_without_the_database_a_batch_allows_its_transactional_items_and_holds_the_others(
    api: Api, outage: Outage
) -> None:
    items = [
        asked(ALICE.value),
        asked(CAROL.value, "order-updates"),
        asked("nobody"),
        asked(ALICE.value, "no-such-topic"),
        asked(ALICE.value, "account-security") | {"explain": True},
    ]
    with outage():
        answer = api("POST", "/v1/checks", {"items": items})
    assert answer.status_code == 200
    assert [(item["decision"], item["reason"]) for item in answer.get_json()["items"]] == [
        ("hold", "state_unknown"),
        ("allow", "transactional"),
        ("hold", "bad_address"),
        ("hold", "state_unknown"),
        ("allow", "transactional"),
    ]
    again = api("POST", "/v1/checks", {"items": items}).get_json()["items"]
    assert [item["reason"] for item in again[:4:3]] == ["consent", "unknown_topic"]


# --- many ---


def test_a_batch_answers_in_the_callers_order_and_spelling_duplicates_too(api: Api) -> None:
    spellings = ["BOB@example.org", "alice@example.org", "bob@EXAMPLE.org", "Alice@Example.Org"]
    spellings += ["BOB@example.org", "nobody", "alice@example.org"]
    asked_for = {
        "channel": "email",
        "topic": "product-news",
        "items": [{"address": spelling} for spelling in spellings],
    }
    items = api("POST", "/v1/checks", asked_for).get_json()["items"]
    assert [item["address"] for item in items] == spellings
    decisions = [item["decision"] for item in items]
    assert decisions == ["deny", "allow", "deny", "allow", "deny", "hold", "allow"]


BAD_ITEMS: list[tuple[Any, str, str]] = [
    (asked("nobody"), "bad_address", "address"),
    (asked("a\0b@example.org"), "bad_address", "address"),
    (asked("\ud800@example.org"), "bad_address", "address"),
    ({"address": 12}, "bad_item", "topic"),
    (asked("a@example.org") | {"address": 1}, "bad_address", "address"),
    (asked("a@example.org", "nothing"), "unknown_topic", "topic"),
    (asked("a@example.org", "\ud800"), "unknown_topic", "topic"),
    (asked("a@example.org", channel="fax"), "bad_item", "channel"),
    (asked("a@example.org") | {"x": 1}, "bad_item", "x"),
    (asked("a@example.org") | {"explain": 1}, "bad_item", "explain"),
    (asked("555", channel="sms") | {"region": "??"}, "bad_address", "region"),
    ({}, "bad_item", "topic"),
    (None, "bad_item", "body"),
    ("alice@example.org", "bad_item", "body"),
    ([["x"]], "bad_item", "body"),
    (1e300, "bad_item", "body"),
]


def test_a_bad_item_fails_alone(api: Api) -> None:
    items = [asked(ALICE.value)]
    for bad, _, _ in BAD_ITEMS:
        items += [bad, asked(BOB.value)]
    answer = api("POST", "/v1/checks", {"items": items})
    assert answer.status_code == 200
    found = answer.get_json()["items"]
    assert found[0]["decision"] == "allow"
    assert {item["reason"] for item in found[2::2]} == {"opted_out"}
    for (bad, reason, field), item in zip(BAD_ITEMS, found[1::2], strict=True):
        assert (item["decision"], item["allowed"]) == ("hold", False), bad
        assert (item["reason"], item["field"]) == (reason, field), bad
        assert item["detail"], bad


def test_an_items_own_channel_and_topic_hold_over_the_batchs(api: Api) -> None:
    asked_for = {
        "channel": "email",
        "topic": "product-news",
        "items": [
            {"address": BOB.value},
            {"address": BOB.value, "topic": "order-updates"},
            {"address": DAVE.value, "channel": "sms"},
        ],
    }
    items = api("POST", "/v1/checks", asked_for).get_json()["items"]
    assert [item["reason"] for item in items] == ["opted_out", "transactional", "replied_stop"]


def test_ten_thousand_items_are_answered_and_one_more_is_refused(api: Api) -> None:
    people = [f"person{number}@example.org" for number in range(9_998)]
    items = [{"address": address} for address in [ALICE.value, *people, BOB.value]]
    asked_for = {"channel": "email", "topic": "product-news", "items": items}
    answers = api("POST", "/v1/checks", asked_for).get_json()["items"]
    assert len(answers) == 10_000
    reasons = [answer["reason"] for answer in answers]
    assert reasons == ["consent", *["no_objection"] * 9_998, "opted_out"]
    refused = api("POST", "/v1/checks", asked_for | {"items": [*items, items[0]]})
    assert refused.status_code == 422
    assert list(refused.get_json()["errors"]) == ["items"]
    assert (refused.get_json()["allowed"], refused.get_json()["decision"]) == (False, "hold")
    assert api("POST", "/v1/checks", asked_for | {"items": []}).status_code == 422


def test_a_batch_of_unknown_topics_looks_for_them_once(watched: tuple[Api, Watched]) -> None:
    api, database = watched
    items = [asked(ALICE.value, f"topic-{number}") for number in range(500)]
    answers = api("POST", "/v1/checks", {"items": items}).get_json()["items"]
    assert {answer["reason"] for answer in answers} == {"unknown_topic"}
    assert database.asked == 1


def test_a_batchs_cursor_leads_to_whoever_left_since(api: Api) -> None:
    cursor = api("POST", "/v1/checks", {"items": [asked(ALICE.value)]}).get_json()["cursor"]
    api.put(ALICE.value, "out", scope={"all": True})
    changes = api("GET", f"/v1/changes?since={cursor}").get_json()["changes"]
    assert [change["address"] for change in changes] == [ALICE.value]


_ADDRESSES = [person.value for person in (ALICE, BOB, CAROL, DAVE, ERIN, FRANK)] + [
    GRACE,
    "nobody",
    "",
    "BOB@EXAMPLE.ORG",
    "fcm:token",
    "(415) 555-0104",
    "\ud800",
    "\0",
    7,
    None,
]
_TOPICS = ["product-news", "events", "order-updates", "account-security", "trail-tips"]
_ITEMS = st.fixed_dictionaries(
    {},
    optional={
        "address": st.sampled_from(_ADDRESSES),
        "channel": st.sampled_from([*Channel, "fax", None]),
        "topic": st.sampled_from([*_TOPICS, "no-such-topic", 5]),
        "region": st.sampled_from(["US", "DE", "", 4]),
        "explain": st.sampled_from([True, False, "yes"]),
        "more": st.just(1),
    },
)


@given(items=st.lists(_ITEMS, min_size=1, max_size=8))
@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
    derandomize=True,
)
def test_a_batch_says_of_each_item_what_a_single_check_says(
    api: Api, items: list[dict[str, Any]]
) -> None:
    batch = api("POST", "/v1/checks", {"items": items}).get_json()["items"]
    for item, found in zip(items, batch, strict=True):
        single = api("POST", "/v1/check", item)
        shown = single.get_json()
        told = ("decision", "allowed", "reason")
        assert [found[name] for name in told] == [shown[name] for name in told]
        if single.status_code == 200:
            found = {name: value for name, value in found.items() if name != "address"}
            assert found == shown
        else:
            assert list(shown["errors"]) == [found["field"]]


@pytest.mark.parametrize(
    "more",
    [{"more": 1}, {"region": 5}, {"channel": "pigeon"}, {"channel": 7}, {"address": None}],
)
@pytest.mark.parametrize("explain", [True, False])
def test_nothing_about_a_transactional_question_can_stop_it(
    api: Api, more: dict[str, Any], explain: bool
) -> None:
    asked = {"channel": "email", "address": "a@example.org", "topic": "order-updates", **more}
    answer = api("POST", "/v1/check", {**asked, "explain": explain})
    assert (answer.status_code, answer.get_json()["allowed"]) == (200, True)
    items = api("POST", "/v1/checks", {"items": [{**asked, "explain": explain}]}).get_json()
    assert items["items"][0]["allowed"] is True
