"""Twilio's messages: https://www.twilio.com/docs/messaging/guides/webhook-request"""

import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace
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

from prefs.address import Address, BadAddress, Channel
from prefs.directory import Sender, Tenant
from prefs.keywords import Says
from prefs.settings import Settings
from prefs.texts import Failure, Text, Undelivered
from webhooks.call import Call, Forged, Misaddressed
from webhooks.twilio.guessing import likely_urls, shown

# The signed string has no separators, so one request can be cut into names and values anew.
# Twilio's names are plain words, and what we read of them stands once and is whole; a cut
# elsewhere gives one that is not, or loses one we need.
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,63}")
_READ = (
    "AccountSid",
    "Body",
    "ErrorCode",
    "From",
    "MessageSid",
    "MessageStatus",
    "MessagingServiceSid",
    "OptOutType",
    "To",
)
_SID = re.compile(r"[A-Z]{2}[0-9a-f]{32}")


def verify(call: Call, tenant: Tenant, settings: Settings) -> Sender:
    """The tenant's sender that the message was sent to, or by. Raises ``Forged``, and
    ``Misaddressed`` where the account has signed it for another spelling of our URL."""
    if call.body and not call.form:
        return _signing(call, tenant, settings)
    account = call.form.get("AccountSid", "")
    mine = [s for s in tenant.hearing if s.provider == "twilio" and s.account == account]
    if not mine or not all(_NAME.fullmatch(name) for name in call.form):
        raise Forged
    if any(len(call.form.getlist(name)) > 1 for name in _READ):
        raise Forged
    # Where there is no Body, it may have been cut into another field.
    pairs = () if _is_status(call) or "Body" in call.form else call.form.items(multi=True)
    if any("Body" in name + said for name, said in pairs):
        raise Forged
    tokens = settings.provider_tokens("twilio", account)
    if not is_signed(call, tokens):
        if signed := _signed_instead(call, tenant, settings.public_url, tokens):
            raise Misaddressed(account, shown(signed), shown(call.url))
        raise Forged
    ours = call.form.get("From" if _is_status(call) else "To", "")
    sender = sender_of(mine, ours, call.form.get("MessagingServiceSid", ""))
    if sender is None:
        raise Forged
    return sender


def sender_of(mine: Sequence[Sender], ours: str, service: str) -> Sender | None:
    """The sender of a message from or to our number ``ours``, or else of its service."""
    identities = [split(identity)[1] for identity in (ours, service) if identity]
    return next((s for identity in identities for s in mine if s.identity == identity), None)


def _signing(call: Call, tenant: Tenant, settings: Settings) -> Sender:
    """A sender of the account that has signed a body that is no form, and so no message.

    Twilio sends JSON of other things, and would send it again and again if it were refused.
    """
    for sender in tenant.hearing:
        tokens = settings.provider_tokens("twilio", sender.account)
        if sender.provider == "twilio" and is_signed(call, tokens):
            return sender
    raise Forged


_guessing = threading.Lock()

LONGEST = 20_000
MOST_FIELDS = 60
"""Bytes and fields of a request for which other URLs are tried. A message has fewer, and the
longest that is not ours keeps a thread busy for long enough as it is."""


def _signed_instead(
    call: Call, tenant: Tenant, public_url: str, tokens: tuple[str, ...]
) -> str | None:
    """The URL for which one of the tokens has signed the request, if it leads here as well.

    Its path ends in the tenant's own, so that what was signed for another of the account's
    webhooks is not taken for ours.
    """
    if len(call.body) > LONGEST or len(call.form) > MOST_FIELDS:
        return None
    if not tokens or not call.headers.get(SIGNATURE_HEADER):
        return None
    # One thread at a time: anybody can send a request that is not signed.
    if not _guessing.acquire(blocking=False):
        return None
    try:
        query = urlsplit(call.url).query
        urls = likely_urls(public_url, webhook_path(tenant), query, call.headers)
        return next((url for url in urls if is_signed(replace(call, url=url), tokens)), None)
    finally:
        _guessing.release()


def webhook_path(tenant: Tenant) -> str:
    return f"/webhooks/twilio/{tenant.slug}"


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


def _is_status(call: Call) -> bool:
    """Whether it tells of a message that was sent, and not of one that came in."""
    return call.form.get("MessageStatus", "") not in ("", "receiving", "received")


