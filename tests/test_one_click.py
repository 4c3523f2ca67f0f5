"""One click in a mail program leaves: RFC 8058 to the byte, and nothing but a POST acts."""

import hashlib
import re
import secrets
import socket
from collections.abc import Iterator
from dataclasses import replace
from threading import Thread
from typing import NamedTuple
from urllib.parse import quote, urljoin, urlsplit

import pytest
from flask.testing import FlaskClient
from sqlalchemy import select
from werkzeug.serving import WSGIRequestHandler, make_server

from prefs import ledger, rights, tables
from prefs.address import Address, Channel
from prefs.demo import ALICE, BOB, ERIN, Cast
from prefs.installation import Installation
from prefs.ledger import Entry, Subject
from prefs.policy import ALL, Kind, Voice
from prefs.settings import Settings
from tests.conftest import Api, Clock, Served
from tests.test_check import taken_away
from wsgi import create_app

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
"""For what is decided before the store is asked: it is the same for both."""

GRACE = "grace@example.org"


def link(api: Api, address: str, topic: str | None = "product-news") -> str:
    """The path of an unsubscribe link, minted by the API."""
    item = {"channel": "email", "address": address} | ({"topic": topic} if topic else {})
    answer = api("POST", "/v1/links", {"items": [item], "remember": False})
    return urlsplit(answer.get_json()["items"][0]["unsubscribe"]).path


def said(opened: Installation, cast: Cast, address: str) -> list[Entry]:
    digest = cast.tenant.digest(Address.parse(Channel.EMAIL, address))
    with opened.database.reading() as connection:
        return ledger.history(connection, cast.tenant.id, digest)


def everything(opened: Installation) -> str:
    """A digest of all that the database holds."""
    found = hashlib.sha256()
    with opened.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            rows = connection.execute(select(table).order_by(*table.primary_key)).all()
            found.update(repr((table.name, rows)).encode())
    return found.hexdigest()


# --- the wire ---


class Answer(NamedTuple):
    status: int
    headers: str
    body: str


class Wire:
    """A server on loopback, spoken to in bytes as a mailbox provider speaks to it."""

    def __init__(self, host: str, port: int) -> None:
        self.at = (host, port)

    def send(self, target: str, head: str = "", body: bytes = b"", method: str = "POST") -> Answer:
        lines = f"{method} {target} HTTP/1.1\r\nHost: prefs.example.com\r\n{head}"
        with socket.create_connection(self.at, timeout=10) as line:
            line.sendall(f"{lines}Connection: close\r\n\r\n".encode() + body)
            with line.makefile("rb") as file:
                whole = file.read().decode()
        head, _, text = whole.partition("\r\n\r\n")
        return Answer(int(head.split()[1]), head.lower(), text)


class Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: object) -> None:
        pass


@pytest.fixture
def wire(opened: Installation, cast: Cast) -> Iterator[Wire]:
    app = create_app(opened)
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield Wire("127.0.0.1", server.server_port)
    server.shutdown()
    thread.join()
    server.server_close()


BASE64URL = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
FIELD = b"List-Unsubscribe=One-Click"
BOUNDARY = "-FormBoundaryjWmhtjORrn"
# RFC 8058 section 8.3.
MULTIPART = (
    b"---FormBoundaryjWmhtjORrn\r\n"
    b'Content-Disposition: form-data; name="List-Unsubscribe"\r\n'
    b"\r\n"
    b"One-Click\r\n"
    b"---FormBoundaryjWmhtjORrn--"
)
FORM = "application/x-www-form-urlencoded"
PARTS = f"multipart/form-data; boundary={BOUNDARY}"


def sized(body: bytes, content_type: str | None = None) -> tuple[str, bytes]:
    head = f"Content-Type: {content_type}\r\n" if content_type else ""
    return f"{head}Content-Length: {len(body)}\r\n", body


