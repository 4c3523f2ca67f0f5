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
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from itertools import chain
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
    may_send,
)

_BLOCK = 1 << 18
_LONGEST_LINE = 1 << 20
_LONGEST_QUOTED = 1 << 17
_CHUNK_BYTES = 1 << 20
_SAMPLE = 100
_IMPORTED_AT_ONCE = 1_000
_ASKED_AT_ONCE = 5_000


class BadSheet(ValueError):
    """The file as a whole cannot be read; the message says what to do."""


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


# --- lines and rows ---


class Line(NamedTuple):
    number: int
    raw: bytes
    whole: bool


class Row(NamedTuple):
    """A row: the number of its first line, its bytes, its cells, and why it cannot be read."""

    line: int
    raw: bytes
    cells: list[str]
    fault: str = ""

    @property
    def blank(self) -> bool:
        return not self.cells and not self.fault


def _lines(source: BinaryIO) -> Iterator[Line]:
    """The lines with their ends (LF, CRLF or CR); one that is too long comes in pieces."""
    number, torn, rest = 1, False, b""
    while block := source.read(_BLOCK):
        pieces = (rest + block).splitlines(keepends=True)
        # The last one may go on, and a CR may be one half of a CRLF.
        rest = pieces.pop()
        for piece in pieces:
            yield Line(number, piece, not torn and len(piece) <= _LONGEST_LINE)
            number, torn = number + 1, False
        if len(rest) > _LONGEST_LINE:
            yield Line(number, rest[:-1], False)
            rest, torn = rest[-1:], True
    if rest:
        yield Line(number, rest, not torn)


def _rows(lines: Iterator[Line], delimiter: str) -> Iterator[Row]:
    """Rows of one or more lines: csv asks for as many as a row takes, and those are its bytes.

    A quote that is never closed would swallow the rest of the file. It costs its own line
    alone: the lines that were read in search of its end are read again. Where every line
    opens one, the searches get short, so that all is read a limited number of times.
    """
    again: deque[Line] = deque()
    taken: list[Line] = []
    done = searched = 0

    def wanted() -> Iterator[str]:
        size = most = 0
        while True:
            line = again.popleft() if again else next(lines, None)
            if line is None:
                if taken:
                    raise csv.Error
                return
            if taken:
                size += len(line.raw)
            else:
                size, most = 0, min(_LONGEST_QUOTED, _LONGEST_QUOTED + 8 * done - searched)
            taken.append(line)
            if not line.whole or size > most:
                raise csv.Error
            yield line.raw.decode("utf-8", "surrogateescape")

    reader = csv.reader(wanted(), delimiter=delimiter)
    while True:
        taken.clear()
        try:
            cells = next(reader, None)
        except csv.Error:
            first, *rest = taken
            again.extendleft(reversed(rest))
            done += len(first.raw)
            searched += sum(len(line.raw) for line in rest)
            reader = csv.reader(wanted(), delimiter=delimiter)
            yield Row(first.number, first.raw, [], _CUT if first.whole else _TOO_LONG)
            continue
        if cells is None:
            return
        raw = taken[0].raw if len(taken) == 1 else b"".join([line.raw for line in taken])
        done += len(raw)
        yield Row(taken[0].number, raw, cells, _fault(raw))


_CUT = "close the quote that this line opens, or shorten its cell to 131,072 characters"
_TOO_LONG = "shorten the line to 1 MiB; this is a piece of it"


def _fault(raw: bytes) -> str:
    if b"\0" in raw:
        return "remove the NUL from the row"
    if not raw.isascii():
        try:
            raw.decode()
        except UnicodeDecodeError:
            return "save the row as UTF-8"
    return ""


# --- the sheet ---

_HEADERS: Mapping[Channel, str] = {
    Channel.EMAIL: "emailaddress emailadresse mailadresse subscriberemail email mail recipient",
    Channel.SMS: "phonenumber mobilenumber mobilephonenumber telephonenumber telefonnummer msisdn"
    " phone mobilephone mobile cellphone cell telephone telefon tel handy sms number",
    Channel.PUSH: "pushtoken devicetoken registrationtoken token device",
}
"""Headers of a column of addresses, without case, spaces and signs; the surer ones first."""

_EXPORTED = ("address", "reason", "scope", "voice", "since", "door")


