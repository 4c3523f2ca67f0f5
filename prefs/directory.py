"""Tenants and what they own: brands, topics, senders, API keys.

A worker holds all of it in memory (``CurrentDirectory``), so that a transactional check
needs no database, and keeps the last copy in a file for a start without one. A miss reads
the database; everything else, revocations included, is known within seconds.
"""

import hashlib
import hmac
import json
import re
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, exc, select, update

from prefs import tables
from prefs.address import Address, BadAddress, Channel, digest_key
from prefs.database import Database, Unavailable, insert
from prefs.policy import Millis, Mode, Purpose, Scope, Topic
from prefs.settings import BadSetting, write_private

SCOPES = ("check", "record", "override", "links", "import", "export", "admin")
"""What an API key may do. ``admin`` manages topics, senders and keys, and nothing else."""

PROVIDERS = ("twilio",)
KINDS = ("long_code", "toll_free", "short_code", "messaging_service", "advanced_opt_out")
"""What kind of sender a number or service is; it decides who answers a STOP."""

POLL_SECONDS = 2.0
SLOW_SECONDS = 0.5
AFTER_SLOW_SECONDS = 1.0
"""After a failure that took longer than the first, the database is left alone for the second."""


class BadEntry(ValueError):
    """An entry that cannot be made or found as asked. ``field`` names what to change."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


class Taken(BadEntry):
    """The name belongs to another entry already."""


class Unknown(BadEntry):
    """The tenant has nothing of that name."""


@dataclass(frozen=True, slots=True)
class Brand:
    id: int
    slug: str
    name: str
    contact: str


@dataclass(frozen=True, slots=True)
class Sender:
    id: int
    brand_id: int
    provider: str
    account: str
    identity: str
    kind: str


@dataclass(frozen=True, slots=True)
class Key:
    """An API key as it is kept: the hash of 32 random bytes, which no dictionary holds."""

    id: str
    tenant_id: int
    name: str
    hash: bytes = field(repr=False)
    scopes: frozenset[str]
    created_at: Millis
    ends_at: Millis | None

    def opens(self, secret: str, now: Millis) -> bool:
        if self.ends_at is not None and self.ends_at <= now:
            return False
        return hmac.compare_digest(hashlib.sha256(secret.encode()).digest(), self.hash)


@dataclass(frozen=True, slots=True)
class Tenant:
    id: int
    slug: str
    name: str
    confirming_ends_complaint: bool
    digest_key: bytes = field(repr=False)
    brands: Mapping[str, Brand]
    topics: Mapping[str, Topic]
    senders: tuple[Sender, ...]

    def digest(self, address: Address) -> bytes:
        return address.digest(self.digest_key)

    def fingerprint(self, text: str) -> str:
        """A caller's own id as it may be kept for ever: somebody may have put an address there."""
        return hashlib.blake2b(text.encode(), digest_size=16, key=self.digest_key).hexdigest()

    def topic(self, slug: str) -> Topic:
        if found := self.topics.get(slug):
            return found
        raise Unknown("topic", "there is no such topic")

    def brand(self, slug: str) -> Brand:
        if found := self.brands.get(slug):
            return found
        raise Unknown("brand", "there is no such brand")

    def brand_of(self, scope: Scope) -> Brand | None:
        return next((b for b in self.brands.values() if b.id == scope.brand), None)

    def topic_of(self, scope: Scope) -> Topic | None:
        return next((t for t in self.topics.values() if t.scope == scope), None)

    def told(self, scope: Scope) -> str:
        """The scope in words, for people and files."""
        brand, topic = self.brand_of(scope), self.topic_of(scope)
        return f"topic {topic.slug}" if topic else f"brand {brand.slug}" if brand else "all"

    def leavable(self, *, topic: str | None = None, brand: str | None = None) -> Scope:
        """The scope that a link may leave. Raises ``Unknown``, or ``BadEntry`` for a topic that
        always passes: its page would promise what does not happen."""
        if topic is not None and self.topic(topic).purpose is Purpose.TRANSACTIONAL:
            raise BadEntry("topic", "a transactional topic always passes; name a marketing topic")
        return self.scope(topic=topic, brand=brand)

    def whole(self, scope: Scope) -> Scope | None:
        """The scope of a link, which names a topic alone, with its brand; None if it is gone."""
        if scope.topic is not None:
            return next((t.scope for t in self.topics.values() if t.scope[1] == scope.topic), None)
        return scope if scope.brand is None or self.brand_of(scope) else None

    def scope(self, *, topic: str | None = None, brand: str | None = None) -> Scope:
        """The scope that a topic's or a brand's slug names, all marketing where neither does.

        Raises ``Unknown``: a word about a topic never becomes a word about everything.
        """
        if topic is not None:
            found = self.topic(topic)
            if brand is not None and self.brand(brand).id != found.scope.brand:
                raise Unknown("brand", "the topic belongs to another brand; leave the brand out")
            return found.scope
        return Scope(self.brand(brand).id) if brand is not None else Scope()


