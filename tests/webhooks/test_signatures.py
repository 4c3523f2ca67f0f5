"""Who has signed: Twilio's published signatures, what is near them, and another URL than ours."""

import hashlib
import json
import logging
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import func, select
from twilio.request_validator import RequestValidator
from werkzeug.datastructures import Headers, MultiDict
from werkzeug.test import TestResponse

from prefs import directory, tables
from prefs.demo import ACCOUNT, FRANK, SENDER, TOKEN, Cast
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.settings import Settings, keep_token
from tests.conftest import Api, Clock
from webhooks.call import Call, Forged, Misaddressed
from webhooks.twilio import is_signed, verify
from webhooks.twilio.guessing import MOST, likely_urls, mend
from webhooks.twilio.sampling import fields as sample

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before the store is asked."""

PATH = "/webhooks/twilio/acme"
URL = f"https://prefs.example.com{PATH}"
EMPTY = '<?xml version="1.0" encoding="UTF-8"?><Response />'

# --- Twilio's own ---

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
@pytest.mark.parametrize(("url", "body", "headers", "signature"), VECTORS)
def test_a_published_request_is_the_tenants_where_it_names_an_account_and_a_number_of_theirs(
    cast: Cast,
    settings: Settings,
    url: str,
    body: "list[tuple[str, str]] | bytes",
    headers: dict[str, str],
    signature: str,
) -> None:
    keep_token(settings.data, "twilio", ACCOUNT, "12345")
    asked = call(url, body, headers, signature)
    # A call names no account; JSON is no message, and its signature is all that is asked of it.
    if body in (CALL, TWICE):
        with pytest.raises(Forged):
            verify(asked, cast.tenant, settings)
        return
    sender = verify(asked, cast.tenant, settings)
    assert (sender.account, sender.identity) == (ACCOUNT, SENDER)
    wrong = call(url, body, headers, signature.swapcase())
    with pytest.raises(Forged):
        verify(wrong, cast.tenant, settings)


# --- over HTTP ---


class Account:
    """A Twilio account that signs what it is told to, and posts it to ours."""

    def __init__(self, client: FlaskClient, cast: Cast) -> None:
        self.client = client
        self.sender = cast.tenant.senders[0]

    def text(self, body: str, **changed: str) -> dict[str, str]:
        return {**sample(self.sender, FRANK.value, body), **changed}

    def send(
        self,
        fields: "dict[str, str] | list[tuple[str, str]] | bytes",
        url: str = URL,
        token: str = TOKEN,
        algorithm: str = "HMAC_SHA1",
        to: str | None = None,
        **headers: str,
    ) -> TestResponse:
        """Signs for ``url``, and posts to ``to``, or else to its path."""
        form: Any = MultiDict() if isinstance(fields, bytes) else MultiDict(fields)
        signature = RequestValidator(token).compute_signature(url, form, algorithm)
        kind = "application/json" if isinstance(fields, bytes) else None
        return self.client.post(
            to or url.removeprefix("https://prefs.example.com"),
            data=fields if isinstance(fields, bytes) else form,
            content_type=kind,
            headers={"X-Twilio-Signature": signature}
            | {name.replace("_", "-"): text for name, text in headers.items()},
        )


@pytest.fixture
def account(client: FlaskClient, cast: Cast) -> Account:
    return Account(client, cast)


def events(opened: Installation) -> int:
    with opened.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.event)) or 0


def reason(api: Api) -> str:
    return str(api.check(FRANK.value, "product-news", "sms")["reason"])


@ONE_STORE
def test_a_key_that_is_shared_signs_with_sha256_and_no_header_makes_that_less(
    account: Account, api: Api, opened: Installation
) -> None:
    before = events(opened)
    shared = {"X-Twilio-Webhooks-Signature-Settings": "key=webhooks_sharedkey_1,algorithm="}
    name, value = next(iter(shared.items()))
    for algorithm, said in (
        ("HMAC_SHA256", None),
        ("HMAC_SHA256", "HMAC_SHA1"),
        ("HMAC_SHA1", "HMAC_SHA256"),
        ("HMAC_SHA256", ""),
        ("HMAC_SHA1", "MD5"),
        ("HMAC_SHA1", "NONE"),
        ("HMAC_SHA256", "HMAC_SHA256,algorithm=NONE,algorithm=HMAC_SHA1".partition(",")[2]),
    ):
        headers = {} if said is None else {name: value + said}
        answer = account.send(account.text("STOP"), algorithm=algorithm, **headers)
        assert (algorithm, said, answer.status_code) == (algorithm, said, 403)
    assert events(opened) == before
    headers = {name: value + "HMAC_SHA256"}
    answer = account.send(account.text("STOP"), algorithm="HMAC_SHA256", **headers)
    assert answer.status_code == 200
    assert reason(api) == "replied_stop"


@ONE_STORE
def test_json_that_is_signed_is_no_message_and_changes_nothing(
    account: Account, opened: Installation
) -> None:
    before = events(opened)
    hashed = f"{URL}?bodySHA256={hashlib.sha256(JSON).hexdigest()}"
    answer = account.send(JSON, hashed)
    assert (answer.status_code, answer.text) == (200, EMPTY)
    for url in (URL, f"{URL}?bodySHA256=", f"{URL}?bodySHA256={'0' * 64}"):
        assert account.send(JSON, url).status_code == 403
    for body in (b"{", b"\xff\xfe", b"\x00", b"[" * 50_000, b'{"a": "\xed\xa0\x80"}'):
        at = f"{URL}?bodySHA256={hashlib.sha256(body).hexdigest()}"
        assert account.send(body, at).status_code in (200, 403)
        assert account.send(body, at, token="other").status_code == 403
    assert events(opened) == before


@ONE_STORE
def test_bytes_that_are_no_utf_8_are_refused_or_heard_and_never_a_500(
    account: Account, client: FlaskClient
) -> None:
    text = account.text("STOP")
    form = "&".join(f"{name}={value}" for name, value in text.items() if name != "Body")
    for body in (b"Body=%FF", b"Body=\xff\xfe", b"Body=%ED%A0%80", b"Bo%FFdy=STOP", b"%=%&=&&"):
        headers = {"X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(URL, text)}
        answer = client.post(
            PATH,
            data=form.replace("+", "%2B").encode() + b"&" + body,
            content_type="application/x-www-form-urlencoded",
            headers=headers,
        )
        assert (body, answer.status_code) == (body, 403)
    # Signed as it is read: with what stands for what cannot be read.
    assert account.send(account.text("\ufffd")).status_code == 200


@ONE_STORE
def test_a_get_is_no_way_in(account: Account, client: FlaskClient, opened: Installation) -> None:
    before, text = events(opened), account.text("STOP")
    asked = client.get(PATH, query_string=text)
    assert asked.status_code == 405
    query = asked.request.query_string.decode()
    signature = RequestValidator(TOKEN).compute_signature(f"{URL}?{query}", {})
    headers = {"X-Twilio-Signature": signature}
    assert client.get(f"{PATH}?{query}", headers=headers).status_code == 405
    # Nor is what stands in the URL of a POST a message.
    assert client.post(f"{PATH}?{query}", headers=headers).status_code == 403
    assert events(opened) == before


@ONE_STORE
def test_what_is_long_empty_new_or_from_nobody_is_answered_with_200(
    account: Account, opened: Installation
) -> None:
    picture = {"NumMedia": "1", "MediaContentType0": "image/jpeg", "MediaUrl0": "https://m/x"}
    new = {"ChannelMetadata": '{"a": 1}', "Some_New.Field": "é", "Referral-Id": ""}
    heard = (
        account.text("", **picture),
        account.text("x" * 1600),
        account.text("\U0001f600" * 800),
        account.text("hello", **new),
        {name: text for name, text in account.text("hello").items() if name != "Body"},
        [*account.text("hello").items(), ("Twice", "1"), ("Twice", "2")],
    )
    for fields in heard:
        assert account.send(fields).status_code == 200
    before = events(opened)
    for nobody in ("12345", "ACME", "Acme Co", "", "whatsapp:", "+1"):
        answer = account.send(account.text("STOP", From=nobody))
        assert (nobody, answer.status_code, answer.text) == (nobody, 200, EMPTY)
    assert events(opened) == before


@pytest.fixture
def globex(opened: Installation, settings: Settings, cast: Cast) -> Tenant:
    """Another tenant of the installation, with an account and a token of its own."""
    account, now = "AC" + "9" * 32, opened.clock()
    with opened.database.writing() as connection:
        tenant = directory.add_tenant(connection, "globex", "Globex", now)
        brand = directory.add_brand(connection, tenant, "globex", "Globex", "x", now)
        directory.add_sender(
            connection, tenant, brand, "twilio", account, "+14155550177", "long_code", now
        )
    opened.directory.refresh()
    keep_token(settings.data, "twilio", account, "globex-token")
    return opened.directory.latest.tenants[tenant]


@ONE_STORE
def test_another_tenants_signature_and_a_number_of_nobodys_say_nothing(
    account: Account, globex: Tenant, opened: Installation
) -> None:
    before, sender = events(opened), globex.senders[0]
    for changed in (
        {"AccountSid": sender.account, "To": sender.identity},
        {"AccountSid": sender.account},
        {"To": sender.identity},
        {},
    ):
        answer = account.send(account.text("STOP", **changed), token="globex-token")
        assert answer.status_code == 403
    hashed = f"{URL}?bodySHA256={hashlib.sha256(JSON).hexdigest()}"
    assert account.send(JSON, hashed, token="globex-token").status_code == 403
    for to in ("+14155550198", sender.identity, "", "12345"):
        assert account.send(account.text("STOP", To=to)).status_code == 403
    assert events(opened) == before


@ONE_STORE
def test_a_request_cut_elsewhere_into_names_and_values_is_refused(
    account: Account, client: FlaskClient, opened: Installation
) -> None:
    text = account.text("STOP")
    signature = RequestValidator(TOKEN).compute_signature(URL, text)
    before = events(opened)
    for removed, added in (
        ({"AccountSid"}, [("AccountSi", f"d{ACCOUNT}")]),
        ({"AccountSid", "ApiVersion"}, [("AccountSid", f"{ACCOUNT}ApiVersion2010-04-01")]),
        ({"To"}, [("T", f"o{SENDER}")]),
        ({"Body"}, [("Bod", "ySTOP")]),
        ({"Body", "ApiVersion"}, [("ApiVersion", "2010-04-01BodySTOP")]),
        ({"Body", "From"}, [("BodySTOPFrom", text["From"]), ("From", "+14155550101")]),
        (set(text), [("".join(name + text[name] for name in sorted(text)), "")]),
    ):
        form = MultiDict([(n, v) for n, v in text.items() if n not in removed] + added)
        answer = client.post(PATH, data=form, headers={"X-Twilio-Signature": signature})
        assert (added, answer.status_code) == (added, 403)
    assert events(opened) == before


# --- signed for another URL ---

ELSEWHERE: dict[str, tuple[str, str, dict[str, str]]] = {
    "http": (URL.replace("https", "http"), PATH, {}),
    "a port": (URL.replace(".com", ".com:8443"), PATH, {}),
    "the port that the proxy tells": (
        URL.replace(".com", ".com:9443"),
        PATH,
        {"X-Forwarded-Port": "9443"},
    ),
    "port 80": (URL.replace("https", "http").replace(".com", ".com:80"), PATH, {}),
    "the host that was asked for": (
        URL.replace("prefs.example", "www.example"),
        PATH,
        {"Host": "www.example.com"},
    ),
    "the host and port that was asked for": (
        f"https://www.example.com:4433{PATH}",
        PATH,
        {"Host": "www.example.com:4433"},
    ),
    "the host that the proxy tells": (
        f"http://www.example.com{PATH}",
        PATH,
        {"Host": "10.0.0.7:8000", "X-Forwarded-Host": "www.example.com, 10.0.0.6"},
    ),
    "a path that the proxy has taken off": (
        f"https://prefs.example.com/prefs/v2{PATH}",
        PATH,
        {"X-Forwarded-Prefix": "/prefs/v2/"},
    ),
    "a slash at the end": (f"{URL}/", PATH, {}),
    "no slash at the end": (URL, f"{PATH}/", {}),
    "a query that was lost": (URL, f"{PATH}?utm=1", {}),
    "a query written anew": (f"{URL}?a=x%20y&b=~", f"{PATH}?a=x+y&b=%7E", {}),
    "a query in other letters": (f"{URL}?a=%c3%a9", f"{PATH}?a=%C3%A9", {}),
    "several at once": (
        f"http://www.example.com:8080/prefs{PATH}/",
        PATH,
        {"Host": "www.example.com", "X-Forwarded-Prefix": "/prefs"},
    ),
}


@ONE_STORE
@pytest.mark.parametrize("how", ELSEWHERE)
def test_what_the_account_signed_for_another_spelling_of_our_url_is_refused_and_the_operator_told(
    account: Account,
    opened: Installation,
    settings: Settings,
    caplog: pytest.LogCaptureFixture,
    how: str,
) -> None:
    url, to, headers = ELSEWHERE[how]
    before, known = events(opened), settings.data / "misaddressed.json"
    assert account.send(account.text("STOP"), url, to=to, token="x", **headers).status_code == 403
    assert not known.exists()
    assert account.send(account.text("STOP"), url, to=to, **headers).status_code == 403
    assert events(opened) == before
    (kept,) = json.loads(known.read_text()).values()
    signed, configured = url.partition("?")[0], URL + ("/" if to.endswith("/") else "")
    assert kept["signed"].replace(":80/", "/") == signed.replace(":80/", "/")
    assert kept["configured"] == configured
    assert known.stat().st_mode & 0o077 == 0
    (told,) = caplog.records
    assert told.levelno == logging.WARNING
    for part in (kept["signed"], configured, ACCOUNT):
        assert part in told.getMessage()
    for secret in (TOKEN, FRANK.value[1:], "STOP", "utm", "?"):
        assert secret not in caplog.text + known.read_text()


@ONE_STORE
def test_what_is_signed_for_no_url_of_ours_is_a_strangers(
    account: Account, globex: Tenant, settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    for url in (
        "https://prefs.example.com/other",
        "https://prefs.example.com/webhooks/twilio/globex",
        "https://prefs.example.com/webhooks/twilio",
        "https://other.example/webhooks/twilio/acme",
        f"{URL}#rc=5&rp=all",
    ):
        answer = account.send(account.text("STOP"), url, to=PATH)
        assert (url, answer.status_code) == (url, 403)
    assert not (settings.data / "misaddressed.json").exists()
    assert caplog.text == ""


@ONE_STORE
def test_headers_that_make_no_url_harm_nothing(account: Account) -> None:
    for headers in (
        {"X-Forwarded-Host": "a:99999"},
        {"X-Forwarded-Host": "[::1]:8000, a b, ,http://x"},
        {"X-Forwarded-Host": "é.example, ../.., :80"},
        {"X-Forwarded-Port": "99999, -1, ٣, 1e3"},
        {"X-Forwarded-Prefix": "//evil.example"},
        {"X-Forwarded-Prefix": "/a?b#c"},
        {"X-Forwarded-Proto": "gopher", "X-Script-Name": "/" * 5000},
        {"X-Forwarded-Host": ",".join(f"h{n}.example:{n}" for n in range(1, 500))},
    ):
        for to in (PATH, f"{PATH}?a=%FF%", f"{PATH}?bodySHA256=x&;&=%zz"):
            answer = account.send(account.text("STOP"), token="other", to=to, **headers)
            assert (headers, answer.status_code) == (headers, 403)
            assert account.send(account.text("hello"), URL + to[len(PATH) :]).status_code == 200


@ONE_STORE
def test_the_operator_is_told_once_a_minute(
    account: Account, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    url = URL.replace("https", "http")
    for _ in range(3):
        account.send(account.text("STOP"), url, to=PATH)
    clock.forward(seconds=59)
    account.send(account.text("STOP"), url, to=PATH)
    assert len(caplog.records) == 1
    clock.forward(seconds=1)
    account.send(account.text("STOP"), url, to=PATH)
    assert len(caplog.records) == 2


@ONE_STORE
def test_a_data_folder_that_takes_no_file_makes_the_refusal_no_500(
    account: Account, settings: Settings
) -> None:
    (settings.data / "misaddressed.json").mkdir()
    url = URL.replace("https", "http")
    assert account.send(account.text("STOP"), url, to=PATH).status_code == 403


def test_likely_urls_are_few_without_fragments_and_all_ours() -> None:
    headers = Headers(
        {
            "Host": "a.example:81",
            "X-Forwarded-Host": "b.example, c.example:9",
            "X-Forwarded-Port": "8443",
            "X-Forwarded-Prefix": "/x",
            "X-Script-Name": "/y",
        }
    )
    urls = likely_urls("https://prefs.example.com/prefs", PATH, "a=%7E+b#c", headers)
    assert len(urls) == len(set(urls)) == MOST
    assert urls[0] == f"https://prefs.example.com/prefs{PATH}?a=%7E+b#c"
    for url in urls:
        path = url.partition("?")[0]
        assert path.rstrip("/").endswith(PATH)
        assert "#" not in path


def test_a_mend_that_is_told_is_one_that_mends() -> None:
    ours = "https://prefs.example.com"
    at_twilio = f"enter {URL}#rc=5&rp=all at Twilio"
    assert mend(f"http://prefs.example.com{PATH}", ours, PATH) == at_twilio
    assert mend(f"{URL}/", ours, PATH) == at_twilio
    there = mend(f"https://www.example.com/prefs{PATH}/", ours, PATH)
    assert there.startswith(f"{at_twilio}; or, ")
    assert "PREFS_PUBLIC_URL=https://www.example.com/prefs " in there


@ONE_STORE
def test_who_asks_whether_it_is_signed_is_told_for_what(cast: Cast, settings: Settings) -> None:
    url = URL.replace("https", "http")
    signature = RequestValidator("12345").compute_signature(url, dict(STOP))
    keep_token(settings.data, "twilio", ACCOUNT, "12345")
    with pytest.raises(Misaddressed) as raised:
        verify(call(f"{URL}?a=1", STOP, {}, signature), cast.tenant, settings)
    told = raised.value
    assert (told.account, told.signed, told.configured) == (ACCOUNT, url, URL)
