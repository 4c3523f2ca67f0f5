"""Telnyx's webhooks: https://developers.telnyx.com/docs/messaging/messages/receiving-webhooks"""

import re
from base64 import b64decode
from collections.abc import Mapping, Sequence
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from flask import Response

from prefs.address import Address, BadAddress, Channel
from prefs.directory import Sender, Tenant
from prefs.keywords import Says
from prefs.policy import Millis
from prefs.settings import Settings
from prefs.texts import Failure, Text, Undelivered
from webhooks.call import Call, Forged
from webhooks.telnyx.payload import entries, get, string, time, told

SIGNATURE_HEADER = "telnyx-signature-ed25519"
TIMESTAMP_HEADER = "telnyx-timestamp"

TOLERANCE: Millis = 24 * 3_600_000
"""Telnyx's own clients refuse a timestamp five minutes away, against replays. Here a message is
heard once, ever, by its id, and a START counts from when it was sent, so a replay does nothing; and
a clock that is wrong by minutes must not lose a STOP, which Telnyx brings no fourth time."""


def verify(call: Call, tenant: Tenant, settings: Settings) -> Sender:
    """The tenant's sender that the message was sent to, or by. Raises ``Forged``.

    No account is named that could be trusted before the signature is: it is the one whose key
    verifies.
    """
    mine = [sender for sender in tenant.hearing if sender.provider == "telnyx"]
    signed = {
        account
        for account in {sender.account for sender in mine}
        if is_signed(call, settings.provider_tokens("telnyx", account))
    }
    heard = [sender for sender in mine if sender.account in signed]
    if not heard:
        raise Forged
    event, message, _ = told(call.body)
    if event not in _EVENTS:
        return heard[0]
    ours = entries(message, "to") if event == _RECEIVED else [get(message, "from")]
    names = [string(end, name) for end in ours for name in ("phone_number", "agent_id")]
    for identity in (*names, string(message, "messaging_profile_id")):
        for sender in heard:
            if sender.identity == identity:
                return sender
    raise Forged


