"""A key opens what its scopes name, at its own tenant, for as long as it is in force."""

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import pytest
from flask import Flask
from flask.testing import FlaskClient

from prefs import directory
from prefs.address import Channel
from prefs.demo import ALICE, BOB, Cast
from prefs.directory import SCOPES
from prefs.installation import Installation
from prefs.policy import Mode, Purpose
from prefs.web.door import PUBLIC
from tests.conftest import NOON, Api, Clock

NEWS = {"topic": "product-news"}


OPENED_BY: dict[str, str] = {
    "POST /v1/check": "check",
    "POST /v1/checks": "check",
    "POST /v1/standing": "check record",
    "PUT /v1/preferences": "record",
    "PUT /v1/devices": "record",
    "POST /v1/confirmations": "record",
    "POST /v1/links": "links",
    "POST /v1/codes": "links",
    "POST /v1/history": "export",
    "GET /v1/changes": "export",
    "GET /v1/suppressions": "export",
    "GET /v1/bursts": "export",
    "POST /v1/bursts/x/undo": "override",
    "POST /v1/texts/try": "",
    "GET /v1/reviews": "export",
    "POST /v1/reviews/x": "override",
    "GET /v1/topics": "",
    "GET /v1/brands": "",
    "GET /v1/tenant": "",
    "POST /v1/topics": "admin",
    "PATCH /v1/topics/x": "admin",
    "PATCH /v1/brands/x": "admin",
    "POST /v1/brands": "admin",
    "GET /v1/senders": "admin",
    "POST /v1/senders": "admin",
    "PATCH /v1/senders/7": "admin",
    "DELETE /v1/senders/7": "admin",
    "GET /v1/keys": "admin",
    "POST /v1/keys": "admin",
    "POST /v1/keys/x/rotate": "admin",
    "DELETE /v1/keys/x": "admin",
    "PATCH /v1/tenant": "admin",
}
"""The scopes of which one opens a route; any key where none is named."""


class Route(NamedTuple):
    method: str
    path: str
    scopes: tuple[str, ...]
    public: bool

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def routes(app: Flask) -> Iterator[Route]:
    """Every route of the application, as it is, with something in its blanks."""
    for rule in app.url_map.iter_rules():
        scopes = getattr(app.view_functions[rule.endpoint], "guarded_by", None)
        path = re.sub(r"<int:\w+>", "7", rule.rule)
        path = re.sub(r"<(\w+:)?\w+>", "x", path)
        for method in sorted((rule.methods or set()) - {"OPTIONS"}):
            yield Route(method, path, scopes or (), rule.endpoint in PUBLIC)
            assert (scopes is None) == (rule.endpoint in PUBLIC), rule.endpoint


def key_with(api: Api, *scopes: str) -> Api:
    made = api("POST", "/v1/keys", {"name": " ".join(scopes), "scopes": list(scopes)})
    return Api(api.client, made.get_json()["key"])


def test_every_route_needs_a_key_with_its_scope_and_takes_no_other(api: Api) -> None:
    known = list(routes(api.client.application))
    guarded = {str(r): " ".join(r.scopes) for r in known if not r.public and r.method != "HEAD"}
    assert guarded == OPENED_BY
    keys = {scope: key_with(api, scope) for scope in SCOPES}
    for route in known:
        if route.public:
            continue
        bare = api.client.open(route.path, method=route.method, json={})
        assert bare.status_code == 401, route
        assert bare.headers["WWW-Authenticate"].startswith("Bearer"), route
        assert bare.content_type == "application/problem+json", route
        for scope, key in keys.items():
            may = not route.scopes or scope in route.scopes
            answer = key(route.method, route.path, {})
            if may:
                assert answer.status_code not in (401, 403), (scope, route)
            else:
                assert answer.status_code == 403, (scope, route)
                if route.method != "HEAD":
                    assert route.scopes[0] in answer.get_json()["detail"], route


