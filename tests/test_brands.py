"""A brand looks and speaks as its own: colours, a logo, other languages, and who it is."""

import base64
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from babel import Locale

from prefs import directory, languages
from prefs.database import Database
from prefs.demo import ACME_LOGO, Cast
from prefs.directory import BadEntry, Brand, CurrentDirectory, Look, Tenant, described, titled
from prefs.installation import Installation
from prefs.look import logo
from prefs.policy import Purpose, Scope, Topic
from tests.conftest import Api
from tests.test_cli import Command, prefs

__all__ = ["prefs"]

GREEN = {"accent": "#1f6b3a", "paper": "#f0f5e4"}
SCRIPT = b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>'


def now(opened: Installation, cast: Cast) -> Tenant:
    opened.directory.refresh()
    return opened.directory.latest.tenants[cast.tenant.id]


# --- what it says in which language ---


def brand(**texts: dict[str, str]) -> Brand:
    return Brand(1, "acme", "Acme", "help@acme.example", texts=texts, language="de")


@pytest.mark.parametrize(
    ("asked", "name", "about"),
    [
        pytest.param("fr", "Enclume", "Des outils.", id="its own words in that language"),
        pytest.param("fr-CA", "Enclume", "Des outils.", id="a region hears its language"),
        pytest.param("pt", "Bigorna", "Werkzeug.", id="a language hears its region"),
        pytest.param("zh-Hans", "铁砧", "Werkzeug.", id="a script hears itself"),
        pytest.param("en", "Acme", "Werkzeug.", id="the rest hear what the tenant speaks"),
        pytest.param("f", "Acme", "Werkzeug.", id="half a code is none"),
    ],
)
def test_a_brand_says_its_name_and_what_it_is_in_the_readers_language(
    asked: str, name: str, about: str
) -> None:
    says = brand(
        **{
            "de": {"about": "Werkzeug."},
            "fr": {"name": "Enclume", "about": "Des outils."},
            "pt-BR": {"name": "Bigorna"},
            "zh-Hant": {"name": "鐵砧"},
            "zh-Hans": {"name": "铁砧"},
        }
    )
    assert (says.named(asked), says.about(asked)) == (name, about)


def test_a_brand_without_texts_has_its_name_and_says_nothing() -> None:
    assert (brand().named("de"), brand().about("de")) == ("Acme", "")


def test_a_topic_is_called_and_described_in_the_readers_language() -> None:
    texts = {"de": {"title": "Neues"}, "fr": {"description": "Deux fois par mois."}}
    news = Topic(
        Scope(1, 1), "news", "News", "Twice a month.", Purpose.MARKETING, {}, texts=texts
    )  # fmt: skip
    heard = [(titled(news, code), described(news, code)) for code in ("de", "fr", "en")]
    assert heard == [
        ("Neues", "Twice a month."),
        ("News", "Deux fois par mois."),
        ("News", "Twice a month."),
    ]


# --- what is kept ---


def test_all_that_a_brand_shows_is_given_and_shown_again(
    api: Api, opened: Installation, cast: Cast
) -> None:
    entry = {
        "slug": "third",
        "name": "Third",
        "contact": "help@third.example",
        "postal_address": "3 Third Street\nLondon",
        "mail_from": '"Third, Ltd" <news@third.example>',
        "look": {**GREEN, "logo": logo(ACME_LOGO)},
        "texts": {"de": {"name": "Dritte", "about": "Die dritte."}, "ar": {"name": "الثالثة"}},
    }
    made = api("POST", "/v1/brands", entry)
    assert (made.status_code, made.get_json()) == (201, entry)
    assert entry in api("GET", "/v1/brands").get_json()["brands"]
    held = now(opened, cast).brand("third")
    assert held.look == Look(**entry["look"])
    assert (held.mail_from, held.postal_address) == (entry["mail_from"], entry["postal_address"])
    assert (held.named("de"), held.named("ar"), held.named("en")) == ("Dritte", "الثالثة", "Third")


def test_a_brand_that_is_given_no_look_has_the_one_of_everybody(
    api: Api, opened: Installation, cast: Cast
) -> None:
    made = api("POST", "/v1/brands", {"slug": "third", "name": "Third", "contact": "x"})
    assert made.get_json()["look"] == asdict(Look())
    assert made.get_json()["texts"] == {}
    assert now(opened, cast).brand("third").look == Look()


