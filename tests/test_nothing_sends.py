"""Where no letter can go out, no page says that one does."""

from flask.testing import FlaskClient

from prefs.demo import BOB
from prefs.installation import Installation
from tests.conftest import NOTHING_SENDS, Api, Clock
from tests.test_confirmations import rows
from tests.test_leave_page import Person, link

pytestmark = NOTHING_SENDS


def test_there_is_no_form_to_sign_up_with(client: FlaskClient, opened: Installation) -> None:
    assert client.get("/s/acme/events").status_code == 404
    answer = client.post("/s/acme/events", data={"address": "zoe@example.org"})
    assert answer.status_code == 404
    assert rows(opened) == []


def test_no_link_is_promised_and_a_bad_link_still_names_whom_to_write_to(
    client: FlaskClient, api: Api, opened: Installation
) -> None:
    for answer in (
        client.get("/lost/acme"),
        client.post("/lost/acme", data={"address": "z@z.org"}),
    ):
        assert answer.status_code == 404
    page = client.get(link(api, BOB.value)[:-3]).text
    assert "/lost/" not in page
    assert "help@acme.example" in page
    assert rows(opened) == []


def test_what_is_off_cannot_be_asked_for_through_an_old_link_and_all_can_be_left(
    client: FlaskClient, api: Api, opened: Installation, clock: Clock
) -> None:
    target = link(api, BOB.value, "preferences")
    clock.forward(days=61)
    person = Person(client, target)
    assert [box["on"] for box in person.page.boxes()] == [True]
    assert "we send a message" not in person.page.text
    answer = client.post(target, data={"shown": "", "saw": "9", "on": "product-news"})
    assert "It cannot be turned on from here." in answer.text
    assert rows(opened) == []
    person.press("Unsubscribe from everything")
    assert api.check(BOB.value, "trail-tips")["reason"] == "opted_out"
