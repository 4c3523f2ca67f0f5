"""Which rule, of which language, a message meets."""

import hashlib
import re
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from threading import Lock
from typing import Any, NamedTuple

from prefs.keywords.spelling import folded, is_typo, normal, sentences, spellings, within

WORDS = Path(__file__).parent / "words"

LONGEST = 1600
"""Characters of one message, however many pieces it came in."""


class Says(StrEnum):
    OUT = "out"
    START = "start"
    HELP = "help"
    REVIEW = "review"
    NOTHING = "nothing"


class BadRules(ValueError):
    """A file of rules that cannot be read. The message names the file and the rule."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What a message says, by the rule (``en/keyword``) that it met.

    ``everything`` is set where it names all programmes, as STOPALL does. ``language`` is the
    rule's, and empty where nothing was met.
    """

    says: Says
    rule: str = ""
    language: str = ""
    everything: bool = False


NOTHING = Reading(Says.NOTHING)

# What one message says is the strongest of it: doubt goes to the person.
_ORDER = (Says.OUT, Says.REVIEW, Says.START, Says.HELP, Says.NOTHING)
_WHERES = ("message", "sentence", "anywhere")
_TALK = "·"

MANNERS = ("please", "pls", "plz", "thanks", "thank you", "thx", "ty", "ok", "hi", "hello")
"""What people of all languages say around a word of their own."""


@dataclass(frozen=True, slots=True)
class _Rule:
    name: str
    says: Says
    where: str
    source: str
    pattern: re.Pattern[str]
    everything: bool
    accents: bool


@dataclass(frozen=True, slots=True)
class _Language:
    code: str
    spaced: bool
    rules: tuple[_Rule, ...]
    talk: re.Pattern[str] | None
    chat: re.Pattern[str] | None
    fillers: frozenset[str]
    longest_filler: int
    long_words: tuple[str, ...]
    yes: frozenset[str]

    @property
    def has_accents(self) -> bool:
        return any(rule.accents for rule in self.rules)

    def written(self, words: str) -> str:
        return words if self.spaced else words.replace(" ", "")

    def core(self, words: str) -> str:
        """The words without the greetings and thanks around them."""
        parts = words.split() if self.spaced else list(words)
        first, last = 0, len(parts)
        while length := self._filler(parts[first:last], False):
            first += length
        while length := self._filler(parts[first:last], True):
            last -= length
        return self._joined(parts[first:last])

    def _filler(self, parts: list[str], at_the_end: bool) -> int:
        """How many parts of the start or the end are a filler: the longest that there is."""
        for length in range(min(self.longest_filler, len(parts)), 0, -1):
            some = parts[-length:] if at_the_end else parts[:length]
            if self._joined(some) in self.fillers:
                return length
        return 0

    def _joined(self, parts: list[str]) -> str:
        return (" " if self.spaced else "").join(parts)

    def without_talk(self, words: str) -> str:
        """The words, and a sign in the place of what only looks like a wish: "don't stop"."""
        return words if self.talk is None else self.talk.sub(_TALK, words)


def read(text: str, own: Mapping[str, Says] | None = None) -> Reading:
    """What ``text`` says. ``own`` are a tenant's words, in normal form, and what they say.

    A tenant's word widens what is a no, and never hides one.
    """
    text = within(text[:LONGEST], 2 * LONGEST)
    read = _read(text)
    if own and read.says is not Says.OUT:
        says = next((own[words] for words in spellings(normal(text)) if words in own), None)
        if says is not None:
            return min(read, Reading(says, "own/word"), key=_weakness)
    return read


# Most of what comes in is one of a few words.
@lru_cache(maxsize=1024)
def _read(text: str) -> Reading:
    # The octagonal sign is the word, and beside another word a mere sign.
    spelled = [
        {accents: _forms(written, accents) for accents in (False, True)}
        for written in dict.fromkeys((text, text.replace("🛑", " ")))
    ]
    found = [NOTHING]
    for language in _languages():
        found += [reading for forms in spelled for reading in _met(language, forms)]
        strongest = min(found, key=_weakness)
        if strongest.says is Says.OUT:
            break
    return strongest


