"""What the webhook missed, read from the account's own list of messages.

Twilio's default is to try a webhook again only where it could not connect: a STOP that met a 500
is lost, unless somebody looks. https://www.twilio.com/docs/messaging/api/message-resource
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import Connection

from prefs import keywords, letters, progress, texts
from prefs.address import Address, BadAddress
from prefs.directory import Sender, Tenant
from prefs.installation import Installation
from prefs.keywords import Says
from prefs.policy import Millis, Outcome, written
from prefs.texts import Failure, Heard, Text, Undelivered
from webhooks.twilio.receiving import at_least_acted_upon, failure_of, sender_of, split
from webhooks.twilio.sending import times

if TYPE_CHECKING:
    from twilio.rest.api.v2010.account.message import MessageInstance

DAY: Millis = 24 * 3_600_000
OVERLAP: Millis = 3_600_000
"""Read again before the cursor: Twilio lists a message a moment after its time, and fails some
that it took long before."""

FIRST: Millis = 7 * DAY
"""How far back the first run reads by itself."""

ON_ITS_WAY: Millis = 30_000
"""A younger message's webhook may still come, and its answer be the one that the person gets."""

PAGE = 1000
"""The most that Twilio lists at once."""
AT_ONCE = 50
"""Messages in a transaction: while one runs on SQLite, all wait."""


@dataclass
class Reconciled:
    """What became of an account's messages. ``missed`` counts, by what they said, those that no
    webhook had brought; ``failures`` the messages to people that failed because of them."""

    account: str
    read: int = 0
    known: int = 0
    missed: Counter[Says] = field(default_factory=Counter)
    failures: int = 0
    answered: int = 0


class _Window(NamedTuple):
    begin: Millis
    end: Millis
    is_last: bool


def cursor(account: str) -> str:
    return f"twilio messages {account}"


def accounts(tenant: Tenant) -> list[str]:
    return sorted({s.account for s in tenant.hearing if s.provider == "twilio"})


def reconcile(
    opened: Installation,
    tenant: Tenant,
    account: str,
    *,
    since: Millis | None,
    told: Callable[[Reconciled, Millis], None],
    sleep: Callable[[float], None],
) -> Reconciled:
    """Reads an account's messages since its cursor, and records what is not known.

    ``since`` reads from an earlier time, never from a later one. ``told`` hears after every page
    how far it is. Killed anywhere, another run completes it. Raises ``NoToken``, and ``Stopped``,
    which says up to where everything is recorded.
    """
    from webhooks.twilio.patient import BAD_ANSWERS, Stopped, patient, refused

    twilio = patient(opened.settings, account, sleep)
    with opened.database.reading() as connection:
        place = progress.place(connection, tenant.id, cursor(account))
    now = opened.clock()
    if place is not None:
        begin = _millis(datetime.fromisoformat(place)) - OVERLAP
        begin = begin if since is None else min(begin, since)
    else:
        begin = now - FIRST if since is None else since
    # A place in the future, of a clock that was ahead or a slip of the hand, is none.
    begin = min(begin, now - OVERLAP)
    done, whole = Reconciled(account), begin
    if place is None or since == begin:
        # Killed in its first window, it goes on from here and not from where it would by itself.
        with opened.database.writing() as connection:
            progress.move(connection, tenant.id, cursor(account), written(begin))
    try:
        for window in _windows(begin, now):
            found: dict[str, Millis] = {}
            page = twilio.messages.page(
                date_sent_after=_moment(window.begin),
                # The last one is open, so that a clock of ours that is behind misses nothing.
                **({} if window.is_last else {"date_sent_before": _moment(window.end)}),
                page_size=PAGE,
            )
            while page is not None:
                _record(opened, tenant, account, list(page), found, done)
                told(done, window.begin)
                page = page.next_page()
            whole = window.end
            with opened.database.writing() as connection:
                progress.move(connection, tenant.id, cursor(account), written(whole))
    except (Stopped, *BAD_ANSWERS) as error:
        why = error if isinstance(error, Stopped) else refused(error, account)
        raise Stopped(
            f"{why}. Of {account}, everything from {written(begin)} up to {written(whole)} is "
            "recorded; another run goes on from there"
        ) from None
    return done


