"""Standings, histories and changes out. Nothing here writes."""

import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    and_,
    exists,
    null,
    select,
    tuple_,
    union_all,
)

from prefs import database, tables
from prefs.address import Channel
from prefs.ledger.words import Change, Cursor, Difference, Entry, Known, Subject, unpacked
from prefs.policy import (
    NOTHING,
    Authority,
    Block,
    Decision,
    Event,
    Kind,
    Message,
    Millis,
    Mode,
    Outcome,
    Purpose,
    Scope,
    Standing,
    Topic,
    Verdict,
    Voice,
    fold,
    may_send,
)


def standing(connection: Connection, tenant: int, digest: bytes) -> Standing:
    return known(connection, tenant, digest).standing


def standings(
    connection: Connection, tenant: int, digests: Sequence[bytes]
) -> dict[bytes, Standing | None]:
    """The standings of those addresses that have one: one query for up to 10,000.

    None where one is stored that cannot be read, such as a newer release's: hold.
    """
    table = tables.address
    found = connection.execute(
        select(table.c.digest, table.c.standing).where(
            table.c.tenant_id == tenant, table.c.digest.in_(digests)
        )
    )
    read: dict[bytes, Standing | None] = {}
    for digest, text in found:
        try:
            read[bytes(digest)] = unpacked(text)
        except ValueError:
            read[bytes(digest)] = None
    return read


def standing_of(connection: Connection, tenant: int, digest: bytes, text: str) -> Standing:
    """The stored standing, or where it cannot be read, what the events amount to."""
    try:
        return unpacked(text)
    except ValueError:
        return fold([entry.event for entry in history(connection, tenant, digest)])[0]


def known(connection: Connection, tenant: int, digest: bytes) -> Known:
    """An address and its standing. Its value is None if it is erased or never was known."""
    table = tables.address
    row = connection.execute(
        select(table.c.value, table.c.standing, table.c.language).where(
            table.c.tenant_id == tenant, table.c.digest == digest
        )
    ).first()
    if row is None:
        return Known(digest, None, NOTHING)
    standing = standing_of(connection, tenant, digest, row.standing)
    return Known(digest, row.value, standing, row.language)


def of_person(
    connection: Connection, tenant: int, person: str, channel: Channel | None = None
) -> list[Subject]:
    """The addresses that the sender says are one person's, in the order of their digests.

    Not those that two persons claimed: they show neither the other's.
    """
    table = tables.address
    found = connection.execute(
        select(table.c.channel, table.c.digest, table.c.value)
        .where(
            table.c.tenant_id == tenant,
            table.c.person == person,
            table.c.shared.is_(False),
            *([] if channel is None else [table.c.channel == channel]),
        )
        .order_by(table.c.digest)
    )
    return [Subject(Channel(row.channel), bytes(row.digest), row.value) for row in found]


def family(connection: Connection, tenant: int, digest: bytes) -> list[Subject]:
    """The other addresses of the person whose address this is."""
    table = tables.address
    person = connection.scalar(
        select(table.c.person).where(
            table.c.tenant_id == tenant, table.c.digest == digest, table.c.shared.is_(False)
        )
    )
    if person is None:
        return []
    return [s for s in of_person(connection, tenant, person) if s.digest != digest]


def suppressed(
    standing: Standing, topics: Iterable[Topic], channel: Channel, now: Millis
) -> Decision | None:
    """Why none of the marketing ``topics`` may be sent, if somebody said so; else None.

    A text that may be a no counts until somebody has read it: whoever sends by the list holds too.
    Having no consent is nothing that was said, and puts nobody on a suppression list. Where
    none of them is offered on the channel (any more), who has left all marketing is still on it.
    """
    marketing = [topic for topic in topics if topic.purpose is Purpose.MARKETING]
    if standing is NOTHING or not marketing:
        return None
    offered = [topic for topic in marketing if channel in topic.offered] or [_anything(channel)]
    decisions = [may_send(Message(topic, channel), standing, now) for topic in offered]
    if any(decision.verdict is Verdict.ALLOW for decision in decisions):
        return None
    said = (d for d in decisions if d.ground and d.ground.what is not Kind.IN)
    return next(said, None)


def _anything(channel: Channel) -> Topic:
    """A marketing topic of no brand, which only an out of all and a block cover."""
    return Topic(Scope(0, 0), "", "", "", Purpose.MARKETING, {channel: Mode.OPT_OUT})


def roll(
    connection: Connection,
    tenant: int,
    channel: Channel,
    beyond: bytes = b"",
    limit: int = 1000,
) -> list[Known]:
    """A page of all addresses known on a channel, in the order of their digests."""
    table = tables.address
    found = connection.execute(
        select(table.c.digest, table.c.value, table.c.standing)
        .where(table.c.tenant_id == tenant, table.c.channel == channel, table.c.digest > beyond)
        .order_by(table.c.digest)
        .limit(limit)
    )
    return [
        Known(bytes(digest), text, standing_of(connection, tenant, bytes(digest), packed))
        for digest, text, packed in found
    ]


