"""What a text does, whoever carried it: whom it silences, how far, and the one answer to it."""

from itertools import count, permutations
from typing import Any

import pytest

from prefs import directory, gsm, keywords, ledger, texts
from prefs.address import Address, Channel
from prefs.demo import FRANK, KIM, KIMS_PHONE, SENDER, Cast
from prefs.directory import BadEntry, Sender, Tenant
from prefs.installation import Installation
from prefs.keywords import Says
from prefs.ledger import Entry, Said, Subject
from prefs.policy import ALL, Authority, Event, Kind, Outcome
from prefs.texts import Heard, Text
from tests.conftest import NOON, Api, Clock

_ids = count(1)
TEXTS = Channel.SMS


class Phone:
    """Somebody's phone, and the tenant as it is now. Times of its texts are our clock's."""

    def __init__(self, opened: Installation, cast: Cast, clock: Clock) -> None:
        self.opened, self.cast, self.clock = opened, cast, clock

    @property
    def tenant(self) -> Tenant:
        self.opened.directory.refresh()
        return self.opened.directory.latest.tenants[self.cast.tenant.id]

    def sender(self, identity: str = SENDER) -> Sender:
        return next(s for s in self.tenant.hearing if s.identity == identity)

    def text(self, body: str, **parts: Any) -> Heard:
        """Sends a text to a sender that answers nothing itself."""
        identity = parts.pop("to", SENDER)
        made = Text(
            **{
                "sender": self.sender(identity),
                "author": FRANK,
                "body": body,
                "source": "carrier",
                "id": f"m{next(_ids)}",
                **parts,
            }
        )
        with self.opened.database.writing() as connection:
            return texts.hear(connection, self.tenant, made, self.clock())

    def history(self, address: Address = FRANK) -> list[Entry]:
        with self.opened.database.reading() as connection:
            past = ledger.history(connection, self.tenant.id, self.tenant.digest(address))
        return [entry for entry in past if entry.source == "carrier"]


@pytest.fixture
def phone(opened: Installation, cast: Cast, clock: Clock) -> Phone:
    return Phone(opened, cast, clock)


@pytest.fixture
def owned(opened: Installation, cast: Cast, phone: Phone) -> Any:
    """Makes a sender of a brand."""

    def make(identity: str, brand: str = "acme", topic: str | None = None, **more: Any) -> None:
        tenant = phone.tenant
        with opened.database.writing() as connection:
            directory.add_sender(
                connection,
                tenant.id,
                tenant.brand(brand).id,
                "twilio",
                "AC" + "1" * 32,
                identity,
                "short_code",
                opened.clock(),
                topic=tenant.topic(topic) if topic else None,
                **more,
            )

    return make


def why(api: Api, topic: str = "product-news", number: Address = FRANK) -> str:
    return str(api.check(number.value, topic, "sms")["reason"])


def offered_by_text(api: Api, *topics: str) -> None:
    for topic in topics:
        assert (
            api("PATCH", f"/v1/topics/{topic}", {"channels": {"sms": "opt_out"}}).status_code == 200
        )


# --- how far a STOP reaches ---


def test_a_stop_leaves_all_marketing_of_the_tenant(phone: Phone, api: Api) -> None:
    offered_by_text(api, "trail-tips", "events")
    phone.text("STOP")
    assert {why(api, t) for t in ("product-news", "events", "trail-tips")} == {"replied_stop"}
    assert why(api, "order-updates") == "transactional"


def test_a_stop_to_a_number_mapped_to_its_brand_leaves_that_brand(
    phone: Phone, api: Api, owned: Any
) -> None:
    offered_by_text(api, "trail-tips")
    owned("77001", "outdoor", leaves="brand")
    phone.text("STOP", to="77001")
    assert (why(api, "trail-tips"), why(api)) == ("replied_stop", "consent")
    # What its own number cannot take back, another's START does not either.
    phone.text("STOP")
    phone.clock.forward(minutes=5)
    phone.text("START", to="77001")
    assert (why(api, "trail-tips"), why(api)) == ("replied_stop", "replied_stop")