def is_signed(call: Call, keys: Sequence[str]) -> bool:
    """Whether an account with one of the keys (two during a rotation) has signed it just now."""
    timestamp = call.headers.get(TIMESTAMP_HEADER, "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp):
        return False
    if abs(call.heard_at - int(timestamp) * 1000) > TOLERANCE:
        return False
    signed = timestamp.encode() + b"|" + call.body
    return any(_verifies(key, call.headers.get(SIGNATURE_HEADER, ""), signed) for key in keys)


def _verifies(key: str, signature: str, signed: bytes) -> bool:
    try:
        public = Ed25519PublicKey.from_public_bytes(b64decode(key, validate=True))
        public.verify(b64decode(signature, validate=True), signed)
    except (ValueError, InvalidSignature):
        return False
    return True


_RECEIVED = "message.received"
_EVENTS = (_RECEIVED, "message.sent", "message.finalized")

_CHANNELS = {"RCS": Channel.RCS, "WHATSAPP": Channel.WHATSAPP}

_ID = re.compile(r"[A-Za-z0-9-]{8,64}")


def translate(call: Call, sender: Sender) -> Text | Undelivered | None:
    """The text, or the failure, that a webhook tells of; None where it says nothing of anybody.

    Raises ``BadAddress`` if its message has no name by which it could be heard once.
    """
    event, message, occurred_at = told(call.body)
    if event not in _EVENTS:
        return None
    name = string(message, "id")
    if not _ID.fullmatch(name):
        raise BadAddress("send the message's id", "id")
    channel = _CHANNELS.get(string(message, "type"), Channel.SMS)
    try:
        if event == _RECEIVED:
            author = Address.parse(channel, string(message, "from", "phone_number"))
            return _text(message, sender, author, name, occurred_at)
        code, number = _failed(message)
        failure = failure_of(code)
        if failure is None:
            return None
        return Undelivered(sender, Address.parse(channel, number), failure, code, "telnyx", name)
    except BadAddress:
        # Short codes and names send to us too, and none of them is a person.
        return None


def _text(message: Any, sender: Sender, author: Address, name: str, occurred_at: str) -> Text:
    body = _body(message)
    replied = string(message, "autoresponse_type")
    taken_for = _autoresponse(replied) if replied else acted_upon(sender, body)
    if author.channel is not Channel.SMS and taken_for is None:
        # What we send goes out as SMS.
        taken_for = Says.NOTHING
    said_at = time(string(message, "received_at") or occurred_at)
    evidence = {"autoresponse_type": replied[:16]} if replied else {}
    return Text(sender, author, body, "telnyx", name, taken_for, said_at, evidence)


def _body(message: Any) -> str:
    """What was written. RCS and WhatsApp have it elsewhere; a picture may have nothing."""
    places = (
        ("text",),
        ("body", "text"),
        ("body", "text", "body"),
        ("body", "suggestion_response", "text"),
    )
    return next(filter(None, (string(message, *place) for place in places)), "")


def _autoresponse(replied: str) -> Says:
    """What Telnyx took a text for and answered, by its own words or those of the profile."""
    word = replied.strip().lower().replace("-", "_")
    return next((says for says, known in _AUTORESPONSES if word.startswith(known)), Says.NOTHING)


_AUTORESPONSES = (
    (Says.OUT, ("stop", "opt_out", "optout")),
    (Says.START, ("start", "unstop", "opt_in", "optin")),
    (Says.HELP, ("help", "info")),
)

# https://support.telnyx.com/en/articles/1270091 (long codes: the whole message, however cased)
# and …/6989758 (toll-free numbers, by the carriers). YES is nothing to Telnyx, and HELP is
# answered only where the profile says with what.
_STARTS = dict.fromkeys(("start", "unstop"), Says.START)
_TOLL_FREE: Mapping[str, Says] = {"stop": Says.OUT, **_STARTS}
_LONG_CODE: Mapping[str, Says] = {
    **dict.fromkeys(
        ("stop", "stopall", "stop all", "unsubscribe", "cancel", "end", "quit"), Says.OUT
    ),
    **_STARTS,
}
_DEFAULTS: Mapping[str, Mapping[str, Says]] = {
    "long_code": _LONG_CODE,
    "messaging_service": _LONG_CODE,
    "toll_free": _TOLL_FREE,
}


def acted_upon(sender: Sender, text: str) -> Says | None:
    """What Telnyx or the carrier takes a text for, and answers, where the webhook does not say."""
    return _DEFAULTS.get(sender.kind, {}).get(text.strip().lower())


_FAILURES: Mapping[str, Failure] = {
    # Its owner replied STOP to a number of the profile.
    "40300": Failure.STOPPED,
    "40310": Failure.INVALID,
    # Landlines, and mobile numbers that no text can be routed to.
    "40001": Failure.UNREACHABLE,
    # Nobody's, switched off, or without credit.
    "40012": Failure.PERHAPS_UNREACHABLE,
}
"""Telnyx's errors that are about the person. Every other one, and any new one, is the sender's own
or a passing one: https://developers.telnyx.com/docs/messaging/messages/error-codes"""


def failure_of(code: str) -> Failure | None:
    """What an error of Telnyx's says of the address, if anything."""
    return _FAILURES.get(code)


def _failed(message: Any) -> tuple[str, str]:
    """The error of a message that did not arrive, and whose number it is; else nothing.

    One to a group has many recipients, and its errors do not say whose they are.
    """
    to = list(entries(message, "to"))
    if len(to) != 1 or string(to[0], "status") not in ("sending_failed", "delivery_failed"):
        return "", ""
    codes = [string(error, "code") for error in entries(message, "errors")]
    code = next(filter(failure_of, codes), "")
    return code, string(to[0], "phone_number")


def reply(text: str | None) -> Response:
    """Any 2xx is an acknowledgement."""
    return Response("{}", content_type="application/json")
