"""/preview, which only a demo serves: every page of the recipients', in every language and brand.

Its links are minted for made-up addresses, or for the cast: a link works without a row, so that
looking writes nothing. What comes after a press is pressed here, on the real page.
"""

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

from flask import Blueprint, Response, render_template
from werkzeug.exceptions import NotFound

from prefs import codes, languages, letters
from prefs.address import Address, Channel
from prefs.database import Unavailable
from prefs.demo import ALICE, BOB, CAROL, DAVE, ERIN, FRANK, KIM
from prefs.directory import Brand, Tenant
from prefs.ledger import Subject
from prefs.letters import Letter, Written
from prefs.letters.asking import LINK
from prefs.links import CONFIRM_FOR, MAY_TURN_ON_FOR, Action, Claim
from prefs.policy import ALL, Millis, Purpose, Scope, Topic
from prefs.web import door
from prefs.web.pages import problems, show

preview = Blueprint("preview", __name__)
problems.tell(preview)


@preview.get("/preview")
def show_all() -> Response:
    return _page(_tenant())


@preview.post("/preview")
def make_code() -> Response:
    """A press, because a code is kept: the page again, with one that opens Alice's choices."""
    tenant = _tenant()
    with door.writing() as connection:
        code = codes.make(connection, tenant.id, Subject.of(tenant, ALICE), door.now())
    return _page(tenant, code)


@preview.get("/preview/<fault>")
def show_fault(fault: str) -> Response:
    """What a page answers while the store is away, or by a mistake of ours."""
    if fault == "away":
        raise Unavailable
    if fault == "mistake":
        raise RuntimeError
    raise NotFound


class State(NamedTuple):
    """One page: where it is and, if it comes after a press, what the button sends there."""

    name: str
    url: str
    sends: tuple[tuple[str, str], ...] | None = None


class Group(NamedTuple):
    title: str
    states: list[State]
    letters: tuple[tuple[str, Written], ...] = ()


def _tenant() -> Tenant:
    tenant = door.installation().directory.find(lambda known: known.tenant("acme"))
    if tenant is None:
        raise NotFound
    return tenant


def _page(tenant: Tenant, code: str | None = None) -> Response:
    groups = [_of_brand(tenant, brand) for brand in tenant.brands.values()]
    groups.insert(0, _waiting(tenant))
    html = render_template(
        "preview.html",
        groups=[*groups, _of_people(tenant), _of_anybody(tenant, code)],
        language=show.language(),
        languages=languages.ALL.values(),
        here=show.here(),
    )
    return Response(html)


@dataclass(frozen=True, slots=True)
class Opening:
    """Links of one tenant's, as old as they are asked for."""

    tenant: Tenant

    def __call__(
        self, action: Action, who: Address, scope: Scope, age: Millis = 0, campaign: str = ""
    ) -> str:
        digest, minted = self.tenant.digest(who), door.now() - age
        claim = Claim(action, self.tenant.id, who.channel, digest, scope, minted, campaign)
        return show.here(f"/{_DOORS[action]}/{door.installation().links.sign(claim)}")


_DOORS = {Action.UNSUBSCRIBE: "u", Action.PREFERENCES: "p", Action.CONFIRM: "c"}


def _mail() -> Address:
    return Address(Channel.EMAIL, f"{secrets.token_hex(4)}@example.org")


def _phone(channel: Channel = Channel.SMS) -> Address:
    # Ofcom keeps these numbers for stories.
    return Address(channel, f"+447700900{secrets.randbelow(1000):03}")


def _of_brand(tenant: Tenant, brand: Brand) -> Group:
    topic = next(
        topic
        for topic in tenant.topics.values()
        if topic.scope.brand == brand.id and topic.purpose is Purpose.MARKETING
    )
    states = [*_leaving(tenant, topic), *_choosing(tenant, topic), *_joining(tenant, topic)]
    return Group(brand.name, states, tuple(_letters(tenant, brand, topic)))


def _leaving(tenant: Tenant, topic: Topic) -> Iterator[State]:
    opening, leave, news = Opening(tenant), Action.UNSUBSCRIBE, topic.scope
    brand = Scope(news.brand)
    yield State("Leave a topic", opening(leave, _mail(), news))
    yield State("Leave the brand", opening(leave, _mail(), brand))
    if Channel.WHATSAPP in topic.offered:
        yield State("Leave WhatsApp", opening(leave, _phone(Channel.WHATSAPP), brand))
    yield State("Left the topic, with undo and reasons", opening(leave, _mail(), news), ())
    yield State("Left the brand", opening(leave, _mail(), brand), ())
    yield State("Left everything", opening(leave, _mail(), news), (("leave", "all"),))


def _choosing(tenant: Tenant, topic: Topic) -> Iterator[State]:
    opening, choose, brand = Opening(tenant), Action.PREFERENCES, Scope(topic.scope.brand)
    yield State("Choices", opening(choose, _mail(), brand))
    yield State("Choices saved", opening(choose, _mail(), brand), (("shown", topic.slug),))
    yield State(
        "Choices paused",
        opening(choose, _mail(), brand),
        (("pause", "month"), ("pause_what", "all")),
    )
    yield State("All left from the choices", opening(choose, _mail(), brand), (("leave", "all"),))


