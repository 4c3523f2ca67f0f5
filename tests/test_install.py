"""The first start on a machine that has what it needs, by uv or by pip, or lacks something."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
TOOLS = ("bash", "env", "dirname", "basename", "cksum", "grep", "mv", "rm", "mkdir", "cat")


@pytest.fixture
def machine(tmp_path: Path) -> Path:
    """A checkout, and a PATH on which only what a test puts there is found."""
    for folder in ("bin", "path"):
        (tmp_path / folder).mkdir()
    shutil.copy(ROOT / "bin" / "install", tmp_path / "bin")
    (tmp_path / "requirements.txt").write_text("")
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found
        (tmp_path / "path" / tool).symlink_to(found)
    return tmp_path


def program(machine: Path, name: str, text: str) -> None:
    file = machine / "path" / name
    file.write_text(f"#!/usr/bin/env bash\n{text}\n")
    file.chmod(0o755)


def install(machine: Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        ["bash", machine / "bin" / "install", "requirements.txt"],
        env={"PATH": str(machine / "path"), "HOME": str(machine)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_without_a_python_of_3_11_it_says_which_to_install(machine: Path) -> None:
    program(machine, "python3", "exit 1")
    done = install(machine)
    assert done.returncode != 0
    assert "prefs needs Python 3.11 or newer" in done.stderr
    assert "apt-get install python3 python3-venv" in done.stderr
    assert not (machine / ".venv").exists()


def test_where_a_virtual_environment_cannot_be_made_it_names_debians_package(
    machine: Path,
) -> None:
    """Debian's Python without ensurepip: it runs, and `-m venv` fails half-way."""
    program(
        machine,
        "python3",
        f'if [ "$1" = -m ]; then mkdir .venv; exit 1; fi; exec {sys.executable} "$@"',
    )
    done = install(machine)
    assert done.returncode != 0
    assert "apt-get install python3-venv" in done.stderr
    assert not (machine / ".venv").exists(), "a half-made one would count as made"


def test_uv_is_used_where_it_is_there_and_nothing_is_done_twice(machine: Path) -> None:
    (machine / "path" / "python3").symlink_to(sys.executable)
    log = machine / "uv.log"
    program(
        machine,
        "uv",
        f'echo "$@" >>{log}\nif [ "$1" = venv ]; then mkdir -p .venv/bin; '
        f"printf '#!/usr/bin/env bash\\nexec {sys.executable} \"$@\"\\n' >.venv/bin/python; "
        "chmod() { :; }; "
        f"{sys.executable} -c 'import os; os.chmod(\".venv/bin/python\", 0o755)'; fi",
    )
    for _ in range(2):
        done = install(machine)
        assert done.returncode == 0, done.stderr
    told = log.read_text().splitlines()
    assert [line.split()[0] for line in told] == ["venv", "pip"]
    assert "--require-hashes -r requirements.txt" in told[1]
    os.utime(machine / "requirements.txt")
    (machine / "requirements.txt").write_text("# another\n")
    assert install(machine).returncode == 0
    assert len(log.read_text().splitlines()) == 3, "what changed is installed again"