# What it is, its head and body, and the door that the history names.
ONE_CLICK = "one-click"
OTHERWISE = "unsubscribe link"
REQUESTS = [
    pytest.param(sized(FIELD, FORM), ONE_CLICK, id="urlencoded, 26 bytes"),
    pytest.param(sized(MULTIPART, PARTS), ONE_CLICK, id="multipart, 124 bytes"),
    pytest.param(sized(MULTIPART + b"\r\n", PARTS), ONE_CLICK, id="multipart with its last CRLF"),
    pytest.param(sized(MULTIPART, "multipart/form-data"), OTHERWISE, id="multipart, no boundary"),
    pytest.param(sized(MULTIPART[:60], PARTS), OTHERWISE, id="multipart cut off"),
    pytest.param(sized(b"\x00\xff--\r\n--", PARTS), OTHERWISE, id="multipart of garbage"),
    pytest.param(sized(FIELD), OTHERWISE, id="no content type"),
    pytest.param(sized(FIELD, "text/plain"), OTHERWISE, id="text/plain"),
    pytest.param(sized(b"{", "application/json"), OTHERWISE, id="half a JSON"),
    pytest.param(sized(b"", FORM), OTHERWISE, id="empty body"),
    pytest.param(("", b""), OTHERWISE, id="no body at all"),
    pytest.param(sized(b"%ff=%00&%00&=&;", FORM), OTHERWISE, id="urlencoded garbage"),
    pytest.param(
        (
            f"Content-Type: {FORM}\r\nTransfer-Encoding: chunked\r\n",
            b"1a\r\n" + FIELD + b"\r\n0\r\n\r\n",
        ),
        ONE_CLICK,
        id="chunked",
    ),
]


def test_the_sample_bodies_are_those_of_the_rfc() -> None:
    assert (len(FIELD), len(MULTIPART)) == (26, 124)


@ONE_STORE
@pytest.mark.parametrize(("request_", "door"), REQUESTS)
def test_any_post_with_a_valid_token_leaves(
    wire: Wire,
    api: Api,
    opened: Installation,
    cast: Cast,
    request_: tuple[str, bytes],
    door: str,
) -> None:
    target = link(api, GRACE)
    for times in (1, 2):
        answer = wire.send(target, *request_)
        assert answer.status == 200
        assert "set-cookie" not in answer.headers
        assert "location:" not in answer.headers
        heard = said(opened, cast, GRACE)
        assert len(heard) == times
        assert {(e.event.kind, e.event.voice, e.event.door) for e in heard} == {
            (Kind.OUT, Voice.PERSON, door)
        }
        assert {e.event.scope for e in heard} == {cast.tenant.topic("product-news").scope}
        assert api.check(GRACE)["reason"] == "opted_out"
        assert api.check(GRACE, "trail-tips")["allowed"] is True
        assert api.check(GRACE, "order-updates")["allowed"] is True


def test_the_real_server_takes_every_one_of_them_too(
    served: Served, api: Api, opened: Installation, cast: Cast
) -> None:
    parts = urlsplit(served.url)
    assert parts.hostname
    assert parts.port
    wire = Wire(parts.hostname, parts.port)
    for number, parameters in enumerate(REQUESTS):
        request_, door = parameters.values
        address = f"person{number}@example.org"
        answer = wire.send(link(api, address), *request_)
        assert (parameters.id, answer.status) == (parameters.id, 200)
        assert "set-cookie" not in answer.headers
        (heard,) = said(opened, cast, address)
        assert (heard.event.kind, heard.event.door) == (Kind.OUT, door)
    # It answers before it has read so long a body.
    head = f"Content-Type: {FORM}\r\nContent-Length: {opened.settings.body_limit + 1}\r\n"
    assert wire.send(link(api, GRACE), head, FIELD).status == 200
    assert len(said(opened, cast, GRACE)) == 1


@ONE_STORE
def test_a_body_over_the_limit_leaves_all_the_same(client: FlaskClient, api: Api) -> None:
    kinds = {f"person{n}@example.org": kind for n, kind in enumerate((FORM, PARTS, "text/plain"))}
    targets = {address: link(api, address) for address in kinds}
    client.application.config["MAX_CONTENT_LENGTH"] = 100
    for address, target in targets.items():
        answer = client.post(target, data=b"a=" + b"x" * 200, content_type=kinds[address])
        assert answer.status_code == 200
    client.application.config["MAX_CONTENT_LENGTH"] = 10_000
    assert {api.check(address)["reason"] for address in targets} == {"opted_out"}


