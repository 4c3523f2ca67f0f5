"""Letters go out: by a real mail server, and by an API that answers as Twilio's does."""

import json
import logging
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from email import message_from_string, policy
from email.message import EmailMessage
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session
from sqlalchemy import select

from prefs import directory, ledger, letters, rights, tables
from prefs.address import Address, Channel
from prefs.demo import ACCOUNT, ALICE, SENDER, TOKEN, Cast
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.letters.posting import LEASE
from prefs.policy import ALL, Authority, Block, Event, Kind, Mode, Purpose, Voice
from prefs.settings import BadSetting, Settings, Smtp, keep_token
from tests.conftest import NOTHING_SENDS, Clock
from tests.test_serve import Running, within
from tests.webhooks.twilio_api import TwilioApi
from tests.webhooks.twilio_api import twilio_api as twilio_api
from webhooks import smtp
from webhooks.letters import deliver, tidy
from webhooks.twilio import sending

GRACE = Address(Channel.EMAIL, "grace@example.org")
HEIDI = Address(Channel.SMS, "+14155550108")
PASSWORD = "a pass/word with @ and ?"


# --- the two that take letters ---


@dataclass
class Mailbox:
    """What a mail server has taken, and what it says to the next recipients and messages."""

    taken: list[tuple[Envelope, EmailMessage]] = field(default_factory=list)
    to_recipient: str = "250 OK"
    to_data: str = "250 OK"
    asked: int = 0
    hangs_up: bool = False

    async def handle_RCPT(
        self, server: SMTP, session: Session, envelope: Envelope, to: str, options: list[str]
    ) -> str:
        self.asked += 1
        assert session.authenticated
        if self.to_recipient.startswith("250"):
            envelope.rcpt_tos.append(to)
        return self.to_recipient

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:
        if self.to_data.startswith("250"):
            assert isinstance(envelope.content, bytes)
            message = message_from_string(envelope.content.decode(), policy=policy.default)
            assert isinstance(message, EmailMessage)
            self.taken.append((envelope, message))
        if self.hangs_up:
            assert server.transport
            server.transport.abort()
        return self.to_data


def login(server: Any, session: Any, envelope: Any, mechanism: str, data: Any) -> AuthResult:
    known = LoginPassword(b"prefs", PASSWORD.encode())
    return AuthResult(success=data == known, handled=False)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port


@pytest.fixture
def mailbox() -> Mailbox:
    return Mailbox()


@pytest.fixture
def mail(mailbox: Mailbox) -> Iterator[Smtp]:
    """A mail server of this machine's, which wants a name and a password."""
    controller = Controller(
        mailbox,
        "127.0.0.1",
        free_port(),
        authenticator=login,
        auth_require_tls=False,
        enable_SMTPUTF8=True,
    )
    controller.start()
    yield Smtp("127.0.0.1", controller.port, False, "prefs", PASSWORD)
    controller.stop()


@pytest.fixture
def post(opened: Installation, cast: Cast, mail: Smtp, twilio_api: TwilioApi) -> Installation:
    """The installation, with a mail server and an API to send by."""
    keep_token(opened.settings.data, "twilio", ACCOUNT, "an-older-token")
    keep_token(opened.settings.data, "twilio", ACCOUNT, TOKEN)
    settings = replace(opened.settings, smtp=mail, twilio_api=twilio_api.url)
    return replace(opened, settings=settings)


Ask = Callable[..., None]


@pytest.fixture
def ask(opened: Installation, cast: Cast, clock: Clock) -> Ask:
    def asks(address: Address = GRACE, topic: str = "events") -> None:
        with opened.database.writing() as connection:
            asked = letters.ask(
                connection,
                cast.tenant,
                address,
                cast.tenant.topic(topic),
                language="en",
                through="sign-up form",
                evidence={},
                network=None,
                now=clock(),
            )
            assert asked.outcome == "asked"

    return asks


def rows(opened: Installation) -> list[Any]:
    with opened.database.reading() as connection:
        return list(connection.execute(select(tables.letter).order_by(tables.letter.c.id)))


