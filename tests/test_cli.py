"""The command: what it prints can be used, what it refuses it explains, in one line."""

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from prefs import ledger
from prefs.address import Address, Channel
from prefs.cli import main
from prefs.cli.running import FIRST_STEPS
from prefs.database import Database
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.settings import Settings
from tests.conftest import NOTHING_SENDS

ROOT = Path(__file__).parent.parent


@pytest.fixture
def prefs(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> "Command":
    for name in [name for name in os.environ if name.startswith("PREFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFS_DATA", str(settings.data))
    monkeypatch.setenv("PREFS_DATABASE_URL", settings.database_url)
    return Command()


class Command:
    def __call__(self, *words: str, code: int = 0, stdin: str | None = None) -> str:
        result: Result = CliRunner().invoke(main, words, input=stdin)
        assert result.exit_code == code, result.output
        return result.output


def test_the_first_steps_it_prints_lead_to_a_key_and_an_answer(prefs: Command) -> None:
    printed = re.findall(r"^  bin/prefs (.+)$", FIRST_STEPS, re.MULTILINE)
    outputs = [prefs(*shlex.split(line)) for line in printed]
    assert re.fullmatch(r"prefs_[0-9a-f]{12}_[A-Za-z0-9_-]{43}\n", outputs[-1])
    assert prefs("check", "alice@example.org", "--topic", "product-news").startswith("allow: ")


def test_a_check_says_why_and_on_what_it_rests(prefs: Command, cast: Cast) -> None:
    said = prefs("check", "BOB@example.org ", "--topic", "product-news", code=1)
    assert said.startswith("deny: The person opted out. (opted_out)\nIt rests on event 1: out of ")
    assert "through one-click" in said
    assert prefs("check", "bob@example.org", "--topic", "order-updates").startswith("allow: ")
    assert "`--channel sms`" in prefs("check", "+14155550104", "--topic", "events", code=2)
    held = prefs("check", "+14155550104", "--topic", "trail-tips", "--channel", "sms", code=2)
    assert held.startswith("hold: ")


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("history", "alice"), "an email address has an @"),
        (
            ("code", "+14155550100"),
            "`--channel sms`, `--channel whatsapp` or `--channel rcs`, for a device",
        ),
        (("link", "a@example.org", "--language", "xx"), "name a language by its code"),
        (("erase", "nobody@example.org"), "nothing is known of that address"),
        (("topic", "add", "x", "--brand", "acme", "--title", "X"), "such as --email opt_out"),
        (("topic", "add", "X!", "--brand", "acme", "--title", "X", "--email", "opt_in"), "a slug"),
        (("brand", "add", "acme", "--name", "A", "--contact", "c"), "there is a brand of that"),
        (("key", "revoke", "nothing"), "there is no such key"),
        (("link", "a@example.org", "--campaign", "two words"), "a campaign is up to 32"),
        (("sender", "remove", "99"), "there is no such sender"),
        (("tenant", "change", "nobody"), "there is no such tenant"),
    ],
)
def test_what_is_refused_is_explained_in_one_line(
    prefs: Command, cast: Cast, words: tuple[str, ...], advice: str
) -> None:
    said = prefs(*words, code=1)
    assert advice in said.lower()
    assert len(said.splitlines()) == 1
    assert "alice" not in said


