"""Double opt-in: a question is no word, its answer is, and nobody is asked too often."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, select

from prefs import devices, directory, ledger, letters, rights, tables
from prefs.address import Address, BadAddress, Channel
from prefs.demo import ALICE, BOB, CAROL, DAVE, ERIN, FRANK, Cast
from prefs.directory import BadEntry, Tenant
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.letters import Asked, Confirmed, Letter
from prefs.letters.posting import BACKOFF, LEASE
from prefs.links import CONFIRM_FOR, Action, BadLink, Claim
from prefs.policy import (
    ALL,
    Authority,
    Block,
    Event,
    Kind,
    Message,
    Outcome,
    Scope,
    Verdict,
    Voice,
    may_send,
)
from tests.conftest import Clock

GRACE = Address(Channel.EMAIL, "grace@example.org")
HEIDI = Address(Channel.SMS, "+14155550108")
WORDING = {"text": "Yes, send me this.", "language": "en"}


class Desk:
    """Asks and answers for acme, each time in a transaction of its own."""

    def __init__(self, opened: Installation, cast: Cast, clock: Clock) -> None:
        self.opened = opened
        self.tenant = cast.tenant
        self.clock = clock

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self.opened.database.writing() as connection:
            yield connection

    def ask(self, address: Address = GRACE, topic: str = "events", **changed: Any) -> Asked:
        said = {
            "language": "en",
            "through": "sign-up form",
            "evidence": {"ip": "192.0.2.10"},
            "network": None,
            "now": self.clock(),
            **changed,
        }
        with self.writing() as connection:
            return letters.ask(connection, self.tenant, address, self.tenant.topic(topic), **said)

    def ask_for_link(self, address: Address, network: str | None = None) -> Asked:
        with self.writing() as connection:
            return letters.ask_for_link(
                connection,
                self.tenant,
                address,
                self.tenant.brand("acme"),
                language="en",
                network=network,
                now=self.clock(),
            )

    def claim(self, letter: Letter | None) -> Claim:
        """The claim of the link that is in the letter."""
        assert letter
        url = letters.written(self.tenant, letter, self.opened.links, "https://p.example").link
        return self.opened.links.open(url.rpartition("/")[2], Action.CONFIRM)

    def confirm(self, letter: Letter | Claim | None, saw: int | None = None) -> Confirmed:
        claim = letter if isinstance(letter, Claim) else self.claim(letter)
        with self.writing() as connection:
            return letters.confirm(
                connection,
                self.tenant,
                claim,
                wording=WORDING,
                evidence={"ip": "192.0.2.20"},
                through="confirmation page",
                now=self.clock(),
                saw=saw,
            )

    def say(self, address: Address, kind: Kind, scope: Scope = ALL, **rest: Any) -> None:
        with self.writing() as connection:
            event = Event(kind, self.clock(), scope, **rest)
            said = Said(Subject.of(self.tenant, address), event)
            ledger.record(connection, self.tenant.id, said)

    def reason(self, address: Address = GRACE, topic: str = "events") -> tuple[Verdict, str]:
        digest = self.tenant.digest(address)
        with self.opened.database.reading() as connection:
            standing = ledger.standing(connection, self.tenant.id, digest)
        message = Message(self.tenant.topic(topic), address.channel, address)
        decision = may_send(message, standing, self.clock())
        return decision.verdict, decision.reason

    def history(self, address: Address = GRACE) -> list[ledger.Entry]:
        with self.opened.database.reading() as connection:
            return ledger.history(connection, self.tenant.id, self.tenant.digest(address))

    def row(self, address: Address = GRACE) -> Any:
        table = tables.address
        with self.opened.database.reading() as connection:
            return connection.execute(
                select(table).where(table.c.digest == self.tenant.digest(address))
            ).first()

    def letters(self) -> list[Any]:
        with self.opened.database.reading() as connection:
            return list(connection.execute(select(tables.letter).order_by(tables.letter.c.id)))

    def take(self, limit: int = 10) -> list[Letter]:
        with self.writing() as connection:
            return letters.claim_due(connection, self.clock(), limit)


@pytest.fixture
def desk(opened: Installation, cast: Cast, clock: Clock) -> Desk:
    return Desk(opened, cast, clock)


def reasons(*asked: Asked) -> list[str | None]:
    return [one.reason for one in asked]


# --- a question is no word ---


def test_a_question_lets_nothing_be_sent(desk: Desk) -> None:
    before = desk.reason()
    assert desk.ask().outcome == "asked"
    assert desk.reason() == before == (Verdict.DENY, "no_consent")
    (entry,) = desk.history()
    assert (entry.event.kind, entry.event.scope) == (
        Kind.PENDING,
        desk.tenant.topic("events").scope,
    )
    assert entry.evidence == {"ip": "192.0.2.10"}


def test_an_address_that_was_typed_in_is_kept_in_the_letter_alone(desk: Desk) -> None:
    letter = desk.ask(person="crm:7").letter
    row = desk.row()
    assert (row.value, row.person, row.language) == (None, None, None)
    assert [one.value for one in desk.letters()] == [GRACE.value]
    assert GRACE.value not in repr(letter)


def test_the_answer_makes_it_known_and_may_be_sent_to(desk: Desk, clock: Clock) -> None:
    letter = desk.ask(language="en", person="crm:7").letter
    clock.forward(minutes=3)
    confirmed = desk.confirm(letter)
    assert confirmed.outcome == "confirmed"
    assert desk.reason() == (Verdict.ALLOW, "consent")
    row = desk.row()
    assert (row.value, row.person, row.language) == (GRACE.value, "crm:7", "en")
    entry = desk.history()[-1]
    assert (entry.event.kind, entry.event.authority) == (Kind.IN, Authority.CONFIRMED)
    assert (entry.event.basis, entry.event.door) == ("express", "confirmation page")
    assert entry.event.saw == 1
    assert entry.evidence == {
        "ip": "192.0.2.20",
        "wording text": WORDING["text"],
        "wording language": "en",
    }
    (kept,) = desk.letters()
    assert (kept.value, kept.due_at, kept.answered_at) == (None, None, clock())


def test_confirming_twice_is_confirming_once(desk: Desk) -> None:
    letter = desk.ask().letter
    desk.confirm(letter)
    before = desk.history()
    again = desk.confirm(letter)
    assert (again.outcome, again.seq) == ("already", 2)
    assert desk.history() == before


def test_a_consent_from_elsewhere_is_confirmed_all_the_same(desk: Desk) -> None:
    scope = desk.tenant.topic("events").scope
    desk.say(GRACE, Kind.IN, scope, authority=Authority.SENDER, basis="soft_opt_in")
    assert desk.confirm(desk.ask().letter).outcome == "confirmed"
    assert desk.history()[-1].event.authority is Authority.CONFIRMED


def test_after_seven_days_there_is_no_answer_and_no_address(desk: Desk, clock: Clock) -> None:
    letter = desk.ask().letter
    clock.now += CONFIRM_FOR - 1000
    claim = desk.claim(letter)
    with desk.writing() as connection:
        assert letters.tidy(connection, clock()) == 0
    clock.now += 1000
    before = desk.history()
    assert desk.confirm(claim).outcome == "expired"
    assert desk.history() == before
    assert desk.take() == []
    with desk.writing() as connection:
        assert letters.tidy(connection, clock()) == 1
        assert letters.tidy(connection, clock()) == 0
    (kept,) = desk.letters()
    assert (kept.value, kept.network, kept.due_at) == (None, None, None)
    clock.forward(days=60)
    with desk.writing() as connection:
        letters.tidy(connection, clock())
    assert desk.letters() == []


def test_the_link_ends_with_its_letter_however_late_that_goes_out(desk: Desk, clock: Clock) -> None:
    asked = clock()
    desk.ask()
    clock.forward(days=6)
    (late,) = desk.take()
    assert desk.claim(late).minted == asked
    assert desk.confirm(late).outcome == "confirmed"


# --- whose no it ends ---


def test_a_no_said_after_the_question_stands_until_it_was_shown(desk: Desk) -> None:
    letter = desk.ask().letter
    desk.say(GRACE, Kind.OUT, ALL, voice=Voice.PERSON, authority=Authority.PERSON)
    refused = desk.confirm(letter)
    assert (refused.outcome, refused.again) == ("refused", True)
    assert desk.reason() == (Verdict.DENY, "opted_out")
    assert desk.confirm(letter, saw=refused.seq).outcome == "confirmed"
    assert desk.reason() == (Verdict.ALLOW, "consent")


def test_a_yes_that_is_refused_links_the_address_to_nobody(desk: Desk) -> None:
    letter = desk.ask(person="crm:7").letter
    desk.say(GRACE, Kind.OUT, ALL, voice=Voice.PERSON, authority=Authority.PERSON)
    refused = desk.confirm(letter)
    assert (refused.outcome, desk.row().person) == ("refused", None)
    assert desk.confirm(letter, saw=refused.seq).outcome == "confirmed"
    assert desk.row().person == "crm:7"


def test_nobody_has_seen_what_has_not_happened(desk: Desk) -> None:
    letter = desk.ask().letter
    desk.say(GRACE, Kind.OUT, ALL, voice=Voice.PERSON, authority=Authority.PERSON)
    assert desk.confirm(letter, saw=2**50).outcome == "refused"


def test_who_was_erased_may_confirm_anew_and_gives_the_address_anew(desk: Desk) -> None:
    assert desk.reason(ERIN)[1] == "erased"
    letter = desk.ask(ERIN).letter
    assert desk.row(ERIN).value is None
    assert desk.confirm(letter).outcome == "confirmed"
    assert desk.reason(ERIN) == (Verdict.ALLOW, "consent")
    assert desk.row(ERIN).value == ERIN.value
    # For its own topic alone.
    assert desk.reason(ERIN, "product-news")[1] == "erased"


def test_an_erasure_takes_the_letter_with_it(desk: Desk, clock: Clock) -> None:
    letter = desk.ask().letter
    with desk.writing() as connection:
        rights.erase(connection, desk.tenant.id, Subject.of(desk.tenant, GRACE), clock())
    assert [one.value for one in desk.letters()] == [None]
    assert desk.take() == []
    assert desk.confirm(letter).outcome == "refused"
    assert desk.row().value is None


def test_who_is_asked_again_after_an_erasure_may_answer_the_older_question(
    desk: Desk, clock: Clock
) -> None:
    older = desk.ask().letter
    with desk.writing() as connection:
        rights.erase(connection, desk.tenant.id, Subject.of(desk.tenant, GRACE), clock())
    clock.forward(minutes=10)
    desk.ask()
    refused = desk.confirm(older)
    assert desk.confirm(older, saw=refused.seq).outcome == "confirmed"
    assert desk.row().value == GRACE.value


def test_who_complained_is_not_asked_unless_the_tenant_permits_it(
    desk: Desk, opened: Installation
) -> None:
    assert desk.ask(CAROL) == Asked("not_asked", "not_for_them")
    assert desk.letters() == []
    with desk.writing() as connection:
        directory.change_tenant(connection, desk.tenant, confirming_ends_complaint=True)
    opened.directory.refresh()
    desk.tenant = opened.directory.latest.tenants[desk.tenant.id]
    assert desk.confirm(desk.ask(CAROL).letter).outcome == "confirmed"
    assert desk.history(CAROL)[-1].event.authority is Authority.CONFIRMED_OVER_COMPLAINT
    assert desk.reason(CAROL) == (Verdict.ALLOW, "consent")


def test_a_complaint_after_the_question_holds_where_the_tenant_permits_nothing(
    desk: Desk,
) -> None:
    letter = desk.ask().letter
    desk.say(GRACE, Kind.OUT, ALL, voice=Voice.COMPLAINT)
    refused = desk.confirm(letter)
    assert (refused.outcome, refused.again) == ("refused", False)
    assert desk.confirm(letter, saw=refused.seq).outcome == "refused"
    assert desk.reason()[1] == "complained"


@pytest.mark.parametrize("block", [Block.MINOR, Block.RESTRICTED, Block.DO_NOT_CONTACT])
def test_a_block_of_the_person_is_not_asked_about(desk: Desk, block: Block) -> None:
    desk.say(GRACE, Kind.BLOCK, block=block)
    before = desk.history()
    assert desk.ask() == Asked("not_asked", "not_for_them")
    assert desk.history() == before
    assert desk.letters() == []


@pytest.mark.parametrize(
    "block", [Block.HARD_BOUNCE, Block.INVALID, Block.UNREACHABLE, Block.REASSIGNED]
)
def test_a_block_of_the_address_ends_with_the_answer(desk: Desk, block: Block) -> None:
    desk.say(GRACE, Kind.BLOCK, block=block)
    assert desk.confirm(desk.ask().letter).outcome == "confirmed"
    assert desk.reason() == (Verdict.ALLOW, "consent")


def test_who_left_or_paused_may_be_asked_on_their_wish_and_decides(
    desk: Desk, clock: Clock
) -> None:
    assert desk.confirm(desk.ask(BOB, "product-news").letter).outcome == "confirmed"
    assert desk.reason(BOB, "product-news") == (Verdict.ALLOW, "consent")
    desk.say(GRACE, Kind.SNOOZE, until=clock() + 1000 * 3600)
    assert desk.confirm(desk.ask().letter).outcome == "confirmed"
    assert desk.reason() == (Verdict.ALLOW, "consent")


def test_a_number_that_replied_stop_is_not_texted_by_a_form(desk: Desk) -> None:
    assert desk.ask(DAVE) == Asked("not_asked", "not_for_them")
    assert desk.ask_for_link(DAVE) == Asked("not_asked", "not_for_them")


@pytest.mark.parametrize("block", Block)
def test_no_link_goes_to_an_address_with_a_block(desk: Desk, block: Block) -> None:
    desk.ask_for_link(BOB)
    for address in (GRACE, BOB):
        desk.say(address, Kind.BLOCK, block=block)
    assert desk.ask_for_link(GRACE) == Asked("not_asked", "not_for_them")
    # Nor is one sent that was asked for before.
    (waiting,) = desk.take()
    with desk.writing() as connection:
        assert not letters.is_wanted(connection, desk.tenant, waiting, desk.clock())


def test_only_what_could_be_agreed_to_is_asked(desk: Desk) -> None:
    for address, topic, field in (
        (GRACE, "order-updates", "topic"),
        (HEIDI, "trail-tips", "topic"),
        (Address(Channel.PUSH, "fcm:token"), "product-news", "channel"),
        (Address(Channel.WHATSAPP, "+14155550108"), "product-news", "channel"),
        (Address(Channel.RCS, "+14155550108"), "product-news", "channel"),
    ):
        with pytest.raises(BadEntry) as refused:
            desk.ask(address, topic)
        assert refused.value.field == field
    with pytest.raises(BadAddress):
        desk.ask(Address(Channel.EMAIL, "grace@nowhere"))
    with pytest.raises(BadAddress):
        desk.ask_for_link(Address(Channel.EMAIL, "grace@nowhere"))


def test_a_link_to_a_topic_that_is_gone_is_no_link(desk: Desk) -> None:
    claim = replace(desk.claim(desk.ask().letter), scope=Scope(None, 4711))
    with pytest.raises(BadLink):
        desk.confirm(claim)


# --- how often ---


def test_one_topic_is_asked_about_once_in_ten_minutes(desk: Desk, clock: Clock) -> None:
    first = desk.ask()
    clock.forward(minutes=9, seconds=59)
    before = desk.history()
    second = desk.ask()
    assert desk.history() == before
    clock.forward(seconds=1)
    third = desk.ask()
    assert reasons(first, second, third) == [None, "too_many", None]
    assert len(desk.letters()) == 2


def test_whoever_was_asked_twice_has_answered_both(desk: Desk, clock: Clock) -> None:
    first = desk.ask().letter
    clock.forward(minutes=10)
    second = desk.ask().letter
    assert desk.confirm(first).outcome == "confirmed"
    assert desk.confirm(second).outcome == "already"
    assert all(one.answered_at for one in desk.letters())
    assert desk.take() == []


def test_three_letters_a_day_go_to_an_address_whatever_they_are_about(
    desk: Desk, clock: Clock
) -> None:
    asked = [desk.ask(topic="events"), desk.ask(topic="product-news"), desk.ask_for_link(GRACE)]
    assert reasons(*asked) == [None, None, None]
    assert desk.ask(topic="trail-tips").reason == "too_many"
    clock.forward(days=1)
    assert desk.ask(topic="trail-tips").reason is None


def test_who_leaves_five_letters_unanswered_is_left_alone_for_thirty_days(
    desk: Desk, clock: Clock
) -> None:
    for _ in range(5):
        assert desk.ask().reason is None
        clock.forward(days=2)
    assert desk.ask().reason == "too_many"
    # Not from when the first of the five is forgotten, but from the last.
    clock.forward(days=27)
    assert desk.ask().reason == "too_many"
    clock.forward(days=1)
    assert desk.ask().reason is None


def test_links_that_were_asked_for_shut_nobody_out(desk: Desk, clock: Clock) -> None:
    for _ in range(9):
        assert desk.ask_for_link(GRACE).reason is None
        clock.forward(days=1)
    assert desk.ask().reason is None


def test_who_answers_is_not_counted_among_those_who_do_not(desk: Desk, clock: Clock) -> None:
    for _ in range(4):
        desk.ask()
        clock.forward(days=1)
    desk.confirm(desk.ask(topic="product-news").letter)
    clock.forward(days=1)
    for _ in range(2):
        assert desk.ask().reason is None
        clock.forward(days=1)


@pytest.mark.parametrize(
    ("network", "near", "far"),
    [
        ("8.8.4.7", "8.8.4.250", "8.8.8.7"),
        ("2001:4860:1:2::7", "2001:4860:1:ffff::1", "2001:4860:2::7"),
        ("8.8.4.7", "::ffff:8.8.4.9", "::ffff:8.8.8.9"),
    ],
)
def test_one_network_asks_for_twenty_an_hour(
    desk: Desk, clock: Clock, network: str, near: str, far: str
) -> None:
    for number in range(20):
        walked = Address(Channel.EMAIL, f"walked{number}@example.org")
        ask = (
            desk.ask_for_link(walked, network) if number % 2 else desk.ask(walked, network=network)
        )
        assert ask.outcome == "asked"
    assert desk.ask(network=near).reason == "too_many"
    assert desk.ask_for_link(GRACE, near).reason == "too_many"
    # Of an address that nobody has asked about, nothing is left.
    assert desk.row() is None
    assert desk.ask(network=far).outcome == "asked"
    assert desk.ask(ALICE, network=None).outcome == "asked"
    clock.forward(minutes=60)
    assert desk.ask(BOB, network=near).outcome == "asked"
    assert not any(b"8.8.4" in (one.network or b"") for one in desk.letters())


def test_what_is_no_ip_is_no_network(desk: Desk) -> None:
    assert desk.ask(network="unix:").outcome == "asked"
    assert desk.letters()[0].network is None


def test_two_who_ask_at_once_for_one_address_get_one_letter(desk: Desk) -> None:
    with ThreadPoolExecutor(6) as threads:
        asked = list(threads.map(lambda _: desk.ask(), range(6)))
    assert sorted(one.outcome for one in asked) == ["asked", *["not_asked"] * 5]
    assert len(desk.letters()) == 1
    assert len(desk.history()) == 1


def test_two_who_press_at_once_consent_once(desk: Desk) -> None:
    letter = desk.ask().letter
    with ThreadPoolExecutor(6) as threads:
        pressed = list(threads.map(lambda _: desk.confirm(letter), range(6)))
    assert sorted(one.outcome for one in pressed) == [*["already"] * 5, "confirmed"]
    assert len(desk.history()) == 2


# --- a link that was asked for ---


def test_a_link_goes_to_whoever_asks_known_or_not_and_nothing_is_recorded(desk: Desk) -> None:
    before = len(desk.history(BOB))
    assert desk.ask_for_link(GRACE).outcome == desk.ask_for_link(BOB).outcome == "asked"
    assert desk.history() == []
    assert len(desk.history(BOB)) == before
    assert desk.row().value is None
    first, second = desk.take()
    links = desk.opened.links
    for letter, address in ((first, GRACE), (second, BOB)):
        words = letters.written(desk.tenant, letter, links, "https://p.example")
        claim = links.open(words.link.rpartition("/")[2], Action.PREFERENCES)
        assert (claim.digest, claim.scope) == (desk.tenant.digest(address), ALL)
        assert claim.minted == letter.asked_at
    assert desk.ask_for_link(GRACE).reason == "too_many"


# --- on the way ---


def test_a_letter_that_the_sender_delivers_is_never_sent_by_us(desk: Desk) -> None:
    letter = desk.ask(by_sender=True).letter
    assert desk.take() == []
    assert desk.confirm(letter).outcome == "confirmed"


def test_two_workers_never_claim_one_letter(desk: Desk) -> None:
    for number in range(6):
        desk.ask(Address(Channel.EMAIL, f"walked{number}@example.org"))
    with ThreadPoolExecutor(6) as threads:
        taken = [one.id for some in threads.map(lambda _: desk.take(), range(6)) for one in some]
    assert sorted(taken) == sorted({one.id for one in desk.letters()})
    assert desk.take() == []


def test_the_letter_of_a_worker_that_died_goes_out_after_its_lease(
    desk: Desk, clock: Clock
) -> None:
    desk.ask()
    (lost,) = desk.take()
    clock.now += LEASE - 1
    assert desk.take() == []
    clock.now += 1
    (again,) = desk.take()
    assert (again.id, again.attempts) == (lost.id, 2)
    # Whoever held it first has nothing to tell any more.
    with desk.writing() as connection:
        letters.sent(connection, lost, clock())
    assert desk.letters()[0].sent_at is None
    with desk.writing() as connection:
        letters.sent(connection, again, clock())
    (row,) = desk.letters()
    assert (row.sent_at, row.due_at) == (clock(), None)


def test_a_failure_is_tried_again_later_and_later_and_then_no_more(
    desk: Desk, clock: Clock
) -> None:
    desk.ask()
    for wait in BACKOFF:
        (letter,) = desk.take()
        with desk.writing() as connection:
            letters.failed(connection, letter, clock())
        clock.now += wait - 1
        assert desk.take() == []
        clock.now += 1
    (last,) = desk.take()
    with desk.writing() as connection:
        letters.failed(connection, last, clock())
    assert desk.letters()[0].due_at is None
    # Somebody may have got it: an answer still counts.
    assert desk.confirm(last).outcome == "confirmed"


def test_one_that_may_have_gone_out_is_tried_once_more(desk: Desk, clock: Clock) -> None:
    desk.ask()
    (first,) = desk.take()
    with desk.writing() as connection:
        letters.failed(connection, first, clock(), perhaps_sent=True)
    clock.now += BACKOFF[0] - 1
    assert desk.take() == []
    clock.now += 1
    (second,) = desk.take()
    with desk.writing() as connection:
        letters.failed(connection, second, clock())
    clock.forward(days=1)
    assert desk.take() == []


def test_a_letter_at_which_workers_die_is_given_up_too(desk: Desk, clock: Clock) -> None:
    desk.ask()
    tries = 0
    while desk.take():
        tries += 1
        clock.now += LEASE
    assert tries == len(BACKOFF) + 1


def test_an_answer_a_no_or_an_expiry_stops_a_letter(desk: Desk, clock: Clock) -> None:
    answered = desk.ask().letter
    desk.confirm(answered)
    assert desk.take() == []
    desk.ask(BOB)
    (letter,) = desk.take()
    with desk.writing() as connection:
        assert letters.is_wanted(connection, desk.tenant, letter, clock())
    desk.say(BOB, Kind.OUT, ALL, voice=Voice.PERSON, authority=Authority.PERSON)
    with desk.writing() as connection:
        assert not letters.is_wanted(connection, desk.tenant, letter, clock())
    desk.ask(ALICE)
    clock.now += CONFIRM_FOR
    assert desk.take() == []
    with desk.opened.database.reading() as connection:
        assert not letters.is_due(connection, clock())


# --- the answer by text ---


def said_yes(desk: Desk, number: Address, sid: str = "SM1", brand: str = "acme") -> Any:
    with desk.writing() as connection:
        return letters.said_yes(
            connection,
            desk.tenant,
            number,
            desk.tenant.brand(brand).id,
            frozenset({"en"}),
            through="text message",
            evidence={"text": "YES"},
            now=desk.clock(),
            source="twilio",
            source_id=sid,
        )


def test_a_yes_answers_the_latest_question_of_its_brand_once(desk: Desk, clock: Clock) -> None:
    assert said_yes(desk, HEIDI) is None
    assert desk.row(HEIDI) is None
    desk.ask(HEIDI, "events")
    assert said_yes(desk, HEIDI) is None, "it has not been sent yet"
    desk.take()
    clock.forward(minutes=1)
    desk.ask(HEIDI, "product-news")
    desk.take()
    assert said_yes(desk, HEIDI, brand="outdoor") is None
    agreed = said_yes(desk, HEIDI)
    assert (agreed.recorded.outcome, agreed.topic.slug, agreed.gets) == (
        Outcome.APPLIED,
        "product-news",
        True,
    )
    entry = desk.history(HEIDI)[-1]
    assert entry.evidence
    assert entry.evidence["wording text"].startswith("Acme: reply YES to get Product news")
    assert entry.event.authority is Authority.CONFIRMED
    assert desk.reason(HEIDI, "product-news") == (Verdict.ALLOW, "consent")
    assert desk.row(HEIDI).value == HEIDI.value
    again = said_yes(desk, HEIDI)
    assert (again.recorded.outcome, again.topic.slug) == (Outcome.DUPLICATE, "product-news")
    assert said_yes(desk, HEIDI, "SM2").topic.slug == "events"
    assert said_yes(desk, HEIDI, "SM3") is None


def test_a_yes_after_seven_days_says_nothing(desk: Desk, clock: Clock) -> None:
    desk.ask(HEIDI)
    desk.take()
    clock.now += CONFIRM_FOR
    assert said_yes(desk, HEIDI) is None


def test_a_yes_answers_no_question_that_never_reached_them(desk: Desk, clock: Clock) -> None:
    desk.ask(HEIDI)
    (letter,) = desk.take()
    with desk.writing() as connection:
        letters.failed(connection, letter, clock(), for_good=True)
    assert said_yes(desk, HEIDI) is None
    desk.ask(FRANK)
    for wait in BACKOFF:
        (letter,) = desk.take()
        with desk.writing() as connection:
            letters.failed(connection, letter, clock())
        clock.now += wait
    (last,) = desk.take()
    with desk.writing() as connection:
        letters.failed(connection, last, clock())
    assert said_yes(desk, FRANK, "SM2") is None
    clock.forward(minutes=10)
    desk.ask(FRANK, by_sender=True)
    assert said_yes(desk, FRANK, "SM3").gets


def test_a_yes_does_not_undo_a_stop_said_after_the_question(desk: Desk) -> None:
    desk.ask(FRANK)
    desk.take()
    desk.say(FRANK, Kind.OUT, ALL, voice=Voice.STOP, authority=Authority.PERSON)
    agreed = said_yes(desk, FRANK)
    assert (agreed.recorded.outcome, agreed.gets) == (Outcome.REFUSED, False)
    assert desk.reason(FRANK)[1] == "replied_stop"


# --- the words ---


def words(desk: Desk, letter: Letter | None, tenant: Tenant | None = None) -> letters.Written:
    assert letter
    return letters.written(tenant or desk.tenant, letter, desk.opened.links, "https://p.example")


def test_the_question_by_email_says_who_what_until_when_and_that_nothing_need_be_done(
    desk: Desk,
) -> None:
    letter = desk.ask().letter
    subject, text, link = words(desk, letter)
    assert subject == "Please confirm: Events from Acme"
    assert link.startswith("https://p.example/c/")
    assert f"\n\n{link}\n\n" in text
    for part in ("Acme", "Events", "9 November 2026", "do nothing", "help@acme.example"):
        assert part in text
    assert GRACE.value not in text + subject
    # Not what the topic would bring: that would be advertising.
    assert desk.tenant.topic("events").description not in text


GSM_7 = set(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


@pytest.mark.parametrize(
    ("name", "title"),
    [
        ("Acme", "Events"),
        ("A" * 120, "B" * 120),
        ("“Acme” – ‘us’", "News… and more"),
        ("A", "€" * 90),
    ],
)
def test_the_question_by_text_is_one_text(desk: Desk, name: str, title: str) -> None:
    letter = desk.ask(HEIDI).letter
    brand, topic = desk.tenant.brand("acme"), desk.tenant.topic("events")
    tenant = replace(
        desk.tenant,
        brands={"acme": replace(brand, name=name)},
        topics={"events": replace(topic, title=title)},
    )
    subject, text, _ = words(desk, letter, tenant)
    assert subject == ""
    assert "reply YES to get" in text
    assert "STOP" in text
    assert "data rates" in text
    assert len(text) + text.count("€") <= 160
    assert set(text) <= GSM_7 | {"€"}
    assert len(letters.welcome(replace(brand, name=name), topic, "en")) <= 160


# --- the wall between tenants ---


def test_no_letter_of_one_tenant_is_another_tenants(desk: Desk, opened: Installation) -> None:
    with desk.writing() as connection:
        other = directory.add_tenant(connection, "umbra", "Umbra", desk.clock())
    opened.directory.refresh()
    umbra = opened.directory.latest.tenants[other]
    letter = desk.ask(HEIDI).letter
    desk.take()
    with desk.writing() as connection:
        taken = letters.said_yes(
            connection,
            umbra,
            HEIDI,
            desk.tenant.brand("acme").id,
            frozenset({"en"}),
            through="text message",
            evidence={},
            now=desk.clock(),
            source="twilio",
            source_id="SM1",
        )
        assert taken is None
        with pytest.raises(BadLink):
            letters.confirm(
                connection,
                umbra,
                desk.claim(letter),
                wording={},
                evidence={},
                through="confirmation page",
                now=desk.clock(),
            )


def test_a_new_push_token_takes_over_no_question_as_a_word(desk: Desk, clock: Clock) -> None:
    old = Subject(Channel.PUSH, desk.tenant.digest(Address(Channel.PUSH, "fcm:old")))
    new = Subject(Channel.PUSH, desk.tenant.digest(Address(Channel.PUSH, "fcm:new")))
    pending = Event(Kind.PENDING, clock(), desk.tenant.topic("product-news").scope)
    with desk.writing() as connection:
        ledger.record(connection, desk.tenant.id, Said(old, pending))
        told = devices.register(connection, desk.tenant.id, new, old, None, clock())
    assert told.standing.consents == ()
