"""The question, and how often we ask it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile
from typing import NamedTuple

from sqlalchemy import Connection, func, select

from prefs import languages, ledger, networks, tables
from prefs.address import Address, BadAddress, Channel
from prefs.directory import BadEntry, Brand, Sender, Tenant
from prefs.ledger import Said, Subject
from prefs.links import CONFIRM_FOR
from prefs.policy import (
    NOTHING,
    Authority,
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
    after,
    may_send,
)

GO_BY = (Channel.EMAIL, Channel.SMS)
"""What we send by. On the other channels it is for the sender, or their app, to ask."""

CONFIRM = "confirm"
LINK = "link"
TAGGED = "tagged"
"""No letter: one that went to ``name+tag@``, counted for ``name@`` too."""
REPLY = "reply"
"""The answer to a text, where the provider's webhook takes none: once, and soon or never."""
UNSENT = "unsent"
"""No letter either: what a stranger asked for in vain counts for their network all the same.

Else their own next letter, and how long the answer takes, would tell what we know of somebody.
"""

SECOND: Millis = 1000
MINUTE: Millis = 60 * SECOND
HOUR: Millis = 60 * MINUTE
DAY: Millis = 24 * HOUR

SAME_AGAIN_AFTER: Millis = 10 * MINUTE
"""Whoever presses twice, or sees no letter in the first minutes, gets one letter."""

MOST_A_DAY = 3
"""Of all topics together: a form that writes to whatever address it is given can be turned on
somebody, and three letters a day are a nuisance and no bomb."""

MOST_UNANSWERED = 5
PERIOD: Millis = 30 * DAY
"""Who leaves so many questions of a period unanswered has answered: none for as long again."""

MOST_A_NETWORK_AN_HOUR = 20
"""One office or one carrier's gateway stays below it; a machine that walks a list does not."""

OPEN = tables.letter.c.answered_at.is_(None) & tables.letter.c.value.is_not(None)
"""What neither an answer nor an erasure has closed."""

KEEP_FOR: Millis = 2 * PERIOD
"""How long a row without an address is kept, for the limits above."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One letter. The scope is the topic that it asks about, or the brand in whose name it is."""

    tenant_id: int
    channel: Channel
    digest: bytes
    kind: str
    scope: Scope
    language: str
    saw: int
    asked_at: Millis
    value: str | None = field(repr=False)
    id: int = 0
    attempts: int = 0
    text: str | None = field(default=None, repr=False)
    sender_id: int | None = None

    @classmethod
    def to(
        cls,
        address: Address,
        tenant: Tenant,
        scope: Scope,
        *,
        kind: str = CONFIRM,
        language: str,
        saw: int,
        asked_at: Millis,
    ) -> "Letter":
        code = languages.of(language).code
        digest = tenant.digest(address)
        return cls(
            tenant.id, address.channel, digest, kind, scope, code, saw, asked_at, address.value
        )

    @property
    def ends_at(self) -> Millis:
        return self.asked_at + CONFIRM_FOR


class Asked(NamedTuple):
    """``asked``, or ``not_asked`` and why: ``too_many`` or ``not_for_them``.

    Never for a page: the public is told the same whatever we know of an address.
    """

    outcome: str
    reason: str | None = None
    letter: Letter | None = None


TOO_MANY = Asked("not_asked", "too_many")
NOT_FOR_THEM = Asked("not_asked", "not_for_them")


