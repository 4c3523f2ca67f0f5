"""Short links, for texts and for the addresses that unsubscribe mails are sent to.

A code stands for the claim of an unsubscribe link. It is computed from the claim under the
tenant's own key: minting again gives the same code and no second row, and no rotation of signing
keys touches it. It never expires, and works after an erasure: its row holds the digest alone.

A code is not signed, and of 60 bits. Where a hundred million are in use, a guess hits one with a
chance of 10**8 / 2**60, so once in 1.2 * 10**10 guesses: a year at 370 a second, for taking one
unknown address off one list. Two claims are to be expected to meet on one code where there are
some 2**30; the second then takes its next.
"""

import re
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from sqlalchemy import Connection, select

from prefs import crockford, database, tables
from prefs.address import Channel
from prefs.directory import Tenant
from prefs.links import Action, Claim
from prefs.policy import Scope

LENGTH = 12


class _Row(NamedTuple):
    """What is kept of a claim, and what its code is computed from."""

    channel: str
    digest: bytes
    brand_id: int | None
    topic_id: int | None
    campaign: str


def kept(connection: Connection, tenant: Tenant, claims: Sequence[Claim]) -> list[str]:
    """The codes of unsubscribe claims of the tenant's, made where there were none.

    For 10,000 or so at a time: one query if all were made before, else two and an INSERT.
    """
    rows = [_row(claim) for claim in claims]
    codes: dict[_Row, str] = {}
    number = 0
    while left := [row for row in dict.fromkeys(rows) if row not in codes]:
        tried = {row: _code(tenant, row, number) for row in left}
        found = _found(connection, tenant, tried.values())
        # Where two of these meet on one code, the row that stands is the one that is read back.
        missing = {code: row for row, code in tried.items() if code not in found}
        if missing:
            connection.execute(
                database.insert(connection, tables.short_link).on_conflict_do_nothing(),
                [
                    {"code": code, "tenant_id": tenant.id, **missing[code]._asdict()}
                    for code in sorted(missing)
                ],
            )
            found |= _found(connection, tenant, missing)
        codes |= {row: code for row, code in tried.items() if found.get(code) == row}
        number += 1
    return [codes[row] for row in rows]


def _row(claim: Claim) -> _Row:
    # A topic's scope is kept without its brand, as in a signed link: the directory knows it.
    brand, topic = claim.scope
    return _Row(
        str(claim.channel),
        claim.digest,
        None if topic is not None else brand,
        topic,
        claim.campaign,
    )


def _code(tenant: Tenant, row: _Row, number: int) -> str:
    said = "\0".join(map(str, (row.channel, row.brand_id, row.topic_id, row.campaign, number)))
    digest = blake2b(
        row.digest + said.encode(), digest_size=8, key=tenant.digest_key, person=b"short link"
    ).digest()
    return crockford.spelt(int.from_bytes(digest), LENGTH)


def _found(connection: Connection, tenant: Tenant, codes: Iterable[str]) -> dict[str, _Row]:
    """What the tenant's own of these codes stand for. One that another tenant has is none."""
    table = tables.short_link
    found = connection.execute(
        select(table).where(table.c.tenant_id == tenant.id, table.c.code.in_(list(codes)))
    )
    return {
        code: _Row(channel, bytes(digest), brand, topic, campaign)
        for code, _, channel, digest, brand, topic, campaign in found
    }


def opened(connection: Connection, code: str) -> Claim | None:
    """What a code stands for, however it is typed; None if for nothing.

    The one query that begins without a tenant: only the code says whose it is, as in a signed
    link only the token does. The claim that comes back names the tenant for all that follows.
    """
    key, table = normal(code), tables.short_link
    row = key and connection.execute(select(table).where(table.c.code == key)).first()
    if not row:
        return None
    return Claim(
        Action.UNSUBSCRIBE,
        row.tenant_id,
        Channel(row.channel),
        bytes(row.digest),
        Scope(row.brand_id, row.topic_id),
        campaign=row.campaign,
    )


def normal(text: str) -> str | None:
    """The code that ``text`` spells, however cased, grouped or misread; None if it is none."""
    return crockford.read(text, LENGTH)


# --- in a mail's header ---

_MAILBOX = re.compile(r"\s*<?\s*(?:mailto:)?\"?unsubscribe-([^@\"]+)\"?@.*", re.IGNORECASE | re.S)


def mailbox(code: str, domain: str) -> str:
    """The address to which a mail unsubscribes.

    Its local part says all there is to know: mail programs send what subject and sender they
    like, and some servers fold it to lower case. It has 24 of the 64 octets of RFC 5321.
    """
    return f"unsubscribe-{code}@{domain}"


def addressed(text: str) -> str | None:
    """The code in the address that an unsubscribe mail was sent to; None if there is none."""
    found = _MAILBOX.fullmatch(text)
    return normal(found[1]) if found else None
