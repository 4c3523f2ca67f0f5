"""Finding bursts in what was said. Nothing here writes."""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from sqlalchemy import BindParameter, ColumnElement, Connection, and_, bindparam, select, tuple_

from prefs import networks, tables
from prefs.address import Address, Channel
from prefs.bursts.mailboxes import PUBLIC, PUBLIC_IN_COUNTRIES
from prefs.directory import Tenant, Unknown
from prefs.policy import (
    Authority,
    Kind,
    Millis,
    Scope,
    Voice,
    taken_back,
)

AT_LEAST = 10
"""Different addresses. A scanner presses for all of a company's staff who got the mail; fewer
colleagues than this may well leave together."""

WITHIN: Millis = 60_000
"""Scanners press within seconds of the delivery, and a campaign is delivered over minutes."""

LOOK_BACK: Millis = 7 * 24 * 3600 * 1000
"""How far back is looked where nobody says since when."""

MOST_READ = 50_000
_READ_AT_ONCE = 5_000
_ASKED_AT_ONCE = 1_000
_FOREVER: Millis = 2**62
_SLACK: Millis = 60_000
"""Who waits for a lock is heard before and numbered after others, by a few seconds."""

DOORS: Mapping[str, str] = {
    "one-click": "one click",
    "unsubscribe link": "the page's button",
    "preference page": "the preference page",
}
"""The doors that a link opens, in words."""


class UnknownBurst(Unknown):
    """There is no such burst (any more)."""

    def __init__(self) -> None:
        super().__init__("burst", "there is no such burst (any more); list them again")


class Flagged(NamedTuple):
    """One out of a burst. ``repeated``: a person has said as much again since."""

    seq: int
    scope: Scope
    heard_at: Millis
    door: str
    repeated: bool
    undone: bool


class Member(NamedTuple):
    """An address in a burst. ``address`` is None where its value is not known."""

    channel: Channel
    digest: bytes
    address: Address | None
    outs: tuple[Flagged, ...]

    @property
    def waiting(self) -> tuple[int, ...]:
        """The outs that an undo would take back."""
        return tuple(out.seq for out in self.outs if not (out.repeated or out.undone))


class Burst(NamedTuple):
    """``id`` names these very outs: it stays what it is while others are added."""

    id: str
    why: str
    started: Millis
    ended: Millis
    doors: tuple[str, ...]
    campaigns: tuple[str, ...]
    user_agents: tuple[str, ...]
    members: tuple[Member, ...]


class Found(NamedTuple):
    """``reached`` is where to go on looking, None if all was read."""

    bursts: list[Burst]
    reached: Millis | None


def find(
    connection: Connection, tenant: Tenant, since: Millis, until: Millis | None = None
) -> Found:
    """The bursts among the outs heard from ``since`` on and before ``until``.

    At most ``MOST_READ`` outs are read; a burst is cut where the reading begins and ends.
    """
    heard_at = tables.event.c.heard_at
    when = and_(heard_at >= since, heard_at < (_FOREVER if until is None else until))
    outs = list(islice(_link_outs(connection, tenant, when), MOST_READ + 1))
    reached = None
    if len(outs) > MOST_READ:
        reached = max(outs[-1].heard_at, since + 1)
        outs = [out for out in outs if out.heard_at < reached]
    return Found(_bursts(connection, tenant, outs), reached)


def named(connection: Connection, tenant: Tenant, burst_id: str) -> Burst:
    """The burst of that id, as it was when it was shown. Raises ``UnknownBurst``.

    Only the outs between its first and its last are looked at, so that a burst that goes on is
    found again. One that has lost somebody since, by an erasure, is not.
    """
    shown = _ID.fullmatch(burst_id)
    if not shown:
        raise UnknownBurst
    first, last = int(shown[1]), int(shown[2])
    table = tables.event
    ends = connection.scalars(
        select(table.c.heard_at).where(
            table.c.tenant_id == tenant.id, table.c.position.in_((first, last))
        )
    ).all()
    if not ends:
        raise UnknownBurst
    where = and_(
        table.c.position.between(first, last),
        table.c.heard_at.between(min(ends) - _SLACK, max(ends) + _SLACK),
    )
    outs = islice(_link_outs(connection, tenant, where), 2 * MOST_READ)
    for burst in _bursts(connection, tenant, list(outs), burst_id):
        return burst
    raise UnknownBurst


_ID = re.compile(r"([0-9]{1,18})-([0-9]{1,18})-[0-9a-f]{16}")


class _Out(NamedTuple):
    position: int
    digest: bytes
    seq: int
    heard_at: Millis
    channel: Channel
    scope: Scope
    door: str
    value: str | None
    ip: str
    user_agent: str
    campaign: str


