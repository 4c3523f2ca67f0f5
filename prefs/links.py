"""Links that name a subject and an action, and never an address.

    version and kind | key id | tenant | channel and width | digest | scope | minted | campaign
    1 byte           | 1      | 4      | 1                 | 16     | 4     | 0 or 4 | 0 to 32

packed, signed by itsdangerous with a keyed BLAKE2b of 16 bytes under a salt per action, and
written in base64url: 59 characters for an unsubscribe link. A link works for an address that
has no row yet, and after its erasure. Leaving never expires; what can turn something on
carries the time it was minted.
"""

import base64
import binascii
import hashlib
import re
import struct
from collections.abc import Iterable
from dataclasses import dataclass, replace
from email.header import Header
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

from itsdangerous import BadSignature, Signer
from itsdangerous.signer import SigningAlgorithm

from prefs.address import Channel
from prefs.policy import ALL, Millis, Scope

MAY_TURN_ON_FOR: Millis = 60 * 24 * 3600 * 1000
"""How long a preference link may turn things on. For leaving it never expires."""

CONFIRM_FOR: Millis = 7 * 24 * 3600 * 1000
"""How long a question whether somebody wants a topic may be answered."""

UNDO_FOR: Millis = 3600 * 1000
"""How long what was done on a page can be undone from that page."""


class BadLink(ValueError):
    """The token is not one of ours, or not whole."""


class Action(Enum):
    UNSUBSCRIBE = 1
    PREFERENCES = 2
    UNDO = 3
    CONFIRM = 4
    DEVICE = 5


_TIMED = frozenset({Action.PREFERENCES, Action.UNDO, Action.CONFIRM, Action.DEVICE})
_CHANNELS = {
    Channel.EMAIL: 1,
    Channel.SMS: 2,
    Channel.PUSH: 3,
    Channel.WHATSAPP: 4,
    Channel.RCS: 5,
}
_CHANNEL_OF = {number: channel for channel, number in _CHANNELS.items()}
_VERSION = 1
_HEAD = struct.Struct(">BBIB16sI")
_MINTED = struct.Struct(">I")
_CAMPAIGN = re.compile(r"[A-Za-z0-9._-]{0,32}")
# What mail programs, chats and people glue to the end of a link.
_GLUED = "".join((" \t\r\n>.,)]\"'", "\u00a0\u200b\u200c\u200d\u2060\ufeff", "\u2019\u201d\u00bb"))


@dataclass(frozen=True, slots=True)
class Claim:
    """What a link says. ``minted`` is 0 on links that do not tell their age.

    In a confirmation, ``campaign`` holds the ``seq`` of the event that asks, which is what its
    reader has seen. In an undo, it holds those that the page had written, as ``7-9``, and which
    link's page it was, where that is another address's.
    """

    action: Action
    tenant: int
    channel: Channel
    digest: bytes
    scope: Scope
    minted: Millis = 0
    campaign: str = ""


