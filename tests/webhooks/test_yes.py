"""YES by text: the answer to a question, and without one nothing."""

from typing import Any

import pytest

from prefs import directory, ledger, letters
from prefs.address import Address, Channel
from prefs.demo import DAVE, FRANK, Cast
from prefs.installation import Installation
from prefs.ledger import Entry
from prefs.links import CONFIRM_FOR
from prefs.policy import Authority, Kind, Outcome
from tests.conftest import Api, Clock
from tests.webhooks.test_twilio import EMPTY, GSM_7, Twilio, message, replies, sid
from tests.webhooks.test_twilio import twilio as twilio

HEIDI = Address(Channel.SMS, "+14155550108")
WELCOME = "Acme: you will get Events. Reply STOP to end, HELP for help."


@pytest.fixture
def asked(opened: Installation, cast: Cast, clock: Clock) -> Any:
    """Asks a number whether it wants a topic, by a text that has gone out."""

    def ask(number: Address = HEIDI, topic: str = "events", language: str = "en") -> None:
        with opened.database.writing() as connection:
            outcome = letters.ask(
                connection,
                cast.tenant,
                number,
                cast.tenant.topic(topic),
                language=language,
                through="sign-up form",
                evidence={},
                network=None,
                now=clock(),
            )
            assert outcome.outcome == "asked"
            for letter in letters.claim_due(connection, clock(), 10):
                letters.sent(connection, letter, clock())

    return ask


@pytest.fixture
def short_code(opened: Installation, cast: Cast) -> None:
    """A short code answers nothing by itself."""
    with opened.database.writing() as connection:
        directory.add_sender(
            connection,
            cast.tenant.id,
            cast.tenant.brand("acme").id,
            "twilio",
            cast.tenant.senders[0].account,
            "77777",
            "short_code",
            now=0,
        )
    opened.directory.refresh()


def history(opened: Installation, cast: Cast, number: Address = HEIDI) -> list[Entry]:
    """What was said, talk aside."""
    with opened.database.reading() as connection:
        past = ledger.history(connection, cast.tenant.id, cast.tenant.digest(number))
    return [entry for entry in past if entry.event.kind is not Kind.TEXT]


def allowed(api: Api, number: Address = HEIDI, topic: str = "events") -> bool:
    found: bool = api.check(number.value, topic, "sms")["allowed"]
    return found


@pytest.mark.usefixtures("short_code")
def test_a_yes_to_a_question_is_a_confirmed_consent_and_is_answered_once(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, asked: Any
) -> None:
    asked()
    assert not allowed(api)
    assert twilio.text("Yes!", From=HEIDI.value, To="77777") == [WELCOME]
    assert set(WELCOME) <= GSM_7
    assert allowed(api)
    assert not allowed(api, topic="product-news")
    entry = history(opened, cast)[-1]
    assert (entry.event.kind, entry.event.authority) == (Kind.IN, Authority.CONFIRMED)
    assert (entry.event.door, entry.source) == ("text message", "twilio")
    assert entry.evidence
    assert (entry.evidence["text"], entry.evidence["to"]) == ("Yes!", "77777")
    assert "reply YES" in entry.evidence["wording text"]
    # Who says it again was asked nothing more.
    assert twilio.text("yes", From=HEIDI.value, To="77777") == []
    assert len(history(opened, cast)) == 2


def test_what_twilio_has_answered_gets_no_second_answer(
    twilio: Twilio, api: Api, asked: Any
) -> None:
    """YES is one of Twilio's own words of START on a long code; YEP is not."""
    asked()
    assert twilio.text("YES", From=HEIDI.value) == []
    assert allowed(api)
    asked(FRANK)
    assert twilio.text("Yep", From=FRANK.value) == [WELCOME]
    assert allowed(api, FRANK)


def test_a_yes_that_is_delivered_again_is_answered_alike_and_changes_nothing(
    twilio: Twilio, opened: Installation, cast: Cast, asked: Any
) -> None:
    asked()
    said = message("y", From=HEIDI.value, MessageSid=sid())
    assert replies(twilio.send(said)) == [WELCOME]
    before = history(opened, cast)
    assert replies(twilio.send(said)) == [WELCOME]
    assert history(opened, cast) == before


