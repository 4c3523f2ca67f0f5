"""A number that has a new owner: the old one's consents end, and every no stays."""

import os
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import func, select

from prefs import ledger, progress, tables
from prefs.address import Address, Channel
from prefs.cli.reassigned import reassigned as reassigned_command
from prefs.demo import ACCOUNT, DAVE, FRANK, KIMS_PHONE, Cast
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.policy import ALL, Authority, Block, Event, Kind, Standing, Voice
from tests.conftest import NOON, Clock
from tests.webhooks.twilio_api import Fault, TwilioApi
from tests.webhooks.twilio_api import linked as linked
from tests.webhooks.twilio_api import twilio_api as twilio_api
from webhooks.twilio import deactivating
from webhooks.twilio.deactivating import Report
from webhooks.twilio.patient import Stopped

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

DAY = date(2026, 11, 1)

Run = Callable[..., Report]


@pytest.fixture
def read(linked: Installation, cast: Cast) -> Run:
    def run(day: date = DAY) -> Report:
        slept: list[float] = []
        return deactivating.deactivate(
            linked, cast.tenant, ACCOUNT, day, sleep=slept.append, told=lambda numbers: None
        )

    return run


def standing(opened: Installation, cast: Cast, address: Address) -> Standing:
    with opened.database.reading() as connection:
        return ledger.standing(connection, cast.tenant.id, cast.tenant.digest(address))


def addresses(opened: Installation) -> int:
    with opened.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.address)) or 0


def blocks(opened: Installation, cast: Cast, address: Address) -> list[Block]:
    return [blocked.block for blocked in standing(opened, cast, address).blocks]


def test_the_consents_of_a_reported_number_end_and_its_noes_stay(
    linked: Installation, twilio_api: TwilioApi, read: Run, cast: Cast
) -> None:
    whatsapp = Address(Channel.WHATSAPP, FRANK.value)
    with linked.database.writing() as connection:
        left = Event(Kind.OUT, NOON, ALL, Voice.PERSON, Authority.PERSON)
        ledger.record(connection, cast.tenant.id, Said(Subject.of(cast.tenant, whatsapp), left))
    known = addresses(linked)
    # With and without the country code, as such files come; and a line that is none.
    lines = [FRANK.value[1:], DAVE.value[2:], "+13125550177", "", "none", "x" * 10_000]
    twilio_api.deactivations["2026-11-01"] = "\r\n".join(lines).encode()
    assert read() == Report(DAY, 3, blocked=3)
    assert standing(linked, cast, FRANK).consents == ()
    for address in (FRANK, DAVE, whatsapp):
        assert blocks(linked, cast, address) == [Block.REASSIGNED]
    assert standing(linked, cast, DAVE).stopped
    assert [out.voice for out in standing(linked, cast, whatsapp).outs] == [Voice.PERSON]
    assert standing(linked, cast, KIMS_PHONE).consents
    assert addresses(linked) == known, "nobody becomes known by a report"
    assert read() == Report(DAY, 3, blocked=0, already=3)
    with linked.database.reading() as connection:
        (*_, last) = ledger.history(connection, cast.tenant.id, cast.tenant.digest(FRANK))
    assert (last.source, last.event.door) == ("twilio deactivations", "deactivation report")
    assert FRANK.value not in str(last.source_id)
    assert last.event.said_at == NOON - 36 * 3_600_000


def test_who_opts_in_anew_is_not_blocked_by_the_same_report_again(
    linked: Installation, twilio_api: TwilioApi, read: Run, cast: Cast, clock: Clock
) -> None:
    twilio_api.deactivations["2026-11-01"] = FRANK.value.encode()
    read()
    clock.forward(days=1)
    yes = Event(
        Kind.IN,
        clock(),
        cast.tenant.topic("events").scope,
        authority=Authority.CONFIRMED,
        basis="express",
    )
    with linked.database.writing() as connection:
        ledger.record(connection, cast.tenant.id, Said(Subject.of(cast.tenant, FRANK), yes))
    read()
    assert blocks(linked, cast, FRANK) == []


@ONE_STORE
def test_a_long_report_is_read_as_it_comes(
    linked: Installation, twilio_api: TwilioApi, read: Run, cast: Cast
) -> None:
    lines = [f"1415{number:07}" for number in range(2_000_000, 2_009_999)]
    twilio_api.deactivations["2026-11-01"] = "\n".join([*lines, FRANK.value[1:]]).encode()
    twilio_api.faults = [Fault(503, "1")]
    assert read() == Report(DAY, 10_000, blocked=1)


