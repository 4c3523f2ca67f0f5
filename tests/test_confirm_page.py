"""The question's page: a button says yes once and to what it showed, and a no is never lost."""

import re
from collections.abc import Callable
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import delete, select

from prefs import directory, ledger, letters, rights, tables
from prefs.address import Address, Channel
from prefs.demo import Cast
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.links import CONFIRM_FOR, Action, Claim
from prefs.policy import ALL, Authority, Block, Event, Kind, Scope, Voice
from tests.conftest import Api, Clock
from wsgi import create_app

ONE_STORE = pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
GRACE = Address(Channel.EMAIL, "grace@example.org")
YES, NO = {"answer": "yes"}, {"answer": "no"}
ASKED = "Do you want <bdi>Events</bdi>?"
GETS = "You will get <bdi>Events</bdi>."
GETS_NOT = "You will not get <bdi>Events</bdi>."
TOO_OLD = "This question is too old"
AGAIN = "After we had asked, you said no."

Ask = Callable[..., str]


@pytest.fixture
def ask(opened: Installation, cast: Cast, clock: Clock) -> Ask:
    """Asks Grace, or another address, and returns the path of the link that was sent."""

    def asks(address: Address = GRACE, topic: str = "events") -> str:
        with opened.database.writing() as connection:
            asked = letters.ask(
                connection,
                cast.tenant,
                address,
                cast.tenant.topic(topic),
                language="en",
                through="sign-up form",
                evidence={},
                network=None,
                now=clock(),
            )
        assert asked.letter
        written = letters.written(cast.tenant, asked.letter, opened.links, "")
        return written.link

    return asks


@pytest.fixture
def say(opened: Installation, cast: Cast, clock: Clock) -> Callable[..., None]:
    def says(kind: Kind, scope: Scope = ALL, address: Address = GRACE, **rest: Any) -> None:
        with opened.database.writing() as connection:
            said = Said(Subject.of(cast.tenant, address), Event(kind, clock(), scope, **rest))
            ledger.record(connection, cast.tenant.id, said)

    return says


def history(opened: Installation, cast: Cast, address: Address = GRACE) -> list[ledger.Entry]:
    with opened.database.reading() as connection:
        return ledger.history(connection, cast.tenant.id, cast.tenant.digest(address))


def told(api: Api, address: Address = GRACE) -> str:
    reason: str = api.check(address.value, "events", str(address.channel))["reason"]
    return reason


def test_looking_and_an_empty_press_say_nothing(
    client: FlaskClient, opened: Installation, cast: Cast, ask: Ask
) -> None:
    link = ask()
    for method in ("GET", "HEAD", "GET", "POST"):
        answer = client.open(link, method=method)
        assert answer.status_code == 200
        assert method == "HEAD" or ASKED in answer.text
    for strange in ({"answer": "YES!"}, {"saw": "9"}, {"answer": ""}, {"x": "\x00"}):
        assert ASKED in client.post(link, data=strange).text
    assert ASKED in client.post(link, data=b"\xff{", content_type="multipart/form-data").text
    assert len(history(opened, cast)) == 1


def test_twice_and_in_two_tabs_is_once_and_a_no_in_another_tab_is_asked_about(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, ask: Ask, clock: Clock
) -> None:
    link = ask()
    assert GETS in client.post(link, data=YES).text
    assert GETS in client.post(link, data=YES).text
    assert len(history(opened, cast)) == 2
    clock.forward(minutes=1)
    assert GETS_NOT in client.post(link, data=NO).text
    assert told(api) == "opted_out"
    page = client.post(link, data=YES).text
    assert AGAIN in page
    assert told(api) == "opted_out"
    seen = re.search(r'name="saw" value="(\d+)"', page)
    assert seen
    assert GETS in client.post(link, data={**YES, "saw": seen[1]}).text
    assert told(api) == "consent"


