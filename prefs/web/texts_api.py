"""What people text, over HTTP: how a text would be read, and those that wait for a decision."""

from typing import Any

from flask import Response
from sqlalchemy import Connection

from prefs import keywords, texts
from prefs.directory import Tenant
from prefs.policy import Millis, written
from prefs.texts import Decided, NoReview, Waiting
from prefs.web import door, schemas
from prefs.web.check import shown_scope
from prefs.web.door import Problem, guarded
from prefs.web.openapi import StrictBlueprint

texts_api = StrictBlueprint("texts", __name__, url_prefix="/v1", description="What people text.")


@texts_api.route("/texts/try", methods=["POST"])
@guarded()
@texts_api.arguments(schemas.TextTry)
@texts_api.response(200, schemas.TextRead)
def try_text(asked: dict[str, Any]) -> Response:
    """What a text would be read as, by which rule, and what that rests on

    The tenant's own words count. A POST, as a text may hold personal data; it writes nothing.
    """
    reading = keywords.read(asked["text"], door.tenant().words)
    return door.answer(
        {
            "says": reading.says,
            "rule": reading.rule or None,
            "language": reading.language or None,
            "source": keywords.source_of(reading.rule) or None,
            "version": keywords.VERSION,
            "everything": reading.everything,
        }
    )


@texts_api.route("/reviews", methods=["GET"])
@guarded("export")
@texts_api.arguments(schemas.ReviewsAsk, location="query")
@texts_api.response(200, schemas.ReviewsOut)
def list_reviews(asked: dict[str, Any]) -> Response:
    """The texts that may be a no and wait for somebody to decide, page by page

    Until then marketing in their scope is held. In no order of time: look at `due`.
    """
    tenant, beyond = door.tenant(), bytes.fromhex(asked.get("cursor", ""))
    with door.reading() as connection:
        page = texts.waiting(connection, tenant, beyond, asked["limit"])
    return door.answer(
        {
            "reviews": [_review(tenant, one, door.now()) for one in page.texts],
            "cursor": None if page.beyond is None else page.beyond.hex(),
        }
    )


def _review(tenant: Tenant, one: Waiting, now: Millis) -> dict[str, Any]:
    return {
        "id": one.id,
        "channel": one.subject.channel,
        "address": None if one.address is None else one.address.masked,
        "to": one.to,
        "text": one.text,
        "rule": one.rule,
        "scope": shown_scope(tenant, one.scope),
        "heard_at": written(one.heard_at),
        "due": one.due.isoformat(),
        "days_left": one.days_left(now),
    }


@texts_api.route("/reviews/<review_id>", methods=["POST"])
@guarded("override")
@texts_api.arguments(schemas.ReviewDecision)
@texts_api.response(200, schemas.ReviewedOut)
def decide_review(asked: dict[str, Any], review_id: str) -> Response:
    """Decide whether a text is a no

    A `no` is the person's STOP, in the scope in which it was held; `not_a_no` lets what was allowed
    before be sent again. What was decided stays: a second decision is a 409. Takes an
    `Idempotency-Key`.
    """
    tenant = door.tenant()

    def act(connection: Connection) -> dict[str, Any]:
        try:
            recorded = texts.decide(
                connection,
                tenant,
                review_id,
                is_no=asked["decision"] == "no",
                by=f"key {door.key().id}",
                now=door.now(),
                reason=asked.get("reason", ""),
            )
        except Decided as error:
            raise Problem(409, door.sentence(str(error))) from None
        except NoReview as error:
            detail = f"{door.sentence(str(error))} GET /v1/reviews lists those that wait."
            raise Problem(404, detail) from None
        return {
            "id": review_id,
            "decision": asked["decision"],
            "outcome": recorded.outcome,
            "seq": recorded.seq,
        }

    return door.written(act)
