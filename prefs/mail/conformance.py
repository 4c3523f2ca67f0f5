"""Whether a one-click link answers as RFC 8058 and the mailbox providers want it to.

It speaks to the link as a provider does: no cookie, no login, no redirect followed. Every
answer is read to a limit and within a time, so that no server can hold the one who asks.
"""

import io
import re
import socket
import ssl
import time
from collections.abc import Iterator
from enum import StrEnum
from http.client import HTTPException, HTTPMessage, HTTPResponse
from ipaddress import ip_address
from typing import NamedTuple, cast
from urllib.parse import SplitResult, urljoin, urlsplit

from prefs import ledger
from prefs.database import Unavailable
from prefs.installation import Installation
from prefs.links import Action, BadLink, Claim
from prefs.mail import path_here
from prefs.policy import Standing, Voice
from prefs.settings import MEGABYTE

SLOW = 10
"""Seconds after which an answer is called slow."""


class BadUrl(ValueError):
    """No request can be made of it; the message says what to change and never repeats it."""


class Verdict(StrEnum):
    OK = "ok"
    FAIL = "FAIL"
    NOTE = "note"


class Line(NamedTuple):
    """One thing that was looked at, and what was found."""

    verdict: Verdict
    name: str
    reason: str


def _ok(name: str, reason: str) -> Line:
    return Line(Verdict.OK, name, reason)


def _fail(name: str, reason: str) -> Line:
    return Line(Verdict.FAIL, name, reason)


def _note(name: str, reason: str) -> Line:
    return Line(Verdict.NOTE, name, reason)


def parsed(url: str) -> SplitResult:
    """Raises ``BadUrl``."""
    # Anything else could end the request line, and begin a line of its own.
    if not re.fullmatch(r"[!-~]+", url):
        raise BadUrl("the link is printable ASCII without spaces; percent-encode the rest")
    try:
        at = urlsplit(url)
        known = at.scheme in ("http", "https") and at.hostname and at.port != 0
    except ValueError:
        known = None
    if not known:
        raise BadUrl("the link begins with https:// and a host")
    if at.username is not None:
        raise BadUrl("the link holds a name or a password, and providers send none")
    return at


# --- one question and its answer ---

FIELD = b"List-Unsubscribe=One-Click"
# RFC 8058 section 8.3, to the byte.
PARTS = (
    b"---FormBoundaryjWmhtjORrn\r\n"
    b'Content-Disposition: form-data; name="List-Unsubscribe"\r\n'
    b"\r\n"
    b"One-Click\r\n"
    b"---FormBoundaryjWmhtjORrn--"
)
URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data; boundary=-FormBoundaryjWmhtjORrn"
_POSTS = (
    ("POST, urlencoded", FIELD, URLENCODED),
    ("POST, multipart", PARTS, MULTIPART),
    ("POST again", FIELD, URLENCODED),
)


class NoAnswer(Exception):
    """What came instead of an answer."""


class Answer(NamedTuple):
    status: int
    headers: HTTPMessage
    body: bytes
    seconds: float


class _Deadline(io.RawIOBase):
    """Reads from a socket until a moment, however slowly it trickles."""

    def __init__(self, line: socket.socket, end: float) -> None:
        self._line = line
        self._end = end

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        self._line.settimeout(_left(self._end))
        return self._line.recv_into(buffer)

    def makefile(self, mode: str) -> io.BufferedReader:
        return io.BufferedReader(self)


def _left(end: float) -> float:
    left = end - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


