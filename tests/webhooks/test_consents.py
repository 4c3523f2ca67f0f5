"""What Twilio is told of whom we do not text, and where it and we differ."""

import os
from collections.abc import Callable
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import select

from prefs import directory, ledger, progress, tables
from prefs.address import Address, Channel
from prefs.demo import ACCOUNT, Cast
from prefs.directory import Sender, Tenant
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.policy import ALL, Authority, Block, Event, Kind, Scope, Voice
from tests.conftest import NOON, Clock
from tests.webhooks.twilio_api import Fault, TwilioApi
from tests.webhooks.twilio_api import linked as linked
from tests.webhooks.twilio_api import twilio_api as twilio_api
from webhooks.twilio import consenting
from webhooks.twilio.consenting import Pushed
from webhooks.twilio.patient import Stopped

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)

NEWS = "MG" + "e" * 32


@pytest.fixture
def tenant(linked: Installation, cast: Cast) -> Tenant:
    """acme, with a service for marketing alone."""
    add_sender(linked, cast.tenant, NEWS, "messaging_service")
    return linked.directory.latest.tenants[cast.tenant.id]


def add_sender(
    opened: Installation, tenant: Tenant, identity: str, kind: str, purpose: str = "marketing"
) -> Sender:
    with opened.database.writing() as connection:
        directory.add_sender(
            connection,
            tenant.id,
            tenant.brand("acme").id,
            "twilio",
            ACCOUNT,
            identity,
            kind,
            NOON,
            purpose=purpose,
        )
    opened.directory.refresh()
    found = opened.directory.latest.tenants[tenant.id].senders
    return next(sender for sender in found if sender.identity == identity)


def news(tenant: Tenant) -> Sender:
    (sender,) = consenting.marketing(tenant)
    return sender


Push = Callable[..., Pushed]


@pytest.fixture
def push(linked: Installation, tenant: Tenant) -> Push:
    def run(**changed: Any) -> Pushed:
        given: dict[str, Any] = {
            "opt_ins": False,
            "dry_run": False,
            "sleep": lambda seconds: None,
            **changed,
        }
        sender = given.pop("sender", None) or news(tenant)
        return consenting.push(linked, tenant, sender, **given)

    return run


@pytest.fixture
def say(linked: Installation, tenant: Tenant) -> Callable[..., None]:
    def said(number: str, event: Event, **evidence: str) -> None:
        address = Address.parse(Channel.SMS, number)
        with linked.database.writing() as connection:
            one = Said(Subject.of(tenant, address), event, evidence=evidence)
            ledger.record(connection, tenant.id, one)

    return said


def consent(tenant: Tenant, clock: Clock, topic: str = "product-news", **changed: Any) -> Event:
    given = {"authority": Authority.PERSON, "basis": "express", "door": "preference page"}
    return Event(Kind.IN, clock(), tenant.topic(topic).scope, **{**given, **changed})


def left(
    clock: Clock, door: str = "preference page", voice: Voice = Voice.PERSON, /, **changed: Any
) -> Event:
    scope = changed.pop("scope", ALL)
    return Event(Kind.OUT, clock(), scope, voice, Authority.PERSON, door=door, **changed)


def stop(clock: Clock, /, **changed: Any) -> Event:
    return left(clock, "text message", Voice.STOP, **changed)


A, B, C, D, E = (f"+1415555020{n}" for n in range(5))


# --- opt-outs ---


def test_whoever_has_left_a_brands_marketing_is_told_to_its_marketing_sender_once(
    linked: Installation,
    twilio_api: TwilioApi,
    tenant: Tenant,
    push: Push,
    say: Callable[..., None],
    clock: Clock,
) -> None:
    push()
    twilio_api.consents.clear()
    say(A, left(clock))
    say(B, stop(clock, ours_alone=True))
    say(C, left(clock, "import", Voice.SENDER))
    say(D, consent(tenant, clock))
    done = push()
    assert (done.opt_outs, done.opt_ins, done.errors.total()) == (3, 0, 0)
    assert twilio_api.told == [
        (A, NEWS, "opt-out", "website"),
        (B, NEWS, "opt-out", "opt-out-message"),
        (C, NEWS, "opt-out", "others"),
    ]
    (item, *_), *_ = twilio_api.consents
    assert item["date_of_consent"] == "2026-11-02T12:00:00Z"
    assert A not in item["correlation_id"]
    assert push().opt_outs == 0
    say(D, left(clock, scope=Scope(tenant.brand("acme").id)))
    assert push().opt_outs == 1


def test_what_does_not_end_all_of_it_is_no_opt_out(
    twilio_api: TwilioApi, tenant: Tenant, push: Push, say: Callable[..., None], clock: Clock
) -> None:
    push()
    twilio_api.consents.clear()
    for topic in ("product-news", "events"):
        say(A, consent(tenant, clock, topic))
    say(A, left(clock, scope=tenant.topic("product-news").scope))
    say(B, left(clock, scope=Scope(tenant.brand("outdoor").id)))
    say(C, consent(tenant, clock))
    # A pause ends by itself, and Twilio would go on blocking.
    say(C, Event(Kind.SNOOZE, clock(), ALL, authority=Authority.PERSON, until=clock() + 10**9))
    for topic in ("product-news", "events"):
        say(E, consent(tenant, clock, topic))
    say(E, left(clock, scope=tenant.topic("product-news").scope))
    paused = tenant.topic("events").scope
    say(E, Event(Kind.SNOOZE, clock(), paused, authority=Authority.PERSON, until=clock() + 10**9))
    say(D, Event(Kind.BLOCK, clock(), block=Block.INVALID))
    assert push().opt_outs == 0
    assert twilio_api.consents == []


