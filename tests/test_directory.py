"""Whose is what: tenants and their walls, keys, topics, and what a worker knows of them."""

import inspect
import json
import re
import stat
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import fields, replace
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, event, select, text

from prefs import (
    bursts,
    codes,
    devices,
    directory,
    ledger,
    letters,
    minting,
    progress,
    rights,
    short_links,
    tables,
    texts,
)
from prefs.address import Address, Channel
from prefs.bursts import finding, undoing
from prefs.database import Unavailable
from prefs.demo import ALICE, BOB, FRANK, Cast
from prefs.directory import (
    NOBODY,
    SCOPES,
    BadEntry,
    CurrentDirectory,
    Directory,
    Key,
    Taken,
    Tenant,
    Unknown,
)
from prefs.installation import Installation
from prefs.ledger import Cursor, Said, Subject, reading, writing
from prefs.letters import answering, asking
from prefs.links import Action, Claim
from prefs.policy import ALL, Event, Kind, Millis, Mode, Purpose, Scope, Voice
from prefs.settings import BadSetting, Settings
from prefs.texts import Text, delivering, hearing, reviewing, words
from tests.conftest import NOON, Clock
from tests.postgres import Server

HOUR: Millis = 3600 * 1000


@pytest.fixture
def acme(cast: Cast) -> Tenant:
    return cast.tenant


@pytest.fixture
def umbra(opened: Installation) -> Tenant:
    """Another tenant, who has nothing."""
    with opened.database.writing() as connection:
        number = directory.add_tenant(connection, "umbra", "Umbra", NOON)
    opened.directory.refresh()
    return opened.directory.latest.tenants[number]


@pytest.fixture
def away(
    database_url: str, request: pytest.FixtureRequest
) -> Callable[[], AbstractContextManager[None]]:
    """Takes the database away for the length of a block."""

    @contextmanager
    def sqlite() -> Iterator[None]:
        file = Path(database_url.removeprefix("sqlite:///"))
        elsewhere = file.rename(file.with_suffix(".elsewhere"))
        yield
        elsewhere.rename(file)

    @contextmanager
    def postgresql() -> Iterator[None]:
        server: Server = request.getfixturevalue("postgres")
        name = database_url.rpartition("/")[2]
        with server.admin() as admin:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'.encode())
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s", [name]
            )
            yield
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'.encode())

    return sqlite if database_url.startswith("sqlite") else postgresql


def worker(opened: Installation) -> CurrentDirectory:
    """Another worker of the same installation, with the directory of its own start."""
    return CurrentDirectory(
        opened.database, opened.settings.digest_master, opened.settings.snapshot
    )


def split(key_text: str) -> tuple[str, str]:
    _, key_id, secret = key_text.split("_", 2)
    return key_id, secret


def key_of(current: CurrentDirectory, key_text: str) -> Key | None:
    return current.find(lambda known: known.keys.get(split(key_text)[0]))


def add_key(opened: Installation, tenant: Tenant, *scopes: str) -> str:
    with opened.database.writing() as connection:
        _, key_text = directory.add_key(connection, tenant.id, "a key", frozenset(scopes), NOON)
    return key_text


# --- the wall between tenants ---

VERBS: list[Callable[..., Any]] = [
    *(ledger.record, ledger.record_many, ledger.lock, ledger.remember, ledger.standing),
    *(ledger.standings, ledger.known, ledger.roll, ledger.history, ledger.here, ledger.changes),
    *(ledger.replay, ledger.heard, ledger.replace_token, reading.standing_of),
    *(ledger.of_person, ledger.family, rights.erase, devices.register),
    *(letters.ask, letters.ask_for_link, letters.confirm, letters.refuse, letters.said_yes),
    *(asking.locked, short_links.kept, codes.make, minting.kept),
    *(bursts.find, bursts.named, bursts.undo, finding.words_of, letters.answer),
    *(texts.hear, texts.hear_many, texts.settle, texts.undelivered, words.reply, words.kept),
    *(texts.waiting, texts.all_waiting, texts.named, texts.decide),
    *(progress.place, progress.move),
]