def test_public_routes_ask_for_no_key(client: FlaskClient) -> None:
    for route in routes(client.application):
        if route.public:
            answer = client.open(route.path, method=route.method)
            assert answer.status_code != 401, route
            assert "WWW-Authenticate" not in answer.headers, route


def test_what_is_no_key_opens_nothing_and_is_not_repeated(api: Api) -> None:
    another = key_with(api, "check").key
    prefix, secret = another[: -43 - 1], another[-43:]
    flipped = secret[:-2] + ("A" if secret[-2] != "A" else "B") + secret[-1]
    for shown in (
        "",
        api.key,
        "Bearer",
        "Bearer ",
        f"Basic {api.key}",
        f"Bearer {api.key}x",
        f"Bearer {api.key[:-1]}",
        f"Bearer {prefix}_{flipped}",
        f"Bearer {prefix}_{api.key[-43:]}",
        f"Bearer {api.key}, Bearer {api.key}",
        f"Bearer {api.key}\u00e9",
        "Bearer prefs_" + "0" * 12 + "_" + "A" * 43,
        "Bearer " + "x" * 8000,
    ):
        answer = api.client.get("/v1/tenant", headers={"Authorization": shown})
        assert answer.status_code == 401, shown
        assert secret not in answer.get_data(as_text=True)
        check = {"channel": "email", "address": ALICE.value, "topic": "product-news"}
        held = api.client.post("/v1/check", json=check, headers={"Authorization": shown})
        assert (held.status_code, held.get_json()["allowed"]) == (401, False), shown


def test_a_revoked_key_is_refused_at_once(api: Api) -> None:
    checks = key_with(api, "check")
    assert checks.check(ALICE.value)["allowed"] is True
    key_id = checks.key.split("_")[1]
    assert api("DELETE", f"/v1/keys/{key_id}").status_code == 204
    refused = checks("POST", "/v1/check", {})
    assert (refused.status_code, refused.get_json()["allowed"]) == (401, False)
    # A repeated revocation changes nothing, and a revoked key is not made new by rotating it.
    assert api("DELETE", f"/v1/keys/{key_id}").status_code == 204
    assert api("POST", f"/v1/keys/{key_id}/rotate", {}).status_code == 409


def test_a_rotated_key_goes_on_for_its_grace_beside_the_new_one(api: Api, clock: Clock) -> None:
    old = key_with(api, "check", "export")
    key_id = old.key.split("_")[1]
    made = api("POST", f"/v1/keys/{key_id}/rotate", {"grace_hours": 2}).get_json()
    new = Api(api.client, made["key"])
    assert made["scopes"] == ["check", "export"]
    for key in (old, new):
        assert key.check(ALICE.value)["allowed"] is True
    clock.forward(minutes=120)
    assert old("POST", "/v1/check", {}).status_code == 401
    assert new.check(ALICE.value)["allowed"] is True


def test_keys_are_kept_as_hashes_and_never_listed_with_their_text(
    api: Api, opened: Installation
) -> None:
    secret = api.key[-43:]
    listed = api("GET", "/v1/keys").get_data(as_text=True)
    assert api.key.split("_")[1] in listed
    for text in (listed, repr(opened), repr(opened.directory.latest)):
        assert secret not in text
    assert secret not in opened.settings.snapshot.read_text()
    assert opened.settings.snapshot.stat().st_mode & 0o777 == 0o600


# --- two tenants ---

MINE = "only-with-us@example.org"


@pytest.fixture
def other(api: Api, cast: Cast, opened: Installation) -> Api:
    """Another tenant, with a topic of the same name and a key with every scope."""
    with opened.database.writing() as connection:
        tenant = directory.add_tenant(connection, "borealis", "Borealis", NOON)
        brand = directory.add_brand(
            connection, tenant, "north", "North", "help@north.example", NOON
        )
        directory.add_topic(
            connection,
            tenant,
            brand,
            "product-news",
            "North news",
            "",
            Purpose.MARKETING,
            {Channel.EMAIL: Mode.OPT_OUT},
            NOON,
        )
        _, key = directory.add_key(connection, tenant, "north", frozenset(SCOPES), NOON)
    return Api(api.client, key)


