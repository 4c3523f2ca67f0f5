"""Which texts are a STOP, a START, a HELP, which somebody has to read, and which are only talk."""

import re
import tomllib
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import pytest

from prefs import keywords
from prefs.keywords import BadRules, Says, read
from prefs.keywords.reading import WORDS, _language
from prefs.keywords.spelling import normal
from prefs.languages import ALL as languages_spoken
from tests import corpus
from tests.corpus import Labelled

TWILIO_STOP = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")
# 47 CFR 64.1200(a)(10): whoever texts one of these has definitively revoked.
FCC = ("stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe")
OTHERS = ("stop all", "remove", "remove me", "unsub", "TD", "ARRET", "ARRÊT", "arrêté", "PARE")
OTHERS += ("ALTO", "BAJA", "STOPP", "please stop", "Stop please", "opt-out", "STOP ALL")
START = ("START", "UNSTOP")
HELP = ("HELP", "INFO")

FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}
SQUARED = {65 + n: chr(0x1F170 + n) for n in range(26)}
BOLD = {65 + n: chr(0x1D400 + n) for n in range(26)}


def written(word: str) -> dict[str, str]:
    """The ways in which phones write one word."""
    return {
        "as it is": word,
        "upper case": word.upper(),
        "lower case": word.lower(),
        "mixed case": word.capitalize(),
        "spaces around": f"  {word}\r\n",
        "a no-break space": f"\u00a0{word}\u00a0",
        "a full stop": f"{word}.",
        "exclamation": f"{word}!!!",
        "quotes": f"“{word}”",
        "brackets": f"[{word}]",
        "zero-width space": "\u200b".join(word),
        "byte order mark": f"\ufeff{word}",
        "soft hyphen": f"{word[0]}\u00ad{word[1:]}",
        "full width": word.translate(FULL_WIDTH),
        "an emoji": f"{word} \U0001f6d1",
        "an emoji with a variation": f"\u270b\ufe0f{word}",
        "an emoji with a skin tone": f"{word}\U0001f64f\U0001f3fd",
        "mathematical bold": word.upper().translate(BOLD),
        "on coloured squares": word.upper().translate(SQUARED),
        "two spaces within": word.replace(" ", "  "),
        "a hyphen within": word.replace(" ", "-"),
        "thrice": f"{word} {word} {word}",
        "thanks": f"{word}. Thank you!",
    }


@pytest.mark.parametrize("word", TWILIO_STOP + FCC + OTHERS)
def test_a_word_that_stops_does_so_however_it_is_written(word: str) -> None:
    assert {how: read(text).says for how, text in written(word).items()} == dict.fromkeys(
        written(word), Says.OUT
    )


def test_so_do_the_words_of_all_languages_in_tens_of_thousands_of_spellings() -> None:
    missed, tried = [], 0
    for says, word in exact_words():
        for text in spelled(word):
            tried += 1
            if read(text).says is not says:
                missed.append((says, text))
    assert not missed[:20], len(missed)
    assert tried > 30_000


def exact_words() -> Iterator[tuple[Says, str]]:
    """The words and phrases that stand in the files as people write them, each once."""
    found: dict[str, Says] = {}
    for path in WORDS.glob("*.toml"):
        for rule in tomllib.loads(path.read_text())["rules"]:
            if rule["says"] in ("out", "start", "help") and rule["where"] == "message":
                for text in rule["texts"]:
                    if not re.search(r"[^\w' ’-]", text):
                        found.setdefault(text, Says(rule["says"]))
    # What one language takes for a START or HELP and another for a no, is a no.
    return ((says, word) for word, says in found.items() if read(word).says is says)


def spelled(word: str) -> set[str]:
    cases = {word, word.lower(), word.upper(), word.capitalize()}
    around = ("{}", " {}\r\n", "{}.", "{}!!", "“{}”", "({})", "\u200e{}\u200f", "{}\u00a0🙏")
    within = ("", "\u200b", "\u00ad")
    return {
        frame.format(unseen.join(case) if unseen else case)
        for case, frame, unseen in product(cases, around, within)
        # The upper case of ß, ı or a final sigma is another word's lower case.
        if case.casefold() == word.casefold()
    } | {word.translate(FULL_WIDTH)}


