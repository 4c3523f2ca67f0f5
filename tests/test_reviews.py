"""A text that may be a no holds marketing until somebody has read it and decided."""

import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete
from twilio.request_validator import RequestValidator

from prefs import ledger, rights, tables, texts
from prefs.address import Address
from prefs.demo import ACCOUNT, DAVE, FRANK, KIMS_PHONE, SENDER, TOKEN, Cast
from prefs.installation import Installation, system_clock
from prefs.ledger import Entry, Subject
from prefs.policy import ALL, Kind, Outcome, Voice
from prefs.texts import Decided, NoReview, due_on
from tests.conftest import NOON, Api, Clock
from tests.test_bad_input import refused
from tests.test_cli import Command, prefs
from tests.test_keys import key_with, other
from tests.test_one_click import everything

__all__ = ["other", "prefs"]

UNCLEAR = "wrong number"

_sids = count(1)


@pytest.fixture
def texted(client: FlaskClient) -> Callable[..., str]:
    """Texts to acme's number, as Twilio tells of them; returns its answer."""

    def text(body: str, number: str = FRANK.value) -> str:
        fields = {
            "MessageSid": f"SM{next(_sids):032x}",
            "AccountSid": ACCOUNT,
            "From": number,
            "To": SENDER,
            "Body": body,
        }
        url = "https://prefs.example.com/webhooks/twilio/acme"
        signature = RequestValidator(TOKEN).compute_signature(url, fields)
        headers = {"X-Twilio-Signature": signature}
        answer = client.post("/webhooks/twilio/acme", data=fields, headers=headers)
        assert answer.status_code == 200
        return answer.text

    return text


@pytest.fixture
def review(texted: Callable[..., str], api: Api) -> dict[str, Any]:
    """What waits after Frank, who had asked for Product news, sent an unclear text."""
    assert api.check(FRANK.value, channel="sms")["reason"] == "consent"
    assert "<Message" not in texted(UNCLEAR), "and nobody answers what nobody has understood"
    (waits,) = reviews(api)
    return waits