def everything_readable(key: Api) -> dict[str, Any]:
    """What a key can read of everything there is to read."""
    person = {"channel": "email", "address": BOB.value}
    own = {"channel": "email", "address": MINE}
    asked: dict[str, Any] = {
        "/v1/check": person | NEWS,
        "/v1/checks": {"items": [person | NEWS, own | NEWS]},
        "/v1/standing": person,
        "/v1/history": own,
    }
    answers = {path: key("POST", path, body) for path, body in asked.items()}
    gets = ("topics", "brands", "senders", "keys", "tenant", "changes", "bursts", "reviews")
    answers |= {f"/v1/{name}": key("GET", f"/v1/{name}") for name in gets}
    answers["/v1/suppressions"] = key("GET", "/v1/suppressions?channel=email")
    rules = key.client.application.url_map.iter_rules()
    readable = {rule.rule for rule in rules if rule.rule.startswith("/v1/")}
    assert {path for path in readable if "GET" in _methods(key, path)} <= set(answers)
    assert {answer.status_code for answer in answers.values()} == {200}
    read = {path: answer.get_data(as_text=True) for path, answer in answers.items()}
    # On PostgreSQL a cursor counts the transactions of the whole installation.
    return {path: re.sub(r'"cursor":"[0-9.]+"', "", text) for path, text in read.items()}


def _methods(key: Api, path: str) -> set[str]:
    rules = key.client.application.url_map.iter_rules()
    return {m for rule in rules if rule.rule == path for m in rule.methods or ()}


def test_whatever_one_tenant_does_another_sees_none_of_it(api: Api, other: Api) -> None:
    before = everything_readable(other)
    api.put(MINE, "out", scope={"all": True}, person="crm:1", evidence={"note": "ours alone"})
    api.put(BOB.value, "in", scope={"topic": "events"}, basis="express")
    api("PUT", "/v1/devices", {"address": "fcm:ours", "person": "crm:1"})
    ours = {"channel": "email", "address": MINE}
    api("POST", "/v1/links", {"items": [ours]})
    api("POST", "/v1/brands", {"slug": "third", "name": "Third", "contact": "x"})
    topic = {
        "slug": "offers",
        "brand": "third",
        "title": "Offers",
        "purpose": "marketing",
        "channels": {"email": None},
    }
    assert api("POST", "/v1/topics", topic).status_code == 201
    api("POST", "/v1/keys", {"name": "more", "scopes": ["check"]})
    api("PATCH", "/v1/tenant", {"name": "Acme renamed"})
    assert everything_readable(other) == before
    ours_now = everything_readable(api)
    assert MINE in ours_now["/v1/changes"]
    for text in before.values():
        for name in ("alice", "carol", "acme", "trail-tips", "+1415"):
            assert name not in text


def test_what_belongs_to_another_tenant_is_not_there(api: Api, other: Api) -> None:
    theirs = api("GET", "/v1/keys").get_json()["keys"][0]["id"]
    sender = api("GET", "/v1/senders").get_json()["senders"][0]["id"]
    assert other("DELETE", f"/v1/keys/{theirs}").status_code == 404
    assert other("POST", f"/v1/keys/{theirs}/rotate", {}).status_code == 404
    assert other("DELETE", f"/v1/senders/{sender}").status_code == 404
    assert other("PATCH", f"/v1/senders/{sender}", {"purpose": "both"}).status_code == 404
    assert other("PATCH", "/v1/topics/trail-tips", {"title": "Mine"}).status_code == 404
    for scope in ({"topic": "trail-tips"}, {"brand": "acme"}):
        assert other.put(MINE, "out", scope=scope).status_code == 422
    assert other.check(ALICE.value, "events")["reason"] == "unknown_topic"
    assert api.check(ALICE.value)["allowed"] is True
    assert len(api("GET", "/v1/senders").get_json()["senders"]) == 1


