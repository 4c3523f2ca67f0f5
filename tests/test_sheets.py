"""Lists in files: every no in them is kept, and what may be sent goes out as it came."""

import csv
import hashlib
import io
import json
import os
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import select

from prefs import directory, ledger, tables
from prefs.address import Address, BadAddress, Channel
from prefs.database import Database
from prefs.demo import DAVE, Cast
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.policy import ALL, Authority, Block, Event, Kind, Message, Scope, Voice, may_send
from prefs.sheets import (
    Imported,
    Scrubbed,
    export,
    import_suppressions,
    scrub,
)
from prefs.sheets.rows import BadSheet
from tests.conftest import NOON, Clock

LISTS = Path(__file__).parent / "sheets"
EMAIL, SMS, PUSH = Channel.EMAIL, Channel.SMS, Channel.PUSH


def nothing(rows: int) -> None:
    pass


def imported(opened: Installation, cast: Cast, source: Any, **options: Any) -> tuple[Imported, str]:
    """What an import of ``source`` counts, and its rejects."""
    rejects = io.StringIO()
    asked = {
        "name": "list.csv",
        "scope": ALL,
        "channel": EMAIL,
        "region": None,
        "rejects": rejects,
        "progress": nothing,
        **options,
    }
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    done = import_suppressions(opened, cast.tenant, file, **asked)
    return done, rejects.getvalue()


def scrubbed(
    opened: Installation, cast: Cast, source: Any, topic: str = "product-news", **options: Any
) -> tuple[Scrubbed, bytes, bytes]:
    """What a scrub of ``source`` counts, and what it wrote: sendable and refused."""
    sendable, refused = io.BytesIO(), io.BytesIO()
    asked = {"channel": EMAIL, "region": None, "progress": nothing, **options}
    file = io.BytesIO(source) if isinstance(source, bytes) else source
    done = scrub(
        opened,
        cast.tenant,
        file,
        sendable,
        topic=cast.tenant.topic(topic),
        refused=refused,
        **asked,
    )
    return done, sendable.getvalue(), refused.getvalue()


def history(
    opened: Installation, tenant: Tenant, text: str, channel: Channel = EMAIL
) -> list[Event]:
    digest = tenant.digest(Address.parse(channel, text))
    with opened.database.reading() as connection:
        return [entry.event for entry in ledger.history(connection, tenant.id, digest)]


def leave(opened: Installation, tenant: Tenant, text: str) -> None:
    subject = Subject.of(tenant, Address.parse(EMAIL, text))
    event = Event(Kind.OUT, opened.clock(), ALL, Voice.PERSON, Authority.PERSON, door="a test")
    with opened.database.writing() as connection:
        ledger.record(connection, tenant.id, Said(subject, event))


# --- the one right answer ---


def test_the_two_lists_give_the_one_right_answer(opened: Installation, cast: Cast) -> None:
    with (LISTS / "unsubscribed.csv").open("rb") as file:
        done, rejects = imported(opened, cast, file)
    assert done == Imported(rows=3000, recorded=3000, already=0, refused=0, unreadable=0)
    assert rejects == "line,reason,row\n"

    audience = (LISTS / "audience.csv").read_bytes()
    counts, sendable, refused = scrubbed(opened, cast, audience)
    assert counts.rows == 20_620
    assert (counts.sendable, counts.refused, counts.unusable) == (19_033, {"opted_out": 1_547}, 40)

    # Each row is in one of the two, as it came and in order; the header is in both.
    left, right = iter(sendable.splitlines(True)), iter(refused.splitlines(True))
    assert next(left) == audience.splitlines(True)[0]
    assert next(right) == audience.splitlines(True)[0].replace(b"\r\n", b",reason,time,seq\r\n")
    mine, theirs = next(left, b""), next(right, b"")
    for row in audience.splitlines(True)[1:]:
        if row == mine:
            mine = next(left, b"")
        else:
            assert theirs.rsplit(b",", 3)[0] + b"\r\n" == row
            theirs = next(right, b"")
    assert (mine, theirs) == (b"", b"")

    target = io.BytesIO()
    topics = [cast.tenant.topic("product-news")]
    made = export(opened, cast.tenant, target, channel=EMAIL, topics=topics, progress=nothing)
    bob_and_carol = 2
    assert made.rows == 3_000 + bob_and_carol