def test_a_stop_to_a_programmes_number_leaves_that_programme(
    phone: Phone, api: Api, owned: Any
) -> None:
    offered_by_text(api, "events")
    owned("77002", leaves="topic", topic="events")
    phone.text("STOP", to="77002")
    assert (why(api, "events"), why(api)) == ("replied_stop", "consent")


@pytest.mark.parametrize("word", ["STOPALL", "Stop all", "stop everything"])
def test_whoever_names_everything_leaves_everything(
    phone: Phone, api: Api, owned: Any, word: str
) -> None:
    owned("77001", "outdoor", leaves="brand")
    phone.text(word, to="77001")
    assert why(api) == "replied_stop"


def test_a_stop_to_a_transactional_message_leaves_all_marketing_and_is_noted(
    phone: Phone, api: Api, owned: Any
) -> None:
    owned("77003", purpose="transactional", leaves="brand")
    phone.text("STOP", to="77003")
    assert why(api) == "replied_stop"
    asked = {"channel": "sms", "address": FRANK.value, "topic": "order-updates", "explain": True}
    decision = api("POST", "/v1/check", asked).get_json()
    assert decision["allowed"] is True
    assert "replied_stop_to_transactional" in decision["notes"]
    phone.clock.forward(minutes=5)
    phone.text("START", to="77003")
    assert (
        "notes" not in api("POST", "/v1/check", asked).get_json()
        or not api("POST", "/v1/check", asked).get_json()["notes"]
    )


def test_what_is_answered_to_a_number_that_sends_no_more_is_heard(
    phone: Phone, api: Api, opened: Installation
) -> None:
    with opened.database.writing() as connection:
        gone = phone.sender().id
        directory.remove_sender(connection, phone.tenant, gone, opened.clock())
    assert phone.tenant.senders == ()
    phone.text("STOP")
    assert why(api) == "replied_stop"
    with opened.database.writing() as connection:
        old = phone.sender()
        again = directory.add_sender(
            connection,
            phone.tenant.id,
            old.brand_id,
            old.provider,
            old.account,
            old.identity,
            old.kind,
            opened.clock(),
        )
    assert again == gone
    assert [s.id for s in phone.tenant.senders] == [gone]


# --- what is kept ---


def test_every_text_is_kept_with_the_rule_and_version_that_read_it(phone: Phone) -> None:
    said = {
        "STOP": (Kind.OUT, "en/keyword"),
        "start": (Kind.LIFT, "en/start"),
        "HELP": (Kind.TEXT, "en/help"),
        "you have the wrong number": (Kind.REVIEW, "en/"),
        "where is my parcel": (Kind.TEXT, "none"),
    }
    for body in said:
        phone.text(body)
    for entry, (body, (kind, rule)) in zip(phone.history(), said.items(), strict=True):
        assert entry.event.kind is kind
        assert entry.event.rule.startswith(rule)
        assert entry.event.rule.endswith(f" {keywords.VERSION}")
        assert (entry.evidence or {})["text"] == body


def test_what_a_provider_took_for_a_stop_is_one_by_its_name(phone: Phone, api: Api) -> None:
    phone.text("nope", taken_for=Says.OUT)
    assert why(api) == "replied_stop"
    assert phone.history()[-1].event.rule.startswith("carrier/stop ")
    assert phone.history()[-1].event.ours_alone is False


def test_a_no_is_one_whatever_the_provider_took_it_for(phone: Phone, api: Api) -> None:
    for taken in (Says.START, Says.HELP, Says.NOTHING):
        phone.text("please stop texting me", taken_for=taken)
        assert why(api) == "replied_stop"
        assert phone.history()[-1].event.ours_alone is True
        phone.clock.forward(minutes=5)
        phone.text("START")
        assert why(api) == "consent"
        phone.clock.forward(minutes=5)


