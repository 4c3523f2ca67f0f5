"""The document says what the API does, and the API does what it says."""

import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from flask.testing import FlaskClient
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events, from_schema
from werkzeug.serving import WSGIRequestHandler, make_server

from prefs import demo
from prefs.installation import Installation
from prefs.settings import Settings, create_secrets
from wsgi import create_app

METHODS = ("get", "put", "post", "patch", "delete")


@pytest.fixture
def document(client: FlaskClient) -> dict[str, Any]:
    return dict(client.get("/openapi.json").get_json())


def operations(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        f"{method.upper()} {path}": operation
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    }


def test_the_document_is_openapi_3_1_and_every_operation_needs_a_key(
    document: dict[str, Any],
) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["security"] == [{"key": []}]
    assert document["components"]["securitySchemes"]["key"]["scheme"] == "bearer"
    assert document["servers"] == [{"url": "/"}]
    for name, operation in operations(document).items():
        assert "security" not in operation, name


def test_every_route_of_the_api_is_documented_with_a_summary(
    client: FlaskClient, document: dict[str, Any]
) -> None:
    shown = operations(document)
    routes = {
        f"{method} {rule.rule.replace('<int:', '{').replace('<', '{').replace('>', '}')}"
        for rule in client.application.url_map.iter_rules()
        if rule.rule.startswith("/v1/")
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert set(shown) == routes
    for name, operation in shown.items():
        assert operation["summary"].strip(), name
        assert not operation["summary"].endswith("."), name
        assert any(status.startswith("2") for status in operation["responses"]), name


def test_every_error_is_documented_as_a_problem_and_every_success_is_not(
    document: dict[str, Any],
) -> None:
    responses = document["components"]["responses"]
    for name, operation in operations(document).items():
        assert "default" in operation["responses"], name
        for status, response in operation["responses"].items():
            if "$ref" in response:
                response = responses[response["$ref"].rsplit("/", 1)[1]]
            kinds = set(response.get("content", {}))
            if status.startswith("2"):
                assert kinds <= {"application/json"}, (name, status)
            else:
                assert kinds == {"application/problem+json"}, (name, status)
                shown = response["content"]["application/problem+json"]["schema"]
                assert shown == {"$ref": "#/components/schemas/Problem"}, (name, status)


def test_the_docs_page_asks_no_other_host_for_anything(client: FlaskClient) -> None:
    page = client.get("/docs").get_data(as_text=True)
    assert "//" not in page
    assert "/static/swagger/swagger-ui-bundle.js" in page
    assert "<script>" not in page
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "start.js", "LICENSE", "VERSION"):
        assert client.get(f"/static/swagger/{name}", buffered=True).status_code == 200
    style = client.get("/static/swagger/swagger-ui.css", buffered=True).get_data(as_text=True)
    assert "@import" not in style
    assert "url(http" not in style


def test_below_a_path_the_document_and_its_page_name_that_path(
    sqlite_template: Path, tmp_path: Path
) -> None:
    opened = sqlite(sqlite_template, tmp_path, PREFS_PUBLIC_URL="https://example.com/prefs")
    client = create_app(opened).test_client()
    assert client.get("/openapi.json").get_json()["servers"] == [{"url": "/prefs"}]
    assert 'data-document="/prefs/openapi.json"' in client.get("/docs").get_data(as_text=True)
    opened.database.close()


# --- schemathesis ---


def sqlite(template: Path, folder: Path, **environ: str) -> Installation:
    create_secrets(folder)
    shutil.copy(template, folder / "prefs.sqlite3")
    return Installation.open(Settings.load({"PREFS_DATA": str(folder), **environ}))


class Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_request(self, *args: Any) -> None:
        pass


@pytest.fixture
def served(sqlite_template: Path, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """The address of a running server, and the key of its cast."""
    opened = sqlite(sqlite_template, tmp_path)
    key = demo.load(opened).key
    app = create_app(opened)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=Quiet)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.port}", key
    server.shutdown()
    thread.join()
    server.server_close()
    opened.database.close()


def test_schemathesis_finds_nothing(
    served: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url, key = served
    monkeypatch.chdir(tmp_path)
    config = SchemathesisConfig.from_dict(
        {
            "seed": 7261,
            "headers": {"Authorization": f"Bearer {key}"},
            "generation": {"max-examples": 15, "database": "none"},
            "checks": {
                "positive_data_acceptance": {
                    # A schema cannot say which text is an address, which topics there are, or
                    # that a date has passed: 422 for those is right.
                    "expected-statuses": ["2xx", "401", "403", "404", "409", "422"]
                }
            },
        }
    )
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    tried, found = 0, []
    for event in from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            tried += len(event.recorder.cases)
            for checks in event.recorder.checks.values():
                found += [
                    f"{event.recorder.label}: {failed.failure.title} {failed.failure.message}\n"
                    f"{failed.code_sample}"
                    for check in checks
                    if (failed := check.failure_info)
                ]
        elif isinstance(event, events.NonFatalError):
            found.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            raise event.exception
    assert not found, "\n\n".join(found)
    assert tried > 800
