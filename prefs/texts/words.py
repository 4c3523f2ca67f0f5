"""The one answer to a text, in the person's language, and in one piece where that can be."""

import re
import unicodedata
from collections.abc import Sequence

from sqlalchemy import Connection

from prefs import gsm, languages, ledger, letters
from prefs.directory import Brand, Tenant, titled
from prefs.keywords import Reading, Says
from prefs.languages import Language
from prefs.ledger import Recorded, Said
from prefs.letters import Agreed
from prefs.policy import (
    ALL,
    Message,
    Millis,
    Outcome,
    Purpose,
    Scope,
    Standing,
    Topic,
    Verdict,
    Voice,
    may_send,
)
from prefs.texts.text import Text

MOST_OFFERED = 3
"""Programmes in one confirmation: more do not fit into one text."""

LONGEST_CONTACT = 90


def reply(
    connection: Connection,
    tenant: Tenant,
    text: Text,
    reading: Reading,
    recorded: Recorded,
    said: Said,
    now: Millis,
) -> str | None:
    """What we answer; None where there is nothing to say, or it was said before."""
    brand = _brand(tenant, text)
    language = _language(connection, tenant, text, reading)
    name = brand.named(language.code) if said.event.scope != ALL else tenant.name
    standing, outs = recorded.standing, recorded.standing.outs
    match reading.says:
        case Says.HELP:
            return _help(brand, language)
        case Says.OUT:
            # One confirmation (47 CFR 64.1200(a)(12)): a second STOP gets none, or a machine that
            # answers STOP to each of our answers would go on for ever. A retry gets it again.
            scope, before = said.event.scope, recorded.before
            was_out = _has_stopped(before, scope) and not gets(tenant, text, before, scope, now)
            again = recorded.outcome is not Outcome.DUPLICATE and was_out
            if again or not _has_stopped(standing, scope):
                return None
            return _stopped(tenant, brand, language, name, said)
        case Says.START:
            # Another sender's STOP is not this one's to take back, and did not stop it.
            if any(out.voice is Voice.STOP and said.event.scope.covers(out.scope) for out in outs):
                return _still_out(name, language)
            return _started(tenant, brand, language, name, text, recorded, now)
    return None


def gets(tenant: Tenant, text: Text, standing: Standing, scope: Scope, now: Millis) -> list[Topic]:
    """The marketing of a scope that may be sent to whoever wrote a text, on its channel."""
    channel = text.author.channel
    return [
        topic
        for topic in tenant.topics.values()
        if topic.purpose is Purpose.MARKETING
        and scope.covers(topic.scope)
        and may_send(Message(topic, channel, text.author), standing, now).verdict is Verdict.ALLOW
    ]


def _has_stopped(standing: Standing, scope: Scope) -> bool:
    return any(out.voice is Voice.STOP and out.scope.covers(scope) for out in standing.outs)


def agreed(tenant: Tenant, text: Text, agreed: Agreed) -> str | None:
    """What a YES to a question of ours is answered with."""
    language = languages.of(agreed.language)
    if agreed.gets:
        return letters.welcome(_brand(tenant, text), agreed.topic, agreed.language)
    return _still_out(tenant.name, language) if agreed.recorded.standing.stopped else None


def kept(connection: Connection, tenant: Tenant, text: Text, keep: Sequence[Topic]) -> str:
    """What the choice of programmes to keep is answered with."""
    language = _language(connection, tenant, text)
    return gsm.fitted(
        lambda name, topics: language.say(
            "%(brand)s: you go on getting %(topics)s, and nothing else. "
            "Reply STOP to end this too.",
            brand=name,
            topics=topics,
        ),
        tenant.name,
        _titles(keep, language),
    )


