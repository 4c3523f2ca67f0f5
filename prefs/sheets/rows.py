"""Lines, rows and the column of addresses in a file, cut on bytes and never written anew."""

import csv
import re
from codecs import BOM_UTF8, BOM_UTF16_BE, BOM_UTF16_LE
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import BinaryIO, NamedTuple

from prefs.address import Address, BadAddress, Channel

READ_AT_ONCE = 1 << 18
_LONGEST_LINE = 1 << 20
_LONGEST_QUOTED = 1 << 17
_CHUNK_BYTES = 1 << 20
_SAMPLE = 100


class BadSheet(ValueError):
    """The file as a whole cannot be read; the message says what to do."""


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
    while block := source.read(READ_AT_ONCE):
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
        yield Row(taken[0].number, raw, cells, _NUL if b"\0" in raw else "")


_CUT = "close the quote that this line opens, or shorten its cell to 131,072 characters"
_NUL = "remove the NUL from the row"
_TOO_LONG = "shorten the line to 1 MiB; this is a piece of it"


# --- the sheet ---

_NUMBER = (
    "phonenumber mobilenumber mobilephonenumber telephonenumber telefonnummer msisdn"
    " phone mobilephone mobile cellphone cell telephone telefon tel handy"
)
_HEADERS: Mapping[Channel, str] = {
    Channel.EMAIL: "emailaddress emailadresse mailadresse subscriberemail email mail recipient",
    Channel.SMS: f"{_NUMBER} sms number",
    Channel.PUSH: "pushtoken devicetoken registrationtoken token device",
    Channel.WHATSAPP: f"whatsappnumber whatsappphone whatsapp {_NUMBER} number",
    Channel.RCS: f"rcsnumber rcsphone rcs {_NUMBER} number",
}
"""Headers of a column of addresses, without case, spaces and signs; the surer ones first."""

EXPORTED = ("address", "reason", "scope", "voice", "since", "door")


def bare_name(text: str) -> str:
    return re.sub(r"[\W_]+", "", text.casefold())


def _delimiter(first: bytes) -> str:
    unquoted = re.sub(rb'"[^"]*"', b"", first)
    return max(",;\t", key=lambda sign: unquoted.count(sign.encode()))


class Sheet:
    """A list as it is read: CSV with a comma, semicolon or tab, or one address per line.

    UTF-8, with or without a byte order mark. Where a row is in another encoding, only its
    address has to be UTF-8, which ASCII is: names in Windows-1252 lose nobody's no.
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
        names = self._first = [bare_name(cell) for cell in readable[0].cells]
        self._column = self._found(names, readable, column)
        if not self._reads(readable[0].cells[self._column]):
            self.header, self.names = readable[0], names
        self._guarded = set(EXPORTED) <= set(names)

    def _found(self, names: list[str], rows: list[Row], column: str | None) -> int:
        if column is not None:
            return self.column(column, "--column")
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

    def column(self, named: str, option: str) -> int:
        """Where the column is that an option names. Raises ``BadSheet``."""
        if bare_name(named) in self._first:
            return self._first.index(bare_name(named))
        if re.fullmatch(r"[1-9][0-9]{0,4}", named) and int(named) <= len(self._first):
            return int(named) - 1
        raise BadSheet(f"no such column; give {option} a name of the header, or a number")

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


def guarded(cell: str) -> str:
    return f"'{cell}" if _GUARDED.match(cell) else cell


def _unguarded(cell: str) -> str:
    return cell[1:] if cell[:1] == "'" and _GUARDED.match(cell, 1) else cell