# --- suppressions in ---


def test_the_same_file_again_records_nothing(opened: Installation, cast: Cast) -> None:
    source = b"email\nann@example.org\nANN@example.org\nnobody\n"
    assert imported(opened, cast, source)[0] == Imported(3, 2, 0, 0, 1)
    assert imported(opened, cast, source, name="renamed.csv")[0] == Imported(3, 0, 2, 0, 1)
    assert len(history(opened, cast.tenant, "ann@example.org")) == 2


def test_the_same_file_for_more_is_more(opened: Installation, cast: Cast) -> None:
    """Or a list of those who left everything would go unheard, having been read for one topic."""
    source = b"email,phone\nann@example.org,+14155550111\n"
    news = cast.tenant.topic("product-news").scope
    for options in ({"scope": news}, {"scope": ALL}, {"channel": SMS}):
        assert imported(opened, cast, source, **options)[0].recorded == 1, options
    scopes = [event.scope for event in history(opened, cast.tenant, "ann@example.org")]
    assert scopes == [news, ALL]
    assert len(history(opened, cast.tenant, "+14155550111", SMS)) == 1


def test_an_import_that_was_killed_goes_on_where_it_ended(opened: Installation, cast: Cast) -> None:
    source = b"email\n" + b"".join(b"p%d@example.org\n" % n for n in range(2_500))

    def killed(rows: int) -> None:
        if rows > 1_500:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        imported(opened, cast, source, progress=killed)
    done, _ = imported(opened, cast, source)
    assert 0 < done.already < 2_500
    assert done.recorded + done.already == done.rows == 2_500
    for number in (0, 1_700, 2_499):
        assert len(history(opened, cast.tenant, f"p{number}@example.org")) == 1


def test_a_dry_run_counts_and_records_nothing(opened: Installation, cast: Cast) -> None:
    imported(opened, cast, b"email\nann@example.org\n")
    source = b"email\nben@example.org\nnobody\n"
    assert imported(opened, cast, source, dry_run=True)[0] == Imported(2, 1, 0, 0, 1)
    assert history(opened, cast.tenant, "ben@example.org") == []
    assert imported(opened, cast, source)[0] == Imported(2, 1, 0, 0, 1)
    assert imported(opened, cast, source, dry_run=True)[0] == Imported(2, 0, 1, 0, 1)
    with opened.database.reading() as connection:
        assert len(connection.execute(select(tables.batch)).all()) == 2


def test_an_import_leaves_a_batch_with_its_counts(
    opened: Installation, cast: Cast, clock: Clock
) -> None:
    source = b"email\nann@example.org\nnobody\n"
    imported(opened, cast, source, name="list\udcff.csv")
    with opened.database.reading() as connection:
        batch = connection.execute(select(tables.batch)).one()
        events = connection.execute(
            select(tables.event.c.batch_id).where(tables.event.c.source == "import")
        )
        assert list(events.scalars()) == [batch.id]
    assert batch.name == "list\\udcff.csv"
    assert batch.file_digest == hashlib.sha256(source).hexdigest()
    assert (batch.started_at, batch.finished_at) == (NOON, NOON)
    assert json.loads(batch.counts) == Imported(2, 1, 0, 0, 1)._asdict()


def test_a_pipe_is_imported_like_a_file(opened: Installation, cast: Cast) -> None:
    source = b"email\nann@example.org\n"
    for recorded in (1, 0):
        reading, writing = os.pipe()
        os.write(writing, source)
        os.close(writing)
        with os.fdopen(reading, "rb") as pipe:
            assert imported(opened, cast, pipe)[0].recorded == recorded
    assert imported(opened, cast, source)[0].already == 1


