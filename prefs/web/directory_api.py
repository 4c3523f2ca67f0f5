"""The API of what a tenant owns: topics, brands, senders, keys, itself."""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from typing import Any

from flask import Response
from sqlalchemy import Connection

from prefs import directory
from prefs.address import Channel
from prefs.database import Unavailable
from prefs.directory import Brand, Key, Sender, Tenant
from prefs.policy import Mode, Purpose, Topic, written
from prefs.web import door, schemas
from prefs.web.door import Problem, guarded
from prefs.web.openapi import StrictBlueprint

directory_api = StrictBlueprint(
    "directory_api", __name__, url_prefix="/v1", description="What a tenant owns."
)


def _fresh() -> Tenant:
    """The tenant as it is now, with what another worker or this request has changed."""
    current = door.installation().directory
    with suppress(Unavailable):
        # A change that was committed has happened, even if it cannot be read again yet.
        current.refresh()
    return current.latest.tenants[door.tenant().id]


def _modes(channels: Mapping[str, str | None]) -> dict[Channel, Mode]:
    return {
        Channel(name): Mode(mode) if mode else directory.default_mode(Channel(name))
        for name, mode in channels.items()
    }


def _topic(tenant: Tenant, topic: Topic) -> dict[str, Any]:
    brand = tenant.brand_of(topic.scope)
    return {
        "slug": topic.slug,
        "brand": brand.slug if brand else None,
        "title": topic.title,
        "description": topic.description,
        "purpose": topic.purpose,
        "channels": {str(channel): str(mode) for channel, mode in topic.offered.items()},
        "at_most": list(topic.at_most),
        "texts": dict(topic.texts),
    }


def _brand(brand: Brand) -> dict[str, Any]:
    return {
        "slug": brand.slug,
        "name": brand.name,
        "contact": brand.contact,
        "postal_address": brand.postal_address,
        "mail_from": brand.mail_from,
        "look": asdict(brand.look),
        "texts": dict(brand.texts),
    }


@directory_api.route("/topics", methods=["GET"])
@guarded()
@directory_api.response(200, schemas.TopicsOut)
def list_topics() -> Response:
    """The topics there are"""
    tenant = _fresh()
    return door.answer({"topics": [_topic(tenant, topic) for topic in tenant.topics.values()]})


@directory_api.route("/topics", methods=["POST"])
@guarded("admin")
@directory_api.arguments(schemas.TopicIn)
@directory_api.response(201, schemas.TopicOut)
def add_topic(entry: dict[str, Any]) -> Response:
    """Make a topic

    Its purpose never changes. A channel whose consent model is null takes the channel's own:
    email `opt_out`, the others `opt_in`.
    """
    tenant = door.tenant()
    brand = tenant.brand(entry["brand"])
    offered = _modes(entry["channels"])

    def act(connection: Connection) -> dict[str, Any]:
        directory.add_topic(
            connection,
            tenant.id,
            brand.id,
            entry["slug"],
            entry["title"],
            entry["description"],
            Purpose(entry["purpose"]),
            offered,
            door.now(),
            at_most=entry.get("at_most", ()),
            texts=entry.get("texts"),
        )
        return _topic(tenant, directory.topic_now(connection, tenant, entry["slug"]))

    response = door.written(act, 201)
    _fresh()
    return response


@directory_api.route("/topics/<slug>", methods=["PATCH"])
@guarded("admin")
@directory_api.arguments(schemas.TopicChange)
@directory_api.response(200, schemas.TopicOut)
def change_topic(entry: dict[str, Any], slug: str) -> Response:
    """Change what a topic is called, where it goes out and how often"""
    tenant = _fresh()
    topic = tenant.topics.get(slug)
    if topic is None:
        raise Problem(404, "There is no such topic; GET /v1/topics lists those there are.")
    changes = entry.get("channels", {})
    gone = {Channel(name) for name, mode in changes.items() if mode == "off"}
    offered = {
        **topic.offered,
        **_modes({name: mode for name, mode in changes.items() if mode != "off"}),
    }
    offered = {channel: mode for channel, mode in offered.items() if channel not in gone}

    def act(connection: Connection) -> dict[str, Any]:
        changed = directory.change_topic(
            connection,
            tenant,
            slug,
            title=entry.get("title"),
            description=entry.get("description"),
            offered=offered if "channels" in entry else None,
            at_most=entry.get("at_most"),
            texts=entry.get("texts"),
        )
        return _topic(tenant, changed)

    response = door.written(act)
    _fresh()
    return response