def test_a_yes_to_nothing_says_nothing(twilio: Twilio, opened: Installation, cast: Cast) -> None:
    assert twilio.send(message("y", From=HEIDI.value)).text == EMPTY
    assert history(opened, cast) == []
    for author in ("", "77777", "BANK", "whatsapp:+14155550108"):
        assert twilio.send(message("y", From=author)).text == EMPTY
    assert twilio.send(message("y", From=HEIDI.value, MessageSid="?")).status_code == 422


def test_a_yes_on_another_channel_answers_no_text(
    twilio: Twilio, opened: Installation, cast: Cast, asked: Any
) -> None:
    asked()
    for channel in ("whatsapp", "rcs"):
        assert twilio.text("y", From=f"{channel}:{HEIDI.value}") == []
    assert len(history(opened, cast)) == 1


def test_a_stop_after_the_question_holds_against_the_yes(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, asked: Any
) -> None:
    asked()
    twilio.text("STOP", From=HEIDI.value)
    (answer,) = twilio.text("y", From=HEIDI.value)
    assert "still unsubscribed" in answer
    assert api.check(HEIDI.value, "events", "sms")["reason"] == "replied_stop"
    assert history(opened, cast)[-1].outcome is Outcome.REFUSED


def test_once_a_start_has_taken_that_stop_back_the_yes_counts(
    twilio: Twilio, api: Api, clock: Clock, asked: Any
) -> None:
    asked()
    twilio.text("STOP", From=HEIDI.value)
    clock.forward(minutes=3)
    twilio.text("START", From=HEIDI.value)
    assert not allowed(api), "START consents to nothing"
    assert twilio.text("y", From=HEIDI.value) == [WELCOME]
    assert allowed(api)


def test_a_no_in_place_of_the_yes_is_a_no(twilio: Twilio, api: Api, asked: Any) -> None:
    asked()
    assert twilio.text("Stop. Yes", From=HEIDI.value) != []
    assert api.check(HEIDI.value, "events", "sms")["reason"] == "replied_stop"


def test_a_stop_after_the_yes_ends_it(twilio: Twilio, api: Api, asked: Any) -> None:
    asked()
    twilio.text("y", From=HEIDI.value)
    twilio.text("STOP", From=HEIDI.value)
    assert not allowed(api)
    # And the old YES, delivered late or again, is not answered with a welcome.
    assert twilio.text("y", From=HEIDI.value) == []


def test_a_yes_that_comes_after_seven_days_says_nothing(
    twilio: Twilio, opened: Installation, cast: Cast, clock: Clock, asked: Any
) -> None:
    asked()
    clock.now += CONFIRM_FOR
    assert twilio.text("y", From=HEIDI.value) == []
    assert len(history(opened, cast)) == 1


def test_where_twilio_took_it_for_a_start_the_question_comes_first(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, asked: Any
) -> None:
    asked()
    assert twilio.text("YES", From=HEIDI.value, OptOutType="START") == []
    assert allowed(api)
    assert [entry.event.kind for entry in history(opened, cast)] == [Kind.PENDING, Kind.IN]
    # And with no question open it is the START that Twilio says.
    twilio.text("YES", From=DAVE.value, OptOutType="START")
    assert history(opened, cast, DAVE)[-1].event.kind is Kind.LIFT


def test_what_twilio_took_for_a_stop_is_no_yes(twilio: Twilio, api: Api, asked: Any) -> None:
    asked()
    twilio.text("YES", From=HEIDI.value, OptOutType="STOP")
    assert api.check(HEIDI.value, "events", "sms")["reason"] == "replied_stop"


def test_a_yes_is_one_in_english_and_in_the_language_of_the_question_alone(
    twilio: Twilio, api: Api, opened: Installation, cast: Cast, asked: Any, clock: Clock
) -> None:
    asked(language="id")
    # "No" in Malay and in Indonesian, "what" in Filipino, and a yes in Polish and in Czech.
    for word in ("Tak", "Ano", "Ja", "Sí"):
        assert twilio.text(word, From=HEIDI.value) == []
    assert [entry.event.kind for entry in history(opened, cast)] == [Kind.PENDING]
    twilio.text("Ya", From=HEIDI.value)
    assert allowed(api)
    asked(FRANK, language="pl")
    twilio.text("Tak", From=FRANK.value)
    assert allowed(api, FRANK)
    clock.forward(minutes=10)
    asked(language="hi", topic="product-news")
    twilio.text("yes", From=HEIDI.value)
    assert allowed(api, topic="product-news")