@dataclass(frozen=True, slots=True)
class Directory:
    """Everything but people, as of ``revision``."""

    revision: int
    tenants: Mapping[int, Tenant]
    slugs: Mapping[str, int]
    keys: Mapping[str, Key]

    def tenant(self, slug: str) -> Tenant | None:
        return self.tenants.get(self.slugs.get(slug, 0))


NOBODY = Directory(0, {}, {}, {})


# --- reading ---

_TABLES = (tables.tenant, tables.brand, tables.topic, tables.sender, tables.api_key)


def _sample(master: bytes) -> bytes:
    return Address(Channel.EMAIL, "sample@example.org").digest(digest_key(master, 0))


def _assembled(rows: Mapping[str, Any], master: bytes) -> Directory:
    tenants: dict[int, Tenant] = {}
    for row in rows["tenant"]:
        mine = {
            name: [entry for entry in rows[name] if entry["tenant_id"] == row["id"]]
            for name in ("brand", "topic", "sender")
        }
        tenants[row["id"]] = Tenant(
            row["id"],
            row["slug"],
            row["name"],
            bool(row["confirming_ends_complaint"]),
            digest_key(master, row["id"]),
            {b["slug"]: Brand(b["id"], b["slug"], b["name"], b["contact"]) for b in mine["brand"]},
            {t["slug"]: _topic(t) for t in mine["topic"]},
            tuple(
                Sender(
                    s["id"], s["brand_id"], s["provider"], s["account"], s["identity"], s["kind"]
                )
                for s in mine["sender"]
            ),
        )
    keys = {
        k["id"]: Key(
            k["id"],
            k["tenant_id"],
            k["name"],
            bytes.fromhex(k["hash"]),
            frozenset(k["scopes"].split()),
            k["created_at"],
            k["ends_at"],
        )
        for k in rows["api_key"]
    }
    return Directory(rows["revision"], tenants, {t.slug: t.id for t in tenants.values()}, keys)


def _topic(row: Mapping[str, Any]) -> Topic:
    return Topic(
        Scope(row["brand_id"], row["id"]),
        row["slug"],
        row["title"],
        row["description"],
        Purpose(row["purpose"]),
        # A channel of a newer release is none that this one may send on.
        {
            Channel(channel): Mode(mode)
            for channel, mode in json.loads(row["offered"]).items()
            if channel in set(Channel)
        },
    )


Found = TypeVar("Found")


class CurrentDirectory:
    """The directory as this process knows it, kept fresh by ``watch``."""

    def __init__(self, database: Database, master: bytes, snapshot: Path) -> None:
        self._database = database
        self._master = master
        self._snapshot = snapshot
        self._lock = threading.Lock()
        self._not_before = 0.0
        self.latest = NOBODY
        try:
            self.refresh()
        except Unavailable:
            with suppress(OSError, ValueError, KeyError, TypeError):
                rows = json.loads(snapshot.read_bytes())
                # One made with another secret is no use: everybody's digest is another.
                if rows["sample"] == _sample(master).hex():
                    self.latest = _assembled(rows, master)

    def find(self, look: Callable[[Directory], Found | None]) -> Found | None:
        """What ``look`` finds in memory, or else in the database. Raises ``Unavailable``."""
        found = look(self.latest)
        if found is None:
            # Looked at again though nothing is new: another thread may just have read it.
            self.refresh()
            found = look(self.latest)
        return found

    def refresh(self) -> bool:
        """Reads the database again if anything changed. Raises ``Unavailable``."""
        with self._lock:
            # While a database does not even refuse, requests with unknown keys would wait here
            # one after another, each for its own attempt, and hold the threads that
            # transactional needs.
            began = time.monotonic()
            if began < self._not_before:
                raise Unavailable("the database did not answer a moment ago")
            try:
                return self._read()
            except Unavailable:
                if time.monotonic() - began > SLOW_SECONDS:
                    self._not_before = time.monotonic() + AFTER_SLOW_SECONDS
                raise

    def _read(self) -> bool:
        with self._database.reading() as connection:
            table = tables.installation
            found = connection.execute(select(table.c.revision, table.c.digest_sample)).first()
            revision, sample = found or (0, _sample(self._master))
            if revision == self.latest.revision:
                return False
            if sample != _sample(self._master):
                # Only a start without a database comes here: `prepare` compares it otherwise.
                raise Unavailable("PREFS_DIGEST_KEY is not the secret of this database")
            rows = {
                table.name: [dict(row._mapping) for row in connection.execute(select(table))]
                for table in _TABLES
            }
            for key in rows["api_key"]:
                key["hash"] = key["hash"].hex()
            self._keep({"revision": revision, "sample": sample.hex(), **rows})
            return True

    def _keep(self, rows: Mapping[str, Any]) -> None:
        self.latest = _assembled(rows, self._master)
        # A full disk must not stop a change that is in the database already.
        with suppress(OSError):
            write_private(self._snapshot, json.dumps(rows))

    def watch(self) -> None:
        """Keeps the directory fresh from a thread of its own, until the process ends."""
        threading.Thread(target=self._watch, name="directory", daemon=True).start()

    def _watch(self) -> None:
        while True:
            time.sleep(POLL_SECONDS)
            # Whatever goes wrong, this thread goes on: a revocation must be heard of.
            with suppress(Exception):
                self.refresh()