# --- by email ---


def test_a_question_goes_out_once_by_email(
    post: Installation, mailbox: Mailbox, ask: Ask, clock: Clock
) -> None:
    ask()
    assert deliver(post) == 1
    ((envelope, message),) = mailbox.taken
    assert (envelope.mail_from, envelope.rcpt_tos) == ("news@acme.example", [GRACE.value])
    assert message["From"] == "Acme <news@acme.example>"
    assert message["To"] == GRACE.value
    assert message["Subject"] == "Please confirm: Events from Acme"
    assert message["Auto-Submitted"] == "auto-generated"
    assert message["Content-Language"] == "en"
    assert message["Date"].datetime.timestamp() * 1000 == clock()
    assert message["Message-ID"].endswith("@acme.example>")
    assert message.get_content_type() == "text/plain"
    text = message.get_content()
    assert "https://prefs.example.com/c/" in text
    (row,) = rows(post)
    assert (row.sent_at, row.due_at, row.attempts) == (clock(), None, 1)
    assert deliver(post) == 0
    assert len(mailbox.taken) == 1


def test_a_name_and_an_address_in_any_script_arrive(
    post: Installation, cast: Cast, mailbox: Mailbox, ask: Ask
) -> None:
    with post.database.writing() as connection:
        directory.change_brand(
            connection,
            cast.tenant,
            "acme",
            name="Ácme,\n<Größe> 株式会社",
            mail_from="news@acme.example",
        )
    post.directory.refresh()
    ask(Address.parse(Channel.EMAIL, "grüße@bücher.example"))
    assert deliver(post) == 1
    ((envelope, message),) = mailbox.taken
    assert envelope.rcpt_tos == ["grüße@xn--bcher-kva.example"]
    assert message["From"].addresses[0].display_name == "Ácme, <Größe> 株式会社"
    assert message["From"].addresses[0].addr_spec == "news@acme.example"
    assert "\n" not in message["Subject"]


def test_a_recipient_who_is_refused_for_good_is_not_tried_again(
    post: Installation, mailbox: Mailbox, ask: Ask, clock: Clock
) -> None:
    mailbox.to_recipient = "550 5.1.1 no such user"
    ask()
    assert deliver(post) == 0
    clock.forward(days=1)
    assert deliver(post) == 0
    assert mailbox.asked == 1
    # That is no word of the person's, nor a bounce of a message of the sender's.
    with post.database.reading() as connection:
        assert rows(post)[0].due_at is None
        assert (
            connection.execute(select(tables.event).where(tables.event.c.kind == Kind.BLOCK)).all()
            == []
        )


@pytest.mark.parametrize(
    ("to_recipient", "to_data"),
    [("450 4.2.1 later", "250 OK"), ("250 OK", "451 4.3.0 later")],
)
def test_what_may_be_taken_later_is_tried_again(
    post: Installation,
    mailbox: Mailbox,
    ask: Ask,
    clock: Clock,
    to_recipient: str,
    to_data: str,
) -> None:
    mailbox.to_recipient, mailbox.to_data = to_recipient, to_data
    ask()
    assert deliver(post) == 0
    assert deliver(post) == 0
    assert mailbox.asked == 1
    mailbox.to_recipient = mailbox.to_data = "250 OK"
    clock.forward(minutes=1)
    assert deliver(post) == 1
    ((_, message),) = mailbox.taken
    assert message["Message-ID"]