FOUND_BY_THEIR_CODE: list[Callable[..., Any]] = [short_links.opened, codes.use]
"""What a person types says whose it is, and nothing else does. Both give the tenant back."""


OTHERS = (short_links, codes, minting, finding, undoing, hearing, delivering, reviewing, words)
OTHERS += (progress,)


def test_there_is_no_verb_without_a_tenant() -> None:
    public: set[Callable[..., Any]] = {
        verb
        for module in (reading, writing, rights, devices, asking, answering, *OTHERS)
        for name, verb in inspect.getmembers(module, inspect.isfunction)
        if verb.__module__ == module.__name__ and not name.startswith("_")
        if "connection" in inspect.signature(verb).parameters
    }
    assert public == {*VERBS, *FOUND_BY_THEIR_CODE}
    for verb in VERBS:
        tenant = inspect.signature(verb).parameters["tenant"]
        assert tenant.default is inspect.Parameter.empty, verb.__name__


def test_every_statement_of_the_ledger_names_the_tenant(opened: Installation, acme: Tenant) -> None:
    said: list[str] = []

    @event.listens_for(opened.database.engine, "before_cursor_execute")
    def hear(*heard: Any) -> None:
        said.append(" ".join(heard[2].split()))

    alice = Subject.of(acme, ALICE)
    token = Subject.of(acme, Address(Channel.PUSH, "fcm:token"))
    newer = Subject.of(acme, Address(Channel.PUSH, "fcm:newer"))
    left = Event(Kind.OUT, NOON, ALL, Voice.PERSON)
    taken_back = Event(Kind.RETRACT, NOON, retracts=(1,))
    with opened.database.writing() as connection:
        ledger.record(connection, acme.id, Said(alice, left, "test", "1", {"ip": "192.0.2.1"}))
        ledger.record_many(
            connection, acme.id, [Said(alice, left, "test", "2"), Said(alice, taken_back)]
        )
        ledger.remember(connection, acme.id, [Subject.of(acme, BOB)])
        devices.register(connection, acme.id, token, None, "17", NOON)
        devices.register(connection, acme.id, newer, token, "17", NOON)
        asked = {"language": "en", "network": "192.0.2.1", "now": NOON}
        letters.ask_for_link(connection, acme, BOB, acme.brand("acme"), **asked)
        events = acme.topic("events")
        letter = letters.ask(
            connection, acme, BOB, events, through="form", evidence={}, **asked
        ).letter
        assert letter
        claim = Claim(
            Action.CONFIRM,
            acme.id,
            Channel.EMAIL,
            letter.digest,
            Scope(None, events.scope.topic),
            NOON,
            str(letter.saw),
        )
        letters.confirm(connection, acme, claim, wording={}, evidence={}, through="page", now=NOON)
        rights.erase(connection, acme.id, alice, NOON)
        codes.make(connection, acme.id, alice, NOON)
        wanted = [minting.Wanted.of(acme, alice, ALL)]
        links = minting.signed(opened, acme, wanted, NOON)
        minting.kept(connection, opened.settings, acme, wanted, links, short=True)
        unclear = Text(acme.senders[0], FRANK, "wrong number", "test", "3")
        texts.hear(connection, acme, unclear, NOON)
        (review,) = texts.all_waiting(connection, acme)
        texts.decide(connection, acme, review.id, is_no=True, by="a test", now=NOON)
    with opened.database.reading() as connection:
        ledger.standing(connection, acme.id, alice.digest)
        ledger.known(connection, acme.id, alice.digest)
        ledger.family(connection, acme.id, token.digest)
        ledger.roll(connection, acme.id, Channel.EMAIL)
        ledger.history(connection, acme.id, alice.digest)
        ledger.changes(connection, acme.id, ledger.here(connection, acme.id))
        ledger.changes(connection, acme.id, Cursor())
        list(ledger.replay(connection, acme.id))
    event.remove(opened.database.engine, "before_cursor_execute", hear)

    about_people = [s for s in said if re.search(r"\b(address|event|evidence|letter)\b", s)]
    about_people = [
        s for s in said if re.search(r"\b(address|event|evidence|short_link|one_time_code)\b", s)
    ]
    assert len(about_people) > 30
    for statement in about_people:
        if statement.startswith("INSERT"):
            assert "tenant_id" in statement, statement
        else:
            parts = re.split(r"\b(?:SELECT|(?<!FOR )UPDATE|DELETE)\b", statement)
            for part in parts[1:]:
                if "FROM" in part or "SET" in part:
                    assert re.search(r"\bWHERE\b.*\btenant_id = ", part), statement


