"""People are spoken to in their own language, whole, and each brand looks as itself."""

import base64
import gettext
import hashlib
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser
from itertools import count
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from prefs import codes, demo, directory, gsm, languages, ledger, letters, rights
from prefs.address import Address, Channel
from prefs.demo import CAROL, DAVE, Cast
from prefs.directory import titled
from prefs.installation import Installation
from prefs.languages import Language
from prefs.ledger import Said, Subject
from prefs.letters.asking import CONFIRM, LINK, Letter
from prefs.letters.words import Written, question_by_text, welcome, written
from prefs.links import CONFIRM_FOR, MAY_TURN_ON_FOR, Action, Claim
from prefs.look import shades
from prefs.policy import ALL, Authority, Block, Event, Kind, Scope, Voice
from prefs.web import shortcut
from prefs.web.pages.show import PROPER
from tests.catalogues import catalogue, said
from tests.conftest import Api, Clock
from tests.test_check import taken_away
from tests.test_leave_page import ONE_STORE
from tests.test_texts import Phone

SPOKEN = sorted(languages.ALL.keys() - {languages.DEFAULT})
SENTENCES = {message.id for message in said() if message.id}
PLACEHOLDER = re.compile(r"%\(\w+\)s|%%")
LOAN_WORDS = {"Code", "Email", "Notification"}
"""Words that some languages have from the same root, and spell alike."""

# 3GPP TS 23.038, the basic alphabet.
GSM = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡ABCDEFGHIJKLMNOPQRSTUVWXYZ"
    "ÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)


# --- the catalogues ---


def test_there_are_at_least_twenty_languages_and_some_run_from_right_to_left() -> None:
    assert len(languages.ALL) >= 20
    backwards = {
        language.code for language in languages.ALL.values() if language.direction == "rtl"
    }
    assert {"ar", "he"} <= backwards
    assert {file.stem for file in languages.HERE.glob("*.po")} == set(SPOKEN)
    names = [language.name for language in languages.ALL.values()]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("code", SPOKEN)
def test_every_sentence_is_translated_and_none_is_left_over(code: str) -> None:
    there = catalogue(code)
    assert not there.obsolete
    told = {message.id: message for message in there if message.id}
    assert told.keys() == SENTENCES
    for sentence, message in told.items():
        assert message.string.strip(), sentence
        assert not message.fuzzy, sentence
        assert message.string != sentence or sentence in LOAN_WORDS, sentence
        both = [sorted(PLACEHOLDER.findall(text)) for text in (sentence, message.string)]
        assert both[0] == both[1], sentence
        if message.python_format:
            assert "%" not in PLACEHOLDER.sub("", message.string), sentence
        assert not re.search(r"[<>{}]", message.string), sentence


@pytest.mark.parametrize("code", SPOKEN)
def test_the_words_that_a_phone_understands_stay_as_they_are(code: str) -> None:
    for message in catalogue(code):
        for word in ("STOP", "START", "YES", "HELP"):
            pattern = rf"(?<![A-Za-z]){word}(?![A-Za-z])"
            asked = len(re.findall(pattern, str(message.id)))
            assert len(re.findall(pattern, str(message.string))) >= asked, message.id
        for example in ("+44 7700 900123", "name@example.org"):
            assert (example in message.id) == (example in message.string), message.id


@ONE_STORE
@pytest.mark.parametrize("code", [*SPOKEN, languages.DEFAULT])
def test_a_text_message_is_one_where_its_letters_are_those_of_phones(code: str, cast: Cast) -> None:
    brand, topic = cast.tenant.brand("acme"), cast.tenant.topic("product-news")
    plain = {"texts": {}, "name": "Acme", "title": "Product news"}
    topic, brand = (replaced(one, plain) for one in (topic, brand))
    for text in (question_by_text(languages.of(code), brand, topic), welcome(brand, topic, code)):
        assert "Acme" in text
        assert "Product news" in text
        if set(text) <= GSM:
            assert len(text) <= gsm.ONE_TEXT
        else:
            # Of UCS-2 there are 67 in each piece of several.
            assert len(text) <= 2 * 67


def replaced(one: Any, parts: dict[str, Any]) -> Any:
    return one.__class__(
        **{name: parts.get(name, getattr(one, name)) for name in one.__dataclass_fields__}
    )


LATIN = {"cs", "da", "de", "en", "es", "fi", "fr", "hu", "id", "it", "nb", "nl", "pl", "pt", "sv"}
LATIN |= {"ro", "tr", "vi"}
NAMES = ("brand", "topic", "topics", "choices", "contact")
IN_TEXTS = [
    sentence
    for sentence in sorted(SENTENCES)
    if sentence.startswith("%(brand)s") and re.search("STOP|START", sentence)
]


@pytest.mark.parametrize("code", sorted(LATIN))
def test_texts_in_latin_letters_cost_one_text(code: str) -> None:
    assert len(IN_TEXTS) == 9
    for sentence in IN_TEXTS:
        bare = languages.ALL[code].say(sentence, **dict.fromkeys(NAMES, ""))
        assert set(bare) <= GSM, set(bare) - GSM
        # What is left is for the names, or for what else the person may choose.
        assert len(bare) <= gsm.ONE_TEXT - 50, sentence


# --- nothing is left untranslated ---


