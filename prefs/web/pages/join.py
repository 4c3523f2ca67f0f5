"""Signing up and confirming: /s/<tenant>/<topic>, /c/<token>, and /lost/<tenant> for a new link.

What these answer to strangers is the same whether an address is known or not.
"""

import re
from collections.abc import Mapping, Sequence
from urllib.parse import urlsplit

from flask import Blueprint, Response, request

from prefs import letters
from prefs.address import Address, BadAddress, Channel
from prefs.directory import BadEntry, Brand, Directory, Tenant
from prefs.ledger import Said
from prefs.links import CONFIRM_FOR, Action, BadLink, Claim
from prefs.policy import Message, Purpose, Scope, Standing, Topic, Verdict, may_send
from prefs.web import door
from prefs.web.pages import show
from prefs.web.pages.problems import sends_links
from prefs.web.pages.visit import Visit, by_script, form, known, masked, opened, out

joining = Blueprint("join", __name__)

LONGEST_FORM = 20_000
"""Bytes. A form here has an address and a few words; anybody may send one."""


# --- signing up ---


@joining.get("/s/<slug>/<topic>")
def show_form(slug: str, topic: str) -> Response:
    return _form(*_topic(slug, topic))


@joining.post("/s/<slug>/<topic>")
def sign_up(slug: str, topic: str) -> Response:
    """Our form, the sender's own form, or its script: the answer never tells who is known."""
    tenant, found = _topic(slug, topic)
    sent = _sent()
    channel = _channel(tenant, found, sent)
    try:
        if sent.get("channel") not in (None, "", channel):
            raise BadEntry("channel", "the topic is not offered there; leave the channel out")
        address = _reachable(channel, sent.get("address", ""), sent.get("region") or None)
    except (BadAddress, BadEntry) as error:
        return _wrong(tenant, found, channel, sent, error)
    with door.writing() as connection:
        letters.ask(
            connection,
            tenant,
            address,
            found,
            language=show.language().code,
            through="sign-up form",
            evidence=_shown(tenant, found, channel, sent),
            network=request.remote_addr,
            now=door.now(),
        )
    return _asked(tenant, tenant.brand_of(found.scope), channel, address.masked)


def _topic(slug: str, name: str) -> tuple[Tenant, Topic]:
    def look(known: Directory) -> tuple[Tenant, Topic] | None:
        tenant = known.tenant(slug)
        topic = tenant.topics.get(name) if tenant else None
        return (tenant, topic) if tenant and topic else None

    found = door.installation().directory.find(look)
    if found is None or found[1].purpose is not Purpose.MARKETING or not _channels(*found):
        raise BadLink("there is no such form")
    show.use_language(None, found[0])
    return found


def _channels(tenant: Tenant, topic: Topic) -> Sequence[Channel]:
    """Those on which we can ask. A push token is in no form: an app asks on its own screen."""
    brand, settings = tenant.brand_of(topic.scope), door.installation().settings
    asked = [channel for channel in topic.offered if channel in letters.GO_BY]
    return [c for c in asked if brand and letters.can_send(settings, tenant, brand, c)]


def _channel(tenant: Tenant, topic: Topic, sent: Mapping[str, str]) -> Channel:
    wanted = sent.get("channel") or request.args.get("channel")
    offered = _channels(tenant, topic)
    return next((channel for channel in offered if channel == wanted), offered[0])


def _reachable(channel: Channel, text: str, region: str | None = None) -> Address:
    """The address, if a letter can go there. Raises ``BadAddress``."""
    address = Address.parse(channel, text, region)
    if not address.can_consent:
        raise BadAddress("check the spelling of the address")
    return address


FIELDS = ("address", "channel", "region", "wording")


def _sent() -> Mapping[str, str]:
    request.max_content_length = LONGEST_FORM
    if request.mimetype != "application/json":
        return form()
    given = door.read_json()
    if not isinstance(given, dict):
        raise door.Problem(422, "Send one JSON object.", {"body": ["Send one JSON object."]})
    found = {name: text for name in FIELDS if (text := given.get(name)) is not None}
    if wrong := {n: ["Send it as text."] for n, text in found.items() if not isinstance(text, str)}:
        raise door.Problem(422, f"Change these fields: {', '.join(wrong)}.", wrong)
    return found


