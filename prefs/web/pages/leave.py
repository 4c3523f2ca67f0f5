"""/u/<token> and /l/<code>: leaving by a mailbox's one click or by a button, and undoing it."""

from dataclasses import replace

from flask import Blueprint, Response

from prefs import ledger, short_links
from prefs.database import Unavailable
from prefs.ledger import Said
from prefs.links import Action, BadLink, Claim
from prefs.policy import ALL, Authority, Event, Kind, Scope
from prefs.web import door
from prefs.web.pages import show
from prefs.web.pages.visit import (
    Visit,
    first_press,
    form,
    gets,
    known,
    left_all,
    opened,
    out,
    take_back,
    ticked,
    undo_token,
    visit,
)

leaving = Blueprint("leave", __name__)


@leaving.get("/u/<token:token>")
def show_leave(token: str) -> Response:
    return _shown(opened(token, Action.UNSUBSCRIBE))


@leaving.post("/u/<token:token>")
def leave(token: str) -> Response:
    return _left(opened(token, Action.UNSUBSCRIBE))


@leaving.get("/l/<token:code>")
def show_short(code: str) -> Response:
    return _shown(_short(code))


@leaving.post("/l/<token:code>")
def leave_short(code: str) -> Response:
    return _left(_short(code))


def _short(code: str) -> Visit:
    with door.reading() as connection:
        claim = short_links.opened(connection, code)
    if claim is None:
        raise BadLink("there is no such link")
    return visit(claim)


def _shown(visit: Visit) -> Response:
    value, already, scope = None, False, visit.scope
    try:
        with door.reading() as connection:
            found = known(connection, visit)
        value, standing = found.value, found.standing
        already = any(out.scope.covers(scope) for out in standing.outs) and not gets(
            visit.tenant, visit.claim.channel, standing, scope
        )
        if already and left_all(visit, standing):
            scope = ALL
    except Unavailable:
        # The page shows without the store, so that whoever follows the link has a button.
        show.use_language(None, visit.tenant)
    return show.page(
        "leave.html", visit.tenant, visit.brand, already=already, **visit.told(value, scope)
    )


def _left(visit: Visit) -> Response:
    sent = form()
    by_mailbox = sent.get("List-Unsubscribe") == "One-Click"
    if not by_mailbox and "undo" in sent:
        return _undone(visit)
    scope = ALL if sent.get("leave") == "all" and not by_mailbox else visit.scope
    press = out(scope, door.now(), "one-click" if by_mailbox else "unsubscribe link")
    evidence = {**door.evidence(), **_campaign(visit.claim)}
    thanked = False
    with door.writing() as connection:
        ledger.lock(connection, visit.tenant.id, [visit.subject])
        before = known(connection, visit)
        if not by_mailbox and "reason" in sent:
            evidence |= _reason(sent["reason"], sent.get("words", ""))
            thanked = before.standing.has_left(scope, door.now())
        if thanked:
            why = Event(Kind.REASON, door.now(), scope, authority=Authority.PERSON, door=press.door)
            said = Said(visit.subject, why, evidence=evidence)
        else:
            said = Said(visit.subject, press, evidence=evidence)
        recorded = ledger.record(connection, visit.tenant.id, said)
        undo = None
        if not by_mailbox and not thanked:
            first = first_press(connection, visit.tenant.id, visit.claim.digest, press, recorded)
            undo = first and undo_token(visit, visit.subject, first, recorded.seq)
    if by_mailbox:
        return Response("Unsubscribed.", content_type="text/plain; charset=utf-8")
    if left_all(visit, recorded.standing):
        scope = ALL
    return show.page(
        "left.html",
        visit.tenant,
        visit.brand,
        thanked=thanked,
        still=[show.title(topic) for topic in visit.transactional()],
        undo=undo,
        preferences=_choose(visit),
        **visit.told(before.value, scope),
    )


REASONS = ("too-many", "not-for-me", "never-asked", "other")


def _reason(reason: str, words: str) -> dict[str, str]:
    given = {"reason": reason if reason in REASONS else "other", "reason in words": words.strip()}
    return {name: text[:500] for name, text in given.items() if text}


def _campaign(claim: Claim) -> dict[str, str]:
    return {"campaign": claim.campaign} if claim.campaign else {}


def _choose(visit: Visit) -> str:
    """A preference link that turns nothing on, as old as the link it was made from may be."""
    claim = replace(
        visit.claim, action=Action.PREFERENCES, scope=Scope(visit.scope.brand or None), campaign=""
    )
    return show.here(f"/p/{door.installation().links.sign(claim)}")


def _undone(visit: Visit) -> Response:
    with door.writing() as connection:
        take_back(connection, visit, ticked("undo"))
        now = known(connection, visit)
    scope = ALL if now.standing.objects(ALL, door.now()) else visit.scope
    return show.page(
        "undone.html",
        visit.tenant,
        visit.brand,
        still_out=now.standing.objects(visit.scope, door.now()),
        preferences=_choose(visit),
        **visit.told(now.value, scope),
    )
