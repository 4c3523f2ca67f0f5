"""A short link stands for the same claim as the long one, and is as lasting; nobody mistypes it."""

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import event, func, select

from prefs import crockford, directory, minting, rights, short_links, tables
from prefs.address import Channel
from prefs.demo import ALICE, BOB, DAVE, FRANK, Cast
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.links import Action, Claim
from prefs.policy import ALL, Scope
from tests.conftest import NOON, Api
from tests.test_cli import Command, prefs
from wsgi import create_app

__all__ = ["prefs"]

DOMAIN = "leave.example.com"


def claim_of(tenant: Tenant, number: int = 0, **parts: Any) -> Claim:
    digest = number.to_bytes(16)
    return replace(Claim(Action.UNSUBSCRIBE, tenant.id, Channel.SMS, digest, ALL), **parts)


def keep(opened: Installation, tenant: Tenant, *claims: Claim) -> list[str]:
    with opened.database.writing() as connection:
        return short_links.kept(connection, tenant, claims)


def read(opened: Installation, code: str) -> Claim | None:
    with opened.database.reading() as connection:
        return short_links.opened(connection, code)


def rows(opened: Installation) -> int:
    with opened.database.reading() as connection:
        return connection.scalar(select(func.count()).select_from(tables.short_link)) or 0


# --- what it stands for ---


def test_it_says_what_was_claimed_and_who_the_tenant_is(opened: Installation, cast: Cast) -> None:
    tenant = cast.tenant
    claims = [
        claim_of(tenant, 1),
        claim_of(tenant, 1, channel=Channel.EMAIL),
        claim_of(tenant, 1, scope=Scope(7)),
        claim_of(tenant, 1, scope=Scope(None, 7)),
        claim_of(tenant, 1, campaign="spring"),
        claim_of(tenant, 2),
    ]
    codes = keep(opened, tenant, *claims)
    assert len(set(codes)) == len(claims)
    assert [read(opened, code) for code in codes] == claims
    assert all(len(code) == 12 and short_links.normal(code) == code for code in codes)


def test_a_topics_brand_is_left_to_the_directory(opened: Installation, cast: Cast) -> None:
    with_brand = claim_of(cast.tenant, scope=Scope(3, 7))
    (code,) = keep(opened, cast.tenant, with_brand)
    assert [code] == keep(opened, cast.tenant, replace(with_brand, scope=Scope(None, 7)))
    assert read(opened, code) == replace(with_brand, scope=Scope(None, 7))


def test_minting_again_gives_the_same_code_and_no_new_row(opened: Installation, cast: Cast) -> None:
    claims = [claim_of(cast.tenant, number) for number in range(50)]
    codes = keep(opened, cast.tenant, *claims, claims[3])
    assert codes[-1] == codes[3]
    assert keep(opened, cast.tenant, *reversed(claims)) == codes[49::-1]
    assert rows(opened) == 50


def test_ten_thousand_are_kept_in_a_few_statements(opened: Installation, cast: Cast) -> None:
    claims = [claim_of(cast.tenant, number) for number in range(10_000)]
    codes = keep(opened, cast.tenant, *claims)
    assert len(set(codes)) == 10_000
    said: list[str] = []
    with opened.database.writing() as connection:
        event.listen(connection, "before_cursor_execute", lambda *heard: said.append(heard[2]))
        assert short_links.kept(connection, cast.tenant, claims) == codes
    assert len(said) == 1