_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def _shown(
    tenant: Tenant, topic: Topic, channel: Channel, sent: Mapping[str, str]
) -> Mapping[str, str]:
    """What somebody had in front of them. Of a sender's own form we know only what it says."""
    origin = request.headers.get("Origin", "")
    own = urlsplit(door.installation().settings.public_url)
    # Our pages tell no site where they were ("no-referrer"), so a browser says null of them.
    if sent.get("form") == "ours" and origin in ("", "null", f"{own.scheme}://{own.netloc}"):
        wording = show.wording(_consent(tenant, topic, channel), topic)
        return {**door.evidence(), "form": "ours", **wording}
    told = {
        "form": origin[:200] or "not ours",
        "wording claimed by the form": _UNSTORABLE.sub("", sent.get("wording", ""))[:2000],
    }
    return {**door.evidence(), **{name: text for name, text in told.items() if text}}


@joining.after_request
def _let_scripts_ask(response: Response) -> Response:
    """A sender's own page may post JSON and read the answer: it tells everybody the same."""
    if request.endpoint in ("join.show_form", "join.sign_up"):
        asks_first = request.method == "OPTIONS"
        if asks_first or (request.method == "POST" and by_script()):
            response.headers["Access-Control-Allow-Origin"] = "*"
        if asks_first:
            response.headers["Access-Control-Allow-Methods"] = "POST"
            response.headers["Access-Control-Allow-Headers"] = "Content-Type"
            response.headers["Access-Control-Max-Age"] = "86400"
    return response


def _consent(tenant: Tenant, topic: Topic, channel: Channel) -> str:
    """The sentence that somebody agrees to."""
    brand = tenant.brand_of(topic.scope)
    names = {
        "topic": show.title(topic),
        "brand": brand.named(show.language().code) if brand else tenant.name,
    }
    if channel is Channel.SMS:
        return show.say(
            "Yes, send me %(topic)s from %(brand)s by text message. I can unsubscribe at any time.",
            **names,
        )
    return show.say(
        "Yes, send me %(topic)s from %(brand)s by email. I can unsubscribe at any time.", **names
    )


def _form(
    tenant: Tenant,
    topic: Topic,
    channel: Channel | None = None,
    typed: str = "",
    error: str | None = None,
) -> Response:
    channel = channel or _channel(tenant, topic, {})
    response = show.page(
        "sign_up.html",
        tenant,
        tenant.brand_of(topic.scope),
        topic=show.title(topic),
        topic_description=show.description(topic),
        channel=channel,
        channels=_channels(tenant, topic),
        consent=_consent(tenant, topic, channel),
        typed=typed,
        error=error,
    )
    if error:
        response.status_code = 422
    return response


def _wrong(
    tenant: Tenant,
    topic: Topic,
    channel: Channel,
    sent: Mapping[str, str],
    error: BadAddress | BadEntry,
) -> Response:
    if by_script():
        detail = door.sentence(str(error))
        raise door.Problem(422, detail, {error.field: [detail]})
    if channel is Channel.SMS:
        told = show.say("Please write the number with its country code, such as +44 7700 900123.")
    else:
        told = show.say("Please check the address: it should look like name@example.org.")
    return _form(tenant, topic, channel, sent.get("address", "")[:200], told)


def _asked(tenant: Tenant, brand: Brand | None, channel: Channel, address: str) -> Response:
    if by_script():
        return door.answer({"outcome": "asked"}, 202)
    return show.page("asked.html", tenant, brand, channel=channel, address=address)


# --- confirming ---


@joining.get("/c/<token:token>")
def show_question(token: str) -> Response:
    visit = opened(token, Action.CONFIRM)
    with door.reading() as connection:
        value = known(connection, visit).value
    return _question(visit, value)