class Hollow(gettext.NullTranslations):
    """A catalogue whose every sentence is its placeholders and no letter: what has one on a page
    was not asked of it."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: set[str] = set()

    def gettext(self, message: str) -> str:
        self.asked.add(message)
        return f"⟦{' '.join(PLACEHOLDER.findall(message))}⟧"


NOWHERE = "eo"


@pytest.fixture
def hollow(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hollow]:
    language = Language(NOWHERE)
    language.catalogue = words = Hollow()
    monkeypatch.setitem(languages.ALL, NOWHERE, language)
    languages._best.cache_clear()
    yield words
    languages._best.cache_clear()


class Shown(HTMLParser):
    """All that is written on a page, and all that is read out of it."""

    READ_OUT = ("title", "alt", "aria-label", "aria-description", "placeholder", "label", "content")
    TAKES_TYPING = (None, "text", "email", "tel", "hidden", "checkbox")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.silent = 0
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        self.silent += tag in ("style", "script")
        if tag == "meta":
            assert given.keys() <= {"charset", "name", "content"}
            assert given.get("name", "robots") not in ("description", "application-name")
            return
        self.texts += [text for name in self.READ_OUT if (text := given.get(name))]
        if tag == "input" and given.get("type") not in self.TAKES_TYPING:
            self.texts.append(given.get("value") or "")

    def handle_endtag(self, tag: str) -> None:
        self.silent -= tag in ("style", "script")

    def handle_data(self, data: str) -> None:
        if not self.silent:
            self.texts.append(data)


MASKED = r"\w?•••@\w?•••\.?\w*|\+\d•+\d\d|\w+:•••"
A_DAY = r"\d{4}-\w+-\d\d"


def data(cast: Cast) -> list[str]:
    """What is a name, or was said by the tenant or the person, and is nobody's to translate."""
    tenant = cast.tenant
    words = [tenant.name, "name@example.org", *(lang.name for lang in languages.ALL.values())]
    words += PROPER.values()
    for brand in tenant.brands.values():
        words += [
            brand.name,
            brand.about(NOWHERE),
            brand.contact,
            *brand.postal_address.split("\n"),
        ]
    for topic in tenant.topics.values():
        words += [topic.title, topic.description]
    return sorted(words, key=len, reverse=True)


def untranslated(html: str, cast: Cast) -> list[str]:
    known = "|".join([MASKED, A_DAY, *map(re.escape, data(cast))])
    texts = [re.sub(known, " ", text) for text in Shown(html).texts]
    return [text.strip() for text in texts if re.search(r"[^\W\d_]", text)]


class Visitor:
    """Somebody with links, who looks at one page after the other in one language."""

    def __init__(self, client: FlaskClient, opened: Installation, cast: Cast, clock: Clock) -> None:
        self.client, self.opened, self.cast, self.clock = client, opened, cast, clock
        self.tenant = cast.tenant
        self.news = cast.tenant.topic("product-news").scope
        self.acme = Scope(cast.tenant.brand("acme").id)
        self.headers = {"Accept-Language": NOWHERE}
        self.numbers = count()

    def somebody(self, channel: Channel = Channel.EMAIL, *events: Event, **of: Any) -> Address:
        number = next(self.numbers)
        value = {
            Channel.EMAIL: f"person{number}@example.org",
            Channel.SMS: f"+1415555{1000 + number}",
            Channel.WHATSAPP: f"+1415555{1000 + number}",
            Channel.RCS: f"+1415555{1000 + number}",
            Channel.PUSH: f"fcm:{number}",
        }[channel]
        return self.say(Address(channel, value), *events, **of)

    def say(self, who: Address, *events: Event, **of: Any) -> Address:
        with self.opened.database.writing() as connection:
            subject = Subject.of(self.tenant, who)
            ledger.remember(connection, self.tenant.id, [subject])
            for event in events:
                ledger.record(connection, self.tenant.id, Said(subject, event, **of))
        return who

    def event(self, kind: Kind, scope: Scope = ALL, **parts: Any) -> Event:
        given: dict[str, Any] = {"authority": Authority.PERSON, **parts}
        return Event(kind, self.clock(), scope, **given)

    def yes(self, **parts: Any) -> Event:
        return self.event(Kind.IN, self.news, basis="express", **parts)

    def no(self, scope: Scope = ALL, voice: Voice = Voice.PERSON) -> Event:
        return self.event(Kind.OUT, scope, voice=voice)

    def path(
        self, door: str, who: Address | None = None, scope: Scope | None = None, **of: Any
    ) -> str:
        action = {"u": Action.UNSUBSCRIBE, "p": Action.PREFERENCES, "c": Action.CONFIRM}[door]
        who = who or self.somebody()
        claim = Claim(
            action,
            self.tenant.id,
            who.channel,
            self.tenant.digest(who),
            self.news if scope is None else scope,
            **{"minted": self.clock(), **of},
        )
        return f"/{door}/{self.opened.links.sign(claim)}"

    def get(self, path: str) -> TestResponse:
        return self.client.get(path, headers=self.headers)

    def post(self, path: str, **form: Any) -> TestResponse:
        return self.client.post(path, data=form, headers=self.headers, follow_redirects=True)

    def press(self, page: TestResponse, button: str = "", **form: Any) -> TestResponse:
        """Sends the form that has the button, as a browser does; boxes are as they were."""
        for found in re.findall(r"<form.*?</form>", page.text, re.DOTALL):
            if button in found:
                fields = re.findall(r'type="hidden" name="([^"]*)" value="([^"]*)"', found)
                ticked = re.findall(r'name="on" value="([^"]*)"[^>]* checked', found)
                to = re.search(r'action="([^"]*)"', found)
                assert to
                return self.post(to[1], **{**dict(fields), "on": ticked, **form})
        raise AssertionError(button)

    def code(self) -> str:
        subject = Subject.of(self.tenant, self.somebody())
        with self.opened.database.writing() as connection:
            return codes.make(connection, self.tenant.id, subject, self.clock())

    def family(self) -> Address:
        """Somebody with an email address and a phone."""
        person = f"crm:{next(self.numbers)}"
        self.somebody(Channel.SMS, self.yes(), person=person)
        return self.somebody(Channel.EMAIL, self.yes(), person=person)