@pytest.mark.parametrize(
    ("columns", "cells", "said"),
    [
        pytest.param("name", "Ann", Voice.PERSON, id="an unsubscribe is the person's own"),
        pytest.param("reason", "free text", Voice.PERSON, id="… whatever is written there"),
        pytest.param("reason", "", Voice.PERSON, id="… or nothing"),
        pytest.param("source", "Admin", Voice.SENDER, id="an admin's choice is the sender's"),
        pytest.param("Type", "manual", Voice.SENDER, id="… and so is a manual one"),
        pytest.param(
            "SuppressionReason,Origin",
            "ManualSuppression,Recipient",
            Voice.PERSON,
            id="Postmark's ManualSuppression by the Recipient is the person's",
        ),
        pytest.param(
            "SuppressionReason,Origin",
            "ManualSuppression,Customer",
            Voice.SENDER,
            id="… and by the Customer the sender's",
        ),
        pytest.param("reason", "COMPLAINT", Voice.COMPLAINT, id="SES's COMPLAINT is a complaint"),
        pytest.param("type", "Spam Report", Voice.COMPLAINT, id="so is a spam report"),
        pytest.param("reason", "BOUNCE", Block.HARD_BOUNCE, id="SES's BOUNCE is a block"),
        pytest.param("reason", "Hard bounce", Block.HARD_BOUNCE, id="and a hard bounce"),
        pytest.param("reason", "invalid", Block.INVALID, id="and an invalid address"),
        pytest.param(
            "reason,status", "bounce,unsubscribed", Voice.PERSON, id="a no outlives a bounce"
        ),
        pytest.param("reason", "do_not_contact", Block.DO_NOT_CONTACT, id="our own blocks"),
        pytest.param("voice", "stop", Voice.STOP, id="our own voices"),
    ],
)
def test_a_row_says_whose_no_it_is(
    opened: Installation, cast: Cast, columns: str, cells: str, said: Voice | Block
) -> None:
    scope = Scope(cast.tenant.brand("acme").id)
    source = f"email,{columns}\nann@example.org,{cells}\n".encode()
    assert imported(opened, cast, source, scope=scope)[0].recorded == 1
    (event,) = history(opened, cast.tenant, "ann@example.org")
    assert (event.authority, event.door, event.heard_at) == (Authority.IMPORT, "import", NOON)
    if isinstance(said, Block):
        assert (event.kind, event.block) == (Kind.BLOCK, said)
    else:
        assert (event.kind, event.voice) == (Kind.OUT, said)
        assert event.scope == (ALL if said is Voice.COMPLAINT else scope)


@pytest.mark.parametrize("status", ["subscribed", "Opted In", "snoozed"])
def test_a_row_that_is_no_opt_out_is_not_recorded_as_one(
    opened: Installation, cast: Cast, status: str
) -> None:
    done, rejects = imported(opened, cast, f"email,status\nann@example.org,{status}\n".encode())
    assert done == Imported(1, 0, 0, 0, 1)
    assert "2,the row is about somebody who has not opted out" in rejects
    assert history(opened, cast.tenant, "ann@example.org") == []


@pytest.mark.parametrize(
    ("header", "cell", "said_at"),
    [
        ("created", "1744121862", 1_744_121_862_000),
        ("created", "1744121862.5", 1_744_121_862_000),
        ("Created At", "1744121862123", 1_744_121_862_123),
        ("date", "2025-04-08T14:17:42Z", 1_744_121_862_000),
        ("date", "2025-04-08 16:17:42+02:00", 1_744_121_862_000),
        ("unsubscribed_at", "2025-04-08 14:17:42", 1_744_121_862_000),
        ("UNSUB_TIME", "2025-04-08 14:17:42 UTC", 1_744_121_862_000),
        ("created_at", '"Tue, 08 Apr 2025 14:17:42 +0000"', 1_744_121_862_000),
        ("date", "2025-04-08", 1_744_070_400_000),
        ("date", "03/04/2025", None),
        ("date", "2031-01-01", None),
        ("date", "0", None),
        ("date", "9" * 400, None),
        ("date", "Tue, 99 Apr 9999 99:99:99 +9999", None),
        ("date", "0001-01-01T00:00:00+23:59", None),
        ("date", "", None),
        ("date,unsubscribed at", "2025-01-01,1744121862", 1_744_121_862_000),
    ],
)
def test_the_time_of_a_row_is_when_it_was_said(
    opened: Installation, cast: Cast, header: str, cell: str, said_at: int | None
) -> None:
    imported(opened, cast, f"email,{header}\nann@example.org,{cell}\n".encode())
    (event,) = history(opened, cast.tenant, "ann@example.org")
    assert (event.said_at, event.heard_at) == (said_at, NOON)


