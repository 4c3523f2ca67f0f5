"""What people text to our numbers, as Twilio tells us of it: signed, heard once, answered once."""

import logging
from dataclasses import replace
from itertools import count
from typing import Any
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import MultiDict
from werkzeug.test import TestResponse

from prefs import directory, keywords, ledger, tables
from prefs.address import Address, Channel
from prefs.demo import ACCOUNT, DAVE, FRANK, SENDER, TOKEN, Cast
from prefs.installation import Installation
from prefs.ledger import Entry
from prefs.policy import ALL, Authority, Kind, Outcome, Voice
from prefs.settings import Settings, keep_token
from tests.conftest import NOTHING_SENDS, Api, Clock
from tests.test_check import taken_away
from tests.webhooks.test_signatures import JSON, SHA256
from wsgi import create_app

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before the store is asked."""

URL = "https://prefs.example.com/webhooks/twilio/acme"
EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response />'
GSM_7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)

_sids = count(1)


def sid() -> str:
    return f"SM{next(_sids):032x}"


def message(body: str | None, **changed: str | None) -> dict[str, str]:
    """The fields of an inbound message; ``None`` leaves one out."""
    name = changed.pop("MessageSid", None) if "MessageSid" in changed else sid()
    fields: dict[str, str | None] = {
        "ToCountry": "US",
        "ToState": "CA",
        "ToCity": "",
        "FromCountry": "US",
        "FromState": "",
        "FromZip": "94107",
        "SmsMessageSid": name,
        "SmsSid": name,
        "MessageSid": name,
        "SmsStatus": "received",
        "NumMedia": "0",
        "NumSegments": "1",
        "ApiVersion": "2010-04-01",
        "AccountSid": ACCOUNT,
        "From": FRANK.value,
        "To": SENDER,
        "Body": body,
        **changed,
    }
    return {name: value for name, value in fields.items() if value is not None}


class Twilio:
    """Signs and sends as Twilio does, with the account's token."""

    def __init__(self, client: FlaskClient) -> None:
        self.client = client

    def send(
        self,
        fields: dict[str, str] | list[tuple[str, str]],
        token: str = TOKEN,
        url: str = URL,
        headers: dict[str, str] | None = None,
        algorithm: str = "HMAC_SHA1",
    ) -> TestResponse:
        form = MultiDict(fields)
        signature = RequestValidator(token).compute_signature(url, form, algorithm)
        path = url.removeprefix("https://prefs.example.com")
        given = {"X-Twilio-Signature": signature, **(headers or {})}
        return self.client.post(path, data=form, headers=given)

    def text(self, body: str | None, **changed: str | None) -> list[str]:
        """The texts that Twilio would send to the person in answer."""
        return replies(self.send(message(body, **changed)))


def replies(answer: TestResponse) -> list[str]:
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "text/xml; charset=utf-8"
    root = ElementTree.fromstring(answer.text)
    assert root.tag == "Response"
    assert {child.tag for child in root} <= {"Message"}
    return [child.text or "" for child in root]


@pytest.fixture
def twilio(settings: Settings, client: FlaskClient) -> Twilio:
    keep_token(settings.data, "twilio", ACCOUNT, TOKEN)
    return Twilio(client)


def heard(opened: Installation, cast: Cast, number: str = FRANK.value) -> list[Entry]:
    """What was said from a number after the cast had spoken."""
    digest = cast.tenant.digest(Address.parse(Channel.SMS, number))
    with opened.database.reading() as connection:
        past = ledger.history(connection, cast.tenant.id, digest)
    return [entry for entry in past if entry.source == "twilio"]


def events(opened: Installation) -> int:
    with opened.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.event)) or 0


def reason(api: Api, number: str = FRANK.value, topic: str = "product-news") -> str:
    return str(api.check(number, topic, "sms")["reason"])


# --- who may tell us ---


