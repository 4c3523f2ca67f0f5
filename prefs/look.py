"""How a brand looks on its pages: two colours and a logo, and what is made of them.

WCAG 2.2 asks that text stand out from what is behind it (1.4.3: 4.5 to 1). A brand's own
colours are held to that when they are given, and every other colour is made to keep it.
"""

import base64
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from xml.etree import ElementTree

WHITE, BLACK = "#ffffff", "#000000"
INK, QUIET = "#1b1d22", "#555a64"
DARK_CARD, DARK_INK, DARK_QUIET = "#1c1f25", "#eceef2", "#b2b8c3"
"""What the pages write in, and on, whatever the brand. The card is white by day."""

TEXT = 4.5
STRONG = 7.0
"""The contrasts of WCAG: AA for text, and AAA where most of a page is read."""

LARGEST_LOGO = 6_000
LONGEST_READ = 1_000_000
"""Enough of a file to tell how far it is too large."""


class BadLook(ValueError):
    """A colour or logo that the pages cannot use. ``field`` names which."""

    def __init__(self, field: str, message: str) -> None:
        super().__init__(message)
        self.field = field


@dataclass(frozen=True, slots=True)
class Look:
    """``accent`` is the colour of buttons and links, ``paper`` lies behind the white card, and
    ``logo`` is a ``data:`` URI or nothing."""

    accent: str = "#1d3f8f"
    paper: str = "#f3f2ee"
    logo: str = ""

    @classmethod
    def kept(cls, parts: Mapping[str, str]) -> "Look":
        """The look that was stored, whatever another release stored beside it."""
        return cls(**{name: parts[name] for name in NAMES if name in parts})


NAMES = tuple(field.name for field in fields(Look))


# --- colours ---


def contrast(one: str, other: str) -> float:
    """How far two colours stand apart, from 1 to 21 (WCAG 2.2, contrast ratio)."""
    darker, lighter = sorted((_luminance(one), _luminance(other)))
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    red, green, blue = (
        part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4
        for part in (value / 255 for value in _parts(colour))
    )
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _parts(colour: str) -> tuple[int, int, int]:
    return int(colour[1:3], 16), int(colour[3:5], 16), int(colour[5:7], 16)


def _mixed(colour: str, other: str, share: float) -> str:
    """``colour`` with so much of the other in it."""
    pairs = zip(_parts(colour), _parts(other), strict=True)
    return "#" + "".join(f"{round(a + (b - a) * share):02x}" for a, b in pairs)


def _towards(colour: str, other: str, holds: Callable[[str], bool]) -> str:
    """The nearest mixture on the way to ``other`` that holds; ``other`` itself does."""
    steps = (_mixed(colour, other, step / 100) for step in range(101))
    return next(mixture for mixture in steps if holds(mixture))


@lru_cache(maxsize=1024)
def shades(look: Look) -> Mapping[str, str]:
    """Every colour of a brand's pages, by day and (``…_dark``) by night.

    ``accent`` is for links and buttons on the card and ``accent_on_paper`` for links beside
    it; ``…_over`` is the button under the pointer, and ``on_…`` what is written on both.
    """
    accent, paper = look.accent, look.paper
    over = _mixed(accent, BLACK, 0.25)
    if contrast(over, accent) < 1.15:
        # Almost black: it cannot get darker, so it gets lighter.
        over = _mixed(accent, WHITE, 0.2)
    accent_dark = _towards(accent, WHITE, lambda c: contrast(c, DARK_CARD) >= STRONG)
    return {
        "accent": accent,
        "accent_over": over,
        "on_accent": WHITE,
        "accent_on_paper": _towards(accent, BLACK, lambda c: contrast(c, paper) >= TEXT),
        "paper": paper,
        "accent_dark": accent_dark,
        "accent_dark_over": _mixed(accent_dark, WHITE, 0.35),
        "on_accent_dark": _towards(accent, BLACK, lambda c: contrast(c, accent_dark) >= STRONG),
        # A breath of the accent's hue in what is almost black.
        "paper_dark": _mixed("#101216", accent, 0.08),
    }


# --- what is given ---


def checked(given: Mapping[str, str], before: Look = Look()) -> Look:
    """``before``, with what is given instead. Raises ``BadLook``."""
    if strange := sorted(given.keys() - set(NAMES)):
        raise BadLook(strange[0], f"a look has: {', '.join(NAMES)}")
    return replace(before, **{name: _CHECKS[name](value) for name, value in given.items()})


def _accent(colour: str) -> str:
    colour = _colour("accent", colour)
    if (measured := contrast(colour, WHITE)) < TEXT:
        nearest = _towards(colour, BLACK, lambda c: contrast(c, WHITE) >= TEXT)
        raise BadLook(
            "accent",
            "links and buttons in this colour cannot be read: its contrast with white is "
            f"{_told(measured)} and must be at least {TEXT}; the nearest darker shade that "
            f"does is {nearest}",
        )
    return colour