def test_an_import_lifts_nothing_and_silences_those_who_said_yes(
    opened: Installation, cast: Cast
) -> None:
    source = b"email\nalice@example.org\nbob@example.org\ncarol@example.org\n"
    imported(opened, cast, source, scope=cast.tenant.topic("events").scope)
    counts, *_ = scrubbed(opened, cast, source, "events")
    assert counts.refused == {"opted_out": 2, "complained": 1}


# --- rows that cannot be read ---

FIELD = b"x" * 200_000
BROKEN = [
    (b"m\xfcller@example.org,Ann\n", "remove the control characters, or send the text as UTF-8"),
    (b"nul@example.org,A\0nn\n", "remove the NUL"),
    (b"nobody,Ann\n", "an email address has an @"),
    (b",Ann\n", "an email address has an @"),
    (b'wide@example.org,"' + FIELD + b'"\n', "close the quote that this line opens, or shorten"),
    (b'open@example.org,"Ann\n', "close the quote that this line opens"),
    (b"long@example.org," + b"," * 1_100_000 + b"\n", "shorten the line"),
]
GOOD = [b"good%d@example.org,Ann\n" % n for n in range(len(BROKEN))]
LAST = b"columns@example.org" + b",cell" * 10_000 + b"\n"


def test_each_unreadable_row_is_named_and_the_others_are_kept(
    opened: Installation, cast: Cast
) -> None:
    source = b"email,name\n" + b"".join(
        bad + good for (bad, _), good in zip(BROKEN, GOOD, strict=True)
    )
    source += b'quoted@example.org,"a\r\nb"\n' + LAST + b'end@example.org,"never closed'
    done, rejects = imported(opened, cast, source)
    csv.field_size_limit(2_000_000)
    try:
        rows = list(csv.reader(io.StringIO(rejects)))[1:]
    finally:
        csv.field_size_limit(131_072)
    for number, (raw, reason) in enumerate(BROKEN):
        line, said, text = rows[number]
        assert (int(line), said[: len(reason)]) == (2 + 2 * number, reason)
        assert raw.decode("utf-8", "backslashreplace").startswith(text)
    assert rows[-1][0] == str(2 + 2 * len(BROKEN) + 3)
    assert rows[-1][2] == 'end@example.org,"never closed'
    assert done.recorded == len(GOOD) + 2
    assert done.recorded + done.unreadable == done.rows
    for good in ["good0", "good6", "quoted", "columns"]:
        assert len(history(opened, cast.tenant, f"{good}@example.org")) == 1


def test_a_name_in_windows_1252_loses_nobodys_no(opened: Installation, cast: Cast) -> None:
    row = "jerome@example.org,Jérôme\n".encode("cp1252")
    done, _ = imported(opened, cast, b"email,name\n" + row)
    assert (done.recorded, done.unreadable) == (1, 0)
    other = "zoe@example.org,Zoë\n".encode("cp1252")
    counts, sendable, refused = scrubbed(opened, cast, b"email,name\n" + row + other)
    assert sendable == b"email,name\n" + other
    assert counts.refused == {"opted_out": 1}
    assert row.strip() in refused


