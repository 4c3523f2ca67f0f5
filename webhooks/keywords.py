"""What a text message says about being texted: out, start, help, or nothing. Pure.

Whole messages and first sentences only, however they are cased, spaced, accented and
punctuated. Anything else says nothing: "we have got to STOP this bill" is no wish of its
writer to be left alone.
"""

import re
import unicodedata
from enum import StrEnum

VERSION = 1


class Says(StrEnum):
    OUT = "out"
    START = "start"
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
# YES is an answer to a question, and only where one was asked.
_START = frozenset({"start", "unstop"})


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
    return Says.HELP if words in TWILIO_HELP else Says.NOTHING


def normal(text: str) -> str:
    """The words of a message: width, case, accents, punctuation, emoji and the unseen removed."""
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKC", text).casefold())
    seen = "".join(sign for sign in folded if unicodedata.category(sign) not in ("Cf", "Mn"))
    return " ".join(re.findall(r"[^\W_]+", seen))


def as_twilio_reads(text: str) -> str:
    """The message as Twilio compares it with its own words: "STOP." is not one of them."""
    return text.strip().lower()