def test_without_a_database_it_says_so(
    prefs: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PREFS_DATABASE_URL", f"sqlite:///{tmp_path / 'nowhere' / 'x.sqlite3'}")
    assert "`prefs doctor` tells more" in prefs("tenant", "add", "acme", "--name", "A", code=1)
    assert "run `prefs migrate`" in prefs("doctor", code=1)


def test_an_import_must_say_what_was_left(prefs: Command, cast: Cast, tmp_path: Path) -> None:
    file = tmp_path / "left.csv"
    file.write_text("email\nzoe@example.org\n")
    assert "Say what they left" in prefs("import", str(file), code=2)
    prefs("import", str(file), "--topic", "product-news")
    assert prefs("check", "zoe@example.org", "--topic", "product-news", code=1)


def test_an_erased_person_is_unknown_and_stays_out(prefs: Command, cast: Cast) -> None:
    assert "wording" in prefs("history", "alice@example.org")
    prefs("erase", "alice@example.org", stdin="y\n")
    assert "wording" not in prefs("history", "alice@example.org")
    assert "(erased)" in prefs("check", "alice@example.org", "--topic", "product-news", code=1)


def test_a_key_is_shown_once_rotated_and_revoked(
    prefs: Command, cast: Cast, opened: Installation
) -> None:
    text = prefs("key", "add", "shop", "--scope", "check").strip()
    key_id = text.split("_")[1]
    assert text.split("_", 2)[2] not in prefs("key", "list")
    again = prefs("key", "rotate", key_id, "--grace-hours", "1").strip()
    assert again != text
    prefs("key", "revoke", key_id)
    assert re.search(rf"{key_id}\tshop\tcheck\tends ", prefs("key", "list"))


def test_a_token_is_taken_from_the_prompt_and_never_shown(
    prefs: Command, cast: Cast, settings: Settings
) -> None:
    said = prefs("sender", "token", "AC1", stdin="first-token\n")
    prefs("sender", "token", "AC1", stdin="second-token\n")
    assert settings.provider_tokens("twilio", "AC1") == ("second-token", "first-token")
    assert "kept" in said


def test_replay_finds_no_difference_and_finds_one(
    prefs: Command, cast: Cast, settings: Settings
) -> None:
    assert prefs("replay") == "0 differences.\n"
    database = Database(settings.database_url)
    with database.writing() as connection:
        connection.exec_driver_sql(
            "UPDATE address SET standing = '[1,0,[],[],[],[],[]]' WHERE value = 'bob@example.org'"
        )
    database.close()
    assert prefs("replay", code=1).endswith("1 differences.\n")


@NOTHING_SENDS
def test_doctor_names_the_webhook_and_the_missing_token(prefs: Command, cast: Cast) -> None:
    found = prefs("doctor", code=1)
    assert "no token for AC" in found
    assert "no confirmation by email can be sent for the brand acme: set PREFS_SMTP_URL" in found
    prefs("sender", "token", cast.tenant.senders[0].account, stdin="a-token\n")
    assert "/webhooks/twilio/acme#rc=5&rp=all" in prefs("doctor", code=1)


def test_migrate_may_be_said_twice(prefs: Command, cast: Cast) -> None:
    assert prefs("migrate") == prefs("migrate")


def test_links_are_minted_for_one_address_or_for_many(prefs: Command, cast: Cast) -> None:
    one = prefs("link", "zoe@example.org", "--topic", "product-news")
    assert "List-Unsubscribe-Post: List-Unsubscribe=One-Click" in one
    lines = "".join(f"person{n}@example.org\n" for n in range(2500)) + "\nnobody\n"
    many = prefs("link", "-", "--topic", "product-news", stdin=lines)
    rows = [line for line in many.splitlines() if "/u/" in line]
    assert len(rows) == 2500
    assert len({row.split(",")[1] for row in rows}) == 2500
    assert "line 2502: an email address has an @" in many
    assert "always passes" in prefs("link", "z@example.org", "--topic", "order-updates", code=1)


def test_a_link_tells_in_which_language_its_reader_reads(
    prefs: Command, cast: Cast, opened: Installation
) -> None:
    prefs("link", "zoe@example.org", "--language", "pt-BR")
    zoe = Subject.of(cast.tenant, Address(Channel.EMAIL, "zoe@example.org"))
    with opened.database.reading() as connection:
        assert ledger.known(connection, cast.tenant.id, zoe.digest).language == "pt-BR"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_reader_that_goes_away_is_no_fault(settings: Settings, cast: Cast) -> None:
    lines = "".join(f"person{n}@example.org\n" for n in range(3000))
    command = [sys.executable, "-m", "prefs.cli", "link", "-", "--topic", "product-news"]
    environ = {**os.environ, "PREFS_DATA": str(settings.data)}
    environ["PREFS_DATABASE_URL"] = settings.database_url
    (settings.data / "addresses.txt").write_text(lines)
    with (settings.data / "addresses.txt").open() as stdin:
        running = subprocess.Popen(
            command, cwd=ROOT, env=environ, stdin=stdin, stdout=-1, stderr=-1, text=True
        )
        assert running.stdout
        assert running.stderr
        assert running.stdout.readline().startswith("address,unsubscribe")
        running.stdout.close()
        assert running.stderr.read() == ""
        running.wait()
        running.stderr.close()


def test_the_demo_is_served_where_it_is_told(prefs: Command) -> None:
    told, demo = (prefs(name, "--help").partition("Options:")[2] for name in ("serve", "demo"))
    for option in ("--host", "--port", "--workers"):
        assert option in told
        assert option in demo


def test_what_a_tenant_owns_is_changed_and_listed(prefs: Command, cast: Cast) -> None:
    prefs("brand", "change", "acme", "--name", "Acme Ltd", "--contact", "help@acme.test")
    assert "acme\tAcme Ltd\thelp@acme.test" in prefs("brand", "list")
    prefs("topic", "change", "events", "--title", "Meetings", "--sms", "off", "--rcs", "opt_in")
    assert "events\tmarketing\temail opt_in, rcs opt_in\tMeetings" in prefs("topic", "list")
    prefs("topic", "change", "events", "--whatsapp", "opt_in", "--rcs", "off")
    assert "events\tmarketing\temail opt_in, whatsapp opt_in\tMeetings" in prefs("topic", "list")
    prefs("tenant", "change", "acme", "--name", "Acme of Acmes", "--confirming-ends-complaint")
    assert "acme\tAcme of Acmes" in prefs("tenant", "list")
    made = ("sender", "add", "77001", "--brand", "acme", "--account", "AC1", "--kind", "short_code")
    prefs(*made)
    number = re.search(r"^(\d+)\t77001\t", prefs("sender", "list"), re.MULTILINE)
    assert number
    prefs("sender", "remove", number[1])
    assert "77001" not in prefs("sender", "list")
    prefs(*made)
    assert f"{number[1]}\t77001\t" in prefs("sender", "list"), "and comes back as it was known"


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_on_a_terminal_the_rows_are_counted_and_in_a_pipe_not(
    settings: Settings, cast: Cast, tmp_path: Path
) -> None:
    audience = tmp_path / "audience.csv"
    audience.write_text("email\nzoe@example.org\n")
    environ = {name: text for name, text in os.environ.items() if "PREFS_" not in name}
    environ |= {"PREFS_DATA": str(settings.data), "PREFS_DATABASE_URL": settings.database_url}
    words = ["scrub", str(audience), "--topic", "product-news", "-o", str(tmp_path / "out.csv")]
    command = [sys.executable, "-m", "prefs.cli", *words]
    ours, theirs = pty.openpty()
    subprocess.run(command, stderr=theirs, env=environ, cwd=ROOT, check=True)
    assert b"scrub: 1 rows" in os.read(ours, 10_000)
    for end in (ours, theirs):
        os.close(end)
    piped = subprocess.run(command, capture_output=True, env=environ, cwd=ROOT, check=True)
    assert b"scrub:" not in piped.stderr