def _joining(tenant: Tenant, topic: Topic) -> Iterator[State]:
    opening, confirm, news = Opening(tenant), Action.CONFIRM, topic.scope
    form = show.here(f"/s/{tenant.slug}/{topic.slug}")

    def asked() -> str:
        return opening(confirm, _mail(), news, campaign="0")

    yield State("Sign up", form)
    if Channel.SMS in topic.offered:
        by_text = f"{form}{'&' if '?' in form else '?'}channel=sms"
        yield State("Sign up by text", by_text)
        yield State("Number misspelt", by_text, (("channel", "sms"), ("address", "12")))
        yield State("Asked by text", by_text, (("channel", "sms"), ("address", _phone().value)))
    yield State("Address misspelt", form, (("address", "name@"),))
    yield State("Asked", form, (("address", _mail().value),))
    yield State("The question", asked())
    yield State("Confirmed", asked(), (("answer", "yes"),))
    yield State("Refused", asked(), (("answer", "no"),))
    yield State(
        "The question, too old",
        opening(confirm, _mail(), news, age=2 * CONFIRM_FOR, campaign="0"),
    )


def _letters(tenant: Tenant, brand: Brand, topic: Topic) -> Iterator[tuple[str, Written]]:
    code, opened = show.language().code, door.installation()

    def written(who: Address, scope: Scope, kind: str) -> Written:
        letter = Letter.to(who, tenant, scope, kind=kind, language=code, saw=0, asked_at=door.now())
        return letters.written(tenant, letter, opened.links, opened.settings.public_url)

    yield "The question, by mail", written(_mail(), topic.scope, "confirm")
    if Channel.SMS in topic.offered:
        yield "The question, by text", written(_phone(), topic.scope, "confirm")
        welcome = letters.welcome(brand, topic, code)
        yield "The answer to a YES", Written("", welcome, "")
    yield "A link, by mail", written(_mail(), Scope(brand.id), LINK)
    yield "A link, by text", written(_phone(), Scope(brand.id), LINK)


def _waiting(tenant: Tenant) -> Group:
    """What the demo would have sent: it sends nothing, and its questions are answered here."""
    opened = door.installation()
    with door.reading() as connection:
        found = letters.waiting(connection, tenant.id)
    told = tuple(
        (f"To {Address(letter.channel, letter.value or '').masked}", written)
        for letter in found
        for written in [letters.written(tenant, letter, opened.links, "")]
    )
    return Group("Letters that a demo does not send", [], told)


def _of_people(tenant: Tenant) -> Group:
    opening = Opening(tenant)
    leave, choose = Action.UNSUBSCRIBE, Action.PREFERENCES
    news, tips = tenant.topic("product-news"), tenant.topic("trail-tips")
    # A form from before Bob left: it wants what it had shown, and so changes nothing.
    on = (("on", news.slug), ("on", tips.slug))
    stale = (("saw", "0"), ("shown", f"{news.slug} {tips.slug}"), *on)
    return Group(
        "Of the cast",
        [
            State("Already left: Bob", opening(leave, BOB, news.scope)),
            State("Said why: Bob", opening(leave, BOB, news.scope), (("reason", "too-many"),)),
            State("Leave texts: Frank", opening(leave, FRANK, news.scope)),
            State("Two addresses: Kim", opening(choose, KIM, ALL)),
            State("After a spam report: Carol", opening(choose, CAROL, ALL)),
            State("After STOP: Dave", opening(choose, DAVE, ALL)),
            State("After erasure: Erin", opening(choose, ERIN, ALL)),
            State("Through an old link: Alice", opening(choose, ALICE, ALL, 2 * MAY_TURN_ON_FOR)),
            State("Changed meanwhile: Bob", opening(choose, BOB, ALL), stale),
            State(
                "Yes, to a question from before a no: Bob",
                opening(Action.CONFIRM, BOB, news.scope, campaign="0"),
                (("answer", "yes"),),
            ),
        ],
    )


def _of_anybody(tenant: Tenant, code: str | None) -> Group:
    opening = Opening(tenant)
    leave, lost = Action.UNSUBSCRIBE, show.here(f"/lost/{tenant.slug}")
    enter = show.here("/code")
    whole = opening(leave, _mail(), ALL)
    path = whole.partition("?")[0]
    broken = path[:-3] + whole[len(path) :]
    making = State("Make a code for Alice's choices", show.here("/preview"), ())
    made = State(f"Alice's choices, by the code {code}", enter, (("code", code or ""),))
    return Group(
        "Of no brand",
        [
            State("Leave everything", whole),
            State("Left everything", opening(leave, _mail(), ALL), ()),
            State("A topic that is gone", opening(leave, _mail(), Scope(None, 9999))),
            State("A link that is not whole", broken),
            State("Get a link", lost),
            State("Get a link, misspelt", lost, (("address", "name@"),)),
            State("Link on its way", lost, (("address", _mail().value),)),
            State("Enter a code", enter),
            State("A wrong code", enter, (("code", "AAAA-AAAA-AA"),)),
            made if code else making,
            State("The store is away", show.here("/preview/away")),
            State("Our mistake", show.here("/preview/mistake")),
        ],
    )
