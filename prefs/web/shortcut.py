"""The plain single check, answered in front of Flask.

Campaigns ask it once for every message, and Flask's own work costs more than the answer.
What is in any way out of the ordinary (no key, an odd body, an unknown topic, the store away)
goes on to Flask, whose view of the same question is the one that explains; a test holds the
two alike.
"""

from collections.abc import Callable, Iterable
from io import BytesIO
from typing import Any

import orjson

from prefs.check import Held, answer
from prefs.database import Unavailable
from prefs.installation import Installation
from prefs.web.check import shown_decision
from prefs.web.door import Problem, headers_of_all, shown_key, strict_json

Environ = dict[str, Any]
Application = Callable[[Environ, Any], Iterable[bytes]]

LONGEST_BODY = 16_384


def before(flask: Application, opened: Installation) -> Application:
    """``flask``, and before it the shortcut."""
    headers = [("Content-Type", "application/json"), *headers_of_all(opened).items()]

    def application(environ: Environ, start_response: Any) -> Iterable[bytes]:
        if environ["PATH_INFO"] == "/v1/check" and environ["REQUEST_METHOD"] == "POST":
            answered = _answer(opened, environ)
            if answered is not None:
                start_response("200 OK", [*headers, ("Content-Length", str(len(answered)))])
                return [answered]
        return flask(environ, start_response)

    return application


def _answer(opened: Installation, environ: Environ) -> bytes | None:
    directory, now = opened.directory.latest, opened.clock()
    key = shown_key(directory, environ.get("HTTP_AUTHORIZATION", ""), now)
    if key is None or "check" not in key.scopes:
        return None
    length = environ.get("CONTENT_LENGTH") or ""
    if (
        environ.get("CONTENT_TYPE") != "application/json"
        or "HTTP_CONTENT_ENCODING" in environ
        or not length.isdigit()
        or int(length) > LONGEST_BODY
    ):
        return None
    body = environ["wsgi.input"].read(int(length))
    environ["wsgi.input"] = BytesIO(body)
    tenant = directory.tenants[key.tenant_id]
    try:
        decision = answer(opened.database, tenant, strict_json(body), now)
    except (Problem, Held, Unavailable, ValueError):
        return None
    shown = shown_decision(tenant, decision)
    return orjson.dumps(shown, option=orjson.OPT_APPEND_NEWLINE)
