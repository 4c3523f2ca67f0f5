"""Opt-outs that look like a machine's, over HTTP: shown, and taken back."""

from contextlib import suppress
from typing import Any

from flask import Response
from sqlalchemy import Connection

from prefs import bursts
from prefs.bursts import Became, Burst, Member, Touched, UnknownBurst
from prefs.directory import Tenant
from prefs.policy import Verdict, written
from prefs.web import door, schemas
from prefs.web.check import shown_scope
from prefs.web.door import Problem, guarded
from prefs.web.openapi import StrictBlueprint

bursts_api = StrictBlueprint(
    "bursts", __name__, url_prefix="/v1", description="Opt-outs that look like a machine's."
)


@bursts_api.route("/bursts", methods=["GET"])
@guarded("export")
@bursts_api.arguments(schemas.BurstsAsk, location="query")
@bursts_api.response(200, schemas.BurstsOut)
def list_bursts(asked: dict[str, Any]) -> Response:
    """Opt-outs through links that look like a machine's

    All of them are in force. A burst is cut at `since` and `until`.
    """
    tenant = door.tenant()
    until = asked.get("until")
    since = asked.get("since", (door.now() if until is None else until) - bursts.LOOK_BACK)
    with door.reading() as connection:
        found = bursts.find(connection, tenant, since, until)
    return door.answer(
        {
            "bursts": [_burst(tenant, burst) for burst in found.bursts],
            "next_since": None if found.reached is None else written(found.reached),
        }
    )


def _burst(tenant: Tenant, burst: Burst) -> dict[str, Any]:
    return {
        "id": burst.id,
        "why": burst.why,
        "started_at": written(burst.started),
        "ended_at": written(burst.ended),
        "count": len(burst.members),
        "doors": burst.doors,
        "campaigns": burst.campaigns,
        "user_agents": burst.user_agents,
        "members": [
            _who(member)
            | {
                "outs": [
                    out._asdict()
                    | {"scope": shown_scope(tenant, out.scope), "heard_at": written(out.heard_at)}
                    for out in member.outs
                ]
            }
            for member in burst.members
        ],
    }


def _who(member: Member) -> dict[str, Any]:
    address = member.address
    return {"channel": member.channel, "address": None if address is None else address.masked}


@bursts_api.route("/bursts/<burst_id>/undo", methods=["POST"])
@guarded("override")
@bursts_api.arguments(schemas.BurstUndo)
@bursts_api.response(200, schemas.UndoneOut)
def undo_burst(asked: dict[str, Any], burst_id: str) -> Response:
    """Take back the outs of a burst, except of whoever has said no again since

    Everything else that was said stands. Up to 200 addresses at a time: while `left` is not 0,
    send it again. Once done it changes nothing. Takes an `Idempotency-Key`, a new one each time.
    """
    tenant = door.tenant()

    burst = None
    with suppress(UnknownBurst), door.reading() as connection:
        burst = bursts.named(connection, tenant, burst_id)

    def act(connection: Connection) -> dict[str, Any]:
        if burst is None:
            detail = "There is no such burst (any more); GET /v1/bursts lists those there are."
            raise Problem(404, detail)
        by = f"key {door.key().id}"
        done = bursts.undo(connection, tenant, burst, asked["reason"], by, door.now())
        return {
            "burst": done.burst.id,
            "why": done.burst.why,
            **{str(became): done.count(became) for became in Became},
            "left": done.left,
            "members": [
                _touched(one) for one in done.touched if one.became is not Became.UNDONE_BEFORE
            ],
        }

    return door.written(act)


def _touched(one: Touched) -> dict[str, Any]:
    return _who(one.member) | {
        "became": one.became,
        "retracted": one.retracted,
        "topics": {
            turn.topic.slug: {
                "allowed_before": turn.before.verdict is Verdict.ALLOW,
                "allowed": turn.after.verdict is Verdict.ALLOW,
                "reason": turn.after.reason,
            }
            for turn in one.turns
        },
    }
