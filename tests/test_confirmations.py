"""A sender's server asks for a confirmation: by us, or with a link that it delivers itself."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from prefs import directory, letters, tables
from prefs.address import Channel
from prefs.cli.running import unasked
from prefs.demo import ACCOUNT, ALICE, CAROL, TOKEN, Cast
from prefs.installation import Installation
from prefs.links import CONFIRM_FOR, Action
from prefs.policy import Authority, Kind, Mode, Purpose, written
from prefs.settings import Settings, Smtp, keep_token
from tests.conftest import NOTHING_SENDS, Api, Clock
from wsgi import create_app

GRACE = "Grace@Example.org"


def ask(api: Api, address: str = GRACE, key: str | None = None, **changed: Any) -> Any:
    body = {"channel": "email", "address": address, "topic": "events", "deliver": "sender"}
    headers = {"Idempotency-Key": key} if key else {}
    return api("POST", "/v1/confirmations", {**body, **changed}, headers=headers)


def rows(opened: Installation) -> list[Any]:
    with opened.database.reading() as connection:
        return list(connection.execute(select(tables.letter)))


def told(api: Api, address: str) -> list[Any]:
    asked = {"channel": "email", "address": address}
    found: list[Any] = api("POST", "/v1/history", asked).get_json()["events"]
    return found


def test_a_sender_gets_a_link_and_words_to_deliver(
    api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    answer = ask(api, door="app", evidence={"form": "sign-up"}, person="crm:7")
    assert answer.status_code == 201
    shown = answer.get_json()
    assert set(shown) == {"outcome", "link", "subject", "text", "expires_at"}
    assert shown["outcome"] == "asked"
    assert shown["link"] in shown["text"]
    assert shown["expires_at"] == written(clock() + CONFIRM_FOR)
    claim = opened.links.open(shown["link"].rpartition("/")[2], Action.CONFIRM)
    assert shown["link"].startswith("https://prefs.example.com/c/")
    with opened.database.writing() as connection:
        confirmed = letters.confirm(
            connection,
            cast.tenant,
            claim,
            wording={"text": "Yes"},
            evidence={},
            through="confirmation page",
            now=clock(),
        )
    assert confirmed.outcome == "confirmed"
    assert api.check(GRACE, "events")["reason"] == "consent"
    pending, _ = told(api, GRACE)
    assert (pending["what"], pending["authority"]) == (Kind.PENDING, Authority.SENDER)
    assert (pending["door"], pending["evidence"]) == (
        "app",
        {"form": "sign-up", "person": "crm:7"},
    )


def test_asking_lets_nothing_be_sent(api: Api) -> None:
    ask(api)
    assert api.check(GRACE, "events")["reason"] == "no_consent"


def test_a_text_is_answered_by_yes(api: Api) -> None:
    shown = ask(api, "(415) 555-0108", channel="sms", region="US").get_json()
    assert shown["subject"] == ""
    assert "reply YES" in shown["text"]
    assert shown["link"].startswith("https://prefs.example.com/c/")


@pytest.fixture
def sending(opened: Installation, cast: Cast) -> Api:
    """The API of an installation that has a mail server and a token of Twilio's."""
    keep_token(opened.settings.data, "twilio", ACCOUNT, TOKEN)
    smtp = Smtp("127.0.0.1", 9, False, "", "")
    settings = replace(opened.settings, smtp=smtp)
    app = create_app(replace(opened, settings=settings))
    return Api(app.test_client(), cast.key)


def test_we_send_it_ourselves_where_we_can(
    sending: Api, opened: Installation, clock: Clock
) -> None:
    for channel, address in (("email", GRACE), ("sms", "+14155550108")):
        answer = ask(sending, address, channel=channel, deliver="us")
        assert (answer.status_code, answer.get_json()) == (201, {"outcome": "asked"})
    assert [(one.channel, one.due_at) for one in rows(opened)] == [
        ("email", clock()),
        ("sms", clock()),
    ]


@NOTHING_SENDS
def test_where_we_cannot_the_sender_is_told_and_nothing_is_asked(
    api: Api, opened: Installation
) -> None:
    for changed in (
        {"deliver": "us"},
        {"deliver": "us", "channel": "sms", "address": "+14155550108"},
    ):
        answer = ask(api, **changed)
        assert answer.status_code == 422
        assert set(answer.get_json()["errors"]) == {"deliver"}
    assert rows(opened) == []


