"""The addresses of a person, as one page has them, and what a press on it may do at each."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Connection

from prefs import ledger, letters
from prefs.address import Address, Channel
from prefs.ledger import Known, Subject
from prefs.links import MAY_TURN_ON_FOR
from prefs.policy import (
    Decision,
    Message,
    Standing,
    Topic,
    may_send,
)
from prefs.web import door
from prefs.web.pages.visit import (
    Visit,
    known,
    masked,
)

MOST_SHOWN = 20
"""Addresses that one page shows. Leaving and pausing reach them all."""

MOST_OF_ONE = 1000
"""Nobody has so many addresses: a sender has given one id to everybody."""

_FIRST_SHOWN = (Channel.EMAIL, Channel.SMS, Channel.WHATSAPP, Channel.RCS, Channel.PUSH)

FOR_THE_RIGHTS_DESK = frozenset({"minor", "restricted", "do_not_contact"})
CONFIRMED_ALONE = frozenset(
    {"complained", "erased", "hard_bounce", "invalid", "unreachable", "reassigned"}
)
"""What no press on this page ends, and a confirmed opt-in may."""


@dataclass(frozen=True, slots=True)
class Place:
    """One of the person's addresses. ``direct``: a press here may turn things on at it.

    ``link`` is kept with what is said about it through the link of another address.
    """

    key: str
    subject: Subject
    known: Known
    direct: bool
    link: Mapping[str, str] = field(default_factory=dict)

    def decide(self, topic: Topic, standing: Standing | None = None) -> Decision:
        message = Message(topic, self.subject.channel)
        return may_send(message, standing or self.known.standing, door.now())

    def name(self, topic: Topic) -> str:
        return f"{self.key}.{topic.slug}"

    @property
    def masked(self) -> str | None:
        return masked(self.subject.channel, self.known.value)

    @property
    def address(self) -> Address | None:
        """Where a question can be sent."""
        value, channel = self.known.value, self.subject.channel
        address = Address(channel, value) if value and channel in letters.GO_BY else None
        return address if address and address.can_consent else None


def places_of(connection: Connection, visit: Visit) -> list[Place]:
    """The address that the link was sent to, then all others of the person."""
    own = known(connection, visit)
    may = door.now() - visit.claim.minted <= MAY_TURN_ON_FOR and _can_consent(visit, own)
    mine = Place(_key(own.digest), visit.subject, own, may)
    tenant, link = visit.tenant.id, {"link": mine.key}
    family = ledger.family(connection, tenant, own.digest)
    if len(family) >= MOST_OF_ONE:
        return [mine]
    family.sort(key=lambda subject: _FIRST_SHOWN.index(subject.channel))
    standings = ledger.standings(connection, tenant, [subject.digest for subject in family])
    others = []
    for other in family:
        # One that this release cannot read is what its events amount to.
        standing = standings.get(other.digest) or ledger.standing(connection, tenant, other.digest)
        there = Known(other.digest, other.value, standing)
        others.append(Place(_key(other.digest), other, there, False, link))
    return [mine, *others]


def _key(digest: bytes) -> str:
    return digest.hex()[:12]


def shown_of(places: list[Place]) -> list[Place]:
    """Those that the page shows: no device that is gone, and through an old link its own alone.

    An unsubscribe link stands in a header that every mail server on the way has read, and in
    what was forwarded for years: it leaves all, and shows nobody else's eyes what there is.
    """
    if not places[0].direct:
        return places[:1]
    return [
        place
        for number, place in enumerate(places)
        if number == 0 or place.subject.channel != "push" or not place.known.standing.blocks
    ][:MOST_SHOWN]


def _can_consent(visit: Visit, own: Known) -> bool:
    """Where the value is erased, the link has reached whoever it was."""
    return own.value is None or Address(visit.claim.channel, own.value).can_consent


def may_turn_on(visit: Visit, place: Place, topic: Topic, decision: Decision) -> bool:
    """Whether a tick here could turn it on, or an answer at the address itself."""
    if place.direct and decision.reason not in CONFIRMED_ALONE:
        return decision.reason not in FOR_THE_RIGHTS_DESK
    standing, channel = place.known.standing, place.subject.channel
    brand, settings = visit.tenant.brand_of(topic.scope), door.installation().settings
    if brand is None or not letters.can_send(settings, visit.tenant, brand, channel):
        return False
    return place.address is not None and not letters.asks_in_vain(
        visit.tenant, topic, channel, standing, standing.seq, door.now()
    )


def limit_of(place: Place, topic: Topic) -> int:
    limit = place.known.standing.limit(topic.scope)
    return limit.per_week if limit else 0
