"""What a sender sends, what a STOP to it leaves, and that one that was removed is heard as ever."""

from collections.abc import Callable
from typing import Any

import pytest

from prefs import directory
from prefs.demo import ACCOUNT, FRANK, SENDER, Cast
from prefs.directory import BadEntry, Unknown
from prefs.installation import Installation
from prefs.policy import ALL
from tests.conftest import NOON, Api
from tests.test_bad_input import refused
from tests.test_cli import Command, prefs
from tests.test_reviews import texted

__all__ = ["prefs", "texted"]

DEFAULTS = {"purpose": "both", "leaves": "all", "topic": None, "clarifies": False}
ENTRY = {
    "brand": "acme",
    "provider": "twilio",
    "account": "AC1",
    "identity": "77001",
    "kind": "short_code",
}


def only(api: Api) -> dict[str, Any]:
    (sender,) = api("GET", "/v1/senders").get_json()["senders"]
    found: dict[str, Any] = sender
    return found


def change(api: Api, **entry: Any) -> Any:
    return api("PATCH", f"/v1/senders/{only(api)['id']}", entry)


def stops(sender: dict[str, Any]) -> dict[str, Any]:
    return {name: sender[name] for name in DEFAULTS}


def reason(api: Api, topic: str = "product-news") -> str:
    return str(api.check(FRANK.value, topic, "sms")["reason"])


# --- made and changed ---


def test_a_sender_sends_both_and_a_stop_leaves_all_unless_it_is_said(api: Api) -> None:
    assert stops(only(api)) == DEFAULTS
    made = api("POST", "/v1/senders", ENTRY).get_json()
    assert made.items() >= {**ENTRY, **DEFAULTS}.items()


def test_a_sender_is_made_with_what_a_stop_leaves_and_shown_with_it(api: Api) -> None:
    said = {"purpose": "marketing", "leaves": "topic", "topic": "events", "clarifies": True}
    made = api("POST", "/v1/senders", {**ENTRY, **said})
    assert made.status_code == 201
    assert stops(made.get_json()) == said
    assert made.get_json() in api("GET", "/v1/senders").get_json()["senders"]


def test_what_is_left_out_of_a_change_stays(api: Api) -> None:
    assert stops(change(api, leaves="topic", topic="events").get_json()) == {
        **DEFAULTS,
        "leaves": "topic",
        "topic": "events",
    }
    assert change(api, clarifies=True).get_json()["topic"] == "events"
    assert change(api, purpose="marketing").get_json()["topic"] == "events"
    assert change(api, topic="product-news").get_json()["topic"] == "product-news"
    now = change(api, leaves="brand").get_json()
    assert (now["leaves"], now["topic"]) == ("brand", None)
    assert now == only(api)
    assert change(api).get_json() == now


def test_a_change_that_cannot_be_is_refused_by_its_field(api: Api) -> None:
    before = only(api)
    for entry, field in (
        ({"purpose": "advertising"}, "purpose"),
        ({"leaves": "nothing"}, "leaves"),
        ({"leaves": "topic"}, "topic"),
        ({"topic": "events"}, "topic"),
        ({"leaves": "brand", "topic": "events"}, "topic"),
        ({"leaves": "topic", "topic": "none"}, "topic"),
        ({"leaves": "topic", "topic": "order-updates"}, "topic"),
        ({"leaves": "topic", "topic": "trail-tips"}, "topic"),  # another brand's
        ({"clarifies": "yes"}, "clarifies"),
        ({"kind": "short_code"}, "kind"),
        ({"identity": "+14155550100"}, "identity"),
    ):
        refused(change(api, **entry), field)
    for number in (0, 99, "x"):
        assert api("PATCH", f"/v1/senders/{number}", {"purpose": "both"}).status_code == 404
    assert only(api) == before


def test_a_stop_leaves_what_its_sender_says(api: Api, texted: Callable[..., str]) -> None:
    yes = {"channel": "sms", "scope": {"topic": "events"}, "basis": "express"}
    api.put(FRANK.value, "in", **yes)
    change(api, leaves="topic", topic="events")
    texted("STOP")
    assert (reason(api), reason(api, "events")) == ("consent", "replied_stop")


def test_a_stop_to_a_transactional_sender_leaves_all_and_is_marked(
    api: Api, texted: Callable[..., str]
) -> None:
    """FCC 24-24: whoever answers STOP to an informational text means all the others too."""
    change(api, leaves="brand")
    assert change(api, purpose="transactional").get_json()["leaves"] == "all"
    texted("STOP")
    assert (reason(api), reason(api, "order-updates")) == ("replied_stop", "transactional")
    asked = {"channel": "sms", "address": FRANK.value, "topic": "order-updates", "explain": True}
    assert "replied_stop_to_transactional" in api("POST", "/v1/check", asked).get_json()["notes"]
    told = api("POST", "/v1/history", {"channel": "sms", "address": FRANK.value}).get_json()
    assert told["events"][-1]["to_transactional"] is True


def test_an_unclear_text_is_held_and_decided_in_its_senders_scope(
    api: Api, texted: Callable[..., str], prefs: Command
) -> None:
    yes = {"channel": "sms", "scope": {"topic": "events"}, "basis": "express"}
    api.put(FRANK.value, "in", **yes)
    change(api, leaves="topic", topic="events")
    texted("wrong number")
    assert (reason(api), reason(api, "events")) == ("consent", "in_review")
    (waits,) = api("GET", "/v1/reviews").get_json()["reviews"]
    assert waits["scope"] == {"brand": "acme", "topic": "events"}
    assert "about topic events;" in prefs("sms", "review")
    api("POST", f"/v1/reviews/{waits['id']}", {"decision": "no"})
    assert (reason(api), reason(api, "events")) == ("consent", "replied_stop")


