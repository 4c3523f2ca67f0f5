"""Asking over HTTP: the single check, the batch, and how a decision is shown."""

from collections.abc import Iterable
from typing import Any

from flask import Response

from prefs import ledger
from prefs.check import Held, Question, answer, question
from prefs.database import Unavailable
from prefs.directory import Tenant
from prefs.policy import NOTHING, REASONS, Decision, Scope, Standing, Verdict, hold, written
from prefs.web import door, schemas
from prefs.web.door import Problem, guarded
from prefs.web.openapi import StrictBlueprint

checking = StrictBlueprint("check", __name__, url_prefix="/v1", description="May I send?")


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
    body = door.read_json()
    tenant = _knowing(door.tenant(), [body])
    try:
        decision = answer(door.installation().database, tenant, body, door.now())
    except Held as held:
        detail = door.sentence(held.detail)
        raise Problem(422, detail, {held.field: [detail]}, reason=held.reason) from None
    return door.answer(shown_decision(tenant, decision))


def _knowing(tenant: Tenant, items: Iterable[Any]) -> Tenant:
    """The tenant, read anew if these name a topic that it does not know. Raises ``Unavailable``."""
    for item in items:
        slug = item.get("topic") if isinstance(item, dict) else None
        if isinstance(slug, str) and slug not in tenant.topics:
            current = door.installation().directory
            current.refresh()
            return current.latest.tenants[tenant.id]
    return tenant


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
    named = {"brand": tenant.brand_of(scope), "topic": tenant.topic_of(scope)}
    if scope.brand is None:
        return {"all": True}
    shown = {what: entry.slug for what, entry in named.items() if entry is not None}
    narrowest = "brand" if scope.topic is None else "topic"
    return shown if narrowest in shown else {**shown, "gone": narrowest}


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
    standings: dict[bytes, Standing | None] = {}
    cursor = None
    if wanted := [digest for digest in digests if digest]:
        try:
            with door.reading() as connection:
                standings = ledger.standings(connection, tenant.id, wanted)
                cursor = str(ledger.here(connection, tenant.id))
        except Unavailable:
            known = False
    answers: list[dict[str, Any]] = []
    for item, asked, digest in zip(items, questions, digests, strict=True):
        try:
            if isinstance(asked, Held):
                raise asked
            standing = standings.get(digest, NOTHING) if known else None
            if asked.always_passes:
                standing = standing or NOTHING
            if standing is None:
                decision = hold("state_unknown", now)
            else:
                decision = asked.decide(standing, now)
            shown = shown_decision(tenant, decision)
        except Held as held:
            shown = shown_decision(tenant, hold(held.reason, now))
            shown |= {"field": held.field, "detail": held.detail}
        spelled = item.get("address") if isinstance(item, dict) else None
        answers.append({"address": spelled if isinstance(spelled, str) else None, **shown})
    return door.answer({"items": answers, "cursor": cursor})