def history(
    connection: Connection, tenant: int, digest: bytes, beyond: int = 0, limit: int | None = None
) -> list[Entry]:
    """What was said about one address after number ``beyond``, in order, with its evidence."""
    table, evidence = tables.event, tables.evidence
    found = connection.execute(
        select(table, evidence.c.body)
        .outerjoin(
            evidence,
            (evidence.c.tenant_id == table.c.tenant_id)
            & (evidence.c.digest == table.c.digest)
            & (evidence.c.seq == table.c.seq),
        )
        .where(table.c.tenant_id == tenant, table.c.digest == digest, table.c.seq > beyond)
        .order_by(table.c.seq)
        .limit(limit)
    )
    return [
        Entry(
            row.seq,
            _event(row),
            Outcome(row.outcome),
            row.source,
            row.source_id,
            json.loads(row.body) if row.body else None,
        )
        for row in found
    ]


def _event(row: Row[Any]) -> Event:
    return Event(
        kind=Kind(row.kind),
        heard_at=row.heard_at,
        scope=Scope(row.brand_id, row.topic_id),
        voice=Voice(row.voice) if row.voice else None,
        authority=Authority(row.authority),
        said_at=row.said_at,
        clock=row.clock,
        saw=row.saw,
        until=row.until,
        basis=row.basis,
        block=Block(row.block) if row.block else None,
        per_week=row.per_week,
        door=row.door,
        rule=row.rule,
        to_transactional=bool(row.to_transactional),
        ours_alone=bool(row.ours_alone),
        retracts=tuple(map(int, row.retracts.split())),
    )


def heard(
    connection: Connection, tenant: int, source: str, source_id: str
) -> tuple[bytes, Event] | None:
    """Whom the event of a source was about, and the event."""
    table = tables.event
    row = connection.execute(
        select(table).where(
            table.c.tenant_id == tenant, table.c.source == source, table.c.source_id == source_id
        )
    ).first()
    return (bytes(row.digest), _event(row)) if row else None


def here(connection: Connection, tenant: int) -> Cursor:
    """The place up to which this transaction has seen everything."""
    horizon = database.committed_before_all_running(connection)
    if horizon is not None:
        return Cursor(horizon, 0)
    table = tables.event
    # With its xact, which is 0 on SQLite: else all of the tenant's events are read and sorted.
    newest = select(table.c.position).where(table.c.tenant_id == tenant, table.c.xact == 0)
    return Cursor(0, connection.scalar(newest.order_by(table.c.position.desc()).limit(1)) or 0)


def _after(connection: Connection, since: Cursor) -> ColumnElement[bool]:
    """The events behind a place in the order of commit."""
    table = tables.event
    if database.committed_before_all_running(connection) is None:
        # SQLite walks an index to a place only if it is told by plain columns.
        return and_(table.c.xact == since.xact, table.c.position > since.position)
    return tuple_(table.c.xact, table.c.position) > tuple_(*since)


def changes(connection: Connection, tenant: int, since: Cursor, limit: int = 1000) -> list[Change]:
    """What was recorded after ``since``, in the order of commit; nothing is ever skipped."""
    table, address = tables.event, tables.address
    order = (table.c.xact, table.c.position)
    query = (
        select(table, address.c.value)
        .join(address, address.c.digest == table.c.digest)
        .where(table.c.tenant_id == tenant, _after(connection, since))
        .order_by(*order)
        .limit(limit)
    )
    horizon = database.committed_before_all_running(connection)
    if horizon is not None:
        query = query.where(table.c.xact < horizon)
    return [
        Change(
            Cursor(row.xact, row.position),
            bytes(row.digest),
            Channel(row.channel),
            row.value,
            row.seq,
            _event(row),
            Outcome(row.outcome),
        )
        for row in connection.execute(query)
    ]


def replay(connection: Connection, tenant: int) -> Iterator[Difference]:
    """Folds every address's events again and yields where the stored standing differs."""
    table, said = tables.address, tables.event
    mine = select(table.c.digest, table.c.standing).where(table.c.tenant_id == tenant)
    gone = select(said.c.digest, null()).where(
        said.c.tenant_id == tenant,
        said.c.seq == 1,
        ~exists().where(table.c.digest == said.c.digest, table.c.tenant_id == tenant),
    )
    found = connection.execute(union_all(mine, gone), execution_options={"yield_per": 500})
    for digest, text in found:
        folded, _ = fold([entry.event for entry in history(connection, tenant, bytes(digest))])
        try:
            stored = None if text is None else unpacked(text)
        except ValueError:
            stored = None
        if stored != folded:
            yield Difference(bytes(digest), stored, folded)