def test_a_sender_of_transactional_messages_is_never_told(
    linked: Installation, tenant: Tenant
) -> None:
    add_sender(linked, tenant, "+14155550307", "long_code", "both")
    add_sender(linked, tenant, "77777", "short_code", "transactional")
    add_sender(linked, tenant, "+14155550309", "whatsapp", "marketing")
    found = linked.directory.latest.tenants[tenant.id]
    assert [sender.identity for sender in consenting.marketing(found)] == [NEWS]


@ONE_STORE
def test_items_go_by_25_and_no_faster_than_100_calls_a_minute(
    twilio_api: TwilioApi, push: Push, say: Callable[..., None], clock: Clock
) -> None:
    push()
    twilio_api.consents.clear()
    for number in range(60):
        say(f"+141555504{number:02}", left(clock))
    slept: list[float] = []
    assert push(sleep=slept.append).opt_outs == 60
    assert [len(call) for call in twilio_api.consents] == [25, 25, 10]
    assert slept == [0.6, 0.6]
    assert len({item["correlation_id"] for call in twilio_api.consents for item in call}) == 60


@ONE_STORE
def test_an_item_that_twilio_does_not_take_is_counted_and_stops_no_other(
    twilio_api: TwilioApi, push: Push, say: Callable[..., None], clock: Clock
) -> None:
    push()
    say(A, left(clock))
    say(B, left(clock))
    twilio_api.bad_contacts[A] = 30646
    assert push().errors == {30646: 1}
    assert push().opt_outs == 0


def test_the_cursor_waits_for_twilio(
    linked: Installation,
    twilio_api: TwilioApi,
    tenant: Tenant,
    push: Push,
    say: Callable[..., None],
    clock: Clock,
) -> None:
    push()
    say(A, left(clock))
    with linked.database.reading() as connection:
        before = progress.place(connection, tenant.id, f"twilio consents {NEWS}")
    twilio_api.consents.clear()
    assert push(dry_run=True).opt_outs == 1
    assert twilio_api.consents == []
    twilio_api.takes_consents = False
    with pytest.raises(Stopped, match="The Consent API is not enabled"):
        push()
    twilio_api.takes_consents = True
    twilio_api.faults = [Fault(500)] * 5
    with pytest.raises(Stopped, match="answered 500"):
        push()
    with linked.database.reading() as connection:
        assert progress.place(connection, tenant.id, f"twilio consents {NEWS}") == before
    slept: list[float] = []
    twilio_api.faults = [Fault(429, "30"), Fault()]
    assert push(sleep=slept.append).opt_outs == 1
    assert slept == [30, 4]


# --- opt-ins ---


@pytest.mark.parametrize("sender", ["messaging_service", "toll_free"])
def test_who_came_back_by_their_own_later_act_is_told_and_nobody_else(
    linked: Installation,
    twilio_api: TwilioApi,
    tenant: Tenant,
    push: Push,
    say: Callable[..., None],
    clock: Clock,
    sender: str,
) -> None:
    to = news(tenant)
    if sender == "toll_free":
        to = add_sender(linked, tenant, "+18335550100", "toll_free")
    for number in (A, B, C, D):
        say(number, consent(tenant, clock))
        say(number, stop(clock), text="STOP", to=to.identity)
    push(sender=to)
    clock.forward(days=1)
    say(A, consent(tenant, clock, saw=2))
    say(B, consent(tenant, clock, authority=Authority.OVERRIDE, said_at=clock() - 1000))
    lift = Event(Kind.LIFT, clock(), ALL, authority=Authority.START, door="text message")
    say(C, lift, text="START", to=to.identity)
    push(sender=to)
    twilio_api.consents.clear()
    done = push(sender=to, opt_ins=True)
    if sender == "toll_free":
        assert (done.opt_ins, twilio_api.consents) == (0, [])
        return
    assert twilio_api.told == [(A, NEWS, "opt-in", "website")]
    assert twilio_api.consents[0][0]["date_of_consent"] == "2026-11-03T12:00:00Z"
    assert push(sender=to, opt_ins=True).opt_ins == 0
    # What we had told Twilio ourselves is taken back too.
    say(D, Event(Kind.LIFT, clock(), ALL, authority=Authority.PERSON, saw=2, door="undo"))
    say(A, left(clock))
    twilio_api.consents.clear()
    push(sender=to, opt_ins=True)
    assert twilio_api.told == [
        (A, NEWS, "opt-out", "website"),
        (D, NEWS, "opt-in", "website"),
    ]


# --- differences ---


