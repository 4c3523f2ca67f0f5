"""However many texts come at once, again, late or in whatever order: each is heard once, and
whoever was told 200 is out."""

import http.client
import json
import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from typing import Any, NamedTuple
from urllib.parse import urlencode, urlsplit

import pytest
from sqlalchemy import select
from twilio.request_validator import RequestValidator

from prefs import ledger, tables
from prefs.address import Address, Channel
from prefs.database import sqlite_file
from prefs.demo import ACCOUNT, FRANK, SENDER, TOKEN, Cast
from prefs.directory import Sender
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.policy import Kind, Message, Standing, may_send
from prefs.texts import Text
from tests.conftest import NOON, Clock, Served
from tests.postgres import Server
from tests.webhooks.twilio_api import TwilioApi, webhook
from tests.webhooks.twilio_api import linked as linked
from tests.webhooks.twilio_api import twilio_api as twilio_api
from webhooks import inbound
from wsgi import create_app

PATH = "/webhooks/twilio/acme"
AT_ONCE = 100
"""Connections. Each has its next text ready as soon as one is answered."""
MOST_TRIES = 500
NOTHING_SAID = b'<?xml version="1.0" encoding="UTF-8"?><Response />'

_sids = count(1)


class Posted(NamedTuple):
    """A text as Twilio posts it, and its signature."""

    sid: str
    body: bytes
    signature: str


def signed(served: Served, author: str, body: str = "STOP", said: bytes = b"") -> Posted:
    """``said`` are the bytes of a body that is no UTF-8, and ``body`` is how it is read."""
    sid = f"SM{next(_sids):032x}"
    fields = {"MessageSid": sid, "AccountSid": ACCOUNT, "From": author, "To": SENDER, "Body": body}
    signature = RequestValidator(TOKEN).compute_signature(served.url + PATH, fields)
    form: dict[str, str | bytes] = {**fields, "Body": said or body}
    return Posted(sid, urlencode(form).encode(), signature)


class Told(NamedTuple):
    """What a text was answered: 0 where the line was cut, and nothing is known."""

    status: int
    body: bytes = b""
    worker: int = 0


KEPT_FOR = 20
"""Requests on one connection: one that is kept for ever stays with its worker for ever."""


class Line:
    """A connection, opened anew now and then, and where the server has ended it."""

    def __init__(self, served: Served) -> None:
        self.requests = 0
        parts = urlsplit(served.url)
        assert parts.hostname
        self.line = http.client.HTTPConnection(parts.hostname, parts.port, timeout=60)

    def request(self, path: str, body: bytes, headers: dict[str, str]) -> tuple[Told, Any]:
        self.requests += 1
        if self.requests % KEPT_FOR == 0:
            self.line.close()
        try:
            self.line.request("POST", path, body, headers)
            answer = self.line.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self.line.close()
            return Told(0), {}
        return Told(answer.status, said, int(answer.headers.get("X-Worker", 0))), answer.headers

    def post(self, text: Posted) -> Told:
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Twilio-Signature": text.signature,
        }
        told, shown = self.request(PATH, text.body, headers)
        if told.status == 200:
            assert shown["Content-Type"] == "text/xml; charset=utf-8"
        elif told.status:
            assert (told.status, shown["Content-Type"]) == (503, "application/problem+json")
            assert int(shown["Retry-After"]) > 0
            assert b"<Response" not in told.body
        return told

    def until_heard(self, text: Posted) -> Told:
        """Posts it as often as it is told to come again."""
        for _ in range(MOST_TRIES):
            told = self.post(text)
            if told.status == 200:
                return told
            time.sleep(0.02)
        raise AssertionError("told to come again for ever")

    def passes(self, key: str) -> Told:
        """Asks whether a transactional text may be sent to somebody who has said STOP."""
        asked = {"channel": "sms", "address": "+14155550104", "topic": "order-updates"}
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        return self.request("/v1/check", json.dumps(asked).encode(), headers)[0]

    def close(self) -> None:
        self.line.close()


def shared(served: Served, act: Callable[[Line, Posted], Told], texts: list[Posted]) -> list[Told]:
    """What ``act`` was told of each text, as many at once as there are connections."""

    def one(share: list[Posted]) -> list[Told]:
        line = Line(served)
        try:
            return [act(line, text) for text in share]
        finally:
            line.close()

    shares = [texts[number::AT_ONCE] for number in range(AT_ONCE)]
    told: list[Told] = [Told(0)] * len(texts)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        for number, said in enumerate(threads.map(one, shares)):
            told[number::AT_ONCE] = said
    return told


