"""Lists in files: suppressions in, suppressions out, and an audience held against them.

Rows are cut on bytes and never written anew, so what may be sent goes out exactly as it
came. A row that cannot be read is a row with a line number and a reason, and stops nothing.
However long the file, memory holds one chunk of it.

Every ``progress`` is called with the number of rows done so far.
"""

import csv
import hashlib
import io
import json
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import BinaryIO, NamedTuple, TextIO

from sqlalchemy import Connection, update

from prefs import ledger, tables
from prefs.address import Address, BadAddress, Channel
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.ledger import Cursor, Said, Subject
from prefs.policy import (
    ALL,
    NOTHING,
    Authority,
    Block,
    Event,
    Kind,
    Message,
    Millis,
    Outcome,
    Purpose,
    Scope,
    Topic,
    Verdict,
    Voice,
    hold,
    may_send,
    written,
)
from prefs.sheets.rows import EXPORTED, READ_AT_ONCE, BadSheet, Row, Sheet, bare_name, guarded

_IMPORTED_AT_ONCE = 1_000
_ASKED_AT_ONCE = 5_000


class Imported(NamedTuple):
    """What became of the rows. ``already`` were recorded by an earlier run of the same file."""

    rows: int
    recorded: int
    already: int
    refused: int
    unreadable: int


class Scrubbed(NamedTuple):
    """``refused`` counts by reason. ``cursor`` is where ``ledger.changes`` goes on from here;
    None if nothing needed to be looked up."""

    rows: int
    sendable: int
    refused: Mapping[str, int]
    unusable: int
    cursor: Cursor | None


class Exported(NamedTuple):
    """``unknown`` are suppressed too, but their addresses are erased or never were known."""

    rows: int
    unknown: int


# --- suppressions in ---

_TIMES = (
    "unsubscribedat unsubscribedon unsubscribedate unsubscribetime unsubtime optoutat optoutdate"
    " optouttime suppressedat since createdat created createdon dateadded addedat lastupdatetime"
    " updatedat timestamp date time"
)
_WORDS = (
    "voice type reason source origin status suppressiontype suppressionreason unsubscribereason"
    " unsubscribetype"
)

_SAYS: tuple[tuple[str, Voice | Block | None], ...] = (
    ("complaint complained spam spamcomplaint spamreport markedasspam abuse", Voice.COMPLAINT),
    ("erased erasure", Voice.ERASURE),
    ("stop repliedstop 21610", Voice.STOP),
    ("unsubscribe unsubscribed optout optedout globalunsubscribe", Voice.PERSON),
    ("bounce bounced hardbounced permanentbounce", Block.HARD_BOUNCE),
    ("invalidaddress invalidemail invalidnumber", Block.INVALID),
    *[(bare_name(block), block) for block in Block],
    ("recipient person", Voice.PERSON),
    ("sender senderoptedout admin byadmin manual manualsuppression", Voice.SENDER),
    ("subscribed optin optedin snoozed inreview consentexpired", None),
)
"""What a cell says of its row: whose no it is, a block, or (None) that it is no no.

The first that is said counts. Postmark calls an unsubscribe a ManualSuppression whose origin
is the Recipient, so "recipient" stands before "manual".
"""
_MEANING = [(frozenset(words.split()), says) for words, says in _SAYS]


class NotAnOut(ValueError):
    """The row says something that an import of suppressions does not record."""


def import_suppressions(
    opened: Installation,
    tenant: Tenant,
    source: BinaryIO,
    *,
    name: str,
    scope: Scope,
    channel: Channel,
    region: str | None,
    rejects: TextIO | None,
    progress: Callable[[int], None],
    column: str | None = None,
    dry_run: bool = False,
) -> Imported:
    """Records every row as an out of ``scope``, or as the block that the row names.

    The same file again records nothing; after a run that was killed, only what is missing.
    ``rejects`` gets the rows that cannot be read: line, reason, and the row as it came.
    Raises ``BadSheet``, ``Unavailable``.
    """
    done: Counter[str] = Counter()
    out = csv.writer(rejects, lineterminator="\n") if rejects else None
    with readable_twice(source) as (file, digest):
        sheet = Sheet(file)
        sheet.find(channel, region, column)
        times, words = sheet.columns(_TIMES), sheet.columns(_WORDS)
        if out:
            out.writerow(("line", "reason", "row"))
        batch = None
        if not dry_run:
            with opened.database.writing() as connection:
                batch = _begin(connection, tenant, name, digest, opened.clock())
        while chunk := sheet.take(_IMPORTED_AT_ONCE):
            now = opened.clock()
            said: list[Said] = []
            for row in chunk:
                if row.blank or row is sheet.header:
                    continue
                done["rows"] += 1
                try:
                    subject = Subject.of(tenant, sheet.address(row))
                    event = _event(row, times, words, scope, now)
                except (BadAddress, NotAnOut) as error:
                    done["unreadable"] += 1
                    if out:
                        text = row.raw.rstrip(b"\r\n").decode("utf-8", "backslashreplace")
                        out.writerow((row.line, str(error), text))
                    continue
                # The subject too: the same file may be read once for each column and channel.
                where = f"{scope.brand or ''}.{scope.topic or ''}:{subject.digest.hex()}"
                source_id = f"{digest}:{row.line}:{where}"
                said.append(Said(subject, event, "import", source_id, batch=batch))
            with opened.database.writing() as connection:
                with connection.begin_nested() as trial:
                    recorded = ledger.record_many(connection, tenant.id, said) if said else []
                    if dry_run:
                        trial.rollback()
                done.update(one.outcome for one in recorded)
                if batch is not None:
                    _count(connection, tenant, batch, _imported(done))
            progress(done["rows"])
    if batch is not None:
        with opened.database.writing() as connection:
            _count(connection, tenant, batch, _imported(done), finished_at=opened.clock())
    return _imported(done)