def _link_outs(
    connection: Connection, tenant: Tenant, where: ColumnElement[bool]
) -> Iterator[_Out]:
    """The outs through links, in the order in which they were heard, page by page.

    The door's names stand in the statement itself: an index on these outs alone is not
    looked at for a name that comes as a parameter.
    """
    table, address, evidence = tables.event, tables.address, tables.evidence
    doors: BindParameter[list[str]] = bindparam(
        "doors", list(DOORS), expanding=True, literal_execute=True
    )
    out: BindParameter[str] = bindparam("out", str(Kind.OUT), literal_execute=True)
    order = (table.c.heard_at, table.c.position)
    query = (
        select(
            *(table.c.position, table.c.digest, table.c.seq, table.c.heard_at, table.c.channel),
            *(table.c.brand_id, table.c.topic_id, table.c.door, address.c.value, evidence.c.body),
        )
        .outerjoin(
            address, (address.c.tenant_id == tenant.id) & (address.c.digest == table.c.digest)
        )
        .outerjoin(
            evidence,
            (evidence.c.tenant_id == tenant.id)
            & (evidence.c.digest == table.c.digest)
            & (evidence.c.seq == table.c.seq),
        )
        .where(
            table.c.tenant_id == tenant.id,
            table.c.kind == out,
            table.c.door.in_(doors),
            where,
            # A caller of the API may name a door as it likes; a new push token's noes were
            # said to the old one.
            table.c.authority == Authority.PERSON,
            table.c.source.is_(None),
        )
        .order_by(*order)
        .limit(_READ_AT_ONCE)
    )
    beyond = (-1, 0)
    while True:
        rows = connection.execute(query.where(tuple_(*order) > tuple_(*beyond))).all()
        for row in rows:
            shown = json.loads(row.body) if row.body else {}
            yield _Out(
                row.position,
                bytes(row.digest),
                row.seq,
                row.heard_at,
                Channel(row.channel),
                Scope(row.brand_id, row.topic_id),
                row.door,
                row.value,
                *(shown.get(name, "") for name in ("ip", "user_agent", "campaign")),
            )
        if len(rows) < _READ_AT_ONCE:
            return
        beyond = (rows[-1].heard_at, rows[-1].position)


def _bursts(
    connection: Connection, tenant: Tenant, outs: Sequence[_Out], wanted: str | None = None
) -> list[Burst]:
    parts = [(_id(tenant, part), keys, part) for keys, part in _parts(outs)]
    parts = [one for one in parts if wanted in (None, one[0])]
    members = [_members(part) for _, _, part in parts]
    known = words_of(connection, tenant, {m.digest for group in members for m in group})
    return [
        _burst(name, keys, part, tuple(looked_up(m, known[m.digest]) for m in group))
        for (name, keys, part), group in zip(parts, members, strict=True)
    ]


def _id(tenant: Tenant, outs: Sequence[_Out]) -> str:
    places = sorted(out.position for out in outs)
    mark = tenant.fingerprint("burst " + " ".join(map(str, places)))
    return f"{places[0]}-{places[-1]}-{mark[:16]}"


_Key = tuple[str, str]
"""What outs have in common: a domain or a network, and which."""


def _parts(outs: Sequence[_Out]) -> list[tuple[set[_Key], list[_Out]]]:
    """The bursts, each with what its outs have in common. Those that share an out are one."""
    groups: dict[_Key, list[int]] = defaultdict(list)
    for number, out in enumerate(outs):
        for key in (_domain(out), _network(out)):
            if key:
                groups[key].append(number)
    root: dict[int, int] = {}

    def top(number: int) -> int:
        while root[number] != number:
            root[number] = number = root[root[number]]
        return number

    runs = [(key, run) for key, group in groups.items() for run in _runs(outs, group)]
    for _, run in runs:
        for number in run:
            root.setdefault(number, number)
            root[top(number)] = top(run[0])
    keys: dict[int, set[_Key]] = defaultdict(set)
    for key, run in runs:
        keys[top(run[0])].add(key)
    parts: dict[int, list[_Out]] = defaultdict(list)
    for number in sorted(root):
        parts[top(number)].append(outs[number])
    return [(keys[number], part) for number, part in parts.items()]


def _runs(outs: Sequence[_Out], group: Sequence[int]) -> Iterator[list[int]]:
    """Where so many different addresses left so quickly; windows that overlap are one run."""
    inside: Counter[bytes] = Counter()
    left, start, end = 0, 0, 0
    for right, number in enumerate(group):
        inside[outs[number].digest] += 1
        while outs[number].heard_at - outs[group[left]].heard_at > WITHIN:
            gone = outs[group[left]].digest
            inside[gone] -= 1
            if not inside[gone]:
                del inside[gone]
            left += 1
        if len(inside) >= AT_LEAST:
            if left >= end:
                if end:
                    yield list(group[start:end])
                start = left
            end = right + 1
    if end:
        yield list(group[start:end])


