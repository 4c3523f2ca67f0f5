"""The tests have a browser on every machine: one that is there, or one that is installed."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.browser import NAMES

ROOT = Path(__file__).parent.parent


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout, whose PATH and whose user's cache hold no browser."""
    for folder in ("bin", "path", ".venv/bin", "cache"):
        (tmp_path / folder).mkdir(parents=True)
    shutil.copy(ROOT / "bin" / "browser", tmp_path / "bin")
    for tool in ("bash", "env", "dirname", "cat", "touch"):
        found = shutil.which(tool)
        assert found
        (tmp_path / "path" / tool).symlink_to(found)
    # The checkout's Python runs tests.browser truly, and only notes what it is to install.
    program(
        tmp_path / ".venv" / "bin" / "python",
        f'if [ "$2" = playwright ]; then echo "$@" >>{tmp_path}/log; exit "${{REFUSES:-0}}"; fi\n'
        f'cd {ROOT}; PYTHONPATH={ROOT} exec {sys.executable} "$@"',
    )
    return tmp_path


def program(file: Path, text: str) -> None:
    file.write_text(f"#!/usr/bin/env bash\n{text}\n")
    file.chmod(0o755)


def run(machine: Path, *command: str | Path, **environ: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command,
        env={
            "PATH": str(machine / "path"),
            "HOME": str(machine),
            "PLAYWRIGHT_BROWSERS_PATH": str(machine / "cache"),
            **environ,
        },
        capture_output=True,
        text=True,
        check=False,
        cwd=machine,
    )


def look(machine: Path) -> "subprocess.CompletedProcess[str]":
    return run(machine, machine / ".venv/bin/python", "-m", "tests.browser")


def prepare(machine: Path, user: int, **environ: str) -> "subprocess.CompletedProcess[str]":
    program(machine / "path" / "id", f"echo {user}")
    return run(machine, "bash", machine / "bin" / "browser", **environ)


def log(machine: Path) -> list[str]:
    file = machine / "log"
    return file.read_text().splitlines() if file.exists() else []


@pytest.mark.parametrize("name", [NAMES[0], NAMES[-1]])
def test_any_usual_name_on_the_path_is_found_and_nothing_is_installed(
    machine: Path, name: str
) -> None:
    program(machine / "path" / name, "echo 1.0")
    assert look(machine).stdout.strip() == str(machine / "path" / name)
    done = prepare(machine, user=1000)
    assert (done.returncode, done.stderr, log(machine)) == (0, "", [])


def test_what_is_there_and_does_not_run_is_passed_over(machine: Path) -> None:
    program(machine / "path" / "chromium", "echo Please install the snap; exit 1")
    program(machine / "path" / "google-chrome", "echo 1.0")
    assert look(machine).stdout.strip() == str(machine / "path" / "google-chrome")


def test_playwrights_own_is_found_in_the_users_cache(machine: Path) -> None:
    asked = "from playwright.sync_api import *\nwith sync_playwright() as p: print(p.chromium.%s)"
    python = machine / ".venv/bin/python"
    own = Path(run(machine, python, "-c", asked % "executable_path").stdout.strip())
    assert own.is_relative_to(machine / "cache")
    assert look(machine).returncode == 1
    own.parent.mkdir(parents=True)
    program(own, "echo 1.0")
    assert look(machine).stdout.strip() == str(own)


def test_without_any_the_tests_say_what_to_install(machine: Path) -> None:
    done = look(machine)
    assert done.returncode == 1
    assert "`apt-get install chromium`" in done.stderr
    assert "`python -m playwright install chromium`" in done.stderr


def test_root_gets_debians_package_with_fonts(machine: Path) -> None:
    chromium = machine / "path" / "chromium"
    program(
        machine / "path" / "apt-get",
        f'echo "$@" >>{machine}/log\n'
        f'if [ "$1" = install ]; then cat >{chromium} <<<"#!/usr/bin/env bash"; fi\n'
        f"if [ -e {chromium} ]; then {shutil.which('chmod')} +x {chromium}; fi",
    )
    done = prepare(machine, user=0)
    assert done.returncode == 0
    assert done.stderr.startswith("Installing chromium and fonts with apt-get")
    update, install = log(machine)
    assert update.startswith("update")
    assert {"chromium", "fonts-noto-core", "fonts-wqy-microhei"} <= set(install.split())


def test_root_gets_playwrights_where_debians_does_not_run(machine: Path) -> None:
    program(machine / "path" / "apt-get", f'echo "$1" >>{machine}/log; [ "$1" = update ]')
    assert "Installing Playwright's Chromium" in prepare(machine, user=0).stderr
    wanted = ["update", "install", "-m playwright install --with-deps chromium"]
    assert log(machine) == wanted


def test_anybody_else_gets_playwrights_and_is_told(machine: Path) -> None:
    program(machine / "path" / "apt-get", f'echo "$1" >>{machine}/log')
    done = prepare(machine, user=1000)
    assert f"Installing Playwright's Chromium into {machine}/cache" in done.stderr
    assert log(machine) == ["-m playwright install chromium"]


def test_where_none_can_be_had_the_tests_are_run_all_the_same_and_fail(machine: Path) -> None:
    done = prepare(machine, user=1000, REFUSES="1")
    assert done.returncode == 0
    assert done.stderr.endswith("no Chromium that runs: the tests that need one will fail.\n")
    outcome = run(
        machine,
        machine / ".venv/bin/python",
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/test_accessibility.py"),
        *("-k", "fetches"),
    )
    assert outcome.returncode == 1
    assert "no Chromium that runs. Install one" in outcome.stdout
    assert "skipped" not in outcome.stdout