def post_all(served: Served, texts: list[Posted]) -> list[Told]:
    """Posts all until each is answered 200."""
    return shared(served, Line.until_heard, texts)


def numbers(many: int) -> list[str]:
    return [f"+1{2_012_000_000 + number}" for number in range(many)]


def heard(opened: Installation) -> list[tuple[str, bytes, Kind]]:
    """The id, the author's digest and the kind of every text that Twilio has told us of."""
    table = tables.event
    asked = select(table.c.source_id, table.c.digest, table.c.kind)
    # What is said of RCS as well is the same text.
    texts = (table.c.source == "twilio") & (table.c.channel == Channel.SMS)
    with opened.database.reading() as connection:
        rows = connection.execute(asked.where(texts)).all()
    return [(row.source_id, bytes(row.digest), Kind(row.kind)) for row in rows]


def digest(cast: Cast, number: str) -> bytes:
    return cast.tenant.digest(Address(Channel.SMS, number))


def standing(opened: Installation, cast: Cast, number: str) -> Standing:
    with opened.database.reading() as connection:
        return ledger.standing(connection, cast.tenant.id, digest(cast, number))


def reasons(opened: Installation, cast: Cast, who: Sequence[str]) -> Counter[str]:
    """Why each of them may not be sent marketing, or may."""
    told: Counter[str] = Counter()
    topic = cast.tenant.topic("product-news")
    with opened.database.reading() as connection:
        for number in who:
            known = ledger.standing(connection, cast.tenant.id, digest(cast, number))
            told[may_send(Message(topic, Channel.SMS), known, opened.clock()).reason] += 1
    return told


# --- storms ---


@pytest.mark.slow
def test_of_ten_thousand_stops_of_one_number_each_is_heard_once_and_one_is_answered(
    served: Served, opened: Installation, cast: Cast
) -> None:
    # With the full stop it is not Twilio that answers, but we.
    texts = [signed(served, FRANK.value, "STOP.") for _ in range(10_000)]
    told = post_all(served, texts)
    events = heard(opened)
    assert Counter(sid for sid, _, _ in events) == Counter(text.sid for text in texts)
    assert {(who, kind) for _, who, kind in events} == {(digest(cast, FRANK.value), Kind.OUT)}
    end = standing(opened, cast, FRANK.value)
    assert len(end.outs) == 1
    assert reasons(opened, cast, [FRANK.value]) == {"replied_stop": 1}
    # 47 CFR 64.1200(a)(12): one confirmation.
    answered = [one.body for one in told if one.body != NOTHING_SAID]
    assert len(answered) == 1
    assert b"<Message>" in answered[0]


@pytest.mark.slow
def test_of_ten_thousand_numbers_all_that_were_told_so_are_out_and_nobody_else(
    served: Served, opened: Installation, cast: Cast
) -> None:
    who = numbers(10_000)
    texts = [signed(served, number) for number in who]
    assert {one.body for one in post_all(served, texts)} == {NOTHING_SAID}
    expected = {text.sid: digest(cast, number) for text, number in zip(texts, who, strict=True)}
    events = heard(opened)
    assert len(events) == len(who)
    assert {sid: author for sid, author, _ in events} == expected
    assert reasons(opened, cast, who) == {"replied_stop": len(who)}
    assert reasons(opened, cast, [FRANK.value]) == {"consent": 1}


@pytest.mark.slow
def test_a_text_that_comes_three_times_is_heard_once_and_answered_alike(
    served: Served, opened: Installation, cast: Cast
) -> None:
    bodies = ("STOP", "STOP.", "please stop texting me", "HELP", "where is my parcel?")
    who = numbers(1_000)
    texts = [signed(served, number, bodies[n % len(bodies)]) for n, number in enumerate(who)]
    thrice = texts * 3
    random.Random(3).shuffle(thrice)
    told: dict[str, list[Told]] = defaultdict(list)
    for text, one in zip(thrice, post_all(served, thrice), strict=True):
        told[text.sid].append(one)
    assert {len(answers) for answers in told.values()} == {3}
    assert all(len({one.body for one in answers}) == 1 for answers in told.values())
    assert len({one.body for answers in told.values() for one in answers}) > 1
    # Some of them came through both workers.
    assert 2 in {len({one.worker for one in answers}) for answers in told.values()}
    assert Counter(sid for sid, _, _ in heard(opened)) == Counter(text.sid for text in texts)


