"""What a text would be read as can be tried, and a tenant's own words widen what is a no."""

from typing import Any

import pytest
from flask.testing import FlaskClient

from prefs import directory, keywords
from prefs.demo import FRANK, Cast
from prefs.installation import Installation
from prefs.keywords import Says
from tests.conftest import NOON, Api
from tests.test_bad_input import refused
from tests.test_cli import Command, prefs
from tests.test_keys import key_with, other
from tests.test_one_click import everything
from tests.test_reviews import texted

__all__ = ["other", "prefs", "texted"]

MINE = "genug amboss"
"""What no rule reads, in any language."""


def tried(api: Api, text: str) -> dict[str, Any]:
    answer = api("POST", "/v1/texts/try", {"text": text})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def words(api: Api, **changes: str | None) -> Any:
    named = {word.replace("_", " "): says for word, says in changes.items()}
    return api("PATCH", "/v1/tenant", {"words": named})


# --- trying ---


def test_a_text_is_tried_and_the_rule_its_language_and_its_source_are_told(api: Api) -> None:
    read = tried(api, "STOP")
    source = read.pop("source")
    assert "47 CFR 64.1200" in source
    assert read == {
        "says": "out",
        "rule": "en/keyword",
        "language": "en",
        "version": keywords.VERSION,
        "everything": False,
    }
    assert tried(api, "stop all")["everything"] is True
    for text, says in (
        ("start", "start"),
        ("help", "help"),
        ("wrong number", "review"),
        ("don't stop", "nothing"),
    ):
        assert (text, tried(api, text)["says"]) == (text, says)


def test_what_no_rule_reads_says_nothing_and_rests_on_nothing(api: Api) -> None:
    assert tried(api, "see you at the anvil") == {
        "says": "nothing",
        "rule": None,
        "language": None,
        "source": None,
        "version": keywords.VERSION,
        "everything": False,
    }


def test_every_rule_that_can_be_met_has_a_source(api: Api) -> None:
    slip = tried(api, "unsubscrbe")
    assert (slip["says"], slip["rule"]) == ("out", "en/typo")
    assert "a slip of the thumb" in slip["source"]
    for text in ("stop", "please stop texting me", "wrong number", "start", "help"):
        assert tried(api, text)["source"]
    assert (
        keywords.source_of("") == keywords.source_of("en/none") == keywords.source_of("xx/a") == ""
    )


def test_trying_writes_nothing_and_any_key_may(api: Api, opened: Installation) -> None:
    before = everything(opened)
    tried(api, "STOP")
    assert everything(opened) == before
    for scope in ("check", "links", "export"):
        assert tried(key_with(api, scope), "STOP")["says"] == "out"


def test_a_text_longer_than_a_message_is_refused(api: Api) -> None:
    assert tried(api, "x" * keywords.LONGEST)["says"] == "nothing"
    refused(api("POST", "/v1/texts/try", {"text": "x" * (keywords.LONGEST + 1)}), "text")
    refused(api("POST", "/v1/texts/try", {"text": ""}), "text")
    refused(api("POST", "/v1/texts/try", {}), "text")


# --- a tenant's own words ---


def test_a_word_of_its_own_is_heard_from_then_on_however_it_is_spelled(
    api: Api, texted: Any, cast: Cast
) -> None:
    assert tried(api, MINE)["says"] == "nothing"
    changed = words(api, **{"Genug,_Amboss!": "out"})
    assert changed.get_json()["words"] == {MINE: "out"}
    assert api("GET", "/v1/tenant").get_json()["words"] == {MINE: "out"}
    read = tried(api, "GENUG  Amboß!")
    assert (read["says"], read["rule"], read["language"]) == ("out", "own/word", None)
    assert read["source"] == "a word of the tenant's own"
    texted("Genug Amboss.")
    assert api.check(FRANK.value, channel="sms")["reason"] == "replied_stop"
    told = api("POST", "/v1/history", {"channel": "sms", "address": FRANK.value}).get_json()
    assert told["events"][-1]["rule"] == f"own/word {keywords.VERSION}"


def test_words_are_set_and_taken_away_one_by_one(api: Api) -> None:
    words(api, one_thing="out", another="help")
    assert words(api, third="start").get_json()["words"] == {
        "one thing": "out",
        "another": "help",
        "third": "start",
    }
    left = words(api, One_Thing=None, another="out").get_json()["words"]
    assert left == {"another": "out", "third": "start"}
    assert words(api, never_there=None).get_json()["words"] == left
    assert api("PATCH", "/v1/tenant", {"name": "Acme"}).get_json()["words"] == left
    assert tried(api, "one thing")["says"] == "nothing"