def test_a_broken_row_of_an_audience_is_refused_and_breaks_no_other(
    opened: Installation, cast: Cast
) -> None:
    source = b"email,name\n" + b"".join(
        bad + good for (bad, _), good in zip(BROKEN[:-1], GOOD, strict=False)
    )
    counts, sendable, refused = scrubbed(opened, cast, source)
    assert sendable == b"email,name\n" + b"".join(GOOD[:-1])
    assert (counts.sendable, counts.unusable) == (len(GOOD) - 1, len(BROKEN) - 1)
    csv.field_size_limit(2_000_000)
    try:
        rows = list(csv.reader(io.StringIO(refused.decode("latin-1"))))
    finally:
        csv.field_size_limit(131_072)
    assert rows[0] == ["email", "name", "reason", "time", "seq"]
    assert len(rows) == len(BROKEN)
    assert {row[2] for row in rows[1:]} == {"bad_address"}
    assert rows[-1][0] == 'open@example.org,"Ann'


def test_rows_shorter_than_the_header_keep_their_reason_in_its_column(
    opened: Installation, cast: Cast
) -> None:
    _, _, refused = scrubbed(opened, cast, b"a;email;c\n1;bob@example.org\n1\n\n")
    assert [line.split(b";")[:4] for line in refused.splitlines()] == [
        [b"a", b"email", b"c", b"reason"],
        [b"1", b"bob@example.org", b"", b"opted_out"],
        [b"1", b"", b"", b"bad_address"],
    ]


def test_the_pieces_of_a_line_that_is_too_long_are_no_rows(
    opened: Installation, cast: Cast
) -> None:
    source = b"email\n" + (b"a" * 60 + b"@example.org,") * 60_000 + b"\nann@example.org\n"
    counts, sendable, _ = scrubbed(opened, cast, source)
    assert (counts.sendable, sendable) == (1, b"email\nann@example.org\n")
    assert imported(opened, cast, source)[0].recorded == 1


class Endless(io.RawIOBase):
    """A file too large for memory."""

    def __init__(self, first: bytes, block: bytes, times: int) -> None:
        self.blocks: Iterator[bytes] = iter([first] + [block] * times)

    def read(self, size: int = -1) -> bytes:
        return next(self.blocks, b"")


@pytest.mark.parametrize(
    ("first", "block", "size"),
    [
        pytest.param(b'email\nann@example.org\n"ben', b"x" * 999 + b"\n", 24e6, id="an open quote"),
        pytest.param(
            b'email\nann@example.org\n"', b'",%s,"\n' % FIELD[:999], 24e6, id="a row without end"
        ),
        pytest.param(b"email\nann@example.org\n", b'"x","\n' * 999, 2e5, id="… on every line"),
        pytest.param(b"email\nann@example.org\n", b"x" * 65_536, 24e6, id="one line without end"),
        pytest.param(b"email\nann@example.org\n", b"," * 999 + b"\n", 24e6, id="very many cells"),
    ],
)
def test_memory_holds_one_chunk_however_long_the_file(
    opened: Installation, cast: Cast, first: bytes, block: bytes, size: float
) -> None:
    times = int(size) // len(block)
    tracemalloc.start()
    try:
        done = scrub(
            opened,
            cast.tenant,
            Endless(first, block, times),  # type: ignore[arg-type]
            io.BytesIO(),
            topic=cast.tenant.topic("product-news"),
            channel=EMAIL,
            region=None,
            refused=None,
            progress=nothing,
        )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.sendable == 1
    assert peak < 30_000_000


# --- an audience ---


