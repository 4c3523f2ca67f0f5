"""What people text to our numbers, as Twilio tells us of it: signed, heard once, answered once."""

import hashlib
import logging
from dataclasses import replace
from itertools import count
from typing import Any
from xml.etree import ElementTree

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.test import TestResponse

from prefs import directory, ledger, tables
from prefs.address import Address, Channel
from prefs.demo import ACCOUNT, DAVE, FRANK, SENDER, TOKEN, Cast
from prefs.installation import Installation
from prefs.ledger import Entry
from prefs.policy import ALL, Authority, Kind, Outcome, Voice
from prefs.settings import Settings, keep_token
from tests.conftest import NOTHING_SENDS, Api, Clock
from tests.test_check import taken_away
from webhooks import keywords
from webhooks.call import Call, Forged
from webhooks.twilio import is_signed, verify
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


# --- the signature ---

MYAPP = "https://mycompany.com/myapp.php?foo=1&bar=2"
CALL = [
    ("CallSid", "CA1234567890ABCDE"),
    ("Digits", "1234"),
    ("From", "+14158675309"),
    ("To", "+18005551212"),
    ("Caller", "+14158675309"),
]
TWICE = [
    ("Sid", "CA123"),
    ("SidAccount", "AC123"),
    ("Digits", "5678"),
    ("Digits", "1234"),
    ("Digits", "1234"),
]
ZEROS = "0" * 32
HOOK = "https://prefs.example.com/webhooks/twilio/sms"
STOP = [
    ("MessageSid", f"SM{ZEROS}"),
    ("SmsSid", f"SM{ZEROS}"),
    ("SmsMessageSid", f"SM{ZEROS}"),
    ("AccountSid", f"AC{ZEROS}"),
    ("MessagingServiceSid", f"MG{ZEROS}"),
    ("From", "+14155550100"),
    ("To", "+14155550199"),
    ("Body", "STOP"),
    ("NumMedia", "0"),
    ("NumSegments", "1"),
    ("OptOutType", "STOP"),
    ("FromCountry", "US"),
    ("ToCountry", "US"),
    ("ApiVersion", "2010-04-01"),
    ("SmsStatus", "received"),
]
SPACED = [(name, " stop \n" if name == "Body" else value) for name, value in STOP]
HTTP = MYAPP.replace("https", "http")
SHA256 = {"X-Twilio-Webhooks-Signature-Settings": "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"}
JSON = b'{"property": "value", "boolean": true}'
JSON_URL = f"{MYAPP}&bodySHA256=0a1ff7634d9ab3b95db5c9a2dfe9416e41502b283a80c7cf19632632f96e6620"

VECTORS = [
    pytest.param(MYAPP, CALL, {}, "RSOYDt4T1cUTdK1PDd93/VVr8B8=", id="a form, SHA-1"),
    pytest.param(
        MYAPP, CALL, SHA256, "033hgUJA9M/hXIZsYjwkerEP/DBm35nEri5FhCYjA5s=", id="a form, SHA-256"
    ),
    pytest.param(MYAPP, TWICE, {}, "IK+Dwps556ElfBT0I3Rgjkr1wJU=", id="a name that comes twice"),
    pytest.param(
        MYAPP.replace(".com", ".com:443"), CALL, {}, "kvajT1Ptam85bY51eRf/AJRuM3w=", id="port 443"
    ),
    pytest.param(MYAPP, CALL, {}, "kvajT1Ptam85bY51eRf/AJRuM3w=", id="port 443 that Twilio added"),
    pytest.param(HTTP, CALL, {}, "0ZXoZLH/DfblKGATFgpif+LLRf4=", id="port 80 that Twilio added"),
    pytest.param(
        MYAPP.replace(".com", ".com:1234"),
        CALL,
        {},
        "RSOYDt4T1cUTdK1PDd93/VVr8B8=",
        id="a port that Twilio removed",
    ),
    pytest.param(
        HTTP.replace(".com", ".com:1234"),
        CALL,
        {},
        "Zmvh+3yNM1Phv2jhDCwEM3q5ebU=",
        id="a port that Twilio removed, http",
    ),
    pytest.param(HOOK, STOP, {}, "8fCUW0xatnMUgX28wDe7IFkkPxA=", id="a STOP"),
    pytest.param(
        HOOK, STOP, SHA256, "xDu25Kmrp22HgYov5cs4Eo/gsm1Rwm8IoZlop/g71x4=", id="a STOP, SHA-256"
    ),
    pytest.param(HOOK, SPACED, {}, "lDC1a3kNxmQdJXbL1J35eJ0UIHk=", id="a stop with spaces"),
    pytest.param(JSON_URL, JSON, {}, "a9nBmqA0ju/hNViExpshrM61xv4=", id="a JSON body"),
]


def call(
    url: str, body: "list[tuple[str, str]] | bytes", headers: dict[str, str], signature: str | None
) -> Call:
    given = Headers(headers)
    if signature is not None:
        given["X-Twilio-Signature"] = signature
    if isinstance(body, bytes):
        return Call(url, given, MultiDict(), body)
    return Call(url, given, MultiDict(body), b"as it came")


