"""What the tests stand on: a real database of each kind, a clock, the cast, a client."""

import os
import re
import secrets
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient

from prefs import demo
from prefs.database import migrate
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.policy import Millis
from prefs.settings import Settings, create_secrets, keep_token
from tests.browser import browser, shoot
from tests.postgres import Server
from wsgi import create_app

NOON: Millis = 1_793_620_800_000
"""2 November 2026, 12:00 UTC: the tests' clock starts here and moves when it is told to."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--screenshots",
        metavar="WHERE",
        help="run the tests that take pictures: `docs` keeps the few that docs/pages.md shows, "
        "and a folder all of them",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.getoption("--screenshots"):
        others = [item for item in items if "shoot" not in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in others]
        config.hook.pytest_deselected(items=others)


class Clock:
    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> Millis:
        return self.now

    def forward(self, *, days: int = 0, minutes: int = 0, seconds: int = 0) -> None:
        self.now += ((days * 24 * 60 + minutes) * 60 + seconds) * 1000


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("template") / "prefs.sqlite3"
    migrate(f"sqlite:///{file}")
    return file


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    server = Server()
    try:
        server.create("template_prefs")
        migrate(server.url("template_prefs"))
        yield server
    finally:
        server.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty, migrated database of its own for each test, of each kind."""
    if request.param == "sqlite":
        file = tmp_path / "prefs.sqlite3"
        shutil.copy(request.getfixturevalue("sqlite_template"), file)
        yield f"sqlite:///{file}"
    else:
        server: Server = request.getfixturevalue("postgres")
        name = f"test_{secrets.token_hex(6)}"
        server.create(name, template="template_prefs")
        yield server.url(name)
        server.drop(name)


@pytest.fixture
def sends() -> bool:
    """Whether letters have a way out, which is all that a page asks: nobody listens there."""
    return True


NOTHING_SENDS = pytest.mark.parametrize("sends", [False])


@pytest.fixture
def settings(database_url: str, tmp_path: Path, sends: bool) -> Settings:
    data = tmp_path / "data"
    create_secrets(data)
    if sends:
        keep_token(data, "twilio", demo.ACCOUNT, demo.TOKEN)
    return Settings.load(
        {
            "PREFS_DATA": str(data),
            "PREFS_DATABASE_URL": database_url,
            "PREFS_PUBLIC_URL": "https://prefs.example.com",
            "PREFS_SMTP_URL": "smtp://127.0.0.1:9" if sends else "",
        }
    )


@pytest.fixture
def opened(settings: Settings, clock: Clock) -> Iterator[Installation]:
    """An installation without a tenant."""
    installation = Installation.open(settings, clock)
    yield installation
    installation.database.close()


@pytest.fixture
def cast(opened: Installation) -> Cast:
    """Alice, Bob, Carol, Dave and Erin, of the tenant acme."""
    return demo.load(opened)


@pytest.fixture
def client(opened: Installation, cast: Cast) -> FlaskClient:
    """A client that shows no key."""
    app = create_app(opened)
    app.config["PROPAGATE_EXCEPTIONS"] = False
    return app.test_client()


class Served:
    """A real server of two workers over an installation, started as an operator starts it."""

    def __init__(self, settings: Settings, **more: str) -> None:
        environ = {name: text for name, text in os.environ.items() if "PREFS_" not in name}
        environ |= {
            "PREFS_DATA": str(settings.data),
            "PREFS_DATABASE_URL": settings.database_url,
            "PREFS_WORKER_HEADER": "1",
            **more,
        }
        self.log = settings.data / "server.log"
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "prefs.cli", "serve", "--port", "0"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=environ,
                cwd=Path(__file__).parent.parent,
            )
        assert self.process.stdout
        with self.process.stdout as said:
            found = re.search(r"http://\S+:\d+", said.readline())
        assert found, self.log.read_text()
        self.url = found[0]

    def stop(self) -> None:
        self.process.terminate()
        assert self.process.wait(20) == 0


@pytest.fixture
def served(settings: Settings, cast: Cast) -> Iterator[Served]:
    """The cast, over HTTP, with the system's clock."""
    server = Served(settings)
    yield server
    server.stop()


class Api:
    """A client of the API that shows acme's key, which has every scope."""

    def __init__(self, client: FlaskClient, key: str) -> None:
        self.client = client
        self.key = key

    def __call__(self, method: str, path: str, json: Any = None, **kwargs: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.key}", **kwargs.pop("headers", {})}
        return self.client.open(path, method=method, json=json, headers=headers, **kwargs)

    def check(self, address: str, topic: str = "product-news", channel: str = "email") -> Any:
        asked = {"channel": channel, "address": address, "topic": topic}
        return self("POST", "/v1/check", asked).get_json()

    def put(self, address: str, word: str, **said: Any) -> Any:
        body = {"channel": "email", "address": address, "word": word, "said_by": "person", **said}
        return self("PUT", "/v1/preferences", body)


@pytest.fixture
def api(client: FlaskClient, cast: Cast) -> Api:
    return Api(client, cast.key)


__all__ = ["Api", "Clock", "Served", "browser", "shoot"]