@pytest.mark.parametrize(("words", "says"), [(START, Says.START), (HELP, Says.HELP)])
def test_so_do_start_and_help(words: tuple[str, ...], says: Says) -> None:
    # A stop sign beside it is a no.
    for word in words:
        texts = {text for how, text in written(word).items() if how != "an emoji"}
        assert {read(text).says for text in texts} == {says}


@pytest.mark.parametrize(
    "text",
    ["S.T.O.P", "s t o p", "S-T-O-P", "STOOOOP", "ST0P", "SТОР", "🅂🅃🄾🄿", "🛑", "stopp"]
    + ["unsubcribe", "UNSUSCRIBE", "unsubscirbe", "Unsubscribe me", "opt  out", "OPT_OUT", "sᴛᴏᴘ"],
)
def test_a_no_is_heard_through_what_thumbs_and_tricks_make_of_it(text: str) -> None:
    assert read(text).says is Says.OUT


@pytest.mark.parametrize(
    "text",
    [
        "Stop. Thank you",
        "STOP 12345",
        "stop\n\nSent from my phone",
        "Unsubscribe! This is the third time",
        "please stop texting me",
        "take me off your list",
        "no more messages",
        "Hi there, could you please stop sending me these? Thanks, Anna",
        "yes STOP",
        "Stop. Yes.",
        "HELP. stop texting me",
        "START? no: stop texting me",
    ],
)
def test_one_sentence_of_a_message_is_enough_for_a_no(text: str) -> None:
    assert read(text).says is Says.OUT


@pytest.mark.parametrize(
    "text",
    [
        "don't stop",
        "Don’t stop!",
        "do not stop",
        "please don't stop texting me",
        "non stop",
        "nonstop",
        "never stop",
        "We have got to STOP this bill",
        "stop by tomorrow?",
        "stop by later",
        "bus stop",
        "the last stop",
        "when does it end",
        "the end is near",
        "I can't quit you",
        "I quit smoking",
        "cancel my appointment",
        "cancel my order 12345",
        "can I cancel my order?",
        "please don't take me off the list",
        "remove the blue one from my cart",
        "unstoppable",
        "how do I start?",
        "yes please come by",
        "oh yes",
        "yes",
        "no",
        "no thanks",
        "",
        " ",
        ".",
        "\u200b",
        "\x00",
        "\ufffd\ufffd",
        "\ud83d",
        "停止しない",
        "shop",
        "step",
        "top",
    ],
)
def test_what_is_only_talk_says_nothing(text: str) -> None:
    assert read(text).says is Says.NOTHING


@pytest.mark.parametrize(
    "text", ["wrong number", "not interested", "too many texts", "how did you get my number?"]
)
def test_what_may_be_a_no_is_for_somebody_to_read(text: str) -> None:
    assert read(text).says is Says.REVIEW


def test_whoever_names_everything_is_known_by_it() -> None:
    assert {t: read(t).everything for t in ("STOPALL", "stop all", "STOP", "please stop")} == {
        "STOPALL": True,
        "stop all": True,
        "STOP": False,
        "please stop": False,
    }


# --- a yes, for whoever was asked ---

YES = (
    "YES Y Si Sí OUI Ja Sim Da Да Так Tak Ano Áno Igen Evet Ναι כן نعم हाँ हां はい 是 好 네 예 "
    "Vâng Ya Kyllä"
)


@pytest.mark.parametrize("word", YES.split())
def test_a_yes_is_one_in_the_languages_that_people_are_asked_in(word: str) -> None:
    for text in (word, word.lower(), f" {word}! ", f"{word}\U0001f44d", f"“{word}”"):
        assert keywords.yes_in(text), text
        assert read(text).says is Says.NOTHING
    for text in (f"{word} 7", f"{word} maybe later", f"not {word}"):
        assert not keywords.yes_in(text), text


def test_a_yes_is_one_in_its_own_languages() -> None:
    for text, languages in (
        ("Tak!", {"pl"}),
        ("ANO", {"cs"}),
        ("ja", {"da", "de", "nb", "nl", "sv"}),
        ("si", {"es", "it"}),
        ("हाँ", {"hi"}),
        ("Yes", {"en"}),
        ("no", set()),
        ("", set()),
    ):
        assert keywords.yes_in(text) == languages, text
    assert {code for word in YES.split() for code in keywords.yes_in(word)} | {"fa"} == set(
        languages_spoken
    )