def test_a_mail_that_was_taken_and_not_acknowledged_goes_out_once_more_at_the_most(
    post: Installation, mailbox: Mailbox, ask: Ask, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    mailbox.hangs_up = True
    ask()
    for _ in range(5):
        assert deliver(post) == 0
        clock.forward(minutes=420)
    first, second = (message["Message-ID"] for _, message in mailbox.taken)
    assert first == second
    assert "may be on its way" in caplog.text
    assert "grace" not in caplog.text


def test_a_server_that_takes_too_long_over_all_is_left_before_the_lease_ends(
    post: Installation, mailbox: Mailbox, ask: Ask, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert (smtp.ALL_TOGETHER + 2 * smtp.SECONDS) * 1000 < LEASE
    monkeypatch.setattr(smtp, "ALL_TOGETHER", 0)
    ask()
    assert deliver(post) == 0
    assert mailbox.asked == 0
    monkeypatch.undo()
    clock.forward(minutes=1)
    assert deliver(post) == 1


def test_a_letter_that_goes_out_twice_has_one_identity(
    post: Installation, mailbox: Mailbox, ask: Ask, clock: Clock
) -> None:
    ask()
    with post.database.writing() as connection:
        (lost,) = letters.claim_due(connection, clock(), 1)
    assert deliver(post) == 0, "it belongs to the worker that has it"
    clock.forward(minutes=2)
    assert deliver(post) == 1
    with post.database.writing() as connection:
        # As if that worker had died after sending, and before it could tell.
        connection.execute(
            tables.letter.update().where(tables.letter.c.id == lost.id).values(due_at=clock())
        )
    assert deliver(post) == 1
    first, second = (message["Message-ID"] for _, message in mailbox.taken)
    assert first == second


def test_a_no_an_erasure_or_an_answer_before_it_went_out_stops_it(
    post: Installation, cast: Cast, mailbox: Mailbox, ask: Ask, clock: Clock
) -> None:
    ask(GRACE)
    ask(ALICE)
    with post.database.writing() as connection:
        left = Event(Kind.OUT, clock(), ALL, Voice.PERSON, Authority.PERSON)
        ledger.record(connection, cast.tenant.id, Said(Subject.of(cast.tenant, GRACE), left))
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, ALICE), clock())
    assert deliver(post) == 0
    assert mailbox.asked == 0
    assert [row.due_at for row in rows(post)] == [None, None]