@ONE_STORE
def test_no_slash_makes_a_redirect(wire: Wire, api: Api, opened: Installation, cast: Cast) -> None:
    target = link(api, GRACE)
    token = target.removeprefix("/u/")
    for method in ("POST", "GET", "HEAD"):
        for spelled in (f"/u/{token}/", f"/u//{token}", f"/u///{token}//", target):
            assert wire.send(spelled, *sized(FIELD, FORM), method=method).status == 200
        for spelled in (f"//u/{token}", f"/U/{token}", "/u", "/u/", f"/u/{token}/more"):
            # Some servers fold the slashes in front.
            assert wire.send(spelled, *sized(FIELD, FORM), method=method).status in (200, 404)
    assert len(said(opened, cast, GRACE)) in (4, 5)


@ONE_STORE
def test_the_answer_to_a_mailbox_is_short_and_to_a_person_a_page(
    client: FlaskClient, api: Api
) -> None:
    target = link(api, GRACE)
    mailbox = client.post(target, data=FIELD, content_type=FORM)
    assert (mailbox.mimetype, mailbox.text) == ("text/plain", "Unsubscribed.")
    assert client.post(target).mimetype == "text/html"


@ONE_STORE
def test_nothing_that_the_request_carries_along_is_needed_or_stops_it(
    client: FlaskClient, api: Api
) -> None:
    for headers in (
        {"Cookie": "session=stolen"},
        {"Authorization": "Bearer nothing"},
        {"Origin": "https://elsewhere.example", "Sec-Fetch-Site": "cross-site"},
        {"Accept": "application/json", "User-Agent": ""},
        {"Host": "elsewhere.example", "X-Forwarded-Proto": "http", "X-Forwarded-Host": "x"},
    ):
        answer = client.post(link(api, GRACE), headers=headers, data=FIELD, content_type=FORM)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    assert api.check(GRACE)["reason"] == "opted_out"


