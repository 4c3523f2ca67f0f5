"""Twilio's messages: https://www.twilio.com/docs/messaging/guides/webhook-request"""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qs, urlsplit

from flask import Response
from twilio.request_validator import (
    HMAC_SHA1,
    HMAC_SHA256,
    SIGNATURE_HEADER,
    SIGNATURE_SETTINGS_HEADER,
    RequestValidator,
    get_signature_algorithm,
)
from twilio.twiml.messaging_response import MessagingResponse
from werkzeug.datastructures import MultiDict

from prefs import letters
from prefs.address import Address, BadAddress, Channel
from prefs.directory import Sender, Tenant
from prefs.ledger import Recorded, Said, Subject
from prefs.letters import Agreed
from prefs.policy import ALL, Authority, Event, Kind, Millis, Outcome, Voice
from prefs.settings import Settings
from webhooks import keywords
from webhooks.call import Call, Forged
from webhooks.keywords import Says

DOOR = "text message"


class Yes(NamedTuple):
    """A YES, which is a word only if somebody asked: ``letters.said_yes`` knows."""

    address: Address
    languages: frozenset[str]
    evidence: Mapping[str, str]
    source_id: str


class Heard(NamedTuple):
    """What a message said, and the event that it is, if any."""

    says: Says
    said: Said | None
    text: str
    answered_by_twilio: bool
    yes: Yes | None = None


# The signed string has no separators, so one request can be cut into names and values anew.
# Twilio's names are plain words, and what we read of them stands once and is whole; a cut
# elsewhere gives one that is not, or loses one we need.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_READ = ("AccountSid", "Body", "From", "MessageSid", "MessagingServiceSid", "OptOutType", "To")
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")


def verify(call: Call, tenant: Tenant, settings: Settings) -> Sender:
    """The tenant's sender that the message was sent to. Raises ``Forged``."""
    account = call.form.get("AccountSid", "")
    mine = [s for s in tenant.senders if s.provider == "twilio" and s.account == account]
    if not mine or not all(_NAME.fullmatch(name) for name in call.form):
        raise Forged
    if any(len(call.form.getlist(name)) > 1 for name in _READ):
        raise Forged
    if not is_signed(call, settings.provider_tokens("twilio", account)):
        raise Forged
    for identity in (call.form.get("To", ""), call.form.get("MessagingServiceSid", "")):
        for sender in mine:
            if identity and sender.identity == _bare(identity):
                return sender
    raise Forged


def is_signed(call: Call, tokens: tuple[str, ...]) -> bool:
    """Whether one of the tokens (two during a rotation) has signed the request."""
    signature = call.headers.get(SIGNATURE_HEADER)
    algorithm = get_signature_algorithm(call.headers.get(SIGNATURE_SETTINGS_HEADER)).upper()
    # An algorithm that it does not know, Twilio's validator would write into the log.
    if not signature or algorithm not in (HMAC_SHA1, HMAC_SHA256):
        return False
    signed: MultiDict[str, str] | str = call.form
    if call.body and not call.form:
        # A body that is no form is signed by its hash, which stands in the URL.
        if "bodySHA256" not in parse_qs(urlsplit(call.url).query):
            return False
        signed = call.body.decode("utf-8", "replace")
    return any(
        RequestValidator(token).validate(call.url, signed, signature, algorithm) for token in tokens
    )


def _bare(address: str) -> str:
    """``whatsapp:+1…`` and ``rcs:…`` without what names their channel."""
    return address.partition(":")[2] if ":" in address else address


def translate(call: Call, tenant: Tenant, sender: Sender, now: Millis) -> Heard:
    """What the message says. Raises ``BadAddress`` if its author cannot be told."""
    text = call.form.get("Body", "")
    # With Advanced Opt-Out, Twilio says what it took the message for, in any language.
    twilio_says = _OPT_OUT_TYPES.get(call.form.get("OptOutType", "").upper())
    says = keywords.classify(text)
    is_yes = says is Says.YES and twilio_says in (None, Says.START)
    if says is not Says.OUT:
        # Twilio's label may widen what is a no, and never hides one.
        says = twilio_says or says
    event = _event(says, now)
    answered = twilio_says is not None or _answers_itself(sender, text)
    yes = _yes(call, sender) if is_yes else None
    if event is None:
        return Heard(says, None, text, answered, yes)
    author = call.form.get("From", "")
    if ":" in author and event.kind is not Kind.OUT:
        # A START on WhatsApp or RCS says nothing about texts; a STOP there is taken for
        # both until they are channels of their own.
        return Heard(Says.NOTHING, None, text, answered)
    if not _SID.fullmatch(call.form.get("MessageSid", "")):
        raise BadAddress("send the message's MessageSid", "MessageSid")
    try:
        address = Address.parse(Channel.SMS, _bare(author))
    except BadAddress as error:
        raise BadAddress(str(error), "From") from None
    said = Said(
        Subject.of(tenant, address),
        event,
        source="twilio",
        source_id=call.form["MessageSid"],
        evidence=_evidence(call, sender),
    )
    return Heard(says, said, text, answered, yes)


