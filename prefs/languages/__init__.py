"""The languages that people are spoken to in: one catalogue (a .po file) for each.

English is what the templates and the code say themselves. Names, dates and directions come
from Unicode's CLDR, by Babel.
"""

import gettext
import re
from datetime import UTC, datetime
from functools import cached_property, lru_cache
from io import BytesIO
from pathlib import Path

from babel import Locale
from babel.core import negotiate_locale
from babel.dates import format_date
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_decimal

from prefs.policy import Millis

HERE = Path(__file__).parent
DEFAULT = "en"


class Language:
    """One language, by its code: ``de``, ``zh``, ``ar``."""

    def __init__(self, code: str) -> None:
        self.code = code
        # The English of the whole world: its dates are not only the United States'.
        self._locale = Locale.parse("en_001" if code == DEFAULT else code)

    @property
    def name(self) -> str:
        """As its speakers call it."""
        name = self._locale.get_language_name(self.code) or self.code
        return name[:1].upper() + name[1:]

    @property
    def direction(self) -> str:
        return self._locale.text_direction

    @cached_property
    def catalogue(self) -> gettext.NullTranslations:
        if self.code == DEFAULT:
            return gettext.NullTranslations()
        compiled = BytesIO()
        with (HERE / f"{self.code}.po").open("rb") as file:
            write_mo(compiled, read_po(file, locale=self.code))
        compiled.seek(0)
        return gettext.GNUTranslations(compiled)

    def say(self, sentence: str, **names: object) -> str:
        """The sentence in this language, with ``%(name)s`` filled in."""
        return self.catalogue.gettext(sentence) % names

    def number(self, number: int) -> str:
        return format_decimal(number, locale=self._locale)

    def day(self, moment: Millis) -> str:
        """The date, in UTC, as it is written out in this language."""
        return format_date(datetime.fromtimestamp(moment / 1000, UTC), "long", self._locale)


ALL = {code: Language(code) for code in sorted([DEFAULT, *(p.stem for p in HERE.glob("*.po"))])}


NO_CODE = "name a language by its code, as in de, pt-BR or zh-Hans"
_CODE = re.compile(r"(?=.{2,16}\Z)([A-Za-z]{2,3})([_-][A-Za-z0-9]{2,8})*")
# What browsers and older systems still call Norwegian, Hebrew and Indonesian.
_RENAMED = {"no": "nb", "nn": "nb", "iw": "he", "in": "id"}
_NAMED = Locale.parse(DEFAULT).languages


def is_code(code: str) -> bool:
    """Whether a code is of a language that there is, spoken here or not."""
    found = _CODE.fullmatch(code)
    first = found[1].lower() if found else ""
    return _RENAMED.get(first, first) in _NAMED


def known(code: str | None) -> Language | None:
    """The language of a code such as ``pt-BR``, or nearly; None if nobody speaks it here."""
    return best([code]) if code else None


@lru_cache(maxsize=4096)
def _best(codes: tuple[str, ...]) -> Language | None:
    wanted = []
    for code in codes:
        # Codes are spelled as anybody likes (RFC 5646 section 2.1.1), and Babel gives them back so.
        code = code.replace("_", "-").lower()
        first = code.split("-")[0]
        wanted += [code, _RENAMED.get(first, first)]
    found = negotiate_locale(wanted, list(ALL), sep="-")
    return ALL[found] if found else None


def best(codes: "list[str]") -> Language | None:
    """The first of ``codes`` that is spoken here."""
    return _best(tuple(code[:35] for code in codes[:20]))


def of(code: str | None) -> Language:
    """The language of a code, English where it is not spoken here."""
    return known(code) or ALL[DEFAULT]
