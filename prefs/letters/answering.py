"""The answer to a question, by its link or by a text."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, Row, or_, select, update

from prefs import languages, ledger, tables
from prefs.address import Address
from prefs.directory import Tenant
from prefs.ledger import Recorded, Said, Subject
from prefs.letters.asking import CONFIRM, OPEN, TAGGED, locked, yes
from prefs.letters.words import question_by_text
from prefs.links import CONFIRM_FOR, BadLink, Claim
from prefs.policy import Event, Kind, Millis, Outcome, Purpose, Scope, Standing, Topic, after


class Confirmed(NamedTuple):
    """What became of a yes: ``confirmed``, ``already``, ``refused`` or ``expired``.

    ``seq`` is what the next press will have seen; ``again`` says whether it will then count.
    """

    outcome: str
    topic: Topic
    seq: int
    again: bool = False
    recorded: Recorded | None = None


class Agreed(NamedTuple):
    """A YES by text, the topic it was about, whether that will be sent now, and how to answer."""

    recorded: Recorded
    topic: Topic
    gets: bool
    language: str


def confirm(
    connection: Connection,
    tenant: Tenant,
    claim: Claim,
    *,
    wording: Mapping[str, str],
    evidence: Mapping[str, str],
    through: str,
    now: Millis,
    saw: int | None = None,
    language: str | None = None,
) -> Confirmed:
    """Records the yes of whoever has the link of a question. Twice is once.

    ``language`` is the one that they picked on the page, if not the letter's.
    ``saw`` is given by a second press, on a page that showed a no said since the question.
    Raises ``BadLink`` if there is no such topic any more.
    """
    scope = tenant.whole(claim.scope)
    topic = tenant.topic_of(scope) if scope else None
    if topic is None or topic.purpose is not Purpose.MARKETING or not claim.campaign.isdigit():
        raise BadLink("this link is for something that is not here")
    asked = int(claim.campaign)
    if now - claim.minted >= CONFIRM_FOR:
        found = ledger.standing(connection, tenant.id, claim.digest)
        return Confirmed("expired", topic, found.seq)
    subject = Subject(claim.channel, claim.digest)
    standing = locked(connection, tenant, subject)
    letter = _question(connection, tenant, subject, tables.letter.c.saw == asked, topic)
    if letter and letter.answered_at is not None and _has(standing, topic, now):
        return Confirmed("already", topic, standing.seq)
    if letter is None or letter.value is None:
        # An erasure has emptied it, and the person may have been asked again since.
        letter = _question(connection, tenant, subject, OPEN, topic)
    recorded = _agree(
        connection,
        tenant,
        Subject(*subject[:2], letter and letter.value, language or (letter and letter.language)),
        standing,
        topic,
        asked,
        yes(tenant, topic, asked if saw is None else saw, through, now),
        {**evidence, **{f"wording {name}": text for name, text in wording.items()}},
    )
    if recorded.outcome is Outcome.APPLIED:
        return Confirmed("confirmed", topic, recorded.seq, recorded=recorded)
    next_yes = yes(tenant, topic, recorded.seq, through, now)
    _, outcome = after(recorded.standing, next_yes)
    again = outcome is Outcome.APPLIED
    return Confirmed("refused", topic, recorded.seq, again, recorded)


def refuse(connection: Connection, tenant: Tenant, said: Said) -> Recorded:
    """Records the no of whoever has the link of a question, and forgets what was typed in.

    The letters stay among those without an answer: a no must not earn anybody more of them.
    """
    recorded = ledger.record(connection, tenant.id, said)
    table = tables.letter
    connection.execute(
        update(table)
        .where(
            table.c.tenant_id == tenant.id,
            table.c.digest == said.subject.digest,
            table.c.kind == CONFIRM,
            table.c.topic_id == said.event.scope.topic,
        )
        .values(value=None, due_at=None)
    )
    return recorded


def said_yes(
    connection: Connection,
    tenant: Tenant,
    address: Address,
    brand_id: int,
    spoken: frozenset[str],
    *,
    through: str,
    evidence: Mapping[str, str],
    now: Millis,
    source: str,
    source_id: str,
    said_at: Millis | None = None,
) -> Agreed | None:
    """Takes a YES for the answer to the latest question that a brand has open with a number.

    ``spoken`` are the languages in which it is a yes: that of the question, or English, in which
    every question says what to reply. None where it answers nothing: then it says nothing; one
    that was ``said_at`` a time before the question does not. The same message is heard once, and
    answered alike each time.
    """
    subject = Subject.of(tenant, address)
    table = tables.letter
    open_here = (
        (table.c.brand_id == brand_id)
        & (table.c.asked_at > now - CONFIRM_FOR)
        & (table.c.asked_at <= (now if said_at is None else said_at))
        # We have sent it or are about to, or the sender's own tool has it; not one given up.
        & or_(
            table.c.sent_at.is_not(None),
            (table.c.attempts > 0) & table.c.due_at.is_not(None),
            (table.c.attempts == 0) & table.c.due_at.is_(None),
        )
    )
    before = ledger.heard(connection, tenant.id, source, source_id)
    if before is None and _question(connection, tenant, subject, open_here & OPEN) is None:
        # Most people who text a yes were asked something by somebody else: nothing is locked.
        return None
    standing = locked(connection, tenant, subject)
    before = ledger.heard(connection, tenant.id, source, source_id)
    if before is not None:
        return _heard_before(connection, tenant, subject, before, standing, now)
    letter = _question(connection, tenant, subject, open_here & OPEN)
    topic = tenant.topic_of(Scope(letter.brand_id, letter.topic_id)) if letter else None
    brand = tenant.brand_of(Scope(brand_id))
    if letter is None or topic is None or brand is None:
        return None
    if spoken.isdisjoint((languages.DEFAULT, letter.language)):
        return None
    question = question_by_text(languages.of(letter.language), brand, topic)
    recorded = _agree(
        connection,
        tenant,
        subject._replace(language=letter.language),
        standing,
        topic,
        letter.saw,
        yes(tenant, topic, letter.saw, through, now),
        {**evidence, "wording text": question, "wording language": letter.language},
        source,
        source_id,
    )
    return Agreed(recorded, topic, _has(recorded.standing, topic, now), letter.language)


def _heard_before(
    connection: Connection,
    tenant: Tenant,
    subject: Subject,
    before: tuple[bytes, Event],
    standing: Standing,
    now: Millis,
) -> Agreed | None:
    digest, event = before
    topic = tenant.topic_of(event.scope)
    if digest != subject.digest or event.kind is not Kind.IN or topic is None:
        return None
    letter = _question(connection, tenant, subject, tables.letter.c.saw == event.saw, topic)
    recorded = Recorded(Outcome.DUPLICATE, standing, standing)
    return Agreed(recorded, topic, _has(standing, topic, now), letter.language if letter else "")


def _question(
    connection: Connection,
    tenant: Tenant,
    subject: Subject,
    which: ColumnElement[bool],
    topic: Topic | None = None,
) -> Row[Any] | None:
    """The latest of an address's questions."""
    table = tables.letter
    mine = (table.c.tenant_id == tenant.id) & (table.c.digest == subject.digest)
    about = [] if topic is None else [table.c.topic_id == topic.scope.topic]
    return connection.execute(
        select(table)
        .where(mine, table.c.kind == CONFIRM, which, *about)
        .order_by(table.c.asked_at.desc(), table.c.id.desc())
        .limit(1)
    ).first()