# --- writing ---


def is_marked(connection: Connection) -> bool:
    """Whether the database has belonged to an installation before."""
    return connection.execute(select(tables.installation.c.id)).first() is not None


def is_prepared(connection: Connection, master: bytes) -> bool:
    """Whether the installation is marked with this digest secret; False if with none yet.

    Raises ``BadSetting`` if it is another one: every address would look unknown, and every
    no would be lost.
    """
    marked = connection.scalar(select(tables.installation.c.digest_sample))
    if marked is not None and marked != _sample(master):
        raise BadSetting(
            "PREFS_DIGEST_KEY is not the secret that this database was made with: restore that one"
        )
    return marked is not None


def prepare(connection: Connection, master: bytes) -> None:
    """Marks a new installation with its digest secret. Raises ``BadSetting``."""
    table = tables.installation
    # Several workers may start at once.
    connection.execute(
        insert(connection, table)
        .values(id=1, revision=1, digest_sample=_sample(master))
        .on_conflict_do_nothing()
    )
    is_prepared(connection, master)


_SLUG = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,62}[a-z0-9])?")


def _slug(text: str) -> str:
    if not _SLUG.fullmatch(text):
        raise BadEntry("slug", "a slug is 1 to 64 lower-case letters, digits and hyphens")
    return text


def _add(connection: Connection, table: Table, field: str, **values: Any) -> int:
    try:
        with connection.begin_nested():
            made = connection.execute(table.insert().values(**values))
    except exc.IntegrityError:
        raise Taken(field, f"there is a {table.name} of that name already") from None
    _changed(connection)
    assert made.inserted_primary_key
    return int(made.inserted_primary_key[0])


def _changed(connection: Connection) -> None:
    table = tables.installation
    connection.execute(update(table).values(revision=table.c.revision + 1))


def add_tenant(connection: Connection, slug: str, name: str, now: Millis) -> int:
    """Makes a tenant and returns its id. Raises ``BadEntry``, ``Taken``."""
    return _add(connection, tables.tenant, "slug", slug=_slug(slug), name=name, created_at=now)


def change_tenant(
    connection: Connection,
    tenant: Tenant,
    *,
    name: str | None = None,
    confirming_ends_complaint: bool | None = None,
) -> None:
    given = _given(name=name, confirming_ends_complaint=confirming_ends_complaint)
    table = tables.tenant
    if given:
        connection.execute(update(table).where(table.c.id == tenant.id).values(given))
    _changed(connection)


def _given(**values: Any) -> dict[str, Any]:
    """What is to be changed, and nothing that another change may just have set."""
    return {name: value for name, value in values.items() if value is not None}


def add_brand(
    connection: Connection, tenant_id: int, slug: str, name: str, contact: str, now: Millis
) -> int:
    """Makes a brand; ``contact`` is what HELP answers with. Raises ``BadEntry``, ``Taken``."""
    values = {"slug": _slug(slug), "name": name, "contact": contact, "created_at": now}
    return _add(connection, tables.brand, "slug", tenant_id=tenant_id, **values)


def change_brand(
    connection: Connection,
    tenant: Tenant,
    slug: str,
    *,
    name: str | None = None,
    contact: str | None = None,
) -> None:
    """Changes what people see of a brand. Raises ``Unknown``."""
    table, given = tables.brand, _given(name=name, contact=contact)
    mine = (table.c.tenant_id == tenant.id) & (table.c.id == tenant.brand(slug).id)
    if given:
        connection.execute(update(table).where(mine).values(given))
    _changed(connection)


def add_topic(
    connection: Connection,
    tenant_id: int,
    brand_id: int,
    slug: str,
    title: str,
    description: str,
    purpose: Purpose,
    offered: Mapping[Channel, Mode],
    now: Millis,
) -> int:
    """Makes a topic. Its purpose never changes. Raises ``BadEntry``, ``Taken``."""
    return _add(
        connection,
        tables.topic,
        "slug",
        tenant_id=tenant_id,
        brand_id=brand_id,
        slug=_slug(slug),
        title=title,
        description=description,
        purpose=purpose,
        offered=_offered(offered),
        created_at=now,
    )


