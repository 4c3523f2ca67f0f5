"""The senders' API: record, look back, mint links.

What a tenant owns (topics, brands, senders, keys) is managed in ``directory_api``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Response, request
from sqlalchemy import Connection

from prefs import devices, ledger
from prefs.address import Address, BadAddress, Channel
from prefs.check import read_address
from prefs.directory import BadEntry, Tenant
from prefs.ledger import Cursor, Recorded, Said, Subject
from prefs.links import Action, Claim
from prefs.policy import (
    Authority,
    Event,
    Kind,
    Message,
    Millis,
    Outcome,
    Standing,
    Voice,
    may_send,
    written,
)
from prefs.web import door, schemas
from prefs.web.check import shown_decision, shown_scope
from prefs.web.door import Problem, guarded
from prefs.web.openapi import StrictBlueprint

api = StrictBlueprint("api", __name__, url_prefix="/v1", description="Record and look back.")


# --- record ---


@api.route("/preferences", methods=["PUT"])
@guarded("record")
@api.arguments(schemas.Preference)
@api.response(200, schemas.RecordedOut)
def put_preference(said: dict[str, Any]) -> Response:
    """Record a word: who said what, about which scope, when, through which door

    An `out` is always applied. An `in` or a `lift` over somebody's no is refused, and
    recorded as refused, unless its author has the authority and spoke later. Takes an
    `Idempotency-Key`.
    """
    tenant, now = door.tenant(), door.now()
    event = _event(tenant, said, now)
    address = _address(said)
    if event.kind is Kind.IN and not address.can_consent:
        raise BadAddress("a yes needs an address that is valid; check its spelling")
    proof = {**said.get("evidence", {}), **_prefixed("wording", said.get("wording", {}))}
    if "event_id" in said:
        proof["event_id"] = said["event_id"]
    one = Said(
        Subject.of(tenant, address),
        event,
        source="api" if "event_id" in said else None,
        source_id=tenant.fingerprint(said["event_id"]) if "event_id" in said else None,
        evidence=proof,
        person=said.get("person"),
    )

    def act(connection: Connection) -> dict[str, Any]:
        recorded = ledger.record(connection, tenant.id, one)
        if recorded.outcome is Outcome.DUPLICATE:
            _must_be_the_same(connection, tenant, one)
        return _recorded(tenant, recorded)

    def still_holds(connection: Connection) -> bool:
        """Whether an answer given before may be given again: a no must still be in force."""
        if event.kind is not Kind.OUT:
            return True
        standing = ledger.standing(connection, tenant.id, one.subject.digest)
        return standing.objects(event.scope, now)

    return door.written(act, still_holds=still_holds)


def _must_be_the_same(connection: Connection, tenant: Tenant, one: Said) -> None:
    """An id that was given to another event must not swallow this one, which may be a no."""
    assert one.source
    assert one.source_id
    found = ledger.heard(connection, tenant.id, one.source, one.source_id)
    assert found
    digest, event = found
    new = one.event
    parts = (event.kind, event.scope, event.voice, event.until, event.per_week)
    mine = (new.kind, new.scope, new.voice, new.until, new.per_week)
    if (digest, *parts) != (one.subject.digest, *mine):
        detail = "This event_id was given to another event; give this one its own."
        raise Problem(409, detail, {"event_id": [detail]})


def _recorded(tenant: Tenant, recorded: Recorded) -> dict[str, Any]:
    return {
        "outcome": recorded.outcome,
        "explanation": ledger.OUTCOMES[recorded.outcome],
        "standing": _standing(tenant, recorded.standing),
    }


def _address(item: Mapping[str, Any]) -> Address:
    """Raises ``BadAddress``."""
    return read_address(Channel(item["channel"]), item)


def _prefixed(name: str, entries: Mapping[str, str]) -> dict[str, str]:
    return {f"{name} {key}": value for key, value in entries.items()}


def _event(tenant: Tenant, said: Mapping[str, Any], now: Millis) -> Event:
    kind, said_at = Kind(said["word"]), said.get("said_at")
    if said_at is not None and said_at > now:
        if kind in (Kind.IN, Kind.LIFT) and said_at > now + 5000:
            raise Problem(422, "Correct said_at.", {"said_at": ["This lies in the future."]})
        # A no is never refused for its author's clock; its time is only unknown.
        said_at = None if kind is Kind.OUT else now
    override = said.get("override", False)
    if override and "override" not in door.key().scopes:
        raise Problem(403, "This key lacks the scope override.")
    if said.get("until") is not None and said["until"] <= now:
        raise Problem(422, "Correct until.", {"until": ["This is past."]})
    with _inside("scope"):
        scope = tenant.leavable(topic=said["scope"].get("topic"), brand=said["scope"].get("brand"))
    return Event(
        kind,
        now,
        scope,
        Voice(said["said_by"]) if kind is Kind.OUT else None,
        Authority.OVERRIDE if override else Authority.SENDER,
        said_at=said_at,
        saw=said.get("saw") if "saw" in said or kind is Kind.OUT else _if_match(),
        until=said.get("until"),
        basis=said.get("basis", ""),
        per_week=said.get("per_week"),
        door=said["door"],
    )


@contextmanager
def _inside(where: str) -> Iterator[None]:
    """Errors name their field by where in the body it stands."""
    try:
        yield
    except (BadAddress, BadEntry) as error:
        error.field = f"{where}.{error.field}"
        raise


def _if_match() -> int | None:
    """The seq that ``If-Match`` names, which is the ETag of a standing."""
    text = request.headers.get("If-Match")
    if text is None:
        return None
    number = text.strip().removeprefix("W/").strip('"')
    if not number.isascii() or not number.isdigit() or len(number) > 15:
        raise Problem(412, "If-Match is not the ETag of a standing; ask POST /v1/standing for it.")
    return int(number)


@api.route("/devices", methods=["PUT"])
@guarded("record")
@api.arguments(schemas.Device)
@api.response(200, schemas.RecordedOut)
def put_device(said: dict[str, Any]) -> Response:
    """An app tells us of its push token, and of the one it replaced

    The new token takes over what was said to the old one, and the outs of the person's other
    devices. Being reachable is no consent. Takes an `Idempotency-Key`.
    """
    tenant, now = door.tenant(), door.now()
    new = Subject.of(tenant, Address.parse(Channel.PUSH, said["address"]))
    old = None
    if "replaces" in said:
        try:
            old = Subject.of(tenant, Address.parse(Channel.PUSH, said["replaces"]))
        except BadAddress as error:
            raise BadAddress(str(error), "replaces") from None

    def act(connection: Connection) -> dict[str, Any]:
        recorded = devices.register(connection, tenant.id, new, old, said.get("person"), now)
        return _recorded(tenant, recorded)

    return door.written(act)


# --- look back ---


@api.route("/standing", methods=["POST"])
@guarded("check", "record")
@api.arguments(schemas.Addressed)
@api.response(200, schemas.StandingAnswer)
def standing(asked: dict[str, Any]) -> Response:
    """All that is known of one address, and what may be sent to it

    A POST, so that no address stands in a URL; it writes nothing. The `ETag` is the seq that
    `If-Match` and `saw` name.
    """
    tenant, now = door.tenant(), door.now()
    address = _address(asked)
    with door.reading() as connection:
        found = ledger.standing(connection, tenant.id, tenant.digest(address))
    offered = [topic for topic in tenant.topics.values() if address.channel in topic.offered]
    shown = _standing(tenant, found) | {
        "topics": {
            topic.slug: shown_decision(
                tenant, may_send(Message(topic, address.channel, address), found, now)
            )
            for topic in offered
        }
    }
    response = door.answer(shown)
    response.set_etag(str(found.seq))
    return response


def _standing(tenant: Tenant, standing: Standing) -> dict[str, Any]:
    def word(entry: Any) -> dict[str, Any]:
        shown: dict[str, Any] = {}
        for name, value in entry._asdict().items():
            if name == "scope":
                shown[name] = shown_scope(tenant, value)
            elif name in ("heard_at", "said_at", "until"):
                shown[name] = None if value is None else written(value)
            elif name not in ("clock", "but_not"):
                shown[name] = value
        return shown

    return {
        "seq": standing.seq,
        "outs": [word(out) for out in standing.outs],
        "consents": [word(consent) for consent in standing.consents],
        "snoozes": [word(snooze) for snooze in standing.snoozes],
        "blocks": [word(block) for block in standing.blocks],
        "limits": [word(limit) for limit in standing.limits],
    }


@api.route("/history", methods=["POST"])
@guarded("export")
@api.arguments(schemas.HistoryAsk)
@api.response(200, schemas.HistoryOut)
def history(asked: dict[str, Any]) -> Response:
    """Everything that was said about one address, with its evidence, page by page

    Ask for the next page with `beyond`, the last seq of this one.
    """
    tenant = door.tenant()
    subject = Subject.of(tenant, _address(asked))
    with door.reading() as connection:
        found = ledger.history(
            connection, tenant.id, subject.digest, asked["beyond"], asked["limit"] + 1
        )
    page = found[: asked["limit"]]
    events = [
        _told(tenant, entry.seq, entry.event, entry.outcome)
        | {"source": entry.source, "source_id": entry.source_id, "evidence": entry.evidence}
        for entry in page
    ]
    return door.answer({"events": events, "more": len(found) > len(page)})


def _told(tenant: Tenant, seq: int, event: Event, outcome: Outcome) -> dict[str, Any]:
    def moment(at: Millis | None) -> str | None:
        return None if at is None else written(at)

    return {
        "seq": seq,
        "what": event.kind,
        "sentence": ledger.sentence(event.kind, outcome),
        "outcome": outcome,
        "scope": shown_scope(tenant, event.scope),
        "voice": event.voice,
        "authority": event.authority,
        "heard_at": written(event.heard_at),
        "said_at": moment(event.said_at),
        "until": moment(event.until),
        "saw": event.saw,
        "basis": event.basis,
        "block": event.block,
        "per_week": event.per_week,
        "door": event.door,
    }


@api.route("/changes", methods=["GET"])
@guarded("export")
@api.arguments(schemas.ChangesAsk, location="query")
@api.response(200, schemas.ChangesOut)
def changes(asked: dict[str, Any]) -> Response:
    """Everything recorded after a cursor, in the order of commit: the recall feed of a send"""
    tenant = door.tenant()
    since = Cursor.parse(asked["since"]) if "since" in asked else Cursor()
    with door.reading() as connection:
        found = ledger.changes(connection, tenant.id, since, asked["limit"] + 1)
    page = found[: asked["limit"]]
    return door.answer(
        {
            "changes": [
                _told(tenant, change.seq, change.event, change.outcome)
                | {"channel": change.channel, "address": change.value}
                for change in page
            ],
            "cursor": str(page[-1].cursor if page else since),
            "more": len(found) > len(page),
        }
    )


@api.route("/suppressions", methods=["GET"])
@guarded("export")
@api.arguments(schemas.SuppressionsAsk, location="query")
@api.response(200, schemas.Suppressions)
def suppressions(asked: dict[str, Any]) -> Response:
    """Who may not be sent to, page by page, with the reason

    A page may hold fewer rows than its limit; it was the last when its cursor is null.
    """
    tenant, now = door.tenant(), door.now()
    channel = Channel(asked["channel"])
    topics = [tenant.topic(asked["topic"])] if "topic" in asked else list(tenant.topics.values())
    beyond = bytes.fromhex(asked.get("cursor", ""))
    with door.reading() as connection:
        page = ledger.roll(connection, tenant.id, channel, beyond, asked["limit"])
    rows = [
        {"address": known.value, **shown_decision(tenant, decision)}
        for known in page
        if (decision := ledger.suppressed(known.standing, topics, channel, now))
    ]
    return door.answer(
        {
            "suppressions": rows,
            "unknown_addresses": sum(row["address"] is None for row in rows),
            "cursor": page[-1].digest.hex() if len(page) == asked["limit"] else None,
        }
    )


# --- links ---


@api.route("/links", methods=["POST"])
@guarded("links")
@api.arguments(schemas.LinksAsk)
@api.response(200, schemas.LinksOut)
def links(asked: dict[str, Any]) -> Response:
    """Mint unsubscribe and preference links and the mail headers, for one address or 10,000

    The headers are those of RFC 8058; sign both with DKIM. The addresses are kept unless
    `remember` is false. Minting again gives links that work as well.
    """
    opened, tenant, now = door.installation(), door.tenant(), door.now()
    subjects, minted = [], []
    for number, item in enumerate(asked["items"]):
        with _inside(f"items.{number}"):
            subject = Subject.of(tenant, _address(item))
            scope = tenant.leavable(topic=item.get("topic"), brand=item.get("brand"))
        claim = Claim(
            Action.UNSUBSCRIBE,
            tenant.id,
            subject.channel,
            subject.digest,
            scope,
            campaign=item.get("campaign", ""),
        )
        urls = opened.links.mint(opened.settings.public_url, claim, now)
        subjects.append(subject)
        minted.append(
            {
                "address": item["address"],
                "unsubscribe": urls.unsubscribe,
                "preferences": urls.preferences,
                "headers": urls.headers,
            }
        )

    if asked["remember"]:
        with door.writing() as connection:
            ledger.remember(connection, tenant.id, subjects)
    return door.answer({"items": minted})