class Asking(NamedTuple):
    """The link, and how long each answer may take."""

    at: SplitResult
    timeout: float

    @property
    def target(self) -> str:
        return (self.at.path or "/") + (f"?{self.at.query}" if self.at.query else "")

    def __call__(
        self,
        method: str,
        body: bytes | None = None,
        content_type: str = URLENCODED,
        target: str | None = None,
    ) -> Answer:
        """Raises ``NoAnswer``."""
        head = (
            f"{method} {target or self.target} HTTP/1.1\r\nHost: {self.at.netloc}\r\n"
            "User-Agent: prefs-mail-conformance\r\nAccept: text/html, */*\r\nConnection: close\r\n"
        )
        if body is not None:
            head += f"Content-Type: {content_type}\r\nContent-Length: {len(body)}\r\n"
        begun = time.monotonic()
        end = begun + self.timeout
        try:
            with self._connected(end) as line:
                line.settimeout(_left(end))
                line.sendall(f"{head}\r\n".encode() + (body or b""))
                reader = cast(socket.socket, _Deadline(line, end))
                with HTTPResponse(reader, method=method) as response:
                    response.begin()
                    content = response.read(MEGABYTE + 1)
                    seconds = time.monotonic() - begun
                    return Answer(response.status, response.headers, content, seconds)
        except ssl.SSLCertVerificationError as error:
            raise NoAnswer(f"the TLS certificate is not trusted: {error.verify_message}") from None
        except TimeoutError:
            raise NoAnswer(f"no whole answer within {self.timeout:g} seconds") from None
        except HTTPException:
            raise NoAnswer("what came is not HTTP, or broke off") from None
        except socket.gaierror:
            raise NoAnswer("the host's name is not known") from None
        except (OSError, ValueError) as error:
            kind = getattr(error, "strerror", None) or type(error).__name__
            raise NoAnswer(f"the connection failed: {kind}") from None

    def _connected(self, end: float) -> socket.socket:
        secure = self.at.scheme == "https"
        host, port = self.at.hostname or "", self.at.port or (443 if secure else 80)
        failed: OSError = TimeoutError()
        for *_, place in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            try:
                line = socket.create_connection((str(place[0]), port), timeout=_left(end))
            except OSError as error:
                failed = error
                continue
            if not secure:
                return line
            try:
                line.settimeout(_left(end))
                return ssl.create_default_context().wrap_socket(line, server_hostname=host)
            except BaseException:
                line.close()
                raise
        raise failed


# --- what is looked at ---

_PAGE = 200_000
_FORM = re.compile(rb"<form\b[^>]{0,1000}?\bmethod\s{0,9}=\s{0,9}[\"']?post\b", re.IGNORECASE)
_PASSWORD = re.compile(
    rb"<input\b[^>]{0,1000}?\btype\s{0,9}=\s{0,9}[\"']?password\b", re.IGNORECASE
)
_LOGIN = re.compile(r"log[-_]?in|sign[-_]?in|/(?:o?auth|sso)\b", re.IGNORECASE)


def conformance(
    at: SplitResult, timeout: float, opened: Installation | None = None
) -> Iterator[Line]:
    """Asks the link all that can be asked, and UNSUBSCRIBES whom it is for.

    ``opened`` is the installation that the link is of, if that is this one.
    """
    ask = Asking(at, timeout)
    witness = _Witness.of(at, opened) if opened else None
    yield _scheme(at)
    try:
        page = ask("GET")
    except NoAnswer as error:
        yield _fail("GET shows a page", f"{error}; nothing else was tried")
        return
    if page.status in (404, 410):
        yield _fail("GET shows a page", f"there is no such link ({page.status}); copy all of it")
        return
    yield from _opening(page, ask)
    if witness:
        yield witness.unchanged("GET, HEAD and OPTIONS change nothing")
    elif opened:
        yield _fail(
            "the link",
            "it leads to this installation and is no unsubscribe link of it: nobody leaves by it",
        )
    else:
        yield _note(
            "GET changes nothing",
            "cannot be seen from outside: see in the service's records that opening the link did "
            "not unsubscribe, for scanners open every link (RFC 8058 section 1)",
        )
    yield _forged(ask)
    if witness:
        yield witness.unchanged("a changed link changes nothing")
    answers = [page]
    for name, body, content_type in _POSTS:
        try:
            answers.append(ask("POST", body, content_type))
        except NoAnswer as error:
            yield _fail(name, f"{error}; nothing else was tried")
            return
        yield _posted(name, answers[-1], page, at)
        if witness and len(answers) == 2:
            yield witness.left()
    yield _cookies(answers[1:])
    yield _tolerated("POST, a > glued to the link", ask, FIELD, f"{ask.target}%3E")
    yield _tolerated("POST, empty body", ask, b"", None)
    yield from _long(answers)


def _scheme(at: SplitResult) -> Line:
    if at.scheme == "https":
        return _ok("https", "the link is https (RFC 8058 section 3.1)")
    if is_loopback(at.hostname or ""):
        return _note(
            "https",
            "it is http, allowed here for this machine's own address; a provider wants https (RFC "
            "8058 section 3.1)",
        )
    return _fail("https", "the link is http; one-click links are https (RFC 8058 section 3.1)")


def is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _opening(page: Answer, ask: Asking) -> Iterator[Line]:
    shown = _shows(page, ask.at)
    yield shown
    if shown.verdict is Verdict.OK:
        yield _button(page)
    for method in ("HEAD", "OPTIONS"):
        yield _harmless(method, ask, page)