def left(v: Visitor, scope: Scope | None = None) -> TestResponse:
    return v.post(v.path("u", scope=scope))


def saved(v: Visitor) -> TestResponse:
    page = v.get(v.path("p", v.family()))
    boxes = re.findall(r'name="on" value="([^"]*)"( |[^>]* )?(checked)?', page.text)
    off = [name for name, _, on in boxes if not on]
    return v.press(page, "most.", on=off, **{"most.product-news": "2"})


def no_limit(v: Visitor) -> TestResponse:
    who = v.somebody(Channel.EMAIL, v.event(Kind.LIMIT, v.news, per_week=2))
    return v.press(v.get(v.path("p", who)), "most.", **{"most.product-news": "0"})


def stale(v: Visitor) -> TestResponse:
    who = v.somebody()
    page = v.get(v.path("p", who))
    v.say(who, v.no())
    return v.press(page, "most.")


def asked_elsewhere(v: Visitor) -> TestResponse:
    who = v.family()
    page = v.get(v.path("p", who, minted=v.clock() - MAY_TURN_ON_FOR - 1000))
    return v.press(page, "most.", on=re.findall(r'name="on" value="([^"]*)"', page.text))


def not_saved(v: Visitor) -> TestResponse:
    """Whoever was asked a moment ago is not asked again."""
    who = v.somebody(Channel.EMAIL, v.event(Kind.BLOCK, block=Block.HARD_BOUNCE))
    page = v.get(v.path("p", who))
    ticked = re.findall(r'name="on" value="([^"]*)"', page.text)
    v.press(page, "most.", on=ticked)
    return v.press(page, "most.", on=ticked)


def saved_on(v: Visitor, channel: Channel) -> TestResponse:
    who = v.somebody(channel, v.yes())
    return v.press(v.get(v.path("p", who)), 'name="shown"', on=[])


def of_one_name(v: Visitor) -> TestResponse:
    """A company that is called as one of its brands."""
    key = {"Authorization": f"Bearer {v.cast.key}"}
    v.client.patch("/v1/tenant", json={"name": "Acme"}, headers=key)
    try:
        return v.get(v.path("u", scope=v.acme))
    finally:
        v.client.patch("/v1/tenant", json={"name": v.tenant.name}, headers=key)


def nothing_to_choose(v: Visitor) -> TestResponse:
    """A company that has no topic yet."""
    with v.opened.database.writing() as connection:
        new = directory.add_tenant(connection, "new", "Acme Group", v.clock())
        directory.add_brand(connection, new, "acme", "Acme", "help@acme.example", v.clock())
    v.opened.directory.refresh()
    claim = Claim(Action.PREFERENCES, new, Channel.EMAIL, b"x" * 16, ALL, v.clock())
    return v.get(f"/p/{v.opened.links.sign(claim)}")


def paused(v: Visitor, what: str = "all") -> TestResponse:
    return v.post(v.path("p"), pause="month", pause_what=what, saw="0")


def resumed(v: Visitor) -> TestResponse:
    who = v.somebody()
    v.post(v.path("p", who), pause="month", pause_what="all")
    return v.press(v.get(v.path("p", who)), "resume", resume="all")


def undone(v: Visitor, *meanwhile: Event) -> TestResponse:
    who = v.somebody()
    page = v.post(v.path("u", who))
    v.say(who, *meanwhile)
    return v.press(page, 'name="undo"')


def thanked(v: Visitor) -> TestResponse:
    path = v.path("u")
    v.post(path)
    return v.post(path, reason="other")


def after_erasure(v: Visitor) -> TestResponse:
    who = v.somebody(Channel.EMAIL, v.yes())
    with v.opened.database.writing() as connection:
        rights.erase(connection, v.tenant.id, Subject.of(v.tenant, who), v.clock())
    return v.get(v.path("p", who))


def snoozed_topic(v: Visitor) -> TestResponse:
    snooze = v.event(Kind.SNOOZE, v.acme, until=v.clock() + 10**9)
    return v.get(v.path("p", v.somebody(Channel.EMAIL, snooze)))


def some_ticked(v: Visitor) -> TestResponse:
    return v.get(v.path("p", v.somebody(Channel.EMAIL, v.no(), v.yes(saw=1))))


def asked_again(v: Visitor) -> TestResponse:
    who = v.somebody()
    with v.opened.database.writing() as connection:
        asked = letters.ask(
            connection,
            v.tenant,
            who,
            v.tenant.topic("product-news"),
            language=NOWHERE,
            through="sign-up form",
            evidence={},
            network=None,
            now=v.clock(),
        )
    assert asked.letter
    v.say(who, v.no(v.news))
    return v.post(v.path("c", who, campaign=str(asked.letter.saw)), answer="yes")