def _evidence(call: Call, sender: Sender) -> dict[str, str]:
    return {
        "text": call.form.get("Body", "")[:1600],
        "to": sender.identity,
        "keywords": f"version {keywords.VERSION}",
        "opt_out_type": call.form.get("OptOutType", "")[:16],
    }


def _yes(call: Call, sender: Sender) -> Yes | None:
    """None where it cannot be told who said it, or what they answer: then it says nothing."""
    author, sid = call.form.get("From", ""), call.form.get("MessageSid", "")
    # What was asked by text is answered by text, and not on WhatsApp or RCS.
    if ":" in author or not _SID.fullmatch(sid):
        return None
    try:
        address = Address.parse(Channel.SMS, author)
    except BadAddress:
        return None
    languages = keywords.yes_in(call.form.get("Body", ""))
    return Yes(address, languages, _evidence(call, sender), sid)


_OPT_OUT_TYPES: Mapping[str, Says] = {
    "STOP": Says.OUT,
    "START": Says.START,
    "HELP": Says.HELP,
}


def _event(says: Says, now: Millis) -> Event | None:
    # The webhook carries no time of its own (only Twilio's API knows it), so no clock.
    if says is Says.OUT:
        return Event(Kind.OUT, now, ALL, Voice.STOP, Authority.PERSON, door=DOOR)
    if says is Says.START:
        return Event(Kind.LIFT, now, ALL, authority=Authority.START, door=DOOR)
    return None


def _answers_itself(sender: Sender, text: str) -> bool:
    """Whether Twilio or the carrier has answered the person already.

    Long codes, services and toll-free numbers answer Twilio's own words. A short code answers
    nothing by itself; with Advanced Opt-Out, whatever Twilio answered carries OptOutType.
    """
    if sender.kind not in ("long_code", "toll_free", "messaging_service"):
        return False
    known = keywords.TWILIO_STOP | keywords.TWILIO_START | keywords.TWILIO_HELP
    return keywords.as_twilio_reads(text) in known


def reply(
    heard: Heard,
    recorded: Recorded | None,
    agreed: Agreed | None,
    tenant: Tenant,
    sender: Sender,
) -> Response:
    """TwiML with one answer at the most. As text/plain it would be texted to the person."""
    answer = MessagingResponse()
    if text := _text(heard, recorded, agreed, tenant, sender):
        answer.message(text)
    return Response(str(answer), content_type="text/xml; charset=utf-8")


def _text(
    heard: Heard,
    recorded: Recorded | None,
    agreed: Agreed | None,
    tenant: Tenant,
    sender: Sender,
) -> str | None:
    if heard.answered_by_twilio:
        return None
    brand = next(b for b in tenant.brands.values() if b.id == sender.brand_id)
    name = tenant.name[:60]
    if agreed is not None and agreed.gets:
        return letters.welcome(brand, agreed.topic, agreed.language)
    if heard.says is Says.HELP:
        return f"{brand.name[:40]}: for help, {brand.contact[:80]}. Reply STOP to unsubscribe."
    if recorded is None:
        return None
    stopped = recorded.standing.stopped
    if heard.says is Says.OUT:
        # One confirmation (47 CFR 64.1200(a)(12)): a second STOP gets none, or a machine that
        # answers STOP to each of our answers would go on for ever. A retry gets it again.
        again = recorded.outcome is not Outcome.DUPLICATE and recorded.before.stopped
        if again or not stopped:
            return None
        return (
            f"{name}: you are unsubscribed and get no more marketing texts. START undoes this STOP."
        )
    if agreed is not None:
        return _still_out(name) if stopped else None
    if stopped:
        return _still_out(name)
    if recorded.standing.outs:
        # Somebody, in another way, said another no, and START takes back none but a STOP.
        return f"{name}: your STOP is taken back. What you unsubscribed from elsewhere stays so."
    return f"{name}: you get texts again as before. Reply HELP for help, STOP to unsubscribe."


def _still_out(name: str) -> str:
    return f"{name}: you are still unsubscribed. To get texts again, send START in 3 minutes."
