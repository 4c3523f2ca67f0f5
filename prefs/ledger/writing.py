"""Events in, and the standing that they amount to, in one transaction."""

import hashlib
import json
import secrets
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    Row,
    Table,
    bindparam,
    exc,
    func,
    select,
    tuple_,
    update,
)

from prefs import database, tables
from prefs.ledger.reading import history, standing_of
from prefs.ledger.words import (
    EMPTY,
    Recorded,
    Said,
    Subject,
)
from prefs.policy import (
    OF_THE_PERSON,
    Event,
    Kind,
    Outcome,
    Standing,
    after,
    fold,
)


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
    standings = {
        digest: standing_of(connection, tenant, digest, row.standing)
        for digest, row in rows.items()
    }
    done = _folded(connection, tenant, said, fresh, standings)
    if not _append(connection, tenant, rows, fresh, done):
        if len(said) > 1:
            # Somebody recorded one of these at this very moment: which one, the database says.
            return [record(connection, tenant, one) for one in said]
        return [Recorded(Outcome.DUPLICATE, done[0].before, done[0].before)]
    _keep(connection, tenant, rows, fresh, done)
    for number, one in fresh.items():
        if rows[one.subject.digest].replaced_by is not None and _is_no(one.event):
            new = Subject(one.subject.channel, bytes(rows[one.subject.digest].replaced_by))
            # What its author had seen was the old token's: it may make nothing looser at the new.
            event = replace(one.event, saw=None)
            record(connection, tenant, carried(event, one.subject, done[number].seq, new))
    return done


def _is_no(event: Event) -> bool:
    is_about_them = event.kind is Kind.BLOCK and event.block in OF_THE_PERSON
    is_a_limit = event.kind is Kind.LIMIT and bool(event.per_week)
    return event.kind in (Kind.OUT, Kind.SNOOZE) or is_a_limit or is_about_them


def carried(event: Event, old: Subject, seq: int, new: Subject) -> Said:
    """What was said to an old push token as its number ``seq``, said to the new one, once.

    Its evidence stays where it was said, so that erasing it there erases it.
    """
    return Said(new, event, "device", f"{old.digest.hex()}.{seq}.{new.digest.hex()}")


def replace_token(connection: Connection, tenant: int, old: Subject, new: Subject) -> None:
    """From now on ``new`` hears every no that reaches ``old``, or a token before it."""
    table = tables.address
    mine = table.c.tenant_id == tenant
    before = (table.c.digest == old.digest) | (table.c.replaced_by == old.digest)
    connection.execute(update(table).where(mine, before).values(replaced_by=new.digest))
    connection.execute(
        update(table).where(mine, table.c.digest == new.digest).values(replaced_by=None)
    )


def lock(connection: Connection, tenant: int, subjects: Iterable[Subject]) -> dict[bytes, Row[Any]]:
    """The rows of all the addresses, made where there was none, and locked until the end.

    Always in the order of their digests, so that two writers never wait for each other.
    """
    table = tables.address
    wanted = {subject.digest: subject for subject in subjects}
    digests = sorted(wanted)
    connection.execute(
        database.insert(connection, table).on_conflict_do_nothing(),
        [_blank(tenant, wanted[digest]) for digest in digests],
    )
    found = connection.execute(
        select(table)
        .where(table.c.tenant_id == tenant, table.c.digest.in_(digests))
        .order_by(table.c.digest)
        .with_for_update()
    )
    return {bytes(row.digest): row for row in found}


def _blank(tenant: int, subject: Subject) -> dict[str, Any]:
    """The row of an address that nobody has said anything about."""
    return {
        "digest": subject.digest,
        "tenant_id": tenant,
        "channel": subject.channel,
        "value": subject.value,
        "language": subject.language,
        "seq": 0,
        "standing": EMPTY,
    }


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
    for at, one in fresh.items():
        row = place | _event_row(tenant, one, done[at])
        if one.evidence:
            kept = _evidence_row(tenant, one, row["seq"])
            row["evidence_digest"] = _fingerprint(kept)
            evidence.append(kept)
        events.append(row)
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


def _event_row(tenant: int, one: Said, recorded: Recorded) -> dict[str, Any]:
    event = one.event
    return {
        "tenant_id": tenant,
        "digest": one.subject.digest,
        "channel": one.subject.channel,
        "seq": recorded.standing.seq,
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
        "per_week": event.per_week,
        "door": event.door,
        "rule": event.rule,
        "to_transactional": event.to_transactional,
        "ours_alone": event.ours_alone,
        "retracts": " ".join(map(str, event.retracts)),
        "outcome": recorded.outcome,
        "source": one.source,
        "source_id": one.source_id,
        "batch_id": one.batch,
        "evidence_digest": None,
    }


def _evidence_row(tenant: int, one: Said, seq: int) -> dict[str, Any]:
    return {
        "digest": one.subject.digest,
        "seq": seq,
        "tenant_id": tenant,
        "salt": secrets.token_bytes(16),
        "body": json.dumps(dict(one.evidence), ensure_ascii=True, sort_keys=True),
    }


def _fingerprint(kept: Mapping[str, Any]) -> bytes:
    """What is left in the event when the evidence, and its salt with it, is erased.

    It proves an evidence that somebody shows, and lets nobody guess one.
    """
    return hashlib.blake2b(kept["body"].encode(), digest_size=16, key=kept["salt"]).digest()


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
                "language": row.language,
                "erased_at": row.erased_at,
            },
        )
        if one.event.kind is Kind.IN and recorded.outcome is Outcome.APPLIED:
            # Whoever had their data erased and says yes anew has given it to us anew.
            values["erased_at"] = None
        if values["erased_at"] is None:
            values["value"] = values["value"] or one.subject.value
            values["language"] = one.subject.language or values["language"]
            if one.person is not None:
                values["shared"] |= values["person"] not in (None, one.person)
                values["person"] = values["person"] or one.person
        values["seq"] = recorded.standing.seq
        values["standing"] = recorded.standing.pack()
        values["in_review"] = bool(recorded.standing.unread)
    if changed:
        table = tables.address
        connection.execute(
            update(table)
            .where(table.c.tenant_id == tenant, table.c.digest == bindparam("at"))
            .values({name: bindparam(name) for name in (*_KEPT, "seq", "standing", "in_review")}),
            list(changed.values()),
        )


_KEPT = ("value", "person", "shared", "language", "erased_at")


def remember(connection: Connection, tenant: int, subjects: Iterable[Subject]) -> None:
    """Keeps the values and languages of addresses that a link was minted for, not of erased ones.

    A language that the person has chosen stays.
    """
    table = tables.address
    rows = {subject.digest: _blank(tenant, subject) for subject in subjects}
    if not rows:
        return
    statement = database.insert(connection, table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.digest],
            set_={
                "value": func.coalesce(table.c.value, statement.excluded.value),
                "language": func.coalesce(table.c.language, statement.excluded.language),
            },
            where=table.c.erased_at.is_(None) & _is_news(table, statement.excluded),
        ),
        [rows[digest] for digest in sorted(rows)],
    )


def _is_news(table: Table, new: Any) -> ColumnElement[bool]:
    """Minting for somebody known, again and again, writes no row."""
    is_new_value = table.c.value.is_(None) & new.value.is_not(None)
    news: ColumnElement[bool] = is_new_value | (
        table.c.language.is_(None) & new.language.is_not(None)
    )
    return news