def test_a_tenants_own_words_widen_what_is_a_no(
    phone: Phone, api: Api, opened: Installation
) -> None:
    def words(**said: str | None) -> None:
        with opened.database.writing() as connection:
            directory.change_tenant(connection, phone.tenant, words=said)

    phone.text("ciao acme")
    assert why(api) == "consent"
    words(**{"¡Ciao  Acme!": "out"})
    assert phone.tenant.words == {"ciao acme": Says.OUT}
    phone.text("Ciao, Acme.")
    assert why(api) == "replied_stop"
    assert phone.history()[-1].event.rule.startswith("own/word ")
    words(**{"ciao acme": None})
    assert phone.tenant.words == {}


@pytest.mark.parametrize(
    ("word", "says"),
    [("stop", "start"), ("unsubscribe", "help"), ("yes", "start"), ("!!", "out"), ("x" * 61, "out")]
    + [("go", "review"), ("go", "nothing"), ("go", "yes"), ("wrong number", "start")],
)
def test_no_tenant_can_make_a_no_something_else(
    phone: Phone, opened: Installation, word: str, says: str
) -> None:
    with opened.database.writing() as connection, pytest.raises(BadEntry) as refused:
        directory.change_tenant(connection, phone.tenant, words={word: says})
    assert refused.value.field == "words"


# --- what may be a no ---


def test_an_unclear_text_holds_marketing_until_somebody_has_read_it(
    phone: Phone, api: Api, opened: Installation
) -> None:
    assert phone.text("You have the wrong number") == Heard(Says.REVIEW, *_any_of(phone))
    held = api.check(FRANK.value, "product-news", "sms")
    assert (held["decision"], held["reason"]) == ("hold", "in_review")
    assert why(api, "order-updates") == "transactional"
    with opened.database.reading() as connection:
        (one,) = texts.all_waiting(connection, phone.tenant)
    assert (one.text, one.to, one.address) == ("You have the wrong number", SENDER, FRANK)
    # NOON is a Monday: ten business days later is the Monday after next.
    assert one.due.isoformat() == "2026-11-16"
    with opened.database.writing() as connection:
        texts.decide(connection, phone.tenant, one.id, is_no=False, by="ann", now=phone.clock())
    assert why(api) == "consent"
    with opened.database.reading() as connection:
        assert list(texts.all_waiting(connection, phone.tenant)) == []
    with opened.database.writing() as connection, pytest.raises(texts.NoReview):
        texts.decide(connection, phone.tenant, one.id, is_no=True, by="ann", now=phone.clock())


def _any_of(phone: Phone) -> tuple[Any, None, tuple[()]]:
    class Anything:
        def __eq__(self, other: object) -> bool:
            return True

    return Anything(), None, ()


def test_a_text_decided_to_be_a_no_is_the_persons_stop(
    phone: Phone, api: Api, opened: Installation
) -> None:
    phone.text("not interested")
    with opened.database.writing() as connection:
        (one,) = texts.all_waiting(connection, phone.tenant)
        texts.decide(connection, phone.tenant, one.id, is_no=True, by="ann", now=phone.clock())
    asked = {"channel": "sms", "address": FRANK.value, "topic": "product-news"}
    decision = api("POST", "/v1/check", {**asked, "explain": True}).get_json()
    assert decision["reason"] == "replied_stop"
    assert "carrier_will_block" not in decision["notes"]
    phone.clock.forward(minutes=5)
    phone.text("START")
    assert why(api) == "consent"


def test_what_a_stop_has_said_since_waits_for_nobody(phone: Phone, opened: Installation) -> None:
    phone.text("not interested")
    phone.text("STOP")
    with opened.database.reading() as connection:
        assert list(texts.all_waiting(connection, phone.tenant)) == []


# --- the one answer ---

CONFIRMED = (
    "Acme Group: you are unsubscribed and get no more marketing texts. START undoes this STOP."
)


def test_a_sentence_that_no_carrier_knows_is_ours_to_answer_once(phone: Phone) -> None:
    assert phone.text("please stop texting me").reply == CONFIRMED
    assert phone.text("stop texting me!!").reply is None
    assert phone.text("STOP", taken_for=Says.OUT).reply is None