def choices(body: str) -> list[int]:
    """The numbers that a message consists of, each once: "1", "1 2", "1 & 3"."""
    numbers = [part for part in re.split(r"[\s,;.&+]+", body) if part]
    if not numbers or not all(len(one) == 1 and one.isdecimal() for one in numbers):
        return []
    chosen = [unicodedata.decimal(number) for number in numbers]
    within = all(1 <= number <= MOST_OFFERED for number in chosen)
    return list(dict.fromkeys(chosen)) if within else []


def _brand(tenant: Tenant, text: Text) -> Brand:
    return next(b for b in tenant.brands.values() if b.id == text.sender.brand_id)


def _language(
    connection: Connection, tenant: Tenant, text: Text, reading: Reading | None = None
) -> Language:
    """Whoever writes ARRET reads French. English words are everybody's, and tell nothing."""
    read = reading.language if reading else ""
    if read not in ("", languages.DEFAULT) and read in languages.ALL:
        return languages.of(read)
    known = ledger.known(connection, tenant.id, tenant.digest(text.author))
    return languages.of(known.language or tenant.language)


def _titles(topics: Sequence[Topic], language: Language) -> str:
    return ", ".join(titled(topic, language.code) for topic in topics)


def _own(brand: Brand, language: Language, which: str, topics: str = "") -> str | None:
    """The brand's own words for an answer in a language, with what stands in braces put in."""
    own = brand.reply(which, language.code)
    if not own:
        return None
    contact = brand.contact[:LONGEST_CONTACT]
    return gsm.fitted(
        lambda name, titles: (
            own.replace("{brand}", name).replace("{topics}", titles).replace("{contact}", contact)
        ),
        brand.named(language.code),
        topics,
    )


def _help(brand: Brand, language: Language) -> str:
    contact = gsm.plain(brand.contact)[:LONGEST_CONTACT]
    return _own(brand, language, "help_reply") or gsm.fitted(
        lambda name, _: language.say(
            "%(brand)s: for help, %(contact)s. Reply STOP to unsubscribe.",
            brand=name,
            contact=contact,
        ),
        brand.named(language.code),
        "",
    )


def _stopped(tenant: Tenant, brand: Brand, language: Language, name: str, said: Said) -> str:
    ids = said.evidence.get("offered", "").split()
    offered = [t for t in tenant.topics.values() if str(t.scope.topic) in ids]
    if offered:
        return gsm.fitted(
            lambda short, titles: language.say(
                "%(brand)s: you get no more marketing texts. To keep some, reply with a number: "
                "%(choices)s. START undoes this STOP.",
                brand=short,
                choices=titles,
            ),
            name,
            ", ".join(f"{n} {titled(t, language.code)}" for n, t in enumerate(offered, 1)),
        )
    return _own(brand, language, "stop_reply") or gsm.fitted(
        lambda short, _: language.say(
            "%(brand)s: you are unsubscribed and get no more marketing texts. "
            "START undoes this STOP.",
            brand=short,
        ),
        name,
        "",
    )


def _started(
    tenant: Tenant,
    brand: Brand,
    language: Language,
    name: str,
    text: Text,
    recorded: Recorded,
    now: Millis,
) -> str:
    on = gets(tenant, text, recorded.standing, ALL, now)
    if not on:
        # Somebody, in another way, said another no, and START takes back none but a STOP.
        return gsm.fitted(
            lambda short, _: language.say(
                "%(brand)s: your STOP is taken back. "
                "What you unsubscribed from elsewhere stays so.",
                brand=short,
            ),
            name,
            "",
        )
    titles = _titles(on, language)
    return _own(brand, language, "start_reply", titles) or gsm.fitted(
        lambda short, topics: language.say(
            "%(brand)s: you get texts again: %(topics)s. Reply HELP for help, STOP to unsubscribe.",
            brand=short,
            topics=topics,
        ),
        name,
        titles,
    )


def _still_out(name: str, language: Language) -> str:
    return gsm.fitted(
        lambda short, _: language.say(
            "%(brand)s: you are still unsubscribed. To get texts again, send START in 3 minutes.",
            brand=short,
        ),
        name,
        "",
    )