def _shows(page: Answer, at: SplitResult) -> Line:
    name = "GET shows a page"
    if 300 <= page.status < 400:
        return _fail(
            name, f"{_redirect(page, at)}; it was not followed. People need one page, without login"
        )
    if page.status in (401, 403) or "WWW-Authenticate" in page.headers:
        return _fail(
            name,
            f"it asks who is there ({page.status}): leaving takes no login (16 CFR 316.5, Yahoo)",
        )
    if page.status != 200:
        return _fail(name, f"it answers {page.status}, not 200")
    if page.headers.get_content_type() not in ("text/html", "application/xhtml+xml"):
        return _fail(name, "what it answers is not HTML")
    if _PASSWORD.search(page.body[:_PAGE]):
        return _fail(
            name, "the page asks for a password: leaving takes no login (16 CFR 316.5, Yahoo)"
        )
    if "Set-Cookie" in page.headers:
        return _ok(name, "200, HTML; it sets a cookie, which no provider sends back")
    return _ok(name, "200, HTML")


def _redirect(answer: Answer, at: SplitResult) -> str:
    """What a redirect is like, without repeating where it leads: that may hold the token."""
    try:
        to = urlsplit(urljoin(at.geturl(), answer.headers.get("Location", "")))
    except ValueError:
        return f"it redirects ({answer.status})"
    if to.netloc == at.netloc and to.path.strip("/") == at.path.strip("/") != to.path:
        kind = "to the same link with another slash at its end"
    elif _LOGIN.search(to.path):
        kind = "to a login"
    elif to.scheme != at.scheme:
        kind = f"to {to.scheme}" if to.scheme in ("http", "https") else "elsewhere"
    else:
        kind = "to another host" if to.netloc != at.netloc else "to another page"
    return f"it redirects {kind} ({answer.status})"


def _button(page: Answer) -> Line:
    name = "the page has a button"
    if _FORM.search(page.body[:_PAGE]):
        return _ok(name, "a form with method post")
    return _fail(
        name,
        "no form with method post was found: people cannot leave there, or opening alone "
        "unsubscribes, and scanners open every link",
    )


def _harmless(method: str, ask: Asking, page: Answer) -> Line:
    try:
        answer = ask(method)
    except NoAnswer as error:
        return _note(method, str(error))
    if answer.status >= 500:
        return _fail(method, f"it fails ({answer.status})")
    if method == "HEAD" and answer.status != page.status:
        return _note(
            method, f"it answers {answer.status} where GET answers {page.status} (RFC 9110 9.3.2)"
        )
    return _ok(method, f"it answers {answer.status}")


def _posted(name: str, answer: Answer, page: Answer, at: SplitResult) -> Line:
    status = answer.status
    cookie = (
        "; the page sets a cookie, and if the POST needs it, no provider has it"
        if "Set-Cookie" in page.headers
        else ""
    )
    if 300 <= status < 400:
        return _fail(
            name,
            f"{_redirect(answer, at)}; the answer to the POST must be no redirect (RFC 8058 "
            "section 3.1)",
        )
    if status in (401, 403) or "WWW-Authenticate" in answer.headers:
        return _fail(
            name,
            f"it asks who is there ({status}): the POST comes without login and cookie{cookie} "
            "(RFC 8058 section 3.2)",
        )
    if status == 405:
        return _fail(name, "it does not take a POST (405) (RFC 8058 section 3.1)")
    if status >= 500:
        return _fail(name, f"it fails ({status})")
    if not 200 <= status < 300:
        return _fail(
            name,
            f"it refuses ({status}): the link alone must do, without any other field, token or "
            f"cookie{cookie} (RFC 8058 section 3.1)",
        )
    if _PASSWORD.search(answer.body[:_PAGE]):
        return _fail(name, "the answer asks for a password (RFC 8058 section 3.2)")
    section = "3.2; encoded as in 8.3" if "multipart" in name else "3.1"
    return _ok(name, f"{status}, no redirect (RFC 8058 section {section})")


def _cookies(answers: list[Answer]) -> Line:
    if any("Set-Cookie" in answer.headers for answer in answers):
        return _note(
            "no cookie",
            "an answer to POST sets a cookie, which never comes back: providers send none (RFC "
            "8058 section 3.2)",
        )
    return _ok("no cookie", "none was sent and none was set (RFC 8058 section 3.2)")


