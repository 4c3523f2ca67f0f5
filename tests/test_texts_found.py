"""What people text, where it meets a retry, a second channel, a file or an erasure."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from threading import Barrier
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import event, select

from prefs import letters, rights, tables, texts
from prefs.address import Address, Channel
from prefs.demo import ACCOUNT, FRANK, SENDER, Cast
from prefs.installation import Installation
from prefs.keywords.reading import _read
from prefs.ledger import Subject
from prefs.policy import (
    ALL,
    Authority,
    Event,
    Kind,
    Scope,
    Voice,
    fold,
)
from prefs.texts import Failure, Text, Undelivered
from tests.conftest import Api
from tests.test_texts import Phone, offered_by_text, owned, phone, why
from tests.webhooks.twilio_api import webhook
from wsgi import create_app

__all__ = ["owned", "phone"]

NEWS = Scope(1, 7)


def test_an_unclear_text_of_whoever_came_back_after_a_stop_waits_for_somebody_to_read_it() -> None:
    out = Event(Kind.OUT, 1, voice=Voice.STOP)
    back = Event(Kind.IN, 2, NEWS, authority=Authority.PERSON, saw=1)
    unclear = Event(Kind.REVIEW, 3, ALL)
    standing, _ = fold([out, back, unclear])
    assert [review.seq for review in standing.unread] == [3]
    # Whom everything is stopped for anyway, nobody has to ask what they meant.
    assert not fold([out, unclear])[0].unread
    assert not fold([out, back, unclear, out])[0].unread
    # A no in between that the yes could not take back.
    complaint = Event(Kind.OUT, 2, voice=Voice.COMPLAINT)
    assert not fold([out, back, complaint, unclear])[0].unread


def test_a_number_that_was_heard_before_the_stop_and_comes_again_after_it_keeps_nothing(
    phone: Phone, api: Api, owned: Any
) -> None:
    offered_by_text(api, "events")
    owned("77005", clarifies=True)
    phone.text("1", to="77005", id="a-retry")
    assert "1 Product news" in str(phone.text("STOP", to="77005").reply)
    phone.text("1", to="77005", id="a-retry")
    assert why(api) == "replied_stop"


def test_whose_text_waits_to_be_read_is_on_the_suppression_list(phone: Phone, api: Api) -> None:
    def listed() -> list[str]:
        page = api("GET", "/v1/suppressions?channel=sms&topic=product-news").get_json()
        return [row["reason"] for row in page["suppressions"] if row["address"] == FRANK.value]

    assert why(api) == "consent"
    assert listed() == []
    phone.text("wrong number")
    assert (why(api), listed()) == ("in_review", ["in_review"])


ROUNDS = 12


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_batches_that_bring_the_same_numbers_in_another_order_never_wait_for_each_other(
    phone: Phone, api: Api, owned: Any
) -> None:
    channels = {"sms": "opt_in", "rcs": "opt_in"}
    assert api("PATCH", "/v1/topics/product-news", {"channels": channels}).status_code == 200
    owned("77005", clarifies=True)
    tenant, sender = phone.tenant, phone.sender(SENDER)
    people = [Address(Channel.SMS, f"+1415555{n:04}") for n in range(200, 230)]
    together = Barrier(2)

    def batch(name: str, order: list[Address], to: Any) -> None:
        for turn in range(ROUNDS):
            said = [
                Text(to, one, "1" if n % 3 else "STOP", "carrier", f"{name}-{turn}-{n}")
                for n, one in enumerate(order)
            ]
            together.wait(10)
            with phone.opened.database.writing() as connection:
                texts.hear_many(connection, tenant, said, phone.clock())

    with ThreadPoolExecutor(2) as pool:
        first = pool.submit(batch, "a", people, sender)
        second = pool.submit(batch, "b", people[::-1], phone.sender("77005"))
        first.result(60), second.result(60)


@pytest.fixture
def by_rcs_too(api: Api) -> Address:
    """Frank's number where texts come as RCS, with a consent of its own."""
    channels = {"sms": "opt_in", "rcs": "opt_out"}
    assert api("PATCH", "/v1/topics/product-news", {"channels": channels}).status_code == 200
    return Address(Channel.RCS, FRANK.value)


def by_rcs(api: Api) -> str:
    return str(api.check(FRANK.value, channel="rcs")["reason"])


