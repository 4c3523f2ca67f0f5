"""Leaving asks nothing. Whoever wants to may say why, on the page that says it is done."""

import pytest
from flask.testing import FlaskClient

from prefs.address import Address, Channel
from prefs.demo import ALICE, Cast
from prefs.installation import Installation
from prefs.ledger import Entry
from prefs.policy import ALL, Kind, Outcome
from tests.conftest import Api, Clock
from tests.test_leave_page import GRACE, NEWS, ONE_STORE, Person, history, link, reasons


def last(opened: Installation, cast: Cast, address: Address = ALICE) -> Entry:
    return history(opened, cast, address)[-1]


@ONE_STORE
def test_nothing_is_asked_before_it_is_done(client: FlaskClient, api: Api) -> None:
    page = Person(client, link(api, ALICE.value, **NEWS)).page
    assert page.tags["select"] == page.tags["textarea"] == page.tags["input"] == 0
    assert "why" not in page.text


@pytest.mark.parametrize(
    ("label", "reason"),
    [
        ("Too many messages", "too-many"),
        ("Not of interest to me", "not-for-me"),
        ("I never asked for them", "never-asked"),
        ("Something else", "other"),
    ],
)
def test_why_is_kept_as_evidence_and_changes_nothing(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, label: str, reason: str
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe")
    person.press(label)
    assert "Thank you for telling us." in person.page.text
    assert person.page.h1 == "You are unsubscribed from Product news."
    assert reasons(api, ALICE.value) == ["opted_out", "consent", "no_objection"]
    said = last(opened, cast)
    assert (said.event.kind, said.outcome) == (Kind.REASON, Outcome.APPLIED)
    assert (said.evidence or {})["reason"] == reason
    assert said.event.scope == cast.tenant.topic("product-news").scope


def test_why_one_left_everything_is_about_everything(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    person.press("Unsubscribe from all marketing")
    person.press("Too many messages")
    assert "all marketing" in person.page.h1
    assert (last(opened, cast).event.kind, last(opened, cast).event.scope) == (Kind.REASON, ALL)
    assert reasons(api, ALICE.value) == ["opted_out"] * 3


def test_an_undo_still_works_after_the_reason_was_given(client: FlaskClient, api: Api) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    left = person.press("Unsubscribe")
    person.press("Too many messages")
    person.page = left
    person.press("Undo")
    assert api.check(ALICE.value)["reason"] == "consent"


def test_a_reason_given_after_the_undo_leaves_again_and_can_be_undone(
    client: FlaskClient, api: Api, clock: Clock
) -> None:
    # The page that it was pressed on says "You are unsubscribed", and doubt goes to the person.
    person = Person(client, link(api, ALICE.value, **NEWS))
    left = person.press("Unsubscribe")
    person.press("Undo")
    clock.forward(minutes=5)
    person.page = left
    person.press("Too many messages")
    assert person.page.h1 == "You are unsubscribed from Product news."
    assert api.check(ALICE.value)["reason"] == "opted_out"
    person.press("Undo")
    assert api.check(ALICE.value)["reason"] == "consent"


def test_a_strange_reason_is_kept_short_as_another_one(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, GRACE, **NEWS)
    for reason in ("x" * 100_000, "\x00", "", "<script>"):
        answer = client.post(target, data={"reason": reason, "words": f"\x00{'w' * 9000}"})
        assert (answer.status_code, answer.mimetype) == (200, "text/html")
        assert api.check(GRACE)["reason"] == "opted_out"
    grace = Address.parse(Channel.EMAIL, GRACE)
    kept = last(opened, cast, grace).evidence or {}
    assert kept["reason"] == "other"
    assert len(kept["reason in words"]) == 500


def test_a_mailbox_gives_no_reason(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    form = {"List-Unsubscribe": "One-Click", "reason": "too-many"}
    assert client.post(link(api, ALICE.value, **NEWS), data=form).status_code == 200
    assert last(opened, cast).event.kind is Kind.OUT
    assert "reason" not in (last(opened, cast).evidence or {})


def test_ten_reasons_in_a_row_lift_nothing(client: FlaskClient, api: Api) -> None:
    person = Person(client, link(api, ALICE.value, **NEWS))
    left = person.press("Unsubscribe")
    for _ in range(10):
        person.page = left
        person.press("Something else")
    assert reasons(api, ALICE.value) == ["opted_out", "consent", "no_objection"]
