"""/p/<token> and /code: one page for a person, across their addresses, channels and brands.

A link proves the one address it was sent to. From it anything may be left on any address of the
person's; what is turned on for another address, or through an old link, is asked there first.
"""

from collections.abc import Mapping
from typing import NamedTuple

from flask import Blueprint, Response, request
from sqlalchemy import Connection

from prefs import codes, ledger, letters
from prefs.address import Channel
from prefs.directory import Brand, Tenant
from prefs.links import Action, Claim
from prefs.policy import (
    ALL,
    Decision,
    Millis,
    Topic,
    Verdict,
    Voice,
)
from prefs.web import door
from prefs.web.pages import show
from prefs.web.pages.places import Place, limit_of, may_turn_on, places_of, shown_of
from prefs.web.pages.saving import Done, save
from prefs.web.pages.visit import (
    Visit,
    form,
    opened,
    take_back,
    ticked,
    visit,
)

choosing = Blueprint("choose", __name__)

LONGEST_CODE = 20_000
"""Bytes of a form that has a code in it; anybody may send one."""


@choosing.get("/p/<token:token>")
def show_preferences(token: str) -> Response:
    visit = opened(token, Action.PREFERENCES)
    with door.reading() as connection:
        return _page(connection, visit, places_of(connection, visit), Done())


@choosing.post("/p/<token:token>")
def save_preferences(token: str) -> Response:
    visit = opened(token, Action.PREFERENCES)
    # The body first: one that trickles in must hold nobody else's turn to write.
    sent = form()
    with door.writing() as connection:
        if "undo" in sent:
            take_back(connection, visit, ticked("undo"))
            return _page(connection, visit, places_of(connection, visit), Done(undone=True))
        places = [place.subject for place in places_of(connection, visit)]
        locked = ledger.lock(connection, visit.tenant.id, places)
        # Read once more, now that nobody else writes to them; who came in between is left out.
        now = [p for p in places_of(connection, visit) if p.subject.digest in locked]
        done = save(connection, visit, now, sent)
        return _page(connection, visit, places_of(connection, visit), done)


# --- one-time codes ---


@choosing.get("/code")
def show_code() -> Response:
    return show.page("code.html", wrong=False)


@choosing.post("/code")
def use_code() -> Response:
    request.max_content_length = LONGEST_CODE
    text = form().get("code", "")
    with door.writing() as connection:
        found = codes.use(connection, text, door.now())
        if found is None:
            response = show.page("code.html", wrong=True)
            response.status_code = 422
            return response
        tenant, subject = found
        # As old as can be: a code that support has given proves no control of the address.
        claim = Claim(Action.PREFERENCES, tenant, subject.channel, subject.digest, ALL)
        # Raises, and so leaves the code unused, if that is of nobody here.
        visit(claim)
    # The page has a URL of its own: loaded again, or in another language, this one has no code.
    path = show.here(f"/p/{door.installation().links.sign(claim)}")
    return Response(status=303, headers={"Location": path})


# --- what the page shows ---


class Row(NamedTuple):
    """A topic on one address."""

    name: str
    channel: str
    address: str | None
    on: bool
    locked: bool
    why: str


class Shown(NamedTuple):
    """A topic as the page shows it, on every address it may go to."""

    slug: str
    title: str
    description: str
    rows: list[Row]
    at_most: tuple[int, ...]
    limit: int


class Section(NamedTuple):
    slug: str
    name: str
    about: str
    topics: list[Shown]
    always: list[str]


def _page(connection: Connection, visit: Visit, places: list[Place], done: Done) -> Response:
    own, shown = places[0], shown_of(places)
    brands = sorted(visit.tenant.brands.values(), key=lambda b: b.id != visit.scope.brand)
    sections = [_section(visit, brand, shown) for brand in brands]
    rows = [row for s in sections for topic in s.topics for row in topic.rows]
    return show.page(
        "preferences.html",
        visit.tenant,
        visit.brand,
        sections=[section for section in sections if section.topics or section.always],
        sender=visit.tenant.name,
        channel=own.subject.channel,
        address=own.masked,
        others=len(shown) > 1,
        done=done,
        undo=done.undo if done.changes else [],
        any_on=any(row.on for row in rows),
        any_choice=any(not row.locked for row in rows),
        left_all=all(_left(place) for place in places),
        stopped=any(_stopped(place) for place in shown),
        old=not own.direct and own.address is not None,
        asks=any(_asks(visit.tenant, place) for place in shown),
        pauses=_pauses(visit, own),
        may_resume=own.direct,
        scopes=[("all", None), *((b.slug, b.named(show.language().code)) for b in brands)],
        saw=" ".join(f"{place.key}:{place.known.standing.seq}" for place in places),
        shown=" ".join(row.name for row in rows if row.on),
        limits=" ".join(f"{t.slug}:{t.limit}" for s in sections for t in s.topics if t.at_most),
    )