def _long(answers: list[Answer]) -> Iterator[Line]:
    slowest = max(answer.seconds for answer in answers)
    if slowest > SLOW:
        yield _note(
            "time",
            f"the slowest answer took {slowest:.0f} seconds; how long a provider waits is "
            "documented nowhere",
        )
    if any(len(answer.body) > MEGABYTE for answer in answers):
        yield _note("size", "an answer is over 1 MB; the rest was not read")


def _tolerated(name: str, ask: Asking, body: bytes, target: str | None) -> Line:
    try:
        answer = ask("POST", body, target=target)
    except NoAnswer as error:
        return _note(name, str(error))
    taken = "taken" if 200 <= answer.status < 300 else "not taken"
    return _note(name, f"{taken} ({answer.status}); RFC 8058 asks for neither")


# --- forging ---

_ESCAPE = re.compile(r"%[0-9A-Fa-f]{2}")


def _longest(target: str) -> tuple[int, int]:
    pieces = [found.span() for found in re.finditer(r"[^/?&=;]+", target)]
    return max(pieces, key=lambda span: (span[1] - span[0], span[0]), default=(0, 0))


def changed(target: str) -> str | None:
    """The target with one character changed in the middle of its longest piece.

    None where that piece is so easily guessed that the change may be somebody else's link.
    """
    start, end = _longest(target)
    piece = target[start:end]
    if len(piece) < 6 or piece.isdigit():
        return None
    escaped = {at for found in _ESCAPE.finditer(piece) for at in range(*found.span())}
    middle = len(piece) // 2
    for at in sorted(range(len(piece)), key=lambda at: abs(at - middle)):
        if at not in escaped and piece[at].isalnum():
            return target[: start + at] + _other(piece[at]) + target[start + at + 1 :]
    return None


def _other(character: str) -> str:
    """Another of its kind: a digit stays a digit, and what may be hexadecimal stays so."""
    for kind in ("0123456789", "abcdef", "ABCDEF"):
        if character in kind:
            return kind[(kind.index(character) + 1) % len(kind)]
    return {"z": "y", "Z": "Y"}.get(character) or chr(ord(character) + 1)


def _forged(ask: Asking) -> Line:
    name = "a changed link is refused"
    target = changed(ask.target)
    if target is None:
        return _fail(
            name,
            "the link's longest piece is short or a number, and so easily guessed; a changed one "
            "was not tried, for it may be another person's (RFC 8058 section 3.1)",
        )
    try:
        answer = ask("POST", FIELD, target=target)
    except NoAnswer as error:
        return _note(name, str(error))
    if 200 <= answer.status < 300:
        return _fail(
            name,
            f"with one character changed in its longest piece the POST is taken ({answer.status}): "
            "the link should be hard to forge, and be verified (RFC 8058 section 3.1)",
        )
    if answer.status >= 500:
        return _fail(name, f"with one character changed it fails ({answer.status})")
    return _ok(name, f"{answer.status} (RFC 8058 section 3.1)")


# --- our own link ---


class _Witness:
    """Looks in the database at the one whom a link of this installation is for."""

    def __init__(self, opened: Installation, claim: Claim) -> None:
        self._opened = opened
        self._claim = claim
        self._before = self._standing()

    @classmethod
    def of(cls, at: SplitResult, opened: Installation) -> "_Witness | None":
        """Raises ``Unavailable``."""
        path = path_here(at.geturl(), opened.settings.public_url) or ""
        try:
            claim = opened.links.open(path.removeprefix("/u/").strip("/"), Action.UNSUBSCRIBE)
        except BadLink:
            return None
        return cls(opened, claim)

    def _standing(self) -> Standing:
        with self._opened.database.reading() as connection:
            return ledger.known(connection, self._claim.tenant, self._claim.digest).standing

    def unchanged(self, name: str) -> Line:
        try:
            now = self._standing()
        except Unavailable:
            return _note(name, "the database could not be read")
        before, self._before = self._before, now
        if now != before:
            return _fail(name, f"the database holds a new event, number {now.seq}")
        return _ok(name, "the database holds no new event")

    def left(self) -> Line:
        name = "the POST is recorded"
        try:
            now = self._standing()
        except Unavailable:
            return _note(name, "the database could not be read")
        tenant = self._opened.directory.latest.tenants.get(self._claim.tenant)
        scope = tenant.whole(self._claim.scope) if tenant else None
        for out in now.outs:
            if out.voice is Voice.PERSON and out.seq > self._before.seq and out.scope == scope:
                return _ok(name, f"the database holds it as event {out.seq}")
        return _fail(name, "the database holds no new word of this person")