def test_whoever_has_come_back_on_a_page_gets_a_new_confirmation_of_a_new_stop(
    phone: Phone, api: Api, opened: Installation
) -> None:
    assert phone.text("STOP").reply == CONFIRMED
    topic = phone.tenant.topic("product-news").scope
    with opened.database.writing() as connection:
        subject = Subject.of(phone.tenant, FRANK)
        seq = ledger.standing(connection, phone.tenant.id, subject.digest).seq
        yes = Event(Kind.IN, opened.clock(), topic, authority=Authority.PERSON, saw=seq)
        ledger.record(connection, phone.tenant.id, Said(subject, yes))
    assert why(api) == "consent"
    assert phone.text("STOP").reply == CONFIRMED
    assert phone.text("STOP").reply is None


def test_nothing_is_answered_later_than_five_minutes_after_it_was_sent(phone: Phone) -> None:
    for ago, answered in ((5 * 60_000, True), (5 * 60_000 + 1, False)):
        number = Address(TEXTS, f"+1415555{ago:07}"[:12])
        heard = phone.text("STOP", author=number, said_at=phone.clock() - ago)
        assert bool(heard.reply) is answered


def test_start_says_what_is_on_again(phone: Phone, api: Api) -> None:
    offered_by_text(api, "events")
    phone.text("STOP")
    phone.clock.forward(minutes=5)
    assert phone.text("START").reply == (
        "Acme Group: you get texts again: Product news, Events. "
        "Reply HELP for help, STOP to unsubscribe."
    )
    nobody = Address(TEXTS, "+14155550177")
    phone.text("STOP", author=nobody)
    api.put(nobody.value, "out", channel="sms", scope={"all": True})
    phone.clock.forward(minutes=5)
    assert phone.text("START", author=nobody).reply == (
        "Acme Group: your STOP is taken back. What you unsubscribed from elsewhere stays so."
    )


def test_help_names_the_brand_of_the_number_and_its_contact(phone: Phone, owned: Any) -> None:
    owned("77001", "outdoor")
    assert phone.text("HELP", to="77001").reply == (
        "Acme Outdoor: for help, help@outdoor.example. Reply STOP to unsubscribe."
    )
    phone.text("STOP", to="77001")
    # Whoever is out may ask for help all the same (CTIA).
    assert phone.text("help me", to="77001").reply


def test_a_brands_own_words_are_said_in_the_persons_language(
    phone: Phone, api: Api, opened: Installation
) -> None:
    own = {
        "en": {"stop_reply": "{brand}: done, no more texts. Back: START"},
        "de": {"stop_reply": "{brand}: erledigt. Hilfe: {contact}"},
    }
    assert api("PATCH", "/v1/brands/acme", {"texts": own}).status_code == 200
    assert phone.text("STOP").reply == "Acme: done, no more texts. Back: START"
    german = Address(TEXTS, "+4915112345678")
    with opened.database.writing() as connection:
        subject = Subject.of(phone.tenant, german)._replace(language="de")
        ledger.remember(connection, phone.tenant.id, [subject])
    assert phone.text("STOP", author=german).reply == "Acme: erledigt. Hilfe: help@acme.example"


@pytest.mark.parametrize(
    "own",
    [
        "x" * 161,
        "€" * 81,
        "{brand}" + "x" * 121,
        "{brand}{topics}" + "x" * 81,
        "{name}: bye",
        "{",
        "}",
    ],
)
def test_an_answer_of_their_own_fits_into_one_text(api: Api, own: str) -> None:
    refused = api("PATCH", "/v1/brands/acme", {"texts": {"en": {"stop_reply": own}}})
    assert refused.status_code == 422
    assert "texts" in str(refused.get_json())


def test_an_answer_of_their_own_may_have_160_signs(phone: Phone, api: Api) -> None:
    for own in ("x" * 160, "€" * 80, "{brand}" + "x" * 120):
        texts_ = {"texts": {"en": {"stop_reply": own}}}
        assert api("PATCH", "/v1/brands/acme", texts_).status_code == 200
        number = Address(TEXTS, f"+1415556{next(_ids):04}")
        reply = phone.text("STOP", author=number).reply
        assert reply
        assert gsm.septets(reply) <= 160


# --- which programmes ---