def ask(
    connection: Connection,
    tenant: Tenant,
    address: Address,
    topic: Topic,
    *,
    language: str,
    through: str,
    evidence: Mapping[str, str],
    network: str | None,
    now: Millis,
    by_sender: bool = False,
    authority: Authority = Authority.PERSON,
    person: str | None = None,
) -> Asked:
    """Asks an address whether it wants a topic, which is no word yet and lets nothing be sent.

    With ``by_sender`` the sender's own tool delivers the question. ``network`` is the IP that
    asks. ``person`` is whose address the sender says it is, which the answer alone makes true.
    Raises ``BadEntry``, ``BadAddress`` where nobody could say yes.
    """
    _must_be_askable(address, topic)
    crowd = _crowd(tenant, network)
    if _is_crowded(connection, tenant, crowd, now):
        return TOO_MANY
    subject = Subject(address.channel, tenant.digest(address))
    standing = locked(connection, tenant, subject)
    in_vain = asks_in_vain(tenant, topic, subject.channel, standing, standing.seq, now)
    if in_vain or _is_too_much(connection, tenant, address, topic.scope, now):
        _count_unsent(connection, tenant, address, topic.scope, crowd, now)
        return NOT_FOR_THEM if in_vain else TOO_MANY
    event = Event(Kind.PENDING, now, topic.scope, authority=authority, door=through)
    proof = {**evidence, **({"person": person} if person is not None else {})}
    recorded = ledger.record(connection, tenant.id, Said(subject, event, evidence=proof))
    letter = Letter.to(
        address, tenant, topic.scope, language=language, saw=recorded.seq, asked_at=now
    )
    _write_down(connection, tenant, letter, crowd, None if by_sender else now)
    return Asked("asked", None, letter)


def ask_for_link(
    connection: Connection,
    tenant: Tenant,
    address: Address,
    brand: Brand,
    *,
    language: str,
    network: str | None,
    now: Millis,
) -> Asked:
    """Sends an address the link to its own preferences, in the name of ``brand``.

    The same whether we know the address or not. Nothing is said by it, so nothing recorded.
    """
    _must_be_reachable(address)
    crowd = _crowd(tenant, network)
    if _is_crowded(connection, tenant, crowd, now):
        return TOO_MANY
    subject = Subject(address.channel, tenant.digest(address))
    standing = locked(connection, tenant, subject)
    scope = Scope(brand.id)
    in_vain = takes_no_link(address.channel, standing)
    if in_vain or _is_too_much(connection, tenant, address, scope, now):
        _count_unsent(connection, tenant, address, scope, crowd, now)
        return NOT_FOR_THEM if in_vain else TOO_MANY
    letter = Letter.to(
        address, tenant, scope, kind=LINK, language=language, saw=standing.seq, asked_at=now
    )
    _write_down(connection, tenant, letter, crowd, now)
    return Asked("asked", None, letter)


def answer(
    connection: Connection,
    tenant: Tenant,
    sender: Sender,
    to: Address,
    text: str,
    now: Millis,
    said_at: Millis | None = None,
) -> None:
    """Sends the one answer to a text from the sender that it came to. No standing stops it: the
    confirmation of a STOP goes to somebody who is out. It is soon after ``said_at``, or never."""
    scope, since = Scope(sender.brand_id), now if said_at is None else min(said_at, now)
    letter = Letter.to(to, tenant, scope, kind=REPLY, language="", saw=0, asked_at=since)
    _insert(connection, replace(letter, text=text, sender_id=sender.id), None, now)


def _must_be_askable(address: Address, topic: Topic) -> None:
    if topic.purpose is not Purpose.MARKETING:
        raise BadEntry("topic", "a transactional topic always passes; name a marketing topic")
    if address.channel not in topic.offered:
        raise BadEntry("topic", f"this topic is not offered by {address.channel}")
    _must_be_reachable(address)


def _must_be_reachable(address: Address) -> None:
    if address.channel not in GO_BY:
        raise BadEntry("channel", f"letters go by {' and '.join(GO_BY)}; ask there yourself")
    if not address.can_consent:
        raise BadAddress("a yes needs an address that is valid; check its spelling")


def locked(connection: Connection, tenant: Tenant, subject: Subject) -> Standing:
    """The standing, while nobody else asks or says anything about the address."""
    ledger.lock(connection, tenant.id, [subject])
    return ledger.standing(connection, tenant.id, subject.digest)


def yes(tenant: Tenant, topic: Topic, saw: int | None, through: str, now: Millis) -> Event:
    complaint = tenant.confirming_ends_complaint
    return Event(
        Kind.IN,
        now,
        topic.scope,
        authority=Authority.CONFIRMED_OVER_COMPLAINT if complaint else Authority.CONFIRMED,
        saw=saw,
        basis="express",
        door=through,
    )