# --- removed ---


def test_a_stop_to_a_sender_that_was_removed_is_heard(
    api: Api, texted: Callable[..., str], opened: Installation
) -> None:
    assert api("DELETE", f"/v1/senders/{only(api)['id']}").status_code == 204
    assert api("GET", "/v1/senders").get_json()["senders"] == []
    texted("STOP")
    assert reason(api) == "replied_stop"


def test_a_sender_that_is_added_again_is_the_same_with_what_is_said_now(
    api: Api, opened: Installation, cast: Cast
) -> None:
    before = only(api)
    change(api, purpose="marketing", leaves="brand", clarifies=True)
    api("DELETE", f"/v1/senders/{before['id']}")
    refused(api("PATCH", f"/v1/senders/{before['id']}", {"purpose": "both"}))
    again = {name: before[name] for name in ENTRY}
    made = api("POST", "/v1/senders", again)
    assert (made.status_code, made.get_json()) == (201, before)
    assert only(api) == before
    assert api("POST", "/v1/senders", again).status_code == 409
    acme = opened.directory.latest.tenants[cast.tenant.id]
    assert (len(acme.senders), acme.removed_senders) == (1, ())


def test_one_that_was_removed_is_changed_and_removed_no_more(
    opened: Installation, cast: Cast
) -> None:
    (sender,) = cast.tenant.senders
    with opened.database.writing() as connection:
        directory.remove_sender(connection, cast.tenant, sender.id, NOON)
        for act in (
            lambda: directory.remove_sender(connection, cast.tenant, sender.id, NOON),
            lambda: directory.change_sender(connection, cast.tenant, sender.id, purpose="both"),
            lambda: directory.sender_now(connection, cast.tenant, sender.id),
        ):
            with pytest.raises(Unknown):
                act()
    opened.directory.refresh()
    acme = opened.directory.latest.tenants[cast.tenant.id]
    assert [one.identity for one in acme.hearing] == [SENDER]


def test_a_change_is_told_as_it_is_now(opened: Installation, cast: Cast) -> None:
    (sender,) = cast.tenant.senders
    events = cast.tenant.topic("events")
    with opened.database.writing() as connection:
        now = directory.change_sender(
            connection, cast.tenant, sender.id, leaves="topic", topic=events
        )
        assert (now.leaves, now.scope, now.account) == ("topic", events.scope, ACCOUNT)
        now = directory.change_sender(connection, cast.tenant, sender.id, leaves="all")
        assert (now.leaves, now.scope) == ("all", ALL)
        with pytest.raises(BadEntry) as wrong:
            directory.change_sender(connection, cast.tenant, sender.id, leaves="some")
        assert wrong.value.field == "leaves"


# --- the command ---


def test_the_command_makes_changes_and_lists_what_a_stop_leaves(prefs: Command, cast: Cast) -> None:
    made = ("sender", "add", "77001", "--brand", "acme", "--account", "AC1", "--kind", "short_code")
    prefs(*made, "--purpose", "marketing", "--leaves", "topic", "--topic", "events", "--clarify")
    listed = prefs("sender", "list").splitlines()
    assert listed[0].endswith("\tsends both, STOP leaves all")
    assert listed[1].endswith("\tsends marketing, STOP leaves topic events, clarifies")
    number = listed[1].split("\t")[0]
    said = prefs("sender", "change", number, "--leaves", "brand", "--no-clarify")
    assert said == "Changed the sender 77001.\n"
    assert prefs("sender", "list").endswith("\tsends marketing, STOP leaves brand acme\n")
    prefs("sender", "change", number, "--purpose", "transactional")
    assert prefs("sender", "list").endswith("\tsends transactional, STOP leaves all\n")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("--leaves", "topic"), "name the topic that a STOP leaves"),
        (("--leaves", "topic", "--topic", "none"), "no such topic"),
        (("--leaves", "topic", "--topic", "order-updates"), "name a marketing topic"),
    ],
)
def test_the_command_says_what_is_missing(
    prefs: Command, cast: Cast, words: tuple[str, ...], advice: str
) -> None:
    number = str(cast.tenant.senders[0].id)
    said = prefs("sender", "change", number, *words, code=1)
    assert advice.lower() in said.lower()
    assert len(said.splitlines()) == 1
    assert "no such sender" in prefs("sender", "change", "99", "--purpose", "both", code=1)


def test_nobodys_admin_names_an_account_by_which_another_tenant_sends(
    opened: Installation, cast: Cast
) -> None:
    """Tokens are the installation's: it would send with theirs, and read what they are told."""
    with opened.database.writing() as connection:
        globex = directory.add_tenant(connection, "globex", "Globex", NOON)
        brand = directory.add_brand(connection, globex, "globex", "Globex", "x", NOON)
        made = (globex, brand, "twilio", ACCOUNT, "+14155550177", "long_code", NOON)
        with pytest.raises(BadEntry) as refused_:
            directory.add_sender(connection, *made)
        assert refused_.value.field == "account"
        assert "acme" not in str(refused_.value)
        # Whoever runs the installation may have tenants share one.
        directory.add_sender(connection, *made, by_operator=True)