@pytest.fixture
def clarifying(phone: Phone, api: Api, owned: Any) -> str:
    offered_by_text(api, "events", "trail-tips")
    owned("77005", clarifies=True)
    return "77005"


OFFER = (
    "Acme Group: you get no more marketing texts. To keep some, reply with a number: "
    "1 Product news, 2 Events, 3 Trail tips. START undoes this STOP."
)


def test_the_confirmation_may_offer_to_keep_some_and_without_an_answer_all_is_stopped(
    phone: Phone, api: Api, clarifying: str
) -> None:
    assert phone.text("STOP", to=clarifying).reply == OFFER
    every = ("product-news", "events", "trail-tips")
    assert {why(api, topic) for topic in every} == {"replied_stop"}
    kept = phone.text("2", to=clarifying)
    assert kept.reply == (
        "Acme Group: you go on getting Events, and nothing else. Reply STOP to end this too."
    )
    assert [why(api, topic) for topic in every] == ["replied_stop", "consent", "replied_stop"]
    assert phone.text("STOP", to=clarifying).reply == CONFIRMED
    assert phone.text("STOP", to=clarifying).reply is None
    assert {why(api, topic) for topic in every} == {"replied_stop"}


def test_a_stop_that_comes_again_gets_the_offer_again_and_another_stop_nothing(
    phone: Phone, clarifying: str
) -> None:
    for _ in range(3):
        assert phone.text("STOP", to=clarifying, id="again").reply == OFFER
    assert phone.text("STOP", to=clarifying).reply is None
    assert phone.text("STOP", to=clarifying, id="again").reply == OFFER


@pytest.mark.parametrize("answer", ["1 3", "1,3", " 3 & 1 ", "１ ３"])
def test_several_are_kept_at_once(phone: Phone, api: Api, clarifying: str, answer: str) -> None:
    phone.text("STOP", to=clarifying)
    phone.text(answer, to=clarifying)
    assert [why(api, t) for t in ("product-news", "events", "trail-tips")] == [
        "consent",
        "replied_stop",
        "consent",
    ]


@pytest.mark.parametrize("answer", ["4", "0", "12", "1 4", "one", "1 please stop", "-1", "²"])
def test_any_other_answer_keeps_nothing(
    phone: Phone, api: Api, clarifying: str, answer: str
) -> None:
    phone.text("STOP", to=clarifying)
    phone.text(answer, to=clarifying)
    assert {why(api, t) for t in ("product-news", "events", "trail-tips")} == {"replied_stop"}


def test_a_number_keeps_nothing_after_an_hour_nor_elsewhere_nor_without_an_offer(
    phone: Phone, api: Api, clarifying: str
) -> None:
    phone.text("1", to=clarifying)
    phone.text("STOP", to=clarifying)
    phone.text("1", to=SENDER)
    assert why(api) == "replied_stop"
    phone.clock.forward(minutes=60, seconds=1)
    phone.text("1", to=clarifying)
    assert why(api) == "replied_stop"


def test_where_the_carrier_blocks_nothing_is_offered(phone: Phone, clarifying: str) -> None:
    assert phone.text("STOP", to=clarifying, taken_for=Says.OUT).reply is None
    phone.text("1", to=clarifying)
    assert phone.history()[-1].event.kind is Kind.TEXT


def test_a_choice_heard_twice_is_one_choice(phone: Phone, api: Api, clarifying: str) -> None:
    phone.text("STOP", to=clarifying)
    for _ in range(2):
        assert "Events" in str(phone.text("2", to=clarifying, id="same").reply)
    assert [e.event.kind for e in phone.history()] == [Kind.OUT, Kind.IN]
    # Old, and heard again after a later STOP: nothing is turned on by it.
    phone.text("STOP", to=clarifying)
    phone.text("2", to=clarifying, id="same")
    assert why(api, "events") == "replied_stop"


# --- heard once, in whatever order ---


def test_the_same_text_is_heard_once_and_answered_alike(phone: Phone, api: Api) -> None:
    first = phone.text("stop please", id="same")
    again = phone.text("stop please", id="same")
    assert (again.reply, again.recorded.outcome) == (first.reply, Outcome.DUPLICATE)
    assert len(phone.history()) == 1


