"""Whether a message can be left by one click: its header fields, signatures, link and body.

What is found are sentences for whoever sends; none of them repeats a token or an address.
"""

import re
from collections.abc import Iterator
from contextlib import suppress
from email.message import Message
from email.parser import BytesParser
from email.policy import compat32
from email.utils import getaddresses
from enum import StrEnum
from html import unescape
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from prefs.address import Address, BadAddress, Channel
from prefs.database import Unavailable
from prefs.installation import Installation
from prefs.links import Action, BadLink, Claim
from prefs.mail import path_here
from prefs.settings import MEGABYTE

LONGEST = 30 * MEGABYTE
"""Bytes of a message that are read; one with larger attachments is checked without them."""


class Level(StrEnum):
    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


class Finding(NamedTuple):
    """One sentence about a message, and who minds: a provider, a program, an RFC."""

    level: Level
    sentence: str
    minds: str = ""


class BodyLink(NamedTuple):
    """A link in the text of a message, with the words around it."""

    url: str
    near: str


def _error(sentence: str, minds: str = "") -> Finding:
    return Finding(Level.ERROR, sentence, minds)


def _warning(sentence: str, minds: str = "") -> Finding:
    return Finding(Level.WARNING, sentence, minds)


def _note(sentence: str) -> Finding:
    return Finding(Level.NOTE, sentence)


ONE_CLICK = "RFC 8058 section 3.1"
PROVIDERS = f"Gmail, Yahoo, {ONE_CLICK}"


def check(raw: bytes, opened: Installation | None, to: str | None = None) -> list[Finding]:
    """All that is to be said about a message, in the order in which it is read.

    ``to`` is whom it is for, where its own fields do not tell. Raises ``BadAddress`` for a
    ``to`` that is none.
    """
    recipient = Address.parse(Channel.EMAIL, to) if to is not None else None
    if not raw.strip():
        return [_error("The file is empty: give the message as it was sent.")]
    if len(raw) > LONGEST:
        return [
            _error(f"The message is over {LONGEST // MEGABYTE} MB: give it without attachments.")
        ]
    try:
        return _found(raw, opened, recipient)
    except (RecursionError, ValueError):
        # What Python's parser raises on parts in parts in parts, and on a NUL in a parameter.
        return [_error("The message cannot be read: its parts or comments are not well-formed.")]


def _found(raw: bytes, opened: Installation | None, recipient: Address | None) -> list[Finding]:
    message = BytesParser(policy=compat32).parsebytes(raw.removeprefix(b"\xef\xbb\xbf"))
    if not any(name in message for name in ("From", "To", "Subject", "Date", *_FIELDS)):
        return [
            _error(
                "This is no mail message: give the whole message as it was sent, header fields "
                "first. Mail programs save it as .eml, or as its source or original."
            )
        ]
    links = list(_links(message))
    return [
        *_form(message),
        *_signed(message),
        *_link(message, links, opened, recipient),
        *_list_id(message),
        *_body(links, opened),
    ]


_FIELDS = ("List-Unsubscribe", "List-Unsubscribe-Post")


def _fields(message: Message, name: str) -> list[str]:
    return [str(value)[:_LONGEST_FIELD] for value in message.get_all(name, [])]


_LONGEST_FIELD = 100_000


# --- the two fields ---

_URI = re.compile(r"<([^<>]*)>")
_REMARK = re.compile(r"\([^()<>]*\)")
_SPACE = re.compile(r"\s+")


def _form(message: Message) -> Iterator[Finding]:
    if any(type(defect).__name__.startswith("MissingHeader") for defect in message.defects):
        yield _warning(
            "A line among the header fields is none, and what follows it is read as text."
        )
    fields = _fields(message, "List-Unsubscribe")
    if not fields:
        yield _error("There is no List-Unsubscribe field, so there is no button.", PROVIDERS)
    elif len(fields) > 1:
        yield _error(
            f"There are {len(fields)} List-Unsubscribe fields: keep one, with all links in it.",
            "RFC 2369",
        )
    if fields:
        yield from _uris_of(fields[0])
    posts = _fields(message, "List-Unsubscribe-Post")
    if not posts:
        yield _error(
            "There is no List-Unsubscribe-Post field, so the link is not taken for one-click.",
            PROVIDERS,
        )
    elif len(posts) > 1:
        yield _error(f"There are {len(posts)} List-Unsubscribe-Post fields: keep one.", ONE_CLICK)
    elif posts[0].strip() != "List-Unsubscribe=One-Click":
        yield _error("List-Unsubscribe-Post is not exactly List-Unsubscribe=One-Click.", PROVIDERS)