def test_two_workers_send_a_letter_once(post: Installation, mailbox: Mailbox, ask: Ask) -> None:
    for number in range(6):
        ask(Address(Channel.EMAIL, f"grace{number}@example.org"))
    counts: list[int] = []
    workers = [threading.Thread(target=lambda: counts.append(deliver(post))) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    while deliver(post):
        pass
    to = [envelope.rcpt_tos[0] for envelope, _ in mailbox.taken]
    assert sorted(to) == [f"grace{number}@example.org" for number in range(6)]


def test_what_is_over_is_forgotten_to_the_last_some_at_a_time(
    post: Installation, ask: Ask, clock: Clock
) -> None:
    for number in range(5):
        ask(Address(Channel.EMAIL, f"n{number}@example.org"))
    clock.forward(days=7)
    tidy(post, at_once=2)
    assert [row.value for row in rows(post)] == [None] * 5
    clock.forward(days=53)
    tidy(post, at_once=2)
    assert rows(post) == []


@NOTHING_SENDS
def test_without_a_mail_server_letters_wait(
    opened: Installation, ask: Ask, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    ask()
    assert deliver(opened) == 0
    assert "NothingSends" in caplog.text
    assert rows(opened)[0].due_at == clock() + 60_000


def test_a_topic_made_a_moment_ago_by_another_worker_is_no_reason_to_give_up(
    post: Installation, cast: Cast, mailbox: Mailbox, clock: Clock
) -> None:
    other = Installation.open(post.settings, clock)
    with other.database.writing() as connection:
        directory.add_topic(
            connection,
            cast.tenant.id,
            cast.tenant.brand("acme").id,
            "offers",
            "Offers",
            "",
            Purpose.MARKETING,
            {Channel.EMAIL: Mode.OPT_IN},
            clock(),
        )
    other.directory.refresh()
    tenant = other.directory.latest.tenants[cast.tenant.id]
    with other.database.writing() as connection:
        letters.ask(
            connection,
            tenant,
            GRACE,
            tenant.topic("offers"),
            language="en",
            through="form",
            evidence={},
            network=None,
            now=clock(),
        )
    other.database.close()
    assert deliver(post) == 1
    assert mailbox.taken[0][1]["Subject"] == "Please confirm: Offers from Acme"


# --- who listens on the way ---


ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


@ONE_STORE
def test_a_server_elsewhere_that_offers_no_tls_is_told_nothing(
    post: Installation, mailbox: Mailbox, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    host = "127.0.0.2"  # not one of the names of "this machine": as good as another host
    controller = Controller(mailbox, host, free_port(host), auth_require_tls=False)
    controller.start()
    try:
        smtp = Smtp(host, controller.port, False, "prefs", PASSWORD)
        ask()
        assert deliver(replace(post, settings=replace(post.settings, smtp=smtp))) == 0
    finally:
        controller.stop()
    assert mailbox.asked == 0
    assert "SMTPNotSupportedError" in caplog.text


@pytest.fixture(scope="session")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A key, and a certificate for 127.0.0.2 that nobody but itself vouches for."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("there is no openssl to make a certificate with")
    file = tmp_path_factory.mktemp("certificate") / "own.pem"
    subprocess.run(
        [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=mail.example"]
        + ["-days", "36500", "-addext", "subjectAltName=IP:127.0.0.2"]
        + ["-keyout", str(file), "-out", str(file.with_suffix(".crt"))],
        check=True,
        capture_output=True,
    )
    file.write_text(file.read_text() + file.with_suffix(".crt").read_text())
    return file


@ONE_STORE
@pytest.mark.parametrize("tls", [True, False], ids=["from the first byte", "by STARTTLS"])
def test_the_server_elsewhere_must_prove_who_it_is(
    post: Installation,
    mailbox: Mailbox,
    ask: Ask,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    certificate: Path,
    tls: bool,
) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    host = "127.0.0.2"
    given = {"ssl_context" if tls else "tls_context": context}
    controller = Controller(
        mailbox, host, free_port(host), authenticator=login, auth_require_tls=not tls, **given
    )
    controller.start()
    try:
        smtp = Smtp(host, controller.port, tls, "prefs", PASSWORD)
        elsewhere = replace(post, settings=replace(post.settings, smtp=smtp))
        ask()
        assert deliver(elsewhere) == 0
        assert mailbox.asked == 0
        assert "SSLCertVerificationError" in caplog.text
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate.with_suffix(".crt")))
        clock.forward(minutes=1)
        assert deliver(elsewhere) == 1
    finally:
        controller.stop()
    assert len(mailbox.taken) == 1


@ONE_STORE
def test_a_wrong_password_is_a_reason_to_wait_and_is_not_logged(
    post: Installation, mailbox: Mailbox, ask: Ask, caplog: pytest.LogCaptureFixture
) -> None:
    assert post.settings.smtp
    wrong = replace(post.settings.smtp, password="hunter-4711")
    ask()
    assert deliver(replace(post, settings=replace(post.settings, smtp=wrong))) == 0
    assert mailbox.asked == 0
    assert rows(post)[0].due_at is not None
    assert "hunter" not in caplog.text


# --- by text ---


def test_a_question_goes_out_once_by_text(
    post: Installation, twilio_api: TwilioApi, ask: Ask, clock: Clock
) -> None:
    ask(HEIDI)
    assert deliver(post) == 1
    assert deliver(post) == 0
    (heard,) = twilio_api.heard
    assert heard.path == f"/2010-04-01/Accounts/{ACCOUNT}/Messages.json"
    assert heard.authorization == f"{ACCOUNT}:{TOKEN}"
    assert set(heard.fields) == {"To", "From", "Body"}
    assert (heard.fields["To"], heard.fields["From"]) == (HEIDI.value, SENDER)
    assert heard.fields["Body"].startswith("Acme: reply YES to get Events by text, STOP")
    assert rows(post)[0].sent_at == clock()


def test_a_messaging_service_sends_for_its_brand(
    post: Installation, cast: Cast, twilio_api: TwilioApi, ask: Ask
) -> None:
    service = "MG" + "1" * 32
    with post.database.writing() as connection:
        directory.remove_sender(connection, cast.tenant, cast.tenant.senders[0].id, now=0)
        directory.add_sender(
            connection,
            cast.tenant.id,
            cast.tenant.brand("acme").id,
            "twilio",
            ACCOUNT,
            service,
            "messaging_service",
            now=0,
        )
    post.directory.refresh()
    ask(HEIDI)
    assert deliver(post) == 1
    assert twilio_api.heard[0].fields["MessagingServiceSid"] == service
    assert "From" not in twilio_api.heard[0].fields


def test_no_number_of_another_brand_sends_for_a_brand(
    post: Installation, cast: Cast, twilio_api: TwilioApi, clock: Clock
) -> None:
    with post.database.writing() as connection:
        directory.change_topic(
            connection, cast.tenant, "trail-tips", offered={Channel.SMS: Mode.OPT_IN}
        )
    post.directory.refresh()
    tenant = post.directory.latest.tenants[cast.tenant.id]
    with post.database.writing() as connection:
        letters.ask(
            connection,
            tenant,
            HEIDI,
            tenant.topic("trail-tips"),
            language="en",
            through="form",
            evidence={},
            network=None,
            now=clock(),
        )
    assert deliver(post) == 0
    assert twilio_api.heard == []


@pytest.mark.parametrize(
    ("code", "said"),
    [(21211, Block.INVALID), (21610, Voice.STOP), (21614, Block.UNREACHABLE)],
)
def test_what_twilio_will_never_send_is_given_up_and_says_why_of_the_number(
    post: Installation,
    cast: Cast,
    twilio_api: TwilioApi,
    ask: Ask,
    clock: Clock,
    code: int,
    said: Block | Voice,
) -> None:
    twilio_api.status = 400
    twilio_api.answer = {"code": code, "message": f"{HEIDI.value} is wrong", "status": 400}
    ask(HEIDI)
    assert deliver(post) == 0
    clock.forward(days=1)
    assert deliver(post) == 0
    assert len(twilio_api.heard) == 1
    with post.database.reading() as connection:
        past = ledger.history(connection, cast.tenant.id, cast.tenant.digest(HEIDI))
    (entry,) = [entry for entry in past if entry.event.kind is not Kind.PENDING]
    assert said in (entry.event.block, entry.event.voice)
    assert entry.event.door == "delivery report"
    assert entry.evidence == {"error": str(code), "from": SENDER}


@pytest.mark.parametrize(
    ("status", "code"), [(429, 20429), (500, 20500), (503, 0), (401, 20003), (400, 21408)]
)
def test_what_twilio_may_send_later_is_tried_again(
    post: Installation,
    twilio_api: TwilioApi,
    ask: Ask,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    code: int,
) -> None:
    caplog.set_level(logging.DEBUG)
    twilio_api.status = status
    twilio_api.answer = {"code": code, "message": f"{HEIDI.value}: later", "status": status}
    ask(HEIDI)
    assert deliver(post) == 0
    twilio_api.status = 201
    clock.forward(minutes=1)
    assert deliver(post) == 1
    assert len(twilio_api.heard) == 2
    for secret in (HEIDI.value, HEIDI.value[1:], TOKEN):
        assert secret not in caplog.text


def test_a_text_that_twilio_may_have_taken_is_sent_once_more_at_the_most(
    post: Installation,
    twilio_api: TwilioApi,
    ask: Ask,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.2)
    twilio_api.hangs = True
    ask(HEIDI)
    for _ in range(5):
        assert deliver(post) == 0
        clock.forward(minutes=420)
    assert len(twilio_api.heard) == 2


def test_an_api_that_is_away_is_a_reason_to_wait(
    post: Installation, ask: Ask, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    settings = replace(post.settings, twilio_api=f"http://127.0.0.1:{free_port()}")
    smtp = Smtp("127.0.0.1", free_port(), False, "", "")
    ask(HEIDI)
    ask(GRACE)
    assert deliver(replace(post, settings=replace(settings, smtp=smtp))) == 0
    assert [row.due_at for row in rows(post)] == [clock() + 60_000] * 2
    for secret in ("grace", "5550108"):
        assert secret not in caplog.text


# --- the settings ---


@ONE_STORE
def test_the_settings_name_the_server_and_show_no_password(settings: Settings) -> None:
    def load(**environ: str) -> Settings:
        return Settings.load({"PREFS_DATA": str(settings.data), **environ})

    url = f"smtp://prefs:{quote(PASSWORD, safe='')}@mail.example.com"
    loaded = load(PREFS_SMTP_URL=url)
    assert loaded.smtp == Smtp("mail.example.com", 587, False, "prefs", PASSWORD)
    assert PASSWORD not in repr(loaded)
    assert quote(PASSWORD, safe="") not in repr(loaded)
    assert load(PREFS_SMTP_URL="smtps://mail.example.com").smtp == Smtp(
        "mail.example.com", 465, True, "", ""
    )
    assert load(PREFS_SMTP_URL="smtp://localhost:1025").smtp == Smtp(
        "localhost", 1025, False, "", ""
    )
    file = settings.data / "smtp.url"
    file.write_text(f"{url}\n")
    assert load(PREFS_SMTP_URL_FILE=str(file)).smtp == loaded.smtp
    assert load().smtp is None
    assert load(PREFS_TWILIO_API="https://api.dublin.ie1.twilio.com/").twilio_api == (
        "https://api.dublin.ie1.twilio.com"
    )


@ONE_STORE
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PREFS_SMTP_URL", "mail.example.com"),
        ("PREFS_SMTP_URL", "http://mail.example.com"),
        ("PREFS_SMTP_URL", "smtp://"),
        ("PREFS_SMTP_URL", "smtp://mail.example.com:port"),
        ("PREFS_SMTP_URL", "smtp://mail.example.com:99999"),
        ("PREFS_SMTP_URL", "smtp://user@mail.example.com"),
        ("PREFS_SMTP_URL", "smtp://user:hunter/4711@mail.example.com"),
        ("PREFS_SMTP_URL", "smtp://user:hunter#4711@mail.example.com"),
        ("PREFS_SMTP_URL", "smtp://[mail.example.com"),
        ("PREFS_TWILIO_API", "http://api.example.com"),
        ("PREFS_TWILIO_API", "api.twilio.com"),
        ("PREFS_TWILIO_API", "https://user:hunter@api.example.com"),
        ("PREFS_TWILIO_API", "https://api.example.com?x=1"),
    ],
)
def test_an_unclear_setting_refuses_to_start_without_repeating_a_password(
    settings: Settings, name: str, text: str
) -> None:
    with pytest.raises(BadSetting, match=name) as refused:
        Settings.load({"PREFS_DATA": str(settings.data), name: text})
    assert "hunter" not in str(refused.value)


# --- from the workers of a real server ---


def test_a_server_of_two_workers_sends_each_letter_once_by_itself(
    post: Installation, cast: Cast, mailbox: Mailbox
) -> None:
    settings, smtp = post.settings, post.settings.smtp
    assert smtp
    server = Running(
        "wsgi:create_app",
        PREFS_DATA=str(settings.data),
        PREFS_DATABASE_URL=settings.database_url.replace("+psycopg", ""),
        PREFS_DIGEST_KEY=settings.digest_master.hex(),
        PREFS_SIGNING_KEYS=settings.signing_keys[0].hex(),
        PREFS_SMTP_URL=f"smtp://prefs:{quote(PASSWORD, safe='')}@{smtp.host}:{smtp.port}",
    )
    try:
        port = server.wait_until_ready().port
        connection = HTTPConnection("127.0.0.1", port, timeout=10)
        headers = {"Authorization": f"Bearer {cast.key}", "Content-Type": "application/json"}
        for number in range(8):
            asked = {"channel": "email", "address": f"g{number}@example.org", "topic": "events"}
            connection.request("POST", "/v1/confirmations", json.dumps(asked), headers)
            answer = connection.getresponse()
            assert (answer.status, json.loads(answer.read())) == (201, {"outcome": "asked"})
        connection.close()
        within(30, lambda: all(row.sent_at for row in rows(post)))
    finally:
        server.close()
    to = [envelope.rcpt_tos[0] for envelope, _ in mailbox.taken]
    assert sorted(to) == [f"g{number}@example.org" for number in range(8)]
