"""Starting it: a first start makes what it needs, a later one makes nothing in place of a loss."""

import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from urllib.request import urlopen

import pytest
from click.testing import CliRunner

from prefs import demo
from prefs.check import answer
from prefs.cli import main
from prefs.cli.running import _install
from prefs.database import Database, Unavailable, migrate
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.settings import BadSetting, Settings, create_secrets
from tests.postgres import Server

SQLITE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def told(monkeypatch: pytest.MonkeyPatch, **settings: str) -> None:
    for name in [name for name in os.environ if name.startswith("PREFS_")]:
        monkeypatch.delenv(name)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)


def test_a_first_start_makes_the_database_and_secrets_for_the_owner_alone(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    told(monkeypatch, PREFS_DATA=str(tmp_path / "data"))
    _install()
    for name in ("prefs.sqlite3", "secrets/digest.key", "secrets/signing.keys"):
        assert stat.S_IMODE((tmp_path / "data" / name).stat().st_mode) == 0o600
    Installation.open(Settings.load(os.environ)).database.close()


@pytest.mark.parametrize("lost", ["digest.key", "signing.keys"])
def test_a_secret_that_is_lost_later_is_never_made_anew(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, cast: Cast, lost: str
) -> None:
    told(monkeypatch, PREFS_DATA=str(settings.data), PREFS_DATABASE_URL=settings.database_url)
    (settings.data / "secrets" / lost).unlink()
    _install()
    assert not (settings.data / "secrets" / lost).exists()
    with pytest.raises(BadSetting, match=lost):
        Settings.load(os.environ)


def test_a_start_without_its_sqlite_file_makes_no_empty_one(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told(monkeypatch, PREFS_DATA=str(tmp_path / "data"))
    _install()
    file = tmp_path / "data" / "prefs.sqlite3"
    file.unlink()
    _install()
    assert not file.exists()
    assert "is missing: put it back" in capsys.readouterr().err


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_data_folder_that_cannot_be_written_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tmp_path.chmod(0o500)
    told(monkeypatch, PREFS_DATA=str(tmp_path / "data"))
    said = CliRunner().invoke(main, ["migrate"])
    assert "set PREFS_DATA to another folder" in said.output


def test_a_data_folder_that_is_a_file_is_told_in_one_line(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "data").write_text("")
    told(monkeypatch, PREFS_DATA=str(tmp_path / "data"))
    said = CliRunner().invoke(main, ["migrate"])
    assert said.exit_code == 1
    assert "set PREFS_DATA to another folder" in said.output


def test_a_database_that_cannot_hold_every_text_is_refused(
    monkeypatch: pytest.MonkeyPatch, postgres: Server, tmp_path: Path
) -> None:
    with postgres.admin() as connection:
        connection.execute("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    told(monkeypatch, PREFS_DATA=str(tmp_path), PREFS_DATABASE_URL=postgres.url("plain"))
    said = CliRunner().invoke(main, ["migrate"])
    assert "createdb -E UTF8" in said.output
    assert len(said.output.splitlines()) == 1


def test_a_standby_answers_no_marketing_check(tmp_path: Path) -> None:
    """It may not have heard the last no, and cannot tell."""
    server = Server()
    try:
        server.create("prefs")
        migrate(server.url("prefs"))
        create_secrets(tmp_path)
        environ = {"PREFS_DATA": str(tmp_path), "PREFS_DATABASE_URL": server.url("prefs")}
        opened = Installation.open(Settings.load(environ))
        tenant = demo.load(opened).tenant
        opened.database.close()
        server.stop()
        (server.data / "standby.signal").touch()
        server.start()
        database = Database(server.url("prefs"))
        asked = {"channel": "email", "address": "alice@example.org", "topic": "product-news"}
        with pytest.raises(Unavailable):
            answer(database, tenant, asked, 0)
        with pytest.raises(Unavailable), database.reading():
            pass
        passes = {**asked, "topic": "order-updates"}
        assert answer(database, tenant, passes, 0).reason == "transactional"
        database.close()
    finally:
        server.close()


@SQLITE
def test_an_audience_is_not_scrubbed_over_itself(
    monkeypatch: pytest.MonkeyPatch, settings: Settings, cast: Cast, tmp_path: Path
) -> None:
    told(monkeypatch, PREFS_DATA=str(settings.data), PREFS_DATABASE_URL=settings.database_url)
    audience, other = tmp_path / "audience.csv", tmp_path / "other.csv"
    audience.write_text("email\nbob@example.org\nzoe@example.org\n")
    shutil.copy(audience, other)
    words = ["scrub", str(audience), "--topic", "product-news"]
    for more in (["-o", str(audience)], ["-o", str(other), "--refused", str(other)]):
        said = CliRunner().invoke(main, [*words, *more])
        assert said.exit_code == 2
        assert "must be different files" in said.output
    assert audience.read_text() == "email\nbob@example.org\nzoe@example.org\n"
    assert CliRunner().invoke(main, [*words, "-o", str(other)]).exit_code == 0
    assert other.read_text() == "email\nzoe@example.org\n"


class Started:
    """``prefs serve`` as somebody types it, in a data folder of its own."""

    def __init__(self, data: Path, *words: str) -> None:
        environ = {name: text for name, text in os.environ.items() if "PREFS_" not in name}
        command = [sys.executable, "-m", "prefs.cli", "serve", "--port", "0", *words]
        self.process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**environ, "PREFS_DATA": str(data)},
            cwd=Path(__file__).parent.parent,
        )

    def read(self, until: str) -> str:
        assert self.process.stdout
        said = ""
        while until not in said:
            line = self.process.stdout.readline()
            assert line, said
            said += line
        return said

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        _, complaints = self.process.communicate(timeout=20)
        assert (self.process.returncode, complaints) == (0, "")


def test_the_demo_begins_afresh_at_each_start_and_its_lines_and_links_are_true(
    tmp_path: Path,
) -> None:
    keys = set()
    for _ in range(2):
        demo = Started(tmp_path / "data", "--demo")
        said = demo.read("--data-urlencode 'Body=STOP'") + demo.read('"sms"')
        lines = [line.strip() for line in said.splitlines() if line.startswith("  ")]
        curls = [line for line in lines if line.startswith("curl ")]
        answers = [
            subprocess.run(shlex.split(line), capture_output=True, text=True, check=True).stdout
            for line in curls
        ]
        assert '"allow"' in answers[0]
        assert '"opted_out"' in answers[1]
        assert "<Response" in answers[2]
        assert '"replied_stop"' in answers[3]
        for url in [line for line in lines if line.startswith("http")]:
            with urlopen(url, timeout=10) as page:
                assert "Product news" in page.read().decode()
        preview = re.search(r"Every page +(\S+)", said)
        assert preview
        with urlopen(preview[1], timeout=10) as page:
            assert "Every page" in page.read().decode()
        found = re.search(r"API key +(\S+)", said)
        assert found
        keys.add(found[1])
        demo.stop()
    assert len(keys) == 2
    assert {entry.name for entry in (tmp_path / "data").iterdir()} == {"demo", "demo.lock"}


def test_an_empty_installation_says_how_to_make_a_tenant_a_topic_and_a_key(tmp_path: Path) -> None:
    empty = Started(tmp_path / "data")
    said = empty.read("prefs key add")
    assert re.search(r"prefs serves on http://127\.0\.0\.1:\d+", said)
    for words in ("tenant add", "brand add", "topic add"):
        assert f"bin/prefs {words}" in said
    empty.stop()