def test_the_digests_of_two_tenants_cannot_be_joined(acme: Tenant, umbra: Tenant) -> None:
    assert acme.digest(ALICE) != umbra.digest(ALICE)
    assert acme.digest_key != umbra.digest_key
    assert len(acme.digest(ALICE)) == 16


def test_no_secret_is_shown_when_a_tenant_or_a_key_is_printed(
    opened: Installation, acme: Tenant, cast: Cast
) -> None:
    key = key_of(opened.directory, cast.key)
    assert key
    for secret in (acme.digest_key, key.hash, opened.settings.digest_master):
        assert repr(secret) not in repr((acme, key, opened.settings))
        assert secret.hex() not in repr((acme, key, opened.settings))


def test_a_tenant_has_nothing_of_another(acme: Tenant, umbra: Tenant) -> None:
    assert (umbra.brands, umbra.topics, umbra.senders) == ({}, {}, ())
    with pytest.raises(Unknown):
        umbra.topic("product-news")
    assert umbra.topic_of(acme.topic("product-news").scope) is None
    assert umbra.whole(Scope(None, acme.topic("product-news").scope.topic)) is None
    assert umbra.whole(Scope(acme.brand("acme").id)) is None


def test_an_unknown_topic_or_brand_never_becomes_all_marketing(acme: Tenant) -> None:
    assert acme.scope() == ALL
    assert acme.scope(brand="outdoor") == Scope(acme.brand("outdoor").id)
    assert acme.scope(topic="events", brand="acme") == acme.topic("events").scope
    for wrong in (
        {"topic": "no-such"},
        {"topic": ""},
        {"brand": "no-such"},
        {"brand": ""},
        {"topic": "events", "brand": "outdoor"},
        {"topic": "events", "brand": ""},
    ):
        with pytest.raises(Unknown):
            acme.scope(**wrong)


# --- keys ---


def stored(opened: Installation) -> str:
    """Every row of every table as text, and the snapshot."""
    rows: list[Any] = []
    with opened.database.reading() as connection:
        for table in tables.metadata.sorted_tables:
            rows += connection.execute(select(table)).all()
    return repr(rows) + opened.settings.snapshot.read_text()


def test_a_key_is_shown_once_and_kept_as_a_hash(opened: Installation, acme: Tenant) -> None:
    key_text = add_key(opened, acme, "check")
    opened.directory.refresh()
    key_id, secret = split(key_text)
    assert len(secret) >= 43
    everything = stored(opened)
    assert key_id in everything
    assert secret not in everything
    assert secret.encode().hex() not in everything
    key = opened.directory.latest.keys[key_id]
    assert secret not in repr(key) + repr([getattr(key, field.name) for field in fields(key)])


def test_a_key_opens_for_its_secret_alone(opened: Installation, acme: Tenant) -> None:
    key_text, other = add_key(opened, acme, "check"), add_key(opened, acme, "check")
    key, secret = key_of(opened.directory, key_text), split(key_text)[1]
    assert key
    assert key.tenant_id == acme.id
    assert key.scopes == {"check"}
    assert key.opens(secret, NOON)
    for wrong in ("", secret[:-1], secret + "x", secret.swapcase(), split(other)[1], key_text, "é"):
        assert not key.opens(wrong, NOON)


