"""The same number on the other channel, where texts come as RCS or, for want of it, as SMS.

Nobody who answers STOP to one means to get the other, and Twilio's own block is of both (since
2026-03-15). WhatsApp is another programme with an opt-out of its own.
"""

from collections.abc import Iterable

from sqlalchemy import Connection

from prefs import ledger
from prefs.address import Address, Channel
from prefs.directory import Tenant
from prefs.ledger import Entry, Said, Subject


def also_on(tenant: Tenant, address: Address) -> list[Address]:
    """Where what was said about texts to ``address`` is said as well."""
    if address.channel is Channel.RCS:
        return [Address(Channel.SMS, address.value)]
    by_rcs = any(Channel.RCS in topic.offered for topic in tenant.topics.values())
    return (
        [Address(Channel.RCS, address.value)] if by_rcs and address.channel is Channel.SMS else []
    )


def lock(connection: Connection, tenant: Tenant, addresses: Iterable[Address]) -> None:
    """Locks all that texts to or from the addresses may be recorded for, in everybody's order.

    One after the other, two transactions would wait for each other, and a STOP would be refused.
    """
    wanted: dict[bytes, Subject] = {}
    for address in addresses:
        for other in also_on(tenant, address):
            # Nobody's number is kept there for a lock alone.
            elsewhere = Subject.of(tenant, other)._replace(value=None)
            wanted.setdefault(elsewhere.digest, elsewhere)
        own = Subject.of(tenant, address)
        wanted[own.digest] = own
    if wanted:
        ledger.lock(connection, tenant.id, wanted.values())


def carried(tenant: Tenant, said: Said, to: Address) -> Said:
    """What was said, said there. Its evidence stays where it was said, so that erasing it there
    erases it."""
    source_id = f"{said.source_id}.{to.channel}"
    return Said(Subject.of(tenant, to), said.event, said.source, source_id)


def is_carried(entry: Entry) -> bool:
    return (entry.source_id or "").endswith((f".{Channel.SMS}", f".{Channel.RCS}"))