def differing(opened: Installation, tenant: Tenant) -> tuple[list[str], list[str]]:
    found = consenting.differences(opened, tenant, news(tenant))
    mine = {A, B, C, D}
    return (
        sorted(a.value for a in found.twilio_blocks if a.value in mine),
        sorted(a.value for a in found.we_are_stricter if a.value in mine),
    )


def test_where_twilio_and_we_differ_is_shown_until_one_is_told(
    linked: Installation, tenant: Tenant, push: Push, say: Callable[..., None], clock: Clock
) -> None:
    for number in (A, B, C):
        say(number, consent(tenant, clock))
    say(A, stop(clock), text="STOP", to=NEWS)
    say(B, left(clock))
    say(C, stop(clock, ours_alone=True), text="please stop", to=NEWS)
    say(D, stop(clock), error="21610", **{"from": NEWS})
    assert differing(linked, tenant) == ([], [B, C])
    clock.forward(minutes=10)
    say(A, consent(tenant, clock, saw=2))
    say(D, consent(tenant, clock, saw=1))
    assert differing(linked, tenant) == ([A, D], [B, C])
    push()
    assert differing(linked, tenant) == ([A, D], [])
    push(opt_ins=True)
    assert differing(linked, tenant) == ([], [])
    say(B, Event(Kind.LIFT, clock(), ALL, authority=Authority.PERSON, saw=2, door="undo"))
    assert differing(linked, tenant) == ([B], [])
    say(A, stop(clock), text="STOP", to="+14155550999")
    assert differing(linked, tenant) == ([B], [A]), "to another sender, which Twilio blocks there"


def test_a_start_ends_twilios_block_whichever_of_us_heard_it_first(
    linked: Installation, tenant: Tenant, say: Callable[..., None], clock: Clock
) -> None:
    by_twilio: dict[str, Any] = {"clock": "twilio"}
    for number in (A, B, C):
        say(number, consent(tenant, clock))
    start = Event(
        Kind.LIFT, clock(), ALL, authority=Authority.START, said_at=clock(), saw=2, **by_twilio
    )
    # Settled: it stands as a second event, whose text is the first one's evidence.
    say(A, stop(clock), text="STOP", to=NEWS)
    say(A, start)
    # An older STOP that comes late.
    say(B, start, text="START", to=NEWS)
    say(B, stop(clock, said_at=clock() - 5000, **by_twilio), text="STOP", to=NEWS)
    # In words that are ours alone, Twilio blocks on.
    say(C, stop(clock), text="STOP", to=NEWS)
    say(C, start, text="start again please", to=NEWS)
    assert differing(linked, tenant) == ([C], [])
    # YES undoes Twilio's block, and is no START for us.
    say(D, stop(clock), text="STOP", to=NEWS)
    say(D, Event(Kind.TEXT, clock()), text="Yes", to=NEWS)
    assert differing(linked, tenant) == ([C], [D])


Command = Callable[..., Result]


@pytest.fixture
def prefs(linked: Installation, monkeypatch: pytest.MonkeyPatch) -> Command:
    from prefs.cli import main

    for name in [name for name in os.environ if name.startswith("PREFS_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PREFS_DATA", str(linked.settings.data))
    monkeypatch.setenv("PREFS_DATABASE_URL", linked.settings.database_url)
    monkeypatch.setenv("PREFS_TWILIO_API", linked.settings.twilio_api)
    return lambda *words: CliRunner().invoke(main, words)


@ONE_STORE
def test_the_commands_count_and_show_no_number_whole(
    twilio_api: TwilioApi, tenant: Tenant, say: Callable[..., None], prefs: Command, clock: Clock
) -> None:
    say(A, left(clock))
    shown = prefs("twilio", "differences", "--list").output
    assert shown.startswith(f"{NEWS}\n  Twilio blocks, we would send: 0\n")
    assert "+1•••••••00" in shown
    assert A not in shown
    assert '"dry_run": true' in prefs("twilio", "push", "--dry-run").output
    twilio_api.bad_contacts[A] = 30646
    run = prefs("twilio", "push")
    assert run.exit_code == 1
    assert '"30646": 1' in run.output
    assert "did not take 1 of them" in run.output
    twilio_api.takes_consents = False
    say(B, left(clock))
    assert "not enabled" in prefs("twilio", "push").output


@ONE_STORE
def test_without_a_marketing_sender_the_command_says_what_to_do(cast: Cast, prefs: Command) -> None:
    for command in ("push", "differences"):
        run = prefs("twilio", command)
        assert run.exit_code == 1
        assert "a sender of its own, with the purpose marketing" in run.output


def test_a_cursor_belongs_to_its_tenant_and_moves_both_ways(
    linked: Installation, cast: Cast
) -> None:
    with linked.database.writing() as connection:
        other = directory.add_tenant(connection, "other", "Other", NOON)
        assert progress.place(connection, cast.tenant.id, "x") is None
        for place in ("1", "3", "2"):
            progress.move(connection, cast.tenant.id, "x", place)
        assert progress.place(connection, cast.tenant.id, "x") == "2"
        assert progress.place(connection, other, "x") is None
        assert len(connection.execute(select(tables.progress)).all()) == 1
