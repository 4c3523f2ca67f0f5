"""The only reader and writer of consent.

An event, its outcome, its evidence and the address's standing are written in one
transaction, under the address's lock. Events are only appended, and the event table is the
outbox too: ``changes`` reads it in the order of commit.

Every function takes the connection of a transaction that its door has opened, and a tenant.
"""

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import (
    Connection,
    Row,
    bindparam,
    exc,
    exists,
    func,
    null,
    select,
    tuple_,
    union_all,
    update,
)

from prefs import database, tables
from prefs.address import Address, Channel
from prefs.directory import Tenant
from prefs.policy import (
    NOTHING,
    Authority,
    Block,
    Decision,
    Event,
    Kind,
    Message,
    Millis,
    Outcome,
    Purpose,
    Scope,
    Standing,
    Topic,
    Verdict,
    Voice,
    after,
    fold,
    may_send,
)

EMPTY = NOTHING.pack()


SENTENCES: Mapping[Kind, str] = {
    Kind.OUT: "Do not send: somebody opted out.",
    Kind.IN: "Somebody consented to one topic.",
    Kind.LIFT: "Outs were taken back; nothing was consented to.",
    Kind.SNOOZE: "Somebody asked for a pause until a date.",
    Kind.BLOCK: "A fact about the address stops marketing to it.",
    Kind.UNBLOCK: "That fact no longer holds.",
    Kind.REGISTERED: "An app told us of this push token.",
    Kind.PENDING: "A consent was asked for and is not confirmed yet.",
    Kind.RETRACT: "Events that were a mistake of a machine or a file were taken back.",
}
"""Every kind of event in one sentence."""

OUTCOMES: Mapping[Outcome, str] = {
    Outcome.APPLIED: "This holds from now on.",
    Outcome.REFUSED: "Recorded, and it changes nothing: it does not lift the no that stands.",
    Outcome.LATE: "Recorded, and it changes nothing: something later was heard before it.",
    Outcome.DUPLICATE: "This very event was recorded before; nothing changed.",
}


class Subject(NamedTuple):
    """Whom an event is about: an address as the tenant knows it. Its value may be unknown."""

    channel: Channel
    digest: bytes
    value: str | None = None

    @classmethod
    def of(cls, tenant: Tenant, address: Address) -> "Subject":
        return cls(address.channel, tenant.digest(address), address.value)


@dataclass(frozen=True, slots=True)
class Said:
    """One event on its way into the ledger.

    ``source`` and ``source_id`` name the event where it came from, such as a provider and its
    message id: the same pair is recorded once, ever. ``evidence`` is what may identify
    someone; it is kept apart and can be erased. ``person`` is the sender's own id.
    """

    subject: Subject
    event: Event
    source: str | None = None
    source_id: str | None = None
    evidence: Mapping[str, str] = field(default_factory=dict)
    person: str | None = None
    batch: int | None = None


class Recorded(NamedTuple):
    """What became of it, and the standing before and after."""

    outcome: Outcome
    before: Standing
    standing: Standing


class Entry(NamedTuple):
    """One line of a history."""

    seq: int
    event: Event
    outcome: Outcome
    source: str | None
    source_id: str | None
    evidence: Mapping[str, str] | None


class Known(NamedTuple):
    """An address and what is known of it."""

    digest: bytes
    value: str | None
    standing: Standing


class Cursor(NamedTuple):
    """A place in the order of commit: all up to here has been seen."""

    xact: int = 0
    position: int = 0


class Change(NamedTuple):
    cursor: Cursor
    digest: bytes
    channel: Channel
    value: str | None
    seq: int
    event: Event
    outcome: Outcome


# --- writing ---


def record(connection: Connection, tenant: int, said: Said) -> Recorded:
    """Writes down one event and what it amounts to."""
    return record_many(connection, tenant, [said])[0]