def test_what_is_not_named_in_a_change_stays_and_an_empty_text_takes_away(
    api: Api, opened: Installation, cast: Cast
) -> None:
    before = api("GET", "/v1/brands").get_json()["brands"][0]
    assert before["slug"] == "acme"
    assert before["look"]["logo"].startswith("data:image/svg+xml;base64,")

    def change(**changes: Any) -> Any:
        answer = api("PATCH", "/v1/brands/acme", changes)
        assert answer.status_code == 200, answer.get_json()
        assert answer.get_json() == api("GET", "/v1/brands").get_json()["brands"][0]
        return answer.get_json()

    assert change() == before
    assert change(look={"accent": "#1F6B3A"})["look"] == {**before["look"], "accent": "#1f6b3a"}
    assert change(look={"logo": ""})["look"]["logo"] == ""
    texts = change(texts={"de": {"name": "Amboss"}, "es": {"name": "Yunque"}})["texts"]
    assert texts == {
        **before["texts"],
        "de": {**before["texts"]["de"], "name": "Amboss"},
        "es": {"name": "Yunque"},
    }
    after = change(texts={"es": {"name": ""}, "de": {"name": ""}, "fr": {}})
    assert after["texts"] == before["texts"]
    assert change(mail_from="", postal_address="")["mail_from"] == ""
    assert now(opened, cast).brand("acme").postal_address == ""


def test_a_list_keeps_its_order_whatever_is_changed(api: Api) -> None:
    for path, name in (("/v1/brands", "brands"), ("/v1/topics", "topics")):
        before = [entry["slug"] for entry in api("GET", path).get_json()[name]]
        assert api("PATCH", f"{path}/{before[0]}", {"texts": {"it": {}}}).status_code == 200
        assert [entry["slug"] for entry in api("GET", path).get_json()[name]] == before


def test_two_workers_that_change_the_same_look_undo_nothing_of_each_other(
    opened: Installation, cast: Cast
) -> None:
    """Both hold the brand as it was before either."""
    for change in ({"accent": "#1f6b3a"}, {"paper": "#ffffff"}):
        with opened.database.writing() as connection:
            directory.change_brand(connection, cast.tenant, "acme", look=change)
    look = now(opened, cast).brand("acme").look
    assert (look.accent, look.paper) == ("#1f6b3a", "#ffffff")
    assert look.logo == cast.tenant.brand("acme").look.logo


def test_how_often_people_may_choose_is_kept_in_order(
    api: Api, opened: Installation, cast: Cast
) -> None:
    topic = {"slug": "t", "brand": "acme", "title": "T", "purpose": "marketing"}
    made = api("POST", "/v1/topics", {**topic, "channels": {"email": None}, "at_most": [7, 1, 3]})
    assert made.get_json()["at_most"] == [1, 3, 7]
    changed = api("PATCH", "/v1/topics/t", {"at_most": [50, 2], "texts": {"de": {"title": "Te"}}})
    assert changed.get_json() == {
        **made.get_json(),
        "at_most": [2, 50],
        "texts": {"de": {"title": "Te"}},
    }
    assert changed.get_json() in api("GET", "/v1/topics").get_json()["topics"]
    held = now(opened, cast).topic("t")
    assert (held.at_most, titled(held, "de")) == ((2, 50), "Te")
    assert api("PATCH", "/v1/topics/t", {"title": "New"}).get_json()["at_most"] == [2, 50]
    assert api("PATCH", "/v1/topics/t", {"at_most": []}).get_json()["at_most"] == []


def test_nobody_may_limit_what_always_passes(api: Api) -> None:
    topic = {"slug": "t", "brand": "acme", "title": "T", "purpose": "transactional"}
    for answer in (
        api("POST", "/v1/topics", {**topic, "channels": {"email": None}, "at_most": [1]}),
        api("PATCH", "/v1/topics/order-updates", {"at_most": [1]}),
    ):
        assert answer.status_code == 422
        assert "always passes" in answer.get_json()["errors"]["at_most"][0]
    assert api("PATCH", "/v1/topics/order-updates", {"at_most": []}).status_code == 200


def test_a_tenant_speaks_a_language_that_there_is(
    api: Api, opened: Installation, cast: Cast
) -> None:
    code = max(languages.ALL)
    assert api("PATCH", "/v1/tenant", {"language": code}).get_json()["language"] == code
    assert api("GET", "/v1/tenant").get_json()["language"] == code
    tenant = now(opened, cast)
    assert tenant.language == code == tenant.brand("acme").language
    refused = api("PATCH", "/v1/tenant", {"language": "tlh"})
    assert refused.status_code == 422
    assert "language" in refused.get_json()["errors"]
    with (
        pytest.raises(BadEntry, match=r"one of: .*en"),
        opened.database.writing() as connection,
    ):
        directory.change_tenant(connection, tenant, language="tlh")