@pytest.mark.parametrize(
    "source",
    [
        pytest.param(b"email\n{}\n", id="LF"),
        pytest.param(b"email\r\n{}\r\n", id="CRLF"),
        pytest.param(b"email\r{}\r", id="CR"),
        pytest.param(b"email\n{}", id="no end of line at the end"),
        pytest.param(b"\xef\xbb\xbfemail,x\r\n{},1\r\n", id="a byte order mark"),
        pytest.param(b'\xef\xbb\xbf"E-Mail-Adresse";x\r\n"{}";1\r\n', id="semicolons, and quotes"),
        pytest.param(b"x\tEMAIL_ADDRESS\n1,5\t {} \n", id="tabs"),
        pytest.param(b'email,note\r\n{},"two\r\nlines, ""quoted"""\r\n', id="quoted line breaks"),
        pytest.param(b'email,note\n{},5" pipe\n', id="a quote within a cell"),
        pytest.param(b'n,email\n"Ann" B,  {}\n', id="a quote that closes too early"),
        pytest.param(b"{}\n{}\n", id="one address per line"),
        pytest.param(b"\xef\xbb\xbf{}\r\n", id="… with a byte order mark"),
        pytest.param(b'"Ann, of course" <{}>\n', id="… with names"),
        pytest.param("email,x\nÅ{},名\n".encode(), id="other scripts"),
    ],
)
def test_what_may_be_sent_goes_out_byte_for_byte(
    opened: Installation, cast: Cast, source: bytes
) -> None:
    sheet = source.replace(b"{}", b"Ann@Example.org")
    counts, sendable, _ = scrubbed(opened, cast, sheet)
    assert sendable == sheet
    assert counts.rows == counts.sendable == source.count(b"{}")
    leave(opened, cast.tenant, "ann@example.org")
    leave(opened, cast.tenant, "åann@example.org")
    counts, sendable, refused = scrubbed(opened, cast, sheet)
    assert (counts.sendable, counts.refused) == (0, {"opted_out": source.count(b"{}")})
    assert sheet.startswith(sendable)
    assert refused.count(b"opted_out") == counts.rows


def test_a_refused_row_carries_reason_time_and_seq(opened: Installation, cast: Cast) -> None:
    source = b"".join(
        b"%s@example.org\n" % name for name in (b"alice", b"bob", b"carol", b"erin", b"new", b"")
    )
    _, sendable, refused = scrubbed(opened, cast, source)
    assert sendable == b"alice@example.org\nnew@example.org\n"
    assert refused.decode().splitlines() == [
        "bob@example.org,opted_out,2026-10-21T12:00:00.000Z,1",
        "carol@example.org,complained,2026-10-03T12:00:00.000Z,1",
        "erin@example.org,erased,2026-07-25T12:00:00.000Z,2",
        "@example.org,bad_address,,",
    ]
    _, sendable, refused = scrubbed(opened, cast, source, "events")
    assert sendable == b"alice@example.org\n"
    assert b"new@example.org,no_consent,,\n" in refused


def test_a_topic_that_is_not_offered_on_the_channel_holds_every_row(
    opened: Installation, cast: Cast
) -> None:
    source = b"phone\n+14155550111\n"
    counts, sendable, _ = scrubbed(opened, cast, source, "trail-tips", channel=SMS)
    assert (counts.refused, sendable) == ({"not_offered": 1}, b"phone\n")


def test_numbers_are_read_in_their_region(opened: Installation, cast: Cast) -> None:
    source = b"Mobile Number\n(415) 555-0106\n(415) 555-0104\n+14155550106\n"
    counts, sendable, _ = scrubbed(opened, cast, source, channel=SMS, region="US")
    assert (counts.sendable, counts.refused) == (2, {"replied_stop": 1})
    assert sendable == b"Mobile Number\n(415) 555-0106\n+14155550106\n"
    counts, *_ = scrubbed(opened, cast, source, channel=SMS)
    assert (counts.sendable, counts.unusable) == (1, 2)
    with pytest.raises(BadSheet, match="region must be"):
        scrubbed(opened, cast, source, channel=SMS, region="Atlantis")


def test_a_scrub_is_one_instant_and_its_cursor_tells_who_left_since(
    opened: Installation, cast: Cast
) -> None:
    source = b"email\n" + b"".join(b"p%d@example.org\n" % n for n in range(12_000))
    left: list[int] = []

    def meanwhile(rows: int) -> None:
        if not left:
            leave(opened, cast.tenant, "p11999@example.org")
        left.append(rows)

    counts, *_ = scrubbed(opened, cast, source, progress=meanwhile)
    assert counts.sendable == 12_000
    assert left == [4_999, 9_999, 12_000]
    assert scrubbed(opened, cast, source)[0].refused == {"opted_out": 1}
    assert counts.cursor
    with opened.database.reading() as connection:
        changes = ledger.changes(connection, cast.tenant.id, counts.cursor)
    assert [change.value for change in changes] == ["p11999@example.org"]