def _paper(colour: str) -> str:
    colour = _colour("paper", colour)
    for name, ink, needed in (("dark text", INK, STRONG), ("grey text", QUIET, TEXT)):
        if (measured := contrast(colour, ink)) < needed:
            nearest = _towards(colour, WHITE, _carries_text)
            raise BadLook(
                "paper",
                f"{name} on this colour cannot be read: its contrast with {ink} is "
                f"{_told(measured)} and must be at least {needed:g}; the nearest lighter "
                f"shade that does is {nearest}",
            )
    return colour


def _carries_text(paper: str) -> bool:
    return contrast(paper, INK) >= STRONG and contrast(paper, QUIET) >= TEXT


def _colour(name: str, text: str) -> str:
    if not re.fullmatch(r"#[0-9A-Fa-f]{6}", text):
        raise BadLook(name, "write the colour as # and six hexadecimal digits, as in #1d3f8f")
    return text.lower()


def _told(measured: float) -> str:
    """Rounded down: what is too little must not read as if it were enough."""
    return f"{int(measured * 100) / 100:g}"


# --- logos ---

_LOGO = re.compile(r"data:image/(png|jpeg|webp|svg\+xml);base64,([A-Za-z0-9+/]*={0,2})")
_MAGIC = {
    "png": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "jpeg": re.compile(rb"\xff\xd8\xff"),
    "webp": re.compile(rb"RIFF....WEBP", re.DOTALL),
}


def logo(content: bytes) -> str:
    """A picture file as the ``data:`` URI that a look holds; an empty one is none."""
    if not content:
        return ""
    kind = next((name for name, magic in _MAGIC.items() if magic.match(content)), "svg+xml")
    return f"data:image/{kind};base64,{base64.b64encode(content).decode()}"


def _logo(uri: str) -> str:
    if not uri:
        return uri
    found = _LOGO.fullmatch(uri)
    try:
        content = base64.b64decode(found[2], validate=True) if found else b""
    except ValueError:
        content = b""
    if found is None or not content:
        raise BadLook(
            "logo",
            "write the logo as data:image/png;base64,… (or jpeg, webp, svg+xml), in whole base64",
        )
    if len(content) > LARGEST_LOGO:
        raise BadLook(
            "logo", f"the logo has {len(content):,} bytes; it may have {LARGEST_LOGO:,} at most"
        )
    kind = found[1]
    if kind == "svg+xml":
        for complaint in _of_svg(content):
            raise BadLook("logo", complaint)
    elif not _MAGIC[kind].match(content):
        raise BadLook("logo", f"this is no {kind} file; name the kind that it is")
    return uri


_SVG = "{http://www.w3.org/2000/svg}"
_ELSEWHERE = re.compile(
    r"""@import | (?:url|src|image|image-set) \s* \( \s* ["']? (?! \s* (?: \# | data:image/ ))""",
    re.IGNORECASE | re.VERBOSE,
)


def _of_svg(content: bytes) -> Iterator[str]:
    """What an SVG has that a logo may not.

    In an ``img`` no browser would run or load any of it, but a logo is passed on.
    """
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        yield "save the SVG as UTF-8"
        return
    # Before anything parses it: entities can unfold to gigabytes.
    if found := re.search(r"<!(?:DOCTYPE|ENTITY)|<\?(?!xml\s)", text, re.IGNORECASE):
        yield f"take {found[0]} out of the SVG"
        return
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        yield "this SVG is not well-formed XML"
        return
    if root.tag != f"{_SVG}svg":
        yield 'the SVG must begin with <svg xmlns="http://www.w3.org/2000/svg">'
    for element in root.iter():
        yield from _of_element(element)


def _of_element(element: ElementTree.Element) -> Iterator[str]:
    space, _, name = element.tag.rpartition("}")
    if space.endswith("xhtml") or name.lower() in ("script", "foreignobject", "handler"):
        yield f"take the element <{name}> out of the SVG"
    if name.lower() == "style":
        yield from _of_style(element.text or "")
    for full, value in element.attrib.items():
        attribute = full.rpartition("}")[2].lower()
        if attribute.startswith("on"):
            yield f"take the attribute {attribute} out of the SVG"
        if attribute in ("href", "src", "base") and not re.match(r"\s*(#|data:image/)", value):
            yield f"the SVG refers to something outside of it, with {attribute}; put it inside"
        if attribute == "attributename" and re.search(r"href|^\s*on", value, re.IGNORECASE):
            yield f"the SVG must not animate {value.strip()}"
        yield from _of_style(value)


def _of_style(text: str) -> Iterator[str]:
    # CSS can spell every letter with a backslash.
    if found := _ELSEWHERE.search(text) or re.search(r"\\", text):
        yield f"the SVG refers to something outside of it, with {found[0].strip()}; put it inside"


_CHECKS: Mapping[str, Callable[[str], str]] = {"accent": _accent, "paper": _paper, "logo": _logo}
