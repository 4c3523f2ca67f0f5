"""The senders' API: ask, record, look back, mint links.

What a tenant owns (topics, brands, senders, keys) is managed in ``directory_api``.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

from flask import Response, request
from sqlalchemy import Connection

from prefs import devices, ledger
from prefs.address import Address, BadAddress, Channel
from prefs.database import Unavailable
from prefs.directory import BadEntry, Tenant
from prefs.ledger import Cursor, Said, Subject
from prefs.links import Claim, Purpose
from prefs.policy import (
    NOTHING,
    REASONS,
    Authority,
    Decision,
    Event,
    Kind,
    Message,
    Millis,
    Scope,
    Standing,
    Topic,
    Verdict,
    Voice,
    for_address,
    hold,
    may_send,
)
from prefs.policy import Purpose as TopicPurpose
from prefs.web import door, schemas
from prefs.web.door import Problem, guarded
from prefs.web.openapi import StrictBlueprint
from prefs.web.schemas import written

api = StrictBlueprint("api", __name__, url_prefix="/v1", description="Ask, record, look back.")


class Held(Exception):
    """A question that has no answer but "keep it": why, and which field to correct."""

    def __init__(self, reason: str, field: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field = field
        self.detail = detail


# --- check ---

_CHANNELS = {str(channel): channel for channel in Channel}
_ASKED = frozenset({"channel", "address", "topic", "region", "explain"})


@api.route("/check", methods=["POST"])
@guarded("check")
@api.doc(
    summary="May I send this message to this address?",
    description="A transactional topic is answered without looking anything up.",
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": schemas.Check}},
    },
)
@api.response(200, schemas.Decision)
@api.alt_response(422, schema=schemas.Problem, content_type="application/problem+json")
def check() -> Response:
    """The hot path: no schema machinery, and one primary-key read at the most."""
    body, now = door.read_json(), door.now()
    tenant = _knowing(door.tenant(), [body])
    try:
        asked = question(tenant, body)
        standing = NOTHING
        if asked.address is not None:
            try:
                digest = tenant.digest(asked.address)
                standing = ledger.unpacked(door.installation().database.standing(tenant.id, digest))
            except Unavailable:
                if asked.topic.purpose is not TopicPurpose.TRANSACTIONAL:
                    raise
        decision = decide(asked, standing, now)
    except Held as held:
        detail = f"{held.detail[:1].upper()}{held.detail[1:]}."
        raise Problem(422, detail, {held.field: [detail]}, reason=held.reason) from None
    return door.answer(shown_decision(tenant, decision))


class Question(NamedTuple):
    """What an item asks. No address where nothing needs to be looked up."""

    topic: Topic
    channel: Channel
    address: Address | None


def decide(asked: Question, standing: Standing, now: Millis) -> Decision:
    """The answer to a question. Raises ``Held`` if no such address can be."""
    decision = may_send(Message(asked.topic, asked.channel), standing, now)
    if asked.address is not None:
        decision = for_address(decision, asked.address, now)
        if decision.reason == "bad_address":
            raise Held("bad_address", "address", "correct the address; none can be spelt so")
    return decision


def _knowing(tenant: Tenant, items: Iterable[Any]) -> Tenant:
    """The tenant, read anew if these name a topic that it does not know. Raises ``Unavailable``."""
    for item in items:
        slug = item.get("topic") if isinstance(item, dict) else None
        if isinstance(slug, str) and slug not in tenant.topics:
            current = door.installation().directory
            current.refresh()
            return current.directory.tenants[tenant.id]
    return tenant


def question(tenant: Tenant, item: Any) -> Question:
    """What an item asks. Raises ``Held``."""
    if not isinstance(item, dict):
        raise Held("bad_item", "body", "send an object with channel, address and topic")
    for name in item:
        if name not in _ASKED:
            raise Held("bad_item", door.named(name), "there is no such field here; leave it out")
    slug, name = item.get("topic"), item.get("channel")
    if not isinstance(slug, str):
        raise Held("bad_item", "topic", "name the topic")
    topic = tenant.topics.get(slug)
    channel = _CHANNELS.get(name) if isinstance(name, str) else None
    explain = item.get("explain", False)
    if topic and topic.purpose is TopicPurpose.TRANSACTIONAL and explain is not True:
        # Decided by its topic alone, before the address is even read: somebody is waiting
        # for a password, and a wrong region or a strange spelling must not stop it.
        return Question(topic, channel or Channel.EMAIL, None)
    if not isinstance(explain, bool):
        raise Held("bad_item", "explain", "explain is true or false")
    if not isinstance(item.get("region", ""), str):
        raise Held("bad_item", "region", "the region is two letters")
    if channel is None:
        raise Held("bad_item", "channel", f"the channel is one of: {', '.join(_CHANNELS)}")
    if topic is None:
        raise Held(
            "unknown_topic", "topic", "there is no such topic; GET /v1/topics lists those there are"
        )
    try:
        return Question(topic, channel, _address(item))
    except BadAddress as error:
        if topic.purpose is TopicPurpose.TRANSACTIONAL:
            return Question(topic, channel, None)
        raise Held("bad_address", error.field, str(error)) from None


def _address(item: Mapping[str, Any]) -> Address:
    """Raises ``BadAddress``."""
    text: Any = item.get("address")
    return Address.parse(Channel(item["channel"]), text, item.get("region"))


def shown_decision(tenant: Tenant, decision: Decision) -> dict[str, Any]:
    ground = decision.ground
    return {
        "decision": decision.verdict,
        "allowed": decision.verdict is Verdict.ALLOW,
        "reason": decision.reason,
        "explanation": REASONS[decision.reason],
        "scope": _scope(tenant, ground.scope) if ground else None,
        "event": {
            "seq": ground.seq,
            "what": ground.what,
            "voice": ground.voice,
            "when": written(ground.when),
            "door": ground.door,
        }
        if ground
        else None,
        "notes": decision.notes,
        "valid_until": written(decision.valid_until),
    }


def _scope(tenant: Tenant, scope: Scope) -> dict[str, Any]:
    if scope.brand is None:
        return {"all": True}
    brand, topic = tenant.brand_of(scope), tenant.topic_of(scope)
    named = {"brand": brand.slug} if brand else {}
    return named | ({"topic": topic.slug} if topic else {})


@api.route("/checks", methods=["POST"])
@guarded("check")
@api.arguments(schemas.Checks)
@api.response(200, schemas.Decisions)
def checks(body: dict[str, Any]) -> Response:
    """Up to 10,000 checks at once

    In the caller's order and spelling. A bad item fails alone. The cursor is for
    `GET /v1/changes`: who has left since.
    """
    tenant, now, known = door.tenant(), door.now(), True
    common = {name: body[name] for name in ("channel", "topic") if name in body}
    items = [{**common, **item} if isinstance(item, dict) else item for item in body["items"]]
    try:
        tenant = _knowing(tenant, items)
    except Unavailable:
        known = False
    questions: list[Question | Held] = []
    for item in items:
        try:
            questions.append(question(tenant, item))
        except Held as held:
            if held.reason == "unknown_topic" and not known:
                held = Held("state_unknown", "topic", REASONS["state_unknown"])
            questions.append(held)
    digests = [
        b"" if isinstance(asked, Held) or asked.address is None else tenant.digest(asked.address)
        for asked in questions
    ]
    standings: dict[bytes, Standing] = {}
    cursor = None
    if wanted := [digest for digest in digests if digest]:
        try:
            with door.reading() as connection:
                standings = ledger.standings(connection, tenant.id, wanted)
                cursor = _cursor(ledger.here(connection, tenant.id))
        except Unavailable:
            known = False
    answers: list[dict[str, Any]] = []
    for item, asked, digest in zip(items, questions, digests, strict=True):
        try:
            if isinstance(asked, Held):
                raise asked
            if known or asked.topic.purpose is TopicPurpose.TRANSACTIONAL:
                decision = decide(asked, standings.get(digest, NOTHING), now)
            else:
                decision = hold("state_unknown", now)
            shown = shown_decision(tenant, decision)
        except Held as held:
            shown = shown_decision(tenant, hold(held.reason, now))
            shown |= {"field": held.field, "detail": held.detail}
        spelled = item.get("address") if isinstance(item, dict) else None
        answers.append({"address": spelled if isinstance(spelled, str) else None, **shown})
    return door.answer({"items": answers, "cursor": cursor})


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
    one = Said(
        Subject.of(tenant, address),
        event,
        source="api" if "event_id" in said else None,
        source_id=said.get("event_id"),
        evidence=proof,
        person=said.get("person"),
    )

    def act(connection: Connection) -> dict[str, Any]:
        recorded = ledger.record(connection, tenant.id, one)
        return {
            "outcome": recorded.outcome,
            "explanation": ledger.OUTCOMES[recorded.outcome],
            "standing": _standing(tenant, recorded.standing),
        }

    return door.written(act)


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
        scope = tenant.scope(topic=said["scope"].get("topic"), brand=said["scope"].get("brand"))
    return Event(
        kind,
        now,
        scope,
        Voice(said["said_by"]) if kind is Kind.OUT else None,
        Authority.OVERRIDE if override else Authority.SENDER,
        said_at=said_at,
        saw=said.get("saw", _if_match()),
        until=said.get("until"),
        basis=said.get("basis", ""),
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
        return {
            "outcome": recorded.outcome,
            "explanation": ledger.OUTCOMES[recorded.outcome],
            "standing": _standing(tenant, recorded.standing),
        }

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
    subject = Subject.of(tenant, _address(asked))
    with door.reading() as connection:
        found = ledger.standing(connection, tenant.id, subject.digest)
    offered = [topic for topic in tenant.topics.values() if subject.channel in topic.offered]
    shown = _standing(tenant, found) | {
        "topics": {
            topic.slug: shown_decision(
                tenant, may_send(Message(topic, subject.channel), found, now)
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
                shown[name] = _scope(tenant, value)
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


def _told(tenant: Tenant, seq: int, event: Event, outcome: str) -> dict[str, Any]:
    def moment(at: Millis | None) -> str | None:
        return None if at is None else written(at)

    return {
        "seq": seq,
        "what": event.kind,
        "sentence": ledger.SENTENCES[event.kind],
        "outcome": outcome,
        "scope": _scope(tenant, event.scope),
        "voice": event.voice,
        "authority": event.authority,
        "heard_at": written(event.heard_at),
        "said_at": moment(event.said_at),
        "until": moment(event.until),
        "saw": event.saw,
        "basis": event.basis,
        "block": event.block,
        "door": event.door,
    }


@api.route("/changes", methods=["GET"])
@guarded("export")
@api.arguments(schemas.ChangesAsk, location="query")
@api.response(200, schemas.ChangesOut)
def changes(asked: dict[str, Any]) -> Response:
    """Everything recorded after a cursor, in the order of commit: the recall feed of a send"""
    tenant = door.tenant()
    since = Cursor(*map(int, asked.get("since", "0.0").split(".")))
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
            "cursor": _cursor(page[-1].cursor if page else since),
            "more": len(found) > len(page),
        }
    )


def _cursor(cursor: Cursor) -> str:
    return f"{cursor.xact}.{cursor.position}"


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
            Purpose.UNSUBSCRIBE,
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
