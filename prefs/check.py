"""Asking: what an item of a check asks, and the answer, for every door alike."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, NamedTuple

from prefs import ledger
from prefs.address import Address, BadAddress, Channel
from prefs.database import Database, Unavailable
from prefs.directory import Tenant
from prefs.policy import NOTHING, Decision, Message, Millis, Purpose, Standing, Topic, may_send


class Held(Exception):
    """A question that has no answer but "keep it": why, and which field to correct."""

    def __init__(self, reason: str, field: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.field = field
        self.detail = detail


class Question(NamedTuple):
    """What an item asks. No address where nothing needs to be looked up."""

    topic: Topic
    channel: Channel
    address: Address | None

    @property
    def always_passes(self) -> bool:
        return self.topic.purpose is Purpose.TRANSACTIONAL

    def decide(self, standing: Standing, now: Millis) -> Decision:
        """Raises ``Held`` if no such address can be."""
        decision = may_send(Message(*self), standing, now)
        if decision.reason == "bad_address":
            raise Held("bad_address", "address", "correct the address; none can be spelt so")
        return decision


def answer(database: Database, tenant: Tenant, item: Any, now: Millis) -> Decision:
    """The answer to one item. Raises ``Held``, ``Unavailable``; for transactional, neither."""
    return look_up(database, tenant, question(tenant, item), now)


def look_up(database: Database, tenant: Tenant, asked: Question, now: Millis) -> Decision:
    """The answer to a question. Raises ``Held``, ``Unavailable``; for transactional, neither."""
    standing = NOTHING
    if asked.address is not None:
        try:
            standing = ledger.unpacked(database.standing(tenant.id, tenant.digest(asked.address)))
        except (Unavailable, ValueError) as error:
            if not asked.always_passes:
                raise Unavailable(type(error).__name__) from None
    return asked.decide(standing, now)


_CHANNELS = {str(channel): channel for channel in Channel}
_ASKED = frozenset({"channel", "address", "topic", "region", "explain"})


def question(tenant: Tenant, item: Any) -> Question:
    """What an item asks. Raises ``Held``; for transactional, never."""
    slug, name, explain = (
        map(item.get, ("topic", "channel", "explain")) if isinstance(item, dict) else (None,) * 3
    )
    topic = tenant.topics.get(slug) if isinstance(slug, str) else None
    if topic is None or topic.purpose is not Purpose.TRANSACTIONAL:
        return _question(tenant, item)
    # Decided by its topic alone: somebody is waiting for a password, and a wrong region or a
    # strange spelling must not stop it. The address is read for the notes, if they are wanted.
    if explain is True:
        with suppress(Held):
            return _question(tenant, item)
    channel = _CHANNELS.get(name) if isinstance(name, str) else None
    return Question(topic, channel or Channel.EMAIL, None)


def _question(tenant: Tenant, item: Any) -> Question:
    if not isinstance(item, dict):
        raise Held("bad_item", "body", "send an object with channel, address and topic")
    slug, name = item.get("topic"), item.get("channel")
    if not isinstance(slug, str):
        raise Held("bad_item", "topic", "name the topic")
    topic = tenant.topics.get(slug)
    channel = _CHANNELS.get(name) if isinstance(name, str) else None
    for field in item:
        if field not in _ASKED:
            raise Held("bad_item", named(field), "there is no such field here; leave it out")
    if not isinstance(item.get("explain", False), bool):
        raise Held("bad_item", "explain", "explain is true or false")
    if not isinstance(item.get("region", ""), str):
        raise Held("bad_item", "region", "the region is two letters")
    if channel is None:
        raise Held("bad_item", "channel", f"the channel is one of: {', '.join(_CHANNELS)}")
    if topic is None:
        raise Held("unknown_topic", "topic", "there is no such topic")
    if "address" not in item:
        raise Held("bad_item", "address", "give the address")
    try:
        return Question(topic, channel, read_address(channel, item))
    except BadAddress as error:
        raise Held("bad_address", error.field, str(error)) from None


def read_address(channel: Channel, item: Mapping[str, Any]) -> Address:
    """Raises ``BadAddress``."""
    text: Any = item.get("address")
    return Address.parse(channel, text, item.get("region"))


def named(field: object) -> str:
    """A field's name as an error may repeat it: somebody may have put an address there."""
    text = str(field)
    return text if re.fullmatch(r"[A-Za-z][A-Za-z0-9_-]{0,39}|[0-9]{1,5}", text) else "(a field)"
