"""Crockford's base32: codes that survive being read aloud, typed, and folded to one case."""

import re

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
_MISREAD = str.maketrans("ilo", "110")
# Between groups, with what phones type for a hyphen and what cannot be seen; and what mail
# programs and sentences put around a code.
_BETWEEN = re.compile(r"[\s\u00ad\u200b-\u200f\u2010-\u2015\u2060\u2212\ufeff_-]")
_AROUND = "<>()[]{}.,;:!?\"'/\u2018\u2019\u201c\u201d"


def spelt(number: int, length: int) -> str:
    """The lowest ``5 * length`` bits of ``number``, in lower case."""
    return "".join(_ALPHABET[number >> 5 * place & 31] for place in reversed(range(length)))


def read(text: str, length: int) -> str | None:
    """The code that ``text`` spells, however cased, grouped or misread; None if it is none."""
    if len(text) > 200:
        return None
    bare = _BETWEEN.sub("", text).strip(_AROUND).lower().translate(_MISREAD)
    return bare if len(bare) == length and set(bare) <= set(_ALPHABET) else None
