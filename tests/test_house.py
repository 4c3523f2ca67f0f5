"""The house itself: every route is guarded, nothing that only reads writes, all is documented."""

import configparser
import re
from dataclasses import replace
from pathlib import Path

import click
import pytest
from flask import Flask

from prefs import ledger
from prefs.cli import main
from prefs.installation import Installation
from prefs.policy import REASONS, Block, Kind, Voice
from prefs.web.door import PUBLIC
from tests.browser import IN_DOCS, PICTURES
from wsgi import create_app

ROOT = Path(__file__).parent.parent
DOCS = "\n".join(file.read_text() for file in (ROOT / "docs").glob("*.md"))

NO_REASON = {"util", "helper", "common", "manager", "service", "base", "handler"}


def sources() -> list[Path]:
    return [*ROOT.glob("prefs/**/*.py"), *ROOT.glob("webhooks/**/*.py"), ROOT / "wsgi.py"]


@pytest.fixture
def app(opened: Installation) -> Flask:
    """With every route, a demo's too."""
    return create_app(replace(opened, settings=replace(opened.settings, preview=True)))


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_route_is_guarded_or_on_the_short_public_list(app: Flask) -> None:
    for rule in app.url_map.iter_rules():
        guarded = hasattr(app.view_functions[rule.endpoint], "guarded_by")
        assert guarded != (rule.endpoint in PUBLIC), rule.endpoint
    assert set(app.view_functions) >= PUBLIC


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_every_route_is_in_the_guide(app: Flask) -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    for rule in app.url_map.iter_rules():
        path = re.sub(r"<(?:\w+:)?(\w+)>", r"<\1>", rule.rule)
        assert rule.methods
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            assert f"{method} {path}" in guide, f"{method} {path}"


def test_the_docs_show_every_picture_that_is_kept() -> None:
    pages = (ROOT / "docs" / "pages.md").read_text()
    kept = {picture.stem for picture in PICTURES.glob("*.png")}
    assert kept == IN_DOCS == set(re.findall(r'src="screenshots/([\w-]+)\.png"', pages))


def test_every_setting_is_documented() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    named = {n for file in sources() for n in re.findall(r"PREFS_[A-Z_]+", file.read_text())}
    for name in named:
        if not name.endswith(("_", "_FILE")):
            assert f"`{name}`" in operations, name


def test_every_command_is_documented_and_says_what_it_does() -> None:
    guide = (ROOT / "docs" / "guide.md").read_text()
    for name, command in main.commands.items():
        assert f"`prefs {name}`" in guide or f"`{name}`" in guide, name
        inner = command.commands.values() if isinstance(command, click.Group) else ()
        for one in (command, *inner):
            assert one.help, one.name


def test_every_kind_of_event_voice_and_block_is_documented() -> None:
    policy = (ROOT / "docs" / "policy.md").read_text()
    for name in (*Kind, *Voice, *Block):
        assert f"`{name}`" in policy, name
    assert set(ledger.SENTENCES) == set(Kind)
    assert set(Block) <= set(REASONS)


def test_nobody_but_settings_and_the_command_reads_the_environment() -> None:
    for file in sources():
        if file.name not in ("settings.py", "serve.py", "wsgi.py") and file.parent.name != "cli":
            assert not re.search(r"os\.environ|getenv", file.read_text()), file


def test_nothing_below_a_door_commits() -> None:
    for file in sources():
        assert not re.search(r"\.commit\(", file.read_text()), file


def test_what_is_pinned_is_what_is_asked_for() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    asked = config["options"]["install_requires"].split("\n")
    wanted = {re.split(r"[\s<>=\[]", line.strip())[0] for line in asked if line.strip()}
    text = (ROOT / "requirements.txt").read_text()
    assert wanted <= set(re.findall(r"^([A-Za-z0-9-]+)==", text, re.MULTILINE))
    for line in text.splitlines():
        # Names, versions, hashes, markers; no index, no address of anybody's.
        assert re.fullmatch(
            r"[A-Za-z0-9.-]+==\S+( ; .+)? \\|    --hash=sha256:[0-9a-f]{64}( \\)?", line
        )


def test_no_file_is_named_for_what_has_no_reason() -> None:
    for file in sources():
        assert file.stem.rstrip("s") not in NO_REASON, file