@ONE_STORE
def test_without_a_signature_that_holds_it_is_403_and_nothing_is_heard(
    twilio: Twilio, client: FlaskClient, opened: Installation
) -> None:
    before, stop = events(opened), message("STOP")
    path = "/webhooks/twilio/acme"
    good = RequestValidator(TOKEN).compute_signature(URL, stop)
    for headers in (
        {},
        {"X-Twilio-Signature": ""},
        {"X-Twilio-Signature": "AAAA"},
        {"X-Twilio-Signature": good[:-2]},
        {"X-Twilio-Signature": good, **SHA256},
    ):
        answer = client.post(path, data=stop, headers=headers)
        assert answer.status_code == 403
        assert FRANK.value not in answer.text
        assert TOKEN not in answer.text
    for body, kind in ((b"", None), (b"\xff", "multipart/form-data; boundary=x"), (JSON, "a/json")):
        headers = {"X-Twilio-Signature": good}
        assert client.post(path, data=body, content_type=kind, headers=headers).status_code == 403
    for token in ("", "other", TOKEN.upper()):
        assert twilio.send(stop, token=token).status_code == 403
    assert events(opened) == before


@ONE_STORE
def test_a_valid_signature_over_what_is_not_ours_is_403(
    twilio: Twilio, opened: Installation
) -> None:
    before = events(opened)
    strange: dict[str, dict[str, str | None]] = {
        "another account": {"AccountSid": "AC" + "1" * 32},
        "no account": {"AccountSid": None},
        "an empty account": {"AccountSid": ""},
        "a number that is not ours": {"To": "+14155550198"},
        "no number": {"To": None},
        "the wrong way round": {"To": FRANK.value, "From": SENDER},
        "a name that is no word": {"Body STOP": "x"},
        "a name that is empty": {"": "x"},
    }
    for what, changed in strange.items():
        answer = twilio.send(message("STOP", **changed))
        assert (what, answer.status_code) == (what, 403)
    assert events(opened) == before


@pytest.fixture
def globex(opened: Installation, settings: Settings, twilio: Twilio) -> str:
    """The account of another tenant of the same installation."""
    account, now = "AC" + "9" * 32, opened.clock()
    with opened.database.writing() as connection:
        tenant = directory.add_tenant(connection, "globex", "Globex", now)
        brand = directory.add_brand(connection, tenant, "globex", "Globex", "x", now)
        directory.add_sender(
            connection, tenant, brand, "twilio", account, "+14155550177", "long_code", now
        )
    opened.directory.refresh()
    keep_token(settings.data, "twilio", account, "globex-token")
    return account


@ONE_STORE
def test_another_tenants_signature_opens_no_door_of_ours(
    twilio: Twilio, globex: str, opened: Installation
) -> None:
    before = events(opened)
    theirs = {"AccountSid": globex, "To": "+14155550177"}
    to_us = message("STOP", **theirs)
    assert twilio.send(to_us, token="globex-token").status_code == 403
    mixed = ({"AccountSid": globex}, {"To": "+14155550177"}, {})
    for changed in mixed:
        assert twilio.send(message("STOP", **changed), token="globex-token").status_code == 403
    for path in ("globex2", "nobody", "Acme", "acme%00", "é"):
        url = f"https://prefs.example.com/webhooks/twilio/{path}"
        assert twilio.send(message("STOP"), url=url).status_code == 403
    assert twilio.send(message("STOP"), url=URL.replace("acme", "globex")).status_code == 403
    assert events(opened) == before
    there = URL.replace("acme", "globex")
    assert twilio.send(to_us, token="globex-token", url=there).status_code == 200
    assert events(opened) == before + 1


@ONE_STORE
def test_an_unknown_provider_is_404(client: FlaskClient) -> None:
    for path in ("/webhooks/nobody/acme", "/webhooks/Twilio/acme", "/webhooks/twilio"):
        assert client.post(path).status_code == 404
    assert client.get("/webhooks/twilio/acme").status_code == 405


@ONE_STORE
def test_two_tokens_hold_during_a_rotation_and_the_third_last_no_longer(
    twilio: Twilio, settings: Settings
) -> None:
    keep_token(settings.data, "twilio", ACCOUNT, "second")
    assert twilio.send(message("hello"), token=TOKEN).status_code == 200
    assert twilio.send(message("hello"), token="second").status_code == 200
    keep_token(settings.data, "twilio", ACCOUNT, "third")
    assert twilio.send(message("hello"), token="third").status_code == 200
    assert twilio.send(message("hello"), token="second").status_code == 200
    assert twilio.send(message("hello"), token=TOKEN).status_code == 403


@ONE_STORE
@NOTHING_SENDS
def test_without_a_token_nothing_is_let_in(client: FlaskClient) -> None:
    for token in ("", TOKEN):
        assert Twilio(client).send(message("STOP"), token=token).status_code == 403