# --- what is refused ---


CODES = sorted(code for code in Locale.parse("en").languages if len(code) == 2)


def many(count: int) -> dict[str, dict[str, str]]:
    return {code: {"name": "A"} for code in CODES[:count]}


BAD_BRANDS = {
    "a colour by its name": ({"look": {"accent": "blue"}}, "look.accent"),
    "an accent too light": ({"look": {"accent": "#ff8800"}}, "look.accent"),
    "a paper too dark": ({"look": {"paper": "#808080"}}, "look.paper"),
    "a huge logo": ({"look": {"logo": logo(b"\x89PNG\r\n\x1a\n" * 800)}}, "look.logo"),
    "a logo with a script": ({"look": {"logo": logo(SCRIPT)}}, "look.logo"),
    "a logo in broken base64": ({"look": {"logo": "data:image/png;base64,iVB"}}, "look.logo"),
    "a logo elsewhere": ({"look": {"logo": "https://acme.example/logo.png"}}, "look.logo"),
    "a look that is no object": ({"look": "#1d3f8f"}, "look"),
    "a look with a font": ({"look": {"font": "serif"}}, "look.font"),
    "a look with null": ({"look": {"accent": None}}, "look.accent"),
    "texts of another part": ({"texts": {"de": {"title": "A"}}}, "texts.de.title"),
    "texts of no language": ({"texts": {"german": {"name": "A"}}}, "texts"),
    "texts of a language in capitals": ({"texts": {"DE": {"name": "A"}}}, "texts"),
    "texts of a language with a tail": ({"texts": {"de\n": {"name": "A"}}}, "texts"),
    "texts of a language by path": ({"texts": {"../de": {"name": "A"}}}, "texts"),
    "texts that are no object": ({"texts": {"de": "A"}}, "texts.de"),
    "texts with a control": ({"texts": {"de": {"name": "A\x1b[2J"}}}, "texts.de.name"),
    "texts too long": ({"texts": {"de": {"name": "A" * 121}}}, "texts.de.name"),
    "texts in 78 languages": ({"texts": many(78)}, "texts"),
    "texts of a language that there is not": ({"texts": {"xx": {"name": "A"}}}, "texts"),
    "a sender with a line break": (
        {"mail_from": "Acme\r\nBcc: all@acme.example <a@acme.example>"},
        "mail_from",
    ),
    "a sender with a line break behind": ({"mail_from": "a@acme.example\n"}, "mail_from"),
    "a sender with Unicode's line break": ({"mail_from": "A\u2028B <a@b.example>"}, "mail_from"),
    "a sender with a break in quotes": ({"mail_from": '"A\nB" <a@b.example>'}, "mail_from"),
    "a sender without an address": ({"mail_from": "Acme"}, "mail_from"),
    "a sender without a domain": ({"mail_from": "Acme <news>"}, "mail_from"),
    "two senders": ({"mail_from": "a@acme.example, b@acme.example"}, "mail_from"),
    "two named senders": ({"mail_from": "A <a@b.example>, B <b@b.example>"}, "mail_from"),
    "a sender with a bare comma": ({"mail_from": "Acme, Ltd <a@b.example>"}, "mail_from"),
    "a sender with space around": ({"mail_from": " a@b.example "}, "mail_from"),
    "a sender that mail cannot write": ({"mail_from": "é@b.example"}, "mail_from"),
    "a postal address with a control": ({"postal_address": "1 Street\x00"}, "postal_address"),
    "a postal address too long": ({"postal_address": "A" * 501}, "postal_address"),
}


@pytest.mark.parametrize("case", BAD_BRANDS)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_brand_takes(api: Api, case: str) -> None:
    before = api("GET", "/v1/brands").get_json()
    changes, field = BAD_BRANDS[case]
    made = {"slug": "third", "name": "Third", "contact": "x"}
    for answer in (
        api("PATCH", "/v1/brands/acme", changes),
        api("POST", "/v1/brands", {**made, **changes}),
    ):
        assert answer.status_code == 422, answer.get_json()
        assert list(answer.get_json()["errors"]) == [field]
        assert answer.get_json()["errors"][field][0].endswith(".")
    assert api("GET", "/v1/brands").get_json() == before