def confirmed(v: Visitor) -> TestResponse:
    return v.post(v.path("c", campaign="0"), answer="yes")


def gone(v: Visitor, door: str = "u", **of: Any) -> str:
    return v.path(door, scope=Scope(v.acme.brand, 999), **of)


def with_block(block: Block) -> Callable[[Visitor], TestResponse]:
    return lambda v: v.get(v.path("p", v.somebody(Channel.EMAIL, v.event(Kind.BLOCK, block=block))))


def standing_of(*kinds: str) -> Callable[[Visitor], TestResponse]:
    def look(v: Visitor) -> TestResponse:
        events = {
            "sender": lambda: v.no(v.news, Voice.SENDER),
            "person": lambda: v.no(v.news),
            "expired": lambda: v.yes(until=v.clock() - 1),
            "yes": v.yes,
        }
        channel = Channel.SMS if "expired" in kinds else Channel.EMAIL
        return v.get(v.path("p", v.somebody(channel, *(events[kind]() for kind in kinds))))

    return look


def broken(v: Visitor) -> TestResponse:
    """A mistake of ours, on a page."""
    app: Flask = v.client.application
    view = app.view_functions["leave.show_leave"]
    app.view_functions["leave.show_leave"] = lambda token: 1 // 0
    try:
        return v.get(v.path("u"))
    finally:
        app.view_functions["leave.show_leave"] = view


def busy(v: Visitor) -> TestResponse:
    """No seat was free."""
    seats = shortcut.Seats.take
    shortcut.Seats.take = lambda self: False  # type: ignore[method-assign]
    try:
        return v.get(v.path("u"))
    finally:
        shortcut.Seats.take = seats  # type: ignore[method-assign]


Look = Callable[[Visitor], TestResponse]

PAGES: dict[str, tuple[int, Look]] = {
    "leave a topic": (200, lambda v: v.get(v.path("u"))),
    "leave a brand": (200, lambda v: v.get(v.path("u", scope=v.acme))),
    "leave all": (200, lambda v: v.get(v.path("u", scope=ALL))),
    "leave by text": (200, lambda v: v.get(v.path("u", v.somebody(Channel.SMS)))),
    "leave WhatsApp": (200, lambda v: v.get(v.path("u", v.somebody(Channel.WHATSAPP)))),
    "leave RCS": (200, lambda v: v.get(v.path("u", v.somebody(Channel.RCS)))),
    "leave by push": (200, lambda v: v.get(v.path("u", v.somebody(Channel.PUSH)))),
    "leave, erased": (200, lambda v: v.get(v.path("u", demo.ERIN))),
    "leave, erased phone": (
        200,
        lambda v: v.get(v.path("u", Address(Channel.SMS, "+14155559999"))),
    ),
    "leave what is gone": (200, lambda v: v.get(gone(v))),
    "left a topic": (200, left),
    "left a brand": (200, lambda v: left(v, v.acme)),
    "left all": (200, lambda v: left(v, ALL)),
    "left what is gone": (200, lambda v: v.post(gone(v))),
    "left before": (200, lambda v: v.get(v.path("u", v.somebody(Channel.EMAIL, v.no(v.news))))),
    "left all before": (200, lambda v: v.get(v.path("u", v.somebody(Channel.EMAIL, v.no())))),
    "left what is gone before": (
        200,
        lambda v: v.get(gone(v, who=v.somebody(Channel.EMAIL, v.no(v.acme)))),
    ),
    "said why": (200, thanked),
    "undone": (200, undone),
    "undone, still out": (200, lambda v: undone(v, v.no(voice=Voice.COMPLAINT))),
    "choices": (200, lambda v: v.get(v.path("p", v.family()))),
    "choices by text": (200, lambda v: v.get(v.path("p", v.somebody(Channel.SMS)))),
    "choices on WhatsApp": (200, lambda v: v.get(v.path("p", v.somebody(Channel.WHATSAPP)))),
    "choices by push": (200, lambda v: v.get(v.path("p", v.somebody(Channel.PUSH)))),
    "choices after spam": (200, lambda v: v.get(v.path("p", CAROL))),
    "choices that are refused": (
        200,
        lambda v: v.post(v.path("p", CAROL), shown="", saw="9", on="product-news"),
    ),
    "choices after STOP": (200, lambda v: v.get(v.path("p", DAVE))),
    "choices after erasure": (200, after_erasure),
    "choices of an old link": (
        200,
        lambda v: v.get(v.path("p", minted=v.clock() - MAY_TURN_ON_FOR - 1000)),
    ),
    "choices with a limit": (
        200,
        lambda v: v.get(
            v.path("p", v.somebody(Channel.EMAIL, v.event(Kind.LIMIT, v.news, per_week=4)))
        ),
    ),
    "some turned on again": (200, some_ticked),
    "sender's no": (200, standing_of("sender")),
    "person's no": (200, standing_of("person")),
    "a consent": (200, standing_of("yes")),
    "an expired consent": (200, standing_of("expired")),
    "bounced": (200, with_block(Block.HARD_BOUNCE)),
    "a child": (200, with_block(Block.MINOR)),
    "a pause of a brand": (200, snoozed_topic),
    "saved": (200, saved),
    "saved no limit": (200, no_limit),
    "saved nothing new": (200, lambda v: v.press(v.get(v.path("p")), "most.")),
    "changed meanwhile": (200, stale),
    "not saved": (200, not_saved),
    "asked elsewhere": (200, asked_elsewhere),
    "saved for push": (200, lambda v: saved_on(v, Channel.PUSH)),
    "saved for WhatsApp": (200, lambda v: saved_on(v, Channel.WHATSAPP)),
    "saved for RCS": (200, lambda v: saved_on(v, Channel.RCS)),
    "a company of one name": (200, of_one_name),
    "nothing to choose": (200, nothing_to_choose),
    "left from the choices": (200, lambda v: v.post(v.path("p"), leave="all")),
    "left a brand from the choices": (200, lambda v: v.post(v.path("p"), leave="acme")),
    "undone from the choices": (
        200,
        lambda v: v.press(v.post(v.path("p"), leave="all"), 'name="undo"'),
    ),
    "paused": (200, paused),
    "paused a brand": (200, lambda v: paused(v, "outdoor")),
    "end of a pause": (200, resumed),
    "sign up": (200, lambda v: v.get("/s/acme/product-news")),
    "sign up by text": (200, lambda v: v.get("/s/acme/product-news?channel=sms")),
    "sign up, misspelt": (422, lambda v: v.post("/s/acme/product-news", address="12")),
    "sign up, misspelt number": (
        422,
        lambda v: v.post("/s/acme/product-news", address="12", channel="sms"),
    ),
    "asked": (200, lambda v: v.post("/s/acme/product-news", address="hans@example.org")),
    "asked by text": (
        200,
        lambda v: v.post("/s/acme/product-news", address="+14155552671", channel="sms"),
    ),
    "a question": (200, lambda v: v.get(v.path("c", campaign="0"))),
    "an old question": (
        200,
        lambda v: v.get(v.path("c", campaign="0", minted=v.clock() - CONFIRM_FOR - 1000)),
    ),
    "a question after a no": (200, asked_again),
    "confirmed": (200, confirmed),
    "refused": (200, lambda v: v.post(v.path("c", campaign="0"), answer="no")),
    "refused what is gone": (200, lambda v: v.post(gone(v, "c", campaign="0"), answer="no")),
    "a question about what is gone": (200, lambda v: v.get(gone(v, "c", campaign="0"))),
    "lost": (200, lambda v: v.get("/lost/acme")),
    "lost, misspelt": (422, lambda v: v.post("/lost/acme", address="12")),
    "lost, asked": (200, lambda v: v.post("/lost/acme", address="hans@example.org")),
    "code": (200, lambda v: v.get("/code")),
    "code that is none": (422, lambda v: v.post("/code", code="AAAA-AAAA-AA")),
    "code that opens": (200, lambda v: v.post("/code", code=v.code())),
    "no link": (404, lambda v: v.get("/u/nothing")),
    "half a link": (404, lambda v: v.get(v.path("u")[:-3])),
    "no form": (404, lambda v: v.get("/s/acme/nothing")),
    "nobody": (404, lambda v: v.get("/lost/nobody")),
    "another method": (405, lambda v: v.client.put(v.path("u"), headers=v.headers)),
    "a mistake of ours": (500, broken),
    "no seat": (503, busy),
}