def asks_in_vain(
    tenant: Tenant, topic: Topic, channel: Channel, standing: Standing, saw: int, now: Millis
) -> bool:
    """Whether even a yes from whoever reads the question would let nothing be sent."""
    if channel is Channel.SMS and standing.stopped:
        # Carriers refuse texts to a number that replied STOP, this one too, and anybody can type
        # a number into a form: it is for its owner to text START.
        return True
    if standing is NOTHING:
        return False
    agreed, outcome = after(standing, yes(tenant, topic, saw, "", now))
    decision = may_send(Message(topic, channel), agreed, now)
    return outcome is not Outcome.APPLIED or decision.verdict is not Verdict.ALLOW


def takes_no_link(channel: Channel, standing: Standing) -> bool:
    """Whether nothing we send reaches the address, or nothing may: not even what it asks for."""
    return bool(standing.blocks) or (channel is Channel.SMS and standing.stopped)


# --- how often ---


def _crowd(tenant: Tenant, ip: str | None) -> bytes | None:
    """The neighbourhood of an IP, as it may be kept: keyed, and of no use to anybody else."""
    near = networks.of(ip) if ip else None
    return bytes.fromhex(tenant.fingerprint(f"network {near}")) if near else None


def _is_crowded(connection: Connection, tenant: Tenant, crowd: bytes | None, now: Millis) -> bool:
    """Whether a network has asked enough for now. Two at once may both be the last one."""
    if crowd is None:
        return False
    table = tables.letter
    lately = select(func.count()).where(
        table.c.tenant_id == tenant.id, table.c.network == crowd, table.c.asked_at > now - HOUR
    )
    return (connection.scalar(lately) or 0) >= MOST_A_NETWORK_AN_HOUR


def _is_too_much(
    connection: Connection, tenant: Tenant, address: Address, scope: Scope, now: Millis
) -> bool:
    table = tables.letter
    letters = connection.execute(
        select(table.c.topic_id, table.c.asked_at, table.c.answered_at)
        .where(
            table.c.tenant_id == tenant.id,
            table.c.digest == tenant.digest(address.mailbox),
            table.c.kind.not_in((UNSENT, REPLY)),
            table.c.asked_at > now - KEEP_FOR,
        )
        .order_by(table.c.asked_at.desc(), table.c.id.desc())
    ).all()
    # A letter about no topic is a link to the choices.
    same = [one for one in letters if one.topic_id == scope.topic]
    if any(now - one.asked_at < SAME_AGAIN_AFTER for one in same):
        return True
    if sum(now - one.asked_at < DAY for one in letters) >= MOST_A_DAY:
        return True
    questions = [one for one in letters if one.topic_id is not None]
    unanswered = list(takewhile(lambda one: one.answered_at is None, questions))
    if not unanswered or now - unanswered[0].asked_at >= PERIOD:
        return False
    together = [one for one in unanswered if unanswered[0].asked_at - one.asked_at < PERIOD]
    return len(together) >= MOST_UNANSWERED


def _count_unsent(
    connection: Connection,
    tenant: Tenant,
    address: Address,
    scope: Scope,
    network: bytes | None,
    now: Millis,
) -> None:
    if network is not None:
        kept = Letter.to(address, tenant, scope, kind=UNSENT, language="", saw=0, asked_at=now)
        _insert(connection, replace(kept, value=None), network, None)


def _write_down(
    connection: Connection,
    tenant: Tenant,
    letter: Letter,
    network: bytes | None,
    due_at: Millis | None,
) -> None:
    _insert(connection, letter, network, due_at)
    assert letter.value
    mailbox = tenant.digest(Address(letter.channel, letter.value).mailbox)
    if mailbox != letter.digest:
        _insert(connection, replace(letter, kind=TAGGED, digest=mailbox, value=None), None, None)


def _insert(
    connection: Connection, letter: Letter, network: bytes | None, due_at: Millis | None
) -> None:
    connection.execute(
        tables.letter.insert().values(
            tenant_id=letter.tenant_id,
            channel=letter.channel,
            digest=letter.digest,
            value=letter.value,
            kind=letter.kind,
            brand_id=letter.scope.brand,
            topic_id=letter.scope.topic,
            language=letter.language,
            saw=letter.saw,
            network=network,
            asked_at=letter.asked_at,
            due_at=due_at,
            text=letter.text,
            sender_id=letter.sender_id,
        )
    )