class _Forms(NamedTuple):
    """A message as a whole and in its sentences, each in every spelling."""

    whole: list[str]
    parts: list[str]


def _forms(text: str, accents: bool) -> _Forms:
    parts = [words for part in sentences(text, accents) for words in spellings(part)]
    return _Forms(spellings(normal(text, accents)), parts)


def _weakness(reading: Reading) -> tuple[int, bool]:
    return _ORDER.index(reading.says), not reading.everything


def _met(language: _Language, forms: Mapping[bool, _Forms]) -> Iterator[Reading]:
    """The rules of a language that a message meets."""
    plain = _Heard.by(language, forms[False])
    accented = _Heard.by(language, forms[True]) if language.has_accents else plain
    for rule in language.rules:
        heard = accented if rule.accents else plain
        if rule.where == "anywhere":
            is_met = any(map(rule.pattern.search, heard.anywhere))
        else:
            of = heard.messages if rule.where == "message" else heard.sentences
            is_met = any(map(rule.pattern.fullmatch, of))
        if is_met:
            name = f"{language.code}/{rule.name}"
            yield Reading(rule.says, name, language.code, rule.everything)
    if any(is_typo(word, meant) for word in plain.messages for meant in language.long_words):
        yield Reading(Says.OUT, f"{language.code}/typo", language.code)


class _Heard(NamedTuple):
    """What the three kinds of rule of a language look at."""

    messages: set[str]
    sentences: set[str]
    anywhere: list[str]

    @classmethod
    def by(cls, language: _Language, forms: _Forms) -> "_Heard":
        whole = set(map(language.written, forms.whole))
        if language.chat and any(map(language.chat.search, whole)):
            # "Don't call, write": its first sentence alone would be a no.
            return cls(set(), set(), [])
        parts = [language.without_talk(language.written(words)) for words in forms.parts]
        return cls(
            whole.union(map(language.core, whole)), {*parts, *map(language.core, parts)}, parts
        )


def yes_in(text: str) -> frozenset[str]:
    """The languages in which the whole message is a yes, for whoever asked a question.

    What is a yes in one may be a no in another: "tak" in Polish and in Malay.
    """
    words = normal(text[:LONGEST])
    return frozenset(language.code for language in _languages() if words in language.yes)


def source_of(rule: str) -> str:
    """What a rule rests on, by the name that a ``Reading`` has of it; empty for no such rule."""
    code, _, name = rule.partition("/")
    if code == "own":
        return "a word of the tenant's own"
    if name == "typo":
        return "a slip of the thumb in a long word that is a no"
    rules = [rule for language in _languages() if language.code == code for rule in language.rules]
    return next((rule.source for rule in rules if rule.name == name), "")


# --- the files ---


# English first: STOP is a word of many languages, and tells nothing of its writer's.
_PATHS = sorted(WORDS.glob("*.toml"), key=lambda path: (path.stem != "en", path.stem))
_made: dict[Path, _Language] = {}
_making = Lock()


def _languages() -> Iterator[_Language]:
    """The languages, each made when it is first asked for: all of them take two seconds."""
    for path in _PATHS:
        if path not in _made:
            with _making:
                if path not in _made:
                    _made[path] = _language(path)
        yield _made[path]


def _fingerprint() -> str:
    """Of every file that decides: a version that nobody can forget to raise."""
    files = [*sorted(WORDS.glob("*.toml")), *sorted(Path(__file__).parent.glob("*.py"))]
    digest = hashlib.blake2b(digest_size=4)
    for path in files:
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


VERSION = f"4-{_fingerprint()}"
"""Of the rules and of what reads them: one message reads alike wherever this is the same."""