def test_of_a_start_within_two_minutes_only_the_provider_knows_and_without_it_the_no_stands(
    phone: Phone, api: Api
) -> None:
    stop = phone.text("STOP", id="stop")
    assert stop.unsettled == ()
    phone.clock.forward(seconds=30)
    start = phone.text("START", id="start")
    assert set(start.unsettled) == {"stop", "start"}
    assert start.reply == (
        "Acme Group: you are still unsubscribed. To get texts again, send START in 3 minutes."
    )
    for times in ({}, {"stop": NOON}, {"start": NOON}, {"stop": NOON, "start": NOON + 999}):
        assert settled(phone, "START", start, times, "start").reply == start.reply
        assert why(api) == "replied_stop"
    done = settled(phone, "START", start, {"stop": NOON, "start": NOON + 1000}, "start")
    assert str(done.reply).startswith("Acme Group: you get texts again")
    assert why(api) == "consent"


def test_where_more_was_said_than_is_looked_at_the_no_stands(phone: Phone, api: Api) -> None:
    times = {"late": NOON + 50_000, "stop": NOON + 10_000, "start": NOON + 30_000}
    phone.text("STOP", id="late")
    for _ in range(12):
        phone.text("are you there?")
    phone.text("STOP", id="stop")
    start = phone.text("START", id="start")
    settled(phone, "START", start, times, "start")
    assert why(api) == "replied_stop"


def settled(
    phone: Phone, body: str, heard: Heard, times: dict[str, int], name: str, **parts: Any
) -> Heard:
    text = Text(phone.sender(), FRANK, body, "carrier", name, **parts)
    with phone.opened.database.writing() as connection:
        return texts.settle(connection, phone.tenant, text, heard, times, phone.clock())


ORDERS = [
    [("STOP", 0), ("START", 10)],
    [("START", 0), ("STOP", 10)],
    [("STOP", 0), ("START", 10), ("STOP", 20)],
    [("STOP", 0), ("START", 10), ("STOP", 20), ("START", 30)],
    [("START", 0), ("STOP", 10), ("START", 20)],
    [("STOP", 0), ("START", 0)],
]


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
@pytest.mark.parametrize("known", [True, False], ids=["time in the text", "time looked up"])
@pytest.mark.parametrize("said", ORDERS)
def test_stops_and_starts_end_as_the_provider_says_they_were_sent_in_whatever_order_they_come(
    phone: Phone, api: Api, said: list[tuple[str, int]], known: bool
) -> None:
    last = max(second for _, second in said)
    out = any(word == "STOP" for word, second in said if second == last)
    for number, order in enumerate(permutations(range(len(said)))):
        author = Address(TEXTS, f"+1415557{number:04}")
        api.put(
            author.value,
            "in",
            channel="sms",
            said_by="sender",
            scope={"topic": "product-news"},
            basis="express",
        )
        began = phone.clock()
        times = {f"{number}-{n}": began + second * 1000 for n, (_, second) in enumerate(said)}
        for at in (*order, *order):  # and each comes twice
            phone.clock.forward(seconds=2)
            name, word = f"{number}-{at}", said[at][0]
            sent = {"said_at": times[name]} if known else {}
            heard = phone.text(word, author=author, id=name, **sent)
            if heard.unsettled:
                text = Text(phone.sender(), author, word, "carrier", name, **sent)
                with phone.opened.database.writing() as connection:
                    texts.settle(connection, phone.tenant, text, heard, times, phone.clock())
        expected = "replied_stop" if out else "consent"
        assert (order, why(api, number=author)) == (order, expected)
        phone.clock.forward(minutes=10)


def test_one_persons_stop_is_nobody_elses(phone: Phone, api: Api) -> None:
    phone.text("STOP", author=KIMS_PHONE)
    assert why(api, number=KIMS_PHONE) == "replied_stop"
    assert why(api) == "consent"
    assert api.check(KIM.value, "events")["allowed"] is True
    assert ALL == phone.history(KIMS_PHONE)[0].event.scope