@pytest.mark.parametrize("no", ["STOP", "wrong number"])
def test_a_start_that_the_providers_times_settle_is_one_on_both_channels_of_texts(
    phone: Phone, api: Api, by_rcs_too: Address, no: str
) -> None:
    phone.text("hello")
    phone.text(no, id="first")
    assert by_rcs(api) in ("replied_stop", "in_review")
    phone.clock.forward(seconds=10)
    heard = phone.text("START", id="second")
    start = Text(phone.sender(), FRANK, "START", "carrier", "second")
    times = {"first": phone.clock() - 10_000, "second": phone.clock()}
    for _ in range(2):
        with phone.opened.database.writing() as connection:
            texts.settle(connection, phone.tenant, start, heard, times, phone.clock())
    assert (why(api), by_rcs(api)) == ("consent", "no_objection")


def test_a_stop_that_only_a_failed_message_tells_of_is_one_on_both_channels_of_texts(
    phone: Phone, api: Api, by_rcs_too: Address
) -> None:
    assert by_rcs(api) == "no_objection"
    told = Undelivered(phone.sender(), FRANK, Failure.STOPPED, "21610", "carrier", "m-out")
    for _ in range(2):
        with phone.opened.database.writing() as connection:
            texts.undelivered(connection, phone.tenant, told, phone.clock())
    assert (why(api), by_rcs(api)) == ("replied_stop", "replied_stop")


def test_a_start_to_one_brands_number_is_not_answered_as_if_it_had_failed_for_anothers_stop(
    phone: Phone, api: Api, owned: Any
) -> None:
    offered_by_text(api, "trail-tips")
    owned("77001", "outdoor", leaves="brand")
    owned("77009", "acme", leaves="brand")
    phone.text("STOP", to="77009")
    assert "unsubscribed" in str(phone.text("STOP", to="77001").reply)
    phone.clock.forward(minutes=5)
    back = phone.text("START", to="77001")
    assert (why(api, "trail-tips"), why(api)) == ("no_objection", "replied_stop")
    assert str(back.reply).startswith("Acme Outdoor: you get texts again: Trail tips")


def replies(phone: Phone) -> list[Any]:
    table = tables.letter
    with phone.opened.database.reading() as connection:
        return list(connection.execute(select(table).where(table.c.kind == "reply")))


def test_an_erasure_takes_the_answers_to_a_persons_texts_along(phone: Phone) -> None:
    words = "Acme Group: you get texts again: Product news."
    with phone.opened.database.writing() as connection:
        letters.answer(connection, phone.tenant, phone.sender(), FRANK, words, phone.clock())
        rights.erase(connection, phone.tenant.id, Subject.of(phone.tenant, FRANK), phone.clock())
    (left,) = replies(phone)
    assert (left.value, left.text, left.due_at) == (None, None, None)


def test_a_demo_shows_the_answer_that_it_does_not_send(phone: Phone, opened: Installation) -> None:
    with opened.database.writing() as connection:
        words = "Acme Group: you are unsubscribed."
        letters.answer(connection, phone.tenant, phone.sender(), FRANK, words, phone.clock())
    shown = replace(opened, settings=replace(opened.settings, preview=True))
    page = create_app(shown).test_client().get("/preview")
    assert page.status_code == 200
    assert words in page.text


def test_five_minutes_are_counted_from_the_text_and_not_from_when_we_read_it(
    phone: Phone, opened: Installation
) -> None:
    text = Text(phone.sender(), FRANK, "stop it please", "carrier", "m", said_at=phone.clock())
    phone.clock.forward(minutes=4)
    with opened.database.writing() as connection:
        letters.answer(
            connection, phone.tenant, text.sender, FRANK, "Acme", phone.clock(), text.said_at
        )
    with opened.database.reading() as connection:
        assert letters.is_due(connection, phone.clock())
        phone.clock.forward(minutes=1, seconds=1)
        assert not letters.is_due(connection, phone.clock())


def test_an_agent_of_rcs_is_found_however_its_id_was_entered(api: Api) -> None:
    entry = {"brand": "acme", "provider": "twilio", "account": ACCOUNT, "kind": "rcs"}
    made = api("POST", "/v1/senders", {**entry, "identity": "rcs:acme_agent"})
    assert (made.status_code, made.get_json()["identity"]) == (201, "acme_agent")


def test_no_text_is_read_while_the_database_is_held(
    opened: Installation, cast: Cast, client: FlaskClient
) -> None:
    """SQLite has one writer: while a long text is read in its turn, every STOP would wait."""
    misses: list[int] = []

    def count(_: Any) -> None:
        misses.append(_read.cache_info().misses)

    for moment in ("begin", "commit"):
        event.listen(opened.database.engine, moment, count)
    _read.cache_clear()
    assert webhook(client, Body="please stop these now").status_code == 200
    assert misses[-1] == 1
    assert misses[-2:] == [1, 1]
