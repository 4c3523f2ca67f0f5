"""The recipient's pages: leave by one click or by a button, undo it, choose.

A GET shows and never writes: scanners open every link in a mail, and some run scripts.
A POST asks for nothing: no login, cookie, CSRF token, field or content type (RFC 8058
section 3.2, 16 CFR 316.5), and is answered without a redirect.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from flask import Blueprint, Flask, Response, render_template, request
from jinja2 import StrictUndefined
from sqlalchemy import Connection
from werkzeug.exceptions import HTTPException
from werkzeug.routing import BaseConverter

from prefs import ledger
from prefs.address import Address
from prefs.database import Unavailable
from prefs.directory import Directory, Tenant
from prefs.ledger import Recorded, Said, Subject
from prefs.links import MAY_TURN_ON_FOR, UNDO_FOR, Action, BadLink, Claim, undo_of
from prefs.policy import (
    ALL,
    Authority,
    Decision,
    Event,
    Kind,
    Message,
    Millis,
    Outcome,
    Scope,
    Standing,
    Topic,
    Verdict,
    Voice,
    fold,
    may_send,
)
from prefs.policy import Purpose as TopicPurpose
from prefs.web import door

pages = Blueprint("pages", __name__)

PAGE_WORDING = "preference page, English, version 1"

DOUBLE_CLICK: Millis = 10_000
"""Presses of one button this close to each other are one press."""


class TokenConverter(BaseConverter):
    """Takes slashes too: mail programs add and double them, and a redirect is forbidden."""

    regex = r"[\s\S]+"
    part_isolating = False

    def to_python(self, value: str) -> str:
        return value.strip("/")


def install(app: Flask) -> None:
    app.url_map.converters["token"] = TokenConverter
    app.jinja_env.undefined = StrictUndefined
    app.register_blueprint(pages)


@dataclass(frozen=True, slots=True)
class Visit:
    """A link that was opened: whose it is and what it is about."""

    claim: Claim
    tenant: Tenant
    scope: Scope

    @property
    def subject(self) -> Subject:
        return Subject(self.claim.channel, self.claim.digest)

    def told(self, value: str | None, scope: Scope | None = None) -> dict[str, Any]:
        """What every page says: who sends, about what (``scope``, or the link's), to whom."""
        scope = self.scope if scope is None else scope
        brand, topic = self.tenant.brand_of(scope), self.tenant.topic_of(scope)
        return {
            "brand": brand.name if brand else None,
            "topic": topic.title if topic else None,
            "topic_description": topic.description if topic else None,
            "everything": self.tenant.name,
            "channel": self.claim.channel,
            "address": _masked(self.claim, value),
            "action": request.script_root + request.path,
        }

    def transactional(self) -> list[str]:
        return [topic.title for topic in self._offered(TopicPurpose.TRANSACTIONAL)]

    def marketing(self) -> list[Topic]:
        return self._offered(TopicPurpose.MARKETING)

    def _offered(self, purpose: TopicPurpose) -> list[Topic]:
        return [
            topic
            for topic in self.tenant.topics.values()
            if topic.purpose is purpose
            and self.claim.channel in topic.offered
            and (self.scope.brand is None or self.scope.brand == topic.scope.brand)
        ]


def _masked(claim: Claim, value: str | None) -> str | None:
    return Address(claim.channel, value).masked if value else None


def _visit(token: str, action: Action) -> Visit:
    """Raises ``BadLink``."""
    opened = door.installation()
    claim = opened.links.open(token, action)

    def owner(known: Directory) -> Visit | None:
        tenant = known.tenants.get(claim.tenant)
        scope = tenant.whole(claim.scope) if tenant else None
        return Visit(claim, tenant, scope) if tenant and scope is not None else None

    if visit := opened.directory.find(owner):
        return visit
    raise BadLink("this link is for something that is not here")


def _form() -> Mapping[str, str]:
    """What a browser's form holds. A body that is none, or not whole, still is a POST."""
    try:
        return request.form
    except HTTPException:
        return {}


def _out(scope: Scope, now: Millis, through: str) -> Event:
    return Event(Kind.OUT, now, scope, Voice.PERSON, Authority.PERSON, door=through)


# --- /u/<token> ---


@pages.get("/u/<token:token>")
def show_leave(token: str) -> str:
    visit = _visit(token, Action.UNSUBSCRIBE)
    value, already, scope = None, False, visit.scope
    try:
        with door.reading() as connection:
            known = ledger.known(connection, visit.tenant.id, visit.claim.digest)
            value, standing = known.value, known.standing
            already = any(out.scope.covers(visit.scope) for out in standing.outs) and not _gets(
                visit, standing, visit.scope
            )
            if already and _left_all(visit, standing):
                scope = ALL
    except Unavailable:
        # The page shows without the store, so that whoever follows the link has a button.
        pass
    return render_template("leave.html", already=already, **visit.told(value, scope))


def _left_all(visit: Visit, standing: Standing) -> bool:
    """Whether all marketing was left, and none of it was turned on again since."""
    left = any(out.scope == ALL for out in standing.outs)
    return left and not _gets(visit, standing, ALL)


def _gets(visit: Visit, standing: Standing, scope: Scope) -> bool:
    """Whether any marketing in ``scope`` may still be sent."""
    channel = visit.claim.channel
    return any(
        may_send(Message(topic, channel), standing, door.now()).verdict is Verdict.ALLOW
        for topic in visit.tenant.topics.values()
        if topic.purpose is TopicPurpose.MARKETING and scope.covers(topic.scope)
    )


@pages.post("/u/<token:token>")
def leave(token: str) -> str | Response:
    visit = _visit(token, Action.UNSUBSCRIBE)
    form = _form()
    if "undo" in form:
        return _undo(visit, form["undo"])
    by_mailbox = form.get("List-Unsubscribe") == "One-Click"
    scope = ALL if form.get("leave") == "all" else visit.scope
    said = Said(
        visit.subject,
        _out(scope, door.now(), "one-click" if by_mailbox else "unsubscribe link"),
        evidence={**door.evidence(), **_campaign(visit.claim)},
    )
    with door.writing() as connection:
        recorded = ledger.record(connection, visit.tenant.id, said)
        value = ledger.known(connection, visit.tenant.id, visit.claim.digest).value
        undo = None if by_mailbox else _undo_token(connection, visit, scope, recorded)
    if by_mailbox:
        return Response("Unsubscribed.", content_type="text/plain; charset=utf-8")
    if _left_all(visit, recorded.standing):
        scope = ALL
    return render_template(
        "left.html",
        scope=_width(scope),
        still=visit.transactional(),
        undo=undo,
        also_all=scope.topic is not None,
        preferences=_choose(visit),
        **visit.told(value),
    )


def _campaign(claim: Claim) -> dict[str, str]:
    return {"campaign": claim.campaign} if claim.campaign else {}


def _width(scope: Scope) -> str:
    return "topic" if scope.topic is not None else "brand" if scope.brand is not None else "all"


def _undo_token(
    connection: Connection, visit: Visit, scope: Scope, recorded: Recorded
) -> str | None:
    """What takes back this press, where it would take back nothing else.

    Otherwise whoever was forwarded a mail could press, undo, and so lift an old no.
    """
    now, before = door.now(), recorded.before
    if _objected(before, scope, now):
        said = [e.event for e in ledger.history(connection, visit.tenant.id, visit.claim.digest)]
        press = (Kind.OUT, scope, Voice.PERSON)
        while said and (said[-1].kind, said[-1].scope, said[-1].voice) == press:
            if now - said[-1].heard_at > DOUBLE_CLICK:
                break
            said.pop()
        before, _ = fold(said)
    if _objected(before, scope, now):
        return None
    return door.installation().links.sign(undo_of(visit.claim, scope, recorded.standing.seq, now))


def _objected(standing: Standing, scope: Scope, now: Millis) -> bool:
    """Whether a no is in force, or will be when the consents that beat it have run out."""
    return standing.objects(scope, now) or standing.objects(scope, _FOREVER)


_FOREVER: Millis = 2**62


def _choose(visit: Visit) -> str:
    """A preference link that turns nothing on, as old as the link it was made from may be."""
    claim = replace(visit.claim, action=Action.PREFERENCES, scope=visit.scope)
    return f"{request.script_root}/p/{door.installation().links.sign(claim)}"


def _undo(visit: Visit, token: str) -> str:
    undo = door.installation().links.open(token, Action.UNDO)
    mine = (undo.tenant, undo.channel, undo.digest) == (
        visit.claim.tenant,
        visit.claim.channel,
        visit.claim.digest,
    )
    scope = visit.tenant.whole(undo.scope)
    if not mine or scope is None or door.now() - undo.minted > UNDO_FOR:
        raise BadLink("this can be undone for an hour, from the page that offered it")
    lift = Event(
        Kind.LIFT,
        door.now(),
        scope,
        authority=Authority.PERSON,
        saw=int(undo.campaign),
        door="undo",
    )
    with door.writing() as connection:
        recorded = ledger.record(
            connection, visit.tenant.id, Said(visit.subject, lift, evidence=door.evidence())
        )
        value = ledger.known(connection, visit.tenant.id, visit.claim.digest).value
    still_out = any(out.scope.covers(scope) for out in recorded.standing.outs)
    return render_template(
        "undone.html",
        scope=_width(scope),
        lifted=recorded.outcome is Outcome.APPLIED and not still_out,
        preferences=_choose(visit),
        **visit.told(value),
    )


# --- /p/<token> ---


@dataclass(frozen=True, slots=True)
class Choice:
    """A topic as the preference page shows it."""

    slug: str
    title: str
    description: str
    on: bool
    locked: bool
    why: str


@pages.get("/p/<token:token>")
def show_preferences(token: str) -> str:
    visit = _visit(token, Action.PREFERENCES)
    with door.reading() as connection:
        return _preferences(connection, visit)


@pages.post("/p/<token:token>")
def save_preferences(token: str) -> str:
    visit = _visit(token, Action.PREFERENCES)
    form = _form()
    if "undo" in form:
        return _undo(visit, form["undo"])
    with door.writing() as connection:
        ledger.lock(connection, visit.tenant.id, [visit.subject])
        if form.get("leave") == "all":
            return _leave_all(connection, visit)
        return _save(connection, visit, form)


def _leave_all(connection: Connection, visit: Visit) -> str:
    said = Said(visit.subject, _out(ALL, door.now(), "preference page"), evidence=door.evidence())
    recorded = ledger.record(connection, visit.tenant.id, said)
    return _preferences(
        connection,
        visit,
        changes=[("", "You are unsubscribed from everything.")],
        undo=_undo_token(connection, visit, ALL, recorded),
    )


def _save(connection: Connection, visit: Visit, form: Mapping[str, str]) -> str:
    """Records what was changed on the page, and nothing that was only shown."""
    if "shown" not in form:
        # An empty form says nothing.
        return _preferences(connection, visit)
    shown = set(form["shown"].split())
    wanted = set(request.form.getlist("on"))
    saw = _number(form.get("saw", ""))
    known = ledger.known(connection, visit.tenant.id, visit.claim.digest)
    standing = known.standing
    stale = standing.seq > saw
    changes, refused, conflict = [], [], False
    for topic in visit.marketing():
        if topic.slug in shown - wanted:
            event = _out(topic.scope, door.now(), "preference page")
            sentence = "you are unsubscribed."
        elif topic.slug in wanted - shown:
            if _is_old(visit.claim):
                refused.append((topic.title, "this link is too old to turn it on."))
                continue
            if not _can_consent(visit, known.value):
                refused.append((topic.title, "this is not a valid address to send it to."))
                continue
            event = _yes(topic, saw)
            sentence = "you will get it."
        else:
            decision = may_send(Message(topic, visit.claim.channel), standing, door.now())
            is_on = decision.verdict is Verdict.ALLOW
            conflict |= stale and is_on is not (topic.slug in shown)
            continue
        recorded = ledger.record(
            connection, visit.tenant.id, Said(visit.subject, event, evidence=_page_evidence(topic))
        )
        if recorded.outcome is Outcome.APPLIED:
            changes.append((topic.title, sentence))
        elif stale:
            conflict = True
        else:
            refused.append((topic.title, "it cannot be turned on from here."))
    return _preferences(connection, visit, changes=changes, refused=refused, conflict=conflict)


def _can_consent(visit: Visit, value: str | None) -> bool:
    """Where the value is erased, the link has reached whoever it was."""
    return value is None or Address(visit.claim.channel, value).can_consent


def _yes(topic: Topic, saw: int) -> Event:
    return Event(
        Kind.IN,
        door.now(),
        topic.scope,
        authority=Authority.PERSON,
        saw=saw,
        basis="express",
        door="preference page",
    )


def _page_evidence(topic: Topic) -> dict[str, str]:
    return {
        **door.evidence(),
        "wording": PAGE_WORDING,
        "wording title": topic.title,
        "wording description": topic.description,
    }


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0


def _is_old(claim: Claim) -> bool:
    return door.now() - claim.minted > MAY_TURN_ON_FOR


def _preferences(
    connection: Connection,
    visit: Visit,
    changes: list[tuple[str, str]] | None = None,
    refused: list[tuple[str, str]] | None = None,
    conflict: bool = False,
    undo: str | None = None,
) -> str:
    now = door.now()
    known = ledger.known(connection, visit.tenant.id, visit.claim.digest)
    value, standing = known.value, known.standing
    choices = []
    for topic in visit.marketing():
        decision = may_send(Message(topic, visit.claim.channel), standing, now)
        on = decision.verdict is Verdict.ALLOW
        locked = _is_old(visit.claim) or decision.reason in _NOT_FROM_HERE
        choices.append(
            Choice(topic.slug, topic.title, topic.description, on, locked, _why(decision))
        )
    return render_template(
        "preferences.html",
        topics=choices,
        transactional=visit.transactional(),
        all_out=any(out.scope == ALL and out.voice is Voice.PERSON for out in standing.outs),
        stopped=standing.stopped,
        saw=standing.seq,
        shown=" ".join(choice.slug for choice in choices if choice.on),
        expired=_is_old(visit.claim),
        changes=changes or [],
        refused=refused or [],
        conflict=conflict,
        undo=undo,
        **visit.told(value),
    )


_WHY: Mapping[str, str] = {
    "no_objection": "Sent unless you say no.",
    "consent": "You asked for this{on}.",
    "opted_out": "You unsubscribed{on}.",
    "replied_stop": "You replied STOP{on}.",
    "sender_opted_out": "The sender stopped this{on}.",
    "complained": "You reported a message as spam{on}.",
    "erased": "Your data was erased{on}.",
    "no_consent": "You have not asked for this.",
    "consent_expired": "You asked for this a while ago, and it has run out.",
    "snoozed": "You asked for a pause.",
    "hard_bounce": "Messages to this address came back.",
    "invalid": "Messages to this address came back.",
    "unreachable": "Messages to this address came back.",
}
_NOT_FROM_HERE = frozenset(
    {"complained", "erased", "hard_bounce", "invalid", "unreachable"}
    | {"reassigned", "minor", "restricted", "do_not_contact"}
)
"""What a press on this page cannot take back."""


def _why(decision: Decision) -> str:
    on = ""
    if decision.ground:
        day = datetime.fromtimestamp(decision.ground.when / 1000, UTC)
        on = f" on {day.day} {day:%B %Y}"
    return _WHY.get(decision.reason, "This cannot be sent to you.").format(on=on)


# --- errors ---


@pages.errorhandler(BadLink)
def bad_link(error: BadLink) -> tuple[str, int]:
    advice = (
        "Please check that the whole link was copied, or use the link in another message "
        "from this sender."
    )
    return _problem("This link does not work", advice), 404


@pages.errorhandler(Unavailable)
def unavailable(error: Unavailable) -> tuple[str, int, dict[str, str]]:
    advice = (
        "We cannot read or store what you want at this moment. Nothing has changed: please try "
        "again in a minute."
    )
    return _problem("Please try again", advice), 503, {"Retry-After": "5"}


@pages.errorhandler(HTTPException)
def refused(error: HTTPException) -> tuple[str, int]:
    return _problem("This did not work", "Please open the link from the message again."), (
        error.code or 500
    )


def _problem(heading: str, advice: str) -> str:
    return render_template("problem.html", heading=heading, advice=advice, brand=None)
