"""The plain single check, answered in front of Flask, and a seat for all that may wait.

Campaigns ask it once for every message, and Flask's own work costs more than the answer.
What is in any way out of the ordinary (no key, an odd body, an unknown topic, the store away)
goes on to Flask, whose view of the same question is the one that explains; a test holds the
two alike.
"""

from collections.abc import Callable, Iterable
from contextlib import suppress
from io import BytesIO
from queue import Empty, SimpleQueue
from time import monotonic
from typing import Any, NamedTuple

import orjson
from werkzeug.datastructures import LanguageAccept
from werkzeug.http import parse_accept_header

from prefs import languages
from prefs.check import Held, Question, look_up, question
from prefs.database import Unavailable
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.languages import Language
from prefs.policy import Millis
from prefs.serve import THREADS
from prefs.web.check import shown_decision
from prefs.web.door import Problem, headers_of_all, shown_key, strict_json

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

LONGEST_BODY = 16_384
FOR_SENDERS, FOR_PEOPLE, FOR_TEXTS = 20, 8, THREADS - 32
"""How many requests of a worker may be at what can wait for a disk, a lock or a peer: senders'
asking, what people say, and what providers tell of texts, which is written many at a time. The
threads beyond them are for transactional, which waits for nothing."""
PEOPLES_PAGES = ("/u/", "/l/", "/p/", "/c/", "/s/", "/lost/", "/code")
PEOPLES_DOORS = (*PEOPLES_PAGES, "/d/", "/v1/preferences", "/v1/devices")
PROVIDERS_DOOR = "/webhooks/"
PATIENCE = 0.05
"""Seconds without anybody getting up after which nobody waits for a seat any longer."""


class Seats:
    """So many at a time. Others wait while those go on, and not when all are stuck."""

    def __init__(self, number: int) -> None:
        # A queue of C, where a semaphore of the standard library is one of Python.
        self._free: SimpleQueue[None] = SimpleQueue()
        for _ in range(number):
            self._free.put(None)
        self._left_at = 0.0

    def take(self) -> bool:
        try:
            self._free.get_nowait()
        except Empty:
            return self._wait()
        return True

    def _wait(self) -> bool:
        while True:
            with suppress(Empty):
                self._free.get(timeout=PATIENCE)
                return True
            if monotonic() - self._left_at > PATIENCE:
                return False

    def leave(self) -> None:
        self._left_at = monotonic()
        self._free.put(None)


def before(flask: Application, opened: Installation) -> Application:
    """``flask``, and before it the shortcut."""
    headers = [("Content-Type", "application/json"), *headers_of_all(opened).items()]
    for_senders, for_people, for_texts = map(Seats, (FOR_SENDERS, FOR_PEOPLE, FOR_TEXTS))

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        plain = None
        if path == "/v1/check" and environ["REQUEST_METHOD"] == "POST":
            plain = _plain(opened, environ)
        at_once = path == "/healthz" or (plain is not None and plain.asked.address is None)
        seats = for_people if path.startswith(PEOPLES_DOORS) else for_senders
        if path.startswith(PROVIDERS_DOOR):
            seats = for_texts
        if not at_once and not seats.take():
            if plain is None or not plain.asked.always_passes:
                return _full(environ, start_response, headers[1:])
            # Its notes would have to be looked up; it passes without them.
            plain, at_once = plain.without_notes(), True
        try:
            answered = _answer(opened, plain) if plain is not None else None
            if answered is None:
                return flask(environ, start_response)
            start_response("200 OK", [*headers, ("Content-Length", str(len(answered)))])
            return [answered]
        finally:
            if not at_once:
                seats.leave()

    return application


class Plain(NamedTuple):
    """A check that is in every way ordinary."""

    tenant: Tenant
    asked: Question
    now: Millis

    def without_notes(self) -> "Plain":
        return self._replace(asked=self.asked._replace(address=None))


def _plain(opened: Installation, environ: Environ) -> Plain | None:
    directory, now = opened.directory.latest, opened.clock()
    key = shown_key(directory, environ.get("HTTP_AUTHORIZATION", ""), now)
    if key is None or "check" not in key.scopes:
        return None
    length = environ.get("CONTENT_LENGTH") or ""
    if (
        environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower() != "application/json"
        or "HTTP_CONTENT_ENCODING" in environ
        or not length.isdigit()
        or int(length) > LONGEST_BODY
    ):
        return None
    body = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = BytesIO(body)
    tenant = directory.tenants[key.tenant_id]
    try:
        return Plain(tenant, question(tenant, strict_json(body)), now)
    except (Problem, Held):
        return None


def _answer(opened: Installation, plain: Plain) -> bytes | None:
    try:
        decision = look_up(opened.database, *plain)
    except (Held, Unavailable):
        return None
    shown = shown_decision(plain.tenant, decision)
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)


def _full(environ: Environ, start_response: Any, headers: list[tuple[str, str]]) -> Iterable[bytes]:
    """Nothing was done. Said in as few bytes as a person or a program needs."""
    if environ["PATH_INFO"].startswith(PEOPLES_PAGES):
        language = _language(environ)
        kind, text = "text/html; charset=utf-8", _try_again(language)
        headers = [*headers, ("Content-Language", language.code)]
    else:
        kind, text = "application/problem+json", _BUSY
    start_response(
        "503 Service Unavailable",
        [
            ("Content-Type", kind),
            *headers,
            ("Content-Length", str(len(text))),
            ("Retry-After", "1"),
        ],
    )
    return [text]


def _language(environ: Environ) -> Language:
    accepted = parse_accept_header(environ.get("HTTP_ACCEPT_LANGUAGE", ""), LanguageAccept)
    wanted = [code for code, quality in accepted if quality]
    return languages.best(wanted) or languages.of(None)


def _try_again(language: Language) -> bytes:
    heading = language.say("Please try again")
    advice = language.say(
        "We cannot read or store what you want at this moment. Nothing has changed yet."
    )
    return (
        f'<!doctype html><html lang="{language.code}" dir="{language.direction}">'
        '<meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{heading}</title><main><h1>{heading}</h1><p>{advice}</p></main></html>"
    ).encode()


_BUSY = orjson.dumps(
    {
        "type": "about:blank",
        "title": "Service Unavailable",
        "status": 503,
        "detail": "Too much is waiting; nothing was changed. Send the same request again.",
        "allowed": False,
        "decision": "hold",
        "reason": "state_unknown",
    }
)