def test_a_key_has_known_scopes_and_at_least_one(opened: Installation, acme: Tenant) -> None:
    for wrong in ((), ("everything",), ("check", "Admin")):
        with pytest.raises(BadEntry) as refused:
            add_key(opened, acme, *wrong)
        assert refused.value.field == "scopes"


def test_a_revoked_key_opens_no_more_from_that_moment(opened: Installation, acme: Tenant) -> None:
    key_text = add_key(opened, acme, "check")
    key, secret = key_of(opened.directory, key_text), split(key_text)[1]
    assert key
    with opened.database.writing() as connection:
        directory.end_key(connection, key, NOON)
    opened.directory.refresh()
    ended = key_of(opened.directory, key_text)
    assert ended
    assert ended.opens(secret, NOON - 1)
    assert not ended.opens(secret, NOON)
    assert not ended.opens(secret, NOON + HOUR)


def test_a_rotated_key_goes_on_for_its_grace_beside_the_new_one(
    opened: Installation, acme: Tenant
) -> None:
    old_text = add_key(opened, acme, "check", "record")
    old = key_of(opened.directory, old_text)
    assert old
    with opened.database.writing() as connection:
        new, new_text = directory.rotate_key(connection, old, NOON, HOUR)
    opened.directory.refresh()
    old, known = key_of(opened.directory, old_text), key_of(opened.directory, new_text)
    assert old
    assert known == new
    assert (new.name, new.scopes, new.ends_at) == (old.name, old.scopes, None)
    assert new_text != old_text
    assert old.opens(split(old_text)[1], NOON + HOUR - 1)
    assert not old.opens(split(old_text)[1], NOON + HOUR)
    assert new.opens(split(new_text)[1], NOON + 1000 * HOUR)
    assert not new.opens(split(old_text)[1], NOON)


@pytest.mark.parametrize("known_to_be_ended", [True, False])
def test_a_revoked_key_stays_revoked_whatever_an_older_worker_does_to_it(
    opened: Installation, acme: Tenant, known_to_be_ended: bool
) -> None:
    key_text = add_key(opened, acme, "check")
    key = key_of(opened.directory, key_text)
    assert key
    with opened.database.writing() as connection:
        directory.end_key(connection, key, NOON)
    if known_to_be_ended:
        key = replace(key, ends_at=NOON)
    with opened.database.writing() as connection:
        directory.end_key(connection, key, NOON + HOUR)
        directory.rotate_key(connection, key, NOON, HOUR)
    opened.directory.refresh()
    ended = key_of(opened.directory, key_text)
    assert ended
    assert ended.ends_at == NOON


def test_a_grace_can_be_cut_short(opened: Installation, acme: Tenant) -> None:
    key_text = add_key(opened, acme, "check")
    key = key_of(opened.directory, key_text)
    assert key
    with opened.database.writing() as connection:
        directory.rotate_key(connection, key, NOON, HOUR)
        directory.end_key(connection, key, NOON + 1)
    opened.directory.refresh()
    ended = key_of(opened.directory, key_text)
    assert ended
    assert ended.ends_at == NOON + 1


# --- what another worker knows ---


def test_another_worker_learns_of_a_new_key_when_it_is_shown(
    opened: Installation, acme: Tenant
) -> None:
    other = worker(opened)
    key_text = add_key(opened, acme, "check")
    assert split(key_text)[0] not in other.latest.keys
    key = key_of(other, key_text)
    assert key
    assert key.opens(split(key_text)[1], NOON)


def test_another_worker_learns_of_a_revocation_when_it_looks(
    opened: Installation, acme: Tenant
) -> None:
    key_text = add_key(opened, acme, "check")
    other = worker(opened)
    key = key_of(other, key_text)
    assert key
    with opened.database.writing() as connection:
        directory.end_key(connection, key, NOON)
    assert other.refresh()
    ended = key_of(other, key_text)
    assert ended
    assert not ended.opens(split(key_text)[1], NOON)
    assert not other.refresh(), "and then there is nothing new"


