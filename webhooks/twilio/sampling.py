"""A text as Twilio would post it, signed with the account's token: to try the way here."""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from math import ceil
from urllib.parse import urlsplit
from xml.etree import ElementTree

import phonenumbers
from twilio.request_validator import SIGNATURE_HEADER, RequestValidator

from prefs.address import Address
from prefs.directory import BadEntry, Sender, Tenant
from prefs.settings import Settings
from webhooks.twilio.receiving import split, webhook_path
from webhooks.twilio.sending import NoToken

SECONDS = 15
"""As long as Twilio waits, at the most."""

NO_NUMBER = "+15005550006"
"""Whoever texts a service texts one of its numbers; this one is nobody's, for tests:
https://www.twilio.com/docs/iam/test-credentials"""

_OPT_OUT_TYPES = {"stop": "STOP", "start": "START", "help": "HELP"}


def fields(sender: Sender, author: str, body: str) -> dict[str, str]:
    """What Twilio sends of a text to a sender. Raises ``BadAddress``.

    ``author`` is a number, with ``whatsapp:`` or ``rcs:`` before it for those channels.
    """
    channel, number = split(author)
    number = Address.parse(channel, number).value
    scheme = author.rpartition(":")[0]
    is_service = sender.identity.startswith("MG")
    to = NO_NUMBER if is_service else sender.identity
    sid = f"SM{secrets.token_hex(16)}"
    sent = {
        "ToCountry": _country(to),
        "ToState": "",
        "SmsMessageSid": sid,
        "NumMedia": "0",
        "ToCity": "",
        "FromZip": "",
        "SmsSid": sid,
        "FromState": "",
        "SmsStatus": "received",
        "FromCity": "",
        "Body": body,
        "FromCountry": _country(number),
        "To": f"{scheme}:{to}" if scheme else to,
        "ToZip": "",
        "NumSegments": str(max(1, ceil(len(body) / 153))),
        "MessageSid": sid,
        "AccountSid": sender.account,
        "From": f"{scheme}:{number}" if scheme else number,
        "ApiVersion": "2010-04-01",
    }
    if is_service:
        sent["MessagingServiceSid"] = sender.identity
    if sender.kind == "advanced_opt_out" and (taken := _OPT_OUT_TYPES.get(body.strip().lower())):
        sent["OptOutType"] = taken
    return sent


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, and the texts to the person if it was TwiML."""

    status: int
    texts: tuple[str, ...] | None

    @property
    def is_heard(self) -> bool:
        return self.status == 200 and self.texts is not None

    def in_words(self) -> str:
        if self.is_heard:
            return f"heard and recorded{'' if self.texts else ', and nothing to answer'}."
        return _IN_WORDS.get(self.status) or (
            "not an answer of prefs: something else answers at this URL."
            if self.status < 500
            else "a fault, here or in between. Twilio comes again if its URL ends in #rc=5&rp=all."
        )


_IN_WORDS = {
    **dict.fromkeys(
        (301, 302, 303, 307, 308),
        "a redirect, which makes another request of it: enter the URL it leads to at Twilio.",
    ),
    403: "refused: this is not the URL, or the token, that the server knows. `prefs twilio doctor` "
    "says what was signed and what is configured.",
    404: "nobody hears webhooks there: does the proxy take the path of PREFS_PUBLIC_URL off?",
    405: "the proxy made another method of the POST.",
    413: "the proxy takes no request of this size.",
    422: "refused, though it was signed: the answer names the field.",
    503: "the database is away, and nothing was recorded. Twilio comes again if its URL ends in "
    "#rc=5&rp=all.",
}


def post(settings: Settings, tenant: Tenant, base: str, sent: Mapping[str, str]) -> Answer:
    """Signs a request and posts it to the server at ``base``. Raises ``BadEntry``, ``NoToken``.

    Past the proxy, on this machine, it is signed as if it had come through it.
    """
    import requests

    at = _allowed(settings, base)
    is_local = _is_here(at) and not _is_here(settings.public_url)
    signed = (settings.public_url if is_local else at) + webhook_path(tenant)
    tokens = settings.provider_tokens("twilio", sent["AccountSid"])
    if not tokens:
        raise NoToken
    headers = {
        "Content-Type": "application/x-www-form-urlencoded; charset=UTF-8",
        "I-Twilio-Idempotency-Token": str(uuid.uuid4()),
        SIGNATURE_HEADER: RequestValidator(tokens[0]).compute_signature(signed, sent),
    }
    try:
        answer = requests.post(
            at + webhook_path(tenant),
            data=dict(sent),
            headers=headers,
            timeout=SECONDS,
            allow_redirects=False,
            # No proxy that the environment names leads to this machine.
            proxies={"http": "", "https": ""} if _is_here(at) else None,
        )
    except requests.RequestException as error:
        raise BadEntry("url", f"nobody answers at {at} ({type(error).__name__})") from None
    return Answer(answer.status_code, _texts(answer.headers.get("Content-Type", ""), answer.text))


def _allowed(settings: Settings, base: str) -> str:
    """What is signed with a real token goes nowhere but to ourselves."""
    base = base.rstrip("/")
    try:
        parts = urlsplit(base)
    except ValueError:
        raise BadEntry("url", "--url is not an address") from None
    ours = urlsplit(settings.public_url).hostname
    if parts.scheme not in ("http", "https") or parts.query or parts.fragment or parts.username:
        raise BadEntry("url", "--url is scheme, host and perhaps a path, nothing more")
    if not _is_here(base) and parts.hostname != ours:
        raise BadEntry(
            "url", f"--url is of this machine, or of {ours}, the host of PREFS_PUBLIC_URL"
        )
    return base


def _is_here(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _texts(content_type: str, body: str) -> tuple[str, ...] | None:
    if not content_type.startswith("text/xml"):
        return None
    try:
        root = ElementTree.fromstring(body)
    except ElementTree.ParseError:
        return None
    return tuple(message.text or "" for message in root.iter("Message"))


def _country(number: str) -> str:
    try:
        return phonenumbers.region_code_for_number(phonenumbers.parse(number)) or ""
    except phonenumbers.NumberParseException:
        return ""