@directory_api.route("/brands", methods=["GET"])
@guarded()
@directory_api.response(200, schemas.BrandsOut)
def list_brands() -> Response:
    """The brands there are"""
    return door.answer({"brands": [_brand(brand) for brand in _fresh().brands.values()]})


@directory_api.route("/brands", methods=["POST"])
@guarded("admin")
@directory_api.arguments(schemas.BrandIn)
@directory_api.response(201, schemas.BrandOut)
def add_brand(entry: dict[str, Any]) -> Response:
    """Make a brand"""
    tenant = door.tenant()

    def act(connection: Connection) -> dict[str, Any]:
        directory.add_brand(connection, tenant.id, now=door.now(), **entry)
        return _brand(directory.brand_now(connection, tenant, entry["slug"]))

    response = door.written(act, 201)
    _fresh()
    return response


@directory_api.route("/brands/<slug>", methods=["PATCH"])
@guarded("admin")
@directory_api.arguments(schemas.BrandChange)
@directory_api.response(200, schemas.BrandOut)
def change_brand(entry: dict[str, Any], slug: str) -> Response:
    """Change what people see of a brand"""
    tenant = _fresh()
    if slug not in tenant.brands:
        raise Problem(404, "There is no such brand; GET /v1/brands lists those there are.")

    def act(connection: Connection) -> dict[str, Any]:
        return _brand(directory.change_brand(connection, tenant, slug, **entry))

    response = door.written(act)
    _fresh()
    return response


@directory_api.route("/senders", methods=["GET"])
@guarded("admin")
@directory_api.response(200, schemas.SendersOut)
def list_senders() -> Response:
    """The numbers and services that send for the brands"""
    tenant = _fresh()
    return door.answer({"senders": [_sender(tenant, sender) for sender in tenant.senders]})


def _sender(tenant: Tenant, sender: Sender) -> dict[str, Any]:
    topic = tenant.topic_of(sender.scope)
    return {
        "id": sender.id,
        "brand": next(b.slug for b in tenant.brands.values() if b.id == sender.brand_id),
        "provider": sender.provider,
        "account": sender.account,
        "identity": sender.identity,
        "kind": sender.kind,
        "purpose": sender.purpose,
        "leaves": sender.leaves,
        "topic": topic.slug if topic else None,
        "clarifies": sender.clarifies,
    }


def _stops(tenant: Tenant, entry: Mapping[str, Any]) -> dict[str, Any]:
    """What it sends and what a STOP to it leaves, as far as that was given. Raises ``Unknown``."""
    given = {name: entry[name] for name in ("purpose", "leaves", "clarifies") if name in entry}
    return {**given, "topic": tenant.topic(entry["topic"])} if "topic" in entry else given


@directory_api.route("/senders", methods=["POST"])
@guarded("admin")
@directory_api.arguments(schemas.SenderIn)
@directory_api.response(201, schemas.SenderOut)
def add_sender(entry: dict[str, Any]) -> Response:
    """Make a sender, so that what people answer it is heard

    One that was taken away comes back, with its id. The provider's token is a secret of the
    installation; `prefs sender token` takes it.
    """
    tenant = door.tenant()
    brand = tenant.brand(entry["brand"])
    stops = _stops(tenant, entry)

    def act(connection: Connection) -> dict[str, Any]:
        made = directory.add_sender(
            connection,
            tenant.id,
            brand.id,
            entry["provider"],
            entry["account"],
            entry["identity"],
            entry["kind"],
            door.now(),
            **stops,
        )
        return _sender(tenant, directory.sender_now(connection, tenant, made))

    response = door.written(act, 201)
    _fresh()
    return response


def _must_be_there(tenant: Tenant, sender_id: int) -> None:
    if not any(sender.id == sender_id for sender in tenant.senders):
        raise Problem(404, "There is no such sender; GET /v1/senders lists those there are.")


@directory_api.route("/senders/<int:sender_id>", methods=["PATCH"])
@guarded("admin")
@directory_api.arguments(schemas.SenderChange)
@directory_api.response(200, schemas.SenderOut)
def change_sender(entry: dict[str, Any], sender_id: int) -> Response:
    """Change what a sender sends, and what a STOP to it leaves from then on"""
    tenant = _fresh()
    _must_be_there(tenant, sender_id)
    stops = _stops(tenant, entry)

    def act(connection: Connection) -> dict[str, Any]:
        return _sender(tenant, directory.change_sender(connection, tenant, sender_id, **stops))

    response = door.written(act)
    _fresh()
    return response


