"""How people spell one thing: width, case, accents, punctuation, emoji, spaced letters."""

import re
import unicodedata
from collections.abc import Iterator

# What Unicode keeps apart and no writer does: letters with a stroke, the Arabic of other keyboards,
# small capitals, and the letters on coloured squares, which NFKC leaves as they are.
_LETTERS: dict[int, str | None] = {
    **dict(zip(map(ord, "øłđðħŧıĸ"), "olddhtik", strict=True)),
    ord("æ"): "ae",
    ord("œ"): "oe",
    ord("þ"): "th",
    **dict(zip(map(ord, "ىیکةہ"), "ييكهه", strict=True)),
    ord("ـ"): None,
    # Letters to Unicode, and apostrophes to whoever types them: Ukrainian, Hebrew, Hawaiian.
    0x02BC: " ",
    0x02B9: " ",
    **dict(zip(map(ord, "ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢ"), "abcdefghijklmnoprstuvwyz", strict=True)),
    **{0x1F150 + n: chr(97 + n) for n in range(26)},
    **{0x1F170 + n: chr(97 + n) for n in range(26)},
    # The octagonal sign says the word.
    0x1F6D1: " stop ",
}

# Scripts in which the marks over and under a letter are accents or vowel points. In Devanagari
# and Japanese they are half the word.
_ACCENTED = ("LATIN", "GREEK", "CYRILLIC", "ARABIC", "HEBREW")
_SENTENCE_ENDS = re.compile(r"[.!?;:,\n\r…。！？；、，؟؛،।|]+|\s[-–—]+\s")
_SPACED = re.compile(r"(?<!\S)[^\W\d_](?: [^\W\d_]){2,}(?!\S)")
_REPEATED = re.compile(r"([^\W\d_])\1{2,}")
_TWICE = re.compile(r"(?<!\S)(\S+(?: \S+)?)(?: \1)+(?!\S)")

# Cyrillic letters that look like Latin ones, for words that mix both.
_LOOKALIKES = str.maketrans("асеорхуіјѕкмтвн", "aceopxyijskmtbh")
_DIGITS = str.maketrans("013457", "oieast")


def within(text: str, longest: int) -> str:
    """The start of a text that has ``longest`` signs at the most once it is written out: one sign
    may stand for a word, or for eighteen letters (\ufdfa)."""
    length = 0
    for place, sign in enumerate(text):
        length += len(unicodedata.normalize("NFKC", sign).translate(_LETTERS))
        if length > longest:
            return text[:place]
    return text


def folded(text: str, accents: bool = False) -> str:
    """One spelling for what differs in width, case and what cannot be seen, and in ``accents``
    unless they are to be kept: in Vietnamese they are all that tells "stop" from "right"."""
    text = unicodedata.normalize("NFKC", text).casefold().translate(_LETTERS)
    return unicodedata.normalize("NFC", "".join(_spelled(text, accents)))


def _spelled(text: str, accents: bool) -> Iterator[str]:
    base = ""
    for sign in unicodedata.normalize("NFKD", text):
        category = unicodedata.category(sign)
        if category in ("Cf", "Me"):
            continue
        if category != "Mn":
            base = sign
        elif not base.isalnum() or (
            not accents and unicodedata.name(base, "").startswith(_ACCENTED)
        ):
            continue
        yield sign


def normal(text: str, accents: bool = False) -> str:
    """The words of a text, with one space between them."""
    return _words(folded(text, accents))


def _words(text: str) -> str:
    return " ".join("".join(sign if _spells(sign) else " " for sign in text).split())


def _spells(sign: str) -> bool:
    return sign.isalnum() or unicodedata.category(sign) in ("Mc", "Mn")


def sentences(text: str, accents: bool = False) -> list[str]:
    """The normal form of each part between full stops, commas, line breaks and the like."""
    parts = (normal(part, accents) for part in _SENTENCE_ENDS.split(text))
    return [part for part in parts if part]


def spellings(words: str) -> list[str]:
    """Other ways to read words that are in normal form: the likeliest first, each once."""
    joined = _SPACED.sub(lambda found: found[0].replace(" ", ""), words)
    once = _TWICE.sub(r"\1", joined)
    read = [words, joined, once]
    read += [_TWICE.sub(r"\1", _REPEATED.sub(letters, once)) for letters in (r"\1\1", r"\1")]
    read += [_plain(once)]
    return list(dict.fromkeys(read))


def _plain(words: str) -> str:
    """Letters for the digits and the other alphabet's letters that stand within a word."""
    return " ".join(map(_plain_word, words.split()))


def _plain_word(word: str) -> str:
    if not re.search("[a-z]", word):
        return word
    return word.translate(_LOOKALIKES).translate(_DIGITS)


def is_typo(word: str, meant: str) -> bool:
    """Whether a thumb slipped: one sign wrong, missing, too many or swapped; two in a long word.

    Short words are each other's typos ("stop", "shop"), so none of those is one.
    """
    allowed = 0 if len(meant) < 7 else 1 if len(meant) < 10 else 2
    if not allowed or word[:1] != meant[:1] or abs(len(word) - len(meant)) > allowed:
        return False
    return _distance(word, meant) <= allowed


def _distance(one: str, other: str) -> int:
    """Damerau's, of adjacent swaps."""
    before: list[int] = []
    last = list(range(len(other) + 1))
    for i, sign in enumerate(one, 1):
        row = [i]
        for j, meant in enumerate(other, 1):
            cost = min(last[j] + 1, row[j - 1] + 1, last[j - 1] + (sign != meant))
            if i > 1 and j > 1 and sign == other[j - 2] and one[i - 2] == meant:
                cost = min(cost, before[j - 2] + 1)
            row.append(cost)
        before, last = last, row
    return last[-1]
