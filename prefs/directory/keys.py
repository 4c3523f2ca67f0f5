"""API keys: shown once, kept as hashes, ended and never lengthened."""

import hashlib
import secrets

from sqlalchemy import Connection, update

from prefs import tables
from prefs.directory.changing import changed
from prefs.directory.holding import BadEntry, Key
from prefs.policy import Millis

SCOPES = ("check", "record", "override", "links", "import", "export", "admin")
"""What an API key may do. ``admin`` manages topics, senders and keys, and nothing else."""


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
    changed(connection)
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
    changed(connection)


def rotate_key(connection: Connection, key: Key, now: Millis, grace: Millis) -> tuple[Key, str]:
    """Makes a key with the same name and scopes; the old one goes on for ``grace``."""
    made = add_key(connection, key.tenant_id, key.name, key.scopes, now)
    end_key(connection, key, now + grace)
    return made