NAMES = ["alice", "Bob ", "\u200bcarol", "ERIN", "frank", "'=bob", "=bob", "", "a b", "x@y", "“"]


@examples(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(["example.org", "EXAMPLE.com"]))),
    st.sampled_from(["product-news", "events"]),
)
@example([("'=bob", "EXAMPLE.com"), ("=bob", "example.com")], "product-news")
def test_a_scrub_is_what_single_checks_say(
    opened: Installation, cast: Cast, rows: list[tuple[str, str]], slug: str
) -> None:
    topic, sendable = cast.tenant.topic(slug), ["email"]
    leave(opened, cast.tenant, "'=bob@example.com")
    for name, domain in rows:
        try:
            address = Address.parse(EMAIL, f"{name}@{domain}")
        except BadAddress:
            continue
        with opened.database.reading() as connection:
            digest = cast.tenant.digest(address)
            standing = ledger.standing(connection, cast.tenant.id, digest)
        allowed = may_send(Message(topic, EMAIL), standing, opened.clock()).verdict == "allow"
        if allowed and address.can_consent:
            sendable.append(f"{name}@{domain}")
    source = "\n".join(["email", *(f"{name}@{domain}" for name, domain in rows)])
    _, written, _ = scrubbed(opened, cast, source.encode(), slug)
    assert written.decode().split() == "\n".join(sendable).split()


# --- transactional ---

AWAY = "sqlite:////nowhere/at/all.sqlite3"
PIECES = [
    b"email",
    b"a@example.org",
    b'"',
    b'""',
    b",",
    b";",
    b"\r",
    b"\n",
    b"\r\n",
    b"\0",
    b"\xff",
]


@pytest.fixture
def away(opened: Installation, cast: Cast) -> Iterator[Installation]:
    """The same installation when its database has gone."""
    database = Database(AWAY)
    yield replace(opened, database=database)
    database.close()


@examples(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.sampled_from([*PIECES, b"\xef\xbb\xbf", b"\xff\xfe"])).map(b"".join))
@example(b"email\n" + b'"' + b"x" * 140_000 + b"\ny\n" * 70_000)
@example(b"\n\nemail\n\nbob@example.org\n\n")
@example(b"x" * 3_000_000 + b"\r\ny")
def test_every_byte_of_a_transactional_list_passes_with_no_database(
    away: Installation, cast: Cast, source: bytes
) -> None:
    counts, sendable, refused = scrubbed(away, cast, source, "order-updates")
    assert (sendable, refused) == (source, b"")
    assert counts.rows == counts.sendable
    assert (counts.refused, counts.unusable, counts.cursor) == ({}, 0, None)


# --- the column ---


@pytest.mark.parametrize(
    ("channel", "header", "column"),
    [
        (EMAIL, "name,Email", None),
        (EMAIL, "name,EMAIL ADDRESS", None),
        (EMAIL, "name,e-mail", None),
        (EMAIL, "name,E-Mail-Adresse", None),
        (EMAIL, "email,Email Address", None),
        (EMAIL, "address,contact", None),
        (EMAIL, "name,address", None),
        (EMAIL, "name,Kontakt", None),
        (EMAIL, "email,work mail", "Work_Mail"),
        (EMAIL, "email,work", "2"),
        (SMS, "name,Phone", None),
        (SMS, "name,Phone Number", None),
        (SMS, "name,mobile", None),
        (SMS, "name,Tel.", None),
        (SMS, "name,to", None),
        (PUSH, "name,token", None),
        (PUSH, "name,Device Token", None),
    ],
)
def test_the_column_is_found_by_its_header_or_what_is_in_it(
    opened: Installation, cast: Cast, channel: Channel, header: str, column: str | None
) -> None:
    cell = {EMAIL: "ann@example.org", SMS: "+14155550111", PUSH: "fcm:token"}[channel]
    source = f"{header}\nother,{cell}\nother,{cell}\n".encode()
    done, _ = imported(opened, cast, source, channel=channel, column=column)
    assert done == Imported(2, 2, 0, 0, 0)
    assert len(history(opened, cast.tenant, cell, channel)) == 2