@pytest.fixture
def visitor(client: FlaskClient, opened: Installation, cast: Cast, clock: Clock) -> Visitor:
    return Visitor(client, opened, cast, clock)


@ONE_STORE
def test_nothing_on_any_page_is_untranslated_and_every_sentence_has_been_seen(
    visitor: Visitor, hollow: Hollow, cast: Cast, request: pytest.FixtureRequest
) -> None:
    found: dict[str, list[str]] = {}
    for name, (status, look) in PAGES.items():
        answer = look(visitor)
        assert (name, answer.status_code) == (name, status)
        assert f'<html lang="{NOWHERE}" dir="ltr">' in answer.text, name
        if wrong := untranslated(answer.text, cast):
            found[name] = wrong
    with taken_away(visitor.opened, request):
        away = visitor.post("/code", code="AAAA-AAAA-AA")
        assert away.status_code == 503
        found |= {"away": wrong} if (wrong := untranslated(away.text, cast)) else {}
    for words in all_letters(visitor):
        text = words.text.replace(words.link, "")
        if wrong := untranslated(f"<title>{words.subject}</title>{text}", cast):
            found[words.text] = wrong
    for answer in answers(visitor, NOWHERE):
        if wrong := untranslated(f"<title>{answer}</title>", cast):
            found[answer] = wrong
    assert found == {}
    assert SENTENCES - hollow.asked == set()


def all_letters(v: Visitor) -> Iterator[Written]:
    brand, topic = v.tenant.brand("acme"), v.tenant.topic("product-news")
    for channel in (Channel.EMAIL, Channel.SMS):
        for kind, scope in ((CONFIRM, topic.scope), (LINK, v.acme)):
            letter = Letter.to(
                v.somebody(channel),
                v.tenant,
                scope,
                kind=kind,
                language=NOWHERE,
                saw=0,
                asked_at=v.clock(),
            )
            yield written(v.tenant, letter, v.opened.links, "https://prefs.example.com")
    yield Written("", welcome(brand, topic, NOWHERE), "")