@pytest.mark.parametrize(
    "mail_from",
    ["news@acme.example", "Acme <News@acme.example>", "Acmé Größe Inc. <n@acme.example>",
     '"Acme, Ltd" <n@acme.example>', "أكمي <n@acme.example>", ""],
)  # fmt: skip
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_a_sender_of_mails_may_be(api: Api, mail_from: str) -> None:
    assert (
        api("PATCH", "/v1/brands/acme", {"mail_from": mail_from}).get_json()["mail_from"]
        == mail_from
    )


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"at_most": [0]}, "at_most"),
        ({"at_most": [51]}, "at_most"),
        ({"at_most": [1, 1]}, "at_most"),
        ({"at_most": [1, 2, 3, 4, 5, 6]}, "at_most"),
        ({"at_most": [1.5]}, "at_most"),
        ({"at_most": [True]}, "at_most"),
        ({"at_most": "1"}, "at_most"),
        ({"texts": {"de": {"name": "A"}}}, "texts.de.name"),
        ({"texts": {"de": {"title": "A" * 121}}}, "texts.de.title"),
        ({"texts": {"x": {"title": "A"}}}, "texts"),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_no_topic_takes(api: Api, changes: dict[str, Any], field: str) -> None:
    topic = {"slug": "t", "brand": "acme", "title": "T", "purpose": "marketing"}
    for answer in (
        api("PATCH", "/v1/topics/events", changes),
        api("POST", "/v1/topics", {**topic, "channels": {"email": None}, **changes}),
    ):
        assert answer.status_code == 422, answer.get_json()
        (named,) = answer.get_json()["errors"]
        assert named == field or named.startswith(f"{field}.")


def test_languages_are_counted_with_those_that_there_are(api: Api) -> None:
    before = api("PATCH", "/v1/brands/acme", {"texts": many(54)}).get_json()["texts"]
    *more, last = ({code: {"name": "A"}} for code in CODES if code not in before)
    room = 60 - len(before)
    assert 0 < room < 26
    for count, status in ((room + 1, 422), (room, 200)):
        texts = {code: said for one in more[:count] for code, said in one.items()}
        answer = api("PATCH", "/v1/brands/acme", {"texts": texts})
        assert answer.status_code == status
    refused = api("PATCH", "/v1/brands/acme", {"texts": last})
    assert "60 languages" in refused.get_json()["errors"]["texts"][0]


# --- the document ---


@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_document_tells_of_all_of_it(api: Api) -> None:
    schemas = api("GET", "/openapi.json").get_json()["components"]["schemas"]
    seen = {"postal_address", "mail_from", "look", "texts"}
    for name in ("BrandIn", "BrandChange", "BrandOut"):
        assert seen <= set(schemas[name]["properties"]), name
    assert set(schemas["LookIn"]["properties"]) == {"accent", "paper", "logo"}
    for name in ("TopicIn", "TopicChange", "TopicOut"):
        assert {"at_most", "texts"} <= set(schemas[name]["properties"]), name
    assert schemas["TenantChange"]["properties"]["language"]["enum"] == list(languages.ALL)
    assert "language" in schemas["TenantOut"]["properties"]


# --- a snapshot of another release ---


def test_a_snapshot_of_an_older_release_is_read_and_what_it_lacks_is_the_default(
    opened: Installation, cast: Cast, tmp_path: Path
) -> None:
    snapshot = opened.settings.snapshot
    kept = json.loads(snapshot.read_text())
    for table, lacking in (
        ("tenant", ("language",)),
        ("brand", ("postal_address", "mail_from", "look", "texts")),
        ("topic", ("at_most", "texts")),
    ):
        for row in kept[table]:
            for name in lacking:
                del row[name]
            row["surprise"] = "of a newer one"
    snapshot.write_text(json.dumps(kept))
    away = Database(f"sqlite:///{tmp_path}/none/prefs.sqlite3")
    started = CurrentDirectory(away, opened.settings.digest_master, snapshot)
    tenant = started.latest.tenants[cast.tenant.id]
    held = tenant.brand("acme")
    assert (tenant.language, held.look, held.texts) == ("en", Look(), {})
    assert (held.mail_from, held.postal_address, held.named("ar")) == ("", "", "Acme")
    assert tenant.topic("product-news").at_most == ()
    assert titled(tenant.topic("product-news"), "de") == "Product news"


# --- the command ---


