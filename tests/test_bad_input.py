"""What cannot be read is refused with the name of the field: nothing kept, nothing logged."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from sqlalchemy import select, update

from prefs import demo, tables
from prefs.database import migrate
from prefs.demo import ALICE
from prefs.installation import Installation
from prefs.settings import Settings, create_secrets
from tests.conftest import Api
from tests.test_serve import Running

CANARY = "canary.4711@example.org"
JSON = {"Content-Type": "application/json"}

OFTEN_AND_ELSEWHERE = {
    "at_most": [1, 2],
    "texts": {"de": {"title": "Angebote", "description": "Ab und zu."}},
}
SEEN = {
    "postal_address": "1 Anvil Street",
    "mail_from": "Acme <news@acme.example>",
    "look": {
        "accent": "#1d3f8f",
        "paper": "#f3f2ee",
        "logo": "data:image/png;base64,iVBORw0KGgo=",
    },
    "texts": {
        "de": {
            "name": "Ambossfabrik",
            "about": "Werkzeug.",
            "stop_reply": "{brand}: Sie bekommen nichts mehr.",
            "start_reply": "{brand}: Sie bekommen wieder {topics}.",
            "help_reply": "{brand}: {contact}",
        }
    },
}
TOPIC = {
    "slug": "offers",
    "brand": "acme",
    "title": "Offers",
    "description": "Now and then.",
    "purpose": "marketing",
    "channels": {"email": "opt_out"},
    **OFTEN_AND_ELSEWHERE,
}
STOPS = {"purpose": "marketing", "leaves": "topic", "topic": "events", "clarifies": True}
SENDER = {
    "brand": "acme",
    "provider": "twilio",
    "account": "AC2",
    "identity": "+14155550100",
    "kind": "long_code",
    **STOPS,
}
PREFERENCE = {
    "channel": "sms",
    "address": "(415) 555-0123",
    "region": "US",
    "word": "in",
    "scope": {"topic": "product-news"},
    "said_by": "person",
    "door": "form",
    "said_at": "2026-05-03T10:00:00Z",
    "until": "2030-05-03T10:00:00Z",
    "basis": "express",
    "saw": 3,
    "wording": {"text": "Yes"},
    "override": True,
    "evidence": {"said": "yes", "how": "phone", "seen": "text"},
    "person": "crm:1",
    "event_id": "e1",
}
ADDRESSED = {"channel": "sms", "address": "(415) 555-0123", "region": "US"}
LINK = {
    **ADDRESSED,
    "topic": "product-news",
    "brand": "acme",
    "campaign": "spring",
    "language": "pt-BR",
}

BODIES: dict[tuple[str, str], dict[str, Any]] = {
    ("POST", "/v1/check"): {**ADDRESSED, "topic": "product-news", "explain": True},
    ("PUT", "/v1/preferences"): PREFERENCE,
    ("PUT", "/v1/devices"): {"address": "fcm:new", "replaces": "fcm:old", "person": "crm:1"},
    ("POST", "/v1/confirmations"): {
        **ADDRESSED,
        "topic": "product-news",
        "language": "en",
        "deliver": "sender",
        "door": "form",
        "evidence": {"ip": "192.0.2.1"},
        "person": "crm:1",
    },
    ("POST", "/v1/standing"): ADDRESSED,
    ("POST", "/v1/history"): {**ADDRESSED, "beyond": 0, "limit": 5},
    ("POST", "/v1/links"): {"items": [LINK], "remember": True, "short": True},
    ("POST", "/v1/codes"): ADDRESSED,
    ("POST", "/v1/topics"): TOPIC,
    ("PATCH", "/v1/topics/events"): {
        "title": "Events",
        "description": "New",
        "channels": {"email": "opt_out"},
        **OFTEN_AND_ELSEWHERE,
    },
    ("POST", "/v1/brands"): {"slug": "third", "name": "Third", "contact": "x", **SEEN},
    ("PATCH", "/v1/brands/acme"): {"name": "Acme", "contact": "help@acme.example", **SEEN},
    ("POST", "/v1/senders"): SENDER,
    ("PATCH", "/v1/senders/1"): STOPS,
    ("POST", "/v1/texts/try"): {"text": "please stop it"},
    ("POST", "/v1/keys"): {"name": "new", "scopes": ["check"]},
    ("PATCH", "/v1/tenant"): {
        "name": "Acme",
        "confirming_ends_complaint": False,
        "language": "en",
        "words": {"parar": "out"},
    },
}
"""A good body for every route that takes one, with every field it knows."""


class Place(NamedTuple):
    """A value somewhere in a body, and the path by which an error names it."""

    path: tuple[str | int, ...]
    value: Any

    @property
    def name(self) -> str:
        return ".".join(map(str, self.path))


def filled(rule: str) -> str:
    rule = rule.replace("brands/<slug>", "brands/acme").replace("<slug>", "events")
    return rule.replace("<int:sender_id>", "1")


def places(body: Any, path: tuple[str | int, ...] = ()) -> Iterator[Place]:
    entries = body.items() if isinstance(body, dict) else enumerate(body)
    for name, value in entries:
        yield Place((*path, name), value)
        if isinstance(value, (dict, list)):
            yield from places(value, (*path, name))


def changed(body: Any, path: tuple[str | int, ...], value: Any) -> Any:
    copy: Any = json.loads(json.dumps(body))
    inner = copy
    for name in path[:-1]:
        inner = inner[name]
    inner[path[-1]] = value
    return copy


def kept(opened: Installation) -> list[Any]:
    """All that is stored: every row of every table."""
    with opened.database.reading() as connection:
        return [
            sorted(map(repr, connection.execute(select(table)).fetchall()))
            for table in tables.metadata.sorted_tables
        ]


def refused(answer: Any, field: str | None = None) -> None:
    shown = (answer.status_code, answer.get_data(as_text=True)[:300], field)
    assert 400 <= answer.status_code < 500, shown
    assert answer.content_type == "application/problem+json", shown
    problem = answer.get_json()
    assert problem["status"] == answer.status_code, shown
    assert problem["detail"], shown
    if field is not None:
        names = list(problem["errors"])
        assert any(name == field or name.startswith(f"{field}.") for name in names), shown
    if answer.request.path.startswith("/v1/check"):
        assert (problem["allowed"], problem["decision"]) == (False, "hold"), shown


@pytest.fixture(autouse=True)
def nothing_is_logged(
    request: pytest.FixtureRequest,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> Iterator[None]:
    api = request.getfixturevalue("api") if "api" in request.fixturenames else None
    secrets = [api.key, api.key[-43:]] if api else []
    yield
    out, err = capfd.readouterr()
    said = caplog.text + out + err
    for secret in ("canary", "555-0123", "+14155550123", *secrets):
        assert secret not in said


# --- in every field ---


def test_the_bodies_here_are_good_and_stand_for_every_route(api: Api) -> None:
    rules = api.client.application.url_map.iter_rules()
    taking = {
        (method, filled(rule.rule))
        for rule in rules
        for method in (rule.methods or set()) & {"POST", "PUT", "PATCH"}
        if rule.rule.startswith("/v1/")
    }
    elsewhere = {
        ("POST", "/v1/checks"),
        ("POST", "/v1/keys/<key_id>/rotate"),
        ("POST", "/v1/bursts/<burst_id>/undo"),
        ("POST", "/v1/reviews/<review_id>"),
    }
    assert taking == set(BODIES) | elsewhere
    for (method, path), body in BODIES.items():
        assert api(method, path, body).status_code in (200, 201), path


@pytest.mark.parametrize(
    "bad",
    [
        pytest.param("a\0b", id="a NUL"),
        pytest.param("a\ud800b", id="half a character"),
        pytest.param("a\udfff\ud800b", id="two halves in the wrong order"),
        pytest.param("a\x1b[31mb", id="an escape"),
        pytest.param("a\ufffdb", id="what a decoder lost"),
        pytest.param("x" * 20_000, id="too long"),
    ],
)
def test_no_text_field_takes_what_cannot_be_kept(api: Api, opened: Installation, bad: str) -> None:
    before = kept(opened)
    for (method, path), body in BODIES.items():
        for place in places(body):
            if isinstance(place.value, str):
                refused(api(method, path, changed(body, place.path, bad)), place.name)
            elif isinstance(place.value, dict) and place.name != "scope":
                entry = {**place.value, bad: "text"}
                refused(api(method, path, changed(body, place.path, entry)), place.name)
    assert kept(opened) == before


def test_no_field_takes_another_type(api: Api, opened: Installation) -> None:
    before = kept(opened)
    for (method, path), body in BODIES.items():
        for place in places(body):
            other: Any
            for other in (None, 5, -1, 1.5, 1e300, True, "yes", [], {}, [[]], 10**4000):
                same = type(other) is type(place.value) and other not in (-1, 10**4000)
                # A channel's consent model may be null (the channel's own), and a word taken away.
                if same or place.name in ("channels.email", "words.parar"):
                    continue
                refused(api(method, path, changed(body, place.path, other)), str(place.path[0]))
    assert kept(opened) == before


def test_no_body_takes_a_field_that_nobody_knows(api: Api, opened: Installation) -> None:
    before = kept(opened)
    for (method, path), body in BODIES.items():
        for name in ("surprise", "tenant_id", "id", "__class__"):
            refused(api(method, path, {**body, name: 1}), name if name[0] != "_" else "(a field)")
        answer = api(method, path, {**body, CANARY: 1})
        refused(answer, "(a field)")
        assert CANARY not in answer.get_data(as_text=True)
    refused(api("POST", "/v1/links", {"items": [{**LINK, "tenant_id": 1}]}), "items.0.tenant_id")
    refused(api("POST", "/v1/checks", {"items": [{}], "tenant_id": 1}), "tenant_id")
    assert kept(opened) == before


def test_no_query_takes_what_it_does_not_know(api: Api) -> None:
    for path, field in (
        ("/v1/changes?surprise=1", "surprise"),
        ("/v1/changes?since=1", "since"),
        ("/v1/changes?since=1.2.3", "since"),
        ("/v1/changes?since=%00", "since"),
        ("/v1/changes?since=%ff.1", "since"),
        (f"/v1/changes?since={'9' * 19}.1", "since"),
        ("/v1/changes?limit=0", "limit"),
        ("/v1/changes?limit=10001", "limit"),
        ("/v1/changes?limit=1e3", "limit"),
        ("/v1/changes?limit=NaN", "limit"),
        (f"/v1/changes?limit={'9' * 5000}", "limit"),
        ("/v1/bursts?since=1", "since"),
        ("/v1/bursts?until=2026-11-01", "until"),
        ("/v1/bursts?tenant=2", "tenant"),
        ("/v1/reviews?cursor=zz", "cursor"),
        ("/v1/reviews?limit=0", "limit"),
        ("/v1/reviews?limit=1001", "limit"),
        ("/v1/reviews?tenant=2", "tenant"),
        ("/v1/suppressions", "channel"),
        ("/v1/suppressions?channel=fax", "channel"),
        ("/v1/suppressions?channel=email&cursor=zz", "cursor"),
        (f"/v1/suppressions?channel=email&cursor={'a' * 34}", "cursor"),
        ("/v1/suppressions?channel=email&topic=none", "topic"),
        ("/v1/suppressions?channel=email&topic=%ED%A0%80", "topic"),
        ("/v1/suppressions?channel=email&tenant=2", "tenant"),
    ):
        refused(api("GET", path), field)


def test_a_path_may_hold_anything(api: Api) -> None:
    for method, path in (
        ("DELETE", "/v1/keys/%00"),
        ("DELETE", "/v1/keys/%ff%fe"),
        ("DELETE", "/v1/keys/%ED%A0%80"),
        ("DELETE", f"/v1/senders/{'9' * 400}"),
        ("DELETE", "/v1/senders/-1"),
        ("POST", "/v1/bursts/%00/undo"),
        ("POST", f"/v1/bursts/{'9' * 18}-1-{'0' * 16}/undo"),
        ("PATCH", f"/v1/senders/{'9' * 400}"),
        ("PATCH", "/v1/topics/%00"),
        ("PATCH", "/v1/topics/..%2f..%2fetc"),
        ("GET", "/v1/%00"),
        ("GET", "/v1/" + "x" * 100_000),
        ("GET", "/v1//check"),
        ("POST", "/v1/topics/events"),
    ):
        refused(api(method, path, {}))


# --- the body itself ---


def raw(body: dict[str, Any], **changes: bytes) -> bytes:
    """The body with a value replaced by bytes as they are."""
    text = json.dumps({**body, **dict.fromkeys(changes, "HERE")}).encode()
    for value in changes.values():
        text = text.replace(b'"HERE"', value, 1)
    return text


def test_what_is_not_strict_json_in_utf_8_is_refused(api: Api, opened: Installation) -> None:
    before = kept(opened)
    for (method, path), body in BODIES.items():
        field = next(iter(body))
        good = json.dumps(body).encode()
        for bad in (
            b"",
            b" ",
            b"\xff\xfe" + json.dumps(body).encode("utf-16-le"),
            json.dumps(body).encode("utf-16"),
            b"\xef\xbb\xbf" + good,
            good[:-1],
            good + b"x",
            good.replace(b'"', b"'"),
            raw(body, **{field: b'"\xff"'}),
            raw(body, **{field: b'"\xc0\x80"'}),
            raw(body, **{field: b'"\xed\xa0\x80"'}),
            raw(body, **{field: b'"\xf8\x88\x80\x80\x80"'}),
            raw(body, **{field: b'"a\x00b"'}),
            raw(body, **{field: b'"a\nb"'}),
            raw(body, **{field: b"NaN"}),
            raw(body, **{field: b"-Infinity"}),
            raw(body, **{field: b"1e999"}),
            raw(body, **{field: b"-1e999"}),
            raw(body, **{field: b"9" * 5000}),
            raw(body, **{field: b"[" * 100_000}),
            raw(body, **{field: b"[" * 100_000 + b"]" * 100_000}),
            raw(body, **{field: b'{"a":' * 100_000 + b"1" + b"}" * 100_000}),
            b"[" * 100_000,
        ):
            answer = api(method, path, data=bad, headers=JSON)
            refused(answer)
            assert answer.status_code == 400, bad[:50]
        for bad in (b"null", b"[]", b"5", b'"text"', b"true", b"[{}]"):
            refused(api(method, path, data=bad, headers=JSON), "body")
    assert kept(opened) == before


def test_a_field_that_stands_twice_is_named(api: Api, opened: Installation) -> None:
    before = kept(opened)
    for (method, path), body in BODIES.items():
        field = next(iter(body))
        twice = json.dumps(body)[:-1] + f', "{field}": {json.dumps(body[field])}}}'
        answer = api(method, path, data=twice, headers=JSON)
        refused(answer, field)
    nested = json.dumps(PREFERENCE).replace('{"topic":', '{"topic": "events", "topic":')
    refused(api("PUT", "/v1/preferences", data=nested, headers=JSON), "topic")
    many = "{" + ",".join(f'"f{n}": 1' for n in range(200_000)) + ', "f7": 2}'
    refused(api("POST", "/v1/check", data=many, headers=JSON), "f7")
    assert kept(opened) == before


def test_a_nested_item_is_refused_alone_or_with_its_body_but_breaks_nothing(api: Api) -> None:
    for depth in (1, 200, 300, 900, 960, 990, 1_000, 100_000):
        nested = b"[" * depth + b"]" * depth
        for name in (b"address", b"channel", b"topic", b"explain", b"x"):
            item = b'{"channel":"email","topic":"product-news","%s":%s}' % (name, nested)
            if name != b"address":
                item = item.replace(b"{", b'{"address":"%s",' % ALICE.value.encode(), 1)
            answer = api("POST", "/v1/checks", data=b'{"items":[%s]}' % item, headers=JSON)
            if answer.status_code == 200:
                assert answer.get_json()["items"][0]["decision"] == "hold"
            else:
                refused(answer)


def test_a_body_that_is_no_json_or_packed_or_too_long_is_refused(
    api: Api, opened: Installation
) -> None:
    before = kept(opened)
    for (method, path), body in {**BODIES, ("POST", "/v1/checks"): {"items": [ADDRESSED]}}.items():
        good = json.dumps(body).encode()
        for kind in (None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/x"):
            answer = api(method, path, data=good, content_type=kind)
            refused(answer)
            assert answer.status_code == 415
        for packing in ("gzip", "br", "deflate", "gzip, gzip"):
            headers = {**JSON, "Content-Encoding": packing}
            answer = api(method, path, data=gzip.compress(good), headers=headers)
            refused(answer)
            assert answer.status_code == 415
        long = b" " * opened.settings.body_limit + good
        answer = api(method, path, data=long, headers=JSON)
        refused(answer)
        assert answer.status_code == 413
        assert str(opened.settings.body_limit) in answer.get_json()["detail"]
    assert kept(opened) == before


def test_odd_headers_are_refused_by_name(api: Api, opened: Installation) -> None:
    before = kept(opened)
    for key in ("", "caf\u00e9", "x" * 256, "tab\there", "\x7f"):
        answer = api("PUT", "/v1/preferences", PREFERENCE, headers={"Idempotency-Key": key})
        refused(answer, "Idempotency-Key")
    assert kept(opened) == before


def test_a_query_that_is_no_utf_8_breaks_nothing(api: Api) -> None:
    for query in ("\xff", "a=\xff&b=%ff", "%%"):
        answer = api(
            "PUT",
            "/v1/preferences",
            PREFERENCE,
            environ_overrides={"QUERY_STRING": query},
            headers={"Idempotency-Key": f"odd {len(query)}"},
        )
        assert answer.status_code == 200


def test_our_own_mistake_is_logged_without_the_address_and_held(
    api: Api, opened: Installation, caplog: pytest.LogCaptureFixture
) -> None:
    api.put(CANARY, "out", scope={"all": True}, evidence={"how": "phone"})
    with opened.database.writing() as connection:
        connection.execute(update(tables.evidence).values(body=f"no evidence: {CANARY}"))
    answer = api("POST", "/v1/history", {"channel": "email", "address": CANARY})
    assert answer.status_code == 500
    assert answer.content_type == "application/problem+json"
    assert CANARY not in answer.get_data(as_text=True)
    assert "JSONDecodeError" in caplog.text
    assert CANARY not in caplog.text


def test_a_standing_that_cannot_be_read_holds_and_lets_the_person_leave(
    api: Api, opened: Installation
) -> None:
    links = {"items": [{"channel": "email", "address": CANARY, "topic": "product-news"}]}
    link = api("POST", "/v1/links", links).get_json()["items"][0]["unsubscribe"]
    api.put(CANARY, "out", scope={"brand": "outdoor"})
    with opened.database.writing() as connection:
        connection.execute(
            update(tables.address)
            .where(tables.address.c.value == CANARY)
            .values(standing="[2,1,[],[],[],[],[]]")
        )
    asked = {"channel": "email", "address": CANARY, "topic": "product-news"}
    held = api("POST", "/v1/check", asked)
    assert (held.status_code, held.get_json()["decision"]) == (503, "hold")
    explained = {**asked, "topic": "order-updates", "explain": True}
    assert api("POST", "/v1/check", explained).get_json()["allowed"] is True
    batch = {"items": [asked, explained]}
    items = api("POST", "/v1/checks", batch).get_json()["items"]
    assert [item["decision"] for item in items] == ["hold", "allow"]
    # What the events amount to is known all the same, and a no is written on top of that.
    assert api.client.post(link.split("example.com")[1]).status_code == 200
    assert api.check(CANARY)["reason"] == "opted_out"


# --- on the wire ---


class Wire(NamedTuple):
    port: int
    key: str
    opened: Installation

    def send(self, *parts: bytes) -> bytes:
        """What comes back until the server closes or falls silent."""
        heard = b""
        with socket.create_connection(("127.0.0.1", self.port), timeout=2) as connection:
            with suppress(OSError):
                for part in parts:
                    connection.sendall(part)
            with suppress(OSError):
                connection.settimeout(1)
                while piece := connection.recv(65_536):
                    heard += piece
                    if b"\r\n\r\n" in heard:
                        connection.settimeout(0.1)
        return heard

    def request(self, *headers: bytes, path: bytes = b"/v1/preferences") -> bytes:
        lines = [b"PUT %s HTTP/1.1" % path, b"Host: x", b"Content-Type: application/json"]
        lines += [b"Authorization: Bearer %s" % self.key.encode(), *headers, b"", b""]
        return b"\r\n".join(lines)


@pytest.fixture(scope="module")
def wire(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Wire]:
    data: Path = tmp_path_factory.mktemp("served")
    create_secrets(data)
    environ = {"PREFS_DATA": str(data)}
    loaded = Settings.load(environ)
    migrate(loaded.database_url)
    opened = Installation.open(loaded)
    cast = demo.load(opened)
    secrets = {
        "PREFS_DIGEST_KEY": loaded.digest_master.hex(),
        "PREFS_SIGNING_KEYS": loaded.signing_keys[0].hex(),
    }
    server = Running("wsgi:create_app", **environ, **secrets)
    try:
        yield Wire(server.wait_until_ready().port, cast.key, opened)
    finally:
        server.close()
        opened.database.close()


def test_what_is_framed_ambiguously_or_without_end_is_refused_and_the_server_goes_on(
    wire: Wire,
) -> None:
    good = json.dumps(PREFERENCE | {"word": "out"}).encode()
    length = b"Content-Length: %d" % len(good)
    chunked = b"Transfer-Encoding: chunked"
    chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(good), good)
    limit = wire.opened.settings.body_limit
    before = kept(wire.opened)
    for what, parts in {
        "a body shorter than its length": [wire.request(length), good[:-5]],
        "a body longer than its length": [wire.request(b"Content-Length: 5"), good],
        "two lengths": [wire.request(length, b"Content-Length: 5"), good],
        "a length that is no number": [wire.request(b"Content-Length: +9"), good],
        "a length that is negative": [wire.request(b"Content-Length: -1"), good],
        "chunks without an end": [wire.request(chunked), chunks[: len(good) // 2]],
        "chunks of a wrong length": [wire.request(chunked), b"5\r\n" + good + b"\r\n0\r\n\r\n"],
        "a coding on top of chunks": [wire.request(b"Transfer-Encoding: gzip, chunked"), chunks],
        "a NUL in a header": [wire.request(length, b"X-Odd: a\0b"), good],
        "a header without a name": [wire.request(length, b": x"), good],
        "a space before the colon": [wire.request(b"Content-Length : 5"), good],
        "a body over the limit": [wire.request(b"Content-Length: %d" % (limit + 1)), good],
        "chunks over the limit": [
            wire.request(chunked),
            *[b"100000\r\n" + b" " * 0x100000 + b"\r\n"] * (limit // 0x100000 + 2),
            chunks,
        ],
        "a URL of a megabyte": [
            wire.request(length, path=b"/v1/preferences?" + b"x" * 2**20),
            good,
        ],
        "ten thousand headers": [wire.request(length, *[b"X-More: x"] * 10_000), good],
        "no request at all": [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 20 + b"\r\n\r\n"],
    }.items():
        heard = wire.send(*parts)
        assert not heard or heard.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), (what, heard[:80])
        assert wire.key.encode() not in heard, what
    # The server may hear of a connection's end a moment later.
    time.sleep(0.3)
    assert kept(wire.opened) == before
    # RFC 9112 section 6.3: chunks hold over a length, and nothing after them is a request.
    twofold = wire.send(wire.request(length, chunked), chunks + wire.request(length) + good)
    assert twofold.startswith(b"HTTP/1.1 200")
    assert twofold.count(b"HTTP/1.1 ") == 1
    whole = wire.send(wire.request(length), good)
    assert whole.startswith(b"HTTP/1.1 200"), whole[:200]
    in_chunks = wire.send(wire.request(chunked), chunks)
    assert in_chunks.startswith(b"HTTP/1.1 200"), in_chunks[:300]