@pytest.mark.parametrize(("url", "body", "headers", "signature"), VECTORS)
def test_twilios_published_signatures_are_accepted_and_nothing_near_them(
    url: str, body: "list[tuple[str, str]] | bytes", headers: dict[str, str], signature: str
) -> None:
    assert is_signed(call(url, body, headers, signature), ("12345",))
    # Two tokens during a rotation, in any order.
    assert is_signed(call(url, body, headers, signature), ("other", "12345"))
    assert is_signed(call(url, body, headers, signature), ("12345", "other"))
    for tokens in ((), ("",), ("12346",), ("1234", "5")):
        assert not is_signed(call(url, body, headers, signature), tokens)
    swapped = signature.swapcase()
    for wrong in (None, "", "x", signature[:-1], swapped, f"{signature}=", "\u00e9" * 28):
        assert not is_signed(call(url, body, headers, wrong), ("12345",))
    assert not is_signed(call(f"{url}&more=1", body, headers, signature), ("12345",))
    other = {} if headers else SHA256
    assert not is_signed(call(url, body, other, signature), ("12345",))
    changed = body + b" " if isinstance(body, bytes) else [*body, ("More", "1")]
    assert not is_signed(call(url, changed, headers, signature), ("12345",))


def test_a_body_that_is_no_form_needs_its_hash_in_the_url() -> None:
    for url in (MYAPP, f"{MYAPP}&bodySHA256=", f"{MYAPP}&bodySHA256={'0' * 64}"):
        for body in (JSON, b"\xff\xfe", b"\x00"):
            signature = RequestValidator("12345").compute_signature(url, {})
            assert not is_signed(call(url, body, {}, signature), ("12345",))
    hashed = f"{MYAPP}&bodySHA256={hashlib.sha256(JSON).hexdigest()}"
    signature = RequestValidator("12345").compute_signature(hashed, {})
    assert is_signed(call(hashed, JSON, {}, signature), ("12345",))


def test_an_algorithm_that_nobody_knows_is_refused_and_not_logged(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for name in ("MD5", "NONE", "HMAC_SHA1,algorithm=CANARY", "\n CANARY", "CANARY"):
        settings = {"X-Twilio-Webhooks-Signature-Settings": f"algorithm={name.strip()}"}
        if "," not in name:
            assert not is_signed(call(MYAPP, CALL, settings, "x"), ("12345",))
    assert caplog.text == ""


@ONE_STORE
def test_the_whole_vector_names_the_sender_of_the_tenant(cast: Cast, settings: Settings) -> None:
    keep_token(settings.data, "twilio", ACCOUNT, "12345")
    for fields, signature in (
        (STOP, "8fCUW0xatnMUgX28wDe7IFkkPxA="),
        (SPACED, "lDC1a3kNxmQdJXbL1J35eJ0UIHk="),
    ):
        sender = verify(call(HOOK, fields, {}, signature), cast.tenant, settings)
        assert (sender.account, sender.identity) == (ACCOUNT, SENDER)
    with pytest.raises(Forged):
        verify(call(HOOK, STOP, {}, "lDC1a3kNxmQdJXbL1J35eJ0UIHk="), cast.tenant, settings)


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
    assert entry.evidence["keywords"] == f"version {keywords.VERSION}"


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
def test_talk_changes_nothing_and_is_answered_by_nobody(
    twilio: Twilio, opened: Installation
) -> None:
    before = events(opened)
    for text in ("don't stop", "We have got to STOP this bill", "hello", "YES", "", None, "\x00�"):
        assert twilio.text(text) == []
    assert events(opened) == before


@ONE_STORE
def test_a_picture_without_words_says_nothing(twilio: Twilio, opened: Installation) -> None:
    before = events(opened)
    picture = {"MediaContentType0": "image/jpeg", "MediaUrl0": "https://api.twilio.com/x"}
    assert twilio.text("", NumMedia="1", **picture) == []
    assert events(opened) == before


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
def test_help_changes_nothing(twilio: Twilio, api: Api, opened: Installation) -> None:
    before = events(opened)
    for word in ("HELP", "info"):
        twilio.text(word)
    assert events(opened) == before
    assert reason(api) == "consent"


@ONE_STORE
def test_a_stop_on_whatsapp_or_rcs_is_one_for_texts_and_a_start_there_is_none(
    twilio: Twilio, api: Api, clock: Clock
) -> None:
    for channel in ("whatsapp", "rcs"):
        number = {"From": f"{channel}:{FRANK.value}", "To": f"{channel}:{SENDER}"}
        twilio.text("STOP", **number)
        assert reason(api) == "replied_stop"
        clock.forward(minutes=5)
        assert twilio.text("START", **number) == []
        assert reason(api) == "replied_stop"
        twilio.text("START")
        assert reason(api) == "consent"


def test_a_message_to_a_service_is_to_its_sender(twilio: Twilio, api: Api) -> None:
    service = "MG" + "5" * 32
    sender = {"brand": "acme", "provider": "twilio", "account": ACCOUNT, "identity": service}
    assert api("POST", "/v1/senders", {**sender, "kind": "messaging_service"}).status_code == 201
    twilio.text("STOP", To="+14155550160", MessagingServiceSid=service)
    assert reason(api) == "replied_stop"


@ONE_STORE
def test_a_stop_from_nobody_or_without_an_id_is_a_4xx_that_names_the_field(
    twilio: Twilio, opened: Installation
) -> None:
    before = events(opened)
    numbers = ("", "12345", "+1", "anonymous", "whatsapp:", "+1415555010x", "\x00", "+" * 99, None)
    names = ("", "SM", f"SM{'0' * 31}", f"SM{'0' * 33}", f"SM{'z' * 32}", "\x00", None)
    for field, wrong in (("From", numbers), ("MessageSid", names)):
        for value in wrong:
            answer = twilio.send(message("STOP", **{field: value}))
            assert (field, value, answer.status_code) == (field, value, 422)
            assert list(answer.get_json()["errors"]) == [field]
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
        "Acme Group: you get texts again as before. Reply HELP for help, STOP to unsubscribe."
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
    assert twilio.send(message("STOP", From="CANARY 0142")).status_code == 422
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
