"""A link that was opened: whose it is, what it is about, and what was said through it."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from flask import request
from sqlalchemy import Connection
from werkzeug.exceptions import HTTPException

from prefs import ledger
from prefs.address import Address, Channel
from prefs.directory import Brand, Directory, Tenant
from prefs.ledger import Known, Recorded, Said, Subject
from prefs.links import UNDO_FOR, Action, BadLink, Claim, is_undo_by, undo_of
from prefs.policy import (
    ALL,
    Authority,
    Event,
    Kind,
    Message,
    Millis,
    Purpose,
    Scope,
    Standing,
    Topic,
    Verdict,
    Voice,
    fold,
    may_send,
)
from prefs.web import door
from prefs.web.pages import show

DOUBLE_CLICK: Millis = 10_000
"""Presses of one button this close to each other are one press."""


@dataclass(frozen=True, slots=True)
class Visit:
    """A link that was opened."""

    claim: Claim
    tenant: Tenant
    scope: Scope

    @property
    def subject(self) -> Subject:
        """Whose link it is; with the language, where it was picked on the page."""
        picked = show.chosen()
        return Subject(
            self.claim.channel, self.claim.digest, language=picked.code if picked else None
        )

    @property
    def brand(self) -> Brand | None:
        return self.tenant.brand_of(self.scope)

    def marketing(self, *channels: Channel) -> list[Topic]:
        return self._offered(Purpose.MARKETING, channels or tuple(Channel))

    def transactional(self, *channels: Channel) -> list[Topic]:
        return self._offered(Purpose.TRANSACTIONAL, channels or (self.claim.channel,))

    def _offered(self, purpose: Purpose, channels: Collection[Channel]) -> list[Topic]:
        return [
            topic
            for topic in self.tenant.topics.values()
            if topic.purpose is purpose and not topic.offered.keys().isdisjoint(channels)
        ]

    def told(self, value: str | None, scope: Scope | None = None) -> dict[str, Any]:
        """What a page about leaving says: who sends, about what (``scope``), to whom."""
        scope = self.scope if scope is None else scope
        brand, topic = self.tenant.brand_of(scope), self.tenant.topic_of(scope)
        return {
            "width": self._width(scope),
            "topic": show.title(topic) if topic else None,
            "topic_description": show.description(topic) if topic else None,
            "sender": brand.named(show.language().code) if brand else self.tenant.name,
            "everything": self.tenant.name,
            "several_brands": len(self.tenant.brands) > 1,
            "channel": self.claim.channel,
            "address": masked(self.claim.channel, value),
        }

    def _width(self, scope: Scope) -> str:
        """How much a scope is about, for the templates to choose their sentence by."""
        if scope == ALL:
            return "all"
        if scope.topic is not None:
            return "topic" if self.tenant.topic_of(scope) else "gone"
        return "brand" if self.tenant.brand_of(scope) else "gone"


def masked(channel: Channel, value: str | None) -> str | None:
    return Address(channel, value).masked if value else None


def opened(token: str, action: Action) -> Visit:
    """Raises ``BadLink``."""
    return visit(door.installation().links.open(token, action))


def visit(claim: Claim) -> Visit:
    """Raises ``BadLink`` if it belongs to nobody here."""

    def owner(known: Directory) -> Visit | None:
        tenant = known.tenants.get(claim.tenant)
        scope = tenant.whole(claim.scope) if tenant else None
        return Visit(claim, tenant, scope) if tenant and scope is not None else None

    if found := door.installation().directory.find(owner):
        return found
    if tenant := door.installation().directory.latest.tenants.get(claim.tenant):
        # What the link was about is gone, and whoever opens it is still known by it.
        return Visit(claim, tenant, claim.scope._replace(brand=claim.scope.brand or 0))
    raise BadLink("this link is for something that is not here")


def known(connection: Connection, visit: Visit) -> Known:
    """What is known of whoever opened the link; the page speaks their language from here on."""
    found = ledger.known(connection, visit.tenant.id, visit.claim.digest)
    show.use_language(found.language, visit.tenant)
    return found


def form() -> "Mapping[str, str]":
    """What a browser's form holds. A body that is none, or not whole, still is a POST."""
    try:
        return request.form
    except HTTPException:
        return {}


def by_script() -> bool:
    """Whether a program asks, which reads JSON, and not a browser that shows a page."""
    best = request.accept_mimetypes.best_match(["text/html", "application/json"])
    return best == "application/json" or request.mimetype == "application/json"


def ticked(name: str) -> set[str]:
    try:
        return set(request.form.getlist(name))
    except HTTPException:
        return set()


def out(scope: Scope, now: Millis, through: str) -> Event:
    return Event(Kind.OUT, now, scope, Voice.PERSON, Authority.PERSON, door=through)


def gets(tenant: Tenant, channel: Channel, standing: Standing, scope: Scope) -> bool:
    """Whether any marketing in ``scope`` may still be sent."""
    return any(
        may_send(Message(topic, channel), standing, door.now()).verdict is Verdict.ALLOW
        for topic in tenant.topics.values()
        if topic.purpose is Purpose.MARKETING and scope.covers(topic.scope)
    )


def left_all(visit: Visit, standing: Standing) -> bool:
    """Whether all marketing was left, and none of it was turned on again since."""
    left = any(out.scope == ALL for out in standing.outs)
    return left and not gets(visit.tenant, visit.claim.channel, standing, ALL)


# --- undo ---


def first_press(
    connection: Connection, tenant: int, digest: bytes, event: Event, recorded: Recorded
) -> int | None:
    """Where the press that ``event`` is began: a double click is one. None if it changed nothing.

    An undo takes back those very events: what was said before stands, so that whoever was
    forwarded a mail cannot press, undo, and so lift an old no.
    """
    before, first = recorded.before, recorded.seq
    if before.objects(event.scope, event.heard_at):
        said = [entry.event for entry in ledger.history(connection, tenant, digest)]
        while said and _is_same(said[-1], event):
            if event.heard_at - said[-1].heard_at > DOUBLE_CLICK:
                break
            said.pop()
        first = len(said) + 1
        before, _ = fold(said)
    return None if before.objects(event.scope, event.heard_at) else first


def _is_same(said: Event, press: Event) -> bool:
    names = ("kind", "scope", "voice", "door")
    return all(getattr(said, name) == getattr(press, name) for name in names)


def undo_token(visit: Visit, subject: Subject, first: int, last: int) -> str:
    claim = Claim(Action.UNDO, visit.tenant.id, subject.channel, subject.digest, ALL)
    undo = undo_of(claim, first, last, door.now(), visit.claim.digest)
    return door.installation().links.sign(undo)


def take_back(connection: Connection, visit: Visit, tokens: set[str]) -> None:
    """Takes back what these undo tokens name. Raises ``BadLink`` if they are not this page's."""
    undone = []
    for token in tokens:
        undo = door.installation().links.open(token, Action.UNDO)
        late = door.now() - undo.minted > UNDO_FOR
        if undo.tenant != visit.tenant.id or late or not is_undo_by(undo, visit.claim.digest):
            raise BadLink("this can be undone for an hour, from the page that offered it")
        first, _, last = undo.campaign.partition(".")[0].partition("-")
        retract = Event(
            Kind.RETRACT,
            door.now(),
            authority=Authority.PERSON,
            door="undo",
            retracts=tuple(range(int(first), int(last or first) + 1)),
        )
        is_own = undo.digest == visit.claim.digest
        subject = visit.subject if is_own else Subject(undo.channel, undo.digest)
        undone.append(Said(subject, retract, evidence=door.evidence()))
    ledger.record_many(connection, visit.tenant.id, undone)