def answers(v: Visitor, code: str) -> list[str]:
    """Every answer to a text: to HELP, to a STOP that offers and to what is kept of it, to another
    STOP, to a START too soon after it, to one that is not, and to one of who gets nothing."""
    phone = Phone(v.opened, v.cast, v.clock)
    brand = v.acme.brand
    assert brand is not None
    account = "AC" + "1" * 32
    with v.opened.database.writing() as connection:
        directory.add_sender(
            connection,
            v.tenant.id,
            brand,
            "twilio",
            account,
            "77005",
            "short_code",
            v.clock(),
            clarifies=True,
        )

    def somebody(*events: Event) -> Address:
        who = v.somebody(Channel.SMS, *events)
        with v.opened.database.writing() as connection:
            subject = Subject.of(v.tenant, who)._replace(language=code)
            ledger.remember(connection, v.tenant.id, [subject])
        return who

    events = v.event(Kind.IN, v.tenant.topic("events").scope, basis="express")
    reader, other, stranger = somebody(v.yes(), events), somebody(v.yes(), events), somebody()
    phone.text("STOP", author=stranger)
    said_ = [
        phone.text("HELP", author=reader),
        phone.text("STOP", author=reader, to="77005"),
        phone.text("2", author=reader, to="77005"),
        phone.text("STOP", author=other),
        phone.text("START", author=other),
    ]
    v.clock.forward(minutes=5)
    said_ += [phone.text("START", author=who) for who in (other, stranger)]
    return [str(heard.reply) for heard in said_]


@ONE_STORE
@pytest.mark.parametrize("code", [*SPOKEN, languages.DEFAULT])
def test_an_answer_to_a_text_is_one_text_with_every_name_in_it(code: str, visitor: Visitor) -> None:
    topics = [titled(visitor.tenant.topic(slug), code) for slug in ("product-news", "events")]
    brand, sender = visitor.tenant.brand("acme").named(code), visitor.tenant.name
    for answer, names in zip(
        answers(visitor, code),
        (
            [brand, "help@acme.example"],
            [sender, *(f"{number} {title}" for number, title in enumerate(topics, 1))],
            [sender, topics[1]],
            [sender],
            [sender],
            [sender, *topics],
            [sender],
        ),
        strict=True,
    ):
        assert [name for name in names if name not in answer] == []
        if code in LATIN or gsm.is_gsm(answer):
            assert gsm.septets(answer) <= gsm.ONE_TEXT
        else:
            assert len(answer) <= 2 * 67


# --- which language ---


def speaks(answer: TestResponse) -> str:
    """The language of a page, which it says of itself in three places."""
    assert answer.status_code in (200, 404, 422), answer.status_code
    code = answer.headers["Content-Language"]
    direction = languages.ALL[code].direction
    assert f'<html lang="{code}" dir="{direction}">' in answer.text
    return code


@ONE_STORE
@pytest.mark.parametrize(
    ("accepted", "code"),
    [
        ("", "en"),
        ("de", "de"),
        ("en-GB", "en"),
        ("EN-gb,de", "en"),
        ("DE", "de"),
        ("pt-BR", "pt"),
        ("pt-br, en;q=0.5", "pt"),
        ("zh-TW", "zh"),
        ("zh-Hant-HK", "zh"),
        ("no", "nb"),
        ("nn-NO", "nb"),
        ("iw-IL", "he"),
        ("in", "id"),
        ("de_AT", "de"),
        ("fr;q=0.2, de;q=0.9, en;q=0.1", "de"),
        ("xx, yy;q=0.9, it;q=0.1", "it"),
        ("de;q=0", "en"),
        ("de;q=0, fr;q=0.1", "fr"),
        ("*", "en"),
        ("xx", "en"),
        ("eo", "en"),
        ("de;q=lots, fr", "fr"),
        (";;;,,,==;q", "en"),
        ("../../etc/passwd", "en"),
        ("-", "en"),
        ("\xff\xfe\x80", "en"),
        ("x" * 10_000, "en"),
        ("x-" * 5_000, "en"),
        (",".join(["xx"] * 3_000), "en"),
        ("de" + ",xx" * 3_000, "de"),
    ],
)
def test_a_page_speaks_what_the_browser_likes_best(
    visitor: Visitor, accepted: str, code: str
) -> None:
    visitor.headers = {"Accept-Language": accepted}
    assert speaks(visitor.get(visitor.path("u"))) == code
    assert speaks(visitor.get("/u/nothing")) == code


@ONE_STORE
def test_what_was_picked_goes_before_what_is_known_the_browser_and_the_tenant(
    visitor: Visitor, api: Api
) -> None:
    v, who = visitor, visitor.somebody()
    subject = Subject.of(v.tenant, Address(Channel.EMAIL, "known@example.org"))
    subject = subject._replace(language="it-CH")
    with v.opened.database.writing() as connection:
        ledger.remember(connection, v.tenant.id, [subject])
    known = Address(Channel.EMAIL, str(subject.value))
    assert api("PATCH", "/v1/tenant", {"language": "fr"}).status_code == 200
    for door in ("u", "p"):
        stranger, friend = v.path(door, who), v.path(door, known)
        v.headers = {"Accept-Language": "de"}
        assert speaks(v.get(f"{friend}?lang=ar")) == "ar"
        assert speaks(v.get(friend)) == "it"
        assert speaks(v.get(stranger)) == "de"
        v.headers = {}
        assert speaks(v.get(friend)) == "it"
        assert speaks(v.get(stranger)) == "fr"
    for path in ("/s/acme/events", "/lost/acme"):
        assert speaks(v.get(path)) == "fr"
    # Nobody's: it cannot be told whose it is.
    assert speaks(v.get("/code")) == "en"
    assert speaks(v.get("/code?lang=he")) == "he"