def record_many(connection: Connection, tenant: int, said: Sequence[Said]) -> list[Recorded]:
    """Writes down events, those about one address in the order given.

    A thousand or so at a time: every address stays locked until the transaction ends.
    """
    if not said:
        return []
    rows = lock(connection, tenant, [one.subject for one in said])
    known = _known(connection, tenant, said) if len(said) > 1 else set()
    fresh: dict[int, Said] = {}
    for number, one in enumerate(said):
        name = (one.source, one.source_id)
        if None in name or name not in known:
            fresh[number] = one
            known.add(name)
    standings = {digest: unpacked(row.standing) for digest, row in rows.items()}
    done = _folded(connection, tenant, said, fresh, standings)
    if not _append(connection, tenant, rows, fresh, done):
        if len(said) > 1:
            # Somebody recorded one of these at this very moment: which one, the database says.
            return [record(connection, tenant, one) for one in said]
        return [Recorded(Outcome.DUPLICATE, done[0].before, done[0].before)]
    _keep(connection, tenant, rows, fresh, done)
    return done


def lock(connection: Connection, tenant: int, subjects: Iterable[Subject]) -> dict[bytes, Row[Any]]:
    """The rows of all the addresses, made where there was none, and locked until the end.

    Always in the order of their digests, so that two writers never wait for each other.
    """
    table = tables.address
    wanted = {subject.digest: subject for subject in subjects}
    digests = sorted(wanted)
    connection.execute(
        database.insert(connection, table).on_conflict_do_nothing(),
        [
            {
                "digest": digest,
                "tenant_id": tenant,
                "channel": wanted[digest].channel,
                "value": wanted[digest].value,
                "seq": 0,
                "standing": EMPTY,
            }
            for digest in digests
        ],
    )
    found = connection.execute(
        select(table)
        .where(table.c.tenant_id == tenant, table.c.digest.in_(digests))
        .order_by(table.c.digest)
        .with_for_update()
    )
    return {bytes(row.digest): row for row in found}


def _known(
    connection: Connection, tenant: int, said: Sequence[Said]
) -> set[tuple[str | None, str | None]]:
    """Which sources are known already. This spares work; the constraint is what holds."""
    table = tables.event
    known: set[tuple[str | None, str | None]] = set()
    names = sorted(
        (one.source, one.source_id)
        for one in said
        if one.source is not None and one.source_id is not None
    )
    for source, group in groupby(names, key=lambda name: name[0]):
        found = connection.execute(
            select(table.c.source_id).where(
                table.c.tenant_id == tenant,
                table.c.source == source,
                table.c.source_id.in_([name[1] for name in group]),
            )
        )
        known.update((source, row.source_id) for row in found)
    return known


def _folded(
    connection: Connection,
    tenant: int,
    said: Sequence[Said],
    fresh: Mapping[int, Said],
    standings: dict[bytes, Standing],
) -> list[Recorded]:
    done: list[Recorded] = []
    heard: dict[bytes, list[Event]] = defaultdict(list)
    for number, one in enumerate(said):
        digest = one.subject.digest
        before = standings[digest]
        if number not in fresh:
            done.append(Recorded(Outcome.DUPLICATE, before, before))
            continue
        heard[digest].append(one.event)
        if one.event.retracts:
            past = [entry.event for entry in history(connection, tenant, digest)]
            standing, outcome = fold([*past, *heard[digest]])[0], Outcome.APPLIED
        else:
            standing, outcome = after(before, one.event)
        standings[digest] = standing
        done.append(Recorded(outcome, before, standing))
    return done


