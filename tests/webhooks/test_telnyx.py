"""What people text to numbers at Telnyx: signed, heard once, answered once, by its API."""

import json
import logging
import threading
from base64 import b64encode
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from flask.testing import FlaskClient
from sqlalchemy import func, select
from werkzeug.test import TestResponse

from prefs import directory, ledger, letters, tables
from prefs.address import Address, Channel
from prefs.demo import ACCOUNT, DAVE, FRANK, TOKEN, Cast
from prefs.directory import BadEntry, Sender
from prefs.installation import Installation
from prefs.ledger import Entry
from prefs.policy import ALL, Block, Kind, Millis, Outcome, Scope, Standing, Voice
from prefs.settings import BadSetting, Settings, keep_token
from tests.conftest import NOTHING_SENDS, Api, Clock
from tests.test_cli import Command
from tests.test_cli import prefs as prefs
from webhooks.letters import deliver
from webhooks.telnyx import sending

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before the store is asked."""

URL = "/webhooks/telnyx/acme"
NUMBER = "+14155550177"
TOLL_FREE = "+18445550177"
SHORT_CODE = "77777"
PROFILE = "0f512bda-ae1e-4597-8e11-e5f5686b97d3"
OURS = "acme-at-telnyx"
API_KEY = "KEY0123456789ABCDEF_secret"

_ids = count(1)


def uuid() -> str:
    return f"00000000-0000-4000-8000-{next(_ids):012x}"


def at(moment: Millis) -> str:
    return datetime.fromtimestamp(moment / 1000, UTC).isoformat(timespec="milliseconds")


def message(text: Any = "STOP", **changed: Any) -> dict[str, Any]:
    """An inbound message; ``...`` leaves a field out."""
    payload: dict[str, Any] = {
        "record_type": "message",
        "direction": "inbound",
        "id": uuid(),
        "type": "SMS",
        "messaging_profile_id": PROFILE,
        "organization_id": "b448f9cc-a842-4784-98e9-03c1a5872950",
        "from": {"phone_number": FRANK.value, "carrier": "T-MOBILE USA, INC.", "status": ""},
        "to": [{"phone_number": NUMBER, "status": "webhook_delivered", "line_type": "VoIP"}],
        "cc": [],
        "text": text,
        "media": [],
        "autoresponse_type": None,
        "errors": [],
        **changed,
    }
    return {name: value for name, value in payload.items() if value is not ...}


def failure(code: str, to: Any = None, **changed: Any) -> dict[str, Any]:
    """A message of ours that did not arrive."""
    sent = {
        "direction": "outbound",
        "from": {"phone_number": NUMBER, "carrier": "Telnyx"},
        "to": to or [{"phone_number": FRANK.value, "status": "delivery_failed"}],
        "errors": [{"code": code, "title": "It did not arrive"}],
    }
    return message("Our news", **{**sent, **changed})


class Telnyx:
    """Signs and sends as Telnyx does."""

    def __init__(self, client: FlaskClient, key: Ed25519PrivateKey, clock: Clock) -> None:
        self.client = client
        self.key = key
        self.clock = clock

    def body(self, payload: Any, event: str = "message.received") -> bytes:
        data = {
            "record_type": "event",
            "id": uuid(),
            "event_type": event,
            "occurred_at": at(self.clock()),
            "payload": payload,
        }
        return json.dumps({"data": data, "meta": {"attempt": 1, "delivered_to": URL}}).encode()

    def signed(self, body: bytes, late: int = 0) -> dict[str, str]:
        timestamp = str(self.clock() // 1000 - late)
        signature = self.key.sign(f"{timestamp}|".encode() + body)
        return {
            "telnyx-signature-ed25519": b64encode(signature).decode(),
            "telnyx-timestamp": timestamp,
        }

    def post(self, body: bytes, headers: dict[str, str] | None = None) -> TestResponse:
        given = self.signed(body) if headers is None else headers
        return self.client.post(
            URL, data=body, headers=given | {"Content-Type": "application/json"}
        )

    def send(self, payload: Any, event: str = "message.received") -> TestResponse:
        answer = self.post(self.body(payload, event))
        assert (answer.status_code, answer.get_json()) == (200, {}), answer.text
        return answer

    def text(self, text: Any, **changed: Any) -> None:
        self.send(message(text, **{"received_at": at(self.clock()), **changed}))

    def failed(self, code: str, to: Any = None, **changed: Any) -> None:
        self.send(failure(code, to, **changed), "message.finalized")


def public(key: Ed25519PrivateKey) -> str:
    return b64encode(key.public_key().public_bytes_raw()).decode()


Add = Callable[..., int]


@pytest.fixture
def add(opened: Installation, cast: Cast) -> Add:
    """Makes a sender of acme's at Telnyx."""

    def adds(identity: str = NUMBER, kind: str = "long_code", account: str = OURS) -> int:
        brand = cast.tenant.brand("acme").id
        with opened.database.writing() as connection:
            made = directory.add_sender(
                connection, cast.tenant.id, brand, "telnyx", account, identity, kind, now=0
            )
        opened.directory.refresh()
        return made

    return adds


