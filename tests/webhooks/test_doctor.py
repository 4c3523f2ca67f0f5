"""`prefs twilio`: what to enter there, what loses a STOP, and a sample; and behind a real nginx."""

import os
import re
import ssl
from collections.abc import Iterator
from contextlib import closing
from http.client import HTTPConnection, HTTPSConnection
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from click.testing import CliRunner
from twilio.request_validator import RequestValidator

from prefs import directory
from prefs.address import Address, Channel
from prefs.cli import main
from prefs.demo import ACCOUNT, FRANK, SENDER, TOKEN, Cast
from prefs.installation import Installation, system_clock
from prefs.ledger import Entry, history
from prefs.settings import Settings, keep_token, token_file
from tests.conftest import NOON, NOTHING_SENDS, Served
from tests.nginx import Nginx
from webhooks import misaddressed
from webhooks.call import Misaddressed
from webhooks.twilio.sampling import fields as sample

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

PATH = "/webhooks/twilio/acme"
PUBLIC = "https://prefs.example.com"


class Command:
    def __init__(self, settings: Settings) -> None:
        self.environ = {name: None for name in os.environ if name.startswith("PREFS_")} | {
            "PREFS_DATA": str(settings.data),
            "PREFS_DATABASE_URL": settings.database_url,
            "PREFS_PUBLIC_URL": PUBLIC,
        }

    def __call__(self, *words: str, code: int = 0) -> str:
        result = CliRunner().invoke(main, ["twilio", *words], env=self.environ)
        assert result.exit_code == code, result.output
        return result.output


@pytest.fixture
def twilio(settings: Settings, cast: Cast) -> Command:
    return Command(settings)


def heard(opened: Installation, cast: Cast, number: str = FRANK.value) -> list[Entry]:
    digest = cast.tenant.digest(Address.parse(Channel.SMS, number))
    with opened.database.reading() as connection:
        past = history(connection, cast.tenant.id, digest)
    return [entry for entry in past if entry.source == "twilio"]


def add_sender(
    opened: Installation, cast: Cast, identity: str, kind: str, purpose: str = "both"
) -> None:
    brand = cast.tenant.brand("acme").id
    made = (cast.tenant.id, brand, "twilio", ACCOUNT, identity, kind, opened.clock())
    with opened.database.writing() as connection:
        directory.add_sender(connection, *made, purpose=purpose)
    opened.directory.refresh()


# --- the doctor ---


@ONE_STORE
def test_the_doctor_shows_what_to_enter_and_who_answers_and_no_token(
    twilio: Command, opened: Installation, cast: Cast
) -> None:
    for number, kind in enumerate(directory.KINDS):
        identity = {"short_code": "77001", "rcs": "acme_agent"}.get(kind, f"+1415555017{number}")
        if kind in ("messaging_service", "advanced_opt_out"):
            identity = "MG" + f"{number}" * 32
        add_sender(opened, cast, identity, kind, "marketing")
    said = twilio("doctor")
    assert said.count(f"{PUBLIC}{PATH}#rc=5&rp=all\n") == 3
    assert f"account {ACCOUNT}: 1 token\n" in said
    for text in (
        f"{SENDER} (long_code, brand acme) sends marketing and transactional; a STOP leaves all "
        "marketing; Twilio answers STOP, START and HELP",
        "77001 (short_code, brand acme) sends marketing; a STOP leaves all marketing; we answer",
        "the carriers answer STOP and UNSTOP",
        "blocks the whole service",
        "Advanced Opt-Out answers",
    ):
        assert text in said
    assert TOKEN not in said
    assert said.endswith("Nothing must be mended.\n")


@ONE_STORE
def test_what_the_doctor_shows_as_signed_has_the_signature_it_shows(twilio: Command) -> None:
    said = twilio("doctor")
    signed = re.search(rf"{PUBLIC}{PATH}(AccountSid.*)\n  X-Twilio-Signature: (.*)\n", said)
    assert signed
    assert signed[2] == RequestValidator("made-up").compute_signature(
        f"{PUBLIC}{PATH}{signed[1]}", {}
    )
    assert re.findall("AccountSid|Body|From|MessageSid|To", signed[1]) == [
        "AccountSid",
        "Body",
        "From",
        "MessageSid",
        "To",
    ]


@ONE_STORE
def test_a_number_for_offers_and_for_codes_is_advised_against(
    twilio: Command, opened: Installation, cast: Cast
) -> None:
    assert f"note: acme: {SENDER} sends marketing and transactional." in twilio("doctor")
    sender = cast.tenant.senders[0]
    with opened.database.writing() as connection:
        directory.change_sender(connection, cast.tenant, sender.id, purpose="marketing")
    assert "note:" not in twilio("doctor")


