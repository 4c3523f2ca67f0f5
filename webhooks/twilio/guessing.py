"""Which URL Twilio signed, where it is not the one we are known by. Pure.

A proxy that speaks another scheme, a port or a path that it takes off, or a spelling in Twilio's
console: every request is signed then, and every one is refused.
"""

import re
from collections.abc import Iterator
from itertools import product
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

from werkzeug.datastructures import Headers

MOST = 200
"""URLs that are tried. Each costs two HMACs, and anybody can send a request that is not signed."""

_HOST = re.compile(r"([A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}))(?::([0-9]{1,5}))?")
_PORT = re.compile(r"[0-9]{1,5}")
_PREFIX = re.compile(r"(?:/[A-Za-z0-9._~-]{1,64}){1,8}")

OTHER_PORTS = ("8443", "8080", "8000")
"""A proxy that is told no port hears of none, so those that one often listens on are tried too."""


def likely_urls(public_url: str, path: str, query: str, headers: Headers) -> tuple[str, ...]:
    """URLs that may lead to ``path`` here, the likeliest first, and none of them twice.

    ``public_url`` is what we are configured with. Twilio's validator takes each with and without
    the scheme's own port, so :443 and :80 are not tried again. No fragment: it is never signed.
    """
    known = urlsplit(public_url)
    ways = (
        _each(known.scheme, "https", "http"),
        _each(*_hosts(known.netloc, headers)),
        _each(known.path, "", *_prefixes(headers)),
        ("", "/"),
        _each(*_spellings(query)),
    )
    # Those first that differ in the fewest ways from what is configured.
    chosen = sorted(
        product(*(range(len(way)) for way in ways)), key=lambda picks: sum(map(bool, picks))
    )
    urls = []
    for picks in chosen[:MOST]:
        scheme, host, prefix, slash, asked = (
            way[pick] for way, pick in zip(ways, picks, strict=True)
        )
        urls.append(f"{scheme}://{host}{prefix}{path}{slash}" + (f"?{asked}" if asked else ""))
    return _each(*urls)


def shown(url: str) -> str:
    """A URL without its query, which may hold a number."""
    return urlsplit(url)._replace(query="", fragment="").geturl()


def _each(*texts: str) -> tuple[str, ...]:
    return tuple(dict.fromkeys(texts))


def _hosts(configured: str, headers: Headers) -> Iterator[str]:
    """Hosts with their ports: as configured, as the request and the proxies have it."""
    yield configured
    said = [
        found
        for name in ("Host", "X-Forwarded-Host")
        for part in headers.get(name, "").split(",")[:3]
        if (found := _HOST.fullmatch(part.strip())) and int(found[2] or 0) < 65_536
    ]
    for found in said:
        yield found[0]
    names = _each(configured.partition(":")[0], *(found[1] for found in said))
    yield from names
    forwarded = [
        port
        for part in headers.get("X-Forwarded-Port", "").split(",")[:3]
        if _PORT.fullmatch(port := part.strip()) and int(port) < 65_536
    ]
    for port in (configured.partition(":")[2], *forwarded, *OTHER_PORTS):
        if port:
            for name in names:
                yield f"{name}:{port}"


def _prefixes(headers: Headers) -> Iterator[str]:
    """Paths that a proxy says it has taken off."""
    for name in ("X-Forwarded-Prefix", "X-Script-Name"):
        prefix = headers.get(name, "").strip().rstrip("/")
        if _PREFIX.fullmatch(prefix):
            yield prefix


def _spellings(query: str) -> Iterator[str]:
    """The query as it came, without it, and as a proxy may have written it anew."""
    yield query
    yield ""
    if query:
        parts = parse_qsl(query, keep_blank_values=True)
        yield urlencode(parts)
        yield urlencode(parts, quote_via=quote)
        yield unquote(query)
        yield re.sub("%[0-9A-Fa-f]{2}", lambda code: code[0].lower(), query)
        yield re.sub("%[0-9A-Fa-f]{2}", lambda code: code[0].upper(), query)


def mend(signed: str, public_url: str, path: str) -> str:
    """What to change, in a sentence, for Twilio to sign what is configured."""
    ours = f"{public_url}{path}"
    base = signed.removesuffix("/").removesuffix(path)
    at_twilio = f"enter {ours}#rc=5&rp=all at Twilio"
    if base == public_url or signed.startswith("http://"):
        return at_twilio
    return (
        f"{at_twilio}; or, if {base} is where people reach prefs, set PREFS_PUBLIC_URL={base} "
        "for the server and the commands, and start it again"
    )