@directory_api.route("/senders/<int:sender_id>", methods=["DELETE"])
@guarded("admin")
@directory_api.response(204)
def remove_sender(sender_id: int) -> Response:
    """Take a sender away: it sends no more, and what people answer it is heard as ever"""
    tenant = _fresh()

    def act(connection: Connection) -> dict[str, Any]:
        _must_be_there(tenant, sender_id)
        directory.remove_sender(connection, tenant, sender_id, door.now())
        return {}

    response = door.written(act, 204)
    _fresh()
    return response


def _key(key: Key) -> dict[str, Any]:
    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "created_at": written(key.created_at),
        "ends_at": None if key.ends_at is None else written(key.ends_at),
    }


def _own_key(key_id: str) -> Key:
    found = door.installation().directory.find(lambda known: known.keys.get(key_id))
    if found is None or found.tenant_id != door.tenant().id:
        raise Problem(404, "There is no such key; GET /v1/keys lists those there are.")
    return found


@directory_api.route("/keys", methods=["GET"])
@guarded("admin")
@directory_api.response(200, schemas.KeysOut)
def list_keys() -> Response:
    """The API keys, without their secrets"""
    tenant, current = _fresh(), door.installation().directory
    mine = [_key(key) for key in current.latest.keys.values() if key.tenant_id == tenant.id]
    return door.answer({"keys": mine})


@directory_api.route("/keys", methods=["POST"])
@guarded("admin")
@directory_api.arguments(schemas.KeyIn)
@directory_api.response(201, schemas.KeyOut)
def add_key(entry: dict[str, Any]) -> Response:
    """Make an API key: its text is in this answer and nowhere else"""

    def act(connection: Connection) -> dict[str, Any]:
        key, text = directory.add_key(
            connection, door.tenant().id, entry["name"], frozenset(entry["scopes"]), door.now()
        )
        return {**_key(key), "key": text}

    response = door.written(act, 201)
    _fresh()
    return response


@directory_api.route("/keys/<key_id>/rotate", methods=["POST"])
@guarded("admin")
@directory_api.arguments(schemas.KeyRotation)
@directory_api.response(201, schemas.KeyOut)
def rotate_key(asked: dict[str, Any], key_id: str) -> Response:
    """Make a key with the same name and scopes; the old one goes on for `grace_hours`"""
    old = _own_key(key_id)
    if old.ends_at is not None and old.ends_at <= door.now():
        raise Problem(409, "This key has ended; make a new one with POST /v1/keys.")

    def act(connection: Connection) -> dict[str, Any]:
        key, text = directory.rotate_key(
            connection, old, door.now(), asked["grace_hours"] * 3_600_000
        )
        return {**_key(key), "key": text}

    response = door.written(act, 201)
    _fresh()
    return response


@directory_api.route("/keys/<key_id>", methods=["DELETE"])
@guarded("admin")
@directory_api.response(204)
def revoke_key(key_id: str) -> Response:
    """Revoke a key, on every worker within ten seconds"""
    key = _own_key(key_id)

    def act(connection: Connection) -> dict[str, Any]:
        directory.end_key(connection, key, door.now())
        return {}

    response = door.written(act, 204)
    _fresh()
    return response


@directory_api.route("/tenant", methods=["GET"])
@guarded()
@directory_api.response(200, schemas.TenantOut)
def show_tenant() -> Response:
    """The tenant whose key this is"""
    return door.answer(_tenant(_fresh()))


def _tenant(tenant: Tenant) -> dict[str, Any]:
    return {
        "slug": tenant.slug,
        "name": tenant.name,
        "confirming_ends_complaint": tenant.confirming_ends_complaint,
        "language": tenant.language,
        "words": dict(tenant.words),
    }


@directory_api.route("/tenant", methods=["PATCH"])
@guarded("admin")
@directory_api.arguments(schemas.TenantChange)
@directory_api.response(200, schemas.TenantOut)
def change_tenant(entry: dict[str, Any]) -> Response:
    """Change the tenant's name, its language, its words, or what a confirmed opt-in may end"""
    tenant = _fresh()

    def act(connection: Connection) -> dict[str, Any]:
        return _tenant(directory.change_tenant(connection, tenant, **entry))

    response = door.written(act)
    _fresh()
    return response