def _imported(done: Mapping[str, int]) -> Imported:
    refused = done[Outcome.REFUSED] + done[Outcome.LATE]
    return Imported(
        done["rows"], done[Outcome.APPLIED], done[Outcome.DUPLICATE], refused, done["unreadable"]
    )


@contextmanager
def readable_twice(source: BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """The file at its beginning, and its SHA-256. A pipe is kept in a temporary file."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as spool:
        seekable = source.seekable()
        start = source.tell() if seekable else 0
        while block := source.read(READ_AT_ONCE):
            digest.update(block)
            if not seekable:
                spool.write(block)
        file: BinaryIO = source if seekable else spool
        file.seek(start)
        yield file, digest.hexdigest()


def _event(row: Row, times: list[int], words: list[int], scope: Scope, now: Millis) -> Event:
    """What the row says. Raises ``NotAnOut``."""
    cells = row.cells
    said = {bare_name(cells[i]) for i in words if i < len(cells)}
    says = next((says for names, says in _MEANING if names & said), Voice.PERSON)
    if says is None:
        raise NotAnOut("the row is about somebody who has not opted out; leave it out")
    moments = (_moment(cells[i], now) for i in times if i < len(cells))
    said_at = next((moment for moment in moments if moment is not None), None)
    if isinstance(says, Block):
        return Event(Kind.BLOCK, now, said_at=said_at, block=says, door="import")
    if says in (Voice.COMPLAINT, Voice.ERASURE):
        scope = ALL
    return Event(Kind.OUT, now, scope, says, Authority.IMPORT, said_at, door="import")


_UNIX = re.compile(r"([0-9]{9,10})(?:\.[0-9]+)?|([0-9]{12,13})")


def _moment(cell: str, now: Millis) -> Millis | None:
    """The time that a cell spells: Unix seconds or milliseconds, ISO 8601, RFC 5322.

    None where it spells none, or one that is still to come. 03/04/2025 is March or April,
    so it is none. Without an offset it is UTC, as in the exports of most tools.
    """
    if unix := _UNIX.fullmatch(cell):
        moment = int(unix[1]) * 1000 if unix[1] else int(unix[2])
    else:
        bare = cell.removesuffix(" UTC").removesuffix(" +0000")
        try:
            said = datetime.fromisoformat(bare)
        except ValueError:
            try:
                said = parsedate_to_datetime(cell)
            except (ValueError, TypeError, IndexError, OverflowError):
                return None
        moment = int((said if said.tzinfo else said.replace(tzinfo=UTC)).timestamp() * 1000)
    return moment if 0 < moment <= now else None


def _begin(connection: Connection, tenant: Tenant, name: str, digest: str, now: Millis) -> int:
    made = connection.execute(
        tables.batch.insert().values(
            tenant_id=tenant.id,
            # The name of a file need not be text.
            name=name.encode("utf-8", "backslashreplace").decode(),
            file_digest=digest,
            started_at=now,
            counts="{}",
        )
    )
    assert made.inserted_primary_key
    return int(made.inserted_primary_key[0])


def _count(
    connection: Connection,
    tenant: Tenant,
    batch: int,
    done: Imported,
    finished_at: Millis | None = None,
) -> None:
    table = tables.batch
    connection.execute(
        update(table)
        .where(table.c.tenant_id == tenant.id, table.c.id == batch)
        .values(counts=json.dumps(done._asdict()), finished_at=finished_at)
    )


# --- an audience ---


def scrub(
    opened: Installation,
    tenant: Tenant,
    source: BinaryIO,
    sendable: BinaryIO,
    *,
    topic: Topic,
    channel: Channel,
    region: str | None,
    refused: BinaryIO | None,
    progress: Callable[[int], None],
    column: str | None = None,
) -> Scrubbed:
    """Parts an audience: ``sendable`` gets the rows that may be sent, byte for byte.

    ``refused`` gets the others, with reason, time and seq appended. All is decided as of one
    instant. Raises ``BadSheet``, ``Unavailable``; what was written by then is no answer.
    """
    sheet = Sheet(source)
    if topic.purpose is Purpose.TRANSACTIONAL:
        with suppress(BadSheet):  # only to know the header, which is not counted
            sheet.find(channel, region, column)
        return _passed(sheet, sendable, progress)
    sheet.find(channel, region, column)
    now = opened.clock()
    rows, sent, unusable, reasons = 0, 0, 0, Counter[str]()
    sendable.write(sheet.bom)
    if refused:
        refused.write(sheet.bom)
        if sheet.header:
            refused.write(sheet.annotated(sheet.header, "reason", "time", "seq"))
    with opened.database.reading() as connection:
        cursor = ledger.here(connection, tenant.id)
        while chunk := sheet.take(_ASKED_AT_ONCE):
            asked = [(row, _address(sheet, row)) for row in chunk]
            digests = [tenant.digest(address) if address else b"" for _, address in asked]
            known = ledger.standings(connection, tenant.id, list({*digests} - {b""}))
            for (row, address), digest in zip(asked, digests, strict=True):
                if row is sheet.header:
                    sendable.write(row.raw)
                    continue
                if row.blank:
                    continue
                rows += 1
                message = Message(topic, channel, address)
                standing = known.get(digest, NOTHING)
                if standing is None:
                    decision = hold("state_unknown", now)
                else:
                    decision = may_send(message, standing, now)
                if address is None or decision.reason == "bad_address":
                    unusable += 1
                    notes = ("bad_address", "", "")
                elif decision.verdict is Verdict.ALLOW:
                    sent += 1
                    sendable.write(row.raw)
                    continue
                else:
                    reasons[decision.reason] += 1
                    ground = decision.ground
                    since = (written(ground.when), str(ground.seq)) if ground else ("", "")
                    notes = (decision.reason, *since)
                if refused:
                    refused.write(sheet.annotated(row, *notes))
            progress(rows)
    return Scrubbed(rows, sent, dict(reasons), unusable, cursor)


def _passed(sheet: Sheet, sendable: BinaryIO, progress: Callable[[int], None]) -> Scrubbed:
    """Every byte of a transactional list passes, whatever it holds and with no database."""
    rows = 0
    sendable.write(sheet.bom)
    while chunk := sheet.take(_ASKED_AT_ONCE):
        sendable.write(b"".join([row.raw for row in chunk]))
        rows += sum(not row.blank and row is not sheet.header for row in chunk)
        progress(rows)
    return Scrubbed(rows, rows, {}, 0, None)


def _address(sheet: Sheet, row: Row) -> Address | None:
    try:
        return sheet.address(row)
    except BadAddress:
        return None


# --- suppressions out ---


def export(
    opened: Installation,
    tenant: Tenant,
    target: BinaryIO,
    *,
    channel: Channel,
    topics: list[Topic],
    progress: Callable[[int], None],
) -> Exported:
    """Writes as CSV everybody who may get none of ``topics`` because somebody said so.

    A cell that a spreadsheet would run as a formula begins with an apostrophe; an import of
    the file takes it off again. Raises ``Unavailable``.
    """
    rows, unknown, beyond, now = 0, 0, b"", opened.clock()
    page = io.StringIO(newline="")
    writer = csv.writer(page, quoting=csv.QUOTE_ALL)
    writer.writerow(EXPORTED)
    with opened.database.reading() as connection:
        while roll := ledger.roll(connection, tenant.id, channel, beyond):
            for known in roll:
                decision = ledger.suppressed(known.standing, topics, channel, now)
                if decision is None or (ground := decision.ground) is None:
                    continue
                if known.value is None:
                    unknown += 1
                    continue
                rows += 1
                cells = (
                    known.value,
                    decision.reason,
                    tenant.told(ground.scope),
                    ground.voice,
                    written(ground.when),
                    ground.door,
                )
                writer.writerow([guarded(cell) for cell in cells])
            target.write(page.getvalue().encode())
            page.seek(0)
            page.truncate()
            beyond = roll[-1].digest
            progress(rows)
    target.write(page.getvalue().encode())
    return Exported(rows, unknown)