# --- orders ---

WORDS = 4
"""At most, of each person."""


class Word(NamedTuple):
    author: str
    body: str
    sid: str


def spoken(api: TwilioApi, people: int, rng: random.Random) -> dict[str, list[Word]]:
    """What each has said, in the order in which they did, seconds apart."""
    said: dict[str, list[Word]] = {}
    for author in numbers(people):
        said[author] = []
        at = NOON - 60_000
        for _ in range(rng.randint(1, WORDS)):
            body = rng.choice(["STOP", "START"])
            at += rng.choice([1_000, 5_000, 15_000])
            said[author].append(Word(author, body, api.lists(body, at, **{"from": author})))
    return said


@pytest.fixture
def workers(linked: Installation, clock: Clock) -> Iterator[Callable[[Word], None]]:
    """Posts a word to one of two workers, by turns. Both share a store, and nothing else."""
    second = Installation.open(linked.settings, clock)
    apps = [create_app(linked), create_app(second)]
    turn = count()

    def post(word: Word) -> None:
        client = apps[next(turn) % 2].test_client()
        changed = {"MessageSid": word.sid, "From": word.author, "Body": word.body}
        assert webhook(client, **changed).status_code == 200

    yield post
    second.database.close()


def shuffled(said: dict[str, list[Word]], rng: random.Random) -> list[Word]:
    words = [word for each in said.values() for word in each]
    rng.shuffle(words)
    return words


def out(opened: Installation, cast: Cast, said: dict[str, list[Word]]) -> set[str]:
    return {author for author in said if standing(opened, cast, author).stopped}


@pytest.mark.parametrize("seed", range(3))
def test_stops_and_starts_end_in_any_order_as_they_were_said(
    workers: Callable[[Word], None],
    opened: Installation,
    cast: Cast,
    clock: Clock,
    twilio_api: TwilioApi,
    seed: int,
) -> None:
    rng = random.Random(seed)
    said = spoken(twilio_api, 25, rng)
    expected = {author for author, words in said.items() if words[-1].body == "STOP"}
    assert set() < expected < set(said)
    words = shuffled(said, rng)
    for word in words:
        workers(word)
        if rng.random() < 0.3:
            workers(word)
    assert out(opened, cast, said) == expected
    events = {sid for sid, _, _ in heard(opened)}
    for _ in range(3):
        # Copies of what was heard long ago change nothing, in whatever order they come.
        clock.forward(minutes=rng.randint(1, 30))
        for word in shuffled(said, rng):
            workers(word)
        assert out(opened, cast, said) == expected
    assert {sid for sid, _, _ in heard(opened)} == events


def test_where_no_times_are_known_whoever_said_both_at_once_is_out_in_any_order(
    workers: Callable[[Word], None],
    opened: Installation,
    cast: Cast,
    clock: Clock,
    twilio_api: TwilioApi,
) -> None:
    rng = random.Random(4)
    said = spoken(twilio_api, 40, rng)
    expected = {author for author, words in said.items() if "STOP" in {w.body for w in words}}
    assert set() < expected < set(said)
    twilio_api.tokens.clear()
    for minutes in (0, 3, 20):
        clock.forward(minutes=minutes)
        for word in shuffled(said, rng):
            workers(word)
        assert out(opened, cast, said) == expected


def test_words_that_come_at_the_same_moment_leave_nobody_in_who_said_stop_last(
    workers: Callable[[Word], None],
    opened: Installation,
    cast: Cast,
    twilio_api: TwilioApi,
) -> None:
    rng = random.Random(5)
    said = spoken(twilio_api, 40, rng)
    said_stop_last = {author for author, words in said.items() if words[-1].body == "STOP"}
    never = {author for author, words in said.items() if "STOP" not in {w.body for w in words}}
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(workers, shuffled(said, rng) * 2))
    assert said_stop_last <= out(opened, cast, said) <= set(said) - never
    every = {word.sid for words in said.values() for word in words}
    counted = Counter(sid for sid, _, _ in heard(opened) if "." not in sid)
    assert counted == Counter(every)


# --- what dies meanwhile ---


