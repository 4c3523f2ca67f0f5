"""A letter in words, in the language of whoever asked for it."""

from typing import NamedTuple

from prefs import gsm, languages
from prefs.address import Channel
from prefs.directory import Brand, Tenant, titled
from prefs.languages import Language
from prefs.letters.asking import LINK, Letter
from prefs.links import Action, Claim, Links
from prefs.policy import Scope, Topic


class Written(NamedTuple):
    """A letter in words. A text has no subject; neither has one a link that is not in its text."""

    subject: str
    text: str
    link: str


def written(tenant: Tenant, letter: Letter, links: Links, public_url: str) -> Written:
    """The letter in the language of whoever asked for it. It advertises nothing: a question that
    did would itself be the advertising that nobody has agreed to (UWG section 7)."""
    if letter.text is not None:
        return Written("", letter.text, "")
    language = languages.of(letter.language)
    brand = tenant.brand_of(letter.scope)
    assert brand is not None
    if letter.kind == LINK:
        return _link_letter(tenant, brand, letter, language, links, public_url)
    topic = tenant.topic_of(letter.scope)
    assert topic is not None
    claim = Claim(
        Action.CONFIRM,
        tenant.id,
        letter.channel,
        letter.digest,
        topic.scope,
        # Not when it is sent: the question ends with its letter.
        minted=letter.asked_at,
        campaign=str(letter.saw),
    )
    link = f"{public_url}/c/{links.sign(claim)}"
    if letter.channel is Channel.SMS:
        return Written("", question_by_text(language, brand, topic), link)
    name, title = brand.named(language.code), titled(topic, language.code)
    subject = language.say("Please confirm: %(topic)s from %(brand)s", topic=title, brand=name)
    asked = language.say("Somebody asked %(brand)s to send this to your address:", brand=name)
    text = _paragraphs(
        asked,
        title,
        language.say("If it was you, open this page and confirm it:"),
        link,
        language.say("You can confirm it until %(day)s.", day=language.day(letter.ends_at)),
        language.say("If it was not you, do nothing: nothing will be sent."),
        _imprint(brand, language),
    )
    return Written(gsm.line(subject), text, link)


def _link_letter(
    tenant: Tenant,
    brand: Brand,
    letter: Letter,
    language: Language,
    links: Links,
    public_url: str,
) -> Written:
    claim = Claim(
        Action.PREFERENCES,
        tenant.id,
        letter.channel,
        letter.digest,
        Scope(),
        minted=letter.asked_at,
    )
    link = f"{public_url}/p/{links.sign(claim)}"
    name = brand.named(language.code)
    if letter.channel is Channel.SMS:
        text = language.say("%(brand)s: your choices: %(link)s", brand=gsm.plain(name), link=link)
        return Written("", text, link)
    subject = language.say("Your choices with %(brand)s", brand=name)
    asked = language.say(
        "Somebody asked %(brand)s for a link to the choices of this address.", brand=name
    )
    text = _paragraphs(
        asked,
        language.say("If it was you, choose here what is sent to you:"),
        link,
        language.say("If it was not you, do nothing: nothing changes."),
        _imprint(brand, language),
    )
    return Written(gsm.line(subject), text, link)


def welcome(brand: Brand, topic: Topic, code: str) -> str:
    """The one answer to a YES that counted, in the language of a code."""
    language = languages.of(code)
    return gsm.fitted(
        lambda name, title: language.say(
            "%(brand)s: you will get %(topic)s. Reply STOP to end, HELP for help.",
            brand=name,
            topic=title,
        ),
        brand.named(language.code),
        titled(topic, language.code),
    )


def question_by_text(language: Language, brand: Brand, topic: Topic) -> str:
    return gsm.fitted(
        lambda name, title: language.say(
            "%(brand)s: reply YES to get %(topic)s by text, STOP to refuse. "
            "Msg&data rates may apply.",
            brand=name,
            topic=title,
        ),
        brand.named(language.code),
        titled(topic, language.code),
    )


def _imprint(brand: Brand, language: Language) -> str:
    """Who writes: their name, where help is, and their postal address."""
    lines = (brand.named(language.code), brand.contact, brand.postal_address)
    return "\n".join(line for line in lines if line)


def _paragraphs(*parts: str) -> str:
    return "\n\n".join(parts) + "\n"