@pytest.fixture
def telnyx(settings: Settings, client: FlaskClient, add: Add, clock: Clock) -> Telnyx:
    key = Ed25519PrivateKey.generate()
    add()
    keep_token(settings.data, "telnyx", OURS, public(key))
    return Telnyx(client, key, clock)


@dataclass
class TelnyxApi:
    """Telnyx's REST API, as far as a message goes."""

    url: str
    heard: list[tuple[str, str, dict[str, str]]] = field(default_factory=list)
    status: int = 200
    answer: Any = field(default_factory=lambda: {"data": {"id": uuid()}})
    hangs: bool = False

    def refuses(self, status: int, *codes: str) -> None:
        said = f"{FRANK.value} is wrong"
        self.status = status
        self.answer = {"errors": [{"code": code, "detail": said} for code in codes]}

    @property
    def texts(self) -> list[tuple[str, str, str]]:
        return [(sent["from"], sent["to"], sent["text"]) for _, _, sent in self.heard]


@pytest.fixture
def telnyx_api() -> Iterator[TelnyxApi]:
    class Answers(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            api.heard.append((self.path, self.headers["Authorization"], json.loads(body)))
            if api.hangs:
                # Until the other side has gone.
                self.rfile.read(1)
                return
            answer = (
                api.answer if isinstance(api.answer, bytes) else json.dumps(api.answer).encode()
            )
            self.send_response(api.status)
            self.send_header("Location", f"{api.url}/elsewhere")
            self.send_header("Content-Length", str(len(answer)))
            self.send_header("Connection", "close")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *said: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    api = TelnyxApi(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield api
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def post(opened: Installation, telnyx_api: TelnyxApi) -> Installation:
    """The installation, with an API to send by."""
    keep_token(opened.settings.data, "telnyx-api", OURS, "KEY-older")
    keep_token(opened.settings.data, "telnyx-api", OURS, API_KEY)
    return replace(opened, settings=replace(opened.settings, telnyx_api=telnyx_api.url))


def heard(opened: Installation, cast: Cast, author: Address = FRANK) -> list[Entry]:
    """What was said from an address after the cast had spoken."""
    with opened.database.reading() as connection:
        past = ledger.history(connection, cast.tenant.id, cast.tenant.digest(author))
    return [entry for entry in past if entry.source == "telnyx"]


def standing(opened: Installation, cast: Cast, author: Address = FRANK) -> Standing:
    with opened.database.reading() as connection:
        return ledger.standing(connection, cast.tenant.id, cast.tenant.digest(author))


def events(opened: Installation) -> int:
    with opened.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.event)) or 0


def waiting(opened: Installation) -> list[str | None]:
    """The answers that are still to go out."""
    with opened.database.reading() as connection:
        asked = select(tables.letter).where(tables.letter.c.due_at.is_not(None))
        return [row.text for row in connection.execute(asked.order_by(tables.letter.c.id))]


def of_telnyx(opened: Installation, cast: Cast) -> Sender:
    senders = opened.directory.latest.tenants[cast.tenant.id].senders
    return next(sender for sender in senders if sender.identity == NUMBER)


def reason(api: Api, number: str = FRANK.value) -> str:
    return str(api.check(number, "product-news", "sms")["reason"])


# --- what people say ---