def test_tenants_may_use_the_same_names_keys_and_event_ids(api: Api, other: Api) -> None:
    body = {"channel": "email", "address": MINE, "word": "out", "said_by": "person"}
    body |= {"scope": NEWS, "event_id": "1"}  # type: ignore[dict-item]
    once = {"Idempotency-Key": "1"}
    answers = [key("PUT", "/v1/preferences", body, headers=once) for key in (api, other)]
    for key, answer in zip((api, other), answers, strict=True):
        assert answer.get_json()["outcome"] == "applied"
        assert len(answer.get_json()["standing"]["outs"]) == 1
        assert key("PUT", "/v1/preferences", body, headers=once).data == answer.data
    assert other.check(BOB.value)["reason"] == "no_objection"
    assert api.check(BOB.value)["reason"] == "opted_out"


# --- what a tenant owns ---


def test_topics_brands_and_senders_are_made_changed_and_taken_away(api: Api) -> None:
    brand = {"slug": "b", "name": "B", "contact": "b@example.org"}
    topic = {
        "slug": "t",
        "brand": "b",
        "title": "T",
        "description": "",
        "purpose": "marketing",
        "channels": {"email": None, "sms": None},
    }
    made = api("POST", "/v1/brands", brand)
    assert made.status_code == 201
    assert made.get_json().items() >= brand.items()
    assert api("POST", "/v1/brands", brand).status_code == 409
    changed = api("PATCH", "/v1/brands/b", {"name": "Renamed"}).get_json()
    assert changed == made.get_json() | {"name": "Renamed"}
    assert api("PATCH", "/v1/brands/none", {"name": "X"}).status_code == 404
    assert changed in api("GET", "/v1/brands").get_json()["brands"]
    made = api("POST", "/v1/topics", topic)
    assert made.get_json()["channels"] == {"email": "opt_out", "sms": "opt_in"}
    assert api("POST", "/v1/topics", topic).status_code == 409
    assert made.get_json() in api("GET", "/v1/topics").get_json()["topics"]
    changed = api("PATCH", "/v1/topics/t", {"title": "New"}).get_json()
    assert changed == made.get_json() | {"title": "New"}
    assert changed in api("GET", "/v1/topics").get_json()["topics"]
    assert api("PATCH", "/v1/topics/t", {"purpose": "transactional"}).status_code == 422
    sender = {
        "brand": "b",
        "provider": "twilio",
        "account": "AC1",
        "identity": "+14155550100",
        "kind": "long_code",
    }
    made = api("POST", "/v1/senders", sender).get_json()
    assert made in api("GET", "/v1/senders").get_json()["senders"]
    assert api("DELETE", f"/v1/senders/{made['id']}").status_code == 204
    assert api("DELETE", f"/v1/senders/{made['id']}").status_code == 404
    assert made not in api("GET", "/v1/senders").get_json()["senders"]


def test_a_change_made_on_another_worker_is_not_undone_by_the_next(
    api: Api, opened: Installation, cast: Cast
) -> None:
    with opened.database.writing() as connection:
        directory.change_topic(connection, cast.tenant, "events", title="Elsewhere")
    changed = api("PATCH", "/v1/topics/events", {"description": "Here"}).get_json()
    assert (changed["title"], changed["description"]) == ("Elsewhere", "Here")
    with opened.database.writing() as connection:
        directory.change_tenant(
            connection, cast.tenant, name="Elsewhere", confirming_ends_complaint=True
        )
    assert api("PATCH", "/v1/tenant", {"name": "Here"}).get_json() == {
        "slug": "acme",
        "name": "Here",
        "confirming_ends_complaint": True,
        "language": "en",
        "words": {},
    }


def test_a_sender_is_taken_away_once_with_one_idempotency_key(api: Api) -> None:
    entry = {"brand": "acme", "provider": "twilio", "account": "AC1", "identity": "77001"}
    made = api("POST", "/v1/senders", {**entry, "kind": "short_code"}).get_json()["id"]
    for key, status in (("once", 204), ("once", 204), ("twice", 404)):
        answer = api("DELETE", f"/v1/senders/{made}", headers={"Idempotency-Key": key})
        assert answer.status_code == status
