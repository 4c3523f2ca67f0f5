"""Numbers that US carriers have taken from their owners, as Twilio reports them every day.

https://www.twilio.com/docs/messaging/api/deactivations-resource
"""

from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, NamedTuple

from prefs import progress, texts
from prefs.address import Address, BadAddress, Channel
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.policy import Millis
from prefs.texts.reassigning import AT_ONCE

if TYPE_CHECKING:
    from requests import Response

DOOR = "deactivation report"
SOURCE = "twilio deactivations"

MOST_DAYS = 30
LATE_DAYS = 2
"""A report that is missing is waited for so long; one of an older day is not coming."""

LONGEST_LINE = 64


class Report(NamedTuple):
    """A day's report: how many numbers it names, and how many addresses of the tenant's it ended.
    ``numbers`` is None where there is none (yet)."""

    day: date
    numbers: int | None
    blocked: int = 0
    already: int = 0


def days(opened: Installation, tenant: Tenant) -> list[date]:
    """The days since the last report that was read, ``MOST_DAYS`` at the most, up to yesterday."""
    yesterday = datetime.fromtimestamp(opened.clock() / 1000, UTC).date() - timedelta(days=1)
    with opened.database.reading() as connection:
        place = progress.place(connection, tenant.id, SOURCE)
    first = yesterday - timedelta(days=MOST_DAYS - 1)
    if place:
        first = max(first, date.fromisoformat(place) + timedelta(days=1))
    return [first + timedelta(days=n) for n in range((yesterday - first).days + 1)]


def deactivate(
    opened: Installation,
    tenant: Tenant,
    account: str,
    day: date,
    *,
    sleep: Callable[[float], None],
    told: Callable[[int], None],
) -> Report:
    """Blocks the tenant's numbers that a day's report names. Raises ``NoToken``, ``Stopped``.

    Read again, or to its end after it was cut off, it blocks nobody twice.
    """
    from requests.exceptions import RequestException

    from webhooks.twilio.patient import BAD_ANSWERS, Stopped, patient, refused, status_of

    try:
        found = patient(opened.settings, account, sleep).messaging.v1.deactivations().fetch(day)
    except BAD_ANSWERS as error:
        if status_of(error) == 404:
            return Report(day, None)
        raise refused(error, account) from None
    numbers, blocked, already = 0, 0, 0
    try:
        with _file(opened, found.redirect_to or "") as answer:
            lines = _numbers(answer)
            while batch := list(islice(lines, AT_ONCE)):
                with opened.database.writing() as connection:
                    done = texts.reassigned(
                        connection,
                        tenant,
                        batch,
                        source=SOURCE,
                        report=day.isoformat(),
                        door=DOOR,
                        now=opened.clock(),
                        said_at=_begin(day),
                    )
                numbers, blocked = numbers + len(batch), blocked + done.blocked
                already += done.already
                told(numbers)
    except RequestException as error:
        raise Stopped(
            f"The report of {day} broke off after {numbers:,} numbers ({type(error).__name__}); "
            "another run reads it again"
        ) from None
    return Report(day, numbers, blocked, already)


def finished(opened: Installation, tenant: Tenant, day: date) -> None:
    """All reports up to this day's have been read."""
    with opened.database.writing() as connection:
        progress.move(connection, tenant.id, SOURCE, day.isoformat())


def _begin(day: date) -> Millis:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp() * 1000)


def _file(opened: Installation, url: str) -> "Response":
    """The file, as it comes in. Its URL is signed and good for two minutes: Twilio's own name and
    token must not go along."""
    import requests

    from webhooks.twilio.patient import SECONDS, Stopped

    if not url.startswith(("https://", opened.settings.twilio_api or "https://")):
        raise Stopped("Twilio names no file to read")
    answer = requests.get(url, stream=True, timeout=SECONDS)
    if answer.status_code != 200:
        answer.close()
        raise Stopped(f"The report's file answered {answer.status_code}; another run asks again")
    return answer


def _numbers(answer: "Response") -> Iterator[str]:
    """The numbers of a file of one a line, with or without their + and country code."""
    for line in answer.iter_lines(chunk_size=1 << 16):
        text = line.decode("ascii", "replace").strip().strip('"')
        if not text or len(text) > LONGEST_LINE:
            continue
        try:
            yield Address.parse(Channel.SMS, _e164(text), "US").value
        except BadAddress:
            continue


def _e164(text: str) -> str:
    """Spares the library the usual spellings: there may be a hundred thousand of them."""
    if text.isascii() and text.isdecimal():
        if len(text) == 11 and text.startswith("1"):
            return f"+{text}"
        if len(text) == 10:
            return f"+1{text}"
    return text