def _uris(field: str) -> list[tuple[str, str]]:
    """Scheme and URI of each link. Space inside the brackets counts for nothing (RFC 2369)."""
    whole = [_SPACE.sub("", uri) for uri in _URI.findall(field)]
    return [(uri.partition(":")[0].lower(), uri) for uri in whole]


def _uris_of(field: str) -> Iterator[Finding]:
    if "=?" in field:
        # Python's EmailMessage does that to any word longer than its lines.
        yield _error(
            "List-Unsubscribe is written as an encoded word (=?utf-8?…?=), which no program reads "
            "as a link: let the library write long lines (in Python, "
            "policy.SMTP.clone(max_line_length=998)).",
            "RFC 2047 section 5",
        )
        return
    if any(_SPACE.search(uri) for uri in _URI.findall(field)):
        yield _warning(
            "A link in List-Unsubscribe is folded or has a space in it, and not every program "
            "puts it together: fold after the comma.",
            "RFC 2369 section 2",
        )
    if _REMARK.sub("", _URI.sub("", field)).strip(" \t\r\n,"):
        yield _error(
            "List-Unsubscribe has text that is not in angle brackets: write <link>, <link>.",
            "RFC 2369 section 2",
        )
    uris = _uris(field)
    schemes = [scheme for scheme, _ in uris]
    if "http" in schemes:
        yield _error("The link begins with http: it must be https.", PROVIDERS)
    elif "https" not in schemes:
        yield _error(
            "List-Unsubscribe has no https link; mail alone is no one-click unsubscribe.",
            f"Gmail, {ONE_CLICK}",
        )
    if schemes.count("https") > 1:
        yield _error("List-Unsubscribe has more than one https link: keep one.", ONE_CLICK)
    if "mailto" not in schemes:
        yield _warning(
            "List-Unsubscribe has no mailto link beside the https link: programs that "
            "unsubscribe by mail have nothing to write to.",
            "Apple Mail, older Outlook.com",
        )
    for scheme, uri in uris:
        if scheme == "mailto":
            local, at, _ = unquote(uri[7:].partition("?")[0]).rpartition("@")
            if not at or not local:
                yield _error("The mailto link names no address.", "RFC 6068")
            elif len(local.encode("utf-8", "replace")) > 64:
                yield _error(
                    "The mailto link has more than 64 octets before the @, and mail servers may "
                    "refuse it.",
                    "RFC 5321 section 4.5.3.1.1",
                )


# --- the signatures ---


class Signature(NamedTuple):
    domain: str
    covers: frozenset[str]


def _signature(field: str) -> Signature | None:
    """What a DKIM-Signature field says, or None if no verifier would accept it as one."""
    tags: dict[str, str] = {}
    for spec in field.split(";"):
        if not spec.strip():
            continue
        name, equals, value = spec.partition("=")
        # RFC 6376 section 3.2: names are case-sensitive, and one that comes twice spoils all.
        if not equals or name.strip() in tags:
            return None
        tags[name.strip()] = value.strip()
    if not {"v", "a", "b", "bh", "d", "h", "s"} <= tags.keys() or tags["v"] != "1":
        return None
    covers = frozenset(name.strip().lower() for name in tags["h"].split(":"))
    return Signature(_domain(f"dkim@{tags['d']}"), covers)


_WANTED = ("From", *_FIELDS)


def _signed(message: Message) -> Iterator[Finding]:
    fields = _fields(message, "DKIM-Signature")
    signatures = [found for field in fields if (found := _signature(field))]
    if len(signatures) < len(fields):
        level = Level.WARNING if signatures else Level.ERROR
        yield Finding(
            level,
            "A DKIM-Signature lacks a tag or has one twice: no verifier accepts it.",
            "RFC 6376 section 3.2",
        )
    if not fields:
        yield _error(
            "There is no DKIM-Signature: sign the message, or give it as it was sent.", PROVIDERS
        )
    elif signatures:
        left_out = [
            [name for name in _WANTED if name.lower() not in signature.covers]
            for signature in signatures
        ]
        if fewest := min(left_out, key=len):
            yield _error(
                f"No DKIM signature covers From and both fields: {' and '.join(fewest)} "
                f"{'is' if len(fewest) == 1 else 'are'} not in the h= of the best one. Sign after "
                "both fields are final.",
                PROVIDERS,
            )
    yield from _aligned(message, {signature.domain for signature in signatures})


def _domain(address: str) -> str:
    with suppress(BadAddress):
        return Address.parse(Channel.EMAIL, address).value.rpartition("@")[2]
    return ""