@ONE_STORE
def test_the_url_is_signed_as_twilio_requested_it(twilio: Twilio) -> None:
    for query in (
        "?x=%7Ea",
        "?x=~a",
        "?a=1&a=2&a=1",
        "?b=%20+%2B&c=&d",
        "?e=%c3%a9&E=%C3%A9",
        "/",
        "/?x=1",
        "?foo=http://other.example/?x=1",
    ):
        assert (query, twilio.send(message("STOP"), url=URL + query).status_code) == (query, 200)


@ONE_STORE
def test_the_public_url_is_what_is_signed_whatever_a_proxy_says(
    twilio: Twilio, client: FlaskClient
) -> None:
    for headers in (
        {"Host": "10.0.0.7:8000"},
        {"X-Forwarded-Host": "evil.example", "X-Forwarded-Proto": "http"},
        {"Forwarded": "host=evil.example;proto=http", "X-Original-URL": "/x"},
    ):
        assert twilio.send(message("hello"), headers=headers).status_code == 200
    stop = message("STOP")
    evil = RequestValidator(TOKEN).compute_signature(
        "https://evil.example/webhooks/twilio/acme", stop
    )
    headers = {"X-Twilio-Signature": evil, "Host": "evil.example"}
    assert client.post("/webhooks/twilio/acme", data=stop, headers=headers).status_code == 403


@ONE_STORE
@pytest.mark.parametrize(
    ("public", "signed"),
    [
        ("https://example.com/prefs", "https://example.com/prefs/webhooks/twilio/acme"),
        ("https://example.com:8443", "https://example.com:8443/webhooks/twilio/acme"),
        ("https://example.com", "https://example.com:443/webhooks/twilio/acme"),
        ("http://127.0.0.1:8000", "http://127.0.0.1:8000/webhooks/twilio/acme"),
    ],
)
def test_behind_a_path_or_a_port_it_is_the_configured_one(
    settings: Settings, twilio: Twilio, cast: Cast, clock: Clock, public: str, signed: str
) -> None:
    opened = Installation.open(replace(settings, public_url=public), clock)
    stop = message("STOP")
    headers = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(signed, stop)}
    client = create_app(opened).test_client()
    answer = client.post("/webhooks/twilio/acme", data=stop, headers=headers)
    opened.database.close()
    assert answer.status_code == 200


@ONE_STORE
def test_a_signed_request_cut_into_other_names_and_values_says_nothing_new(
    twilio: Twilio, client: FlaskClient, opened: Installation, api: Api, clock: Clock
) -> None:
    """The signed string has no separators: another cut has the same signature."""
    victim = "+14155550101"
    start = message("START")
    twilio.send(start)
    twilio.text("STOP", From=victim)
    clock.forward(minutes=5)
    sayable = message(f"STARTFrom{victim}")
    before = events(opened)

    def cut(fields: dict[str, str], *pairs: tuple[str, str], without: set[str]) -> None:
        form = MultiDict([(n, v) for n, v in fields.items() if n not in without] + [*pairs])
        signature = RequestValidator(TOKEN).compute_signature(URL, fields)
        headers = {"X-Twilio-Signature": signature}
        assert RequestValidator(TOKEN).validate(URL, form, signature), "no other cut of the same"
        answer = client.post("/webhooks/twilio/acme", data=form, headers=headers)
        assert answer.status_code in (200, 403, 422)
        assert events(opened) == before

    # Another MessageSid, so that an old START would be heard once more.
    longer = f"{start['MessageSid']}NumMedia{start['NumMedia']}"
    cut(start, ("MessageSid", longer), without={"MessageSid", "NumMedia"})
    # A text that holds a victim's number, cut so that it comes from there.
    own = sayable["From"]
    cut(
        sayable,
        ("Body", "START"),
        ("From", victim),
        ("From", own),
        without={"Body", "From"},
    )
    cut(sayable, ("BodySTART", f"From{victim}From{own}"), without={"Body", "From"})
    cut(start, ("AccountSi", f"d{ACCOUNT}"), without={"AccountSid"})
    assert reason(api, victim) == "replied_stop"


# --- what is heard ---