def _append(
    connection: Connection,
    tenant: int,
    rows: Mapping[bytes, Row[Any]],
    fresh: Mapping[int, Said],
    done: Sequence[Recorded],
) -> bool:
    """Whether the events are in the ledger now: all of them, or none if a source was known."""
    table = tables.event
    latest = select(func.max(table.c.xact)).where(
        table.c.tenant_id == tenant,
        tuple_(table.c.digest, table.c.seq).in_(
            [(digest, row.seq) for digest, row in rows.items()]
        ),
    )
    number = database.commit_number(connection, latest) if fresh else None
    place = {} if number is None else {"xact": number}
    events: list[dict[str, Any]] = []
    evidence: list[dict[str, Any]] = []
    for number, one in fresh.items():
        recorded, event = done[number], one.event
        digest, seq = one.subject.digest, recorded.standing.seq
        fingerprint = None
        if one.evidence:
            body = json.dumps(dict(one.evidence), ensure_ascii=True, sort_keys=True)
            # The salt goes when the evidence goes: what is left in the event proves
            # an evidence that somebody shows, and lets nobody guess one.
            salt = secrets.token_bytes(16)
            fingerprint = hashlib.blake2b(body.encode(), digest_size=16, key=salt).digest()
            evidence.append(
                {"digest": digest, "seq": seq, "tenant_id": tenant, "salt": salt, "body": body}
            )
        events.append(
            place
            | {
                "tenant_id": tenant,
                "digest": digest,
                "channel": one.subject.channel,
                "seq": seq,
                "kind": event.kind,
                "brand_id": event.scope.brand,
                "topic_id": event.scope.topic,
                "voice": event.voice,
                "authority": event.authority,
                "heard_at": event.heard_at,
                "said_at": event.said_at,
                "clock": event.clock,
                "saw": event.saw,
                "until": event.until,
                "basis": event.basis,
                "block": event.block,
                "door": event.door,
                "retracts": " ".join(map(str, event.retracts)),
                "outcome": recorded.outcome,
                "source": one.source,
                "source_id": one.source_id,
                "batch_id": one.batch,
                "evidence_digest": fingerprint,
            }
        )
    if len(events) == 1:
        statement = database.insert(connection, table).on_conflict_do_nothing(
            index_elements=["tenant_id", "source", "source_id"]
        )
        # Unless it is told to, SQLAlchemy closes the cursor of an INSERT before it counts, and
        # psycopg then says -1: a duplicate would pass for a new event.
        told = {"preserve_rowcount": True}
        if connection.execute(statement, events[0], execution_options=told).rowcount == 0:
            return False
    elif events:
        try:
            with connection.begin_nested():
                connection.execute(table.insert(), events)
        except exc.IntegrityError:
            return False
    if evidence:
        connection.execute(tables.evidence.insert(), evidence)
    return True


def _keep(
    connection: Connection,
    tenant: int,
    rows: Mapping[bytes, Row[Any]],
    fresh: Mapping[int, Said],
    done: Sequence[Recorded],
) -> None:
    changed: dict[bytes, dict[str, Any]] = {}
    for number, one in fresh.items():
        digest, recorded = one.subject.digest, done[number]
        row = rows[digest]
        values = changed.setdefault(
            digest,
            {
                "at": digest,
                "value": row.value,
                "person": row.person,
                "shared": row.shared,
                "erased_at": row.erased_at,
            },
        )
        if one.event.kind is Kind.IN and recorded.outcome is Outcome.APPLIED:
            # Whoever had their data erased and says yes anew has given it to us anew.
            values["erased_at"] = None
        if values["erased_at"] is None:
            values["value"] = values["value"] or one.subject.value
            if one.person is not None:
                values["shared"] |= values["person"] not in (None, one.person)
                values["person"] = values["person"] or one.person
        values["seq"] = recorded.standing.seq
        values["standing"] = recorded.standing.pack()
    if changed:
        table = tables.address
        connection.execute(
            update(table)
            .where(table.c.tenant_id == tenant, table.c.digest == bindparam("at"))
            .values(
                {
                    name: bindparam(name)
                    for name in ("value", "person", "shared", "erased_at", "seq", "standing")
                }
            ),
            list(changed.values()),
        )