def translate(call: Call, sender: Sender) -> Text | Undelivered | None:
    """The text, or the failure, that a webhook tells of; None where it says nothing of anybody.

    Raises ``BadAddress`` if its message has no name by which it could be heard once.
    """
    if not call.form:
        return None
    status = _is_status(call)
    channel, number = split(call.form.get("To" if status else "From", ""))
    failure = _FAILURES.get(call.form.get("ErrorCode", "")) if status else None
    if status and (failure is None or call.form["MessageStatus"] not in _FAILED):
        return None
    if not _SID.fullmatch(call.form.get("MessageSid", "")):
        raise BadAddress("send the message's MessageSid", "MessageSid")
    try:
        address = Address.parse(channel, number)
    except BadAddress:
        # Short codes and names send to us too, and none of them is a person.
        return None
    if failure is not None:
        code = call.form["ErrorCode"]
        return Undelivered(sender, address, failure, code, "twilio", call.form["MessageSid"])
    body = call.form.get("Body", "")
    opt_out_type = call.form.get("OptOutType", "").upper()
    return Text(
        sender,
        address,
        body,
        "twilio",
        call.form["MessageSid"],
        _OPT_OUT_TYPES.get(opt_out_type) or acted_upon(sender, channel, body),
        evidence={"opt_out_type": opt_out_type[:16]} if opt_out_type else {},
    )


_CHANNELS = {"whatsapp": Channel.WHATSAPP, "rcs": Channel.RCS}


def split(address: str) -> tuple[Channel, str]:
    """``whatsapp:+1…`` and ``rcs:+1…`` name their channel; a number alone is a text's."""
    scheme, colon, rest = address.partition(":")
    return (_CHANNELS.get(scheme, Channel.SMS), rest) if colon else (Channel.SMS, address)


_OPT_OUT_TYPES: Mapping[str, Says] = {
    "STOP": Says.OUT,
    "START": Says.START,
    "HELP": Says.HELP,
}
"""What Twilio took a message for with Advanced Opt-Out, in whatever language."""

# Twilio's own lists: https://help.twilio.com/articles/223134027, and REVOKE and OPTOUT since
# 2025-05-14. "STOP." is not one of them.
_DEFAULT: Mapping[str, Says] = {
    **dict.fromkeys(
        ("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"), Says.OUT
    ),
    **dict.fromkeys(("start", "unstop"), Says.START),
    # Twilio takes it for START and says so. It may as well answer "is Friday good?", and takes no
    # no back: only START does.
    "yes": Says.NOTHING,
    **dict.fromkeys(("help", "info"), Says.HELP),
}


def acted_upon(sender: Sender, channel: Channel, text: str) -> Says | None:
    """What Twilio or the carrier takes a text for without Advanced Opt-Out, and answers itself.

    Long codes, services and toll-free numbers answer Twilio's own words. A short code answers
    nothing by itself; on WhatsApp there is no default. YES undoes no toll-free block.
    """
    if channel is Channel.WHATSAPP:
        return None
    if sender.kind not in ("long_code", "toll_free", "messaging_service"):
        return None
    word = text.strip().lower()
    return None if (word, sender.kind) == ("yes", "toll_free") else _DEFAULT.get(word)


def at_least_acted_upon(sender: Sender, channel: Channel, text: str) -> Says | None:
    """The same where nothing says what Advanced Opt-Out took a text for: its own words, and perhaps
    more."""
    if sender.kind == "advanced_opt_out":
        sender = replace(sender, kind="messaging_service")
    return acted_upon(sender, channel, text)


_FAILED = ("failed", "undelivered")

_FAILURES: Mapping[str, Failure] = {
    # Its owner replied STOP, to this sender or another of its service.
    "21610": Failure.STOPPED,
    # WhatsApp: blocked by its owner; opted out of marketing.
    "63014": Failure.STOPPED,
    "63033": Failure.STOPPED,
    "21211": Failure.INVALID,
    "21217": Failure.INVALID,
    # Landlines, and numbers that take no texts.
    "21614": Failure.UNREACHABLE,
    "21635": Failure.UNREACHABLE,
    "30006": Failure.UNREACHABLE,
    # Unknown or inactive for now.
    "30005": Failure.PERHAPS_UNREACHABLE,
    "63003": Failure.PERHAPS_UNREACHABLE,
    "63024": Failure.PERHAPS_UNREACHABLE,
}
"""Twilio's errors that are about the person. Every other one, and any new one, is the sender's
own or a passing one: https://www.twilio.com/docs/api/errors"""


def failure_of(code: int | str | None) -> Failure | None:
    """What an error of Twilio's says of the address, if anything."""
    return _FAILURES.get(str(code))


def reply(text: str | None) -> Response:
    """TwiML with one answer at the most. As text/plain it would be texted to the person."""
    said = _NOTHING
    if text:
        answer = MessagingResponse()
        answer.message(text)
        said = str(answer)
    return Response(said, content_type="text/xml; charset=utf-8")


_NOTHING = str(MessagingResponse())