def _aligned(message: Message, domains: set[str]) -> Iterator[Finding]:
    fields = _fields(message, "From")
    if len(fields) != 1:
        yield _error(
            f"There are {len(fields)} From fields: a message has one.", "RFC 5322 section 3.6"
        )
        return
    sender = next((_domain(address) for _, address in getaddresses(fields)), "")
    if not sender:
        yield _error("From holds no address.", "RFC 5322 section 3.6.2")
    elif domains:
        shared = max(_shared(sender, domain) for domain in domains)
        if shared == _SIBLINGS:
            yield _note(
                "The domains of From and of the signature (d=) are neighbours: DMARC takes them "
                "for aligned if one organisation owns what they share, which is not looked up here."
            )
        elif shared == _STRANGERS:
            yield _warning(
                "No signature is of From's own domain (d=), so DKIM does not count for DMARC, and "
                "all rests on SPF.",
                "Gmail, Yahoo, RFC 7489 section 3.1.1",
            )


_STRANGERS, _SIBLINGS, _SAME = range(3)


def _shared(one: str, other: str) -> int:
    """How near two domains are. Whether neighbours are one organisation, only a list tells."""
    if one == other or one.endswith(f".{other}") or other.endswith(f".{one}"):
        return _SAME if one and other else _STRANGERS
    alike = one.split(".")[-2:] == other.split(".")[-2:]
    return _SIBLINGS if alike else _STRANGERS


# --- the link ---

_URL_SAFE = re.compile(r"[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]*")


def _link(
    message: Message,
    links: list[BodyLink],
    opened: Installation | None,
    recipient: Address | None,
) -> Iterator[Finding]:
    fields = _fields(message, "List-Unsubscribe")
    urls = [uri for field in fields[:1] for scheme, uri in _uris(field) if scheme[:4] == "http"]
    if not urls:
        return
    url = urls[0]
    if len(url) > 200:
        yield _warning(
            f"The link has {len(url)} characters: over 200, some programs fold or cut it."
        )
    if not _URL_SAFE.fullmatch(url):
        yield _warning(
            "The link holds characters that stand in no URL: percent-encode them.", "RFC 3986"
        )
    try:
        at = urlsplit(url)
    except ValueError:
        at = urlsplit("")
    if not at.hostname:
        yield _error("The link is no URL: it names no host.", ONE_CLICK)
        return
    if not at.path.strip("/") and not at.query:
        yield _error("The link tells neither recipient nor list: it is a bare host.", ONE_CLICK)
        return
    if opened is None:
        yield _note("Only the link's form was checked: no installation of prefs was found here.")
        return
    path = path_here(url, opened.settings.public_url)
    if path is not None:
        yield from _own_link(path, message, opened, recipient)
    elif _wraps(url, opened.settings.public_url):
        yield _error(
            "The link goes through somebody's click tracker, which answers a POST with a "
            "redirect: exempt it from click tracking.",
            ONE_CLICK,
        )
    elif any(_is_ours(link.url, opened) for link in links):
        yield _warning(
            "The body holds links of this installation, and List-Unsubscribe leads elsewhere: if "
            "that is a click tracker or your provider's own list, the no does not come here."
        )
    else:
        yield _note(
            f"The link is of another service than {opened.settings.public_url}: only its form "
            "could be checked."
        )


def _wraps(url: str, public_url: str) -> bool:
    base = urlsplit(public_url)
    for _ in range(3):
        url = unquote(url)
    return f"{base.netloc}{base.path}/u/" in url


def _own_link(
    path: str, message: Message, opened: Installation, recipient: Address | None
) -> Iterator[Finding]:
    door, _, token = path.strip("/").partition("/")
    if door == "p" or (door == "u" and _opens(opened, token, Action.PREFERENCES)):
        yield _error(
            "The link is a preference link, which asks what to change: the unsubscribe link "
            "(/u/…) belongs here.",
            "Gmail",
        )
        return
    claim = _opens(opened, token, Action.UNSUBSCRIBE) if door == "u" else None
    if claim is None:
        yield _error(
            "The link leads to this installation and does not open: it is not whole, or signed "
            "with a key that is not here."
        )
        return
    try:
        tenant = opened.directory.find(lambda known: known.tenants.get(claim.tenant))
    except Unavailable:
        yield _note("Whose the link is could not be looked up: the database cannot be reached.")
        return
    if tenant is None or tenant.whole(claim.scope) is None:
        yield _error("The link is about a topic, brand or tenant that is not here.")
    elif claim.channel is not Channel.EMAIL:
        yield _error(f"The link was made for {claim.channel}, not for email.")
    else:
        addresses = {recipient} if recipient else _recipients(message)
        if not addresses:
            yield _warning("The message does not tell whom it is for: give --to ADDRESS.")
        elif claim.digest not in {tenant.digest(address) for address in addresses}:
            yield _error(
                "The link is of another person than the message's recipient: one of them cannot "
                "leave, and would take the other out.",
                ONE_CLICK,
            )


