"""What a worker holds of tenants and what they own, and how it stays true."""

import hashlib
import hmac
import json
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, select

from prefs import tables
from prefs.address import Address, Channel, digest_key
from prefs.database import Database, Unavailable
from prefs.keywords import Says
from prefs.look import Look
from prefs.policy import ALL, Millis, Mode, Purpose, Scope, Topic
from prefs.settings import write_private

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


Texts = Mapping[str, Mapping[str, str]]
"""What is said in other languages: ``{"de": {"name": "…"}}``."""


@dataclass(frozen=True, slots=True)
class Brand:
    """In whose name a message is sent. ``language`` is its tenant's, in which ``name`` is said;
    ``texts`` are its ``name``, and what it says ``about`` itself, by language."""

    id: int
    slug: str
    name: str
    contact: str
    postal_address: str = ""
    mail_from: str = ""
    look: Look = Look()  # noqa: RUF009  (frozen)
    texts: Texts = field(default_factory=dict)
    language: str = "en"

    def named(self, language: str) -> str:
        return _said(self.texts, language, "name") or self.name

    def reply(self, which: str, language: str) -> str:
        """Its own words for an answer to a text (``stop_reply``), empty where it has none."""
        return _said(self.texts, language, which)

    def about(self, language: str) -> str:
        return _said(self.texts, language, "about") or _said(self.texts, self.language, "about")


def titled(topic: Topic, language: str) -> str:
    """What a topic is called in a language, or else by its tenant."""
    return _said(topic.texts, language, "title") or topic.title


def described(topic: Topic, language: str) -> str:
    return _said(topic.texts, language, "description") or topic.description


def _said(texts: Texts, language: str, name: str) -> str:
    """A text in a language, or in the nearest to it that there is: ``pt-BR`` for ``pt``."""
    first = language.split("-")[0]
    near = (code for code in texts if code.startswith(f"{first}-"))
    return next(
        (t for code in (language, first, *near) if (t := texts.get(code, {}).get(name))), ""
    )


@dataclass(frozen=True, slots=True)
class Sender:
    """A number, short code or service that sends for a brand and hears what people answer.

    ``purpose`` is what it sends: ``marketing``, ``transactional`` or ``both``. ``scope`` is what a
    STOP to it leaves. ``clarifies`` says whether our confirmation offers to keep some programmes.
    """

    id: int
    brand_id: int
    provider: str
    account: str
    identity: str
    kind: str
    purpose: str = "both"
    scope: Scope = ALL
    clarifies: bool = False

    @property
    def leaves(self) -> str:
        """What a STOP to it leaves, in a word: ``all``, its ``brand`` or its ``topic``."""
        if self.scope.topic is not None:
            return "topic"
        return "all" if self.scope.brand is None else "brand"


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
    language: str
    digest_key: bytes = field(repr=False)
    brands: Mapping[str, Brand]
    topics: Mapping[str, Topic]
    senders: tuple[Sender, ...]
    removed_senders: tuple[Sender, ...] = ()
    words: Mapping[str, Says] = field(default_factory=dict)

    @property
    def hearing(self) -> tuple[Sender, ...]:
        """Every sender that people may answer to, those that send no more among them."""
        return (*self.senders, *self.removed_senders)

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
        if scope.topic is not None:
            return f"topic {topic.slug}" if topic else "a topic that is gone"
        if scope.brand is not None:
            return f"brand {brand.slug}" if brand else "a brand that is gone"
        return "all"

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


def sample_of(master: bytes) -> bytes:
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
            row.get("language", "en"),
            digest_key(master, row["id"]),
            {b["slug"]: _brand(b, row.get("language", "en")) for b in mine["brand"]},
            {t["slug"]: _topic(t) for t in mine["topic"]},
            tuple(_sender(s) for s in mine["sender"] if s.get("removed_at") is None),
            tuple(_sender(s) for s in mine["sender"] if s.get("removed_at") is not None),
            _words(row.get("words", "{}")),
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