def reviews(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = api("GET", f"/v1/reviews{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.get_json()["reviews"]
    return found


def decide(api: Api, review: dict[str, Any], decision: str, **more: str) -> Any:
    return api("POST", f"/v1/reviews/{review['id']}", {"decision": decision, **more})


def reason(api: Api, number: str = FRANK.value) -> str:
    return str(api.check(number, channel="sms")["reason"])


def history(opened: Installation, cast: Cast, address: Address = FRANK) -> list[Entry]:
    with opened.database.reading() as connection:
        return ledger.history(connection, cast.tenant.id, cast.tenant.digest(address))


# --- while it waits ---


def test_marketing_is_held_while_a_text_waits_and_transactional_passes(
    api: Api, review: dict[str, Any]
) -> None:
    held = api.check(FRANK.value, channel="sms")
    assert (held["decision"], held["allowed"]) == ("hold", False)
    assert held["reason"] == "in_review"
    assert (held["event"]["what"], held["event"]["door"]) == ("review", "text message")
    asked = {"channel": "sms", "address": FRANK.value, "topic": "order-updates", "explain": True}
    passes = api("POST", "/v1/check", asked).get_json()
    assert (passes["allowed"], passes["notes"]) == (True, ["in_review"])


def test_what_waits_is_shown_with_its_text_and_masked_number_and_by_when_to_decide(
    api: Api, review: dict[str, Any], clock: Clock
) -> None:
    rule = review.pop("rule")
    assert rule.startswith("en/")
    assert review.pop("id").endswith(".2")
    assert review == {
        "channel": "sms",
        "address": FRANK.masked,
        "to": SENDER,
        "text": UNCLEAR,
        "scope": {"all": True},
        "heard_at": "2026-11-02T12:00:00.000Z",
        "due": "2026-11-16",
        "days_left": 14,
    }
    clock.forward(days=16)
    (late,) = reviews(api)
    assert (late["due"], late["days_left"]) == ("2026-11-16", -2)


def test_ten_business_days_skip_weekends() -> None:
    """2 November 2026 is a Monday."""
    day = 24 * 3_600_000
    due = {n: due_on(NOON + n * day).isoformat() for n in (0, 4, 5, 6, 7)}
    assert due == {
        0: "2026-11-16",
        4: "2026-11-20",
        5: "2026-11-20",
        6: "2026-11-20",
        7: "2026-11-23",
    }


def test_the_standing_shows_that_a_text_waits(api: Api, review: dict[str, Any]) -> None:
    known = api("POST", "/v1/standing", {"channel": "sms", "address": FRANK.value}).get_json()
    (waits,) = known["reviews"]
    assert waits == {
        "seq": 2,
        "scope": {"all": True},
        "heard_at": "2026-11-02T12:00:00.000Z",
        "door": "text message",
    }


def test_the_texts_that_wait_come_page_by_page(texted: Callable[..., str], api: Api) -> None:
    numbers = [f"+141555503{n:02}" for n in range(5)]
    for number in numbers:
        texted(UNCLEAR, number)
    texted("not interested", numbers[0])
    seen: list[str] = []
    cursor, pages = "", 0
    while cursor is not None:
        page = api("GET", f"/v1/reviews?limit=2{cursor and f'&cursor={cursor}'}").get_json()
        seen += [one["id"] for one in page["reviews"]]
        cursor, pages = page["cursor"], pages + 1
    assert len(seen) == len(set(seen)) == 6
    # A page of addresses may hold no text: those to which a hold is carried have none of their own.
    assert pages >= 3
    assert sorted(seen) == sorted(one["id"] for one in reviews(api))


def test_looking_changes_nothing(api: Api, review: dict[str, Any], opened: Installation) -> None:
    before = everything(opened)
    reviews(api)
    assert everything(opened) == before


# --- what is decided ---


def test_a_no_is_the_persons_stop_and_no_carrier_knows_of_it(
    api: Api, review: dict[str, Any], opened: Installation, cast: Cast
) -> None:
    decided = decide(api, review, "no", reason="they never asked for it").get_json()
    assert decided == {"id": review["id"], "decision": "no", "outcome": "applied", "seq": 3}
    denied = api.check(FRANK.value, channel="sms")
    assert (denied["decision"], denied["reason"]) == ("deny", "replied_stop")
    assert "carrier_will_block" not in denied["notes"]
    assert api.check(FRANK.value, "order-updates", "sms")["allowed"] is True
    last = history(opened, cast)[-1]
    assert (last.event.kind, last.event.voice, last.event.scope) == (Kind.OUT, Voice.STOP, ALL)
    assert (last.event.door, last.event.ours_alone) == ("review", True)
    key = api.key.split("_")[1]
    assert last.evidence == {"by": f"key {key}", "reason": "they never asked for it"}
    assert reviews(api) == []


def test_not_a_no_leaves_everything_as_it_was_before(
    api: Api, review: dict[str, Any], opened: Installation, cast: Cast
) -> None:
    assert decide(api, review, "not_a_no").get_json()["outcome"] == "applied"
    assert reason(api) == "consent"
    assert reviews(api) == []
    last = history(opened, cast)[-1]
    assert (last.event.kind, last.outcome) == (Kind.REVIEWED, Outcome.APPLIED)
    assert "no no" in ledger.sentence(last.event.kind, last.outcome)


def test_not_a_no_gives_no_consent_to_whoever_had_given_none(
    texted: Callable[..., str], api: Api
) -> None:
    assert reason(api, "+14155550333") == "no_consent"
    texted(UNCLEAR, "+14155550333")
    (waits,) = reviews(api)
    decide(api, waits, "not_a_no")
    assert reason(api, "+14155550333") == "no_consent"


@pytest.mark.parametrize("first", ["no", "not_a_no"])
@pytest.mark.parametrize("second", ["no", "not_a_no"])
def test_what_was_decided_stays_and_a_second_decision_is_told_so(
    api: Api, review: dict[str, Any], opened: Installation, first: str, second: str
) -> None:
    decide(api, review, first)
    became, before = reason(api), everything(opened)
    again = decide(api, review, second)
    refused(again)
    assert again.status_code == 409
    assert "decided already" in again.get_json()["detail"]
    assert (reason(api), everything(opened)) == (became, before)


def test_a_decision_sent_again_with_its_key_is_answered_alike(
    api: Api, review: dict[str, Any], opened: Installation, cast: Cast
) -> None:
    path, once = f"/v1/reviews/{review['id']}", {"Idempotency-Key": "once"}
    answers = [api("POST", path, {"decision": "no"}, headers=once) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [200, 200]
    assert answers[0].data == answers[1].data
    assert len(history(opened, cast)) == 3


def test_two_who_decide_at_once_decide_once(
    review: dict[str, Any], opened: Installation, cast: Cast
) -> None:
    def one(is_no: bool) -> str:
        try:
            with opened.database.writing() as connection:
                by, now = f"one who says {is_no}", opened.clock()
                texts.decide(connection, cast.tenant, review["id"], is_no=is_no, by=by, now=now)
        except Decided:
            return "decided"
        return "decides"

    with ThreadPoolExecutor(4) as threads:
        became = list(threads.map(one, [True, False, True, False]))
    assert sorted(became) == ["decided"] * 3 + ["decides"]
    assert len(history(opened, cast)) == 3


def test_a_decision_about_one_text_is_none_about_another(
    texted: Callable[..., str], api: Api, review: dict[str, Any]
) -> None:
    texted("too many messages")
    first, second = reviews(api)
    assert first["id"] == review["id"]
    decide(api, second, "not_a_no")
    assert reviews(api) == [first]
    assert reason(api) == "in_review"
    decide(api, first, "not_a_no")
    assert reason(api) == "consent"


def test_a_no_leaves_nothing_else_of_its_scope_to_decide(
    texted: Callable[..., str], api: Api, review: dict[str, Any]
) -> None:
    texted("too many messages")
    first, second = reviews(api)
    decide(api, second, "no")
    assert reviews(api) == []
    assert decide(api, first, "not_a_no").status_code == 409
    assert reason(api) == "replied_stop"


def test_a_stop_in_the_meantime_is_clearer_and_nobody_has_to_decide(
    texted: Callable[..., str], api: Api, review: dict[str, Any]
) -> None:
    texted("STOP")
    assert reviews(api) == []
    late = decide(api, review, "not_a_no")
    assert late.status_code == 409
    assert "what the person has said since" in late.get_json()["detail"]
    assert reason(api) == "replied_stop"


# --- whose it is, and what is left of it ---


def test_an_id_that_there_is_not_is_404_whatever_it_looks_like(
    api: Api, review: dict[str, Any], opened: Installation
) -> None:
    before = everything(opened)
    digest, _, seq = review["id"].partition(".")
    for wrong in (
        "x",
        digest,
        f"{digest}.",
        f"{digest}.1",  # his consent
        f"{digest}.3",
        f"{digest}.0{seq}",
        f"{digest}.-{seq}",
        f"{digest}.{'9' * 30}",
        f"{digest}.\u0662",
        f"{'0' * 32}.{seq}",
        f"{digest[:-2]}.{seq}",
        "%00",
        "%ED%A0%80",
        "%ff.1",
        "9" * 4000,
    ):
        answer = api("POST", f"/v1/reviews/{wrong}", {"decision": "no"})
        refused(answer)
        assert answer.status_code == 404, wrong
    assert everything(opened) == before


def test_the_texts_of_another_tenant_are_not_there(
    api: Api, other: Api, review: dict[str, Any], opened: Installation
) -> None:
    assert reviews(other) == []
    for decision in ("no", "not_a_no"):
        assert decide(other, review, decision).status_code == 404
    theirs = opened.directory.latest.tenant("borealis")
    assert theirs
    with opened.database.writing() as connection, pytest.raises(NoReview) as refusal:
        texts.decide(connection, theirs, review["id"], is_no=True, by="them", now=NOON)
    assert not isinstance(refusal.value, Decided)
    assert reviews(api) == [review]


def test_reading_needs_the_scope_of_exports_and_deciding_that_of_overrides(
    api: Api, review: dict[str, Any]
) -> None:
    reads, decides = key_with(api, "export"), key_with(api, "override")
    assert reviews(reads) == [review]
    assert decides("GET", "/v1/reviews").status_code == 403
    assert decide(reads, review, "no").status_code == 403
    assert decide(decides, review, "no").status_code == 200


def test_a_bad_decision_is_refused_by_its_field(
    api: Api, review: dict[str, Any], opened: Installation
) -> None:
    before = everything(opened)
    path = f"/v1/reviews/{review['id']}"
    for body, field in (
        ({}, "decision"),
        ({"decision": "yes"}, "decision"),
        ({"decision": None}, "decision"),
        ({"decision": "no", "reason": ""}, "reason"),
        ({"decision": "no", "reason": "a\0b"}, "reason"),
        ({"decision": "no", "reason": "x" * 501}, "reason"),
        ({"decision": "no", "by": "somebody else"}, "by"),
    ):
        refused(api("POST", path, body), field)
    assert everything(opened) == before


def test_an_erasure_is_a_no_and_leaves_nothing_to_read(
    api: Api, review: dict[str, Any], opened: Installation, cast: Cast
) -> None:
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, FRANK), opened.clock())
    assert reviews(api) == []
    assert decide(api, review, "not_a_no").status_code == 409
    assert reason(api) == "erased"


@pytest.mark.parametrize(("decision", "became"), [("no", "replied_stop"), ("not_a_no", "consent")])
def test_a_text_whose_words_are_gone_can_still_be_decided(
    api: Api, review: dict[str, Any], opened: Installation, decision: str, became: str
) -> None:
    with opened.database.writing() as connection:
        connection.execute(delete(tables.evidence))
    (waits,) = reviews(api)
    assert (waits["text"], waits["to"]) == (None, None)
    assert decide(api, waits, decision).status_code == 200
    assert reason(api) == became


# --- the command ---


def test_the_command_shows_what_waits_the_longest_waiting_first(
    prefs: Command, texted: Callable[..., str], clock: Clock
) -> None:
    """Commands look at the system's clock."""
    assert prefs("sms", "review") == "No text waits for a decision.\n"
    now = system_clock()
    clock.now = now - 3600 * 1000
    texted("too many messages", KIMS_PHONE.value)
    clock.forward(days=-30)
    texted("wrong number\x1b[31m\r\nwho is this")
    said = prefs("sms", "review").splitlines()
    assert len(said) == 6
    due = due_on(clock.now)
    late = (datetime.now(UTC).date() - due).days
    assert f"UTC, to be decided by {due}: OVERDUE by {late} days" in said[0]
    assert f"sms from {FRANK.masked} to {SENDER}, about all marketing; rule en/" in said[1]
    assert said[2] == "     wrong number\ufffd[31m\ufffd\ufffdwho is this"
    assert re.search(r": 1[1-4] days left$", said[3])
    assert FRANK.value not in "".join(said)
    assert "acme: texts that wait for a decision: 2, overdue: 1: `prefs sms review`" in prefs(
        "doctor", code=1
    )


def test_the_command_decides_and_says_what_it_has_done(
    prefs: Command, api: Api, review: dict[str, Any], opened: Installation, cast: Cast
) -> None:
    said = prefs("sms", "review", review["id"], "--no", "--reason", "they mean it")
    assert said == "It is a no: opted out of all marketing.\n"
    assert reason(api) == "replied_stop"
    evidence = history(opened, cast)[-1].evidence
    assert evidence
    assert evidence["by"].startswith("command, by ")
    assert evidence["reason"] == "they mean it"
    for word in ("--no", "--not-a-no"):
        assert "decided already" in prefs("sms", "review", review["id"], word, code=1)
    assert "There is no such text" in prefs("sms", "review", "nonsense", "--no", code=1)


def test_the_command_lets_what_was_allowed_go_on(
    prefs: Command, api: Api, review: dict[str, Any]
) -> None:
    said = prefs("sms", "review", review["id"], "--not-a-no")
    assert said == "It is no no: all marketing is as it was before.\n"
    assert reason(api) == "consent"


def test_the_command_decides_nothing_that_is_not_said(
    prefs: Command, api: Api, review: dict[str, Any]
) -> None:
    assert "--no or --not-a-no" in prefs("sms", "review", review["id"], code=2)
    assert "by its ID" in prefs("sms", "review", "--no", code=2)
    assert reviews(api) == [review]


# --- what the history shows ---


def test_the_history_shows_the_rule_that_read_a_text_and_the_marks_of_a_stop(
    prefs: Command, texted: Callable[..., str], api: Api
) -> None:
    texted("please stop texting me")
    told = api("POST", "/v1/history", {"channel": "sms", "address": FRANK.value}).get_json()
    yes, no = told["events"]
    assert no["rule"].startswith("en/")
    assert no["ours_alone"] is True
    assert not {"to_transactional", "ours_alone", "rule"} & set(yes)
    changes = api("GET", "/v1/changes").get_json()["changes"]
    heard = [c for c in changes if (c["channel"], c["address"]) == ("sms", FRANK.value)]
    assert [c.get("rule") for c in heard] == [None, no["rule"]]
    shown = prefs("history", FRANK.value, "--channel", "sms")
    assert f"     rule: {no['rule']}\n" in shown
    assert "     heard by us alone: neither provider nor carrier blocks anything\n" in shown
    assert "rule:" not in prefs("history", DAVE.value, "--channel", "sms")
