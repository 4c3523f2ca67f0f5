"""The recipient's pages: leave by one click or by a button, choose, undo, sign up, confirm.

A GET shows and never writes: scanners open every link in a mail, and some run scripts.
A POST asks for nothing: no login, cookie, CSRF token, field or content type (RFC 8058
section 3.2, 16 CFR 316.5), and is answered without a redirect.
"""

from flask import Flask
from jinja2 import StrictUndefined
from werkzeug.routing import BaseConverter

from prefs.web.pages import choose, join, leave, problems, show

PAGES = (leave.leaving, choose.choosing, join.joining)
for blueprint in PAGES:
    problems.tell(blueprint)


class TokenConverter(BaseConverter):
    """Takes slashes too: mail programs add and double them, and a redirect is forbidden."""

    regex = r"[\s\S]+"
    part_isolating = False

    def to_python(self, value: str) -> str:
        return value.strip("/")


def install(app: Flask) -> None:
    app.url_map.converters["token"] = TokenConverter
    app.jinja_env.undefined = StrictUndefined
    show.speak(app)
    for blueprint in PAGES:
        app.register_blueprint(blueprint)
    app.register_error_handler(404, problems.nowhere)
    app.register_error_handler(405, problems.nowhere)


__all__ = ["install"]