def test_a_worker_looks_often_enough_for_a_revocation_to_hold_within_ten_seconds() -> None:
    assert directory.POLL_SECONDS <= 5


def test_what_another_thread_has_just_read_is_found_too(opened: Installation, acme: Tenant) -> None:
    current = worker(opened)
    key_text = add_key(opened, acme, "check")
    looked = 0

    def look(known: Directory) -> Key | None:
        nonlocal looked
        looked += 1
        found = known.keys.get(split(key_text)[0])
        if looked == 1:
            # Between the look and the reading, another thread reads.
            with ThreadPoolExecutor(1) as thread:
                assert thread.submit(current.refresh).result(10)
        return found

    assert current.find(look)


def test_what_there_is_not_is_not_found(opened: Installation, acme: Tenant) -> None:
    assert opened.directory.find(lambda known: known.keys.get("no-such")) is None


def test_every_change_is_news_to_another_worker(opened: Installation, acme: Tenant) -> None:
    other = worker(opened)
    email = {Channel.EMAIL: Mode.OPT_OUT}
    marketing = Purpose.MARKETING

    def brand() -> Tenant:
        return other.latest.tenants[acme.id]

    for change in (
        lambda c: directory.add_tenant(c, "other", "Other", NOON),
        lambda c: directory.change_tenant(c, acme, name="Acme Ltd", confirming_ends_complaint=True),
        lambda c: directory.add_brand(c, acme.id, "pets", "Pets", "help@pets.example", NOON),
        lambda c: directory.add_topic(
            c, acme.id, acme.brand("acme").id, "cats", "Cats", "", marketing, email, NOON
        ),
        lambda c: directory.change_topic(c, brand(), "cats", title="Dogs"),
        lambda c: directory.add_sender(
            c, acme.id, acme.brand("acme").id, "twilio", "AC1", "+14155550100", "toll_free", NOON
        ),
        lambda c: directory.change_sender(c, brand(), brand().senders[-1].id, leaves="brand"),
        lambda c: directory.remove_sender(c, brand(), brand().senders[-1].id, NOON),
    ):
        with opened.database.writing() as connection:
            change(connection)
        assert other.refresh()
    now = brand()
    assert (now.name, now.confirming_ends_complaint) == ("Acme Ltd", True)
    assert now.topic("cats").title == "Dogs"
    assert now.topic("cats").scope.brand == now.brand("acme").id
    assert len(now.senders) == 1
    assert [sender.leaves for sender in now.removed_senders] == ["brand"]


# --- the snapshot ---


def test_the_snapshot_is_for_the_owner_alone(opened: Installation, acme: Tenant) -> None:
    snapshot = opened.settings.snapshot
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600
    snapshot.chmod(0o644)
    add_key(opened, acme, "check")
    opened.directory.refresh()
    assert stat.S_IMODE(snapshot.stat().st_mode) == 0o600
    assert [file.name for file in snapshot.parent.glob("directory*")] == ["directory.json"]


def test_the_snapshot_holds_no_address(opened: Installation, acme: Tenant) -> None:
    assert "example.org" not in opened.settings.snapshot.read_text()


def test_a_start_without_the_database_knows_what_was_known_last(
    opened: Installation,
    acme: Tenant,
    cast: Cast,
    clock: Clock,
    away: Callable[[], AbstractContextManager[None]],
) -> None:
    with away():
        started = Installation.open(opened.settings, clock)
        assert started.directory.latest == opened.directory.latest
        key = key_of(started.directory, cast.key)
        assert key
        assert key.opens(split(cast.key)[1], NOON)
        with pytest.raises(Unavailable):
            key_of(started.directory, "prefs_unknown_key")
    key_text = add_key(opened, acme, "check")
    assert key_of(started.directory, key_text), "and hears what is new once it is back"
    started.database.close()