def _windows(begin: Millis, now: Millis) -> Iterator[_Window]:
    """From old to new, a day each, cut at midnight UTC.

    Twilio documents a filter by date and takes a time of day too: cut there, both come to the
    same.
    """
    while begin < now:
        end = (begin // DAY + 1) * DAY
        yield _Window(begin, min(end, now), end >= now)
        begin = end


def _moment(millis: Millis) -> datetime:
    return datetime.fromtimestamp(millis // 1000, UTC)


def _millis(moment: datetime) -> Millis:
    return int(moment.timestamp() * 1000)


def _record(
    opened: Installation,
    tenant: Tenant,
    account: str,
    page: "Sequence[MessageInstance]",
    found: dict[str, Millis],
    done: Reconciled,
) -> None:
    """Records a page, the oldest of it first, and what its STOPs and STARTs leave open.

    ``found`` are the times of the window's messages so far.
    """
    mine = [s for s in tenant.hearing if s.provider == "twilio" and s.account == account]
    done.read += len(page)
    said = [one for message in page if (one := _said(message, mine))]
    said.sort(key=lambda one: (_time(one) or 0, one.id))
    found.update({one.id: time for one in said if (time := _time(one)) is not None})
    for at in range(0, len(said), AT_ONCE):
        contested = _hear(opened, tenant, said[at : at + AT_ONCE], done)
        for one, heard in contested:
            # Not while the database is held: what is not in the list, Twilio is asked for.
            unknown = [sid for sid in heard.unsettled if sid not in found]
            known = {**found, **times(opened.settings, one.sender, unknown)} if unknown else found
            with opened.database.writing() as connection:
                now = opened.clock()
                settled = texts.settle(connection, tenant, one, heard, known, now)
                if heard.recorded.outcome is not Outcome.DUPLICATE:
                    done.answered += _answer(connection, tenant, one, settled, now)


def _hear(
    opened: Installation, tenant: Tenant, said: "Sequence[Text | Undelivered]", done: Reconciled
) -> list[tuple[Text, Heard]]:
    """Records what was said; the texts of which only Twilio knows which came first."""
    contested: list[tuple[Text, Heard]] = []
    for one in said:
        if isinstance(one, Text):
            # Remembered from here: nobody else's STOP waits while a long text is read.
            keywords.read(one.body, tenant.words)
    with opened.database.writing() as connection:
        # In the order in which everybody locks them, and not of the messages.
        texts.lock(connection, tenant, map(_whose, said))
        now = opened.clock()
        for one in said:
            if isinstance(one, Undelivered):
                recorded = texts.undelivered(connection, tenant, one, now)
                done.failures += recorded.outcome is not Outcome.DUPLICATE
                continue
            heard = texts.hear(connection, tenant, one, now)
            is_known = heard.recorded.outcome is Outcome.DUPLICATE
            done.known += is_known
            done.missed[heard.says] += not is_known
            if heard.unsettled:
                contested.append((one, heard))
            else:
                done.answered += _answer(connection, tenant, one, heard, now)
    return contested


def _answer(connection: Connection, tenant: Tenant, text: Text, heard: Heard, now: Millis) -> bool:
    """Sends the answer that a webhook of this message would have had, if it is ours to give.

    What Advanced Opt-Out took a message for, and answered, the list does not tell.
    """
    if heard.reply is None or heard.recorded.outcome is Outcome.DUPLICATE:
        return False
    if text.sender.kind == "advanced_opt_out" or text.said_at is None:
        return False
    if now - text.said_at < ON_ITS_WAY:
        return False
    letters.answer(connection, tenant, text.sender, text.author, heard.reply, now, text.said_at)
    return True


def _whose(one: Text | Undelivered) -> Address:
    return one.to if isinstance(one, Undelivered) else one.author


def _time(one: Text | Undelivered) -> Millis | None:
    return one.failed_at if isinstance(one, Undelivered) else one.said_at


def _said(message: "MessageInstance", mine: Sequence[Sender]) -> Text | Undelivered | None:
    """What a message of the list says; None where it says nothing, or is somebody else's."""
    is_inbound = message.direction == "inbound"
    ours, theirs = (message.to, message.from_) if is_inbound else (message.from_, message.to)
    sender = sender_of(mine, ours or "", message.messaging_service_sid or "")
    failure = None if is_inbound else failure_of(message.error_code)
    if sender is None or (not is_inbound and failure is None):
        return None
    channel, number = split(theirs or "")
    try:
        address = Address.parse(channel, number)
    except BadAddress:
        return None
    created = message.date_created or message.date_sent
    when = None if created is None else _millis(created)
    if failure is not None:
        return _failed(message, sender, address, failure, when)
    body = message.body or ""
    return Text(
        sender,
        address,
        body,
        "twilio",
        message.sid,
        at_least_acted_upon(sender, channel, body),
        when,
        {"heard": "in the list of messages"},
    )


def _failed(
    message: "MessageInstance",
    sender: Sender,
    address: Address,
    failure: Failure,
    when: Millis | None,
) -> Undelivered | None:
    if message.status not in ("failed", "undelivered"):
        return None
    code = str(message.error_code)
    return Undelivered(sender, address, failure, code, "twilio", message.sid, when)