def remember(connection: Connection, tenant: int, subjects: Iterable[Subject]) -> None:
    """Keeps the values of addresses that a link was minted for, except those erased."""
    table = tables.address
    rows = {
        s.digest: {
            "digest": s.digest,
            "tenant_id": tenant,
            "channel": s.channel,
            "value": s.value,
            "seq": 0,
            "standing": EMPTY,
        }
        for s in subjects
    }
    if not rows:
        return
    statement = database.insert(connection, table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.digest],
            set_={"value": statement.excluded.value},
            where=table.c.value.is_(None) & table.c.erased_at.is_(None),
        ),
        [rows[digest] for digest in sorted(rows)],
    )


# --- reading ---


def standing(connection: Connection, tenant: int, digest: bytes) -> Standing:
    return standings(connection, tenant, [digest]).get(digest, NOTHING)


def standings(
    connection: Connection, tenant: int, digests: Sequence[bytes]
) -> dict[bytes, Standing]:
    """The standings of those addresses that have one: one query for up to 10,000."""
    table = tables.address
    found = connection.execute(
        select(table.c.digest, table.c.standing).where(
            table.c.tenant_id == tenant, table.c.digest.in_(digests)
        )
    )
    return {bytes(digest): unpacked(text) for digest, text in found}


def unpacked(text: str | None) -> Standing:
    """The standing that was stored, ``NOTHING`` where nobody has said anything."""
    return NOTHING if text is None or text == EMPTY else Standing.unpack(text)


def value(connection: Connection, tenant: int, digest: bytes) -> str | None:
    """The spelling of an address, None if it is erased or never was known."""
    table = tables.address
    return connection.scalar(
        select(table.c.value).where(table.c.tenant_id == tenant, table.c.digest == digest)
    )


def suppressed(
    standing: Standing, topics: Iterable[Topic], channel: Channel, now: Millis
) -> Decision | None:
    """Why none of the marketing ``topics`` may be sent, if somebody said so; else None.

    Having no consent is nothing that was said, and puts nobody on a suppression list.
    """
    if standing is NOTHING:
        return None
    decisions = [
        may_send(Message(topic, channel), standing, now)
        for topic in topics
        if topic.purpose is Purpose.MARKETING and channel in topic.offered
    ]
    if any(decision.verdict is not Verdict.DENY for decision in decisions):
        return None
    return next((decision for decision in decisions if decision.ground), None)


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
    return [Known(bytes(digest), text, unpacked(packed)) for digest, text, packed in found]


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
        Kind(row.kind),
        row.heard_at,
        Scope(row.brand_id, row.topic_id),
        Voice(row.voice) if row.voice else None,
        Authority(row.authority),
        row.said_at,
        row.clock,
        row.saw,
        row.until,
        row.basis,
        Block(row.block) if row.block else None,
        row.door,
        tuple(map(int, row.retracts.split())),
    )


def here(connection: Connection, tenant: int) -> Cursor:
    """The place up to which this transaction has seen everything."""
    horizon = database.committed_before_all_running(connection)
    if horizon is not None:
        return Cursor(horizon, 0)
    table = tables.event
    newest = select(table.c.position).where(table.c.tenant_id == tenant)
    return Cursor(0, connection.scalar(newest.order_by(table.c.position.desc()).limit(1)) or 0)


def changes(connection: Connection, tenant: int, since: Cursor, limit: int = 1000) -> list[Change]:
    """What was recorded after ``since``, in the order of commit; nothing is ever skipped."""
    table, address = tables.event, tables.address
    order = (table.c.xact, table.c.position)
    query = (
        select(table, address.c.value)
        .join(address, address.c.digest == table.c.digest)
        .where(table.c.tenant_id == tenant, tuple_(*order) > tuple_(*since))
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


class Difference(NamedTuple):
    """An address whose standing is not what its events amount to.

    ``stored`` is None where it cannot be read, or where the whole row is gone.
    """

    digest: bytes
    stored: Standing | None
    folded: Standing


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