def test_a_stop_silences_every_topic_on_that_number_and_nothing_else(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast
) -> None:
    linked = {"person": "u-106", "scope": {"topic": "trail-tips"}, "basis": "express"}
    api.put("frank@example.org", "in", said_by="sender", **linked)
    assert api.check(FRANK.value, channel="sms")["allowed"] is True
    assert twilio.text("STOP") == []
    assert (reason(api), reason(api, topic="events")) == ("replied_stop", "replied_stop")
    assert api.check(FRANK.value, "order-updates", "sms")["allowed"] is True
    assert api.check("frank@example.org", "trail-tips")["allowed"] is True
    (entry,) = heard(opened, cast)
    assert (entry.event.kind, entry.event.voice, entry.event.scope) == (Kind.OUT, Voice.STOP, ALL)
    assert entry.evidence
    assert (entry.evidence["text"], entry.evidence["to"]) == ("STOP", SENDER)
    assert entry.event.rule == f"en/keyword {keywords.VERSION}"
    assert (entry.event.ours_alone, entry.event.to_transactional) == (False, False)


@ONE_STORE
def test_every_spelling_of_stop_is_heard(twilio: Twilio, api: Api) -> None:
    spellings = (
        "stop",
        " Stop\r\n",
        "opt out",
        "Opt-Out!",
        "ＳＴＯＰ",
        "ARRÊT",
        "🛑 STOP",
        "revoke",
    )
    for number, text in enumerate(spellings):
        person = f"+141555502{number:02}"
        twilio.text(text, From=person)
        assert reason(api, person) == "replied_stop"


@ONE_STORE
def test_talk_is_kept_changes_nothing_and_is_answered_by_nobody(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast
) -> None:
    texts = ("don't stop", "We have got to STOP this bill", "hello", "YES", "", None, "\x00�")
    for text in texts:
        assert twilio.text(text) == []
    kept = heard(opened, cast)
    assert [e.evidence and e.evidence["text"] for e in kept] == [text or "" for text in texts]
    assert {(e.event.kind, e.event.rule) for e in kept} == {(Kind.TEXT, f"none {keywords.VERSION}")}
    assert reason(api) == "consent"


@ONE_STORE
def test_a_picture_without_words_says_nothing(twilio: Twilio, api: Api) -> None:
    picture = {"MediaContentType0": "image/jpeg", "MediaUrl0": "https://api.twilio.com/x"}
    assert twilio.text("", NumMedia="1", **picture) == []
    assert reason(api) == "consent"


@ONE_STORE
def test_fields_that_come_new_are_no_reason_to_refuse_a_stop(twilio: Twilio, api: Api) -> None:
    new = {"ChannelMetadata": '{"a": 1}', "Referral-Id": "x", "Some_New.Field": "é", "Twice": "1"}
    fields = [*message("STOP", **new).items(), ("Twice", "2")]
    assert twilio.send(fields).status_code == 200
    assert reason(api) == "replied_stop"


@ONE_STORE
def test_a_shared_key_signs_with_sha256(twilio: Twilio, api: Api) -> None:
    answer = twilio.send(message("STOP"), headers=SHA256, algorithm="HMAC_SHA256")
    assert answer.status_code == 200
    assert reason(api) == "replied_stop"