@ONE_STORE
def test_what_must_be_mended_is_named_with_its_mend(twilio: Command, settings: Settings) -> None:
    token_file(settings.data, "twilio").unlink()
    said = twilio("doctor", code=1)
    assert f"- acme: no token for {ACCOUNT}" in said
    assert f"`prefs sender token {ACCOUNT}`" in said
    keep_token(settings.data, "twilio", ACCOUNT, "one")
    keep_token(settings.data, "twilio", ACCOUNT, "two")
    assert "2 tokens, as during a rotation" in twilio("doctor")
    for url in ("http://127.0.0.1:8000", "https://localhost", "https://10.0.0.1", "https://[::1]"):
        twilio.environ["PREFS_PUBLIC_URL"] = url
        assert f"- PREFS_PUBLIC_URL is {url}, where Twilio reaches nobody" in twilio(
            "doctor", code=1
        )


@ONE_STORE
def test_the_last_request_signed_for_another_url_stands_beside_what_is_configured(
    twilio: Command, settings: Settings
) -> None:
    other, now = f"https://www.example.com/prefs{PATH}", system_clock()
    day = 24 * 3_600_000
    seen = Misaddressed(ACCOUNT, other, f"{PUBLIC}{PATH}")
    misaddressed.tell(settings.data, "twilio", "acme", seen, now - day + 60_000)
    said = twilio("doctor", code=1)
    assert f"Twilio signed    {other}\n    configured is    {PUBLIC}{PATH}\n" in said
    assert "or, if https://www.example.com/prefs is where people reach prefs" in said
    # Another tenant's is not this one's, and what is mended is no fault.
    twilio.environ["PREFS_PUBLIC_URL"] = "https://www.example.com/prefs"
    assert f"one was refused that was signed for {other}" in twilio("doctor")
    twilio.environ["PREFS_PUBLIC_URL"] = PUBLIC
    misaddressed.tell(settings.data, "twilio", "acme", seen, now - day - 60_000)
    said = twilio("doctor")
    assert f"one was refused that was signed for {other}" in said
    misaddressed.tell(settings.data, "twilio", "globex", seen, now)
    assert twilio("doctor") == said


@ONE_STORE
def test_a_file_that_was_spoilt_is_as_none(twilio: Command, settings: Settings) -> None:
    for text in ("", "{", "[]", '{"twilio acme x": {"at": 1}}', '{"x": 1}', "\x00"):
        (settings.data / "misaddressed.json").write_text(text)
        assert "Nothing must be mended." in twilio("doctor")


@ONE_STORE
def test_the_doctor_is_of_every_tenant_or_of_the_one_that_is_named(
    twilio: Command, opened: Installation
) -> None:
    with opened.database.writing() as connection:
        directory.add_tenant(connection, "globex", "Globex", NOON)
    assert "acme: enter at Twilio" in twilio("doctor")
    assert "acme: enter at Twilio" in twilio("doctor", "--tenant", "acme")
    said = twilio("doctor", "--tenant", "globex", code=1)
    assert "No number or service of Twilio's is here" in said


# --- a sample ---


@pytest.fixture
def local(settings: Settings, cast: Cast) -> Iterator[Served]:
    """The server on this machine that people reach at prefs.example.com."""
    server = Served(settings, PREFS_PUBLIC_URL=PUBLIC)
    yield server
    server.stop()


@ONE_STORE
def test_a_sample_is_heard_and_recorded_like_a_real_text(
    twilio: Command, local: Served, opened: Installation, cast: Cast
) -> None:
    add_sender(opened, cast, "77001", "short_code")
    number = "+14155550123"
    said = twilio("send-sample", "stop", number, "--to", SENDER, "--url", local.url)
    assert f"From {number} to {SENDER}: STOP\n" in said
    assert "recorded like a real one" in said
    assert said.endswith("200: heard and recorded, and nothing to answer.\n")
    (stop,) = heard(opened, cast, number)
    assert stop.evidence
    assert (stop.event.kind, stop.evidence["text"]) == ("out", "STOP")
    said = twilio("send-sample", "HELP", number, "--to", "77001", "--url", local.url)
    assert "200: heard and recorded.\nTo be texted in answer: " in said
    own = ("send-sample", number, "--body", "please leave me\x1b[2J alone", "--to", SENDER)
    said = twilio(*own, "--url", f"{local.url}/")
    assert "\x1b" not in said
    assert len(heard(opened, cast, number)) == 3