@joining.post("/c/<token:token>")
def answer_question(token: str) -> Response:
    visit = opened(token, Action.CONFIRM)
    topic = visit.tenant.topic_of(visit.scope)
    sent = form()
    # A mailbox that has found this link presses the one button it knows (RFC 8058): that is a no.
    given = "no" if "List-Unsubscribe" in sent else sent.get("answer")
    with door.writing() as connection:
        value = known(connection, visit).value
        if given == "no":
            no = out(visit.scope, door.now(), "confirmation page")
            said = Said(visit.subject, no, evidence=door.evidence())
            letters.refuse(connection, visit.tenant, said)
            return _answered(visit, topic, False, value)
        if given != "yes" or topic is None:
            return _question(visit, value)
        sentence = _consent(visit.tenant, topic, visit.claim.channel)
        seen = sent.get("saw", "")
        confirmed = letters.confirm(
            connection,
            visit.tenant,
            visit.claim,
            wording={
                "text": sentence,
                "language": show.language().code,
                "title": show.title(topic),
                "description": show.description(topic),
            },
            evidence=door.evidence(),
            through="confirmation page",
            saw=int(seen) if seen.isascii() and seen.isdigit() and len(seen) < 16 else None,
            language=visit.subject.language,
            now=door.now(),
        )
        now_known = known(connection, visit)
    value = now_known.value
    if confirmed.outcome == "refused" and confirmed.again:
        return _question(visit, value, again=confirmed.seq)
    agreed = confirmed.outcome in ("confirmed", "already")
    if not agreed or not _gets(visit, topic, now_known.standing):
        # Refused for good, as a complaint's end is, or kept under a block, as a minor's is.
        return _question(visit, value, over=True)
    return _answered(visit, topic, True, value)


def _gets(visit: Visit, topic: Topic, standing: Standing) -> bool:
    message = Message(topic, visit.claim.channel)
    return may_send(message, standing, door.now()).verdict is Verdict.ALLOW


def _question(
    visit: Visit, value: str | None, again: int | None = None, over: bool = False
) -> Response:
    topic = visit.tenant.topic_of(visit.scope)
    late = over or topic is None or door.now() - visit.claim.minted >= CONFIRM_FOR
    return show.page(
        "confirm.html",
        visit.tenant,
        visit.brand,
        topic=show.title(topic) if topic else None,
        topic_description=show.description(topic) if topic else "",
        consent=_consent(visit.tenant, topic, visit.claim.channel) if topic else "",
        channel=visit.claim.channel,
        address=masked(visit.claim.channel, value),
        late=late,
        again=again,
        sign_up=show.here(f"/s/{visit.tenant.slug}/{topic.slug}") if topic else None,
    )


def _answered(visit: Visit, topic: Topic | None, yes: bool, value: str | None) -> Response:
    links = door.installation().links
    claim = Claim(
        Action.PREFERENCES,
        visit.tenant.id,
        visit.claim.channel,
        visit.claim.digest,
        Scope(visit.scope.brand or None),
        minted=visit.claim.minted,
    )
    return show.page(
        "confirmed.html",
        visit.tenant,
        visit.brand,
        topic=show.title(topic) if topic else None,
        channel=visit.claim.channel,
        address=masked(visit.claim.channel, value),
        yes=yes,
        preferences=show.here(f"/p/{links.sign(claim)}"),
    )


# --- a new link ---


@joining.get("/lost/<slug>")
def show_lost(slug: str) -> Response:
    return _lost(_tenant(slug))


@joining.post("/lost/<slug>")
def send_link(slug: str) -> Response:
    tenant = _tenant(slug)
    request.max_content_length = LONGEST_FORM
    text = form().get("address", "")
    channel = Channel.EMAIL if "@" in text else Channel.SMS
    brand = letters.writer(door.installation().settings, tenant, channel)
    try:
        address = _reachable(channel, text)
    except BadAddress:
        told = show.say("Please check it: name@example.org, or a number such as +44 7700 900123.")
        return _lost(tenant, text[:200], told)
    if brand is None:
        return _lost(tenant, text[:200], show.say("This cannot be sent to you."))
    with door.writing() as connection:
        letters.ask_for_link(
            connection,
            tenant,
            address,
            brand,
            language=show.language().code,
            network=request.remote_addr,
            now=door.now(),
        )
    return show.page("asked.html", tenant, channel=channel, address=address.masked, link=True)


def _tenant(slug: str) -> Tenant:
    tenant = door.installation().directory.find(lambda known: known.tenant(slug))
    if tenant is None or not sends_links(tenant):
        raise BadLink("nobody sends a link here")
    show.use_language(None, tenant)
    return tenant


def _lost(tenant: Tenant, typed: str = "", error: str | None = None) -> Response:
    response = show.page("lost.html", tenant, sender=tenant.name, typed=typed, error=error)
    if error:
        response.status_code = 422
    return response