def test_who_must_not_be_asked_is_not_and_the_sender_is_told_why(
    api: Api, opened: Installation
) -> None:
    refused = ask(api, CAROL.value)
    assert refused.status_code == 201
    assert refused.get_json() == {"outcome": "not_asked", "reason": "not_for_them"}
    ask(api)
    assert ask(api).get_json() == {"outcome": "not_asked", "reason": "too_many"}
    assert len(rows(opened)) == 1


def test_the_same_request_asks_once_and_shows_its_link_again_which_is_not_stored(
    api: Api, opened: Installation, clock: Clock
) -> None:
    first = ask(api, key="k1")
    clock.forward(days=1)
    again = ask(api, key="k1")
    assert again.get_json() == first.get_json()
    assert len(rows(opened)) == 1
    with opened.database.reading() as connection:
        (answer,) = connection.scalars(select(tables.idempotency.c.answer))
    token = first.get_json()["link"].rpartition("/")[2]
    for secret in (token, token.rpartition(".")[0], "confirm:", "grace"):
        assert secret not in answer.lower()
    assert ask(api, ALICE.value, key="k1").status_code == 422


def test_what_cannot_be_asked_names_its_field(api: Api, opened: Installation) -> None:
    for changed, field in (
        ({"topic": "order-updates"}, "topic"),
        ({"topic": "no-such"}, "topic"),
        ({"topic": "trail-tips", "channel": "sms", "address": "+14155550108"}, "topic"),
        ({"channel": "push", "address": "fcm:token"}, "channel"),
        ({"channel": "whatsapp", "address": "+14155550108"}, "channel"),
        ({"channel": "rcs", "address": "+14155550108"}, "channel"),
        ({"address": "grace@nowhere"}, "address"),
        ({"address": "grace"}, "address"),
        ({"deliver": "pigeon"}, "deliver"),
        ({"language": "Klingon!"}, "language"),
        ({"language": "xx"}, "language"),
    ):
        answer = ask(api, **changed)
        assert answer.status_code == 422, changed
        assert field in answer.get_json()["errors"], changed
    assert rows(opened) == []


def test_a_language_that_nobody_speaks_here_is_english(api: Api) -> None:
    assert "Somebody asked" in ask(api, language="tlh").get_json()["text"]


@NOTHING_SENDS
def test_the_doctor_says_where_nobody_can_be_asked(
    opened: Installation, cast: Cast, settings: Settings
) -> None:
    with opened.database.writing() as connection:
        for brand in ("acme", "outdoor"):
            directory.change_brand(connection, cast.tenant, brand, mail_from="")
    opened.directory.refresh()
    tenant = opened.directory.latest.tenants[cast.tenant.id]
    none = "acme: no confirmation by"
    texts = f"{none} sms can be sent for the brand acme: `prefs sender token {ACCOUNT}`"
    mails = [
        f"{none} email can be sent for the brand {brand}:#`prefs brand change {brand} "
        "--mail-from ADDRESS`"
        for brand in ("acme", "outdoor")
    ]
    both = [line.replace("#", " set PREFS_SMTP_URL and ") for line in mails]
    assert list(unasked(settings, tenant)) == [both[0], texts, both[1]]
    assert f"{none} email can be sent for the brand acme: set PREFS_SMTP_URL" in list(
        unasked(settings, cast.tenant)
    )
    keep_token(settings.data, "twilio", ACCOUNT, TOKEN)
    smtp = Smtp("127.0.0.1", 9, False, "", "")
    only_from = [line.replace("#", " ") for line in mails]
    assert list(unasked(replace(settings, smtp=smtp), tenant)) == only_from
    assert list(unasked(replace(settings, smtp=smtp), cast.tenant)) == []


def test_a_topic_that_is_made_a_moment_ago_by_another_worker_can_be_asked_for(
    api: Api, opened: Installation, cast: Cast
) -> None:
    with opened.database.writing() as connection:
        directory.add_topic(
            connection,
            cast.tenant.id,
            cast.tenant.brand("acme").id,
            "offers",
            "Offers",
            "",
            Purpose.MARKETING,
            {Channel.EMAIL: Mode.OPT_IN},
            0,
        )
    assert ask(api, topic="offers").get_json()["outcome"] == "asked"