@pytest.mark.parametrize("text", ["ह", "हे", "ही", "हो", "है", "नहीं", "नही", "हाय", "क्या", "मत"])
def test_another_word_of_hindi_is_no_yes(text: str) -> None:
    assert not keywords.yes_in(text)


# --- the labelled texts ---

SEEN, UNSEEN = list(corpus.texts("seen")), list(corpus.texts("unseen"))
LANGUAGES = sorted({one.language for one in SEEN})


def test_there_are_labelled_texts_with_sources_in_every_language_that_we_speak() -> None:
    assert set(LANGUAGES) == {one.language for one in UNSEEN} == set(languages_spoken)
    assert {path.stem for path in WORDS.glob("*.toml")} == set(languages_spoken)
    assert all(one.source for one in (*SEEN, *UNSEEN))
    assert len(SEEN) > 3000
    assert len(UNSEEN) > 1200
    for language in LANGUAGES:
        assert {one.says for one in SEEN if one.language == language} == set(Says)
        assert {Says.OUT, Says.NOTHING} <= {o.says for o in UNSEEN if o.language == language}


def test_no_text_is_both_looked_at_and_not() -> None:
    assert not {normal(one.text) for one in SEEN} & {normal(one.text) for one in UNSEEN}


def wrong(texts: list[Labelled]) -> list[tuple[str, Says, str]]:
    return [(one.text, says, str(one.says)) for one, says in corpus.measured(texts).wrong]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_that_was_looked_at_is_read_as_it_is_meant(language: str) -> None:
    assert wrong([one for one in SEEN if one.language == language]) == []


def test_texts_that_nobody_looked_at_are_read_as_well_as_they_have_been() -> None:
    m = corpus.measured(UNSEEN)
    assert m.recall >= 0.9
    assert m.precision >= 0.95
    # Of those that are no outs, next to none are taken for a START: that would be a no undone.
    started = [one for one, says in m.wrong if says is Says.START and one.says is not Says.START]
    assert len(started) <= 2


# --- the files ---


@pytest.mark.parametrize("path", sorted(WORDS.glob("*.toml")), ids=lambda path: path.stem)
def test_every_rule_has_a_name_and_a_source(path: Path) -> None:
    rules = tomllib.loads(path.read_text())["rules"]
    for rule in rules:
        assert re.fullmatch("[a-z-]{3,30}", rule["name"]), rule["name"]
        assert rule["source"].strip()
    # A name may stand for several kinds of pattern that rest on one thing.
    kinds = [(rule["name"], rule["where"], rule["says"], tuple(rule["texts"])) for rule in rules]
    assert len(set(kinds)) == len(rules)
    assert len({(rule["name"], rule["says"]) for rule in rules}) == len({r["name"] for r in rules})


@pytest.mark.parametrize(
    "broken",
    [
        "rules = [",
        "[other]",
        '[[rules]]\nname = "x"\nsays = "perhaps"\nwhere = "message"\nsource = "y"\ntexts = ["z"]',
        '[[rules]]\nname = "x"\nsays = "out"\nwhere = "there"\nsource = "y"\ntexts = ["z"]',
        '[[rules]]\nname = "x"\nsays = "out"\nwhere = "message"\nsource = ""\ntexts = ["z"]',
        '[[rules]]\nname = "x"\nsays = "out"\nwhere = "message"\nsource = "y"\ntexts = ["("]',
        '[[rules]]\nname = "x"\nsays = "out"\nwhere = "message"\nsource = "y"\ntexts = ["{z}"]',
        r"""[[rules]]
            name = "x"
            says = "out"
            where = "message"
            source = "y"
            texts = ['\S+']""",
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, broken: str) -> None:
    path = tmp_path / "xx.toml"
    path.write_text(broken)
    with pytest.raises(BadRules, match=r"xx\.toml"):
        _language(path)


def test_the_length_of_a_text_is_no_matter() -> None:
    assert read("stop " * 400).says is Says.OUT
    assert read("\u200b" * 1500 + "stop").says is Says.OUT
    for text in ("please thank you ", "谢谢", "a ", "x", "no ", "don't ", "(", "'", "how do i "):
        read(text * 1600)
