"""Asking: the single check, the batch, and how a decision is shown."""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from flask import Response

from prefs import ledger
from prefs.address import Address, BadAddress, Channel
from prefs.database import Unavailable
from prefs.directory import Tenant
from prefs.ledger import Cursor
from prefs.policy import (
    NOTHING,
    REASONS,
    Decision,
    Message,
    Millis,
    Scope,
    Standing,
    Topic,
    Verdict,
    for_address,
    hold,
    may_send,
)
from prefs.policy import Purpose as TopicPurpose
from prefs.web import door, schemas
from prefs.web.door import Problem, guarded
from prefs.web.openapi import StrictBlueprint
from prefs.web.schemas import written

checking = StrictBlueprint("check", __name__, url_prefix="/v1", description="May I send?")


class Held(Exception):
    """A question that has no answer but "keep it": why, and which field to correct."""

    def __init__(self, reason: str, field: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field = field
        self.detail = detail


_CHANNELS = {str(channel): channel for channel in Channel}
_ASKED = frozenset({"channel", "address", "topic", "region", "explain"})


@checking.route("/check", methods=["POST"])
@guarded("check")
@checking.doc(
    summary="May I send this message to this address?",
    description="A transactional topic is answered without looking anything up.",
    requestBody={
        "required": True,
        "content": {"application/json": {"schema": schemas.Check}},
    },
)
@checking.response(200, schemas.Decision)
@checking.alt_response(422, schema=schemas.Problem, content_type="application/problem+json")
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
        return Question(topic, channel, read_address(item))
    except BadAddress as error:
        if topic.purpose is TopicPurpose.TRANSACTIONAL:
            return Question(topic, channel, None)
        raise Held("bad_address", error.field, str(error)) from None


def read_address(item: Mapping[str, Any]) -> Address:
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
        "scope": shown_scope(tenant, ground.scope) if ground else None,
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


def shown_scope(tenant: Tenant, scope: Scope) -> dict[str, Any]:
    if scope.brand is None:
        return {"all": True}
    brand, topic = tenant.brand_of(scope), tenant.topic_of(scope)
    named = {"brand": brand.slug} if brand else {}
    return named | ({"topic": topic.slug} if topic else {})


@checking.route("/checks", methods=["POST"])
@guarded("check")
@checking.arguments(schemas.Checks)
@checking.response(200, schemas.Decisions)
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
                cursor = shown_cursor(ledger.here(connection, tenant.id))
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


def shown_cursor(cursor: Cursor) -> str:
    return f"{cursor.xact}.{cursor.position}"