def test_a_broken_snapshot_is_as_good_as_none(
    opened: Installation,
    acme: Tenant,
    clock: Clock,
    away: Callable[[], AbstractContextManager[None]],
) -> None:
    with away():
        for broken in ("", "{", "[]", "null", '{"revision": 5}', '"\\ud800"'):
            opened.settings.snapshot.write_text(broken)
            started = Installation.open(opened.settings, clock)
            assert started.directory.latest == NOBODY
    started.directory.refresh()
    assert started.directory.latest == opened.directory.latest
    assert json.loads(opened.settings.snapshot.read_text())
    started.database.close()


# --- the digest secret ---


def wrong(settings: Settings) -> Settings:
    return replace(settings, digest_master=bytes(range(32)))


def test_with_another_digest_secret_it_refuses_to_open_and_says_which_to_restore(
    opened: Installation, acme: Tenant, clock: Clock
) -> None:
    told = r"PREFS_DIGEST_KEY is not the secret .*: restore that one"
    with pytest.raises(BadSetting, match=told), opened.database.writing() as connection:
        directory.prepare(connection, wrong(opened.settings).digest_master)
    Installation.open(opened.settings, clock).database.close()


def test_with_another_digest_secret_and_no_database_at_the_start_it_never_knows_anybody(
    opened: Installation,
    acme: Tenant,
    cast: Cast,
    clock: Clock,
    away: Callable[[], AbstractContextManager[None]],
) -> None:
    """Everybody would have another digest, and so would seem to have said nothing."""
    with away():
        started = Installation.open(wrong(opened.settings), clock)
    with pytest.raises(Unavailable, match="PREFS_DIGEST_KEY"):
        key_of(started.directory, cast.key)
    assert started.directory.latest == NOBODY
    assert opened.settings.snapshot.exists()
    started.database.close()


@pytest.mark.parametrize("database_url", ["sqlite", "postgresql"], indirect=True)
def test_workers_that_start_an_empty_installation_at_once_agree(
    settings: Settings, clock: Clock
) -> None:
    with ThreadPoolExecutor(6) as threads:
        started = list(threads.map(lambda _: Installation.open(settings, clock), range(6)))
    with started[0].database.reading() as connection:
        assert len(connection.execute(select(tables.installation)).all()) == 1
    for one in started:
        one.database.close()


# --- names ---


def test_a_slug_is_letters_digits_and_hyphens(opened: Installation) -> None:
    slugs = ["a", "7", "product-news", "x" * 64, "a--b"]
    with opened.database.writing() as connection:
        for slug in slugs:
            directory.add_tenant(connection, slug, "Somebody", NOON)
    opened.directory.refresh()
    assert set(opened.directory.latest.slugs) == set(slugs)


def test_what_is_no_slug_is_refused(opened: Installation, acme: Tenant) -> None:
    def add_topic(connection: Connection, slug: str) -> None:
        brand, offered = acme.brand("acme").id, {Channel.EMAIL: Mode.OPT_OUT}
        directory.add_topic(
            connection, acme.id, brand, slug, "A", "", Purpose.MARKETING, offered, NOON
        )

    makes: list[Callable[[Connection, str], object]] = [
        lambda c, slug: directory.add_tenant(c, slug, "Somebody", NOON),
        lambda c, slug: directory.add_brand(c, acme.id, slug, "A", "a@b.example", NOON),
        add_topic,
    ]
    wrong = ["", "-a", "a-", "A", "\u00e9", "a b", "a/b", "a.b", "a_b", "x" * 65, "a\n", "a\0"]
    with opened.database.writing() as connection:
        for make, slug in product(makes, [*wrong, "\ud800", "\u0661"]):
            with pytest.raises(BadEntry) as refused:
                make(connection, slug)
            assert refused.value.field == "slug"


