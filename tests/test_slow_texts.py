"""No text takes long to read, whoever wrote it to that end."""

import re
import re._constants as sre  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest

from prefs.keywords import reading

MOST = 1000
"""Wordings of one alternative that are looked at."""


def test_a_sign_that_stands_for_many_makes_no_text_longer_than_it_may_be() -> None:
    for sign in ("\ufdfa", "🛑", "㎯", "\u3300"):
        read = reading.within(sign * reading.LONGEST, 2 * reading.LONGEST)
        assert len(reading.normal(read)) <= 2 * reading.LONGEST
    written = "œuf, straße ½ stop. " * 80
    assert reading.within(written, 2 * reading.LONGEST) == written
    assert reading.read("🛑" * reading.LONGEST).says is reading.Says.OUT


LANGUAGES = [language.code for language in reading._languages()]


@pytest.mark.parametrize("code", LANGUAGES)
def test_what_a_rule_repeats_can_be_read_in_one_way(code: str) -> None:
    """Where " a", " b" and " a b" may each come again, a text of n words is read in 2ⁿ ways, and
    one of 200 signs holds a worker for ever."""
    language = next(one for one in reading._languages() if one.code == code)
    patterns = {rule.name: rule.pattern for rule in language.rules}
    if language.talk is not None:
        patterns["talk"] = language.talk
    found = [
        (name, said)
        for name, pattern in patterns.items()
        for said in ambiguous(parser.parse(pattern.pattern))
    ]
    assert not found


def test_a_repeat_that_can_be_read_in_two_ways_is_found() -> None:
    assert list(ambiguous(parser.parse("no(?: (?:more|texts|more texts))*"))) == [" more texts"]
    assert list(ambiguous(parser.parse("no(?: imi| mie| imi)*"))) == [" imi"]
    assert not list(ambiguous(parser.parse("no(?: (?:more|texts|more spam))*")))
    assert not list(ambiguous(parser.parse("no(?> (?:more|texts|more texts))*")))


def test_a_pattern_is_made_to_read_what_it_repeats_in_one_way() -> None:
    for written, made in (
        ("no(?: a| b| a b)*", "no(?>(?: a| b| a b)(?![^ ]))*"),
        ("(?:(?:x|y)+ z){6,}", "(?>(?>x|y)+ z){6,}"),
        ("(?: [^ ]+){0,3}", "(?: [^ ]+){0,3}"),
        (r"[(](?:\)|a)*[^)]", r"[(](?>\)|a)*[^)]"),
        ("(?:a)?(?!b)*", "(?:a)?(?!b)*"),
    ):
        assert reading._steady(written) == made
    text = f"no{' more texts' * 500} and then"
    assert not re.fullmatch(reading._steady("no(?: (?:more|texts|more texts))*"), text)


def ambiguous(parsed: Any) -> Iterator[str]:
    """What a repeat without end takes for one thing or for several."""
    for repeated in _repeats(parsed):
        # The same twice, as "îmi|imi" is without accents, is two ways as well.
        wordings = Counter(_wordings(repeated))
        for wording in sorted(wordings):
            ways = [1]
            for end in range(1, len(wording) + 1):
                ways.append(sum(ways[at] * wordings[wording[at:end]] for at in range(end)))
            if wording and ways[-1] > 1:
                yield wording


def _repeats(parsed: Any) -> Iterator[Any]:
    for kind, about in parsed:
        if kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            _, most, inner = about
            # What an atomic group has read once, it reads no other way.
            if most >= 6 and [part for part, _ in inner] != [sre.ATOMIC_GROUP]:
                yield inner
            yield from _repeats(inner)
        elif kind is sre.ATOMIC_GROUP:
            yield from _repeats(about)
        elif kind is sre.BRANCH:
            for branch in about[1]:
                yield from _repeats(branch)
        elif kind is sre.SUBPATTERN:
            yield from _repeats(about[3])


def _wordings(parsed: Any) -> list[str]:
    """What it matches, a repeat within it once or not at all."""
    said = [""]
    for kind, about in parsed:
        more = [""]
        if kind is sre.LITERAL:
            more = [chr(about)]
        elif kind is sre.IN:
            more = [chr(sign) for what, sign in about if what is sre.LITERAL] or ["·"]
        elif kind is sre.BRANCH:
            more = [one for branch in about[1] for one in _wordings(branch)]
        elif kind is sre.SUBPATTERN:
            more = _wordings(about[3])
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT):
            least, _, inner = about
            more = [one * max(1, least) for one in _wordings(inner)] + ([] if least else [""])
        said = [one + other for one in said for other in more][:MOST]
    return said
