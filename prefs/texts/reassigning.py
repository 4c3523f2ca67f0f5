"""Numbers that belong to somebody else now."""

from collections.abc import Iterable
from typing import NamedTuple

from sqlalchemy import Connection

from prefs import ledger
from prefs.address import BY_NUMBER, Address, Channel
from prefs.directory import Tenant
from prefs.ledger import Said, Subject
from prefs.policy import Block, Event, Kind, Millis, Outcome

AT_ONCE = 2000
"""Numbers whose addresses on every channel are looked up in one query."""


class Reassigned(NamedTuple):
    """How many addresses were blocked, and how many the same report had blocked before."""

    blocked: int
    already: int


def reassigned(
    connection: Connection,
    tenant: Tenant,
    numbers: Iterable[str],
    *,
    source: str,
    report: str,
    door: str,
    now: Millis,
    said_at: Millis | None = None,
) -> Reassigned:
    """Ends the consents of those of up to ``AT_ONCE`` numbers that the tenant knows, on every
    channel that goes by number; what their owners said no to stays.

    ``numbers`` are as ``Address.parse`` made them. Nobody else becomes known by a report of
    millions. ``report`` names it: the same one, read again, blocks nobody twice.
    """
    every = [Address(channel, number) for number in set(numbers) for channel in _CHANNELS]
    subjects = {tenant.digest(address): address for address in every}
    known = ledger.standings(connection, tenant.id, list(subjects))
    event = Event(Kind.BLOCK, now, said_at=said_at, block=Block.REASSIGNED, door=door)
    said = [
        Said(Subject.of(tenant, subjects[digest]), event, source, f"{report}.{digest.hex()}")
        for digest in known
    ]
    done = [one.outcome for one in ledger.record_many(connection, tenant.id, said)]
    already = done.count(Outcome.DUPLICATE)
    return Reassigned(len(done) - already, already)


_CHANNELS = [channel for channel in Channel if channel in BY_NUMBER]
