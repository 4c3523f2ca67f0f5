"""Where a spelling becomes an address. No other line in the project folds, strips or compares one.

Two doors with two normalisers would keep two keys for one person, and lose a no.
So a key never changes when it is parsed again, and a *no* is accepted for anything
that could be an address; only a *yes* needs a valid one (``Address.can_consent``).
"""

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Self
from urllib.parse import unquote

import idna
import phonenumbers
from email_validator import EmailNotValidError, validate_email


class Channel(StrEnum):
    EMAIL = "email"
    SMS = "sms"
    WHATSAPP = "whatsapp"
    RCS = "rcs"
    PUSH = "push"


BY_NUMBER = frozenset({Channel.SMS, Channel.WHATSAPP, Channel.RCS})
"""Where an address is a phone number. One number is an address of its own on each of them."""


class BadAddress(ValueError):
    """The text cannot be an address; the message says what to change and never repeats the text.

    ``field`` is the argument at fault: ``address`` or ``region``.
    """

    def __init__(self, message: str, field: str = "address") -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True, repr=False)
class Address:
    """A channel and the one key by which an address on it is known.

    Made by ``parse``; made directly only from a value that was parsed before.
    """

    channel: Channel
    value: str

    @classmethod
    def parse(cls, channel: Channel, text: str, region: str | None = None) -> Self:
        """Return the address that ``text`` spells, such as an email, a phone number, a push token.

        ``region`` (ISO 3166, two letters) is where a phone number without ``+`` is dialled;
        the other channels do not look at it. Raises ``BadAddress``.
        """
        if not isinstance(text, str):
            raise BadAddress("the address must be text")
        return cls(channel, _KEYS[channel](text, region))

    @property
    def can_consent(self) -> bool:
        """Whether the address is valid enough for a yes. It says nothing about deliverability."""
        if self.channel is Channel.EMAIL:
            local, _, domain = self.value.rpartition("@")
            if _PLAIN_LOCAL.fullmatch(local) and len(local) <= 64 and len(domain) <= 60:
                return _takes_mail(domain)
            return _is_valid_email(self.value)
        if self.channel in BY_NUMBER:
            try:
                return _is_possible(phonenumbers.parse(self.value))
            except phonenumbers.NumberParseException:  # a country code that no country has
                return False
        return True

    @property
    def masked(self) -> str:
        """The address for a screen or a log: recognisable to its owner, useless to a stranger."""
        if self.channel is Channel.EMAIL:
            local, _, domain = self.value.rpartition("@")
            _, dot, top = domain.rpartition(".")
            return f"{local[:1]}•••@{domain[:1]}•••{dot}{top if dot else ''}"
        if self.channel in BY_NUMBER:
            return f"{self.value[:2]}•••••••{self.value[-2:]}"
        return f"{self.value.partition(':')[0]}:•••"

    @property
    def mailbox(self) -> Self:
        """Where it most likely arrives: many providers ignore what follows a ``+``, and Gmail dots.

        For counting what is sent to somebody, and never a key: others keep those apart.
        """
        if self.channel is not Channel.EMAIL:
            return self
        local, _, domain = self.value.rpartition("@")
        local = local[:1] + local[1:].partition("+")[0]
        if domain in ("gmail.com", "googlemail.com"):
            local, domain = local.replace(".", ""), "gmail.com"
        return type(self)(self.channel, f"{local}@{domain}")

    def __repr__(self) -> str:
        return f"Address({self.channel}, {self.masked})"

    def digest(self, key: bytes) -> bytes:
        """Return the 16 bytes by which a tenant knows the address, also after its erasure.

        ``key`` is the tenant's, from ``digest_key``. Raises ``ValueError`` if it is under 16
        bytes: phone numbers are few enough to be guessed from an unkeyed digest.
        """
        if len(key) < 16:
            raise ValueError("the key of a digest has at least 16 bytes")
        said = f"\x01{self.channel}\0{self.value}"
        return blake2b(said.encode(), digest_size=16, key=key).digest()


def digest_key(master: bytes, tenant: int) -> bytes:
    """Return a tenant's key (32 bytes) for ``Address.digest``: no two tenants' can be joined.

    ``master`` has 16 to 64 bytes and is never rotated. Raises ``ValueError`` for other lengths.
    """
    if len(master) < 16:
        raise ValueError("the master secret has at least 16 bytes")
    return blake2b(b"\x01tenant\0%d" % tenant, digest_size=32, key=master).digest()


