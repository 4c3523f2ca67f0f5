"""A one-time code opens one person's page once, that day, and tells a guesser nothing."""

import re
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from sqlalchemy import select

from prefs import codes, rights, tables
from prefs.demo import ALICE, BOB, FRANK, Cast
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.policy import Millis
from tests.conftest import NOON, Api
from tests.test_cli import Command, prefs

__all__ = ["prefs"]


@pytest.fixture
def alice(cast: Cast) -> Subject:
    return Subject.of(cast.tenant, ALICE)


def make(opened: Installation, cast: Cast, subject: Subject, now: Millis = NOON) -> str:
    with opened.database.writing() as connection:
        return codes.make(connection, cast.tenant.id, subject, now)


def use(opened: Installation, text: str, now: Millis = NOON) -> tuple[int, Subject] | None:
    with opened.database.writing() as connection:
        return codes.use(connection, text, now)


def test_it_is_shown_in_groups_that_can_be_read_aloud(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    seen = {make(opened, cast, alice) for _ in range(50)}
    assert len(seen) == 50
    for code in seen:
        assert re.fullmatch(
            r"[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{2}", code
        )


def test_it_gives_the_address_it_was_made_for_and_its_tenant(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    code = make(opened, cast, alice)
    assert use(opened, code) == (cast.tenant.id, alice._replace(value=None))


def test_it_may_be_typed_in_any_case_with_and_without_its_hyphens(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    for spell in (
        str.lower,
        lambda code: code.replace("-", ""),
        lambda code: f" {code.replace('-', ' ')} ",
        lambda code: code.replace("0", "O").replace("1", "l"),
        lambda code: f"\u201c{code}\u201d.",
    ):
        assert use(opened, spell(make(opened, cast, alice)))


def test_it_opens_once(opened: Installation, cast: Cast, alice: Subject) -> None:
    code = make(opened, cast, alice)
    assert use(opened, code)
    assert use(opened, code) is None


def test_of_many_who_use_it_at_one_moment_one_gets_in(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    code = make(opened, cast, alice)
    with ThreadPoolExecutor(8) as pool:
        got = list(pool.map(lambda _: use(opened, code), range(8)))
    assert sum(one is not None for one in got) == 1


def test_a_use_that_comes_to_nothing_leaves_it_unused(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    code = make(opened, cast, alice)
    with suppress(RuntimeError), opened.database.writing() as connection:
        assert codes.use(connection, code, NOON)
        raise RuntimeError("the page could not be built")
    assert use(opened, code)


def test_it_ends_after_a_day(opened: Installation, cast: Cast, alice: Subject) -> None:
    code = make(opened, cast, alice)
    assert use(opened, code, NOON + codes.VALID_FOR) is None
    assert use(opened, code, NOON + codes.VALID_FOR - 1)


def test_a_new_one_ends_the_older_ones_of_that_address_and_no_other(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    bobs = make(opened, cast, Subject.of(cast.tenant, BOB))
    first, second = make(opened, cast, alice), make(opened, cast, alice)
    assert use(opened, first) is None
    assert use(opened, second)
    assert use(opened, bobs)


def test_of_several_made_at_one_moment_one_is_left(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: make(opened, cast, alice), range(4)))
    assert sum(use(opened, code) is not None for code in made) == 1


@pytest.mark.parametrize(
    "text",
    ["", "K7QF-4MXC-9T", "K7QF-4MXC-9", "K7QF-4MXC-9TT", "U" * 10, "\ud800" * 10, "0" * 9999],
)
def test_what_was_never_made_opens_nothing(opened: Installation, cast: Cast, text: str) -> None:
    assert use(opened, text) is None


def test_what_is_stored_is_no_code_and_an_erasure_ends_it(
    opened: Installation, cast: Cast, alice: Subject
) -> None:
    code = make(opened, cast, alice)
    with opened.database.reading() as connection:
        stored = repr(connection.execute(select(tables.one_time_code)).all()).lower()
    assert code.lower() not in stored
    assert code.replace("-", "").lower() not in stored
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, alice, NOON)
    assert use(opened, code) is None


def test_ended_ones_do_not_pile_up(opened: Installation, cast: Cast, alice: Subject) -> None:
    for number in range(5):
        make(opened, cast, alice._replace(digest=bytes([number]) * 16), NOON)
    make(opened, cast, alice, NOON + codes.VALID_FOR)
    with opened.database.reading() as connection:
        assert len(connection.execute(select(tables.one_time_code)).all()) == 1


def test_support_makes_one_by_the_api(api: Api, opened: Installation) -> None:
    asked = {"channel": "sms", "address": "(415) 555-0106", "region": "US"}
    answer = api("POST", "/v1/codes", asked)
    assert answer.status_code == 200
    body = answer.get_json()
    assert set(body) == {"code", "expires_at", "url"}
    assert body["url"] == "https://prefs.example.com/code"
    assert body["expires_at"] == "2026-11-03T12:00:00.000Z"
    got = use(opened, body["code"])
    assert got
    tenant = opened.directory.latest.tenants[got[0]]
    assert got[1].digest == tenant.digest(FRANK)


def test_the_answer_is_stored_nowhere_even_with_an_idempotency_key(
    api: Api, opened: Installation
) -> None:
    asked = {"channel": "email", "address": "new@example.org"}
    headers = {"Idempotency-Key": "support-1"}
    code = api("POST", "/v1/codes", asked, headers=headers).get_json()["code"]
    with opened.database.reading() as connection:
        assert connection.execute(select(tables.idempotency)).all() == []
    assert use(opened, code)


def test_support_makes_one_by_the_command(prefs: Command, opened: Installation, cast: Cast) -> None:
    said = prefs("code", "bob@example.org")
    code, rest = said.split("\n", 1)
    assert rest.startswith("They enter it once, until ")
    assert rest.rstrip().endswith("/code")
    got = use(opened, code)
    assert got
    assert got[1].digest == cast.tenant.digest(BOB)