# A snapshot of an older release has no column of this one's: what it lacks is the default.


def _brand(row: Mapping[str, Any], language: str) -> Brand:
    return Brand(
        row["id"],
        row["slug"],
        row["name"],
        row["contact"],
        row.get("postal_address", ""),
        row.get("mail_from", ""),
        Look.kept(json.loads(row.get("look", "{}"))),
        json.loads(row.get("texts", "{}")),
        language,
    )


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
        tuple(json.loads(row.get("at_most", "[]"))),
        json.loads(row.get("texts", "{}")),
    )


def _sender(row: Mapping[str, Any]) -> Sender:
    scopes = {
        "brand": Scope(row["brand_id"]),
        "topic": Scope(row["brand_id"], row.get("topic_id")),
    }
    purpose = row.get("purpose", "both")
    return Sender(
        row["id"],
        row["brand_id"],
        row["provider"],
        row["account"],
        row["identity"],
        row["kind"],
        purpose,
        # FCC 24-24: a STOP in direct reply to an informational text ends all the others.
        ALL if purpose == "transactional" else scopes.get(row.get("leaves", "all"), ALL),
        bool(row.get("clarifies", False)),
    )


def brand_now(connection: Connection, tenant: Tenant, slug: str) -> Brand:
    """A brand as this transaction has it, and nobody else changes it meanwhile. ``Unknown``."""
    return _brand(_row(connection, tables.brand, tenant, slug), tenant.language)


def topic_now(connection: Connection, tenant: Tenant, slug: str) -> Topic:
    """A topic as this transaction has it, and nobody else changes it meanwhile. ``Unknown``."""
    return _topic(_row(connection, tables.topic, tenant, slug))


NO_SENDER = "there is no such sender; `prefs sender list` shows those there are"


def sender_now(connection: Connection, tenant: Tenant, sender_id: int) -> Sender:
    """A sender as this transaction has it, and nobody else changes it meanwhile. ``Unknown``."""
    table = tables.sender
    mine = (table.c.tenant_id == tenant.id) & (table.c.id == sender_id)
    mine &= table.c.removed_at.is_(None)
    found = connection.execute(select(table).where(mine).with_for_update()).mappings().first()
    if found is None:
        raise Unknown("sender", NO_SENDER)
    return _sender(dict(found))


def tenant_now(connection: Connection, tenant: Tenant) -> Tenant:
    """A tenant with its own settings as this transaction has them, and nobody else changes them
    meanwhile. What it owns is as it was."""
    table = tables.tenant
    mine = select(table).where(table.c.id == tenant.id).with_for_update()
    row = connection.execute(mine).mappings().one()
    return replace(
        tenant,
        name=row["name"],
        confirming_ends_complaint=bool(row["confirming_ends_complaint"]),
        language=row["language"],
        words=_words(row["words"]),
    )


def _words(text: str) -> Mapping[str, Says]:
    return {word: Says(says) for word, says in json.loads(text).items()}


def _row(connection: Connection, table: Table, tenant: Tenant, slug: str) -> Mapping[str, Any]:
    mine = (table.c.tenant_id == tenant.id) & (table.c.slug == slug)
    found = connection.execute(select(table).where(mine).with_for_update()).mappings().first()
    if found is None:
        raise Unknown(table.name, f"there is no such {table.name}")
    return dict(found)


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
                if rows["sample"] == sample_of(master).hex():
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
            revision, sample = found or (0, sample_of(self._master))
            if revision == self.latest.revision:
                return False
            if sample != sample_of(self._master):
                # Only a start without a database comes here: `prepare` compares it otherwise.
                raise Unavailable("PREFS_DIGEST_KEY is not the secret of this database")
            rows = {
                table.name: [
                    dict(row._mapping)
                    for row in connection.execute(
                        # PostgreSQL tells a changed row last otherwise, and lists would jump.
                        select(table).order_by(table.c.created_at, table.c.id)
                    )
                ]
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
