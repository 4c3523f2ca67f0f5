"""The page for a code from support: it opens the person's choices once, and turns nothing on."""

import pytest
from flask.testing import FlaskClient

from prefs import codes, rights
from prefs.demo import ALICE, BOB, Cast
from prefs.installation import Installation
from prefs.ledger import Subject
from tests.conftest import Api, Clock
from tests.test_check import taken_away
from tests.test_leave_page import Person
from tests.test_sign_up import letters_to

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)


def make(opened: Installation, cast: Cast, subject: Subject) -> str:
    with opened.database.writing() as connection:
        return codes.make(connection, cast.tenant.id, subject, opened.clock())


@pytest.fixture
def code(opened: Installation, cast: Cast) -> str:
    return make(opened, cast, Subject.of(cast.tenant, ALICE))


def enter(client: FlaskClient, code: str) -> str:
    answer = client.post("/code", data={"code": code})
    assert answer.status_code == 303
    return answer.headers["Location"]


def test_it_opens_the_choices_which_stay_open_and_leaves_anything(
    client: FlaskClient, api: Api, code: str
) -> None:
    there = enter(client, code)
    assert code not in there
    for language in ("", "?lang=de", "?lang=ar"):
        assert client.get(there + language).status_code == 200
    person = Person(client, there)
    assert "a•••@e•••.org" in person.page.text
    person.press("Save", events=False)
    assert api.check(ALICE.value, "events")["reason"] == "opted_out"
    assert client.post(there, data={"leave": "all"}).status_code == 200
    assert api.check(ALICE.value)["reason"] == "opted_out"


def test_what_it_turns_on_is_asked_at_the_address_first(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast
) -> None:
    there = enter(client, make(opened, cast, Subject.of(cast.tenant, BOB)))
    person = Person(client, there)
    page = person.press("Save", events=True, product_news=True)
    assert "We are asking there first: confirm it to turn this on." in page.text
    assert [api.check(BOB.value, topic)["allowed"] for topic in ("events", "product-news")] == [
        False,
        False,
    ]
    assert letters_to(opened, BOB.value) == 2


def test_looking_uses_nothing_up_and_a_second_use_is_refused(
    client: FlaskClient, code: str
) -> None:
    for method in ("GET", "HEAD", "GET"):
        assert client.open(f"/code?code={code}", method=method).status_code == 200
    enter(client, code.lower().replace("-", " "))
    again = client.post("/code", data={"code": code})
    assert (again.status_code, again.mimetype) == (422, "text/html")
    assert code not in again.text


@ONE_STORE
def test_used_ended_erased_and_made_up_look_alike(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock, code: str
) -> None:
    enter(client, code)
    ended = make(opened, cast, Subject.of(cast.tenant, ALICE))
    clock.now += codes.VALID_FOR
    erased = make(opened, cast, Subject.of(cast.tenant, BOB))
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, BOB), clock())
    odd = ("", "\x00", "x" * 9000, "K7QF-4MXC-9T", "٣" * 10)
    bad = [{"code": text} for text in (code, ended, erased, *odd)]
    pages = {client.post("/code", data=data).text for data in (*bad, {}, {"Code": code})}
    assert len(pages) == 1
    assert "This code does not work." in pages.pop()


def test_a_code_made_after_an_erasure_leaves_and_names_nobody(
    client: FlaskClient, opened: Installation, cast: Cast, clock: Clock
) -> None:
    subject = Subject.of(cast.tenant, ALICE)
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, subject, clock())
    there = enter(client, make(opened, cast, subject._replace(value=None)))
    page = client.get(there).text
    assert "Emails to this address" in page
    assert "@e" not in page
    assert client.post(there, data={"leave": "all"}).status_code == 200


def test_without_the_store_no_code_is_used_up(
    client: FlaskClient, opened: Installation, code: str, request: pytest.FixtureRequest
) -> None:
    with taken_away(opened, request):
        assert client.get("/code").status_code == 200
        answer = client.post("/code", data={"code": code})
        assert (answer.status_code, answer.mimetype) == (503, "text/html")
    enter(client, code)