def test_a_stop_is_heard_and_what_telnyx_has_answered_is_not_answered_again(
    telnyx: Telnyx, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    assert reason(api) == "consent"
    said = message("Stop ", autoresponse_type="STOP", received_at=at(clock() - 700))
    telnyx.send(said)
    assert reason(api) == "replied_stop"
    (entry,) = heard(opened, cast)
    event = entry.event
    assert (event.kind, event.voice, event.scope) == (Kind.OUT, Voice.STOP, ALL)
    assert (event.said_at, event.clock, event.door) == (clock() - 700, "telnyx", "text message")
    assert entry.source_id == said["id"]
    assert entry.evidence == {"text": "Stop ", "to": NUMBER, "autoresponse_type": "STOP"}
    assert standing(opened, cast).carrier_blocks
    assert waiting(opened) == []


def test_a_sentence_that_telnyx_does_not_know_is_a_stop_and_answered_once_from_its_number(
    telnyx: Telnyx, add: Add, api: Api, post: Installation, telnyx_api: TelnyxApi, clock: Clock
) -> None:
    add("+14155550176")
    said = telnyx.body(message("please stop texting me", received_at=at(clock())))
    for _ in range(2):
        assert telnyx.post(said).status_code == 200
    assert reason(api) == "replied_stop"
    assert deliver(post) == 1
    telnyx.post(said)
    clock.forward(minutes=3)
    assert deliver(post) == 0
    ((path, authorization, sent),) = telnyx_api.heard
    assert (path, authorization) == ("/v2/messages", f"Bearer {API_KEY}")
    assert set(sent) == {"from", "to", "text"}
    assert (sent["from"], sent["to"]) == (NUMBER, FRANK.value)
    assert "unsubscribed" in sent["text"]


@ONE_STORE
def test_the_block_of_telnyx_is_known_from_our_own(
    telnyx: Telnyx, opened: Installation, cast: Cast
) -> None:
    telnyx.text("please stop texting me")
    found = standing(opened, cast)
    assert found.stopped
    assert not found.carrier_blocks


@ONE_STORE
def test_an_answer_that_is_late_is_not_sent(
    telnyx: Telnyx, post: Installation, telnyx_api: TelnyxApi, clock: Clock
) -> None:
    telnyx.text("please stop texting me")
    clock.forward(minutes=5, seconds=1)
    assert deliver(post) == 0
    # One that came to us late, too.
    telnyx.text("info", received_at=at(clock() - 301_000))
    assert deliver(post) == 0
    assert telnyx_api.heard == []


def test_a_second_stop_gets_no_second_answer(
    telnyx: Telnyx, post: Installation, telnyx_api: TelnyxApi
) -> None:
    for _ in range(2):
        telnyx.text("please stop texting me")
    assert deliver(post) == 1
    assert len(telnyx_api.heard) == 1


def test_a_start_takes_a_stop_back_at_once_where_telnyx_says_that_it_came_later(
    telnyx: Telnyx, api: Api, opened: Installation, clock: Clock
) -> None:
    telnyx.text("STOP", received_at=at(clock() - 9_000))
    telnyx.text("START", received_at=at(clock() - 1_000))
    assert reason(api) == "consent"
    assert waiting(opened) == []


@ONE_STORE
def test_and_in_whichever_order_their_webhooks_arrive(
    telnyx: Telnyx, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    telnyx.text("START", received_at=at(clock() - 1_000))
    telnyx.text("STOP", received_at=at(clock() - 9_000))
    assert reason(api) == "consent"
    assert heard(opened, cast)[-1].outcome is Outcome.LATE


@ONE_STORE
def test_a_stop_that_telnyx_says_came_after_a_start_holds(
    telnyx: Telnyx, api: Api, clock: Clock
) -> None:
    telnyx.text("STOP", received_at=at(clock() - 20_000))
    telnyx.text("STOP", received_at=at(clock() - 1_000))
    telnyx.text("START", received_at=at(clock() - 9_000))
    assert reason(api) == "replied_stop"


@ONE_STORE
def test_where_telnyx_does_not_say_when_a_start_counts_after_two_minutes_alone(
    telnyx: Telnyx, api: Api, clock: Clock
) -> None:
    def undated(body: str) -> None:
        payload = {"data": {"event_type": "message.received", "payload": message(body)}}
        assert telnyx.post(json.dumps(payload).encode()).status_code == 200

    undated("STOP")
    undated("START")
    assert reason(api) == "replied_stop"
    clock.forward(minutes=2, seconds=1)
    undated("START")
    assert reason(api) == "consent"


@ONE_STORE
@pytest.mark.parametrize(
    ("kind", "body", "replied", "says", "is_ours"),
    [
        ("long_code", "STOP", None, Kind.OUT, False),
        ("long_code", " stop ALL\n", None, Kind.OUT, False),
        ("long_code", "Stop.", None, Kind.OUT, True),
        ("long_code", "revoke", None, Kind.OUT, True),
        ("long_code", "QUIT", "STOP", Kind.OUT, False),
        ("long_code", "adios amigo", "STOP", Kind.OUT, False),
        ("long_code", "adios amigo", "opt_out", Kind.OUT, False),
        ("long_code", "adios amigo", "OPT-OUT", Kind.OUT, False),
        ("long_code", "Unstop", None, Kind.LIFT, False),
        ("long_code", "bring it on", "START", Kind.LIFT, False),
        ("long_code", "bring it on", "opt_in", Kind.LIFT, False),
        ("long_code", "HELP", None, Kind.TEXT, True),
        ("long_code", "HELP", "HELP", Kind.TEXT, False),
        ("long_code", "hours?", "info", Kind.TEXT, False),
        # A keyword of the profile's own, which Telnyx has answered with whatever it is for.
        ("long_code", "menu", "MENU", Kind.TEXT, False),
        ("messaging_service", "cancel", None, Kind.OUT, False),
        ("toll_free", "stop", None, Kind.OUT, False),
        ("toll_free", "cancel", None, Kind.OUT, True),
        ("toll_free", "unstop", None, Kind.LIFT, False),
        ("short_code", "stop", None, Kind.OUT, True),
        ("short_code", "stop", "STOP", Kind.OUT, False),
        ("advanced_opt_out", "stop", None, Kind.OUT, True),
    ],
)
def test_what_telnyx_or_the_carrier_has_answered_is_never_answered_by_us(
    telnyx: Telnyx,
    add: Add,
    opened: Installation,
    cast: Cast,
    kind: str,
    body: str,
    replied: str | None,
    says: Kind,
    is_ours: bool,
) -> None:
    identities = {"toll_free": TOLL_FREE, "short_code": SHORT_CODE, "long_code": "+14155550178"}
    identity = identities.get(kind, PROFILE)
    add(identity, kind)
    told = identity if identity != PROFILE else "+14155550179"
    telnyx.text(body, to=[{"phone_number": told}], autoresponse_type=replied)
    (entry,) = heard(opened, cast)
    assert entry.event.kind is says
    assert len(waiting(opened)) == is_ours
    assert entry.evidence is not None
    assert entry.evidence["to"] == identity


def test_yes_is_nothing_to_telnyx_and_answers_a_question_of_ours(
    telnyx: Telnyx, api: Api, post: Installation, cast: Cast, telnyx_api: TelnyxApi, clock: Clock
) -> None:
    telnyx.text("STOP", autoresponse_type="STOP", **{"from": {"phone_number": DAVE.value}})
    clock.forward(minutes=3)
    telnyx.text("YES", **{"from": {"phone_number": DAVE.value}})
    assert reason(api, DAVE.value) == "replied_stop"
    assert telnyx_api.heard == []
    grace = Address(Channel.SMS, "+14155550109")
    with post.database.writing() as connection:
        asked = letters.ask(
            connection,
            cast.tenant,
            grace,
            cast.tenant.topic("product-news"),
            language="en",
            through="sign-up form",
            evidence={},
            network=None,
            now=clock(),
        )
        assert asked.outcome == "asked"
        for letter in letters.claim_due(connection, clock(), 10):
            letters.sent(connection, letter, clock())
    telnyx.text("Yes!", **{"from": {"phone_number": grace.value}})
    assert reason(api, grace.value) == "consent"
    assert deliver(post) == 1
    ((origin, to, text),) = telnyx_api.texts
    assert (origin, to) == (NUMBER, grace.value)
    assert "you will get" in text


def test_a_message_that_is_delivered_again_is_heard_once(
    telnyx: Telnyx, opened: Installation, cast: Cast, clock: Clock
) -> None:
    said = message("STOP", received_at=at(clock()))
    for _ in range(3):
        # Each attempt is another event about the same message.
        telnyx.send(said)
    assert len(heard(opened, cast)) == 1


def test_a_picture_without_a_word_and_any_talk_are_kept_and_say_nothing(
    telnyx: Telnyx, api: Api, opened: Installation, cast: Cast
) -> None:
    telnyx.text("", type="MMS", media=[{"url": "https://media.example/1", "size": 3}])
    telnyx.text(None, type="MMS")
    telnyx.text(...)
    telnyx.text("see you at five")
    assert [entry.event.kind for entry in heard(opened, cast)] == [Kind.TEXT] * 4
    assert reason(api) == "consent"
    assert waiting(opened) == []


@ONE_STORE
def test_what_is_not_a_person_says_nothing(telnyx: Telnyx, opened: Installation) -> None:
    before = events(opened)
    for author in ("77777", "BANK", "", None, 1, {}):
        telnyx.text("STOP", **{"from": {"phone_number": author}})
    telnyx.text("STOP", **{"from": None})
    telnyx.text("STOP", **{"from": ...})
    assert events(opened) == before


@ONE_STORE
@pytest.mark.parametrize(
    ("kind", "identity", "channel", "end", "said"),
    [
        ("rcs", "acme-agent", "rcs", {"agent_id": "acme-agent"}, {"text": "Stop"}),
        (
            "rcs",
            "acme-agent",
            "rcs",
            {"agent_id": "acme-agent"},
            {"suggestion_response": {"text": "STOP", "postback_data": "x"}},
        ),
        (
            "whatsapp",
            "+14155550175",
            "whatsapp",
            {"phone_number": "+14155550175"},
            {"type": "text", "text": {"body": "stop"}},
        ),
    ],
)
def test_a_stop_by_rcs_or_whatsapp_is_heard_there_and_never_answered_by_a_text(
    telnyx: Telnyx,
    add: Add,
    opened: Installation,
    cast: Cast,
    kind: str,
    identity: str,
    channel: str,
    end: dict[str, str],
    said: dict[str, Any],
) -> None:
    add(identity, kind)
    telnyx.send(message(..., type=channel.upper(), to=[end], body=said))
    author = Address(Channel(channel), FRANK.value)
    (entry,) = heard(opened, cast, author)
    assert (entry.event.kind, entry.event.voice) == (Kind.OUT, Voice.STOP)
    assert waiting(opened) == []


def test_a_text_that_was_cut_through_an_emoji_is_heard(
    telnyx: Telnyx, opened: Installation, cast: Cast
) -> None:
    telnyx.text("STOP \ud83d")
    telnyx.text("STOP\0")
    entry, _ = heard(opened, cast)
    assert entry.event.kind is Kind.OUT
    assert entry.evidence is not None
    assert entry.evidence["text"] == "STOP ?"


def test_a_sender_that_was_taken_away_is_still_heard(
    telnyx: Telnyx, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    sender = of_telnyx(opened, cast)
    with opened.database.writing() as connection:
        directory.remove_sender(connection, cast.tenant, sender.id, clock())
    opened.directory.refresh()
    telnyx.text("STOP")
    assert reason(api) == "replied_stop"


# --- who says so ---


def tampered(body: bytes) -> bytes:
    return body.replace(b"please", b"Please")


def without(name: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: {n: text for n, text in headers.items() if n != name}


def changed(name: str, text: str) -> Callable[[dict[str, str]], dict[str, str]]:
    return lambda headers: headers | {name: text}


@pytest.mark.parametrize(
    "headers",
    [
        without("telnyx-signature-ed25519"),
        without("telnyx-timestamp"),
        lambda headers: {},
        changed("telnyx-signature-ed25519", ""),
        changed("telnyx-signature-ed25519", "not base64!"),
        changed("telnyx-signature-ed25519", "Grüße"),
        changed("telnyx-signature-ed25519", b64encode(b"\0" * 64).decode()),
        changed("telnyx-signature-ed25519", b64encode(b"short").decode()),
        changed("telnyx-timestamp", ""),
        changed("telnyx-timestamp", "now"),
        changed("telnyx-timestamp", "²³"),
        changed("telnyx-timestamp", "9" * 400),
        changed("telnyx-timestamp", "-1"),
    ],
)
@ONE_STORE
def test_nothing_is_read_that_is_not_signed(
    telnyx: Telnyx,
    opened: Installation,
    headers: Callable[[dict[str, str]], dict[str, str]],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    before = events(opened)
    body = telnyx.body(message("please stop"))
    answer = telnyx.post(body, headers(telnyx.signed(body)))
    assert answer.status_code == 403
    assert FRANK.value not in answer.text + caplog.text
    assert events(opened) == before


@ONE_STORE
def test_nothing_is_read_that_was_changed_on_the_way_or_signed_with_another_key(
    telnyx: Telnyx, client: FlaskClient, opened: Installation, clock: Clock
) -> None:
    before = events(opened)
    body = telnyx.body(message("please stop"))
    assert telnyx.post(tampered(body), telnyx.signed(body)).status_code == 403
    moved = telnyx.signed(body) | {"telnyx-timestamp": str(clock() // 1000 - 1)}
    assert telnyx.post(body, moved).status_code == 403
    stranger = Telnyx(client, Ed25519PrivateKey.generate(), clock)
    assert telnyx.post(body, stranger.signed(body)).status_code == 403
    assert events(opened) == before
    assert telnyx.post(body).status_code == 200


@ONE_STORE
@pytest.mark.parametrize(
    ("late", "status"), [(-86_400, 200), (-86_401, 403), (86_400, 200), (86_401, 403)]
)
def test_a_signature_is_good_for_a_day_so_that_no_clock_loses_a_stop(
    telnyx: Telnyx, late: int, status: int
) -> None:
    body = telnyx.body(message())
    assert telnyx.post(body, telnyx.signed(body, late)).status_code == status


@ONE_STORE
def test_two_public_keys_are_good_during_a_rotation(
    telnyx: Telnyx, client: FlaskClient, settings: Settings, clock: Clock
) -> None:
    newer = Ed25519PrivateKey.generate()
    keep_token(settings.data, "telnyx", OURS, public(newer))
    telnyx.text("see you")
    Telnyx(client, newer, clock).text("see you")
    keep_token(settings.data, "telnyx", OURS, public(Ed25519PrivateKey.generate()))
    body = telnyx.body(message())
    assert telnyx.post(body).status_code == 403


def test_the_key_of_another_tenant_or_account_opens_no_door(
    telnyx: Telnyx,
    client: FlaskClient,
    add: Add,
    opened: Installation,
    settings: Settings,
    clock: Clock,
) -> None:
    theirs = Ed25519PrivateKey.generate()
    with opened.database.writing() as connection:
        tenant = directory.add_tenant(connection, "globex", "Globex", clock())
        brand = directory.add_brand(connection, tenant, "globex", "Globex", "x", clock())
        directory.add_sender(
            connection, tenant, brand, "telnyx", "globex", "+14155550171", "long_code", clock()
        )
    keep_token(settings.data, "telnyx", "globex", public(theirs))
    # An account of acme's that the number belongs to not.
    add("+14155550172", account="acme-elsewhere")
    apart = Ed25519PrivateKey.generate()
    keep_token(settings.data, "telnyx", "acme-elsewhere", public(apart))
    opened.directory.refresh()
    for key in (theirs, apart):
        stranger = Telnyx(client, key, clock)
        assert stranger.post(stranger.body(message("STOP"))).status_code == 403
    elsewhere = Telnyx(client, apart, clock)
    elsewhere.text("STOP", to=[{"phone_number": "+14155550172"}])


@ONE_STORE
def test_an_account_without_a_key_or_with_a_broken_one_opens_no_door(
    telnyx: Telnyx, settings: Settings
) -> None:
    body = telnyx.body(message())
    file = settings.data / "secrets" / "telnyx.tokens"
    for text in ("", f"{OURS}\n", f"{OURS} AAAA ???\n", f"{OURS} {'A' * 43}=\n"):
        file.write_text(text)
        assert telnyx.post(body).status_code == 403


@ONE_STORE
def test_what_was_sent_to_a_number_that_is_not_ours_is_refused(
    telnyx: Telnyx, opened: Installation
) -> None:
    before = events(opened)
    for to in ([{"phone_number": "+14155550170"}], [], None, "x", [None], [{"phone_number": 1}]):
        assert telnyx.post(telnyx.body(message(to=to))).status_code == 403
    assert events(opened) == before


@ONE_STORE
def test_what_cannot_be_read_is_refused_and_says_what_to_change(
    telnyx: Telnyx, opened: Installation
) -> None:
    before = events(opened)
    first = b'{"sms_id": "1", "direction": "inbound", "from": "+14155550106", "body": "STOP"}'
    for body in (b"STOP", b"", b"\xff", b"[" * 50_000, b"[]", b'{"data": 1}', first):
        answer = telnyx.post(body)
        assert answer.status_code == 422
        assert "version to 2" in answer.text
    for name in ("", None, 7, "x", "no spaces", "x" * 99):
        answer = telnyx.post(telnyx.body(message(id=name)))
        assert answer.status_code == 422
        assert '"id"' in answer.text
    assert events(opened) == before


@ONE_STORE
def test_events_about_something_else_are_acknowledged_and_change_nothing(
    telnyx: Telnyx, opened: Installation
) -> None:
    before = events(opened)
    for event in ("call.initiated", "message.read", "fax.received", "10dlc.campaign"):
        telnyx.send({"id": uuid(), "from": FRANK.value}, event)
        telnyx.send(None, event)
    assert events(opened) == before


# --- what did not arrive ---


@ONE_STORE
@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("40300", "replied_stop"),
        ("40310", "invalid"),
        ("40001", "unreachable"),
        ("40012", "consent"),
        ("40002", "consent"),
        ("40008", "consent"),
        ("49999", "consent"),
    ],
)
def test_an_error_is_heard_where_it_is_about_the_person(
    telnyx: Telnyx, api: Api, opened: Installation, cast: Cast, code: str, expected: str
) -> None:
    for _ in range(2):
        telnyx.failed(code, id="4ee8c3a6-4995-4309-a3c6-38e3db9ea4be")
    assert reason(api) == expected
    found = heard(opened, cast)
    assert len(found) == (code in ("40300", "40310", "40001", "40012"))
    if code == "40300":
        event = found[0].event
        assert (event.kind, event.voice, event.scope) == (Kind.OUT, Voice.STOP, ALL)
        assert found[0].evidence == {"error": "40300", "from": NUMBER}


@ONE_STORE
def test_a_phone_that_is_off_is_gone_after_three_days_of_it(
    telnyx: Telnyx, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    for _ in range(3):
        assert reason(api) == "consent"
        telnyx.failed("40012")
        clock.forward(days=1)
    assert reason(api) == "unreachable"
    assert [b.block for b in standing(opened, cast).blocks] == [Block.UNREACHABLE]


@ONE_STORE
def test_a_stop_leaves_what_its_sender_leaves(
    telnyx: Telnyx, opened: Installation, cast: Cast
) -> None:
    sender = of_telnyx(opened, cast)
    with opened.database.writing() as connection:
        directory.change_sender(connection, cast.tenant, sender.id, leaves="brand")
    opened.directory.refresh()
    telnyx.failed("40300")
    telnyx.text("STOP")
    scope = Scope(cast.tenant.brand("acme").id)
    assert [entry.event.scope for entry in heard(opened, cast)] == [scope, scope]


@ONE_STORE
@pytest.mark.parametrize(
    "changed",
    [
        {"to": [{"phone_number": FRANK.value, "status": "delivered"}]},
        {"to": [{"phone_number": FRANK.value, "status": "delivery_unconfirmed"}]},
        {"to": [{"phone_number": FRANK.value, "status": "delivery_failed"}, {}]},
        {"to": [{"phone_number": SHORT_CODE, "status": "delivery_failed"}]},
        {"to": [{"status": "delivery_failed"}]},
        {"to": None},
        {"to": {"phone_number": FRANK.value}},
        {"errors": None},
        {"errors": [None, 40300, {}, {"code": 40300}]},
    ],
)
def test_a_report_that_does_not_say_who_or_why_says_nothing(
    telnyx: Telnyx, opened: Installation, changed: dict[str, Any]
) -> None:
    before = events(opened)
    telnyx.send(failure("40300") | changed, "message.finalized")
    assert events(opened) == before


@ONE_STORE
def test_a_failure_before_the_carrier_is_heard_too(
    telnyx: Telnyx, opened: Installation, cast: Cast
) -> None:
    to = [{"phone_number": FRANK.value, "status": "sending_failed"}]
    errors = [{"code": "40011"}, {"code": "40300"}]
    telnyx.send(failure("", to, errors=errors), "message.sent")
    assert len(heard(opened, cast)) == 1


# --- what we send ---


def reply_waits(telnyx: Telnyx) -> None:
    telnyx.text("please stop texting me")


@ONE_STORE
def test_an_answer_from_a_profile_goes_out_by_it(
    telnyx: Telnyx, add: Add, post: Installation, telnyx_api: TelnyxApi
) -> None:
    add(PROFILE, "messaging_service")
    telnyx.text("please stop texting me", to=[{"phone_number": "+14155550170"}])
    assert deliver(post) == 1
    ((_, _, sent),) = telnyx_api.heard
    assert set(sent) == {"messaging_profile_id", "to", "text"}
    assert sent["messaging_profile_id"] == PROFILE


def ask(opened: Installation, cast: Cast, clock: Clock) -> Address:
    heidi = Address(Channel.SMS, "+14155550108")
    with opened.database.writing() as connection:
        asked = letters.ask(
            connection,
            cast.tenant,
            heidi,
            cast.tenant.topic("events"),
            language="en",
            through="sign-up form",
            evidence={},
            network=None,
            now=clock(),
        )
    assert asked.outcome == "asked"
    return heidi


@NOTHING_SENDS
def test_a_question_goes_out_from_a_number_with_an_api_key_and_waits_for_one(
    telnyx: Telnyx, opened: Installation, cast: Cast, telnyx_api: TelnyxApi, clock: Clock
) -> None:
    settings = replace(opened.settings, telnyx_api=telnyx_api.url)
    post = replace(opened, settings=settings)
    tenant = opened.directory.latest.tenants[cast.tenant.id]
    brand = tenant.brand("acme")
    # Its public key lets us hear and lets nobody send.
    assert letters.texting(settings, tenant, brand.id) is None
    assert not letters.can_send(settings, tenant, brand, Channel.SMS)
    heidi = ask(opened, cast, clock)
    assert deliver(post) == 0
    keep_token(settings.data, "telnyx-api", OURS, API_KEY)
    assert letters.can_send(settings, tenant, brand, Channel.SMS)
    clock.forward(minutes=1)
    assert deliver(post) == 1
    ((origin, to, text),) = telnyx_api.texts
    assert (origin, to) == (NUMBER, heidi.value)
    assert "reply YES" in text


@ONE_STORE
def test_a_number_at_twilio_goes_on_sending_beside_one_that_cannot(
    telnyx: Telnyx, opened: Installation, cast: Cast, settings: Settings
) -> None:
    keep_token(settings.data, "twilio", ACCOUNT, TOKEN)
    tenant = opened.directory.latest.tenants[cast.tenant.id]
    found = letters.texting(settings, tenant, tenant.brand("acme").id)
    assert found
    assert found.provider == "twilio"


@ONE_STORE
def test_an_answer_without_a_key_is_given_up_and_said_in_the_log(
    telnyx: Telnyx, opened: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    reply_waits(telnyx)
    assert deliver(opened) == 0
    assert "NoKey" in caplog.text
    assert waiting(opened) == []


@ONE_STORE
@pytest.mark.parametrize("code", ["40300", "40310", "40001"])
@NOTHING_SENDS
def test_what_telnyx_will_never_send_is_given_up(
    telnyx: Telnyx,
    post: Installation,
    cast: Cast,
    telnyx_api: TelnyxApi,
    clock: Clock,
    code: str,
) -> None:
    telnyx_api.refuses(422, code)
    ask(post, cast, clock)
    assert deliver(post) == 0
    clock.forward(days=1)
    assert deliver(post) == 0
    assert len(telnyx_api.heard) == 1


@ONE_STORE
@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (401, {"errors": [{"code": "10009"}]}),
        (422, {"errors": [{"code": "40012"}]}),
        (429, {"errors": [{"code": "10011"}]}),
        (500, b"<html>"),
        (503, b""),
        (400, {"errors": "40300"}),
        (307, b""),
    ],
)
@NOTHING_SENDS
def test_what_telnyx_may_send_later_is_tried_again(
    telnyx: Telnyx,
    post: Installation,
    cast: Cast,
    telnyx_api: TelnyxApi,
    clock: Clock,
    caplog: pytest.LogCaptureFixture,
    status: int,
    answer: Any,
) -> None:
    caplog.set_level(logging.DEBUG)
    telnyx_api.status, telnyx_api.answer = status, answer
    heidi = ask(post, cast, clock)
    assert deliver(post) == 0
    telnyx_api.status = 200
    clock.forward(minutes=1)
    assert deliver(post) == 1
    assert [path for path, _, _ in telnyx_api.heard] == ["/v2/messages"] * 2
    for secret in (heidi.value, heidi.value[1:], API_KEY):
        assert secret not in caplog.text


@ONE_STORE
def test_an_answer_that_telnyx_may_have_taken_is_not_sent_again(
    telnyx: Telnyx,
    post: Installation,
    telnyx_api: TelnyxApi,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.2)
    telnyx_api.hangs = True
    reply_waits(telnyx)
    for _ in range(4):
        assert deliver(post) == 0
        clock.forward(minutes=1)
    assert len(telnyx_api.heard) == 1


@ONE_STORE
@NOTHING_SENDS
def test_a_question_that_telnyx_may_have_taken_is_sent_once_more_at_the_most(
    telnyx: Telnyx,
    post: Installation,
    cast: Cast,
    telnyx_api: TelnyxApi,
    clock: Clock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sending, "SECONDS", 0.2)
    telnyx_api.hangs = True
    ask(post, cast, clock)
    for _ in range(4):
        assert deliver(post) == 0
        clock.forward(minutes=420)
    assert len(telnyx_api.heard) == 2


# --- setting up ---


def test_the_commands_take_the_public_key_and_the_api_key_apart(
    prefs: Command, cast: Cast, settings: Settings
) -> None:
    made = prefs(
        *("sender", "add", NUMBER, "--brand", "acme", "--kind", "long_code"),
        *("--provider", "telnyx", "--account", OURS),
    )
    command = f"prefs sender token {OURS} --provider telnyx"
    assert command in made
    doubt = prefs("doctor", code=1)
    assert f"every STOP to {NUMBER} is refused: `{command}`" in doubt
    assert f"nothing can be sent from {NUMBER}" in doubt
    take = ("sender", "token", OURS, "--provider", "telnyx")
    keys = [public(Ed25519PrivateKey.generate()) for _ in range(2)]
    for key in keys:
        # What is typed in comes back from the terminal of a test, once.
        assert prefs(*take, stdin=f"{key}\n").count(key) == 1
    prefs(*take, "--for-sending", stdin=f"{API_KEY}\n")
    assert settings.provider_tokens("telnyx", OURS) == (keys[1], keys[0])
    assert settings.sending_tokens("telnyx", OURS) == (API_KEY,)
    assert settings.sending_tokens("twilio", ACCOUNT) == (TOKEN,)
    found = prefs("doctor", code=1)
    assert f"the webhook of {NUMBER} is {settings_url(found)}/webhooks/telnyx/acme\n" in found
    assert "nothing can be sent" not in found
    assert f"\t{NUMBER}\tlong_code\ttelnyx\t{OURS}\t" in prefs("sender", "list")


def settings_url(found: str) -> str:
    return found.partition("/webhooks/")[0].rpartition(" ")[2]


@pytest.mark.parametrize("key", [API_KEY, "AAAA", "A" * 43, "A" * 44, "-" * 44])
@ONE_STORE
def test_what_is_no_public_key_is_not_taken_for_one(
    prefs: Command, cast: Cast, settings: Settings, key: str
) -> None:
    said = prefs("sender", "token", OURS, "--provider", "telnyx", stdin=f"{key}\n", code=1)
    assert "32 bytes in base64" in said
    assert said.count(key) == 1
    assert settings.provider_tokens("telnyx", OURS) == ()


@ONE_STORE
def test_twilio_has_one_token_for_both(prefs: Command, cast: Cast, settings: Settings) -> None:
    said = prefs("sender", "token", "AC1", "--for-sending", stdin="x\n", code=1)
    assert "leave the option out" in said
    assert settings.provider_tokens("twilio", "AC1") == ()


@ONE_STORE
def test_the_api_may_be_another(settings: Settings) -> None:
    def load(url: str) -> str:
        return Settings.load({"PREFS_DATA": str(settings.data), "PREFS_TELNYX_API": url}).telnyx_api

    assert load("") == ""
    assert load("https://api.example.com/") == "https://api.example.com"
    for unclear in ("http://api.example.com", "api.telnyx.com", "https://u:hunter@a.example"):
        with pytest.raises(BadSetting, match="PREFS_TELNYX_API") as refused:
            load(unclear)
        assert "hunter" not in str(refused.value)


@ONE_STORE
def test_a_sender_of_no_known_provider_is_none(opened: Installation, cast: Cast) -> None:
    brand = cast.tenant.brand("acme").id
    with pytest.raises(BadEntry), opened.database.writing() as connection:
        directory.add_sender(
            connection, cast.tenant.id, brand, "telmyx", OURS, NUMBER, "long_code", now=0
        )