def test_what_a_mailbox_showed_of_itself_and_the_campaign_are_kept_as_evidence(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    item = {"channel": "email", "address": GRACE, "topic": "product-news", "campaign": "spring.1"}
    minted = api("POST", "/v1/links", {"items": [item]}).get_json()["items"][0]
    client.post(urlsplit(minted["unsubscribe"]).path, headers={"User-Agent": "a mail\tprogram"})
    (heard,) = said(opened, cast, GRACE)
    assert heard.evidence == {
        "ip": "127.0.0.1",
        "user_agent": "a mail\tprogram",
        "campaign": "spring.1",
    }


@ONE_STORE
def test_the_headers_hold_one_https_link_the_field_and_the_list(api: Api) -> None:
    item = {"channel": "email", "address": GRACE, "topic": "product-news"}
    minted = api("POST", "/v1/links", {"items": [item]}).get_json()["items"][0]
    assert minted["headers"] == {
        "List-Unsubscribe": f"<{minted['unsubscribe']}>",
        "List-Unsubscribe-Post": FIELD.decode(),
        "List-Id": "Product news <product-news.acme.prefs.example.com>",
    }
    assert minted["unsubscribe"].startswith("https://prefs.example.com/u/")
    assert re.fullmatch(r"[A-Za-z0-9._-]{1,110}", minted["unsubscribe"].rpartition("/")[2])


# --- scanners ---


def test_get_head_and_options_of_every_route_change_nothing(
    client: FlaskClient, api: Api, opened: Installation
) -> None:
    item = {"channel": "email", "address": ALICE.value, "topic": "product-news"}
    minted = api("POST", "/v1/links", {"items": [item]}).get_json()["items"][0]
    app = {"channel": "push", "address": "fcm:token"}
    minted |= {
        "device": api("POST", "/v1/links", {"items": [app]}).get_json()["items"][0]["device"]
    }
    doors = ("unsubscribe", "preferences", "device")
    tokens = {name: minted[name].rpartition("/")[2] for name in doors}
    before = everything(opened)
    shown = 0
    for rule in client.application.url_map.iter_rules():
        for token in tokens.values():
            values = {"token": token, "provider": "twilio", "slug": "acme", "filename": "prefs.css"}
            path = re.sub(
                r"<(?:\w+:)?(\w+)>", lambda found, v=values: v.get(found[1], "1"), rule.rule
            )
            for method in ("GET", "HEAD", "OPTIONS"):
                for headers in ({}, {"Authorization": f"Bearer {api.key}"}):
                    for query in ("", "?leave=all&undo=1&List-Unsubscribe=One-Click&on=events"):
                        answer = client.open(
                            path + query, method=method, headers=headers, buffered=True
                        )
                        assert answer.status_code < 500
                        assert "Set-Cookie" not in answer.headers
                        shown += answer.status_code == 200
    assert shown > 60
    assert everything(opened) == before


def test_a_scanner_that_follows_every_link_of_a_page_changes_nothing(
    client: FlaskClient, api: Api, opened: Installation
) -> None:
    target = link(api, GRACE)
    seen, pending = set(), [target, client.post(link(api, "other@example.org")).text]
    before = everything(opened)
    while pending:
        page = pending.pop()
        text = page if page.startswith("<") else client.get(page, buffered=True).text
        for found in re.findall(r'(?:href|action|src)="([^"]+)"', text):
            found = urljoin(page if page.startswith("/") else target, found)
            if found not in seen and not found.startswith("data:"):
                seen.add(found)
                pending.append(found)
    assert {path.split("/")[1] for path in seen} == {"u", "p", "static"}
    assert everything(opened) == before


# --- tokens ---


@ONE_STORE
def test_a_token_with_any_one_character_changed_is_a_page_that_says_so(
    client: FlaskClient, api: Api, opened: Installation
) -> None:
    token = link(api, GRACE).removeprefix("/u/")
    before = everything(opened)
    for place, sign in enumerate(token):
        # The neighbour differs in one bit, which base64 may leave unused.
        neighbour = BASE64URL[BASE64URL.find(sign) ^ 1] if sign in BASE64URL else "A"
        for other in {neighbour, "A", "_", "="} - {sign}:
            answer = client.post(f"/u/{token[:place]}{other}{token[place + 1 :]}")
            assert (answer.status_code, answer.mimetype) == (404, "text/html")
    assert "This link does not work" in answer.text
    assert token not in answer.text
    assert everything(opened) == before


@ONE_STORE
def test_a_token_cut_short_or_made_up_is_a_page_that_says_so(
    client: FlaskClient, api: Api, opened: Installation
) -> None:
    token = link(api, GRACE).removeprefix("/u/")
    before = everything(opened)
    made_up = ["x", ".", "...", "%00", "%FF", "é", "a" * 2000, "../p", f"{token}.{token}", "<b>"]
    for wrong in [token[:length] for length in range(1, len(token))] + made_up:
        for method in ("GET", "POST"):
            assert client.open(f"/u/{wrong}", method=method).status_code == 404
    assert everything(opened) == before


@ONE_STORE
def test_what_mail_programs_glue_to_a_link_does_no_harm(client: FlaskClient, api: Api) -> None:
    ends = (">", ".", ")", ",", "]", '"', "'", " ", "\u00a0", "\u200b", ">.", '">', ").\n", "\r\n")
    for number, glued in enumerate(ends):
        address = f"person{number}@example.org"
        answer = client.post(link(api, address) + quote(glued))
        assert (glued, answer.status_code) == (glued, 200)
        assert api.check(address)["reason"] == "opted_out"


@ONE_STORE
def test_a_token_of_another_purpose_does_not_leave(
    client: FlaskClient, api: Api, opened: Installation
) -> None:
    item = {"channel": "email", "address": GRACE, "topic": "product-news"}
    minted = api("POST", "/v1/links", {"items": [item]}).get_json()["items"][0]
    before = everything(opened)
    chooses = minted["preferences"].rpartition("/")[2]
    assert client.post(f"/u/{chooses}").status_code == 404
    leaves = minted["unsubscribe"].rpartition("/")[2]
    assert client.post(f"/p/{leaves}").status_code == 404
    assert everything(opened) == before


def test_a_token_works_for_an_address_that_nobody_has_heard_of(
    client: FlaskClient, api: Api, opened: Installation
) -> None:
    target = link(api, GRACE)
    with opened.database.reading() as connection:
        assert connection.scalar(select(tables.address).where(tables.address.c.value == GRACE)) is (
            None
        )
    assert "Emails to this address" in client.get(target).text
    assert client.post(target).status_code == 200
    assert api.check(GRACE)["reason"] == "opted_out"


def test_a_token_works_after_erasure_and_brings_nothing_back(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target = link(api, ALICE.value)
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, ALICE), opened.clock())
    for address in (ALICE.value, ERIN.value):
        assert client.post(link(api, address)).status_code == 200
    answer = client.post(target)
    assert answer.status_code == 200
    assert "undo" not in answer.text
    assert said(opened, cast, ALICE.value)[-1].event.voice is Voice.PERSON
    with opened.database.reading() as connection:
        for address in (ALICE, ERIN):
            digest = cast.tenant.digest(address)
            assert ledger.known(connection, cast.tenant.id, digest).value is None