def test_the_command_gives_a_brand_its_look_and_its_words(
    prefs: Command, opened: Installation, cast: Cast, tmp_path: Path
) -> None:
    file = tmp_path / "logo.svg"
    file.write_bytes(ACME_LOGO)
    shown = ("--name", "Third", "--contact", "x", "--postal-address", "3 Street")
    prefs(
        *("brand", "add", "third", *shown, "--mail-from", "Third <n@third.example>"),
        *("--accent", "#1f6b3a", "--logo", str(file)),
        *("--text", "de:name=Dritte", "--text", "de:about=a=b: c", "--text", "ar:name=الثالثة"),
    )
    third = now(opened, cast).brand("third")
    assert third.look == Look("#1f6b3a", Look().paper, logo(ACME_LOGO))
    assert (third.mail_from, third.postal_address) == ("Third <n@third.example>", "3 Street")
    assert third.texts == {"de": {"name": "Dritte", "about": "a=b: c"}, "ar": {"name": "الثالثة"}}
    prefs("brand", "change", "third", "--paper", "#ffffff", "--text", "ar:name=")
    third = now(opened, cast).brand("third")
    assert third.look == Look("#1f6b3a", "#ffffff", logo(ACME_LOGO))
    assert set(third.texts) == {"de"}
    prefs("brand", "change", "third", "--logo", "/dev/null", "--mail-from", "")
    third = now(opened, cast).brand("third")
    assert (third.look.logo, third.mail_from) == ("", "")


def test_the_command_says_how_often_and_in_which_language(
    prefs: Command, opened: Installation, cast: Cast
) -> None:
    made = ("topic", "add", "t", "--brand", "acme", "--title", "T", "--email", "opt_in")
    prefs(*made, "--at-most", "4, 1,2", "--text", "de:title=Te")
    topic = now(opened, cast).topic("t")
    assert (topic.at_most, titled(topic, "de")) == ((1, 2, 4), "Te")
    prefs("topic", "change", "t", "--title", "New")
    assert now(opened, cast).topic("t").at_most == (1, 2, 4)
    prefs("topic", "change", "t", "--at-most", "", "--text", "de:description=Ja")
    topic = now(opened, cast).topic("t")
    assert (topic.at_most, topic.texts) == ((), {"de": {"title": "Te", "description": "Ja"}})
    code = max(languages.ALL)
    prefs("tenant", "change", "acme", "--language", code)
    assert now(opened, cast).language == code


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("brand", "change", "acme", "--accent", "#ff8800"), "the nearest darker shade"),
        (("brand", "change", "acme", "--paper", "white"), "six hexadecimal digits"),
        (("brand", "change", "acme", "--text", "de=Amboss"), "as in de:name="),
        (("brand", "change", "acme", "--text", "de:title=Amboss"), "name, about"),
        (("brand", "change", "acme", "--text", "german:name=Amboss"), "as in de, pt-BR"),
        (("brand", "change", "acme", "--mail-from", "Acme"), "on one line"),
        (("brand", "change", "acme", "--logo", "no-such-file"), "No such file"),
        (("brand", "change", "acme", "--logo", "LARGE"), "6,000 at most"),
        (("topic", "change", "events", "--at-most", "often"), "as in 1,2,4"),
        (("topic", "change", "events", "--at-most", "1,99"), "each from 1 to 50"),
        (("topic", "change", "order-updates", "--at-most", "1"), "always passes"),
        (("tenant", "change", "acme", "--language", "tlh"), "is not "),
    ],
)
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_the_command_says_what_to_change(
    prefs: Command, cast: Cast, tmp_path: Path, words: tuple[str, ...], advice: str
) -> None:
    large = tmp_path / "large.png"
    large.write_bytes(b"\x89PNG\r\n\x1a\n" * 1000)
    words = tuple(str(large) if word == "LARGE" else word for word in words)
    said = prefs(*words, code=2 if advice in ("No such file", "is not ") else 1)
    assert advice in said
    assert "Traceback" not in said


# --- the demo ---


def test_the_brands_of_the_demo_look_unlike_and_speak_four_languages(cast: Cast) -> None:
    acme, outdoor = cast.tenant.brand("acme"), cast.tenant.brand("outdoor")
    one, other = asdict(acme.look), asdict(outdoor.look)
    for name in ("accent", "paper", "logo"):
        assert one[name] != other[name]
        assert one[name] != getattr(Look(), name) != other[name]
    for held in (acme, outdoor):
        assert len(base64.b64decode(held.look.logo.partition(",")[2])) < 1000
        assert held.postal_address
        assert held.mail_from
        assert len({held.about(code) for code in ("en", "de", "fr", "ar")}) == 4
    for topic in cast.tenant.topics.values():
        for said in (titled, described):
            assert len({said(topic, code) for code in ("en", "de", "fr", "ar")}) == 4
    assert cast.tenant.topic("product-news").at_most == (1, 2, 4)