def test_a_word_never_hides_a_no_nor_makes_a_start_of_doubt(api: Api) -> None:
    for word, says in (
        ("STOP", "start"),
        ("stop", "help"),
        ("please stop texting me", "help"),
        ("wrong number", "start"),
        ("yes", "start"),
        ("!!!", "out"),
        ("x" * 61, "out"),
    ):
        refused(api("PATCH", "/v1/tenant", {"words": {word: says}}), "words")
    refused(api("PATCH", "/v1/tenant", {"words": {"enough": "nothing"}}), "words.enough")
    refused(api("PATCH", "/v1/tenant", {"words": {"enough": True}}), "words.enough")
    refused(api("PATCH", "/v1/tenant", {"words": {f"w{n}": "out" for n in range(201)}}), "words")
    refused(api("PATCH", "/v1/tenant", {"words": ["enough"]}), "words")
    assert api("GET", "/v1/tenant").get_json()["words"] == {}
    assert words(api, **{f"w{n}": "out" for n in range(200)}).status_code == 200
    refused(words(api, one_more="out"), "words")


def test_the_words_of_one_tenant_are_read_for_no_other(api: Api, other: Api) -> None:
    words(api, **{MINE: "out"})
    assert tried(other, MINE)["says"] == "nothing"
    assert other("GET", "/v1/tenant").get_json()["words"] == {}


def test_a_word_set_on_another_worker_is_not_lost_and_is_told(
    api: Api, opened: Installation, cast: Cast
) -> None:
    with opened.database.writing() as connection:
        now = directory.change_tenant(connection, cast.tenant, words={"elsewhere": "out"})
    assert now.words == {"elsewhere": Says.OUT}
    assert words(api, here="out").get_json()["words"] == {"elsewhere": "out", "here": "out"}


# --- the brand's own answers ---


def test_a_brand_answers_in_its_own_words_and_they_fit_into_one_text(
    api: Api, client: FlaskClient, texted: Any
) -> None:
    said = {"en": {"stop_reply": "{brand}: gone. Back with START.", "help_reply": "Ask {contact}."}}
    changed = api("PATCH", "/v1/brands/acme", {"texts": said}).get_json()
    assert changed["texts"]["en"].items() >= said["en"].items()
    assert "Acme: gone. Back with START." in texted("please stop texting me")
    for text, told in (
        ("x" * 161, "A stop_reply has 160 characters at most"),
        ("{name}: bye", "only {brand}, {contact} and {topics} are put in"),
        ("{brand", "In stop_reply, only {brand}"),
    ):
        wrong = api("PATCH", "/v1/brands/acme", {"texts": {"en": {"stop_reply": text}}})
        refused(wrong, "texts")
        assert told in wrong.get_json()["detail"]
    taken = api("PATCH", "/v1/brands/acme", {"texts": {"en": {"stop_reply": ""}}}).get_json()
    assert "stop_reply" not in taken["texts"]["en"]
    assert taken["texts"]["en"]["help_reply"] == "Ask {contact}."


def test_the_command_sets_a_brands_own_answer(prefs: Command, api: Api) -> None:
    prefs("brand", "change", "acme", "--text", "en:stop_reply={brand}: bye. START undoes this.")
    brands = api("GET", "/v1/brands").get_json()["brands"]
    (texts,) = [brand["texts"] for brand in brands if brand["slug"] == "acme"]
    assert texts["en"]["stop_reply"] == "{brand}: bye. START undoes this."
    long = f"en:help_reply={'x' * 161}"
    assert "A help_reply has 160" in prefs("brand", "change", "acme", "--text", long, code=1)


# --- the command ---


def test_the_command_tries_a_text_and_writes_nothing(
    prefs: Command, cast: Cast, opened: Installation
) -> None:
    before = everything(opened)
    said = prefs("sms", "try", "Stop all")
    assert said.startswith("out, and it names everything\nrule: en/stop-all (en)\nsource: Twilio")
    assert f"version: {keywords.VERSION}" in said
    assert prefs("sms", "try", "good morning") == f"nothing\nversion: {keywords.VERSION}\n"
    assert everything(opened) == before


def test_the_command_adds_lists_and_removes_words(prefs: Command, cast: Cast) -> None:
    assert prefs("sms", "word", "list") == ""
    said = prefs("sms", "word", "add", "Genug, Amboss!", "--as", "out")
    assert said == f"{MINE} says out from now on.\n"
    assert prefs("sms", "word", "list") == f"{MINE}\tout\n"
    tried = prefs("sms", "try", MINE)
    assert tried.startswith("out\nrule: own/word\nsource: a word of the tenant's own\n")
    prefs("sms", "word", "remove", "genug amboss")
    assert prefs("sms", "word", "list") == ""
    assert "there is no such word" in prefs("sms", "word", "remove", MINE, code=1).lower()
    assert "a no to everybody" in prefs("sms", "word", "add", "stop", "--as", "start", code=1)


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_text_is_tried_with_the_words_of_the_tenant_that_is_named(
    prefs: Command, cast: Cast, opened: Installation
) -> None:
    prefs("sms", "word", "add", MINE, "--as", "out")
    with opened.database.writing() as connection:
        directory.add_tenant(connection, "umbra", "Umbra", NOON)
    assert prefs("sms", "try", MINE).startswith("nothing\n"), "nobody's words where none is named"
    assert prefs("sms", "try", MINE, "--tenant", "umbra").startswith("nothing\n")
    assert prefs("sms", "try", MINE, "--tenant", "acme").startswith("out\n")
    assert "no such tenant" in prefs("sms", "try", MINE, "--tenant", "nobody", code=1)