def test_two_claims_that_meet_on_one_code_get_two(
    opened: Installation, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So short a code that they meet all the time: none is ever given to two."""
    monkeypatch.setattr(short_links, "LENGTH", 1)
    claims = [claim_of(cast.tenant, number) for number in range(20)]
    codes = [*keep(opened, cast.tenant, *claims[:12]), *keep(opened, cast.tenant, *claims[12:])]
    assert len(set(codes)) == 20
    assert [read(opened, code) for code in codes] == claims
    assert keep(opened, cast.tenant, *claims) == codes
    assert rows(opened) == 20


def test_a_code_that_another_tenant_has_is_not_given_again(
    opened: Installation, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    with opened.database.writing() as connection:
        number = directory.add_tenant(connection, "umbra", "Umbra", NOON)
    opened.directory.refresh()
    umbra = opened.directory.latest.tenants[number]
    monkeypatch.setattr(short_links, "LENGTH", 1)
    ours = [claim_of(cast.tenant, number) for number in range(12)]
    theirs = [claim_of(umbra, number) for number in range(12)]
    codes = [*keep(opened, cast.tenant, *ours), *keep(opened, umbra, *theirs)]
    assert len(set(codes)) == 24
    assert [read(opened, code) for code in codes] == [*ours, *theirs]


def test_two_tenants_have_different_codes_for_the_same_digest(
    opened: Installation, cast: Cast
) -> None:
    with opened.database.writing() as connection:
        number = directory.add_tenant(connection, "umbra", "Umbra", NOON)
    opened.directory.refresh()
    umbra = opened.directory.latest.tenants[number]
    ours, theirs = claim_of(cast.tenant, 1), claim_of(umbra, 1)
    assert keep(opened, cast.tenant, ours) != keep(opened, umbra, theirs)


def test_it_works_after_erasure_and_holds_no_address(opened: Installation, cast: Cast) -> None:
    subject = Subject.of(cast.tenant, FRANK)
    claim = claim_of(cast.tenant, digest=subject.digest)
    (code,) = keep(opened, cast.tenant, claim)
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, subject, NOON)
    assert read(opened, code) == claim
    with opened.database.reading() as connection:
        row = repr(connection.execute(select(tables.short_link)).one())
    assert FRANK.value not in row
    assert keep(opened, cast.tenant, claim) == [code]


def test_codes_that_are_in_peoples_texts_today_stay_as_they_are(
    opened: Installation, cast: Cast
) -> None:
    """A release that computed others would keep a second row for everybody."""
    tenant = replace(cast.tenant, id=1, digest_key=bytes(range(32)))
    news = claim_of(tenant, 5, scope=Scope(None, 10), campaign="spring")
    assert keep(opened, tenant, claim_of(tenant, 5), news) == ["rmetncqm4ahm", "m8tm0ngeqkas"]


# --- how it is typed ---


@pytest.mark.parametrize(
    "typed",
    [
        "0123456789ab",
        "0123456789AB",
        "O123456789aB",
        "oI23456789ab",
        "0L23456789ab",
        "0123-4567-89ab",
        " 0123 4567 89ab\r\n",
        "0123\u20114567\u00a089ab",
        "0123456789ab.",
        "<0123456789ab>",
        "\u201c0123456789ab\u201d,",
        "0123\u200b456789ab\ufeff",
        "0123456789ab/",
    ],
)
def test_however_it_is_typed_it_is_the_same_code(typed: str) -> None:
    assert short_links.normal(typed) == "0123456789ab"


@pytest.mark.parametrize(
    "typed",
    ["", "0123456789a", "0123456789abc", "0123456789au", "0123456789a\u0660", "0123456789aß"]
    + ["0123456789a%", "\ud800" * 12, "0" * 100_000, "01234567.89ab", "0123456789a\x00"],
)
def test_what_is_no_code_opens_nothing(opened: Installation, cast: Cast, typed: str) -> None:
    assert short_links.normal(typed) is None
    assert read(opened, typed) is None


def test_a_code_that_stands_for_nothing_opens_nothing(opened: Installation, cast: Cast) -> None:
    (code,) = keep(opened, cast.tenant, claim_of(cast.tenant))
    other = crockford.spelt(1, 12)
    assert other != code
    assert read(opened, other) is None


# --- minting by API and command ---


def test_every_item_gets_one_when_it_is_asked_for(api: Api, opened: Installation) -> None:
    item = {"channel": "sms", "address": DAVE.value, "topic": "product-news", "campaign": "spring"}
    asked = {"items": [item, {"channel": "email", "address": BOB.value}], "short": True}
    texts, mails = api("POST", "/v1/links", asked).get_json()["items"]
    base, _, code = texts["short"].rpartition("/")
    assert base == "https://prefs.example.com/l"
    token = texts["unsubscribe"].rpartition("/")[2]
    assert read(opened, code) == opened.links.open(token, Action.UNSUBSCRIBE)
    assert read(opened, mails["short"].rpartition("/")[2])
    assert api("POST", "/v1/links", asked).get_json()["items"][0]["short"] == texts["short"]
    assert rows(opened) == 2
    plain = api("POST", "/v1/links", {"items": [item]}).get_json()["items"][0]
    assert "short" not in plain


def test_many_are_kept_some_at_a_time_so_that_nobody_waits_for_all(
    api: Api, opened: Installation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(minting, "AT_ONCE", 2)
    items = [{"channel": "email", "address": f"n{number}@example.org"} for number in range(5)]
    at_once, now = [], 0

    def heard(connection: Any, cursor: Any, statement: str, values: Any, *rest: Any) -> None:
        nonlocal now
        now += len(values) if "INTO address" in statement else 0

    def committed(connection: Any) -> None:
        nonlocal now
        at_once.append(now)
        now = 0

    event.listen(opened.database.engine, "before_cursor_execute", heard)
    event.listen(opened.database.engine, "commit", committed)
    answer = api("POST", "/v1/links", {"items": items, "short": True}).get_json()["items"]
    event.remove(opened.database.engine, "before_cursor_execute", heard)
    event.remove(opened.database.engine, "commit", committed)
    assert [one["address"] for one in answer] == [item["address"] for item in items]
    codes = [one["short"].rpartition("/")[2] for one in answer]
    tokens = [one["unsubscribe"].rpartition("/")[2] for one in answer]
    assert [read(opened, code) for code in codes] == [
        opened.links.open(token, Action.UNSUBSCRIBE) for token in tokens
    ]
    assert len([number for number in at_once if number]) == 3


def test_one_that_must_not_be_remembered_cannot_be_short(api: Api, opened: Installation) -> None:
    asked = {"items": [{"channel": "sms", "address": DAVE.value}], "short": True}
    answer = api("POST", "/v1/links", {**asked, "remember": False})
    assert answer.status_code == 422
    assert "a row that knows whose it is" in answer.get_json()["errors"]["short"][0]
    assert rows(opened) == 0


def test_the_persons_language_is_kept_unless_they_have_one(api: Api, opened: Installation) -> None:
    def mint(language: str) -> int:
        item = {"channel": "email", "address": "new@example.org", "language": language}
        status: int = api("POST", "/v1/links", {"items": [item]}).status_code
        return status

    assert mint("pt-BR") == 200
    assert mint("de") == 200
    with opened.database.reading() as connection:
        kept = connection.scalars(select(tables.address.c.language)).all()
    assert [language for language in kept if language] == ["pt-BR"]
    for wrong in ("", "x", "german", "d e", "de-", "de-AT-and-more-of-it"):
        assert mint(wrong) == 422, wrong


# --- the address in a mail's header ---


@pytest.fixture
def mailing(opened: Installation, cast: Cast) -> Api:
    settings = replace(opened.settings, mail_domain=DOMAIN)
    app = create_app(replace(opened, settings=settings))
    return Api(app.test_client(), cast.key)


def mail_headers(api: Api, **item: Any) -> dict[str, str]:
    asked = {"items": [{"channel": "email", "address": ALICE.value, **item}]}
    headers: dict[str, str] = api("POST", "/v1/links", asked).get_json()["items"][0]["headers"]
    return headers


def test_with_a_mail_domain_one_mailto_stands_after_the_one_https_link(
    mailing: Api, opened: Installation
) -> None:
    field = mail_headers(mailing, topic="product-news", campaign="spring")["List-Unsubscribe"]
    first, second = field.split(", ")
    assert field.count("<") == 2
    assert field.count("https://") == 1
    assert first.startswith("<https://prefs.example.com/u/")
    prefix, suffix = "<mailto:", "?subject=unsubscribe>"
    assert second.startswith(prefix)
    assert second.endswith(suffix)
    address = second[len(prefix) : -len(suffix)]
    local, _, domain = address.partition("@")
    assert domain == DOMAIN
    assert len(local) <= 64
    assert local == local.lower()
    for seen in (
        address,
        address.upper(),
        f"<{address}>",
        f"mailto:{address}?subject=",
        f' "{local}"@x.y',
    ):
        code = short_links.addressed(seen)
        assert code, seen
        claim = read(opened, code)
        assert claim
        assert claim.digest == opened.directory.latest.tenants[claim.tenant].digest(ALICE)
    again = mail_headers(mailing, topic="product-news", campaign="summer")["List-Unsubscribe"]
    assert again.split(", ")[1] == second, "one row per list, and not one per mail"


def test_a_mail_names_the_list_that_its_link_leaves(api: Api) -> None:
    host = "prefs.example.com"
    assert mail_headers(api, topic="trail-tips")["List-Id"] == (
        f"Trail tips <trail-tips.acme.{host}>"
    )
    assert mail_headers(api, brand="outdoor")["List-Id"] == f"Acme Outdoor <outdoor.acme.{host}>"
    assert mail_headers(api)["List-Id"] == f"Acme Group <acme.{host}>"


def test_nobody_is_remembered_for_a_mailto_against_the_senders_wish(
    mailing: Api, opened: Installation
) -> None:
    asked = {"items": [{"channel": "email", "address": "new@example.org"}], "remember": False}
    headers = mailing("POST", "/v1/links", asked).get_json()["items"][0]["headers"]
    assert "mailto" not in headers["List-Unsubscribe"]
    assert rows(opened) == 0


def test_without_a_mail_domain_and_on_other_channels_there_is_no_mailto(
    api: Api, mailing: Api
) -> None:
    assert "mailto" not in mail_headers(api)["List-Unsubscribe"]
    assert (
        "mailto" not in mail_headers(mailing, channel="sms", address=DAVE.value)["List-Unsubscribe"]
    )


@pytest.mark.parametrize(
    "text", ["", "unsubscribe@leave.example.com", "bob@example.org", "unsubscribe-short@x.y", "@"]
)
def test_other_addresses_are_nobodys(text: str) -> None:
    assert short_links.addressed(text) is None


# --- the mails that come, by hand ---


def test_the_command_shows_whose_an_unsubscribe_mail_is_and_records_the_out(
    prefs: Command, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PREFS_MAIL_DOMAIN", DOMAIN)
    printed = prefs("link", ALICE.value, "--topic", "product-news", "--short", "--campaign", "may")
    shown = dict(line.split(": ", 1) for line in printed.splitlines())
    address = shown["List-Unsubscribe"].split("<mailto:")[1].split("?")[0]
    for link in (address, shown["short"], shown["short"][-12:].upper(), shown["unsubscribe"]):
        said = prefs("whose", link)
        assert said.startswith("email a•••@e•••.org, topic product-news of acme"), link
        assert ALICE.value not in said
    assert "campaign may" in prefs("whose", shown["short"])
    assert "brand acme of acme" in prefs("whose", shown["preferences"])
    assert prefs("check", ALICE.value, "--topic", "product-news").startswith("allow: ")
    assert prefs("leave", address).startswith("Opted out: email a•••")
    said = prefs("check", ALICE.value, "--topic", "product-news", code=1)
    assert "out of topic product-news, said by person, through unsubscribe mail" in said
    assert prefs("check", ALICE.value, "--topic", "events").startswith("allow: ")


@pytest.mark.parametrize(
    "link", ["", "0123456789ab", "unsubscribe-0123456789ab@x.y", "https://a/u/b"]
)
def test_the_command_leaves_nothing_by_a_link_of_nobodys(
    prefs: Command, cast: Cast, link: str
) -> None:
    for command in ("whose", "leave"):
        assert "no link, code or unsubscribe address of ours" in prefs(command, link, code=1)


def test_the_command_writes_a_column_for_each_link(
    prefs: Command, cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "a@example.org\nb@example.org\n"
    plain = prefs("link", "-", stdin=lines).splitlines()
    assert plain[0] == "address,unsubscribe,preferences"
    monkeypatch.setenv("PREFS_MAIL_DOMAIN", DOMAIN)
    more = [line.split(",") for line in prefs("link", "-", "--short", stdin=lines).splitlines()]
    assert more[0] == ["address", "unsubscribe", "preferences", "short", "mailbox"]
    assert {len(line) for line in more} == {5}
    assert "/l/" in more[1][3]
    assert more[2][4].startswith("unsubscribe-")
