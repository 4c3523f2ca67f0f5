"""What a text message says about being texted: out, start, yes, help, or nothing. Pure.

Whole messages and first sentences only, however they are cased, spaced, accented and
punctuated. Anything else says nothing: "we have got to STOP this bill" is no wish of its
writer to be left alone.
"""

import re
import unicodedata
from enum import StrEnum

VERSION = 3


class Says(StrEnum):
    OUT = "out"
    START = "start"
    YES = "yes"
    HELP = "help"
    NOTHING = "nothing"


TWILIO_STOP = frozenset(
    {"stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"}
)
"""What Twilio answers and blocks by itself (its default list since 2025-05-14)."""

TWILIO_START = frozenset({"start", "yes", "unstop"})
TWILIO_HELP = frozenset({"help", "info"})

_OUT = TWILIO_STOP | {
    # 47 CFR 64.1200(a)(10): definitively revoked.
    "opt out",
    # AWS, Telnyx and Sinch take these too; the CTIA asks for minor variances.
    "stop all",
    "remove",
    "remove me",
    "unsub",
    "td",
    "please stop",
    "stop please",
    # French (ARRÊT comes without its accent), Spanish, German and Norwegian.
    "arret",
    "arrete",
    "pare",
    "alto",
    "baja",
    "stopp",
}
_START = frozenset({"start", "unstop"})

_YES_IN = {
    "en": "yes y yeah yep",
    "ar": "نعم",
    "cs": "ano",
    "da": "ja",
    "de": "ja",
    "el": "ναι",
    "es": "sí",
    "fa": "بله",
    "fi": "kyllä joo",
    "fr": "oui",
    "he": "כן",
    "hi": "हाँ हां",
    "hu": "igen",
    "id": "ya iya",
    "it": "sì",
    "ja": "はい",
    "ko": "네 예",
    "nb": "ja",
    "nl": "ja",
    "pl": "tak",
    "pt": "sim",
    "ro": "da",
    "ru": "да",
    "sv": "ja",
    "tr": "evet",
    "uk": "так",
    "vi": "vâng",
    "zh": "是 是的 好 好的",
}


def classify(text: str) -> Says:
    """What the message says: the whole of it, or for a no, its first sentence alone.

    People sign ("Stop. Thank you"), repeat ("STOP STOP") and dot ("S.T.O.P") what they mean.
    """
    words = normal(text)
    first = normal(re.split(r"[.!,;\n]", text.strip(), maxsplit=1)[0])
    once = " ".join(dict.fromkeys(words.split()))
    dotted = words.replace(" ", "") if re.fullmatch(r"\w( \w)+", words) else words
    if not _OUT.isdisjoint((words, first, once, dotted)):
        return Says.OUT
    if words in _START:
        return Says.START
    if yes_in(text):
        return Says.YES
    return Says.HELP if words in TWILIO_HELP else Says.NOTHING


def normal(text: str) -> str:
    """The words of a message: width, case, accents, punctuation, emoji and the unseen removed."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = (sign for sign in folded if unicodedata.category(sign) not in ("Cf", "Mn"))
    return " ".join("".join(sign if _spells(sign) else " " for sign in seen).split())


def _spells(sign: str) -> bool:
    # The vowels of Hindi are marks, and no accents: without them half its words are one.
    return sign.isalnum() or unicodedata.category(sign) == "Mc"


def yes_in(text: str) -> frozenset[str]:
    """The languages, of those that people are asked in, in which the whole message is a yes.

    What is a yes in one may be a no in another: "tak" in Polish and in Malay.
    """
    return _YES.get(normal(text), frozenset())


_YES = {
    word: frozenset(code for code, yes in _YES_IN.items() if word in map(normal, yes.split()))
    for word in map(normal, " ".join(_YES_IN.values()).split())
}


def as_twilio_reads(text: str) -> str:
    """The message as Twilio compares it with its own words: "STOP." is not one of them."""
    return text.strip().lower()