def _opens(opened: Installation, token: str, action: Action) -> Claim | None:
    with suppress(BadLink):
        return opened.links.open(token, action)
    return None


def _recipients(message: Message) -> set[Address]:
    names = ("To", "Cc", "Bcc", "Delivered-To", "X-Original-To")
    fields = [field for name in names for field in _fields(message, name)]
    found = set()
    for _, address in getaddresses(fields):
        with suppress(BadAddress):
            found.add(Address.parse(Channel.EMAIL, address))
    return found


# --- List-Id ---

_WORD = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LIST_ID = re.compile(rf"[^<>]*<({_WORD}(?:\.{_WORD})+)>\s*(?:\([^()]*\)\s*)?")


def _list_id(message: Message) -> Iterator[Finding]:
    fields = _fields(message, "List-Id")
    if not fields:
        yield _warning(
            "There is no List-Id field: programs cannot tell one list of yours from another.",
            "RFC 2919",
        )
    elif len(fields) > 1:
        yield _warning(f"There are {len(fields)} List-Id fields: keep one.", "RFC 2919 section 3")
    elif not (found := _LIST_ID.fullmatch(fields[0].strip())) or len(found[1]) > 255:
        yield _warning("List-Id is malformed: write Name <list.example.com>.", "RFC 2919 section 3")


# --- the body ---


# What the link is called, in the languages that most mail is in; parts of words.
_LEAVE = re.compile(
    "unsubscri|opt[- ]?out|preference|abmeld|abbestell|désabonn|désinscri|baja|desuscri|disiscri"
    "|annulla|afmeld|uitschrij|avregistr|avprenumer|frameld|descadastr|cancelar|wypis|odhlás"
    "|отпис|відпис|配信停止|退订|退訂|取消订阅|수신거부|abonelik|إلغاء"
)
_NEAR = 200
_IN_TEXT = re.compile(r"https?://[^\s<>\"']+", re.IGNORECASE)


def _links(message: Message) -> Iterator[BodyLink]:
    """The links that a reader of the message sees, with the words around them."""
    for part in message.walk():
        if part.get_content_maintype() == "text" and part.get_content_disposition() != "attachment":
            text = _text(part)[:MEGABYTE]
            if part.get_content_subtype() == "html":
                text = _flat(text)
            for found in _IN_TEXT.finditer(text):
                around = text[max(0, found.start() - _NEAR) : found.end() + _NEAR]
                yield BodyLink(found[0].rstrip(".,;:!?)]"), around)


def _text(part: Message) -> str:
    content = part.get_payload(decode=True)
    if not isinstance(content, bytes):
        return ""
    try:
        return content.decode(part.get_content_charset() or "utf-8", "replace")
    except (LookupError, ValueError):
        return content.decode("utf-8", "replace")


_TAG = re.compile(r"(<[^<>]*>)")
_HREF = re.compile(r"""<a\s(?:.*\s)?href\s*=\s*["']?([^"'\s>]+)""", re.IGNORECASE | re.DOTALL)


def _flat(html: str) -> str:
    """The text of a page with its links' targets in place.

    Not by ``html.parser``, which raises on some junk and takes quadratic time on other.
    """
    flat, unseen = [], ""
    for piece in _TAG.split(html):
        name = piece[1:8].lower()
        if unseen:
            unseen = "" if name.startswith(f"/{unseen}") else unseen
        elif name.startswith(("style", "script")) and piece.startswith("<"):
            unseen = "style" if name.startswith("style") else "script"
        elif not piece.startswith("<"):
            flat.append(unescape(piece))
        elif found := _HREF.match(piece):
            flat.append(f" {unescape(found[1])} ")
    return "".join(flat)


def _is_ours(url: str, opened: Installation | None) -> bool:
    path = path_here(url, opened.settings.public_url) if opened else None
    return path is not None and path.startswith(("/u/", "/p/"))


def _body(links: list[BodyLink], opened: Installation | None) -> Iterator[Finding]:
    if not any(
        _is_ours(link.url, opened)
        or (link.url[:6].lower() == "https:" and _LEAVE.search(link.near.casefold()))
        for link in links
    ):
        yield _warning(
            "The text holds no link to unsubscribe or to choose that a reader would see.",
            "Gmail, Yahoo",
        )