def test_a_name_that_is_taken_is_refused_and_what_else_was_done_stands(
    opened: Installation, acme: Tenant, umbra: Tenant
) -> None:
    with opened.database.writing() as connection:
        directory.add_brand(connection, acme.id, "pets", "Pets", "help@pets.example", NOON)
        with pytest.raises(Taken):
            directory.add_tenant(connection, "acme", "Another", NOON)
        with pytest.raises(Taken):
            directory.add_brand(connection, acme.id, "pets", "P", "p@b.example", NOON)
        directory.add_brand(connection, umbra.id, "pets", "Pets", "help@pets.example", NOON)
    opened.directory.refresh()
    for tenant in (acme, umbra):
        assert "pets" in opened.directory.latest.tenants[tenant.id].brands


def test_a_sender_is_of_a_known_provider_and_kind_and_is_added_once(
    opened: Installation, acme: Tenant
) -> None:
    def add(connection: Any, **changed: str) -> None:
        said = {
            "provider": "twilio",
            "account": "AC1",
            "identity": "+1 415 555 0198",
            "kind": "long_code",
        }
        directory.add_sender(connection, acme.id, acme.brand("acme").id, **said | changed, now=NOON)

    with opened.database.writing() as connection:
        add(connection)
        for changed, field in (
            ({"provider": "pigeon"}, "provider"),
            ({"kind": "loud"}, "kind"),
            ({"identity": "+1 (415) 555-0198"}, "identity"),
            ({"identity": "4155550197"}, "identity"),
        ):
            with pytest.raises(BadEntry) as refused:
                add(connection, **changed)
            assert refused.value.field == field
        with pytest.raises(Unknown):
            directory.remove_sender(connection, acme, 12345, NOON)


# --- topics ---


def test_the_purpose_of_a_topic_never_changes(opened: Installation, acme: Tenant) -> None:
    """Marketing that was renamed to transactional would pass every no."""
    assert "purpose" not in inspect.signature(directory.change_topic).parameters
    everywhere = dict.fromkeys(Channel, Mode.OPT_OUT)
    with opened.database.writing() as connection:
        directory.change_topic(
            connection,
            acme,
            "product-news",
            title="Order updates",
            description="Where your order is.",
            offered=everywhere,
        )
        with pytest.raises(Taken):
            directory.add_topic(
                connection,
                acme.id,
                acme.brand("acme").id,
                "product-news",
                "Product news",
                "",
                Purpose.TRANSACTIONAL,
                everywhere,
                NOON,
            )
    opened.directory.refresh()
    before = acme.topic("product-news")
    after = opened.directory.latest.tenants[acme.id].topic("product-news")
    assert after.purpose is Purpose.MARKETING
    assert (after.scope, after.slug) == (before.scope, before.slug)
    assert (after.title, after.offered) == ("Order updates", everywhere)


def test_a_topic_goes_out_on_at_least_one_channel(opened: Installation, acme: Tenant) -> None:
    with opened.database.writing() as connection:
        with pytest.raises(BadEntry) as refused:
            directory.change_topic(connection, acme, "events", offered={})
        assert refused.value.field == "channels"
        with pytest.raises(BadEntry) as refused:
            directory.add_topic(
                connection, acme.id, 1, "cats", "Cats", "", Purpose.MARKETING, {}, NOON
            )
        assert refused.value.field == "channels"


def test_all_but_email_needs_a_yes_unless_the_tenant_says_otherwise() -> None:
    modes = {channel: directory.default_mode(channel) for channel in Channel}
    assert modes.pop(Channel.EMAIL) is Mode.OPT_OUT
    assert set(modes.values()) == {Mode.OPT_IN}


def test_there_are_no_other_scopes_than_those_documented() -> None:
    assert set(SCOPES) == {"check", "record", "override", "links", "import", "export", "admin"}


def test_a_change_that_is_not_committed_is_known_to_nobody(
    opened: Installation, acme: Tenant
) -> None:
    other = worker(opened)
    with suppress(RuntimeError), opened.database.writing() as connection:
        directory.add_brand(connection, acme.id, "pets", "Pets", "help@pets.example", NOON)
        raise RuntimeError("the door broke")
    assert not other.refresh()
    with opened.database.reading() as connection:
        assert connection.scalar(text("SELECT count(*) FROM brand WHERE slug = 'pets'")) == 0