class Storm:
    """People who text until it is over, each one STOP, and what they were told at first."""

    def __init__(self, served: Served, who: Iterator[str]) -> None:
        self.served, self.who = served, who
        self.is_over = threading.Event()
        self.told: dict[Posted, tuple[str, Told]] = {}
        self.lock = threading.Lock()

    def rage(self) -> None:
        line = Line(self.served)
        while not self.is_over.is_set():
            with self.lock:
                number = next(self.who)
            text = signed(self.served, number)
            told = line.post(text)
            with self.lock:
                self.told[text] = number, told
            if told.status != 200:
                time.sleep(0.05)
        line.close()

    def workers(self) -> set[int]:
        with self.lock:
            latest = list(self.told.values())[-500:]
        return {told.worker for _, told in latest if told.status == 200}

    def so_many(self, status: int) -> int:
        with self.lock:
            return sum(told.status == status for _, told in self.told.values())

    def until(self, happens: Callable[[], object]) -> None:
        for _ in range(6_000):
            if happens():
                return
            time.sleep(0.01)
        raise AssertionError("did not happen")


@contextmanager
def storm(served: Served, cast: Cast) -> Iterator[Storm]:
    """A storm in whose midst every transactional check passes."""
    raging = Storm(served, iter(numbers(1_000_000)))
    checks: list[Told] = []

    def check() -> None:
        line = Line(served)
        while not raging.is_over.is_set():
            checks.append(line.passes(cast.key))
        line.close()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        going = [threads.submit(raging.rage) for _ in range(AT_ONCE - 1)]
        going.append(threads.submit(check))
        try:
            raging.until(lambda: len(raging.workers()) == 2)
            yield raging
        finally:
            raging.is_over.set()
        for one in going:
            one.result()
    answered = [json.loads(one.body)["decision"] for one in checks if one.status == 200]
    # A line may be cut with the worker that it leads to; what is answered is a yes.
    assert {one.status for one in checks} <= {0, 200}
    assert len(answered) > 100
    assert set(answered) == {"allow"}


def all_is_kept(raging: Storm, served: Served, opened: Installation, cast: Cast) -> None:
    """Whoever was told 200 is out; whoever was not is so once they come again."""
    kept = {sid for sid, _, _ in heard(opened)}
    done = {text: who for text, (who, told) in raging.told.items() if told.status == 200}
    rest = {text: who for text, (who, _) in raging.told.items() if text not in done}
    assert {text.sid for text in done} <= kept
    assert reasons(opened, cast, list(done.values())) == {"replied_stop": len(done)}
    assert rest, "nobody was hit"
    post_all(served, list(rest))
    assert Counter(sid for sid, _, _ in heard(opened)) == Counter(t.sid for t in raging.told)
    who = [number for number, _ in raging.told.values()]
    assert reasons(opened, cast, who) == {"replied_stop": len(who)}


@pytest.mark.slow
def test_what_was_answered_before_a_worker_was_killed_holds_and_the_rest_comes_again(
    served: Served, opened: Installation, cast: Cast
) -> None:
    with storm(served, cast) as raging:
        for kill in range(2):
            before = raging.workers()
            victim = max(before)
            os.kill(victim, signal.SIGKILL)
            killed_at = time.monotonic()
            # Another takes its place.
            raging.until(lambda old=before: len(raging.workers() - old) == 1)
            # Two dead within 5.5 seconds are a crash loop to granian, which then ends.
            while kill == 0 and time.monotonic() < killed_at + 6.5:
                time.sleep(0.05)
    all_is_kept(raging, served, opened, cast)


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_was_answered_before_the_database_crashed_holds_and_the_rest_comes_again(
    served: Served, opened: Installation, cast: Cast, postgres: Server
) -> None:
    with storm(served, cast) as raging:
        raging.until(lambda: raging.so_many(200) > 500)
        postgres.crash()
        try:
            before = raging.so_many(503)
            raging.until(lambda: raging.so_many(503) > before + 200)
        finally:
            postgres.start()
        before = raging.so_many(200)
        raging.until(lambda: raging.so_many(200) > before + 200)
    all_is_kept(raging, served, opened, cast)


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_while_the_database_is_away_every_stop_is_told_to_come_again(
    served: Served, opened: Installation, cast: Cast, postgres: Server
) -> None:
    who = numbers(100)
    texts = [signed(served, number) for number in who]
    postgres.crash()
    try:
        told = shared(served, Line.post, texts)
        assert {one.status for one in told} == {503}
    finally:
        postgres.start()
    assert heard(opened) == []
    post_all(served, texts)
    assert Counter(sid for sid, _, _ in heard(opened)) == Counter(text.sid for text in texts)
    assert reasons(opened, cast, who) == {"replied_stop": len(who)}