@ONE_STORE
@pytest.mark.parametrize(
    "lang", ["xx", "", "DE-de\x00", "../en", "<b>", "*", "-", "é", "%00", "d", "x" * 9000]
)
def test_a_language_that_nobody_speaks_here_is_not_picked(visitor: Visitor, lang: str) -> None:
    v, who = visitor, visitor.somebody()
    v.headers = {"Accept-Language": "fi"}
    for method in ("GET", "POST"):
        answer = v.client.open(
            v.path("u", who), method=method, query_string={"lang": lang}, headers=v.headers
        )
        assert speaks(answer) in ("fi", "de")
        if not lang.startswith("DE"):
            assert speaks(answer) == "fi"
            assert "lang=x" not in answer.text
            assert known_language(v, who) is None


def known_language(v: Visitor, who: Address) -> str | None:
    with v.opened.database.reading() as connection:
        return ledger.known(connection, v.tenant.id, v.tenant.digest(who)).language


@pytest.mark.parametrize("door", ["u", "p", "c"])
def test_what_was_picked_is_kept_by_a_press_and_never_by_a_look(
    visitor: Visitor, door: str
) -> None:
    v, who = visitor, visitor.somebody()
    path = v.path(door, who, **({"campaign": "0"} if door == "c" else {}))
    v.headers = {"Accept-Language": "fi"}
    for method in ("GET", "HEAD", "OPTIONS"):
        v.client.open(f"{path}?lang=de", method=method, headers=v.headers)
        assert known_language(v, who) is None
    assert speaks(v.get(path)) == "fi"
    form = {"u": {}, "p": {"leave": "all"}, "c": {"answer": "no"}}[door]
    assert speaks(v.post(f"{path}?lang=de", **form)) == "de"
    assert known_language(v, who) == "de"
    for elsewhere in ("u", "p"):
        assert speaks(v.get(v.path(elsewhere, who))) == "de"
    # A mailbox that posts by itself has picked nothing.
    v.post(v.path("u", who), **{"List-Unsubscribe": "One-Click"})
    assert known_language(v, who) == "de"
    # Another time they pick another.
    assert speaks(v.post(f"{path}?lang=FR-ca", **form)) == "fr"
    assert known_language(v, who) == "fr"


def targets(html: str) -> list[str]:
    """Where the page's forms and links go, but for the list of languages and files."""
    page = html.partition("<details>")[0]
    found = re.findall(r'(?:action|<a href)="([^"]+)"', page)
    return [target.replace("&amp;", "&") for target in found]


@ONE_STORE
def test_forms_and_links_stay_in_the_language_that_was_picked(visitor: Visitor) -> None:
    v = visitor
    v.headers = {"Accept-Language": "fi"}
    who = v.family()
    pages = [
        v.get(f"{v.path('u')}?lang=ar"),
        v.post(f"{v.path('u')}?lang=ar"),
        v.get(f"{v.path('p', who)}?lang=ar"),
        v.post(f"{v.path('p', who)}?lang=ar", leave="all"),
        v.get(f"{v.path('c', campaign='0')}?lang=ar"),
        v.get(f"{v.path('c', campaign='0', minted=1000)}?lang=ar"),
        v.post(f"{v.path('c', campaign='0')}?lang=ar", answer="no"),
        v.get("/s/acme/product-news?lang=ar"),
        v.post("/s/acme/product-news?lang=ar", address="12"),
        v.get("/lost/acme?lang=ar"),
        v.get("/code?lang=ar"),
        v.post("/code?lang=ar", code=v.code()),
        v.get(f"{v.path('u')[:-3]}?lang=ar"),
    ]
    for page in pages:
        assert speaks(page) == "ar"
        assert targets(page.text)
        for target in targets(page.text):
            assert re.search(r"[?&]lang=ar(&|$)", target), target
            answer = v.get(urlsplit(target).path + "?" + urlsplit(target).query)
            if answer.status_code == 200 and answer.text.startswith("<"):
                assert speaks(answer) == "ar"
    # And where nothing was picked, nothing is said of it.
    assert "lang=" not in "".join(targets(v.get(v.path("u")).text))


@ONE_STORE
def test_every_page_offers_every_other_language_by_its_own_name(visitor: Visitor) -> None:
    page = visitor.get(f"{visitor.path('u')}?lang=ar").text
    offered = re.findall(r'<li><a href="\?lang=(\w+)" lang="(\w+)"( dir="rtl")?>([^<]+)</a>', page)
    assert [code for code, *_ in offered] == sorted(languages.ALL.keys() - {"ar"})
    for code, lang, backwards, name in offered:
        assert (lang, name) == (code, languages.ALL[code].name)
        assert bool(backwards) == (languages.ALL[code].direction == "rtl")


@ONE_STORE
@pytest.mark.parametrize(
    ("code", "day"),
    [
        ("en", "2 November 2026"),
        ("de", "2. November 2026"),
        ("fr", "2 novembre 2026"),
        ("ja", "2026年11月2日"),
        ("ar", "2 نوفمبر 2026"),
        ("pl", "2 listopada 2026"),
    ],
)
def test_dates_are_written_as_the_language_writes_them(
    visitor: Visitor, code: str, day: str
) -> None:
    who = visitor.somebody(Channel.EMAIL, visitor.no(visitor.news))
    page = visitor.get(f"{visitor.path('p', who)}?lang={code}").text
    assert day in re.sub(r"[\u200e\u200f\u061c]", "", page)


