"""What Telnyx's JSON holds, whose every part may be missing."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from prefs.address import BadAddress
from prefs.policy import Millis


def told(body: bytes) -> tuple[str, Any, str]:
    """A webhook's event, the message it is about, and when it happened. Raises ``BadAddress``."""
    data = get(parsed(body), "data")
    event = string(data, "event_type")
    if not event:
        # Version 1 has other names, and what we cannot read we must not acknowledge.
        raise BadAddress("set the messaging profile's webhook API version to 2", "data")
    return event, get(data, "payload"), string(data, "occurred_at")


def parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def get(holder: Any, name: str) -> Any:
    return holder.get(name) if isinstance(holder, dict) else None


def string(holder: Any, *path: str) -> str:
    for name in path:
        holder = get(holder, name)
    # Half of an emoji, where somebody cut a text in two, is no character that can be kept.
    return holder.encode(errors="replace").decode() if isinstance(holder, str) else ""


def entries(holder: Any, name: str) -> Iterator[Any]:
    found = get(holder, name)
    yield from found if isinstance(found, list) else ()


def time(text: str) -> Millis | None:
    try:
        read = datetime.fromisoformat(text)
    except ValueError:
        return None
    return round((read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp() * 1000)