@pytest.mark.parametrize("no", [NO, {"List-Unsubscribe": "One-Click"}])
@ONE_STORE
def test_a_no_counts_whatever_has_become_of_the_question(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, ask: Ask, clock: Clock, no: Any
) -> None:
    link = ask()
    clock.forward(days=400)
    assert TOO_OLD in client.get(link).text
    assert GETS_NOT in client.post(link, data=no).text
    assert told(api) == "opted_out"
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, GRACE), clock())
    assert GETS_NOT in client.post(link, data=no).text
    assert history(opened, cast)[-1].event.door == "confirmation page"


def test_a_no_takes_the_typed_address_and_the_letters_that_wait(
    client: FlaskClient, opened: Installation, ask: Ask, clock: Clock
) -> None:
    link = ask()
    clock.forward(minutes=10)
    ask()
    ask(topic="product-news")
    assert GETS_NOT in client.post(link, data=NO).text
    with opened.database.writing() as connection:
        kept = connection.execute(select(tables.letter).order_by(tables.letter.c.id)).all()
        assert [row.value for row in kept] == [None, None, GRACE.value]
        (waiting,) = letters.claim_due(connection, clock(), 10)
    assert waiting.id == kept[2].id


def test_it_ends_after_seven_days_on_the_page_as_at_the_press(
    client: FlaskClient, api: Api, ask: Ask, clock: Clock
) -> None:
    link = ask()
    clock.now += CONFIRM_FOR - 1
    assert ASKED in client.get(link).text
    clock.now += 1
    for page in (client.get(link).text, client.post(link, data=YES).text):
        assert TOO_OLD in page
        assert 'href="/s/acme/events"' in page
        assert 'value="no"' in page
        assert 'value="yes"' not in page
    assert told(api) == "no_consent"


@pytest.mark.parametrize("saw", ["999999999999", "99999999999999999999", "-1", "1e9", "٣", "\x00"])
@ONE_STORE
def test_a_forged_version_beats_no_later_no(
    client: FlaskClient, api: Api, ask: Ask, say: Callable[..., None], saw: str
) -> None:
    link = ask()
    say(Kind.OUT, voice=Voice.PERSON, authority=Authority.PERSON)
    assert client.post(link, data={**YES, "saw": saw}).status_code == 200
    say(Kind.OUT, voice=Voice.COMPLAINT, authority=Authority.PERSON)
    page = client.post(link, data={**YES, "saw": saw})
    assert page.status_code == 200
    assert told(api) == "complained"


@pytest.mark.parametrize("permits", [False, True])
def test_a_complaint_ends_only_where_the_tenant_permits_it(
    client: FlaskClient,
    api: Api,
    opened: Installation,
    cast: Cast,
    ask: Ask,
    say: Callable[..., None],
    permits: bool,
) -> None:
    link = ask()
    say(Kind.OUT, voice=Voice.COMPLAINT, authority=Authority.PERSON)
    if permits:
        with opened.database.writing() as connection:
            directory.change_tenant(connection, cast.tenant, confirming_ends_complaint=True)
        opened.directory.refresh()
    page = client.post(link, data=YES).text
    assert (AGAIN if permits else TOO_OLD) in page
    seen = re.search(r'name="saw" value="(\d+)"', page)
    again = client.post(link, data={**YES, "saw": seen[1] if seen else "9"}).text
    assert (GETS if permits else TOO_OLD) in again
    assert told(api) == ("consent" if permits else "complained")


@pytest.mark.parametrize("block", [Block.MINOR, Block.RESTRICTED, Block.DO_NOT_CONTACT])
@ONE_STORE
def test_a_block_that_only_the_rights_desk_ends_is_promised_nothing(
    client: FlaskClient, api: Api, ask: Ask, say: Callable[..., None], block: Block
) -> None:
    link = ask()
    say(Kind.BLOCK, block=block, authority=Authority.RIGHTS)
    for _ in range(2):
        page = client.post(link, data=YES)
        assert page.status_code == 200
        assert GETS not in page.text
        assert TOO_OLD in page.text
    assert told(api) == str(block)


