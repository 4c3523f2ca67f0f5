"""The senders' API: record, look back, mint links.

What a tenant owns (topics, brands, senders, keys) is managed in ``directory_api``.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from flask import Response, request
from sqlalchemy import Connection

from prefs import codes, devices, ledger, letters, minting
from prefs.address import Address, BadAddress, Channel
from prefs.check import read_address
from prefs.directory import BadEntry, Tenant
from prefs.ledger import Cursor, Recorded, Said, Subject
from prefs.letters import Letter
from prefs.links import Minted
from prefs.minting import Wanted
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


@api.route("/confirmations", methods=["POST"])
@guarded("record")
@api.arguments(schemas.ConfirmationAsk)
@api.response(201, schemas.ConfirmationOut)
def post_confirmation(asked: dict[str, Any]) -> Response:
    """Ask an address whether it wants a topic: double opt-in

    Nothing is sent about the topic until whoever reads the question says yes. `not_asked` says
    why: `too_many` questions lately, or `not_for_them`, where a yes would change nothing. Tell
    visitors the same in every case. Takes an `Idempotency-Key`.
    """
    opened, tenant, now = door.installation(), door.tenant(), door.now()
    topic, address = tenant.topic(asked["topic"]), _address(asked)
    brand = tenant.brand_of(topic.scope)
    assert brand
    by_sender = asked["deliver"] == "sender"
    language = asked.get("language") or _language(tenant)
    if not by_sender and not letters.can_send(opened.settings, tenant, brand, address.channel):
        detail = f"We cannot send by {address.channel} for this brand (`prefs doctor` tells more)."
        raise Problem(422, detail, {"deliver": [f'{detail} Deliver it yourself: "sender".']})

    def act(connection: Connection) -> dict[str, Any]:
        outcome, reason, letter = letters.ask(
            connection,
            tenant,
            address,
            topic,
            language=language,
            through=asked["door"],
            evidence=asked.get("evidence", {}),
            network=None,
            now=now,
            by_sender=by_sender,
            authority=Authority.SENDER,
            person=asked.get("person"),
        )
        if letter is None:
            return {"outcome": outcome, "reason": reason}
        return {"outcome": outcome, "saw": letter.saw, "asked_at": letter.asked_at}

    def shown(stored: Mapping[str, Any]) -> dict[str, Any]:
        """A link and its text are never stored: they are made anew each time they are shown."""
        told = {name: stored[name] for name in ("outcome", "reason") if name in stored}
        if not by_sender or "saw" not in stored:
            return told
        letter = Letter.to(
            address,
            tenant,
            topic.scope,
            language=language,
            saw=stored["saw"],
            asked_at=stored["asked_at"],
        )
        words = letters.written(tenant, letter, opened.links, opened.settings.public_url)
        return {**told, **words._asdict(), "expires_at": written(letter.ends_at)}

    return door.written(act, 201, shown=shown)


def _language(tenant: Tenant) -> str:
    """Of whoever has shown no other."""
    return tenant.language


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
        "reviews": [word(review) for review in standing.unread],
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

    of_a_text = {
        "rule": event.rule,
        "to_transactional": event.to_transactional,
        "ours_alone": event.ours_alone,
    }
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
        "retracts": event.retracts,
        **{name: value for name, value in of_a_text.items() if value},
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
    """Mint the links and the mail headers, for one address or 10,000

    Unsubscribe and preference links; with `short`, short ones for texts; for a push token, that
    of the app's switches. The headers are those of RFC 8058 and RFC 2919; sign them with DKIM.
    The addresses are kept unless `remember` is false; then no mailto stands in the headers. Minting
    again gives links that work as well.
    """
    opened, tenant = door.installation(), door.tenant()
    wanted = []
    for number, item in enumerate(asked["items"]):
        with _inside(f"items.{number}"):
            subject = Subject.of(tenant, _address(item))
            scope = tenant.leavable(topic=item.get("topic"), brand=item.get("brand"))
        if "language" in item:
            subject = subject._replace(language=item["language"])
        wanted.append(Wanted.of(tenant, subject, scope, item.get("campaign", "")))
    minted = minting.signed(opened, tenant, wanted, door.now())
    if asked["remember"]:
        for start in range(0, len(wanted), minting.AT_ONCE):
            few = slice(start, start + minting.AT_ONCE)
            with door.writing() as connection:
                minted[few] = minting.kept(
                    connection, opened.settings, tenant, wanted[few], minted[few], asked["short"]
                )
    return door.answer(
        {
            "items": [
                {"address": item["address"], **_links(links)}
                for item, links in zip(asked["items"], minted, strict=True)
            ]
        }
    )


def _links(links: Minted) -> dict[str, Any]:
    shown = {
        "unsubscribe": links.unsubscribe,
        "preferences": links.preferences,
        "short": links.short,
        "device": links.device,
        "headers": links.headers,
    }
    return {name: value for name, value in shown.items() if value is not None}


@api.route("/codes", methods=["POST"])
@guarded("links")
@api.arguments(schemas.Addressed)
@api.response(200, schemas.CodeOut)
def code(asked: dict[str, Any]) -> Response:
    """Make a one-time code for somebody who has no link, to be read to them

    They enter it at `url` within a day, once. It ends the codes made for the address before, so
    asking again gives another.
    """
    opened, tenant, now = door.installation(), door.tenant(), door.now()
    subject = Subject.of(tenant, _address(asked))
    with door.writing() as connection:
        ledger.remember(connection, tenant.id, [subject])
        made = codes.make(connection, tenant.id, subject, now)
    return door.answer(
        {
            "code": made,
            "expires_at": written(now + codes.VALID_FOR),
            "url": f"{opened.settings.public_url}/code",
        }
    )
