"""The switches in an app: what a push token gets, and turning it off or on.

The sender's own server mints the link (``POST /v1/links``, for the channel push) and hands it to
its app. It proves one device, as a link in a mail proves one mailbox, and needs no API key.
"""

from typing import Any

from flask import Blueprint, Response
from marshmallow import ValidationError

from prefs import ledger
from prefs.address import Channel
from prefs.directory import BadEntry, Tenant
from prefs.ledger import Said, Subject
from prefs.links import MAY_TURN_ON_FOR, Action, BadLink, Claim
from prefs.policy import (
    ALL,
    Authority,
    Event,
    Kind,
    Message,
    Outcome,
    Purpose,
    Scope,
    Standing,
    Verdict,
    Voice,
    may_send,
    written,
)
from prefs.web import door, schemas
from prefs.web.door import Problem

device = Blueprint("device", __name__)

DOOR = "app switch"


@device.get("/d/<token:token>")
def show_switches(token: str) -> Response:
    claim, tenant = _opened(token)
    with door.reading() as connection:
        standing = ledger.standing(connection, tenant.id, claim.digest)
    return door.answer(_switches(tenant, standing))


@device.put("/d/<token:token>")
def press_switch(token: str) -> Response:
    claim, tenant = _opened(token)
    try:
        press = schemas.DevicePress().load(door.read_json())
    except ValidationError as error:
        errors = door.flat(error.messages)
        told = "; ".join(f"{field}: {errors[field][0]}" for field in sorted(errors))
        raise Problem(422, f"Change these fields. {told}", errors) from None
    tenant, scope = _about(tenant, press)
    if press["on"] and door.now() - claim.minted > MAY_TURN_ON_FOR:
        raise Problem(
            409,
            "This link is too old to turn anything on; it still turns off. Have your server mint "
            "a fresh one.",
        )
    wording = {"wording": press["wording"]} if "wording" in press else {}
    said = Said(
        Subject(claim.channel, claim.digest),
        _event(press, scope),
        evidence={**door.evidence(), **wording},
    )
    with door.writing() as connection:
        recorded = ledger.record(connection, tenant.id, said)
    switches = _switches(tenant, recorded.standing)
    if recorded.outcome is Outcome.REFUSED:
        # Recorded, as a refusal: the answer is given once that is kept.
        raise Problem(
            409,
            "A no stands in the way that this press had not seen, or cannot take back. Show the "
            "person what holds now (it is in this answer) and let them press again.",
            **switches,
        )
    return door.answer(switches)


def _opened(token: str) -> tuple[Claim, Tenant]:
    """Raises ``BadLink``."""
    opened = door.installation()
    claim = opened.links.open(token, Action.DEVICE)
    tenant = opened.directory.find(lambda known: known.tenants.get(claim.tenant))
    if tenant is None:
        raise BadLink("this link is for something that is not here")
    return claim, tenant


def _about(tenant: Tenant, press: dict[str, Any]) -> tuple[Tenant, Scope]:
    """What the press is about, and the tenant that has it. Raises ``BadEntry``."""
    if "all" in press:
        return tenant, ALL
    slug, directory = press["topic"], door.installation().directory
    # Another worker may have made the topic a moment ago.
    directory.find(lambda known: known.tenants[tenant.id].topics.get(slug))
    tenant = directory.latest.tenants[tenant.id]
    scope = tenant.leavable(topic=slug)
    if press["on"] and Channel.PUSH not in tenant.topic(slug).offered:
        raise BadEntry("topic", "this topic is not sent by push; name one that the GET shows")
    return tenant, scope


def _event(press: dict[str, Any], scope: Scope) -> Event:
    now, person = door.now(), Authority.PERSON
    if not press["on"]:
        return Event(Kind.OUT, now, scope, Voice.PERSON, person, door=DOOR)
    return Event(
        Kind.IN, now, scope, authority=person, saw=press["saw"], basis="express", door=DOOR
    )


def _switches(tenant: Tenant, standing: Standing) -> dict[str, Any]:
    """What an app shows: each marketing topic that goes out by push, whichever brand's."""
    now = door.now()
    topics = []
    for topic in tenant.topics.values():
        if topic.purpose is Purpose.MARKETING and Channel.PUSH in topic.offered:
            decision = may_send(Message(topic, Channel.PUSH), standing, now)
            on = decision.verdict is Verdict.ALLOW
            topics.append(
                {"slug": topic.slug, "title": topic.title, "on": on, "reason": decision.reason}
            )
    pauses = [s.until for s in standing.snoozes if s.scope == ALL and s.until > now]
    paused = {"paused_until": written(max(pauses))} if pauses else {}
    return {"seq": standing.seq, "topics": topics, **paused}


@device.errorhandler(BadLink)
def bad_link(error: BadLink) -> Response:
    detail = "This link is not whole, or not one of ours. Have your server mint a fresh one."
    return Problem(404, detail).response()
