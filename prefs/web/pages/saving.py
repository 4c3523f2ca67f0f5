"""One form of choices, on its way into the ledger: what was changed, and nothing that was shown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from prefs import ledger, letters
from prefs.ledger import Entry, Recorded, Said
from prefs.links import CONFIRM_FOR
from prefs.policy import (
    ALL,
    Authority,
    Decision,
    Event,
    Kind,
    Millis,
    Outcome,
    Scope,
    Standing,
    Topic,
    Verdict,
    after,
    fold,
)
from prefs.web import door
from prefs.web.pages import show
from prefs.web.pages.places import CONFIRMED_ALONE, Place, limit_of, may_turn_on
from prefs.web.pages.visit import (
    DOUBLE_CLICK,
    Visit,
    out,
    ticked,
    undo_token,
)

DOOR = "preference page"
DAY: Millis = 24 * 3600 * 1000
PAUSES: Mapping[str, Millis] = {"week": 7 * DAY, "month": 30 * DAY, "quarter": 91 * DAY}


@dataclass(slots=True)
class Done:
    """What became of a form."""

    changes: list[tuple[str, str]] = field(default_factory=list)
    asked: list[tuple[str, str]] = field(default_factory=list)
    refused: list[tuple[str, str]] = field(default_factory=list)
    conflict: bool = False
    undone: bool = False
    undo: list[str] = field(default_factory=list)


def _label(topic: Topic, place: Place) -> str:
    names = {"topic": show.title(topic)}
    match place.subject.channel:
        case "email":
            return show.say("%(topic)s by email", **names)
        case "sms":
            return show.say("%(topic)s by text message", **names)
        case "push":
            return show.say("%(topic)s by notification", **names)
        case channel:
            return f"{names['topic']} · {show.PROPER[channel]}"


def save(
    connection: Connection, visit: Visit, places: list[Place], sent: Mapping[str, str]
) -> Done:
    """Records what was changed on the page, and nothing that was only shown."""
    saving = Saving(connection, visit, places, sent)
    if "shown" in sent:
        saving.topics()
        saving.limits()
    # An empty form says nothing.
    saving.pause()
    saving.resume()
    saving.leave()
    saving.done.undo = saving.undo()
    return saving.done


@dataclass(slots=True)
class Press:
    """What one form says about one address, and what of it was written down."""

    place: Place
    asked: set[tuple[Kind, Scope]] = field(default_factory=set)
    written: list[Event] = field(default_factory=list)


class Saving:
    """One form, on its way into the ledger."""

    def __init__(
        self, connection: Connection, visit: Visit, places: list[Place], sent: Mapping[str, str]
    ) -> None:
        self.connection = connection
        self.visit = visit
        self.places = places
        self.sent = sent
        own = places[0].key
        # A page of the release before names topics and one number alone, of the one address.
        self.saw = {key if seq else own: _number(seq or key) for key, seq in _pairs(sent, "saw")}
        self.shown, self.wanted = (
            {name if "." in name else f"{own}.{name}" for name in names}
            for names in (sent.get("shown", "").split(), ticked("on"))
        )
        self.presses = {place.key: Press(place) for place in places}
        self.done = Done()

    def topics(self) -> None:
        shown, wanted = self.shown, self.wanted
        left = self._scope("leave")
        changed = shown ^ wanted
        for place in self.places:
            for topic in self.visit.marketing(place.subject.channel):
                name = place.name(topic)
                if name in shown - wanted:
                    self._off(place, topic)
                elif name in wanted - shown:
                    # Who leaves a brand with the same press has said which of the two holds.
                    if left is None or not left.covers(topic.scope):
                        self._on(place, topic)
                elif place.key in self.saw and self._is_stale(place):
                    is_on = place.decide(topic).verdict is Verdict.ALLOW
                    self.done.conflict |= is_on is not (name in shown)
                changed.discard(name)
        # An address or a topic that is not the page's any more: nothing was done about it.
        self.done.conflict |= bool(changed)

    def _off(self, place: Place, topic: Topic) -> None:
        if self._say(place, out(topic.scope, door.now(), DOOR)).outcome is Outcome.APPLIED:
            self.done.changes.append((_label(topic, place), show.say("You are unsubscribed.")))

    def _on(self, place: Place, topic: Topic) -> None:
        decision = place.decide(topic)
        label = _label(topic, place)
        self.presses[place.key].asked.add((Kind.IN, topic.scope))
        if decision.verdict is Verdict.ALLOW:
            # It was turned on elsewhere meanwhile, or by the first of two clicks.
            if _is_just_said(decision):
                self.done.changes.append((label, show.say("You will get it.")))
            return
        if not may_turn_on(self.visit, place, topic, decision):
            self._refuse(label)
            return
        if not place.direct or decision.reason in CONFIRMED_ALONE:
            self._ask(place, topic, label)
            return
        yes = Event(
            Kind.IN,
            door.now(),
            topic.scope,
            authority=Authority.PERSON,
            saw=self.saw.get(place.key, 0),
            basis="express",
            door=DOOR,
        )
        agreed, outcome = after(place.known.standing, yes)
        if outcome is Outcome.APPLIED and place.decide(topic, agreed).verdict is not Verdict.ALLOW:
            # A pause that the page did not show.
            self.done.conflict = True
            return
        sentence = show.say("Tick what you want to get.")
        if self._say(place, yes, show.wording(sentence, topic)).outcome is Outcome.APPLIED:
            self.done.changes.append((label, show.say("You will get it.")))
        elif self._is_stale(place):
            self.done.conflict = True
        else:
            self._refuse(label)

    def _refuse(self, label: str) -> None:
        self.done.refused.append((label, show.say("It cannot be turned on from here.")))

    def _ask(self, place: Place, topic: Topic, label: str) -> None:
        """The answer decides, at that address: nothing is turned on from here."""
        assert place.address is not None
        self.presses[place.key].asked.add((Kind.PENDING, topic.scope))
        asked = letters.ask(
            self.connection,
            self.visit.tenant,
            place.address,
            topic,
            language=show.language().code,
            through=DOOR,
            evidence={**door.evidence(), **place.link},
            network=None,
            now=door.now(),
        )
        if asked.outcome == "asked" or self._is_asked(place, topic):
            sentence = show.say("We are asking there first: confirm it to turn this on.")
            self.done.asked.append((label, sentence))
        else:
            self._refuse(label)

    def _is_asked(self, place: Place, topic: Topic) -> bool:
        """Whether a question about the topic is open there, so that no other was sent."""
        said = ledger.history(self.connection, self.visit.tenant.id, place.known.digest)
        last = next((e.event for e in reversed(said) if e.event.scope == topic.scope), None)
        is_question = last is not None and last.kind is Kind.PENDING
        return is_question and last is not None and door.now() - last.heard_at < CONFIRM_FOR

    def limits(self) -> None:
        shown = {slug: _number(text) for slug, text in _pairs(self.sent, "limits")}
        for topic in self.visit.marketing():
            chosen = self.sent.get(f"most.{topic.slug}")
            places = [p for p in self.places if p.subject.channel in topic.offered]
            if chosen is None or topic.slug not in shown or not places:
                continue
            per_week = _number(chosen)
            if per_week == shown[topic.slug]:
                is_now = limit_of(places[0], topic)
                self.done.conflict |= self._is_stale(places[0]) and is_now != per_week
            elif per_week in (0, *topic.at_most):
                self._at_most(places, topic, per_week)

    def _at_most(self, places: list[Place], topic: Topic, per_week: int) -> None:
        """Fewer is heard on every address; more, as a yes is, on the page's own alone."""
        outcomes = []
        for place in places:
            now = limit_of(place, topic)
            fewer = per_week and (not now or per_week < now)
            if per_week != now and (fewer or place.direct):
                limit = Event(
                    Kind.LIMIT,
                    door.now(),
                    topic.scope,
                    authority=Authority.PERSON,
                    saw=self.saw.get(place.key, 0),
                    per_week=per_week,
                    door=DOOR,
                )
                outcomes.append(self._say(place, limit).outcome)
            self.presses[place.key].asked.add((Kind.LIMIT, topic.scope))
        if Outcome.REFUSED in outcomes:
            self.done.conflict = True
        elif outcomes or limit_of(places[0], topic) == per_week:
            few = show.say("At most %(number)s a week", number=show.language().number(per_week))
            told = few if per_week else show.say("No limit")
            self.done.changes.append((show.title(topic), told))
        else:
            self._refuse(show.title(topic))

    def pause(self) -> None:
        scope = self._scope("pause_what")
        length = PAUSES.get(self.sent.get("pause", ""))
        if scope is None or length is None:
            self.done.conflict |= length is not None and "pause_what" in self.sent
            return
        until = door.now() + length
        # Elsewhere, and through an old link, a pause can be made longer and never shorter.
        said = [
            (place, self._snooze(scope, until, self._saw(place) if place.direct else None))
            for place in self.places
        ]
        standing = self._tell(said)[0].standing
        day = show.language().day(max(s.until for s in standing.snoozes if s.scope == scope))
        self.done.changes.append((self._named(scope), show.say("Paused until %(day)s.", day=day)))

    def resume(self) -> None:
        """Ends a pause, which turns things on again: on the page's own address alone."""
        scope, own = self._scope("resume"), self.places[0]
        if scope is None:
            return
        if not own.direct:
            self._refuse(self._named(scope))
            return
        heard = self._say(own, self._snooze(scope, door.now(), self._saw(own)))
        if any(s.scope == scope and s.until > door.now() for s in heard.standing.snoozes):
            self.done.conflict = True
        else:
            self.done.changes.append((self._named(scope), show.say("The pause is over.")))

    def _snooze(self, scope: Scope, until: Millis, saw: int | None) -> Event:
        return Event(
            Kind.SNOOZE,
            door.now(),
            scope,
            authority=Authority.PERSON,
            saw=saw,
            until=until,
            door=DOOR,
        )

    def leave(self) -> None:
        if scope := self._scope("leave"):
            self._tell([(place, out(scope, door.now(), DOOR)) for place in self.places])
            self.done.changes.append((self._named(scope), show.say("You are unsubscribed.")))
        else:
            # A brand that is gone meanwhile.
            self.done.conflict |= "leave" in self.sent

    def _scope(self, name: str) -> Scope | None:
        """All, or the brand, that a button names."""
        named = self.sent.get(name)
        if named == "all":
            return ALL
        brand = self.visit.tenant.brands.get(named or "")
        return Scope(brand.id) if brand else None

    def _named(self, scope: Scope) -> str:
        brand = self.visit.tenant.brand_of(scope)
        return brand.named(show.language().code) if brand else show.say("All marketing")

    def _saw(self, place: Place) -> int:
        return self.saw.get(place.key, 0)

    def _is_stale(self, place: Place) -> bool:
        return place.known.standing.seq > self._saw(place)

    def _say(
        self, place: Place, event: Event, wording: Mapping[str, str] | None = None
    ) -> Recorded:
        return self._tell([(place, event)], wording)[0]

    def _tell(
        self, said: Iterable[tuple[Place, Event]], wording: Mapping[str, str] | None = None
    ) -> list[Recorded]:
        said, shown = list(said), {**door.evidence(), **(wording or {})}
        recorded = ledger.record_many(
            self.connection,
            self.visit.tenant.id,
            [Said(place.subject, event, evidence={**shown, **place.link}) for place, event in said],
        )
        for (place, event), became in zip(said, recorded, strict=True):
            press = self.presses[place.key]
            press.asked.add((event.kind, event.scope))
            if became.outcome is Outcome.APPLIED:
                press.written.append(event)
        return recorded

    # --- undo ---

    def undo(self) -> list[str]:
        """What takes back this form, and where it was sent by a double click, both.

        An undo takes back those very events: what was said before stands, so that whoever was
        forwarded a mail cannot press, undo, and so lift an old no.
        """
        tokens = []
        standings = ledger.standings(
            self.connection,
            self.visit.tenant.id,
            [press.place.known.digest for press in self.presses.values() if press.asked],
        )
        for press in self.presses.values():
            if standing := standings.get(press.place.known.digest):
                before, earlier = self._earlier(press)
                if any(_counts(event, before) for event in (*earlier, *press.written)):
                    # Up to the last: a device that was replaced has passed its no on to this one.
                    span = before.seq + 1, standing.seq
                    tokens.append(undo_token(self.visit, press.place.subject, *span))
        return tokens

    def _earlier(self, press: Press) -> tuple[Standing, list[Event]]:
        """The standing before the press, and what its first click said."""
        now, saw = press.place.known.standing, self.saw.get(press.place.key)
        if saw is None or saw >= now.seq:
            return now, []
        said = ledger.history(self.connection, self.visit.tenant.id, press.place.known.digest)
        since = [entry for entry in said if saw < entry.seq <= now.seq]
        if not all(self._is_first_click(entry, press) for entry in since):
            return now, []
        return fold([entry.event for entry in said[:saw]])[0], [entry.event for entry in since]

    def _is_first_click(self, entry: Entry, press: Press) -> bool:
        event, link = entry.event, (entry.evidence or {}).get("link")
        return (
            door.now() - event.heard_at <= DOUBLE_CLICK
            and (event.kind, event.scope) in press.asked
            and (event.door, link) == (DOOR, press.place.link.get("link"))
        )


def _counts(event: Event, before: Standing) -> bool:
    """Whether taking ``event`` back changes anything."""
    if event.kind is Kind.PENDING:
        return False
    return event.kind is not Kind.OUT or not before.objects(event.scope, event.heard_at)


def _is_just_said(decision: Decision) -> bool:
    said = decision.ground
    return said is not None and said.door == DOOR and door.now() - said.when <= DOUBLE_CLICK


def _pairs(sent: Mapping[str, str], name: str) -> list[tuple[str, str]]:
    parts = [part.partition(":") for part in sent.get(name, "").split()]
    return [(one, other) for one, _, other in parts]


def _number(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 16 else 0
