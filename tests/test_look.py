"""A brand's colours can be read, by day and by night, and its logo is a picture and no more."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from prefs import demo
from prefs.look import (
    DARK_CARD,
    DARK_INK,
    DARK_QUIET,
    INK,
    LARGEST_LOGO,
    QUIET,
    WHITE,
    BadLook,
    Look,
    checked,
    contrast,
    logo,
    shades,
)

TEXT = 4.5
"""WCAG 2.2, 1.4.3 (AA)."""

PNG = b"\x89PNG\r\n\x1a\n" + b"\0" * 20
SVG = '<svg xmlns="http://www.w3.org/2000/svg" xmlns:x="http://www.w3.org/1999/xlink">{}</svg>'

colours = st.builds("#{:02x}{:02x}{:02x}".format, *[st.integers(0, 255)] * 3)


def accepted(**given: str) -> Look | None:
    try:
        return checked(given)
    except BadLook:
        return None


def svg(inside: str) -> str:
    return logo(SVG.format(inside).encode())


# --- contrast ---


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [
        # As WebAIM's checker has them, and the definition's own extremes.
        ("#000000", "#ffffff", 21),
        ("#ffffff", "#ffffff", 1),
        ("#777777", "#ffffff", 4.48),
        ("#767676", "#ffffff", 4.54),
        ("#ff0000", "#ffffff", 4.00),
        ("#0000ff", "#ffffff", 8.59),
        ("#00ff00", "#000000", 15.30),
    ],
)
def test_contrast_is_measured_as_wcag_measures_it(one: str, other: str, ratio: float) -> None:
    assert contrast(one, other) == contrast(other, one) == pytest.approx(ratio, abs=0.005)


@given(colours, colours)
def test_whatever_is_accepted_every_pair_on_the_pages_can_be_read(accent: str, paper: str) -> None:
    # About one colour in six is dark or light enough as it comes; the rest are made so.
    accent = checked({"accent": offered("accent", accent)}).accent
    paper = checked({"paper": offered("paper", paper)}).paper
    shown = shades(Look(accent, paper))
    for ink, behind in (
        (shown["accent"], WHITE),
        (shown["accent_over"], WHITE),
        (shown["on_accent"], shown["accent"]),
        (shown["on_accent"], shown["accent_over"]),
        (shown["accent_on_paper"], shown["paper"]),
        (INK, shown["paper"]),
        (QUIET, shown["paper"]),
        (shown["accent_dark"], DARK_CARD),
        (shown["accent_dark"], shown["paper_dark"]),
        (shown["accent_dark_over"], DARK_CARD),
        (shown["on_accent_dark"], shown["accent_dark"]),
        (shown["on_accent_dark"], shown["accent_dark_over"]),
        (DARK_INK, shown["paper_dark"]),
        (DARK_QUIET, shown["paper_dark"]),
    ):
        assert contrast(ink, behind) >= TEXT, (ink, behind)
    assert contrast(INK, shown["paper"]) >= 7
    assert contrast(DARK_INK, shown["paper_dark"]) >= 7
    assert contrast(shown["accent_dark"], DARK_CARD) >= 7
    assert shown["accent_over"] != shown["accent"]


def offered(name: str, colour: str) -> str:
    """The colour itself, or the nearest one that its refusal tells of."""
    try:
        checked({name: colour})
    except BadLook as refused:
        return str(refused).split()[-1]
    return colour


@given(st.sampled_from(["accent", "paper"]), colours)
def test_what_a_refusal_offers_is_accepted_and_what_it_measured_is_too_little(
    name: str, colour: str
) -> None:
    if accepted(**{name: colour}):
        return
    with pytest.raises(BadLook) as refused:
        checked({name: colour})
    assert refused.value.field == name
    found = re.search(r"contrast with \S+ is ([0-9.]+) .* at least ([0-9.]+)", str(refused.value))
    assert found
    assert float(found[1]) < float(found[2])
    assert accepted(**{name: offered(name, colour)})


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        pytest.param("accent", "#ff8800", "white is 2.39", id="an orange button cannot be read"),
        pytest.param("accent", "#777777", "white is 4.47", id="nor can a grey one, by a hair"),
        pytest.param("paper", "#202020", "dark text on this", id="dark text needs light paper"),
        pytest.param("paper", "#c0c0c0", "grey text on this", id="and grey text lighter still"),
        pytest.param("accent", "red", "six hexadecimal", id="a colour is no name"),
        pytest.param("accent", "#1d3", "six hexadecimal", id="a colour is not abbreviated"),
        pytest.param("accent", "#1d3f8f80", "six hexadecimal", id="a colour is not see-through"),
        pytest.param("paper", "#f3f2ee\n", "six hexadecimal", id="a colour has no line break"),
        pytest.param("paper", "#f3f2e٣", "six hexadecimal", id="its digits are ASCII"),
        pytest.param("paper", "#fff;}*{display:none", "six hexadecimal", id="a colour is no CSS"),
        pytest.param("paper", "", "six hexadecimal", id="a colour is not empty"),
        pytest.param("font", "Comic Sans", "accent, paper, logo", id="a look has no font"),
    ],
)
def test_a_colour_that_cannot_be_used_is_refused(name: str, value: str, told: str) -> None:
    with pytest.raises(BadLook, match=re.escape(told)) as refused:
        checked({name: value})
    assert refused.value.field == name


def test_what_is_not_given_stays_and_what_another_release_kept_is_left_out() -> None:
    before = Look("#4b2e9e", "#f1effa", logo(PNG))
    assert checked({}, before) == before
    assert checked({"accent": "#1F6B3A"}, before) == Look("#1f6b3a", before.paper, before.logo)
    assert checked({"logo": ""}, before) == Look(before.accent, before.paper)
    assert Look.kept({}) == Look() == checked({})
    assert Look.kept({"accent": "#4b2e9e", "font": "new"}) == Look("#4b2e9e")


# --- logos ---


@pytest.mark.parametrize(
    "uri",
    [
        pytest.param(logo(PNG), id="a PNG"),
        pytest.param(logo(b"\xff\xd8\xff\xe0" + b"\0" * 9), id="a JPEG"),
        pytest.param(logo(b"RIFF\x0a\0\0\0WEBPVP8 "), id="a WebP"),
        pytest.param(logo(demo.ACME_LOGO), id="the SVG of Acme"),
        pytest.param(logo(demo.OUTDOOR_LOGO), id="the SVG of Acme Outdoor"),
        pytest.param(logo(b"\xef\xbb\xbf" + SVG.format("").encode()), id="an SVG with a BOM"),
        pytest.param(
            logo(b"<?xml version='1.0' encoding='UTF-8'?>\n" + SVG.format("").encode()),
            id="an SVG with its declaration",
        ),
        pytest.param(
            svg('<g id="a"/><use href="#a"/><rect fill="url( #a )"/><image x:href="data:image/png;'
                'base64,AA=="/><style>rect{fill:url(#a)}</style>'),
            id="an SVG that refers to itself",
        ),
        pytest.param(logo(PNG + b"\0" * (LARGEST_LOGO - len(PNG))), id="6,000 bytes"),
        pytest.param("", id="none"),
    ],
)  # fmt: skip
def test_a_logo_may_be(uri: str) -> None:
    assert checked({"logo": uri}).logo == uri


@pytest.mark.parametrize(
    ("uri", "told"),
    [
        pytest.param("https://acme.example/logo.png", "write the logo as", id="somewhere else"),
        pytest.param("data:image/gif;base64,R0lGODlh", "write the logo as", id="a GIF"),
        pytest.param("data:text/html;base64,PGI+", "write the logo as", id="a page"),
        pytest.param("data:image/svg+xml,<svg/>", "write the logo as", id="not in base64"),
        pytest.param("data:image/png;base64,iVBORw0KGgo", "whole base64", id="in broken base64"),
        pytest.param("data:image/png;base64,iVBORw0 KGgo=", "whole base64", id="with a space"),
        pytest.param("data:image/png;base64,iVBORw0KGgo=\n", "whole base64", id="with a line"),
        pytest.param('data:image/png;base64,"onload="', "whole base64", id="with a quote"),
        pytest.param("data:image/png;base64,", "whole base64", id="with nothing in it"),
        pytest.param(
            "data:image/png;base64,PHN2Zz4=", "no png file", id="something else than it says"
        ),
        pytest.param(logo(PNG + b"\0" * LARGEST_LOGO), "6,028 bytes", id="larger than 6,000 bytes"),
        pytest.param(logo(b"GIF89a"), "not well-formed", id="a file of another kind"),
        pytest.param(logo(b"\x80<svg/>"), "as UTF-8", id="an SVG in Latin-1"),
        pytest.param(logo(SVG.format("").encode("utf-16")), "as UTF-8", id="an SVG in UTF-16"),
        pytest.param(logo(b"<svg/>"), "must begin with", id="an SVG without its namespace"),
        pytest.param(svg("<g>"), "not well-formed", id="an SVG with an open end"),
        pytest.param(svg("&a;"), "not well-formed", id="an SVG with an unknown entity"),
        pytest.param(svg("a\0"), "not well-formed", id="an SVG with a NUL"),
        pytest.param(
            logo(b'<!DOCTYPE svg [<!ENTITY a "aa">]>' + SVG.format("&a;").encode()),
            "take <!DOCTYPE out",
            id="an SVG with a DTD",
        ),
        pytest.param(
            logo(b'<?xml-stylesheet href="//x.example/a.css"?>' + SVG.format("").encode()),
            "take <?",
            id="an SVG with a style sheet elsewhere",
        ),
        pytest.param(svg("<script>1</script>"), "element <script>", id="an SVG with a script"),
        pytest.param(svg("<g><SCRIPT/></g>"), "element <SCRIPT>", id="however it is written"),
        pytest.param(
            svg('<s:script xmlns:s="http://www.w3.org/2000/svg"/>'), "<script>", id="or prefixed"
        ),
        pytest.param(
            svg("<foreignObject/>"), "element <foreignObject>", id="an SVG with a page in it"
        ),
        pytest.param(
            svg('<b xmlns="http://www.w3.org/1999/xhtml"/>'), "element <b>", id="or with HTML"
        ),
        pytest.param(svg('<g onload="a()"/>'), "attribute onload", id="an SVG with a handler"),
        pytest.param(svg('<g OnClick="a()"/>'), "attribute onclick", id="in any case"),
        pytest.param(
            svg('<image href="https://x.example/a"/>'), "with href", id="an SVG with a link"
        ),
        pytest.param(
            svg('<use x:href="//x.example/#a"/>'), "with href", id="an SVG with an older link"
        ),
        pytest.param(svg('<a href="java&#115;cript:a()"/>'), "with href", id="a link to a script"),
        pytest.param(
            svg('<use href="data:text/html,a"/>'), "with href", id="a link to a page in it"
        ),
        pytest.param(
            svg('<set attributeName="href" to="//x.example"/>'), "animate", id="a link to be"
        ),
        pytest.param(
            svg('<rect fill="url(//x.example/a)"/>'), "with url(", id="a colour from elsewhere"
        ),
        pytest.param(
            svg("<rect style=\"fill: URL( 'https://x.example' )\"/>"), "with URL(", id="or quoted"
        ),
        pytest.param(
            svg("<style>@import 'https://x.example/a.css';</style>"), "@import", id="more style"
        ),
        pytest.param(
            svg(r"<style>rect{fill:u\72l(//x.example)}</style>"), "outside of it", id="or escaped"
        ),
        pytest.param(
            svg("<style>rect{fill:u<!-- -->rl(//x.example)}</style>"), "url(", id="or hidden"
        ),
    ],
)
def test_a_logo_may_not_be(uri: str, told: str) -> None:
    with pytest.raises(BadLook, match=re.escape(told)) as refused:
        checked({"logo": uri})
    assert refused.value.field == "logo"


@given(st.binary(max_size=60), st.sampled_from(["png", "jpeg", "webp", "svg+xml"]))
def test_whatever_the_bytes_a_logo_is_taken_or_refused(content: bytes, kind: str) -> None:
    accepted(logo=f"data:image/{kind};base64,{base64.b64encode(content).decode()}")


@given(st.text(max_size=60))
def test_whatever_the_text_a_look_is_taken_or_refused(text: str) -> None:
    for name in ("accent", "paper", "logo"):
        look = accepted(**{name: text})
        assert look is None or getattr(look, name) == text.lower()