def test_who_was_erased_answers_anew_and_is_named_to_nobody(
    client: FlaskClient, api: Api, opened: Installation, cast: Cast, ask: Ask, clock: Clock
) -> None:
    link = ask()
    with opened.database.writing() as connection:
        rights.erase(connection, cast.tenant.id, Subject.of(cast.tenant, GRACE), clock())
    page = client.get(link).text
    assert "Emails to this address" in page
    assert "@e" not in page
    assert AGAIN in client.post(link, data=YES).text
    assert told(api) == "erased"


@ONE_STORE
def test_of_a_topic_that_is_gone_the_page_still_takes_a_no(
    client: FlaskClient, opened: Installation, cast: Cast, ask: Ask, clock: Clock
) -> None:
    link = ask()
    events = cast.tenant.topic("events").scope
    with opened.database.writing() as connection:
        table = tables.topic
        connection.execute(delete(tables.letter))
        connection.execute(delete(table).where(table.c.id == events.topic))
        connection.execute(
            tables.installation.update().values(revision=tables.installation.c.revision + 1)
        )
    opened.directory.refresh()
    for answer in (client.get(link), client.post(link, data=YES)):
        assert answer.status_code == 200
        assert TOO_OLD in answer.text
        assert "/s/acme" not in answer.text
    assert "You are unsubscribed" in client.post(link, data=NO).text
    assert history(opened, cast)[-1].event.kind is Kind.OUT


@ONE_STORE
def test_the_yes_keeps_the_words_in_the_language_they_were_read_in(
    client: FlaskClient, opened: Installation, cast: Cast, ask: Ask
) -> None:
    link = ask()
    page = client.get(f"{link}?lang=de").text
    assert '<html lang="de" dir="ltr">' in page
    assert 'action="/c/' in page
    assert '?lang=de"' in page
    client.post(f"{link}?lang=de", data=YES)
    evidence = history(opened, cast)[-1].evidence
    assert evidence
    assert evidence["wording text"] in page
    assert evidence["wording language"] == "de"
    assert evidence["wording title"] == "Veranstaltungen"


@ONE_STORE
def test_the_confirmation_leads_to_the_choices_of_that_address(
    client: FlaskClient, opened: Installation, ask: Ask
) -> None:
    page = client.post(ask(), data=YES).text
    choices = re.search(r'href="(/p/[^"]+)"', page)
    assert choices
    claim = opened.links.open(choices[1].removeprefix("/p/"), Action.PREFERENCES)
    assert claim.channel is Channel.EMAIL
    found = client.get(choices[1])
    assert found.status_code == 200
    assert "g•••@e•••.org" in found.text


@ONE_STORE
def test_after_a_stop_the_link_that_the_sender_delivered_asks_once_more(
    client: FlaskClient, api: Api, ask: Ask, say: Callable[..., None]
) -> None:
    heidi = Address(Channel.SMS, "+14155550108")
    link = ask(heidi)
    say(Kind.OUT, address=heidi, voice=Voice.STOP, authority=Authority.PERSON)
    assert AGAIN in client.post(link, data=YES).text
    assert told(api, heidi) == "replied_stop"


@ONE_STORE
def test_another_tenant_is_shown_nothing_by_a_link_that_names_no_question(
    opened: Installation, cast: Cast, clock: Clock
) -> None:
    client = create_app(opened).test_client()
    scope = cast.tenant.topic("events").scope
    digest = cast.tenant.digest(GRACE)
    claim = Claim(Action.CONFIRM, cast.tenant.id, Channel.EMAIL, digest, scope, clock(), "none")
    link = f"/c/{opened.links.sign(claim)}"
    assert client.get(link).status_code == 200
    refused = client.post(link, data=YES)
    assert (refused.status_code, refused.mimetype) == (404, "text/html")
    assert "/lost/acme" in refused.text