def _offered(offered: Mapping[Channel, Mode]) -> str:
    if not offered:
        raise BadEntry("channels", "name at least one channel that the topic goes out on")
    return json.dumps({str(channel): str(mode) for channel, mode in offered.items()})


def change_topic(
    connection: Connection,
    tenant: Tenant,
    slug: str,
    *,
    title: str | None = None,
    description: str | None = None,
    offered: Mapping[Channel, Mode] | None = None,
) -> None:
    """Changes what a topic is called and where it goes out. Raises ``Unknown``, ``BadEntry``."""
    topic = tenant.topic(slug)
    given = _given(
        title=title,
        description=description,
        offered=None if offered is None else _offered(offered),
    )
    table = tables.topic
    mine = (table.c.tenant_id == tenant.id) & (table.c.id == topic.scope.topic)
    if given:
        connection.execute(update(table).where(mine).values(given))
    _changed(connection)


def default_mode(channel: Channel) -> Mode:
    """The consent model of marketing where the tenant names none.

    Texts and push need an express yes (47 CFR 64.1200 for texts; for push, the system asks).
    """
    return Mode.OPT_OUT if channel is Channel.EMAIL else Mode.OPT_IN


def add_sender(
    connection: Connection,
    tenant_id: int,
    brand_id: int,
    provider: str,
    account: str,
    identity: str,
    kind: str,
    now: Millis,
) -> int:
    """Makes a sender: a number, short code or service. Raises ``BadEntry``, ``Taken``."""
    if provider not in PROVIDERS:
        raise BadEntry("provider", f"the provider is one of: {', '.join(PROVIDERS)}")
    if kind not in KINDS:
        raise BadEntry("kind", f"the kind is one of: {', '.join(KINDS)}")
    if kind in ("long_code", "toll_free"):
        # Inbound messages find their sender by it, so it must be spelt as the provider does.
        try:
            identity = Address.parse(Channel.SMS, identity).value
        except BadAddress as error:
            raise BadEntry("identity", str(error)) from None
    return _add(
        connection,
        tables.sender,
        "identity",
        tenant_id=tenant_id,
        brand_id=brand_id,
        provider=provider,
        account=account,
        identity=identity,
        kind=kind,
        created_at=now,
    )


def remove_sender(connection: Connection, tenant: Tenant, sender_id: int) -> None:
    if not any(s.id == sender_id for s in tenant.senders):
        raise Unknown(
            "sender", "there is no such sender; `prefs sender list` shows those there are"
        )
    table = tables.sender
    connection.execute(
        table.delete().where(table.c.tenant_id == tenant.id, table.c.id == sender_id)
    )
    _changed(connection)


def add_key(
    connection: Connection, tenant_id: int, name: str, scopes: frozenset[str], now: Millis
) -> tuple[Key, str]:
    """Makes an API key and returns it with its text, which is never to be seen again."""
    if strange := sorted(scopes - set(SCOPES)):
        raise BadEntry("scopes", f"not a scope: {strange[0]}; there are: {', '.join(SCOPES)}")
    if not scopes:
        raise BadEntry("scopes", f"name at least one of: {', '.join(SCOPES)}")
    secret = secrets.token_urlsafe(32)
    digest = hashlib.sha256(secret.encode()).digest()
    key = Key(secrets.token_hex(6), tenant_id, name, digest, scopes, now, None)
    connection.execute(
        tables.api_key.insert().values(
            id=key.id,
            tenant_id=tenant_id,
            name=name,
            hash=digest,
            scopes=" ".join(sorted(scopes)),
            created_at=now,
        )
    )
    _changed(connection)
    return key, f"prefs_{key.id}_{secret}"


def end_key(connection: Connection, key: Key, at: Millis) -> None:
    """Ends a key at a time: now is a revocation, later is the grace of a rotation.

    An end never moves to later: a revoked key stays revoked.
    """
    table = tables.api_key
    connection.execute(
        update(table)
        .where(
            table.c.tenant_id == key.tenant_id,
            table.c.id == key.id,
            # As the database has it: `key` may be older than another worker's revocation.
            table.c.ends_at.is_(None) | (table.c.ends_at > at),
        )
        .values(ends_at=at)
    )
    _changed(connection)


def rotate_key(connection: Connection, key: Key, now: Millis, grace: Millis) -> tuple[Key, str]:
    """Makes a key with the same name and scopes; the old one goes on for ``grace``."""
    made = add_key(connection, key.tenant_id, key.name, key.scopes, now)
    end_key(connection, key, now + grace)
    return made