def _name(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _delimiter(first: bytes) -> str:
    unquoted = re.sub(rb'"[^"]*"', b"", first)
    return max(",;\t", key=lambda sign: unquoted.count(sign.encode()))


class Sheet:
    """A list as it is read: CSV with a comma, semicolon or tab, or one address per line.

    UTF-8, with or without a byte order mark.
    """

    def __init__(self, source: BinaryIO) -> None:
        lines = _lines(source)
        first = next(lines, Line(1, b"", True))
        self.bom = BOM_UTF8 if first.raw.startswith(BOM_UTF8) else b""
        self._utf16 = first.raw.startswith((BOM_UTF16_LE, BOM_UTF16_BE))
        first = first._replace(raw=first.raw[len(self.bom) :])
        self.delimiter = _delimiter(first.raw)
        self.rows = _rows(chain([first], lines), self.delimiter)
        self.header: Row | None = None
        self.names: list[str] = []

    def find(self, channel: Channel, region: str | None, column: str | None) -> None:
        """Finds the header and the column of addresses. Raises ``BadSheet``."""
        self._channel, self._region, self._guarded = channel, region, False
        sample = self.take(_SAMPLE)
        self.rows = chain(sample, self.rows)
        if self._utf16:
            raise BadSheet("the file is UTF-16; save it as UTF-8")
        readable = [row for row in sample if row.cells]
        if not readable:
            raise BadSheet("there is no row in the file that can be read")
        names = [_name(cell) for cell in readable[0].cells]
        self._column = self._found(names, readable, column)
        if not self._reads(readable[0].cells[self._column]):
            self.header, self.names = readable[0], names
        self._guarded = set(_EXPORTED) <= set(names)

    def _found(self, names: list[str], rows: list[Row], column: str | None) -> int:
        if column is not None:
            if _name(column) in names:
                return names.index(_name(column))
            if re.fullmatch(r"[1-9][0-9]{0,4}", column) and int(column) <= len(names):
                return int(column) - 1
            raise BadSheet("no such column; give --column a name of the header, or a number")
        for name in _HEADERS[self._channel].split():
            if name in names:
                return names.index(name)
        hits = Counter(i for row in rows for i, cell in enumerate(row.cells) if self._reads(cell))
        (index, most), (_, second) = [*hits.most_common(2), (0, 0), (0, 0)][:2]
        if most > second and index < len(names) and 2 * most >= len(rows) - 1:
            return index
        if "address" in names:  # which may be a street, so only where nothing else is better
            return names.index("address")
        raise BadSheet(f"which column holds the {self._channel} addresses? Name it with --column")

    def _reads(self, cell: str) -> bool:
        try:
            self._parse(cell)
        except BadAddress as error:
            if error.field == "region":
                raise BadSheet(str(error)) from None
            return False
        return True

    def _parse(self, cell: str) -> Address:
        bare = _unguarded(cell)
        if not self._guarded and bare != cell:
            with suppress(BadAddress):
                return Address.parse(self._channel, cell, self._region)
        return Address.parse(self._channel, bare, self._region)

    def address(self, row: Row) -> Address:
        """The address in ``row``. Raises ``BadAddress``."""
        if row.fault:
            raise BadAddress(row.fault)
        if self._column >= len(row.cells):
            raise BadAddress("the row ends before the column of addresses")
        return self._parse(row.cells[self._column])

    def columns(self, names: str) -> list[int]:
        """Where the columns of these names are, as far as there are any."""
        return [self.names.index(name) for name in names.split() if name in self.names]

    def take(self, most: int) -> list[Row]:
        """The next rows: ``most`` of them, or as many as fit into a chunk."""
        taken, size = [], 0
        for row in self.rows:
            taken.append(row)
            size += len(row.raw)
            if len(taken) == most or size > _CHUNK_BYTES:
                break
        return taken

    def annotated(self, row: Row, *cells: str) -> bytes:
        """The row as it came, with cells appended behind the header's last column."""
        body = row.raw.rstrip(b"\r\n")
        end = row.raw[len(body) :] or b"\r\n"
        if not row.cells:  # it has no form, and would take the form of those around it away
            body = b'"%s"' % body.replace(b'"', b'""')
        missing = len(self.names) - max(len(row.cells), 1)
        sign = self.delimiter.encode()
        return body + sign * max(0, missing) + sign + sign.join(c.encode() for c in cells) + end


# A spreadsheet runs a cell that begins so as a formula (CWE-1236); E.164's + is among them.
_GUARDED = re.compile(r"[=+\-@\t\r']")


def _guard(cell: str) -> str:
    return f"'{cell}" if _GUARDED.match(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell, 1) else cell


def _iso(millis: Millis) -> str:
    moment = datetime.fromtimestamp(millis // 1000, UTC).replace(microsecond=millis % 1000 * 1000)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


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
    *[(_name(block), block) for block in Block],
    ("recipient person", Voice.PERSON),
    ("sender senderoptedout admin byadmin manual manualsuppression", Voice.SENDER),
    ("subscribed optin optedin snoozed consentexpired", None),
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
    with _readable_twice(source) as (file, digest):
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
def _readable_twice(source: BinaryIO) -> Iterator[tuple[BinaryIO, str]]:
    """The file at its beginning, and its SHA-256. A pipe is kept in a temporary file."""
    digest = hashlib.sha256()
    with tempfile.TemporaryFile() as spool:
        seekable = source.seekable()
        start = source.tell() if seekable else 0
        while block := source.read(_BLOCK):
            digest.update(block)
            if not seekable:
                spool.write(block)
        file: BinaryIO = source if seekable else spool
        file.seek(start)
        yield file, digest.hexdigest()


def _event(row: Row, times: list[int], words: list[int], scope: Scope, now: Millis) -> Event:
    """What the row says. Raises ``NotAnOut``."""
    cells = row.cells
    said = {_name(cells[i]) for i in words if i < len(cells)}
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
    message, now = Message(topic, channel), opened.clock()
    unsaid = may_send(message, NOTHING, now)
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
                decision = may_send(message, known[digest], now) if digest in known else unsaid
                allowed = decision.verdict is Verdict.ALLOW
                if address is None or (allowed and not _can_receive(address)):
                    unusable += 1
                    notes = ("bad_address", "", "")
                elif allowed:
                    sent += 1
                    sendable.write(row.raw)
                    continue
                else:
                    reasons[decision.reason] += 1
                    ground = decision.ground
                    since = (_iso(ground.when), str(ground.seq)) if ground else ("", "")
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


_PLAIN_LOCAL = re.compile(r"[a-z0-9_+-]+(?:\.[a-z0-9_+-]+)*")


def _can_receive(address: Address) -> bool:
    """Whether ``address.can_consent``: what is too odd for a yes cannot be sent to either.

    A domain is judged once for all the plain names before it: judging costs a tenth of a
    millisecond, and an audience of a million has a few thousand domains.
    """
    local, _, domain = address.value.rpartition("@")
    short = len(local) <= 64 and len(domain) <= 60
    if address.channel is Channel.EMAIL and short and _PLAIN_LOCAL.fullmatch(local):
        return _takes_mail(domain)
    return address.can_consent


@lru_cache(maxsize=4096)
def _takes_mail(domain: str) -> bool:
    return Address(Channel.EMAIL, f"a@{domain}").can_consent


# --- suppressions out ---


def export(
    opened: Installation,
    tenant: Tenant,
    target: BinaryIO,
    *,
    channel: Channel,
    topics: list[Topic],
    now: Millis,
    progress: Callable[[int], None],
) -> Exported:
    """Writes as CSV everybody who may get none of ``topics`` because somebody said so.

    A cell that a spreadsheet would run as a formula begins with an apostrophe; an import of
    the file takes it off again. Raises ``Unavailable``.
    """
    rows, unknown, beyond = 0, 0, b""
    page = io.StringIO(newline="")
    writer = csv.writer(page, quoting=csv.QUOTE_ALL)
    writer.writerow(_EXPORTED)
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
                    _scope(tenant, ground.scope),
                    ground.voice,
                    _iso(ground.when),
                    ground.door,
                )
                writer.writerow([_guard(cell) for cell in cells])
            target.write(page.getvalue().encode())
            page.seek(0)
            page.truncate()
            beyond = roll[-1].digest
            progress(rows)
    target.write(page.getvalue().encode())
    return Exported(rows, unknown)


def _scope(tenant: Tenant, scope: Scope) -> str:
    if topic := tenant.topic_of(scope):
        return f"topic {topic.slug}"
    brand = tenant.brand_of(scope)
    return f"brand {brand.slug}" if brand else "all"