@ONE_STORE
def test_what_keeps_a_sample_from_being_heard_is_said_in_words(
    twilio: Command, local: Served, settings: Settings, opened: Installation, cast: Cast
) -> None:
    number = "+14155550123"
    words = ("send-sample", "stop", number, "--url")
    twilio.environ["PREFS_PUBLIC_URL"] = "https://www.example.com"
    assert "403: refused: this is not the URL, or the token" in twilio(*words, local.url, code=1)
    twilio.environ["PREFS_PUBLIC_URL"] = PUBLIC
    assert "404: nobody hears webhooks there" in twilio(*words, f"{local.url}/x", code=1)
    assert "Nobody answers at http://127.0.0.1:9" in twilio(*words, "http://127.0.0.1:9", code=1)
    for url in ("https://evil.example", "ftp://127.0.0.1", "http://127.0.0.1/?x", "x", "http://["):
        assert "--url" in twilio(*words, url, code=1)
    assert "Write the number with +" in twilio(
        "send-sample", "stop", "0123", "--url", local.url, code=1
    )
    assert "Say stop, start or help" in twilio("send-sample", number, code=2)
    add_sender(opened, cast, "77001", "short_code")
    assert "with --to" in twilio(*words, local.url, code=1)
    token_file(settings.data, "twilio").unlink()
    said = twilio(*words, local.url, "--to", SENDER, code=1)
    assert f"`prefs sender token {ACCOUNT}`" in said
    assert heard(opened, cast, number) == []


@ONE_STORE
def test_a_number_entered_under_a_wrong_account_is_tried_once_that_one_is_removed(
    twilio: Command, local: Served, opened: Installation, cast: Cast
) -> None:
    words = ("send-sample", "stop", "+14155550123", "--url", local.url, "--to")
    made = (cast.tenant.brand("acme").id, "twilio", "AC123", SENDER, "long_code", opened.clock())
    with opened.database.writing() as connection:
        wrong = directory.add_sender(connection, cast.tenant.id, *made)
    assert f"{SENDER} is of several accounts here" in twilio(*words, SENDER, code=1)
    assert "+14155550100 is no sender of Twilio's" in twilio(*words, "+14155550100", code=1)
    with opened.database.writing() as connection:
        directory.remove_sender(connection, cast.tenant, wrong, opened.clock())
    assert "200: heard and recorded" in twilio(*words, SENDER)


@ONE_STORE
@NOTHING_SENDS
def test_a_sample_has_the_fields_that_twilio_sends(
    twilio: Command, opened: Installation, cast: Cast
) -> None:
    service = "MG" + "5" * 32
    add_sender(opened, cast, service, "advanced_opt_out")
    sender = opened.directory.latest.tenants[cast.tenant.id].senders[-1]
    sent = sample(sender, "+14155550123", "stop ")
    assert sent["MessageSid"] == sent["SmsSid"] == sent["SmsMessageSid"]
    assert (sent["MessagingServiceSid"], sent["OptOutType"]) == (service, "STOP")
    assert (sent["FromCountry"], sent["NumSegments"], sent["SmsStatus"]) == ("US", "1", "received")
    by_whatsapp = sample(cast.tenant.senders[0], "whatsapp:+14155550123", "hello")
    assert by_whatsapp["From"] == "whatsapp:+14155550123"
    assert by_whatsapp["To"] == f"whatsapp:{SENDER}"


# --- behind a proxy ---


class Proxied:
    """nginx before a server that is told a public URL, and Twilio's way through it."""

    def __init__(self, settings: Settings, cast: Cast, proxy: Nginx, public: str) -> None:
        self.proxy = proxy
        self.sender = cast.tenant.senders[0]
        self.public = public.format(port=proxy.port)
        self.server = Served(settings, PREFS_PUBLIC_URL=self.public)
        try:
            proxy.start(urlsplit(self.server.url).netloc)
        except BaseException:
            self.server.stop()
            raise

    def text(self, given: str, body: str = "STOP") -> tuple[int, str | None]:
        """Signs a text for the URL that Twilio was given, and posts it to where that leads.

        Returns the status and the type of the answer. By ``http.client``: what others write anew
        of a URL, Twilio does not.
        """
        parts, at = urlsplit(given), ("127.0.0.1", self.proxy.port)
        sent = sample(self.sender, FRANK.value, body)
        headers = {
            "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
            "Host": parts.netloc,
            "X-Twilio-Signature": RequestValidator(TOKEN).compute_signature(given, sent),
        }
        with closing(self._connection(*at)) as connection:
            asked = parts.path + (f"?{parts.query}" if parts.query else "")
            connection.request("POST", asked, urlencode(sent), headers)
            answer = connection.getresponse()
            return answer.status, answer.headers["Content-Type"]

    def _connection(self, host: str, port: int) -> HTTPConnection:
        if self.proxy.balanced:
            return HTTPConnection(host, port, timeout=20)
        trusting = ssl.create_default_context(cafile=self.proxy.certificate)
        return HTTPSConnection(host, port, timeout=20, context=trusting)

    def stop(self) -> None:
        self.proxy.stop()
        self.server.stop()


