"""Texts that may be a no, until somebody has read them and decided."""

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import NamedTuple

from sqlalchemy import Connection, select, text

from prefs import ledger, tables
from prefs.address import Address, Channel
from prefs.directory import Tenant
from prefs.ledger import Recorded, Said, Subject
from prefs.policy import Authority, Event, Kind, Millis, Scope, Standing, Voice
from prefs.texts.carrying import also_on, is_carried, lock

DOOR = "review"

BUSINESS_DAYS = 10
"""47 CFR 64.1200(a)(10): a revocation is honoured within ten business days. Marketing is held all
the while; this is by when somebody must have looked."""


class NoReview(ValueError):
    """There is no such text."""


class Decided(NoReview):
    """The text waits no longer: somebody has decided, or the person has said more since."""


class Waiting(NamedTuple):
    """One text. ``address`` and ``text`` are None once they were erased."""

    id: str
    subject: Subject
    address: Address | None
    scope: Scope
    heard_at: Millis
    text: str | None
    to: str | None
    rule: str
    to_transactional: bool

    @property
    def due(self) -> date:
        return due_on(self.heard_at)

    def days_left(self, now: Millis) -> int:
        """Until the last day in time; negative once it is over."""
        return (self.due - _day(now)).days


class Page(NamedTuple):
    """Some of the texts, and the digest beyond which there are more; None at the end."""

    texts: list[Waiting]
    beyond: bytes | None


def _day(moment: Millis) -> date:
    return datetime.fromtimestamp(moment / 1000, UTC).date()


def due_on(heard_at: Millis) -> date:
    """The last day on which a decision is in time. Holidays are not left out: they differ, and
    who decides earlier is never late."""
    day = _day(heard_at)
    left = BUSINESS_DAYS
    while left:
        day += timedelta(days=1)
        left -= day.weekday() < 5
    return day


def waiting(connection: Connection, tenant: Tenant, beyond: bytes = b"", limit: int = 100) -> Page:
    """The texts of up to ``limit`` addresses after the digest ``beyond`` that wait for a decision.

    In the order of the addresses' digests, and for one address of their arrival.
    """
    table = tables.address
    found = connection.execute(
        select(table.c.digest, table.c.channel, table.c.value, table.c.standing)
        # As the index of those few has it, on both databases.
        .where(table.c.tenant_id == tenant.id, text("in_review"), table.c.digest > beyond)
        .order_by(table.c.digest)
        .limit(limit)
    ).all()
    texts = [
        one
        for row in found
        for one in _of(
            connection,
            tenant,
            Subject(Channel(row.channel), bytes(row.digest), row.value),
            ledger.unpacked(row.standing),
        )
    ]
    return Page(texts, bytes(found[-1].digest) if len(found) == limit else None)


def all_waiting(connection: Connection, tenant: Tenant) -> Iterator[Waiting]:
    """Every text that waits for a decision."""
    beyond: bytes | None = b""
    while beyond is not None:
        texts, beyond = waiting(connection, tenant, beyond)
        yield from texts


def _of(
    connection: Connection, tenant: Tenant, subject: Subject, standing: Standing
) -> list[Waiting]:
    found = []
    for review in standing.unread:
        (entry,) = ledger.history(connection, tenant.id, subject.digest, review.seq - 1, 1)
        if is_carried(entry):
            continue
        said = entry.evidence or {}
        found.append(
            Waiting(
                f"{subject.digest.hex()}.{review.seq}",
                subject,
                Address(subject.channel, subject.value) if subject.value else None,
                review.scope,
                review.heard_at,
                said.get("text"),
                said.get("to"),
                entry.event.rule,
                entry.event.to_transactional,
            )
        )
    return found


def named(connection: Connection, tenant: Tenant, review_id: str) -> Waiting:
    """The text of an id. Raises ``NoReview``, ``Decided``."""
    digest, _, seq = review_id.partition(".")
    try:
        wanted = bytes.fromhex(digest)
    except ValueError:
        raise NoReview(_NONE) from None
    table = tables.address
    row = connection.execute(
        select(table.c.channel, table.c.value, table.c.standing).where(
            table.c.tenant_id == tenant.id, table.c.digest == wanted
        )
    ).first()
    if row is not None:
        subject = Subject(Channel(row.channel), wanted, row.value)
        for one in _of(connection, tenant, subject, ledger.unpacked(row.standing)):
            if one.id == f"{wanted.hex()}.{seq}":
                return one
        if _is_review(connection, tenant, wanted, seq):
            raise Decided(
                "that was decided already, by somebody or by what the person has said since"
            )
    raise NoReview(_NONE)


_NONE = "there is no such text"


def _is_review(connection: Connection, tenant: Tenant, digest: bytes, seq: str) -> bool:
    """Whether what was said as number ``seq`` was once a text that waited."""
    if not _SEQ.fullmatch(seq):
        return False
    found = ledger.history(connection, tenant.id, digest, int(seq) - 1, 1)
    return any(entry.seq == int(seq) and entry.event.kind is Kind.REVIEW for entry in found)


_SEQ = re.compile(r"[1-9][0-9]{0,17}")


def decide(
    connection: Connection,
    tenant: Tenant,
    review_id: str,
    *,
    is_no: bool,
    by: str,
    now: Millis,
    reason: str = "",
) -> Recorded:
    """Records what somebody who has read the text decided. Raises ``NoReview``, ``Decided``.

    A no is the person's STOP, in the scope in which it was held. ``by`` is who decided.
    """
    before = named(connection, tenant, review_id)
    if before.address is None:
        ledger.lock(connection, tenant.id, [before.subject])
    else:
        lock(connection, tenant, [before.address])
    one = named(connection, tenant, review_id)
    evidence = {"by": by, **({"reason": reason} if reason else {})}
    seq = int(review_id.partition(".")[2])
    recorded = ledger.record(
        connection,
        tenant.id,
        Said(one.subject, _decided(one, seq, is_no, now), evidence=evidence),
    )
    for subject, number in _elsewhere(connection, tenant, one):
        said = Said(subject, _decided(one, number, is_no, now), evidence=evidence)
        ledger.record(connection, tenant.id, said)
    return recorded


def _decided(one: Waiting, seq: int, is_no: bool, now: Millis) -> Event:
    if not is_no:
        return Event(Kind.REVIEWED, now, one.scope, saw=seq, door=DOOR)
    return Event(
        Kind.OUT,
        now,
        one.scope,
        Voice.STOP,
        Authority.PERSON,
        saw=seq,
        door=DOOR,
        to_transactional=one.to_transactional,
        ours_alone=True,
    )


def _elsewhere(connection: Connection, tenant: Tenant, one: Waiting) -> list[tuple[Subject, int]]:
    """Where else the same text holds marketing: on the other channel that texts come by."""
    (here,) = ledger.history(
        connection, tenant.id, one.subject.digest, int(one.id.partition(".")[2]) - 1, 1
    )
    found = []
    for other in () if one.address is None else also_on(tenant, one.address):
        subject = Subject.of(tenant, other)
        standing = ledger.standing(connection, tenant.id, subject.digest)
        for review in standing.reviews:
            (entry,) = ledger.history(connection, tenant.id, subject.digest, review.seq - 1, 1)
            if entry.source_id == f"{here.source_id}.{other.channel}":
                found.append((subject, review.seq))
    return found