def test_the_same_message_again_changes_nothing(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    stop, start = message("STOP"), message("START")
    for _ in range(3):
        assert twilio.send(stop, headers={"I-Twilio-Idempotency-Token": sid()}).text == EMPTY
    assert len(heard(opened, cast)) == 1
    clock.forward(minutes=5)
    twilio.send(start)
    assert reason(api) == "consent"
    twilio.send(stop)
    assert reason(api) == "consent"
    twilio.text("STOP")
    clock.forward(minutes=5)
    twilio.send(start)
    assert reason(api) == "replied_stop"
    assert len(heard(opened, cast)) == 3


def test_a_message_of_another_id_is_another_word(
    twilio: Twilio, opened: Installation, cast: Cast
) -> None:
    twilio.text("STOP")
    twilio.text("STOP")
    assert len(heard(opened, cast)) == 2


@pytest.mark.parametrize("word", ["START", "unstop", "Start."])
def test_a_start_lifts_the_stop_and_what_was_said_before_holds_again(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, clock: Clock, word: str
) -> None:
    twilio.text("STOP")
    clock.forward(minutes=2, seconds=1)
    twilio.text(word)
    assert (reason(api), reason(api, topic="events")) == ("consent", "no_consent")
    start = heard(opened, cast)[-1]
    assert (start.event.kind, start.event.authority) == (Kind.LIFT, Authority.START)
    assert start.outcome is Outcome.APPLIED


def test_a_start_within_two_minutes_may_be_the_older_one_and_lifts_nothing(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    twilio.text("STOP")
    clock.forward(minutes=2)
    twilio.text("START")
    assert reason(api) == "replied_stop"
    assert heard(opened, cast)[-1].outcome is Outcome.REFUSED
    clock.forward(seconds=1)
    twilio.text("START")
    assert reason(api) == "consent"


def test_a_start_lifts_no_other_no_and_consents_to_nothing(
    twilio: Twilio, api: Api, clock: Clock
) -> None:
    api.put(FRANK.value, "out", channel="sms", scope={"all": True})
    twilio.text("STOP")
    clock.forward(minutes=5)
    twilio.text("START")
    assert reason(api) == "opted_out"
    twilio.text("START", From="+14155550133")
    assert reason(api, "+14155550133") == "no_consent"


@ONE_STORE
def test_a_yes_is_no_start(twilio: Twilio, api: Api, clock: Clock) -> None:
    clock.forward(days=1)
    assert twilio.text("YES", From=DAVE.value) == []
    assert reason(api, DAVE.value) == "replied_stop"


@ONE_STORE
def test_help_changes_nothing(twilio: Twilio, api: Api, opened: Installation, cast: Cast) -> None:
    for word in ("HELP", "info"):
        twilio.text(word)
    assert [e.event.kind for e in heard(opened, cast)] == [Kind.TEXT, Kind.TEXT]
    assert reason(api) == "consent"


def channels(api: Api, number: str = FRANK.value) -> dict[str, str]:
    """Why product news may or may not go to a number, on each channel that texts come by."""
    names = ("sms", "rcs", "whatsapp")
    return {name: api.check(number, channel=name)["reason"] for name in names}


@pytest.fixture
def everywhere(api: Api) -> None:
    """Product news goes out on WhatsApp and RCS too, and Frank has agreed to it there."""
    offered = {"channels": {"whatsapp": "opt_in", "rcs": "opt_in"}}
    assert api("PATCH", "/v1/topics/product-news", offered).status_code == 200
    for channel in ("whatsapp", "rcs"):
        said = {"scope": {"topic": "product-news"}, "basis": "express"}
        assert api.put(FRANK.value, "in", channel=channel, **said).status_code == 200


@ONE_STORE
@pytest.mark.usefixtures("everywhere")
def test_whatsapp_has_a_standing_of_its_own(twilio: Twilio, api: Api, clock: Clock) -> None:
    there = {"From": f"whatsapp:{FRANK.value}", "To": f"whatsapp:{SENDER}"}
    assert len(twilio.text("STOP", **there)) == 1
    assert channels(api) == {"sms": "consent", "rcs": "consent", "whatsapp": "replied_stop"}
    clock.forward(minutes=5)
    twilio.text("STOP")
    twilio.text("START", **there)
    stopped = {"sms": "replied_stop", "rcs": "replied_stop", "whatsapp": "consent"}
    assert channels(api) == stopped


@ONE_STORE
@pytest.mark.usefixtures("everywhere")
def test_a_text_comes_by_rcs_or_sms_and_a_stop_to_one_is_kept_for_both(
    twilio: Twilio, api: Api, clock: Clock
) -> None:
    by_rcs = {"From": f"rcs:{FRANK.value}", "To": f"rcs:{SENDER}"}
    for first, second in (({}, by_rcs), (by_rcs, {})):
        twilio.text("STOP", **first)
        both = {"sms": "replied_stop", "rcs": "replied_stop", "whatsapp": "consent"}
        assert channels(api) == both
        clock.forward(minutes=5)
        twilio.text("START", **second)
        assert set(channels(api).values()) == {"consent"}
        clock.forward(minutes=5)


def test_a_message_to_a_service_is_to_its_sender(twilio: Twilio, api: Api) -> None:
    service = "MG" + "5" * 32
    sender = {"brand": "acme", "provider": "twilio", "account": ACCOUNT, "identity": service}
    assert api("POST", "/v1/senders", {**sender, "kind": "messaging_service"}).status_code == 201
    twilio.text("STOP", To="+14155550160", MessagingServiceSid=service)
    assert reason(api) == "replied_stop"


@ONE_STORE
def test_a_stop_from_no_person_is_ignored(twilio: Twilio, opened: Installation) -> None:
    before = events(opened)
    for author in ("", "12345", "+1", "ACME", "whatsapp:", "+1415555010x", "\x00", "+" * 99, None):
        assert twilio.text("STOP", From=author) == []
    assert events(opened) == before


@ONE_STORE
def test_a_stop_without_an_id_is_a_4xx_that_names_the_field(
    twilio: Twilio, opened: Installation
) -> None:
    before = events(opened)
    for sid in ("", "SM", f"SM{'0' * 31}", f"SM{'0' * 33}", f"SM{'z' * 32}", "\x00", None):
        answer = twilio.send(message("STOP", MessageSid=sid))
        assert (sid, answer.status_code) == (sid, 422)
        assert list(answer.get_json()["errors"]) == ["MessageSid"]
    assert events(opened) == before


def test_without_the_store_twilio_is_told_to_come_again_and_is_heard_then(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, request: pytest.FixtureRequest
) -> None:
    stop = message("STOP")
    with taken_away(opened, request):
        answer = twilio.send(stop)
        assert answer.status_code == 503
        assert answer.mimetype != "text/plain"
    assert heard(opened, cast) == []
    assert twilio.send(stop).status_code == 200
    assert reason(api) == "replied_stop"


# --- what is answered ---

KINDS = ("long_code", "toll_free", "short_code", "messaging_service", "advanced_opt_out")
OURS = ("short_code", "advanced_opt_out")
"""Kinds of sender where nobody but us answers a bare keyword."""


@pytest.fixture
def sender(request: pytest.FixtureRequest, api: Api) -> dict[str, str]:
    kind, number = request.param, KINDS.index(request.param)
    identity = f"7700{number}" if kind == "short_code" else f"+1415555017{number}"
    entry = {"brand": "acme", "provider": "twilio", "account": ACCOUNT, "identity": identity}
    assert api("POST", "/v1/senders", {**entry, "kind": kind}).status_code == 201
    return {"To": identity, "kind": kind}


@ONE_STORE
@pytest.mark.parametrize("sender", KINDS, indirect=True, ids=KINDS)
def test_a_word_is_answered_once_by_twilio_or_by_us(
    twilio: Twilio, sender: dict[str, str], clock: Clock
) -> None:
    kind = sender.pop("kind")
    numbers = (f"+1415555{number}" for number in range(2000, 3000))
    for word, answers in (
        ("STOP", True),
        (" stop ", True),
        ("OPTOUT", True),
        ("START", True),
        ("UNSTOP", True),
        ("HELP", True),
        ("INFO", True),
        ("opt out", True),
        ("STOP.", True),
        ("ARRET", True),
        ("Start!", True),
        ("help?", True),
        ("YES", False),
        ("don't stop", False),
        ("", False),
    ):
        bare = word.strip().isalpha() and word != "ARRET"
        by_twilio = kind not in OURS and bare
        person = {"From": next(numbers), **sender}
        assert len(twilio.text(word, **person)) == (answers and not by_twilio), (kind, word)
        for said in ("STOP", "START", "HELP"):
            person = {"From": next(numbers), **sender}
            # Whatever carries an OptOutType, Twilio has answered.
            assert twilio.send(message(word, OptOutType=said, **person)).text == EMPTY


@ONE_STORE
@pytest.mark.parametrize("sender", KINDS, indirect=True, ids=KINDS)
def test_with_advanced_opt_out_the_word_is_what_twilio_took_it_for(
    twilio: Twilio, api: Api, sender: dict[str, str], clock: Clock
) -> None:
    sender.pop("kind")
    twilio.text("BASTA COSÌ", OptOutType="STOP", **sender)
    assert reason(api) == "replied_stop"
    clock.forward(minutes=5)
    twilio.text("AIUTO", OptOutType="HELP", **sender)
    assert reason(api) == "replied_stop"
    twilio.text("INIZIO", OptOutType="START", **sender)
    assert reason(api) == "consent"


@ONE_STORE
@pytest.mark.parametrize("sender", ["short_code"], indirect=True)
def test_what_we_answer_is_true(
    twilio: Twilio, api: Api, sender: dict[str, str], clock: Clock
) -> None:
    del sender["kind"]
    confirmed = (
        "Acme Group: you are unsubscribed and get no more marketing texts. START undoes this STOP."
    )
    stop = message("STOP", **sender)
    assert replies(twilio.send(stop)) == [confirmed]
    # Twilio comes again with the same message when it did not get the answer.
    assert replies(twilio.send(stop)) == [confirmed]
    assert twilio.text("START", **sender) == [
        "Acme Group: you are still unsubscribed. To get texts again, send START in 3 minutes."
    ]
    assert reason(api) == "replied_stop"
    clock.forward(minutes=3)
    assert twilio.text("START", **sender) == [
        "Acme Group: you get texts again: Product news. Reply HELP for help, STOP to unsubscribe."
    ]
    assert reason(api) == "consent"
    twilio.text("STOP", **sender)
    api.put(FRANK.value, "out", channel="sms", scope={"all": True})
    clock.forward(minutes=3)
    assert twilio.text("START", **sender) == [
        "Acme Group: your STOP is taken back. What you unsubscribed from elsewhere stays so."
    ]
    assert reason(api) == "opted_out"
    assert twilio.text("HELP", **sender) == [
        "Acme: for help, help@acme.example. Reply STOP to unsubscribe."
    ]


@ONE_STORE
@pytest.mark.parametrize("sender", ["short_code"], indirect=True)
def test_a_second_stop_is_heard_and_not_confirmed_again(
    twilio: Twilio, sender: dict[str, str], opened: Installation, cast: Cast
) -> None:
    # 47 CFR 64.1200(a)(12): one. And two machines would talk for ever.
    del sender["kind"]
    assert [len(twilio.text("STOP", **sender)) for _ in range(3)] == [1, 0, 0]
    assert len(heard(opened, cast)) == 3


@ONE_STORE
@pytest.mark.parametrize("sender", ["short_code"], indirect=True)
def test_every_answer_is_one_text_of_160_signs_however_long_the_names(
    twilio: Twilio, api: Api, sender: dict[str, str], clock: Clock
) -> None:
    del sender["kind"]
    api("PATCH", "/v1/tenant", {"name": "The Very Long & <Winding> Name " * 3})
    brand = {
        "slug": "long",
        "name": "B & <C> " * 14,
        "contact": "https://help.example/" + "x" * 179,
    }
    assert api("POST", "/v1/brands", brand).status_code == 201
    entry = {"brand": "long", "provider": "twilio", "account": ACCOUNT, "identity": "77009"}
    assert api("POST", "/v1/senders", {**entry, "kind": "short_code"}).status_code == 201
    texts = []
    for word in ("STOP", "START", "HELP", "wait", "START"):
        clock.forward(minutes=1 if word != "wait" else 5)
        texts += twilio.text(word, To="77009")
    assert len(texts) == 4
    for text in texts:
        assert set(text) <= GSM_7
        assert len(text) <= 160


@ONE_STORE
def test_an_empty_answer_is_exactly_this(twilio: Twilio) -> None:
    for word in ("STOP", "START", "hello"):
        answer = twilio.send(message(word))
        assert (answer.text, answer.content_type) == (EMPTY, "text/xml; charset=utf-8")
        assert "Set-Cookie" not in answer.headers


# --- what is kept from logs ---


def test_nothing_of_a_message_is_written_to_a_log(
    twilio: Twilio,
    client: FlaskClient,
    opened: Installation,
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    canary: Any = {"From": "+14155550142", "FromCity": "CANARY"}
    settings = {"X-Twilio-Webhooks-Signature-Settings": "algorithm=CANARY"}
    assert twilio.send(message("STOP", **canary)).status_code == 200
    assert twilio.send(message("CANARY", **canary)).status_code == 200
    assert twilio.send(message("STOP", **canary), token="CANARY").status_code == 403
    assert twilio.send(message("STOP", **canary), headers=settings).status_code == 403
    assert twilio.send(message("STOP", MessageSid="CANARY", **canary)).status_code == 422
    assert twilio.send(message("STOP", From="CANARY 0142")).status_code == 200
    with taken_away(opened, request):
        assert twilio.send(message("STOP", **canary)).status_code == 503
    written = caplog.text + "".join(capfd.readouterr())
    for secret in ("CANARY", "5550142", TOKEN, "SM000"):
        assert secret not in written


def test_a_stop_to_a_number_that_another_worker_has_just_made_is_heard(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast
) -> None:
    number = "+14155550188"
    with opened.database.writing() as connection:
        brand = cast.tenant.brand("acme").id
        made = (cast.tenant.id, brand, "twilio", ACCOUNT, number, "long_code", 0)
        directory.add_sender(connection, *made)
    twilio.text("STOP", To=number)
    assert reason(api) == "replied_stop"