# What no address holds: controls, line separators, lone surrogates (neither database takes
# them), and the replacement character, which stands where a decoder has lost the text.
_FORBIDDEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffd]")
_JOINERS = "\u200c\u200d"
# Copied along from web pages and spreadsheets: zero-width space, byte order mark, soft hyphen,
# word joiner, invisible operators, and the marks that steer the direction of writing.
_INVISIBLE = dict.fromkeys(
    map(
        ord,
        "\u200b\u2060\u2061\u2062\u2063\u2064\ufeff\u00ad\u180e"
        "\u200e\u200f\u061c\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
        # Letters and marks that have no shape: fillers of Hangul and Khmer, variation selectors.
        "\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0" + "".join(map(chr, range(0xFE00, 0xFE10))),
    )
)
_ALL_INVISIBLE = _INVISIBLE | dict.fromkeys(map(ord, _JOINERS))
_LONGEST = 512
_LONGEST_DOMAIN = 253  # RFC 1035
_LONGEST_PUSH = 2048


def _visible(text: str, invisible: dict[int, None], longest: int = _LONGEST) -> str:
    """Strip ``text`` of what cannot be seen; refuse what cannot be stored."""
    if len(text) > longest:
        raise BadAddress(f"an address has at most {longest} characters")
    text = text.translate(invisible).strip()
    if _FORBIDDEN.search(text):
        raise BadAddress("remove the control characters, or send the text as UTF-8")
    return text


# --- email ---

_PLAIN_EMAIL = re.compile(r"[a-z0-9!#$%&'*+/=?^_`{|}~.-]+@[a-z0-9]+(?:[-.][a-z0-9]+)*")
_QUOTED = re.compile(r'"[^"]*"')
# What lists, spreadsheets and people put around an address.
_PREFIX = re.compile(r"\A(?i:e-?mail|smtp|to)\s*:\s*")
_COMMENT = re.compile(r"\s+\([^()@]*\)\Z")
_PAIRS = {"'": "'", '"': '"', "‘": "’", "“": "”", "«": "»", "(": ")", "[": "]"}


def _email_key(text: str, region: str | None) -> str:
    plain = text.strip().lower()
    if len(text) <= _LONGEST_DOMAIN and _PLAIN_EMAIL.fullmatch(plain):
        return plain
    return _any_email_key(text)


def _any_email_key(text: str) -> str:
    for _ in range(8):
        key = _unwrapped_once(text)
        if key == text:
            return key
        text = key
    raise BadAddress("write the address alone, as name@example.org")


def _unwrapped_once(text: str) -> str:
    # A separator left over from a list is no part of an address, nor a sentence's last sign.
    text = unicodedata.normalize(
        "NFC", _visible(text, _INVISIBLE).strip(_JOINERS + ",;").rstrip(":!")
    )
    text = _PREFIX.sub("", _COMMENT.sub("", text), count=1)
    if text[:1] and _PAIRS.get(text[0]) == text[-1]:
        return text[1:-1]
    # A list in one field would be kept as one odd address, and every no in it lost.
    for between in _QUOTED.sub("", text).split("@")[1:-1]:
        if any(sign in between for sign in ",;>") or (" " in between and "<" not in between):
            raise BadAddress("give one address at a time")
    if text.endswith(">") and "<" in text:
        text = text[text.rfind("<") + 1 : -1]
    if text[:7].lower() == "mailto:":  # RFC 6068: percent-encoded, headers after "?"
        return unquote(text[7:].partition("?")[0])
    text = text.strip("<>")
    if _QUOTED.sub("", text).count("@") > 1:
        raise BadAddress("an address has one @; give one address at a time")
    local, at, domain = text.rpartition("@")
    local = local.translate(_ALL_INVISIBLE).strip()
    domain = _domain_key(domain.partition("?")[0].strip())
    if not at:
        raise BadAddress("an email address has an @, as in name@example.org")
    if not local or not domain:
        raise BadAddress("an email address has something on both sides of the @")
    return f"{unicodedata.normalize('NFC', unicodedata.normalize('NFC', local).lower())}@{domain}"


_PLAIN_LOCAL = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*")


@lru_cache(maxsize=4096)
def _takes_mail(domain: str) -> bool:
    """Whether a plain name at ``domain`` is valid. Validating costs a tenth of a millisecond,
    and an audience of a million has a few thousand domains."""
    return _is_valid_email(f"a@{domain}")


def _is_valid_email(value: str) -> bool:
    try:
        # A "test environment", because example.com and .test are what people try us with.
        validate_email(value, check_deliverability=False, test_environment=True)
    except EmailNotValidError:
        return False
    return "." in value.rpartition("@")[2]


@lru_cache(maxsize=4096)
def _domain_key(domain: str) -> str:
    """Return the A-label form without the root's dot, or what IDNA refuses in lower case.

    Python's own "idna" codec is IDNA 2003, where faß.de and fass.de are one domain.
    The two joiners are letters of some Persian and Indic names, and litter elsewhere.
    """
    if len(domain) > _LONGEST_DOMAIN:  # and IDNA takes its time over longer ones
        raise BadAddress(f"a domain has at most {_LONGEST_DOMAIN} characters")
    bare = domain.translate(_ALL_INVISIBLE)
    for spelling in (domain, bare):
        try:
            return idna.encode(spelling, uts46=True).decode("ascii").rstrip(".")
        except UnicodeError:
            continue
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", bare).lower()).rstrip(".")


