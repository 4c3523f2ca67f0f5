"""What fits into one text message: GSM 03.38, counted as the carriers count."""

from collections.abc import Callable

ONE_TEXT = 160
"""Characters of GSM 03.38 in one text; longer ones come in pieces, each of them paid for."""

FEWEST = 20
"""Characters of both names together: shorter, nobody would know them."""

_PLAIN = str.maketrans(
    {"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "-", "…": "...", "\u00a0": " "}
)
_BASIC = frozenset(
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?¡"
    "ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENDED = frozenset("^{}\\[~]|€\f")


def line(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def plain(text: str) -> str:
    """The text on one line, without the signs that word processors put in and GSM has not."""
    return line(text).translate(_PLAIN)


def septets(text: str) -> int:
    """How long carriers count a text: those signs twice that GSM 03.38 keeps in its extension."""
    return len(text) + sum(sign in _EXTENDED for sign in text)


def is_gsm(text: str) -> bool:
    """Whether GSM 03.38 has every sign of it; a text with another is sent as UCS-2."""
    return all(sign in _BASIC or sign in _EXTENDED for sign in text)


def fitted(sentence: Callable[[str, str], str], name: str, title: str) -> str:
    """The sentence in one text where it can be, with names cut as far as that needs."""
    name, title = plain(name), plain(title)
    while septets(text := plain(sentence(name, title))) > ONE_TEXT:
        if len(name) + len(title) < FEWEST:
            break
        if len(title) > len(name):
            title = title[:-1].rstrip()
        else:
            name = name[:-1].rstrip()
    return text