def _has(standing: Standing, topic: Topic, now: Millis) -> bool:
    """Whether a consent to the topic is in force."""
    agreed = any(c.scope == topic.scope and c.lasts(now) for c in standing.consents)
    return agreed and not standing.objects(topic.scope, now)


def _agree(
    connection: Connection,
    tenant: Tenant,
    subject: Subject,
    standing: Standing,
    topic: Topic,
    asked: int,
    event: Event,
    evidence: Mapping[str, str],
    source: str | None = None,
    source_id: str | None = None,
) -> Recorded:
    pending = ledger.history(connection, tenant.id, subject.digest, asked - 1, 1)
    counts = after(standing, event)[1] is Outcome.APPLIED
    person = (pending[0].evidence or {}).get("person") if pending and counts else None
    said = Said(subject, event, source, source_id, evidence, person)
    recorded = ledger.record(connection, tenant.id, said)
    if recorded.outcome is Outcome.APPLIED:
        # Whoever was asked twice about one topic has answered both.
        table = tables.letter
        value = subject.value
        known = Address(subject.channel, value) if value else None
        mailbox = tenant.digest(known.mailbox) if known else subject.digest
        connection.execute(
            update(table)
            .where(
                table.c.tenant_id == tenant.id,
                (table.c.digest == subject.digest) & (table.c.kind == CONFIRM)
                | (table.c.digest == mailbox) & (table.c.kind == TAGGED),
                table.c.topic_id == topic.scope.topic,
                table.c.answered_at.is_(None),
            )
            .values(answered_at=event.heard_at, value=None, due_at=None)
        )
    return recorded
