"""One-time codes: support reads one to somebody who has no link, and they open their own page.

A code has 50 bits, is valid for a day and opens once. Where a thousand are waiting, a guess hits
one with a chance of 1000 / 2**50; at a thousand guesses a second, day and night, that is one in
35 years. So nothing counts the guesses, and nobody can lock another out by guessing. What is
stored is a hash, for the eyes of whoever sees the database or its copies that day.

Support's word proves that nobody controls an address. What a code opens may leave anything, and
turns on nothing that is not then confirmed at the address itself.
"""

from hashlib import blake2b
from secrets import randbits

from sqlalchemy import Connection, delete, update

from prefs import crockford, ledger, tables
from prefs.address import Channel
from prefs.ledger import Subject
from prefs.policy import Millis

VALID_FOR: Millis = 24 * 3600 * 1000
LENGTH = 10


def make(connection: Connection, tenant: int, subject: Subject, now: Millis) -> str:
    """A new code for an address, in groups, as ``K7QF-4MXC-9T``. It ends those before it."""
    table = tables.one_time_code
    # Of two made at one moment, one waits here and then ends the other.
    ledger.lock(connection, tenant, [subject])
    connection.execute(
        delete(table).where(
            table.c.tenant_id == tenant,
            (table.c.digest == subject.digest) | (table.c.ends_at <= now),
        )
    )
    code = crockford.spelt(randbits(5 * LENGTH), LENGTH)
    connection.execute(
        table.insert().values(
            hash=_hash(code),
            tenant_id=tenant,
            channel=subject.channel,
            digest=subject.digest,
            made_at=now,
            ends_at=now + VALID_FOR,
        )
    )
    shown = code.upper()
    return f"{shown[:4]}-{shown[4:8]}-{shown[8:]}"


def use(connection: Connection, text: str, now: Millis) -> tuple[int, Subject] | None:
    """The tenant and the address that a code was made for, this once.

    None for a code that was used, has ended or never was: nobody is told which. It begins
    without a tenant, because nothing but the code says whose it is.
    """
    code = crockford.read(text, LENGTH)
    if code is None:
        return None
    table = tables.one_time_code
    # Of two who use it at one moment, the one row changes for one.
    row = connection.execute(
        update(table)
        .where(table.c.hash == _hash(code), table.c.used_at.is_(None), table.c.ends_at > now)
        .values(used_at=now)
        .returning(table.c.tenant_id, table.c.channel, table.c.digest)
    ).first()
    return (row.tenant_id, Subject(Channel(row.channel), bytes(row.digest))) if row else None


def _hash(code: str) -> bytes:
    return blake2b(code.encode(), digest_size=16, person=b"one-time code").digest()