@pytest.mark.slow
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_while_another_keeps_the_file_locked_every_stop_is_told_to_come_again(
    served: Served, opened: Installation, cast: Cast
) -> None:
    who = numbers(60)
    texts = [signed(served, number) for number in who]
    file = sqlite_file(opened.settings.database_url)
    assert file
    other = sqlite3.connect(file, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        with ThreadPoolExecutor(1) as threads:
            asked = threads.submit(shared, served, Line.post, texts)
            line = Line(served)
            while not asked.done():
                assert json.loads(line.passes(cast.key).body)["decision"] == "allow"
            line.close()
        assert {one.status for one in asked.result()} == {503}
    finally:
        other.execute("ROLLBACK")
        other.close()
    assert heard(opened) == []
    post_all(served, texts)
    assert Counter(sid for sid, _, _ in heard(opened)) == Counter(text.sid for text in texts)
    assert reasons(opened, cast, who) == {"replied_stop": len(who)}


# --- one among many ---


def test_texts_that_no_database_likes_are_kept_and_so_is_what_comes_with_them(
    served: Served, opened: Installation, cast: Cast
) -> None:
    odd: list[tuple[str, bytes]] = [
        ("STOP\0", b""),
        ("\0", b""),
        ("STOP %ED%A0%80", b"STOP \xed\xa0\x80"),
        ("STOP %FF", b"STOP \xff"),
        ("STOP " + "x" * 1_595, b""),
        ("\U0001f6d1" * 1_600, b""),
        ("STOP\r\n\x1b[2J", b""),
        ("", b""),
    ]
    who = numbers(50 * len(odd))
    texts = [
        signed(served, number, *(odd[n // 2 % len(odd)] if n % 2 else ("STOP", b"")))
        for n, number in enumerate(who)
    ]
    post_all(served, texts)
    assert Counter(sid for sid, _, _ in heard(opened)) == Counter(text.sid for text in texts)
    plain = who[::2]
    assert reasons(opened, cast, plain) == {"replied_stop": len(plain)}


def test_a_text_that_the_database_refuses_takes_no_other_down(
    opened: Installation, cast: Cast, clock: Clock
) -> None:
    app = create_app(opened)
    (sender,) = opened.directory.latest.tenants[cast.tenant.id].senders
    texts = [text_of(sender, number) for number in numbers(12)]
    bad = 7
    # No database has room for such a time.
    texts[bad] = replace(texts[bad], said_at=2**70)

    def hear(text: Text) -> str:
        with app.app_context():
            try:
                inbound._heard(cast.tenant, text)
            except Exception as error:
                return type(error).__name__
        return "heard"

    first = Subject.of(cast.tenant, texts[0].author)
    with ThreadPoolExecutor(len(texts)) as threads:
        with opened.database.writing() as connection:
            ledger.lock(connection, cast.tenant.id, [first])
            asked = [threads.submit(hear, texts[0])]
            meeting: dict[int, Any] = app.extensions.setdefault("prefs.texts", {})
            until(lambda: cast.tenant.id in meeting and meeting[cast.tenant.id]._at_work)
            asked += [threads.submit(hear, text) for text in texts[1:]]
            until(lambda: len(meeting[cast.tenant.id]._waiting) == len(texts) - 1)
        said = [one.result() for one in asked]
    assert [n for n, one in enumerate(said) if one != "heard"] == [bad]
    assert said[bad] != "Unavailable"
    expected = {text.id for number, text in enumerate(texts) if number != bad}
    assert Counter(sid for sid, _, _ in heard(opened)) == Counter(expected)


def text_of(sender: Sender, number: str) -> Text:
    sid = f"SM{next(_sids):032x}"
    return Text(sender, Address(Channel.SMS, number), "STOP", "twilio", sid)


def until(happens: Callable[[], object]) -> None:
    for _ in range(3_000):
        if happens():
            return
        time.sleep(0.001)
    raise AssertionError("did not happen")