def _asks(tenant: Tenant, place: Place) -> bool:
    """Whether a message can be sent there, to ask."""
    settings, channel = door.installation().settings, place.subject.channel
    return channel in letters.GO_BY and letters.writer(settings, tenant, channel) is not None


def _stopped(place: Place) -> bool:
    """Whether texts are blocked by the provider as well. One block is for SMS and RCS (Twilio)."""
    texts = place.subject.channel in (Channel.SMS, Channel.RCS)
    return texts and place.known.standing.stopped


def _left(place: Place) -> bool:
    return any(out.scope == ALL and out.voice is Voice.PERSON for out in place.known.standing.outs)


def _section(visit: Visit, brand: Brand, places: list[Place]) -> Section:
    code = show.language().code
    topics = [t for t in visit.marketing() if t.scope.brand == brand.id]
    shown = [_topic(visit, topic, places) for topic in topics]
    always = visit.transactional(*(place.subject.channel for place in places))
    return Section(
        brand.slug,
        brand.named(code),
        brand.about(code),
        [topic for topic in shown if topic.rows],
        [show.title(topic) for topic in always if topic.scope.brand == brand.id],
    )


def _topic(visit: Visit, topic: Topic, places: list[Place]) -> Shown:
    rows, limits = [], []
    for place in places:
        if place.subject.channel in topic.offered:
            decision = place.decide(topic)
            on = decision.verdict is Verdict.ALLOW
            locked = not on and not may_turn_on(visit, place, topic, decision)
            channel = str(place.subject.channel)
            rows.append(Row(place.name(topic), channel, place.masked, on, locked, _why(decision)))
            limits.append(limit_of(place, topic))
    # The first is the page's own address, where the topic goes to it.
    return Shown(
        topic.slug,
        show.title(topic),
        show.description(topic),
        rows,
        topic.at_most if not all(row.locked for row in rows) else (),
        next(iter(limits), 0),
    )


class Pause(NamedTuple):
    scope: str
    name: str | None
    until: Millis


def _pauses(visit: Visit, own: Place) -> list[Pause]:
    """The pauses in force of the page's own address, which alone can be ended on it."""
    found = []
    for snooze in own.known.standing.snoozes:
        brand = visit.tenant.brand_of(snooze.scope)
        if snooze.until > door.now() and (snooze.scope == ALL or (brand and not snooze.scope[1])):
            name = brand.named(show.language().code) if brand else None
            found.append(Pause(brand.slug if brand else "all", name, snooze.until))
    return found


# --- what the page says ---


def _why(decision: Decision) -> str:
    """Why they get it or not: the word on record, in one sentence."""
    day = show.language().day(decision.ground.when) if decision.ground else ""
    return show.say(_WHY.get(decision.reason, _OTHER), day=day)


def N_(sentence: str) -> str:
    return sentence


_OTHER = N_("This cannot be sent to you.")
_BACK = N_("Messages to this address came back.")
_WHY: Mapping[str, str] = {
    "no_objection": N_("You have not objected."),
    "consent": N_("You asked for this on %(day)s."),
    "opted_out": N_("You unsubscribed on %(day)s."),
    "replied_stop": N_("You replied STOP on %(day)s."),
    "sender_opted_out": N_("The sender stopped sending you this on %(day)s."),
    "complained": N_("You reported a message as spam on %(day)s."),
    "erased": N_("Your data was erased on %(day)s."),
    "no_consent": N_("You have not asked for this."),
    "consent_expired": N_("You asked for this a while ago, and your consent has expired."),
    "snoozed": N_("Paused."),
    "hard_bounce": _BACK,
    "invalid": _BACK,
    "unreachable": _BACK,
}