# --- phone numbers: SMS, WhatsApp, RCS ---

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_DIALLED = re.compile(r"\+?[0-9]+[0-9A-Za-z]*")
_SCHEME = re.compile(r"([A-Za-z]+):(.*)")
# Dashes of all scripts (Japanese lists use the long vowel mark), dots, slashes, brackets.
_PUNCTUATION = re.compile(r"[\s\-\u2010-\u2015\u2212\u30fc.·•/()\[\]]")
_INTERNATIONAL = "write the number with + and its country code, then 7 to 15 digits in all"


def _number_key(channel: Channel, text: str, region: str | None) -> str:
    if region is not None:
        region = _region(region)
    if _E164.fullmatch(text):
        return text
    return _any_number_key(channel, text, region)


def _region(region: str) -> str:
    if not isinstance(region, str) or region.upper() not in phonenumbers.SUPPORTED_REGIONS:
        raise BadAddress("region must be a country's two letters, as in ISO 3166", "region")
    return region.upper()


def _any_number_key(channel: Channel, text: str, region: str | None) -> str:
    text = unicodedata.normalize("NFKC", _visible(text, _ALL_INVISIBLE))
    text = "".join(str(unicodedata.decimal(sign, sign)) for sign in text)
    if scheme := _SCHEME.fullmatch(text):
        if (name := scheme[1].lower()) not in ("tel", channel):
            meant = f"channel {name}" if name in BY_NUMBER else "channel it is on"
            raise BadAddress(f"a number on another channel: name the {meant}, or only the number")
        text = scheme[2].partition(";")[0]
    number = _PUNCTUATION.sub("", text)
    # A number in E.164's shape is never corrected: numbering plans change (Mexico, Argentina,
    # Brazil), and whoever said no with the old form is known by it. "+44 (0)20" is no such
    # shape; whether its zero is dialled differs by country (in Italy it is).
    if "(0)" not in text and _E164.fullmatch(number):
        return number
    if not _DIALLED.fullmatch(number):
        raise BadAddress(_INTERNATIONAL)
    if number.startswith("+"):
        region = None
    elif region is None:
        raise BadAddress("write the number with + and its country code, or name its region")
    elif _has_country_code(number, region):
        text, region = f"+{number}", None
    try:
        dialled = phonenumbers.parse(text, region)
    except phonenumbers.NumberParseException:
        raise BadAddress(_INTERNATIONAL) from None
    key = phonenumbers.format_number(dialled, phonenumbers.PhoneNumberFormat.E164)
    if not _is_possible(dialled) or not _E164.fullmatch(key):
        raise BadAddress(_INTERNATIONAL)
    if len(number) < 7 and not phonenumbers.is_valid_number(dialled):
        raise BadAddress("a short code sends messages and receives none; give a phone number")
    return key


def _has_country_code(number: str, region: str) -> bool:
    """Whether it is an international number whose + was left out, as many tools write them.

    What is dialled within a country that has a trunk prefix (Germany's 0) begins with that. Without
    it ``4915112345678`` can be read in two ways, and only one is how people write numbers.
    """
    code = str(phonenumbers.country_code_for_region(region))
    metadata = phonenumbers.PhoneMetadata.metadata_for_region(region)
    trunk = metadata.national_prefix if metadata else None
    if not trunk or number.startswith(trunk) or not number.startswith(code):
        return False
    try:
        return phonenumbers.is_valid_number(phonenumbers.parse(f"+{number}"))
    except phonenumbers.NumberParseException:
        return False


def _is_possible(number: phonenumbers.PhoneNumber) -> bool:
    """Whether the number can be dialled from abroad, so not if the area code is missing."""
    reason = phonenumbers.is_possible_number_with_reason(number)
    return bool(reason == phonenumbers.ValidationResult.IS_POSSIBLE)


# --- push ---

_PUSH = re.compile(r"([A-Za-z0-9_-]{1,32}):(\S+)")


def _push_key(text: str, region: str | None) -> str:
    # A token is opaque: its case counts, and a web push subscription is a URL with colons.
    parts = _PUSH.fullmatch(_visible(text, {}, _LONGEST_PUSH))
    if not parts:
        raise BadAddress("a push address is provider:token, as in fcm:token, without spaces")
    return f"{parts[1].lower()}:{parts[2]}"


_KEYS: dict[Channel, Callable[[str, str | None], str]] = {
    Channel.EMAIL: _email_key,
    Channel.PUSH: _push_key,
    **{channel: partial(_number_key, channel) for channel in BY_NUMBER},
}