def test_a_token_works_for_ever_and_after_the_signing_key_was_rotated(
    settings: Settings, client: FlaskClient, api: Api, clock: Clock
) -> None:
    target = link(api, GRACE)
    clock.forward(days=3650)
    rotated = replace(settings, signing_keys=(*settings.signing_keys, secrets.token_bytes(32)))
    opened = Installation.open(rotated, clock)
    assert create_app(opened).test_client().post(target).status_code == 200
    opened.database.close()
    assert api.check(GRACE)["reason"] == "opted_out"


# --- one link, one address ---


def test_a_link_for_one_address_touches_no_other_whatever_is_added(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    target, bobs = link(api, ALICE.value), link(api, BOB.value).removeprefix("/u/")
    others = {
        address: said(opened, cast, address)
        for address in (BOB.value, "carol@example.org", ERIN.value, GRACE)
    }
    digest = cast.tenant.digest(BOB).hex()
    added = {
        **dict.fromkeys(("address", "email", "to", "recipient", "value"), BOB.value),
        **dict.fromkeys(("digest", "subject", "id", "person"), digest),
        **dict.fromkeys(("token", "t", "link"), bobs),
        **dict.fromkeys(("tenant", "tenant_id", "brand", "topic", "scope", "channel"), "2"),
        "topic": "events",
        "on": "trail-tips",
    }
    for query in ({}, added):
        for form in ({}, added, added | {"List-Unsubscribe": "One-Click"}):
            answer = client.post(
                target, query_string=query, data=form, headers={"X-Address": BOB.value}
            )
            assert answer.status_code == 200
    assert {a: said(opened, cast, a) for a in others} == others
    heard = said(opened, cast, ALICE.value)[2:]
    assert len(heard) == 6
    assert {entry.event.scope for entry in heard} == {cast.tenant.topic("product-news").scope}
    assert api.check(ALICE.value, "events")["allowed"] is True


def test_a_link_to_all_leaves_all_and_a_link_to_a_topic_never_more_than_it(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    client.post(link(api, GRACE, topic=None), data=FIELD, content_type=FORM)
    assert said(opened, cast, GRACE)[0].event.scope == ALL
    assert api.check(GRACE, "trail-tips")["reason"] == "opted_out"
    assert api.check(GRACE, "order-updates")["allowed"] is True


# --- the store is away ---


def test_without_the_store_nothing_is_called_unsubscribed_and_the_page_still_shows(
    client: FlaskClient, api: Api, opened: Installation, request: pytest.FixtureRequest
) -> None:
    target = link(api, GRACE)
    before = everything(opened)
    with taken_away(opened, request):
        for body in (FIELD, b""):
            answer = client.post(target, data=body, content_type=FORM)
            assert answer.status_code == 503
            assert "Nothing has changed" in answer.text
            assert "nsubscribed" not in answer.text
            assert int(answer.headers["Retry-After"]) > 0
        page = client.get(target)
        assert page.status_code == 200
        assert re.search(r'<form method="post"[^>]*>\s*<button', page.text)
        assert client.post("/u/made-up").status_code == 404
    assert everything(opened) == before
    assert client.post(target, data=FIELD, content_type=FORM).status_code == 200
    assert api.check(GRACE)["reason"] == "opted_out"
