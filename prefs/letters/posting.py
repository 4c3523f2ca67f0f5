"""Letters on their way: claimed by one worker, sent, tried again, forgotten."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, Update, delete, or_, select, update

from prefs import ledger, tables
from prefs.address import Channel
from prefs.directory import Brand, Sender, Tenant
from prefs.letters.asking import (
    GO_BY,
    HOUR,
    KEEP_FOR,
    LINK,
    MINUTE,
    OPEN,
    REPLY,
    Letter,
    asks_in_vain,
    takes_no_link,
)
from prefs.links import CONFIRM_FOR
from prefs.policy import Millis, Scope
from prefs.settings import Settings

LEASE: Millis = 2 * MINUTE
"""How long a letter belongs to the worker that claimed it. Longer than sending can take."""

ANSWER_WITHIN: Millis = 5 * MINUTE
"""47 CFR 64.1200(a)(12): a confirmation sent later is not presumed to be wanted."""

BACKOFF: Sequence[Millis] = (MINUTE, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 6 * HOUR)
"""When to try again after the first, second, … failure; after the last of them, never."""


class PerhapsSent(Exception):
    """The letter was handed over, and whoever was to take it never said that they did."""


def is_due(connection: Connection, now: Millis) -> bool:
    """Whether a letter of any tenant waits to be sent."""
    return connection.execute(_due(now).limit(1)).first() is not None


def _due(now: Millis) -> Any:
    table = tables.letter
    return select(table).where(
        table.c.due_at <= now,
        table.c.asked_at > now - CONFIRM_FOR,
        # One at which workers die is given up as well, and two answers are one too many.
        or_(
            (table.c.kind != REPLY) & (table.c.attempts <= len(BACKOFF)),
            (table.c.attempts == 0) & (table.c.asked_at > now - ANSWER_WITHIN),
        ),
        OPEN,
    )


def claim_due(connection: Connection, now: Millis, limit: int) -> list[Letter]:
    """Takes letters to send, of all tenants, the longest due first, for the time of a lease.

    No two workers ever hold one letter. A worker that dies between sending and telling
    (``sent``) has its letter sent again after the lease: somebody may get one twice, and
    nobody none.
    """
    table = tables.letter
    found = connection.execute(_due(now).order_by(table.c.due_at, table.c.id).limit(limit)).all()
    claimed: list[Letter] = []
    # In the order of their ids, so that two workers never wait for each other.
    for row in sorted(found, key=lambda row: row.id):
        taken = connection.execute(
            update(table)
            .where(table.c.tenant_id == row.tenant_id, table.c.id == row.id)
            .where(table.c.due_at == row.due_at, table.c.attempts == row.attempts, OPEN)
            .values(due_at=now + LEASE, attempts=row.attempts + 1)
            .returning(table)
        ).first()
        if taken is not None:
            claimed.append(_letter(taken))
    return claimed


def _letter(row: Row[Any]) -> Letter:
    return Letter(
        row.tenant_id,
        Channel(row.channel),
        bytes(row.digest),
        row.kind,
        Scope(row.brand_id, row.topic_id),
        row.language,
        row.saw,
        row.asked_at,
        row.value,
        row.id,
        row.attempts,
        row.text,
        row.sender_id,
    )


def is_wanted(connection: Connection, tenant: Tenant, letter: Letter, now: Millis) -> bool:
    """Whether a letter may still go: a no that was said since the question has answered it."""
    if letter.kind == REPLY:
        return True
    standing = ledger.standing(connection, tenant.id, letter.digest)
    if letter.kind == LINK:
        return not takes_no_link(letter.channel, standing)
    topic = tenant.topic_of(letter.scope)
    return topic is not None and not asks_in_vain(
        tenant, topic, letter.channel, standing, letter.saw, now
    )


def sent(connection: Connection, letter: Letter, now: Millis) -> None:
    """The letter has gone out."""
    connection.execute(_held(letter).values(sent_at=now, due_at=None))


def failed(
    connection: Connection,
    letter: Letter,
    now: Millis,
    *,
    for_good: bool = False,
    perhaps_sent: bool = False,
) -> None:
    """The letter has not gone out: later again, or never, ``for_good`` or after the last try.

    One that is ``perhaps_sent`` is tried once more: two are better than none, and six are not.
    """
    tries_left = not for_good and letter.attempts <= len(BACKOFF) and letter.kind != REPLY
    again = now + BACKOFF[letter.attempts - 1] if tries_left else None
    attempts = max(letter.attempts, len(BACKOFF)) if perhaps_sent else letter.attempts
    connection.execute(_held(letter).values(due_at=again, attempts=attempts))


def _held(letter: Letter) -> Update:
    """The row, as long as it is this claim's: erased, answered or claimed anew, it is not."""
    table = tables.letter
    return update(table).where(
        table.c.tenant_id == letter.tenant_id,
        table.c.id == letter.id,
        table.c.attempts == letter.attempts,
        table.c.due_at.is_not(None),
    )


def tidy(connection: Connection, now: Millis, limit: int = 1000) -> int:
    """Forgets the addresses of questions that can be answered no longer, and then the rows.

    At most so many of each; with fewer than ``limit`` none is left.
    """
    table = tables.letter
    kept = or_(table.c.value.is_not(None), table.c.network.is_not(None))
    over = select(table.c.id).where(table.c.asked_at <= now - CONFIRM_FOR, kept).limit(limit)
    old = select(table.c.id).where(table.c.asked_at <= now - KEEP_FOR).limit(limit)
    forgotten = connection.execute(
        update(table)
        .where(table.c.id.in_(over))
        .values(value=None, text=None, network=None, due_at=None)
        .returning(table.c.id)
    ).all()
    deleted = connection.execute(
        delete(table).where(table.c.id.in_(old)).returning(table.c.id)
    ).all()
    return max(len(forgotten), len(deleted))


def can_send(settings: Settings, tenant: Tenant, brand: Brand, channel: Channel) -> bool:
    """Whether we ourselves can send for a brand on a channel. A demo shows what it would send."""
    if settings.preview:
        return channel in GO_BY
    if channel is Channel.EMAIL:
        return settings.smtp is not None and bool(brand.mail_from)
    return channel is Channel.SMS and texting(settings, tenant, brand.id) is not None


def writer(settings: Settings, tenant: Tenant, channel: Channel) -> Brand | None:
    """The first brand that can send on a channel, for a letter that is of all of them."""
    brands = tenant.brands.values()
    return next((b for b in brands if can_send(settings, tenant, b, channel)), None)


def waiting(connection: Connection, tenant: int, limit: int = 20) -> list[Letter]:
    """The newest letters that are not sent yet."""
    table = tables.letter
    found = connection.execute(
        select(table)
        .where(table.c.tenant_id == tenant, table.c.due_at.is_not(None), table.c.value.is_not(None))
        .order_by(table.c.id.desc())
        .limit(limit)
    )
    return [_letter(row) for row in found]


_NO_TEXTS = ("whatsapp", "rcs")


def texting(settings: Settings, tenant: Tenant, brand_id: int) -> Sender | None:
    """The number or service that texts for a brand, if its account's token lets us send."""
    mine = [s for s in tenant.senders if s.brand_id == brand_id and s.kind not in _NO_TEXTS]
    with_token = [s for s in mine if settings.sending_tokens(s.provider, s.account)]
    return min(with_token, key=lambda sender: sender.id, default=None)