@pytest.mark.parametrize(
    ("source", "column", "advice"),
    [
        pytest.param(b"", None, "no row", id="an empty file"),
        pytest.param(b"\n\n", None, "no row", id="empty lines"),
        pytest.param("email\na@example.org\n".encode("utf-16"), None, "UTF-16", id="UTF-16"),
        pytest.param(b"name,city\nAnn,Bern\n", None, "--column", id="no addresses"),
        pytest.param(b"a@b.example,c@d.example\n", None, "--column", id="two columns of them"),
        pytest.param(b"email\na@b.example\n", "mail", "--column", id="a column that is not there"),
        pytest.param(b"email\na@b.example\n", "2", "--column", id="a number that is too high"),
    ],
)
def test_a_file_that_cannot_be_read_says_what_to_do(
    opened: Installation, cast: Cast, source: bytes, column: str | None, advice: str
) -> None:
    for read in (imported, scrubbed):
        with pytest.raises(BadSheet, match=advice) as caught:
            read(opened, cast, source, column=column)
        assert "@" not in str(caught.value)


# --- suppressions out ---

ODD = ["=cmd@example.org", "+1@example.org", "-a@example.org", "'=x@example.org", "'a@example.org"]


def test_what_is_exported_is_safe_in_a_spreadsheet_and_comes_back_exactly(
    opened: Installation, cast: Cast
) -> None:
    topics = list(cast.tenant.topics.values())
    for text in ODD:
        leave(opened, cast.tenant, text)
    with opened.database.writing() as connection:
        other = directory.add_tenant(connection, "other", "Other", NOON)
    opened.directory.refresh()
    there = replace(cast, tenant=opened.directory.latest.tenants[other])
    for channel, values in ((EMAIL, [*ODD, "carol@example.org"]), (SMS, [DAVE.value])):
        target = io.BytesIO()
        export(
            opened,
            cast.tenant,
            target,
            channel=channel,
            topics=topics,
            progress=nothing,
        )
        rows = list(csv.reader(io.StringIO(target.getvalue().decode(), newline="")))
        assert not [cell for row in rows for cell in row if cell[:1] in set("=+-@\t\r")]
        done, _ = imported(opened, there, target.getvalue(), channel=channel)
        assert done.recorded == done.rows == len(values)
        with opened.database.reading() as connection:
            known = ledger.roll(connection, other, channel)
        assert sorted(str(one.value) for one in known) == sorted(values)


def test_an_export_says_who_said_no_when_and_through_which_door(
    opened: Installation, cast: Cast
) -> None:
    def exported(channel: Channel, *slugs: str) -> tuple[list[str], int]:
        target = io.BytesIO()
        done = export(
            opened,
            cast.tenant,
            target,
            channel=channel,
            topics=[cast.tenant.topic(slug) for slug in slugs],
            progress=nothing,
        )
        lines = target.getvalue().decode().replace('"', "").split("\r\n")
        assert lines.pop(0) == "address,reason,scope,voice,since,door"
        assert lines.pop() == ""
        assert done.rows == len(lines)
        return sorted(lines), done.unknown

    erin = 1
    assert exported(EMAIL, "product-news") == (
        [
            "bob@example.org,opted_out,topic product-news,person,"
            "2026-10-21T12:00:00.000Z,one-click",
            "carol@example.org,complained,all,complaint,2026-10-03T12:00:00.000Z,feedback loop",
        ],
        erin,
    )
    lines, _ = exported(EMAIL, "product-news", "trail-tips")
    assert [line.partition(",")[0] for line in lines] == ["carol@example.org"]
    assert exported(SMS, "product-news")[0] == [
        "'+14155550104,replied_stop,all,stop,2026-10-30T12:00:00.000Z,text message"
    ]
