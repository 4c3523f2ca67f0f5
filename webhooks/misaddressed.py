"""Requests that a tenant's own account signed, for another URL than ours: told to the operator.

They are refused like all that are not signed for us. Only what a token of the account has signed
is kept, so no stranger fills the file.
"""

import json
import logging
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from prefs.policy import Millis
from prefs.settings import write_private
from webhooks.call import Misaddressed

QUIET: Millis = 60_000
"""An account is told of so often at the most."""

log = logging.getLogger("prefs.webhooks")
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class Seen:
    """The last one of an account. The URLs are without a query, which may hold a number."""

    signed: str
    configured: str
    at: Millis


def tell(data: Path, provider: str, slug: str, request: Misaddressed, now: Millis) -> None:
    """Says in the log what was signed and what is configured, and keeps it for the doctor."""
    name = _name(provider, slug, request.account)
    with _one_at_a_time:
        kept = _kept(data)
        before = kept.get(name)
        if before and 0 <= now - before.at < QUIET:
            return
        kept = {**kept, name: Seen(request.signed, request.configured, now)}
        text = json.dumps({name: asdict(seen) for name, seen in kept.items()}, indent=2)
        write_private(_file(data), f"{text}\n")
    log.warning(
        "%s: %s signed %s, and here that is %s: it was refused, as all of them are until one of "
        "the two is changed (`prefs %s doctor`)",
        provider,
        request.account,
        request.signed,
        request.configured,
        provider,
    )


def last(data: Path, provider: str, slug: str, account: str) -> Seen | None:
    """The last one that an account signed for another URL of a tenant's."""
    return _kept(data).get(_name(provider, slug, account))


def _file(data: Path) -> Path:
    return data / "misaddressed.json"


def _name(provider: str, slug: str, account: str) -> str:
    return f"{provider} {slug} {account}"


def _kept(data: Path) -> Mapping[str, Seen]:
    with suppress(OSError, ValueError, TypeError, AttributeError):
        rows = json.loads(_file(data).read_text())
        return {name: Seen(**row) for name, row in rows.items()}
    return {}
