"""Who may come in, the transaction of a request, and how errors are told.

A view opens what came in, calls one verb and answers. It is guarded (``guarded``) or its
endpoint is on the list ``PUBLIC``; a test holds every route to that.
"""

import hashlib
import json
import os
import re
import traceback
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from functools import wraps
from http import HTTPStatus
from math import isinf
from typing import Any, NoReturn, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

import orjson
from flask import Flask, Response, current_app, g, request
from sqlalchemy import Connection, select
from werkzeug.exceptions import HTTPException
from werkzeug.middleware.proxy_fix import ProxyFix

from prefs import database, tables
from prefs.address import BadAddress
from prefs.check import named
from prefs.database import Unavailable
from prefs.directory import BadEntry, Directory, Key, Taken, Tenant, Unknown
from prefs.installation import Installation
from prefs.policy import BadEvent, Millis

PUBLIC = frozenset(
    {
        "static",
        "leave.show_leave",
        "leave.leave",
        "leave.show_short",
        "leave.leave_short",
        "choose.show_preferences",
        "choose.save_preferences",
        "choose.show_code",
        "choose.use_code",
        "join.show_form",
        "join.sign_up",
        "join.show_question",
        "join.answer_question",
        "join.show_lost",
        "join.send_link",
        "device.show_switches",
        "device.press_switch",
        "inbound.receive",
        "preview.show_all",
        "preview.make_code",
        "preview.show_fault",
        "openapi.document",
        "openapi.home",
        "openapi.docs",
        "health.alive",
        "health.ready",
    }
)
"""The routes that need no API key: a link's token or a provider's signature guards them, or
they tell nothing about anybody, whatever is typed in."""

KEEP_ANSWERS_FOR: Millis = 7 * 24 * 3600 * 1000
"""How long an ``Idempotency-Key`` is remembered."""

P = ParamSpec("P")
T = TypeVar("T")


def installation() -> Installation:
    return cast(Installation, current_app.extensions["prefs"])


def now() -> Millis:
    return installation().clock()


def evidence() -> dict[str, str]:
    """What a browser or mail program shows of itself, kept beside what was said."""
    shown = {"ip": request.remote_addr, "user_agent": request.headers.get("User-Agent")}
    return {name: text[:500] for name, text in shown.items() if text}


# --- who may come in ---

_BEARER = re.compile(r"(?i:bearer) +prefs_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")


def guarded(*scopes: str) -> Callable[[Callable[P, T]], Callable[P, T]]:
    """Lets in requests whose API key carries one of ``scopes``; any key where none is named."""

    def guard(view: Callable[P, T]) -> Callable[P, T]:
        @wraps(view)
        def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
            enter(scopes)
            try:
                return view(*args, **kwargs)
            except Unknown:
                # Another worker may have made it a moment ago.
                seen = tenant()
                installation().directory.refresh()
                if enter(scopes) is seen:
                    raise
            return view(*args, **kwargs)

        wrapped.guarded_by = scopes  # type: ignore[attr-defined]
        return wrapped

    return guard


def shown_key(known: Directory, header: str, now: Millis) -> Key | None:
    """The key in force that an ``Authorization`` header shows."""
    shown = _BEARER.fullmatch(header)
    key = known.keys.get(shown[1]) if shown else None
    return key if shown and key and key.opens(shown[2], now) else None


def enter(scopes: tuple[str, ...]) -> Tenant:
    """The tenant whose key this request shows; 401 or 403 otherwise."""
    header, directory = request.headers.get("Authorization", ""), installation().directory
    key = directory.find(lambda known: shown_key(known, header, now())) if header else None
    if key is None:
        raise Problem(
            401,
            "Send an API key that is in force, as `Authorization: Bearer prefs_…`.",
            headers={"WWW-Authenticate": 'Bearer realm="prefs"'},
        )
    if scopes and key.scopes.isdisjoint(scopes):
        raise Problem(403, f"This key lacks the scope {' or '.join(scopes)}.")
    g.key = key
    g.tenant = directory.latest.tenants[key.tenant_id]
    return cast(Tenant, g.tenant)


def tenant() -> Tenant:
    return cast(Tenant, g.tenant)


def key() -> Key:
    return cast(Key, g.key)


# --- what came in ---


def read_json() -> Any:
    """The body as JSON, strictly: what two parsers could read differently is refused."""
    if request.mimetype != "application/json" and not request.mimetype.endswith("+json"):
        raise Problem(415, "Send JSON, with `Content-Type: application/json`.")
    shown = request.headers
    coded = shown.get("Content-Encoding", "identity"), shown.get("Transfer-Encoding", "chunked")
    if coded != ("identity", "chunked"):
        # A few bytes can unfold to gigabytes, and no request here is long enough to need it.
        raise Problem(415, "Send the body as it is, uncompressed.")
    return strict_json(request.get_data())


