"""flask-smorest, made to speak RFC 9457 and to read JSON strictly; the docs without a CDN."""

from typing import Any
from urllib.parse import urlsplit

from flask import Blueprint, Flask, Response, current_app, redirect, render_template, url_for
from flask_smorest import Api
from flask_smorest import Blueprint as SmorestBlueprint
from marshmallow import RAISE
from webargs.flaskparser import FlaskParser
from werkzeug.exceptions import HTTPException
from werkzeug.wrappers import Response as BaseResponse

from prefs.web import door, schemas


class StrictParser(FlaskParser):
    """Reads the body as ``door.read_json`` does, and refuses fields that nobody knows."""

    DEFAULT_UNKNOWN_BY_LOCATION = {  # noqa: RUF012  (webargs' own name and kind)
        **FlaskParser.DEFAULT_UNKNOWN_BY_LOCATION,
        "json": RAISE,
        "query": RAISE,
    }

    def _raw_load_json(self, req: Any) -> Any:
        return door.read_json()


class StrictBlueprint(SmorestBlueprint):  # type: ignore[misc]
    ARGUMENTS_PARSER = StrictParser()


class ProblemApi(Api):  # type: ignore[misc]
    """Every error is ``application/problem+json``, in the document as in the answers."""

    ERROR_SCHEMA = schemas.Problem

    def _register_responses(self) -> None:
        # flask-smorest 0.47 documents errors as application/json otherwise.
        kept: str = self.DEFAULT_RESPONSE_CONTENT_TYPE
        self.DEFAULT_RESPONSE_CONTENT_TYPE: str = "application/problem+json"
        try:
            super()._register_responses()
        finally:
            self.DEFAULT_RESPONSE_CONTENT_TYPE = kept

    def handle_http_exception(self, error: HTTPException) -> Response:
        return door.http_problem(error)


def install(app: Flask, *blueprints: SmorestBlueprint) -> None:
    app.config.update(
        API_TITLE="prefs",
        API_VERSION="v1",
        OPENAPI_VERSION="3.1.0",
    )
    public_url = app.extensions["prefs"].settings.public_url
    api = ProblemApi(
        app,
        spec_kwargs={
            "info": {
                "description": "Remembers what each person said they want, per channel, and "
                "answers: may I send this to this address?",
                "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
            },
            "security": [{"key": []}],
            "servers": [{"url": urlsplit(public_url).path or "/"}],
        },
    )
    api.spec.components.security_scheme(
        "key", {"type": "http", "scheme": "bearer", "description": "An API key, prefs_…"}
    )
    for blueprint in blueprints:
        api.register_blueprint(blueprint)
    app.extensions["prefs.openapi"] = api.spec


openapi = Blueprint("openapi", __name__)


@openapi.get("/openapi.json")
def document() -> Response:
    return door.answer(current_app.extensions["prefs.openapi"].to_dict())


@openapi.get("/")
def home() -> BaseResponse:
    return redirect(url_for("openapi.docs"))


@openapi.get("/docs")
def docs() -> Response:
    response = Response(render_template("docs.html"))
    # Swagger UI writes style attributes; everything it loads comes from here.
    response.headers["Content-Security-Policy"] = (
        "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
        "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
    )
    return response