@ONE_STORE
def test_names_and_titles_are_those_of_the_language(visitor: Visitor) -> None:
    page = visitor.get(f"{visitor.path('u')}?lang=de").text
    assert "Produktneuheiten" in page
    assert "Werkzeug, das seine Besitzer überlebt." in page
    # What the tenant does not say in a language, it says in its own.
    page = visitor.get(f"{visitor.path('u')}?lang=fi").text
    assert "Product news" in page


# Each of these is a promise that does not hold yet.


@ONE_STORE
def test_another_language_leaves_the_form_for_texts_what_it_is(visitor: Visitor) -> None:
    page = visitor.get("/s/acme/product-news?channel=sms").text
    assert 'type="tel"' in page
    assert 'type="tel"' in visitor.get(in_german("/s/acme/product-news", page)).text


@ONE_STORE
def test_another_language_after_a_code_is_the_same_page_in_it(visitor: Visitor) -> None:
    answer = visitor.post("/code", code=visitor.code())
    assert "<fieldset" in answer.text
    assert "<fieldset" in visitor.get(in_german(answer.request.path, answer.text)).text


def in_german(path: str, page: str) -> str:
    found = re.search(r'href="([^"]*)" lang="de"', page)
    assert found
    return urljoin(path, found[1].replace("&amp;", "&"))


def test_a_yes_in_another_language_than_its_letter_is_remembered_in_it(visitor: Visitor) -> None:
    v, who = visitor, visitor.somebody()
    v.headers = {}
    assert v.post(f"{v.path('c', who, campaign='0')}?lang=de", answer="yes").status_code == 200
    assert known_language(v, who) == "de"


@ONE_STORE
def test_a_link_cut_short_is_told_of_in_the_language_of_its_likely_tenant(
    visitor: Visitor, api: Api
) -> None:
    api("PATCH", "/v1/tenant", {"language": "fr"})
    visitor.headers = {}
    assert speaks(visitor.get(visitor.path("u")[:-3])) == "fr"


@ONE_STORE
def test_where_no_seat_is_free_no_language_is_spoken_that_is_not_acceptable(
    visitor: Visitor,
) -> None:
    visitor.headers = {"Accept-Language": "de;q=0, fr;q=0.5"}
    page = busy(visitor)
    assert '<html lang="fr"' in page.text
    assert page.headers["Content-Language"] == "fr"


# --- whose looks ---


@ONE_STORE
def test_each_page_is_in_the_colours_and_under_the_sign_of_its_brand(visitor: Visitor) -> None:
    v = visitor
    looks: dict[str, set[str]] = {}
    for brand, topic in (("acme", "product-news"), ("outdoor", "trail-tips")):
        one, scope = v.tenant.brand(brand), v.tenant.topic(topic).scope
        pages = [
            v.get(v.path("u", scope=scope)),
            v.post(v.path("u", scope=scope)),
            v.get(v.path("u", scope=Scope(one.id))),
            v.get(v.path("p", scope=Scope(one.id))),
            v.post(v.path("p", scope=Scope(one.id)), leave="all"),
            v.get(v.path("c", scope=scope, campaign="0")),
            v.post(v.path("c", scope=scope, campaign="0"), answer="no"),
            v.get(f"/s/acme/{topic}"),
            v.post(f"/s/acme/{topic}", address="12"),
            v.post(f"/s/acme/{topic}", address=f"hans@{brand}.example"),
        ]
        shown = shades(one.look)
        for page in pages:
            (style,) = re.findall(r"<style>(.*?)</style>", page.text)
            assert {one.look.accent, one.look.paper, *shown.values()} - {"#ffffff"} <= set(
                re.findall(r"#[0-9a-f]{6}", style)
            )
            assert f'<img src="{one.look.logo}" alt=""' in page.text
            assert f'<bdi translate="no">{one.name}</bdi>' in page.text
            assert one.contact in page.text
            looks.setdefault(brand, set()).add(style)
    # One look for a brand on all of its pages, and no colour of the other's.
    assert [len(styles) for styles in looks.values()] == [1, 1]
    acme, outdoor = (set(re.findall(r"#[0-9a-f]{6}", s.pop())) for s in looks.values())
    assert acme & outdoor <= {"#ffffff"}


@ONE_STORE
def test_every_page_lets_in_its_own_style_and_no_other(visitor: Visitor) -> None:
    visitor.headers = {}
    logos = styled = 0
    for name, (_, look) in PAGES.items():
        page = look(visitor)
        policy = page.headers["Content-Security-Policy"]
        rules = {rule.split()[0]: rule.split()[1:] for rule in policy.split(";")}
        styles = re.findall(r"<style>(.*?)</style>", page.text, re.DOTALL)
        hashes = [base64.b64encode(hashlib.sha256(s.encode()).digest()).decode() for s in styles]
        assert rules["style-src"] == ["'self'", *(f"'sha256-{one}'" for one in hashes)], name
        assert rules["default-src"] == ["'none'"], name
        assert "script-src" not in rules, name
        assert "unsafe" not in policy, name
        assert not re.search(r"<script|\sstyle=|\son\w+=|javascript:", page.text), name
        pictures = re.findall(r'<img[^>]* src="([^"]*)"', page.text)
        for picture in pictures:
            assert picture.startswith("data:image/svg+xml;base64,"), name
            assert "data:" in rules["img-src"], name
        logos, styled = logos + len(pictures), styled + len(styles)
    assert logos > 20
    assert styled > 20
