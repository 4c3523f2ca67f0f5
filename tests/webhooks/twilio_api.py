"""Twilio's REST API, as far as prefs asks it: on loopback, for the official client.

It takes messages, lists them newest first and page by page, knows one by its sid, names the
deactivation reports, and takes consents. Whoever shows no token of the account gets 401.
"""

import json
import threading
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlencode, urlsplit

import pytest
from flask.testing import FlaskClient
from twilio.request_validator import RequestValidator
from werkzeug.test import TestResponse

from prefs.demo import ACCOUNT, FRANK, SENDER, TOKEN, Cast
from prefs.installation import Installation
from prefs.policy import Millis
from prefs.settings import keep_token

_sids = count(1)


@dataclass
class Heard:
    path: str
    fields: dict[str, str]
    authorization: str


@dataclass
class Fault:
    """What the next request gets instead of its answer: a status, or half of what it asked for."""

    status: int = 0
    retry_after: str | None = None


@dataclass
class TwilioApi:
    url: str
    heard: list[Heard] = field(default_factory=list)
    """The messages that it was told to send, and the three fields how it answers."""
    status: int = 201
    hangs: bool = False
    answer: dict[str, Any] = field(default_factory=lambda: {"sid": "SM" + "0" * 32})
    tokens: dict[str, str] = field(default_factory=lambda: {ACCOUNT: TOKEN})
    messages: list[dict[str, Any]] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)
    """The other requests, in their order."""
    faults: list[Fault] = field(default_factory=list)
    most_on_a_page: int = 1000
    deactivations: dict[str, bytes] = field(default_factory=dict)
    consents: list[list[dict[str, Any]]] = field(default_factory=list)
    bad_contacts: dict[str, int] = field(default_factory=dict)
    takes_consents: bool = True

    def lists(self, body: str, at: Millis, **changed: Any) -> str:
        """A message of the account's list, inbound unless it says otherwise; its sid."""
        said = format_datetime(datetime.fromtimestamp(at // 1000, UTC))
        message = {
            "account_sid": ACCOUNT,
            "api_version": "2010-04-01",
            "body": body,
            "date_created": said,
            "date_sent": said,
            "date_updated": said,
            "direction": "inbound",
            "error_code": None,
            "error_message": None,
            "from": FRANK.value,
            "messaging_service_sid": None,
            "num_media": "0",
            "num_segments": "1",
            "price": None,
            "price_unit": "USD",
            "sid": f"SM{next(_sids):032x}",
            "status": "received",
            "subresource_uris": {},
            "to": SENDER,
            "uri": "",
            **changed,
        }
        self.messages.append(message)
        return str(message["sid"])

    def fails(self, code: int, at: Millis, to: str = FRANK.value, **changed: Any) -> str:
        """A message to somebody that failed."""
        failed = {"direction": "outbound-api", "from": SENDER, "to": to, "status": "failed"}
        return self.lists("News!", at, **{**failed, "error_code": code, **changed})

    # --- how it answers: status, body, headers ---

    def get(self, path: str, query: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
        parts = path.strip("/").split("/")
        if path.endswith("/Messages.json"):
            return 200, self._page(path, parts[2], query), {}
        if "/Messages/" in path:
            sid = parts[-1].removesuffix(".json")
            found = [m for m in self.messages if (m["sid"], m["account_sid"]) == (sid, parts[2])]
            return (200, found[0], {}) if found else (404, _error(20404, 404), {})
        if path == "/v1/Deactivations":
            if query["Date"] not in self.deactivations:
                return 404, _error(20404, 404), {}
            to = f"{self.url}/files/{query['Date']}.txt?X-Amz-Signature=signed"
            return 307, {"redirect_to": to}, {"Location": to}
        return 404, _error(20404, 404), {}

    def _page(self, path: str, account: str, query: dict[str, str]) -> dict[str, Any]:
        def sent(message: dict[str, Any]) -> datetime:
            return parsedate_to_datetime(message["date_sent"])

        found = [m for m in self.messages if m["account_sid"] == account]
        if after := query.get("DateSent>"):
            found = [m for m in found if sent(m) >= datetime.fromisoformat(after)]
        if before := query.get("DateSent<"):
            found = [m for m in found if sent(m) <= datetime.fromisoformat(before)]
        found.sort(key=sent, reverse=True)
        size = min(int(query.get("PageSize", 50)), self.most_on_a_page)
        number = int(query.get("Page", 0))
        more = {**query, "Page": str(number + 1), "PageToken": "PAxyz"}
        is_last = (number + 1) * size >= len(found)
        return {
            "messages": found[number * size : (number + 1) * size],
            "page": number,
            "page_size": size,
            "start": number * size,
            "end": (number + 1) * size - 1,
            "first_page_uri": path,
            "previous_page_uri": None,
            "next_page_uri": None if is_last else f"{path}?{urlencode(more)}",
            "uri": path,
        }

    def post(self, path: str, fields: list[tuple[str, str]]) -> tuple[int, Any, dict[str, str]]:
        if path != "/v1/Consents/Bulk" or not self.takes_consents:
            return 404, _error(20404, 404), {}
        items = [json.loads(text) for name, text in fields if name == "Items"]
        assert 0 < len(items) <= 25
        assert all(len(item["correlation_id"]) == 32 for item in items)
        self.consents.append(items)
        answers = [
            {
                "correlation_id": item["correlation_id"],
                "error_code": self.bad_contacts.get(item["contact_id"], 0),
                "error_messages": [],
            }
            for item in items
        ]
        return 201, {"items": answers}, {}

    @property
    def told(self) -> list[tuple[str, str, str, str]]:
        """The consents, by what matters of them."""
        names = ("contact_id", "sender_id", "status", "source")
        items = [item for call in self.consents for item in call]
        return [(item[names[0]], item[names[1]], item[names[2]], item[names[3]]) for item in items]


def _error(code: int, status: int) -> dict[str, Any]:
    return {"code": code, "message": "no", "more_info": "", "status": status}


class _Answers(BaseHTTPRequestHandler):
    api: TwilioApi

    def do_GET(self) -> None:
        parts = urlsplit(self.path)
        if parts.path.startswith("/files/"):
            # A storage that is not Twilio's, and must not see its token.
            assert "Authorization" not in self.headers
            assert parts.query == "X-Amz-Signature=signed"
            body = self.api.deactivations[parts.path.removeprefix("/files/").removesuffix(".txt")]
            self._answer(200, body, {"Content-Type": "text/plain"})
            return
        query = {name: texts[0] for name, texts in parse_qs(parts.query).items()}
        self._answered(lambda: self.api.get(parts.path, query))

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        fields = parse_qsl(body)
        if not self.path.endswith("/Messages.json"):
            self._answered(lambda: self.api.post(self.path, fields))
            return
        self.api.heard.append(Heard(self.path, dict(fields), self._shown()))
        if self.api.hangs:
            # Until the other side has gone.
            self.rfile.read(1)
            return
        self._answer(self.api.status, json.dumps(self.api.answer).encode(), {})

    def _shown(self) -> str:
        kind, _, shown = self.headers["Authorization"].partition(" ")
        assert kind == "Basic"
        return b64decode(shown).decode()

    def _answered(self, made: Callable[[], tuple[int, Any, dict[str, str]]]) -> None:
        self.api.asked.append(self.path)
        account, _, token = self._shown().partition(":")
        if self.api.tokens.get(account) != token or f"/{account}" not in self.path + f"/{account}":
            self._answer(401, json.dumps(_error(20003, 401)).encode(), {})
            return
        fault = self.api.faults.pop(0) if self.api.faults else None
        if fault is not None and fault.status:
            headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
            said = json.dumps(_error(20429, fault.status)) if fault.status > 200 else "<html>"
            self._answer(fault.status, said.encode(), headers)
            return
        status, body, headers = made()
        self._answer(status, json.dumps(body).encode(), headers, cut=fault is not None)

    def _answer(self, status: int, body: bytes, headers: dict[str, str], cut: bool = False) -> None:
        self.send_response(status)
        for name, text in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, text)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Connection", "close")
        self.end_headers()
        with suppress(BrokenPipeError, ConnectionResetError):
            self.wfile.write(body[: len(body) // 2] if cut else body)

    def log_message(self, *said: Any) -> None:
        pass


@pytest.fixture
def twilio_api() -> Iterator[TwilioApi]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {}))
    api = TwilioApi(f"http://127.0.0.1:{server.server_port}")
    server.RequestHandlerClass.api = api  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield api
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def linked(opened: Installation, cast: Cast, twilio_api: TwilioApi) -> Installation:
    """The installation, whose Twilio is the stand-in."""
    keep_token(opened.settings.data, "twilio", ACCOUNT, TOKEN)
    return replace(opened, settings=replace(opened.settings, twilio_api=twilio_api.url))


def webhook(client: FlaskClient, **changed: str) -> TestResponse:
    """An inbound message, signed and sent as Twilio does."""
    fields = {
        "MessageSid": f"SM{next(_sids):032x}",
        "AccountSid": ACCOUNT,
        "From": FRANK.value,
        "To": SENDER,
        "Body": "",
        "SmsStatus": "received",
        **changed,
    }
    path = "/webhooks/twilio/acme"
    signature = RequestValidator(TOKEN).compute_signature(
        f"https://prefs.example.com{path}", fields
    )
    return client.post(path, data=fields, headers={"X-Twilio-Signature": signature})