def _language(path: Path) -> _Language:
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
        spaced = said.get("spaced", True)
        parts = said.get("parts", {})
        rules = [_rule(entry, parts, spaced) for entry in said["rules"]]
        fillers = [normal(words) for words in (*said.get("fillers", ()), *MANNERS)]
        if not spaced:
            fillers = [words.replace(" ", "") for words in fillers]
    except (KeyError, ValueError, re.error) as error:
        raise BadRules(f"{path.name}: {error}") from error
    masks = [rule for rule in rules if rule.says is Says.NOTHING]
    talk = [rule.pattern.pattern for rule in masks if rule.where != "message"]
    chat = [rule.pattern.pattern for rule in masks if rule.where == "message"]
    return _Language(
        path.stem,
        spaced,
        tuple(rule for rule in rules if rule.says is not Says.NOTHING),
        re.compile("|".join(talk)) if talk else None,
        re.compile("|".join(chat)) if chat else None,
        frozenset(fillers),
        max((len(words.split() if spaced else words) for words in fillers), default=0),
        tuple(
            folded(word)
            for entry in said["rules"]
            if entry["says"] == Says.OUT and entry["where"] != "anywhere"
            for word in entry["texts"]
            if word.isalpha() and len(word) >= 7
        ),
        frozenset(map(normal, said.get("yes", ()))),
    )


def _rule(entry: Mapping[str, Any], parts: Mapping[str, str], spaced: bool) -> _Rule:
    name = entry.get("name", "a rule without a name")
    try:
        says, where = Says(entry["says"]), entry["where"]
        if where not in _WHERES or not entry["source"]:
            raise ValueError(f"where is one of {', '.join(_WHERES)}, and source is not empty")
        accents = entry.get("accents", False)
        texts = [_filled(text, parts, accents) for text in entry["texts"]]
        either = "|".join(f"(?:{text})" for text in texts)
        within = rf"(?<!\S)(?:{either})(?!\S)" if spaced else f"(?:{either})"
        pattern = re.compile(_steady(within if where == "anywhere" else either))
    except (KeyError, ValueError, re.error) as error:
        raise BadRules(f"{name}: {error}") from error
    all_of_it = entry.get("all", False)
    return _Rule(name, says, where, entry["source"], pattern, all_of_it, accents)


def _filled(text: str, parts: Mapping[str, str], accents: bool = False) -> str:
    """The pattern with its ``{parts}`` put in, spelled as the texts that it is compared with."""
    if re.search(r"\\[A-Z]", text):
        # Folded with the rest, it would mean the opposite.
        raise ValueError(f"write [^ ]+ and the like, and no {text!r}")

    def part(found: re.Match[str]) -> str:
        return f"(?:{_filled(parts[found[1]], parts, accents)})"

    return re.sub(r"\{([a-z_]+)\}", part, folded(text, accents))


_REPEAT = re.compile(r"[*+]|\{[0-9]*,([0-9]*)\}")
MANY = 6


def _steady(pattern: str) -> str:
    """The pattern, with every group that repeats often made atomic.

    Where a group can be read in two ways, twenty words of it can in a million, and before it gives
    up, `re` tries each: one text would hold a worker for minutes. What a repeat has read once it
    does not read another way. One that begins with a space reads whole words: not "de" of "der".
    """
    opened, at, in_class = [], 0, False
    changed: dict[int, str] = {}
    while at < len(pattern):
        sign = pattern[at]
        if sign == "\\":
            at += 1
        elif in_class:
            in_class = sign != "]"
        elif sign == "[":
            in_class = True
        elif sign == "(":
            opened.append(at)
        elif sign == ")":
            begin, found = opened.pop(), _REPEAT.match(pattern, at + 1)
            is_often = found and (not found[1] or int(found[1]) >= MANY)
            if is_often and pattern.startswith("(?:", begin):
                changed[begin + 2] = ">"
                if pattern[begin + 3] == " " and pattern[begin + 4] != "?":
                    changed[begin + 2], changed[at] = ">(?:", ")(?![^ ]))"
        at += 1
    return "".join(changed.get(at, sign) for at, sign in enumerate(pattern))