def strict_json(body: bytes) -> Any:
    try:
        return _DECODER.decode(body.decode())
    except RecursionError:
        raise Problem(400, "The JSON is nested too deeply.") from None
    except UnicodeDecodeError as error:
        raise Problem(400, f"The body is not UTF-8 at byte {error.start}.") from None
    except json.JSONDecodeError as error:
        raise Problem(
            400, f"The body is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        ) from None
    except ValueError:
        raise Problem(400, "The body holds a number that is too long.") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        ((twice, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise Problem(400, "A field stands twice.", errors={named(twice): ["Send it once."]})
    return found


def _no_constant(name: str) -> NoReturn:
    raise Problem(400, f"{name} is not JSON.")


def _finite(text: str) -> float:
    number = float(text)
    if isinf(number):
        raise Problem(400, "The body holds a number that is too large.")
    return number


_DECODER = json.JSONDecoder(
    object_pairs_hook=_object, parse_constant=_no_constant, parse_float=_finite
)


# --- the transaction ---


def writing() -> AbstractContextManager[Connection]:
    return installation().database.writing()


def reading() -> AbstractContextManager[Connection]:
    return installation().database.reading()


def written(
    act: Callable[[Connection], Mapping[str, Any]],
    status: int = 200,
    still_holds: Callable[[Connection], bool] = lambda _: True,
    shown: Callable[[Mapping[str, Any]], Mapping[str, Any]] = lambda stored: stored,
) -> Response:
    """Does ``act`` in one transaction and answers with what it returns, as it is ``shown``.

    With an ``Idempotency-Key``, the same request is done once, and answered alike each time
    for seven days, as long as what it answered ``still_holds``. What an answer shows under
    ``key`` (an API key) is never stored, nor is what ``shown`` makes of it.
    """
    name = request.headers.get("Idempotency-Key")
    if name is None:
        with writing() as connection:
            answered = act(connection)
        return answer(shown(answered), status)
    if not re.fullmatch(r"[\x20-\x7e]{1,255}", name):
        detail = "The Idempotency-Key is 1 to 255 printable ASCII characters."
        raise Problem(400, detail, {"Idempotency-Key": [detail]})
    digest = _request_digest()
    table = tables.idempotency
    name = tenant().fingerprint(name)
    mine = (table.c.tenant_id == tenant().id) & (table.c.key == name)
    with writing() as connection:
        connection.execute(
            table.delete().where(
                table.c.tenant_id == tenant().id, table.c.heard_at < now() - KEEP_ANSWERS_FOR
            )
        )
        # Whoever sends the same key at the same moment waits here for our commit.
        claimed = connection.execute(
            database.insert(connection, table)
            .values(
                tenant_id=tenant().id,
                key=name,
                request_digest=digest,
                status=status,
                answer="",
                heard_at=now(),
            )
            .on_conflict_do_nothing()
            # Not rowcount: of an INSERT psycopg tells it only while its cursor is open.
            .returning(table.c.key)
        ).first()
        if claimed is None:
            kept = connection.execute(select(table).where(mine)).one()
            if bytes(kept.request_digest) != digest:
                detail = "This Idempotency-Key was sent with another request; take a new one."
                raise Problem(422, detail, {"Idempotency-Key": [detail]})
            if still_holds(connection):
                return answer(shown(json.loads(kept.answer)), kept.status)
        answered = act(connection)
        stored = {name: None if name == "key" else value for name, value in answered.items()}
        connection.execute(table.update().where(mine).values(answer=orjson.dumps(stored).decode()))
    return answer(shown(answered), status)


def _request_digest() -> bytes:
    said = hashlib.blake2b(digest_size=16)
    for part in (
        request.method.encode(),
        request.path.encode(),
        request.query_string,
        request.get_data(),
    ):
        said.update(b"%d\0" % len(part) + part)
    return said.digest()


def answer(
    body: Mapping[str, Any], status: int = 200, content_type: str = "application/json"
) -> Response:
    if status == 204:
        return Response(status=204)
    try:
        text = orjson.dumps(body, option=orjson.OPT_APPEND_NEWLINE)
    except TypeError:
        # A caller's own spelling, given back, may hold half a character: escape it.
        text = json.dumps(body).encode() + b"\n"
    return Response(text, status, content_type=content_type)


# --- errors ---


class Problem(Exception):
    """An answer of RFC 9457: ``detail`` says what to change, ``errors`` which fields."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: Mapping[str, list[str]] | None = None,
        headers: Mapping[str, str] | None = None,
        **members: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors
        self.headers = headers or {}
        self.members = members

    def response(self) -> Response:
        body: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            body["errors"] = self.errors
        if request.path.startswith("/v1/check"):
            # Whoever reads nothing but this must not send.
            body |= {"allowed": False, "decision": "hold"}
        response = answer(body | self.members, self.status, "application/problem+json")
        response.headers.update(self.headers)
        return response


def sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def flat(messages: Any, path: str = "") -> dict[str, list[str]]:
    """marshmallow's nested messages as field paths, such as ``items.3.address``."""
    if not isinstance(messages, Mapping):
        return {path or "body": [str(message) for message in messages]}
    found: dict[str, list[str]] = {}
    for name, inner in messages.items():
        here = path if name == "_schema" else f"{path}.{named(name)}".lstrip(".")
        found |= flat(inner, here)
    return found


def _unavailable(error: Unavailable) -> Response:
    return Problem(
        503,
        "The store cannot be reached; nothing was changed. Send the same request again.",
        headers={"Retry-After": "1"},
        reason="state_unknown",
    ).response()


def _wrong_field(error: BadEntry | BadAddress) -> Response:
    detail = sentence(str(error))
    status = 409 if isinstance(error, Taken) else 422
    return Problem(status, detail, errors={error.field: [detail]}).response()


def _bad_event(error: BadEvent) -> Response:
    return Problem(422, sentence(str(error))).response()


def http_problem(error: HTTPException) -> Response:
    data = getattr(error, "data", None) or {}
    status = error.code or 500
    if error.response is not None:
        return cast(Response, error.response)
    headers = {
        name: value
        for name, value in error.get_headers()
        if name in ("Allow", "Retry-After", "WWW-Authenticate")
    }
    if messages := data.get("messages"):
        # webargs puts the place first: json, query.
        errors = {k: v for part in messages.values() for k, v in flat(part).items()}
        told = "; ".join(f"{field}: {errors[field][0]}" for field in sorted(errors)[:5])
        return Problem(status, f"Change these fields. {told}", errors, headers).response()
    detail = error.description or ""
    if status == 413:
        limit = request.max_content_length
        detail = f"The body has more than {limit} bytes; send it in several requests."
    return Problem(status, detail, headers=headers).response()


def log(error: Exception) -> None:
    """Where a mistake of ours happened."""
    # Neither the message (it may quote a row) nor the path (it may hold a token).
    frames = "".join(traceback.format_tb(error.__traceback__))
    current_app.logger.error("%s in %s\n%s", type(error).__name__, request.endpoint, frames)


def _unexpected(error: Exception) -> Response:
    log(error)
    return Problem(500, "This is our mistake. Nothing was changed.").response()


# --- the app's part ---


def install(app: Flask, opened: Installation) -> None:
    """Gives ``app`` the installation, its limits, its error answers and its headers."""
    app.extensions["prefs"] = opened
    app.config["MAX_CONTENT_LENGTH"] = opened.settings.body_limit
    app.config["MAX_FORM_MEMORY_SIZE"] = opened.settings.body_limit
    # Only files may be kept by whoever fetched them; all else is "no-store" (``_with_headers``).
    app.config["SEND_FILE_MAX_AGE_DEFAULT"] = 3600
    # A redirect turns a one-click POST into a GET (RFC 8058 section 3.1).
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.register_error_handler(Problem, Problem.response)
    app.register_error_handler(Unavailable, _unavailable)
    app.register_error_handler(BadEntry, _wrong_field)
    app.register_error_handler(BadAddress, _wrong_field)
    app.register_error_handler(BadEvent, _bad_event)
    app.register_error_handler(HTTPException, http_problem)
    app.register_error_handler(Exception, _unexpected)
    app.after_request(_with_headers)
    if opened.settings.proxies:
        # For the evidence: anyone may send X-Forwarded-For, so only as many are believed as
        # there are proxies of ours. Host and scheme are never taken from a request.
        app.wsgi_app = ProxyFix(  # type: ignore[method-assign]
            app.wsgi_app, x_for=opened.settings.proxies, x_proto=0, x_host=0
        )
    if prefix := urlsplit(opened.settings.public_url).path:
        inner = app.wsgi_app

        def below(environ: dict[str, Any], start: Any) -> Any:
            # The proxy has taken the prefix off; what we write into pages needs it again.
            environ["SCRIPT_NAME"] = prefix
            return inner(environ, start)

        app.wsgi_app = below  # type: ignore[assignment,method-assign]


CSP = (
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; "
    "frame-ancestors 'none'; base-uri 'none'"
)


def headers_of_all(opened: Installation) -> dict[str, str]:
    """The headers that every answer has, unless its view gave it another of the name."""
    worker = {"X-Worker": str(os.getpid())} if opened.settings.worker_header else {}
    return {
        "Content-Security-Policy": CSP,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
        **worker,
    }


def _with_headers(response: Response) -> Response:
    for name, value in headers_of_all(installation()).items():
        response.headers.setdefault(name, value)
    return response