def _domain(out: _Out) -> _Key | None:
    if out.channel is not Channel.EMAIL or not out.value:
        return None
    domain = out.value.rpartition("@")[2]
    is_public = domain in PUBLIC or PUBLIC_IN_COUNTRIES.fullmatch(domain)
    return None if is_public else ("domain", domain)


def _network(out: _Out) -> _Key | None:
    # A mailbox provider posts the one click of all its users from few addresses (RFC 8058).
    near = None if out.door == "one-click" else networks.of(out.ip)
    return ("network", near) if near else None


def _members(outs: Sequence[_Out]) -> list[Member]:
    said: dict[bytes, list[_Out]] = defaultdict(list)
    for out in outs:
        mine = said[out.digest]
        # By another hand than the first, it may be the person's own: that no stays theirs.
        if not mine or _hand(out) == _hand(mine[0]):
            mine.append(out)
    return [
        Member(
            mine[0].channel,
            digest,
            Address(mine[0].channel, mine[0].value) if mine[0].value else None,
            tuple(Flagged(o.seq, o.scope, o.heard_at, o.door, False, False) for o in mine),
        )
        for digest, mine in said.items()
    ]


def _hand(out: _Out) -> tuple[str, _Key | str, str]:
    return out.door, networks.of(out.ip) or out.ip, out.user_agent


def _burst(name: str, keys: set[_Key], outs: Sequence[_Out], members: tuple[Member, ...]) -> Burst:
    times = [out.heard_at for out in outs]
    doors = tuple(door for door in DOORS if any(out.door == door for out in outs))
    shared = [
        f"{before} {f'one {what}' if number == 1 else f'{number} {what}s'}"
        for what, before in (("domain", "of"), ("network", "from"))
        if (number := sum(kind == what for kind, _ in keys))
    ]
    seconds = max(1, -(-(max(times) - min(times)) // 1000))
    why = (
        f"{len(members)} addresses {' and '.join(shared)} left within {seconds} "
        f"second{'s' if seconds > 1 else ''}, through {' and '.join(DOORS[d] for d in doors)}."
    )
    return Burst(
        name,
        why,
        min(times),
        max(times),
        doors,
        _most(out.campaign for out in outs),
        _most(out.user_agent[:200] for out in outs),
        members,
    )


def _most(texts: Iterable[str], limit: int = 5) -> tuple[str, ...]:
    counted = Counter(text for text in texts if text)
    return tuple(sorted(counted, key=lambda text: (-counted[text], text))[:limit])


# --- what was said besides ---


class _Word(NamedTuple):
    seq: int
    scope: Scope
    voice: str | None
    retracts: tuple[int, ...]


def words_of(
    connection: Connection, tenant: Tenant, digests: Iterable[bytes]
) -> dict[bytes, list[_Word]]:
    """The outs of these addresses, and what was taken back."""
    table = tables.event
    words: dict[bytes, list[_Word]] = defaultdict(list)
    for chunk in chunks(sorted(digests)):
        found = connection.execute(
            select(
                *(table.c.digest, table.c.seq, table.c.brand_id, table.c.topic_id),
                *(table.c.voice, table.c.retracts),
            ).where(
                table.c.tenant_id == tenant.id,
                table.c.digest.in_(chunk),
                table.c.kind.in_((Kind.OUT, Kind.RETRACT)),
            )
        )
        for row in found:
            retracts = tuple(map(int, row.retracts.split()))
            scope = Scope(row.brand_id, row.topic_id)
            words[bytes(row.digest)].append(_Word(row.seq, scope, row.voice, retracts))
    return words


def chunks(digests: Sequence[bytes]) -> Iterator[Sequence[bytes]]:
    for start in range(0, len(digests), _ASKED_AT_ONCE):
        yield digests[start : start + _ASKED_AT_ONCE]


def looked_up(member: Member, words: Sequence[_Word]) -> Member:
    """The member with what became of its outs since."""
    gone = taken_back({word.seq: word.retracts for word in words})
    flagged = {out.seq for out in member.outs}
    # The sender's own choice is no word of the person.
    later = [
        word
        for word in words
        if word.voice not in (None, Voice.SENDER) and word.seq not in gone | flagged
    ]
    return member._replace(
        outs=tuple(
            out._replace(
                undone=out.seq in gone,
                repeated=any(w.seq > out.seq and w.scope.covers(out.scope) for w in later),
            )
            for out in member.outs
        )
    )