@pytest.fixture
def proxied(
    request: pytest.FixtureRequest, settings: Settings, cast: Cast, tmp_path: Path
) -> Iterator[Proxied]:
    public, prefix, balanced = request.param
    one = Proxied(settings, cast, Nginx(tmp_path / "nginx", prefix, balanced), public)
    yield one
    one.stop()


def through(**how: tuple[str, str, bool]) -> pytest.MarkDecorator:
    """How one public URL or another is reached: the URL, the path taken off, and by a balancer."""
    ids = [name.replace("_", " ") for name in how]
    return pytest.mark.parametrize("proxied", how.values(), indirect=True, ids=ids)


@ONE_STORE
@through(
    TLS_on_a_port=("https://127.0.0.1:{port}", "", False),
    a_path_that_is_taken_off=("https://127.0.0.1:{port}/prefs", "/prefs", False),
    TLS_ended_by_a_balancer=(PUBLIC, "", True),
    a_balancers_port_and_a_path=(f"{PUBLIC}:8443/a/b", "/a/b", True),
)
def test_behind_nginx_what_is_signed_for_the_public_url_is_heard(
    proxied: Proxied, opened: Installation, cast: Cast
) -> None:
    given = f"{proxied.public}{PATH}"
    for number, query in enumerate(("", "?a=%7E&b=x%20y+z&c=%c3%A9", "?a"), 1):
        assert proxied.text(given + query) == (200, "text/xml; charset=utf-8")
        assert len(heard(opened, cast)) == number
    assert proxied.text(given, "ARRÊT, é 🛑 " + "x" * 1588)[0] == 200
    assert proxied.text(f"{given}/")[0] == 200
    assert proxied.text(f"{given}x")[0] == 403


WRONG = {
    "the scheme": (PUBLIC, "", True, f"http://prefs.example.com{PATH}"),
    "the host": (PUBLIC, "", True, f"https://www.example.com{PATH}"),
    "the port": (PUBLIC, "", False, "https://127.0.0.1:{port}" + PATH),
    "the path": (PUBLIC, "/prefs", True, f"{PUBLIC}/prefs{PATH}"),
    "a path that is none": (f"{PUBLIC}/prefs", "", True, f"{PUBLIC}{PATH}"),
}


@ONE_STORE
@pytest.mark.parametrize(
    ("proxied", "given"),
    [((public, prefix, balanced), given) for public, prefix, balanced, given in WRONG.values()],
    indirect=["proxied"],
    ids=WRONG,
)
def test_behind_nginx_a_public_url_that_is_wrong_is_told_by_the_doctor(
    proxied: Proxied, given: str, twilio: Command, opened: Installation, cast: Cast
) -> None:
    twilio.environ["PREFS_PUBLIC_URL"] = proxied.public
    assert "Nothing must be mended." in twilio("doctor")
    given = given.format(port=proxied.proxy.port)
    assert proxied.text(given)[0] == 403
    assert heard(opened, cast) == []
    said = twilio("doctor", code=1)
    assert f"Twilio signed    {given}\n    configured is    {proxied.public}{PATH}\n" in said
    log = proxied.server.log.read_text()
    assert f"signed {given}, and here that is {proxied.public}{PATH}" in log
    assert FRANK.value[1:] not in log


@ONE_STORE
@through(TLS_on_a_port=("https://127.0.0.1:{port}/prefs", "/prefs", False))
def test_a_sample_goes_through_nginx_to_the_public_url(
    proxied: Proxied,
    twilio: Command,
    opened: Installation,
    cast: Cast,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proxied.proxy.certificate))
    twilio.environ["PREFS_PUBLIC_URL"] = proxied.public
    words = ("send-sample", "stop", FRANK.value)
    assert "200: heard and recorded" in twilio(*words)
    assert len(heard(opened, cast)) == 1
    # Twilio makes a GET of what is redirected.
    plain = f"http://127.0.0.1:{proxied.proxy.plain}"
    assert "301: a redirect" in twilio(*words, "--url", plain, code=1)
    assert len(heard(opened, cast)) == 1
