"""Which texts are a STOP, a START, a HELP, and which are only talk."""

import pytest

from prefs.languages import ALL as languages_spoken
from webhooks import keywords
from webhooks.keywords import Says, as_twilio_reads, classify

TWILIO_STOP = ("STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT", "REVOKE", "OPTOUT")
# 47 CFR 64.1200(a)(10): whoever texts one of these has definitively revoked.
FCC = ("stop", "quit", "end", "revoke", "opt out", "cancel", "unsubscribe")
OTHERS = ("stop all", "remove", "remove me", "unsub", "TD", "ARRET", "ARRÊT", "arrêté", "PARE")
OTHERS += ("ALTO", "BAJA", "STOPP", "please stop", "Stop please")
START = ("START", "UNSTOP")
HELP = ("HELP", "INFO")

FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}


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
        "an accent": f"{word[0]}{word[1]}\u0301{word[2:]}",
        "mathematical bold": "".join(
            chr(0x1D400 + ord(sign) - 65) if "A" <= sign <= "Z" else sign for sign in word.upper()
        ),
        "two spaces within": word.replace(" ", "  "),
        "a hyphen within": word.replace(" ", "-"),
    }


@pytest.mark.parametrize("word", TWILIO_STOP + FCC + OTHERS)
def test_a_word_that_stops_does_so_however_it_is_written(word: str) -> None:
    assert {how: classify(text) for how, text in written(word).items()} == dict.fromkeys(
        written(word), Says.OUT
    )


@pytest.mark.parametrize(("words", "says"), [(START, Says.START), (HELP, Says.HELP)])
def test_so_do_start_and_help(words: tuple[str, ...], says: Says) -> None:
    for word in words:
        assert {classify(text) for text in written(word).values()} == {says}


YES = (
    "YES Y Si Sí OUI Ja Sim Da Да Так Tak Ano Áno Igen Evet Ναι כן نعم हाँ हां はい 是 好 네 예 "
    "Vâng Ya Kyllä"
)


@pytest.mark.parametrize("word", YES.split())
def test_a_yes_is_one_in_the_languages_that_people_are_asked_in(word: str) -> None:
    for text in (word, word.lower(), f" {word}! ", f"{word}\U0001f44d", f"“{word}”"):
        assert classify(text) is Says.YES, text
    for text in (f"{word} 7", f"{word} maybe later", f"not {word}"):
        assert classify(text) is Says.NOTHING, text


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
    assert classify(text) is Says.NOTHING


def test_a_no_in_the_same_message_is_the_stronger_one() -> None:
    assert classify("Stop. Yes.") is Says.OUT
    assert classify("yes STOP") is Says.NOTHING


@pytest.mark.parametrize(
    "text",
    [
        "don't stop",
        "Don’t stop!",
        "do not stop",
        "non stop",
        "nonstop",
        "never stop",
        "We have got to STOP this bill",
        "stop by tomorrow?",
        "when does it end",
        "the end is near",
        "I can't quit you",
        "cancel my order 12345",
        "can I cancel?",
        "stops",
        "stopped",
        "unstoppable",
        "bus stop",
        "restart",
        "start over",
        "how do I start?",
        "please help me",
        "information",
        "yes please come by",
        "oh yes",
        "no",
        "NO",
        "STOP 12345",
        "2 stop",
        "",
        " ",
        ".",
        "\U0001f6d1",
        "\u200b",
        "\x00",
        "\ufffd\ufffd",
        "стоп you",
        "停止しない",
    ],
)
def test_what_is_only_talk_says_nothing(text: str) -> None:
    assert classify(text) is Says.NOTHING


def test_a_book_of_ordinary_messages_says_nothing() -> None:
    words = [*TWILIO_STOP, *FCC, *START, *HELP]
    for word in words:
        for sentence in (f"please don't {word} it", f"will it {word} at five o'clock?"):
            assert classify(sentence) is Says.NOTHING


def test_the_length_of_a_text_is_no_matter() -> None:
    assert classify("stop " * 400) is Says.OUT
    assert classify("stop it now " * 130) is Says.NOTHING
    assert classify("\u200b" * 1600 + "stop") is Says.OUT


@pytest.mark.parametrize("text", ["STOP", "stop", " Stop \r\n", "OPTOUT", "Revoke"])
def test_twilio_takes_a_bare_word_for_its_own(text: str) -> None:
    assert as_twilio_reads(text) in keywords.TWILIO_STOP


@pytest.mark.parametrize(
    "text", ["STOP.", "opt out", "OPT-OUT", "ＳＴＯＰ", "ARRET", "stop please"]
)
def test_what_stops_and_twilio_does_not_know_is_ours_to_answer(text: str) -> None:
    assert as_twilio_reads(text) not in keywords.TWILIO_STOP
    assert classify(text) is Says.OUT


def test_all_of_twilios_own_words_mean_the_same_here() -> None:
    assert {word.lower() for word in TWILIO_STOP} == keywords.TWILIO_STOP
    assert {classify(word) for word in keywords.TWILIO_STOP} == {Says.OUT}
    assert {classify(word) for word in keywords.TWILIO_HELP} == {Says.HELP}
    assert {w: classify(w) for w in keywords.TWILIO_START} == {
        "start": Says.START,
        "unstop": Says.START,
        "yes": Says.YES,
    }


@pytest.mark.parametrize(
    "text",
    [
        "Stop. Thank you",
        "Stop, thanks",
        "STOP STOP",
        "S.T.O.P",
        "s t o p",
        "stop\n\nSent from my phone",
        "Unsubscribe! This is the third time",
    ],
)
def test_a_no_is_heard_when_it_is_signed_repeated_or_dotted(text: str) -> None:
    assert classify(text) is Says.OUT