@ONE_STORE
def test_a_day_without_a_report_is_none_and_a_token_that_is_refused_says_so(
    linked: Installation, twilio_api: TwilioApi, read: Run
) -> None:
    assert read() == Report(DAY, None)
    twilio_api.tokens.clear()
    with pytest.raises(Stopped, match="refuses the token"):
        read()


def test_every_day_since_the_last_is_asked_for_thirty_at_the_most(
    linked: Installation, cast: Cast, clock: Clock
) -> None:
    first = deactivating.days(linked, cast.tenant)
    assert (len(first), first[0], first[-1]) == (30, DAY - timedelta(days=29), DAY)
    deactivating.finished(linked, cast.tenant, DAY)
    assert deactivating.days(linked, cast.tenant) == []
    clock.forward(days=3)
    assert deactivating.days(linked, cast.tenant) == [DAY + timedelta(days=n) for n in (1, 2, 3)]
    clock.forward(days=60)
    assert len(deactivating.days(linked, cast.tenant)) == 30


Command = Callable[..., Result]


@pytest.fixture
def prefs(linked: Installation, monkeypatch: pytest.MonkeyPatch) -> Command:
    from prefs.cli import main

    for name in [name for name in os.environ if name.startswith("PREFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFS_DATA", str(linked.settings.data))
    monkeypatch.setenv("PREFS_DATABASE_URL", linked.settings.database_url)
    monkeypatch.setenv("PREFS_TWILIO_API", linked.settings.twilio_api)

    def run(*words: str, command: Any = main) -> Result:
        return CliRunner().invoke(command, words)

    return run


@ONE_STORE
def test_the_command_goes_on_from_the_last_report_there_is(
    linked: Installation, twilio_api: TwilioApi, cast: Cast, prefs: Command
) -> None:
    today = datetime.now(UTC).date()
    days = [(today - timedelta(days=n)).isoformat() for n in (3, 2, 1)]
    with linked.database.writing() as connection:
        progress.move(
            connection, cast.tenant.id, deactivating.SOURCE, (today - timedelta(days=4)).isoformat()
        )
    twilio_api.deactivations[days[1]] = FRANK.value.encode()
    assert prefs("twilio", "deactivations").output.splitlines() == [
        f"{days[0]}: there is no report (yet)",
        f"{days[1]}: 1 numbers, 1 addresses blocked",
        f"{days[2]}: there is no report (yet)",
    ]
    twilio_api.deactivations[days[2]] = b""
    assert prefs("twilio", "deactivations").output == f"{days[2]}: 0 numbers, 0 addresses blocked\n"
    assert "Every report" in prefs("twilio", "deactivations").output
    one = prefs("twilio", "deactivations", "--date", days[1])
    assert one.output == f"{days[1]}: 1 numbers, 0 addresses blocked, 1 were before\n"


# --- the FCC's database ---


@ONE_STORE
def test_only_a_yes_of_the_reassigned_numbers_database_counts(
    linked: Installation, cast: Cast, prefs: Command, tmp_path: Path
) -> None:
    file = tmp_path / "answers.csv"
    rows = [(FRANK, "Yes"), (KIMS_PHONE, "no"), (DAVE, "No Data")]
    lines = [f"{address.value[2:]},2024-05-01,{answer}" for address, answer in rows]
    file.write_text("\n".join(["Phone Number,Date,Reassigned", *lines, "4155550190,,YES", "x,,no"]))
    run = prefs(str(file), command=reassigned_command)
    assert run.exit_code == 0, run.output
    for said in ('"yes": 2', '"no": 1', '"no_data": 1', '"unreadable": 1', '"blocked": 1'):
        assert said in run.output
    assert blocks(linked, cast, FRANK) == [Block.REASSIGNED]
    assert blocks(linked, cast, KIMS_PHONE) == []
    assert blocks(linked, cast, DAVE) == []
    assert '"already": 1' in prefs(str(file), command=reassigned_command).output


@ONE_STORE
def test_a_file_whose_answers_cannot_be_told_is_refused(
    linked: Installation, cast: Cast, prefs: Command, tmp_path: Path
) -> None:
    file = tmp_path / "answers.csv"
    file.write_text(f"phone,dnc,reassigned\n{FRANK.value},yes,no\n{DAVE.value},no,no\n")
    run = prefs(str(file), command=reassigned_command)
    assert run.exit_code == 1
    assert "Name it with --answers" in run.output
    run = prefs(str(file), "--answers", "Reassigned", command=reassigned_command)
    assert '"no": 2' in run.output
    assert blocks(linked, cast, FRANK) == []
    run = prefs(str(file), "--answers", "nothing", command=reassigned_command)
    assert "give --answers a name of the header" in run.output