class Minted(NamedTuple):
    """The links for one message to one address.

    ``mailbox`` is the address that a mail may unsubscribe by, ``device`` the link by which an app
    switches topics of the push token that it has.
    """

    unsubscribe: str
    preferences: str
    short: str | None = None
    device: str | None = None
    mailbox: str | None = None
    list_id: str | None = None

    @property
    def headers(self) -> dict[str, str]:
        """The header fields of RFC 8058 and RFC 2919. Sign them with DKIM, after they are final.

        RFC 8058 section 3.1: exactly one https URI, and a mailto may stand beside it. The
        leftmost is preferred (RFC 2369). Apple Mail sends its own subject or none, so the
        address alone says who leaves what.
        """
        mail = f", <mailto:{self.mailbox}?subject=unsubscribe>" if self.mailbox else ""
        fields = {
            "List-Unsubscribe": f"<{self.unsubscribe}>{mail}",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        return fields | ({"List-Id": self.list_id} if self.list_id else {})


class _Blake2b(SigningAlgorithm):
    def get_signature(self, key: bytes, value: bytes) -> bytes:
        return hashlib.blake2b(value, digest_size=16, key=key).digest()


_ATOMS = re.compile(r"[A-Za-z0-9 !#$%&'*+/^_`{|}~-]+")
_LONGEST_LIST_ID = 255


def list_id(name: str, labels: Iterable[str], domain: str) -> str | None:
    """The List-Id field of a list called ``name`` (RFC 2919); None for one too long to have one.

    It is the same for every language and recipient: mail programs file messages by it.
    """
    identity = ".".join((*labels, domain))
    if len(identity) > _LONGEST_LIST_ID:
        return None
    plain = "".join(sign if sign.isprintable() else " " for sign in name)
    phrase = " ".join(plain.split())
    if not phrase.isascii():
        # RFC 2047, on one line: whoever writes the message folds it.
        phrase = " ".join(Header(phrase, "utf-8", maxlinelen=75).encode().split())
    elif phrase and not _ATOMS.fullmatch(phrase):
        quoted = phrase.replace("\\", "\\\\").replace('"', '\\"')
        phrase = f'"{quoted}"'
    return f"{phrase} <{identity}>".strip()


def is_campaign(text: str) -> bool:
    """Whether a link can carry it: up to 32 plain characters."""
    return _CAMPAIGN.fullmatch(text) is not None


class Links:
    """Signs with the newest of ``keys`` (the last one) and opens what any of them signed."""

    def __init__(self, keys: Iterable[bytes]) -> None:
        self._keys: dict[int, tuple[bytes, ...]] = {}
        for key in keys:
            # Two keys may share an id; itsdangerous tries each, and signs with the last.
            self._newest = _key_id(key)
            self._keys[self._newest] = (*self._keys.get(self._newest, ()), key)

    def sign(self, claim: Claim) -> str:
        """Returns the token. Raises ``ValueError`` for a campaign that is no short plain id."""
        if not is_campaign(claim.campaign):
            raise ValueError("a campaign is up to 32 letters, digits, dots, hyphens, underscores")
        width = 2 if claim.scope.topic is not None else 1 if claim.scope.brand is not None else 0
        body = _HEAD.pack(
            _VERSION << 4 | claim.action.value,
            self._newest,
            claim.tenant,
            _CHANNELS[claim.channel] << 4 | width,
            claim.digest,
            (0, claim.scope.brand, claim.scope.topic)[width],
        )
        if claim.action in _TIMED:
            body += _MINTED.pack(claim.minted // 1000)
        value = base64.urlsafe_b64encode(body + claim.campaign.encode()).rstrip(b"=")
        return _signer(self._keys[self._newest], claim.action).sign(value).decode()

    def mint(self, base: str, claim: Claim, now: Millis, list_id: str | None = None) -> Minted:
        """Returns the unsubscribe link of ``claim`` and a preference link for its brand.

        For a push token, also the link of its switches, which are those of all brands.
        """
        wider = replace(
            claim, action=Action.PREFERENCES, scope=Scope(claim.scope.brand), minted=now
        )
        device = None
        if claim.channel is Channel.PUSH:
            switches = replace(wider, action=Action.DEVICE, scope=ALL, campaign="")
            device = f"{base}/d/{self.sign(switches)}"
        unsubscribe, preferences = f"{base}/u/{self.sign(claim)}", f"{base}/p/{self.sign(wider)}"
        return Minted(unsubscribe, preferences, device=device, list_id=list_id)

    def open(self, token: str, action: Action) -> Claim:
        """Returns what the token says if it was signed for this action. Raises ``BadLink``.

        A topic's scope comes back with no brand: the directory knows it.
        """
        token = token.strip(_GLUED)
        try:
            value, _, signature = token.encode("ascii").rpartition(b".")
            body = base64.b64decode(value + b"=" * (-len(value) % 4), b"-_", validate=True)
            head, rest = body[: _HEAD.size], body[_HEAD.size :]
            kind, key_id, tenant, shape, digest, number = _HEAD.unpack(head)
            _signer(self._keys[key_id], action).unsign(token)
            if kind != _VERSION << 4 | action.value:
                raise BadLink("a link of another kind")
            # base64 leaves spare bits in a last character: several spellings of one signature
            # would be accepted, and a link with a changed character must not be.
            if any(not _is_canonical(part) for part in (value, signature)):
                raise BadLink("a link that was changed")
            minted = 0
            if action in _TIMED:
                (minted,) = _MINTED.unpack(rest[: _MINTED.size])
                rest = rest[_MINTED.size :]
            channel, width = _CHANNEL_OF[shape >> 4], shape & 15
        except (BadSignature, KeyError, ValueError, struct.error, binascii.Error):
            raise BadLink("this link is not whole, or not one of ours") from None
        scope = (Scope(), Scope(number), Scope(None, number))[width]
        return Claim(action, tenant, channel, digest, scope, minted * 1000, rest.decode())

    def says_tenant(self, token: str) -> int | None:
        """The tenant that a token says it is of, though it may be forged or cut short."""
        try:
            body = token.strip(_GLUED).partition(".")[0][:8].encode("ascii")
            return int.from_bytes(base64.b64decode(body, b"-_", validate=True)[2:6])
        except ValueError:
            return None


def _is_canonical(part: bytes) -> bool:
    whole = part + b"=" * (-len(part) % 4)
    return base64.urlsafe_b64encode(base64.urlsafe_b64decode(whole)).rstrip(b"=") == part


def _key_id(key: bytes) -> int:
    return hashlib.blake2b(key, digest_size=1, person=b"link key").digest()[0]


@lru_cache(maxsize=1024)
def _signer(keys: tuple[bytes, ...], action: Action) -> Signer:
    salt = f"prefs.{action.name.lower()}.v{_VERSION}".encode()
    derived = [hashlib.blake2b(salt, digest_size=32, key=key).digest() for key in keys]
    return Signer(derived, key_derivation="none", algorithm=_Blake2b())


def undo_of(claim: Claim, first: int, last: int, now: Millis, by: bytes) -> Claim:
    """The claim by which the page of ``by``'s link, and no other, can take back what it has just
    recorded about an address, ``first`` to ``last``."""
    campaign = f"{first}-{last}" if by == claim.digest else f"{first}-{last}.{by.hex()[:8]}"
    return replace(claim, action=Action.UNDO, minted=now, campaign=campaign)


def is_undo_by(undo: Claim, digest: bytes) -> bool:
    """Whether it was the page of this address's link that offered it."""
    _, _, by = undo.campaign.partition(".")
    return digest.hex()[:8] == by if by else digest == undo.digest
