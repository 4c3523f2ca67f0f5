"""What no webhook brought is read from Twilio's own list, once, in Twilio's order of time."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import permutations, product
from threading import Thread
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient
from sqlalchemy import select

from prefs import directory, ledger, letters, progress, tables
from prefs.address import Address, Channel
from prefs.cli import main
from prefs.demo import ACCOUNT, FRANK, TOKEN, Cast
from prefs.directory import Tenant
from prefs.installation import Installation, system_clock
from prefs.keywords import Says
from prefs.ledger import Entry, Said, Subject
from prefs.policy import (
    ALL,
    Authority,
    Block,
    Event,
    Kind,
    Message,
    Millis,
    Outcome,
    Verdict,
    Voice,
    may_send,
)
from prefs.settings import keep_token
from tests.conftest import NOON, Clock
from tests.webhooks.twilio_api import Fault, TwilioApi, webhook
from tests.webhooks.twilio_api import linked as linked
from tests.webhooks.twilio_api import twilio_api as twilio_api
from webhooks.twilio import reconciling
from webhooks.twilio.patient import Stopped
from webhooks.twilio.reconciling import Reconciled, cursor
from webhooks.twilio.sending import NoToken
from wsgi import create_app

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

MINUTE: Millis = 60_000
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR


class Slept:
    """Waits for nobody, and knows for how long it was told to."""

    def __init__(self) -> None:
        self.seconds: list[float] = []

    def __call__(self, seconds: float) -> None:
        self.seconds.append(seconds)


@pytest.fixture
def slept() -> Slept:
    return Slept()


Run = Callable[..., Reconciled]


@pytest.fixture
def reconcile(linked: Installation, cast: Cast, slept: Slept) -> Run:
    def run(account: str = ACCOUNT, since: Millis | None = None, **changed: Any) -> Reconciled:
        tenant = now(linked)
        given: dict[str, Any] = {"told": lambda *_: None, "sleep": slept, **changed}
        return reconciling.reconcile(linked, tenant, account, since=since, **given)

    return run


@pytest.fixture
def hook(linked: Installation, client: FlaskClient) -> FlaskClient:
    return create_app(linked).test_client()


def now(opened: Installation) -> Tenant:
    opened.directory.refresh()
    return next(iter(opened.directory.latest.tenants.values()))


def history(opened: Installation, number: str = FRANK.value, channel: str = "sms") -> list[Entry]:
    """What was said through Twilio."""
    tenant = now(opened)
    digest = tenant.digest(Address.parse(Channel(channel), number))
    with opened.database.reading() as connection:
        past = ledger.history(connection, tenant.id, digest)
    return [entry for entry in past if entry.source == "twilio"]


def is_out(opened: Installation, number: str = FRANK.value) -> bool:
    tenant = now(opened)
    with opened.database.reading() as connection:
        digest = tenant.digest(Address.parse(Channel.SMS, number))
        standing = ledger.standing(connection, tenant.id, digest)
    message = Message(tenant.topic("product-news"), Channel.SMS)
    return may_send(message, standing, opened.clock()).verdict is not Verdict.ALLOW


def place(opened: Installation, account: str = ACCOUNT) -> str | None:
    with opened.database.reading() as connection:
        return progress.place(connection, now(opened).id, cursor(account))


def answers(opened: Installation) -> list[str]:
    table = tables.letter
    with opened.database.reading() as connection:
        found = connection.execute(select(table.c.text).where(table.c.kind == "reply"))
        return [str(row.text) for row in found]


def add_sender(opened: Installation, identity: str, kind: str, **changed: Any) -> None:
    tenant = now(opened)
    given = {"account": ACCOUNT, **changed}
    with opened.database.writing() as connection:
        directory.add_sender(
            connection,
            tenant.id,
            tenant.brand("acme").id,
            "twilio",
            given.pop("account"),
            identity,
            kind,
            NOON,
            **given,
        )
    opened.directory.refresh()


# --- what was missed ---


def test_a_stop_that_no_webhook_brought_is_recorded_with_its_rule_and_twilios_time(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    sid = twilio_api.lists("STOP", NOON - HOUR)
    twilio_api.lists("hello there", NOON - 2 * HOUR)
    assert not is_out(linked)
    done = reconcile()
    assert (done.read, done.known, dict(done.missed)) == (2, 0, {Says.OUT: 1, Says.NOTHING: 1})
    assert is_out(linked)
    talk, stop = history(linked)
    assert talk.event.kind is Kind.TEXT
    event = stop.event
    assert (event.kind, event.voice, event.scope) == (Kind.OUT, Voice.STOP, ALL)
    assert (event.said_at, event.clock, stop.source_id) == (NOON - HOUR, "twilio", sid)
    assert event.rule.startswith("en")
    assert not event.ours_alone
    assert stop.evidence
    assert stop.evidence["text"] == "STOP"


def test_what_a_webhook_has_brought_is_known_and_changes_nothing(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run, hook: FlaskClient
) -> None:
    sid = twilio_api.lists("STOP", NOON - MINUTE)
    assert webhook(hook, MessageSid=sid, Body="STOP").status_code == 200
    before = history(linked)
    done = reconcile()
    assert (done.known, done.missed.total(), history(linked)) == (1, 0, before)
    assert reconcile().known == 1, "the overlap reads it again"
    # And the other way round: a webhook that comes after all.
    late = twilio_api.lists("STOP", NOON)
    assert reconcile().missed.total() == 1
    assert webhook(hook, MessageSid=late, Body="STOP").status_code == 200
    assert len(history(linked)) == 2


def test_days_are_read_from_old_to_new_page_by_page(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    twilio_api.most_on_a_page = 3
    for hour in range(60):
        twilio_api.lists("hello", NOON - hour * HOUR - MINUTE)
    asked: list[Millis] = []
    done = reconcile(since=NOON - 3 * DAY, told=lambda _, at: asked.append(at))
    assert done.read == 60
    assert asked == sorted(asked)
    assert len({at // DAY for at in asked}) == 4
    assert len(history(linked)) == 60
    assert sum("PageToken" in path for path in twilio_api.asked) > 15
    first = next(path for path in twilio_api.asked if "DateSent" in path)
    assert "DateSent%3E=2026-10-30T12%3A00%3A00Z" in first
    assert "DateSent%3C=2026-10-31T00%3A00%3A00Z" in first


def test_the_first_run_reads_a_week_and_the_next_since_an_hour_before_the_last(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run, clock: Clock
) -> None:
    twilio_api.lists("hello", NOON - 8 * DAY)
    twilio_api.lists("hello", NOON - 6 * DAY)
    assert reconcile().read == 1
    assert place(linked) == "2026-11-02T12:00:00.000Z"
    clock.forward(minutes=5)
    # Listed late, as it may be.
    twilio_api.lists("STOP", NOON - 50 * MINUTE)
    assert dict(reconcile().missed) == {Says.OUT: 1}
    assert reconcile(since=NOON - 9 * DAY).read == 3
    # Never from a later time: between the two, a no would be lost.
    twilio_api.lists("hello", NOON + 6 * MINUTE)
    clock.forward(minutes=30)
    assert Says.NOTHING in reconcile(since=clock() - MINUTE).missed


def test_messages_of_others_are_nobodys(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    twilio_api.lists("STOP", NOON - HOUR, to="+14155550177")
    twilio_api.lists("STOP", NOON - HOUR, **{"from": "77777"})
    twilio_api.lists("STOP", NOON - HOUR, direction="outbound-api", to=FRANK.value)
    twilio_api.fails(21610, NOON - HOUR, **{"from": "+14155550177"})
    twilio_api.fails(30007, NOON - HOUR)
    done = reconcile()
    assert (done.read, done.missed.total(), done.failures) == (5, 0, 0)
    assert history(linked) == []


def test_a_service_and_a_sender_that_was_removed_hear_too(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run, cast: Cast
) -> None:
    service = "MG" + "7" * 32
    add_sender(linked, service, "messaging_service")
    with linked.database.writing() as connection:
        directory.remove_sender(connection, cast.tenant, cast.tenant.senders[0].id, NOON)
    twilio_api.lists("STOP", NOON - HOUR)
    number = "+14155550133"
    pool = {"to": "+14155550177", "messaging_service_sid": service, "from": number}
    twilio_api.lists("Quit", NOON - HOUR, **pool)
    whatsapp = {**pool, "from": f"whatsapp:{number}"}
    twilio_api.lists("stop", NOON - HOUR, **whatsapp)
    assert dict(reconcile().missed) == {Says.OUT: 3}
    assert is_out(linked)
    assert is_out(linked, number)
    assert [e.event.kind for e in history(linked, number, "whatsapp")] == [Kind.OUT]


def test_two_accounts_are_read_each_with_its_own_token(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    other, number = "AC" + "b" * 32, "+14155550188"
    add_sender(linked, number, "long_code", account=other)
    twilio_api.tokens[other] = "other-token"
    twilio_api.lists("STOP", NOON - HOUR, account_sid=other, to=number)
    assert reconciling.accounts(now(linked)) == [ACCOUNT, other]
    with pytest.raises(NoToken):
        reconcile(other)
    keep_token(linked.settings.data, "twilio", other, "wrong")
    with pytest.raises(Stopped, match=f"refuses the token of {other}"):
        reconcile(other)
    assert reconcile(ACCOUNT).read == 0
    keep_token(linked.settings.data, "twilio", other, "other-token")
    assert dict(reconcile(other).missed) == {Says.OUT: 1}
    assert place(linked, other) == place(linked, ACCOUNT)


# --- faults on the way ---


def test_twilios_retry_after_is_kept_to_and_what_breaks_off_is_asked_again(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run, slept: Slept
) -> None:
    twilio_api.lists("STOP", NOON - HOUR)
    twilio_api.faults = [Fault(429, "7"), Fault(500), Fault(), Fault(503, "nonsense")]
    assert dict(reconcile(since=NOON - 2 * HOUR).missed) == {Says.OUT: 1}
    assert slept.seconds == [7, 4, 8, 16]


@ONE_STORE
def test_whoever_never_answers_stops_it_where_everything_is_recorded(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run, slept: Slept
) -> None:
    twilio_api.most_on_a_page = 1
    for days in (2, 1, 0):
        for minutes in (1, 2):
            twilio_api.lists("hello", NOON - days * DAY - minutes * MINUTE)

    def breaks(done: Reconciled, at: Millis) -> None:
        if done.read == 3:
            twilio_api.faults = [Fault(500)] * 5

    with pytest.raises(Stopped) as stopped:
        reconcile(since=NOON - 3 * DAY, told=breaks)
    assert "Twilio answered 500, 5 times" in str(stopped.value)
    assert "up to 2026-11-01T00:00:00.000Z is recorded" in str(stopped.value)
    assert place(linked) == "2026-11-01T00:00:00.000Z"
    assert len(slept.seconds) == 4
    twilio_api.faults = [Fault(429, "3600")]
    with pytest.raises(Stopped, match="asks to wait for 3600 seconds"):
        reconcile()
    twilio_api.faults = [Fault(200)]
    with pytest.raises(Stopped, match="Twilio answered what cannot be read"):
        reconcile()
    reconcile()
    assert len(history(linked)) == 6


def test_killed_anywhere_a_second_run_completes_it(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    twilio_api.most_on_a_page = 2
    for hours in range(0, 48, 6):
        twilio_api.lists("STOP", NOON - hours * HOUR, **{"from": f"+141555501{hours:02}"})

    class Killed(BaseException):
        pass

    dies_at = 0

    def dies(done: Reconciled, at: Millis) -> None:
        if done.read >= dies_at:
            raise Killed

    for dies_at in (2, 4, 6, 8, 10):
        with suppress(Killed):
            reconcile(told=dies)
            assert dies_at > 6
    dies_at = 0
    reconcile()
    # What it was told to read from an earlier time, another run need not be told again.
    twilio_api.lists("STOP", NOON - 20 * DAY, **{"from": "+14155550150"})
    with suppress(Killed):
        reconcile(since=NOON - 21 * DAY, told=dies)
    reconcile()
    assert is_out(linked, "+14155550150")
    assert all(is_out(linked, f"+141555501{hours:02}") for hours in range(0, 48, 6))
    assert all(len(history(linked, f"+141555501{hours:02}")) == 1 for hours in range(0, 48, 6))
    assert place(linked) == "2026-11-02T12:00:00.000Z"


def test_two_runs_at_once_record_everything_once(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    twilio_api.most_on_a_page = 7
    for n in range(60):
        number = f"+141555506{n % 20:02}"
        twilio_api.lists("STOP" if n % 3 else "hi", NOON - n * MINUTE, **{"from": number})
    failed: list[BaseException] = []

    def run() -> None:
        try:
            reconcile()
        except BaseException as error:
            failed.append(error)

    runs = [Thread(target=run) for _ in range(3)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert failed == []
    assert sum(len(history(linked, f"+141555506{n:02}")) for n in range(20)) == 60


# --- answers ---


@pytest.mark.parametrize(
    ("age", "answered"), [(10_000, 0), (2 * MINUTE, 1), (6 * MINUTE, 0), (3 * DAY, 0)]
)
@ONE_STORE
def test_who_has_just_texted_is_answered_once_unless_their_webhook_may_still_come(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run, age: Millis, answered: int
) -> None:
    add_sender(linked, "77777", "short_code")
    twilio_api.lists("STOP", NOON - age, to="77777")
    assert reconcile().answered == answered
    assert reconcile().answered == 0
    assert len(answers(linked)) == answered
    assert is_out(linked)


@ONE_STORE
def test_what_twilio_has_answered_gets_no_second_answer(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    service = "MG" + "a" * 32
    add_sender(linked, service, "advanced_opt_out")
    twilio_api.lists("STOP", NOON - MINUTE)
    for word in ("STOP", "please stop texting me"):
        twilio_api.lists(word, NOON - MINUTE, messaging_service_sid=service, to="+14155550177")
    reconcile()
    assert answers(linked) == []
    taken = [e.event for e in history(linked) if e.event.kind is Kind.OUT]
    assert not any(event.ours_alone for event in taken[:2])


# --- failures ---


def test_a_stop_that_only_twilio_knows_of_is_heard_by_the_message_that_failed(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run
) -> None:
    sid = twilio_api.fails(21610, NOON - HOUR)
    twilio_api.fails(21614, NOON - HOUR, to="+14155550145")
    twilio_api.fails(21610, NOON - HOUR, to="+14155550146", status="delivered")
    assert reconcile().failures == 2
    assert is_out(linked)
    (entry,) = history(linked)
    assert (entry.source_id, entry.event.voice) == (f"{sid}.21610", Voice.STOP)
    (other,) = history(linked, "+14155550145")
    assert other.event.block is Block.UNREACHABLE
    assert history(linked, "+14155550146") == []
    assert reconcile().failures == 0


def test_a_failure_from_before_a_start_ends_nothing(
    linked: Installation,
    twilio_api: TwilioApi,
    reconcile: Run,
    hook: FlaskClient,
    clock: Clock,
) -> None:
    webhook(hook, Body="STOP")
    clock.forward(minutes=5)
    twilio_api.fails(21610, clock())
    clock.forward(minutes=5)
    webhook(hook, Body="START")
    assert not is_out(linked)
    assert reconcile().failures == 1
    assert not is_out(linked)
    clock.forward(minutes=5)
    twilio_api.fails(21610, clock())
    reconcile()
    assert is_out(linked)


# --- which came first ---


def test_a_start_within_two_minutes_counts_by_twilios_own_times(
    linked: Installation, twilio_api: TwilioApi, hook: FlaskClient, clock: Clock
) -> None:
    stop = twilio_api.lists("STOP", clock())
    assert webhook(hook, MessageSid=stop, Body="STOP").status_code == 200
    assert is_out(linked)
    clock.forward(seconds=20)
    start = twilio_api.lists("START", clock())
    assert webhook(hook, MessageSid=start, Body="START").status_code == 200
    assert not is_out(linked)
    paths = [path for path in twilio_api.asked if "/Messages/" in path]
    assert sorted(paths) == sorted(
        f"/2010-04-01/Accounts/{ACCOUNT}/Messages/{sid}.json" for sid in (stop, start)
    )


@pytest.mark.parametrize("fault", ["older", "same second", "unknown", "500", "cut"])
@ONE_STORE
def test_a_start_that_is_not_shown_to_be_later_leaves_the_person_out(
    linked: Installation, twilio_api: TwilioApi, hook: FlaskClient, clock: Clock, fault: str
) -> None:
    stop = twilio_api.lists("STOP", clock())
    webhook(hook, MessageSid=stop, Body="STOP")
    clock.forward(seconds=20)
    said_at = {"older": NOON - 5000, "same second": NOON + 400}.get(fault, clock())
    start = twilio_api.lists("START", said_at)
    if fault == "unknown":
        twilio_api.messages.clear()
    twilio_api.faults = {"500": [Fault(500)] * 2, "cut": [Fault()] * 2}.get(fault, [])
    assert webhook(hook, MessageSid=start, Body="START").status_code == 200
    assert is_out(linked)


def test_an_old_start_that_is_read_late_does_not_undo_a_stop_said_since(
    linked: Installation,
    twilio_api: TwilioApi,
    reconcile: Run,
    hook: FlaskClient,
    clock: Clock,
) -> None:
    twilio_api.lists("START", NOON - HOUR)
    stop = twilio_api.lists("STOP", NOON)
    webhook(hook, MessageSid=stop, Body="STOP")
    clock.forward(minutes=30)
    reconcile()
    assert is_out(linked)


@ONE_STORE
def test_in_whatever_order_they_are_heard_it_ends_as_twilios_times_say(
    linked: Installation,
    twilio_api: TwilioApi,
    reconcile: Run,
    hook: FlaskClient,
    clock: Clock,
    opened: Installation,
) -> None:
    tenant = now(linked)
    news = tenant.topic("product-news")
    checked = 0
    stories: list[tuple[tuple[str, int], ...]] = [
        (("STOP", 0), ("START", 40)),
        (("START", 0), ("STOP", 40)),
    ]
    stories += [(("STOP", 0), ("START", 40), ("STOP", 400))]
    stories += [(("STOP", 0), ("START", 300), ("STOP", 310), ("START", 700))]
    for story in stories:
        for by_hook in product((True, False), repeat=len(story)):
            orders = permutations([n for n, is_hooked in enumerate(by_hook) if is_hooked])
            for order in list(orders)[:6]:
                for reads_first in (False, True):
                    number = f"+1415557{checked:04}"
                    _consents(linked, number, news)
                    begin = clock()
                    twilio_api.messages.clear()
                    sids = [
                        twilio_api.lists(word, begin + after * 1000, **{"from": number})
                        for word, after in story
                    ]
                    clock.forward(seconds=story[-1][1] + 5)
                    if reads_first:
                        reconcile()
                    for n in order:
                        webhook(hook, MessageSid=sids[n], From=number, Body=story[n][0])
                        clock.forward(seconds=3)
                    reconcile()
                    told = (story, by_hook, order, reads_first)
                    assert is_out(linked, number) is (story[-1][0] == "STOP"), told
                    checked += 1
                    clock.forward(minutes=90)
    assert checked > 60


def _consents(opened: Installation, number: str, topic: Any) -> None:
    tenant = now(opened)
    event = Event(Kind.IN, opened.clock(), topic.scope, authority=Authority.PERSON, basis="express")
    address = Address.parse(Channel.SMS, number)
    with opened.database.writing() as connection:
        ledger.record(connection, tenant.id, Said(Subject.of(tenant, address), event))


def test_a_yes_from_before_the_question_answers_nothing(
    linked: Installation, twilio_api: TwilioApi, reconcile: Run, clock: Clock, cast: Cast
) -> None:
    heidi = Address(Channel.SMS, "+14155550108")
    twilio_api.lists("YES", NOON - HOUR, **{"from": heidi.value})
    with linked.database.writing() as connection:
        letters.ask(
            connection,
            cast.tenant,
            heidi,
            cast.tenant.topic("events"),
            language="en",
            through="sign-up form",
            evidence={},
            network=None,
            now=clock(),
        )
        for letter in letters.claim_due(connection, clock(), 10):
            letters.sent(connection, letter, clock())
    reconcile()
    assert [e.event.kind for e in history(linked, heidi.value)] != [Kind.IN]
    clock.forward(minutes=10)
    twilio_api.lists("YES", clock() - MINUTE, **{"from": heidi.value})
    reconcile()
    last = history(linked, heidi.value)[-1]
    assert (last.event.kind, last.outcome) == (Kind.IN, Outcome.APPLIED)


@ONE_STORE
def test_a_choice_from_before_the_stop_keeps_nothing(
    linked: Installation,
    twilio_api: TwilioApi,
    reconcile: Run,
    hook: FlaskClient,
    clock: Clock,
) -> None:
    add_sender(linked, "77777", "short_code", clarifies=True)
    tenant = now(linked)
    _consents(linked, FRANK.value, tenant.topic("events"))
    twilio_api.lists("1", NOON - HOUR, to="77777")
    clock.forward(minutes=1)
    said = webhook(hook, Body="STOP", To="77777")
    assert "reply with a number: 1 " in said.text
    reconcile()
    assert Kind.IN not in [entry.event.kind for entry in history(linked)]
    clock.forward(minutes=10)
    twilio_api.lists("1", clock() - MINUTE, to="77777")
    reconcile()
    assert history(linked)[-1].event.kind is Kind.IN


# --- the command ---


@pytest.fixture
def prefs(linked: Installation, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    for name in [name for name in os.environ if name.startswith("PREFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFS_DATA", str(linked.settings.data))
    monkeypatch.setenv("PREFS_DATABASE_URL", linked.settings.database_url)
    monkeypatch.setenv("PREFS_TWILIO_API", linked.settings.twilio_api)
    return lambda *words: CliRunner().invoke(main, words)


def test_the_command_tells_what_was_missed_by_what_it_said(
    linked: Installation, twilio_api: TwilioApi, prefs: Callable[..., Any]
) -> None:
    today = system_clock()
    twilio_api.lists("STOP", today - 9 * MINUTE)
    twilio_api.lists("hi", today - 20 * MINUTE)
    twilio_api.lists("hi", today - 20 * MINUTE)
    run = prefs("twilio", "reconcile")
    assert run.exit_code == 0, run.output
    assert '"missed": {\n    "nothing": 2,\n    "out": 1\n  }' in run.output
    assert '"already_known": 3' in prefs("twilio", "reconcile").output
    assert is_out(replace(linked, clock=system_clock))


@ONE_STORE
def test_the_command_says_which_account_it_could_not_read(
    linked: Installation, twilio_api: TwilioApi, prefs: Callable[..., Any]
) -> None:
    other = "AC" + "d" * 32
    add_sender(linked, "+14155550189", "long_code", account=other)
    run = prefs("twilio", "reconcile")
    assert run.exit_code == 1
    assert f"{other} has no token here" in run.output
    assert '"messages_read": 0' in run.output
    twilio_api.tokens.clear()
    assert f"refuses the token of {ACCOUNT}" in prefs("twilio", "reconcile").output
    assert TOKEN not in run.output
