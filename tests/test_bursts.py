"""A machine's opt-outs are flagged and never dropped, and what a person says again is kept."""

import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import urlsplit

import pytest
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from sqlalchemy import event

from prefs import bursts, directory, ledger, rights
from prefs.address import Address, Channel
from prefs.bursts import UnknownBurst, finding
from prefs.demo import Cast
from prefs.directory import SCOPES
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.policy import ALL, Authority, Event, Kind, Mode, Purpose, Voice
from tests.conftest import NOON, Api, Clock
from tests.test_bad_input import refused
from tests.test_cli import Command, prefs
from tests.test_keys import key_with
from tests.test_one_click import everything

__all__ = ["prefs"]

SCANNER = "8.8.4.9"
AGENT = "Mozilla/5.0 (scanner)"
REASON = "the gateway of firm.example opened every link"


def firm(count: int, domain: str = "firm.example", start: int = 0) -> list[str]:
    return [f"staff{number}@{domain}" for number in range(start, start + count)]


class Machine:
    """Opens the links of one campaign and presses what is there."""

    def __init__(self, client: FlaskClient, api: Api, clock: Clock) -> None:
        self.client, self.api, self.clock = client, api, clock

    def links(self, people: list[str], kind: str = "unsubscribe", **about: Any) -> list[str]:
        items = [
            {"channel": "sms" if who[0] == "+" else "email", "address": who, **about}
            for who in people
        ]
        answer = self.api("POST", "/v1/links", {"items": items})
        return [urlsplit(item[kind]).path for item in answer.get_json()["items"]]

    def press(
        self,
        people: list[str],
        *,
        ip: str | Callable[[int], str] = SCANNER,
        apart: int = 200,
        topic: str = "product-news",
        campaign: str = "spring",
        agent: str = AGENT,
        **form: str,
    ) -> None:
        """Each is pressed for, so many milliseconds apart."""
        links = self.links(people, topic=topic, campaign=campaign)
        for number, path in enumerate(links):
            self.clock.now += apart
            self.post(path, ip if isinstance(ip, str) else ip(number), agent, **form)

    def post(self, path: str, ip: str = SCANNER, agent: str = AGENT, **form: str) -> None:
        answer = self.client.post(
            path,
            data=form,
            headers={"User-Agent": agent},
            environ_base={"REMOTE_ADDR": ip},
        )
        assert answer.status_code == 200


ONE_CLICK = {"List-Unsubscribe": "One-Click"}


@pytest.fixture
def machine(client: FlaskClient, api: Api, clock: Clock) -> Machine:
    return Machine(client, api, clock)


def listed(api: Api, query: str = "") -> list[dict[str, Any]]:
    answer = api("GET", f"/v1/bursts{query}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.get_json()["bursts"]
    return found


def only(api: Api) -> dict[str, Any]:
    (found,) = listed(api)
    return found


def undo(api: Api, burst_id: str, **kwargs: Any) -> Any:
    answer = api("POST", f"/v1/bursts/{burst_id}/undo", {"reason": REASON}, **kwargs)
    assert answer.status_code == 200, answer.text
    return answer.get_json()


def outs(api: Api, people: Iterable[str], topic: str = "product-news") -> set[str]:
    return {who for who in people if not api.check(who, topic)["allowed"]}


def everywhere(net: str) -> Callable[[int], str]:
    """From networks that have nothing to do with each other."""
    return lambda number: f"{net}.{number}.{number}.7"


# --- what is flagged ---


def test_a_scanner_that_presses_for_thirty_people_is_flagged_and_each_of_them_is_out_at_once(
    machine: Machine, api: Api
) -> None:
    people = firm(30)
    for who in people:
        assert api.check(who)["allowed"] is True
        machine.press([who])
        assert api.check(who)["reason"] == "opted_out"
    found = only(api)
    assert found["count"] == len(found["members"]) == 30
    assert found["why"] == (
        "30 addresses of one domain and from one network left within 6 seconds, "
        "through the page's button."
    )
    assert found["doors"] == ["unsubscribe link"]
    assert found["campaigns"] == ["spring"]
    assert found["user_agents"] == [AGENT]
    assert found["started_at"] < found["ended_at"]
    assert found["members"][0]["outs"] == [
        {
            "seq": 1,
            "scope": {"brand": "acme", "topic": "product-news"},
            "heard_at": found["started_at"],
            "door": "unsubscribe link",
            "repeated": False,
            "undone": False,
        }
    ]
    assert outs(api, people) == set(people), "a flag changes nothing"


def test_what_is_shown_holds_no_address_but_a_masked_one(machine: Machine, api: Api) -> None:
    machine.press(firm(12))
    shown = api("GET", "/v1/bursts").text
    done = api("POST", f"/v1/bursts/{only(api)['id']}/undo", {"reason": REASON}).text
    for text in (shown, done):
        assert "s•••@f•••.example" in text
        for secret in ("staff", "firm.", SCANNER, "8.8.4.0"):
            assert secret not in text.replace(REASON, "")


@pytest.mark.parametrize("domain", ["gmail.com", "yahoo.co.uk", "outlook.fr", "web.de"])
def test_thirty_users_of_a_public_mailbox_provider_may_leave_in_one_minute(
    machine: Machine, api: Api, domain: str
) -> None:
    people = firm(30, domain)
    machine.press(people[:15], ip=everywhere("5"))
    machine.press(people[15:], ip=everywhere("9"), **ONE_CLICK)
    assert listed(api) == []


def test_the_one_click_of_a_provider_from_one_network_is_not_flagged_by_the_network(
    machine: Machine, api: Api
) -> None:
    people = [f"someone@house{number}.example" for number in range(30)]
    machine.press(people, **ONE_CLICK)
    assert listed(api) == []
    # The same through the page's button is what no provider does.
    machine.press(people)
    assert only(api)["why"].startswith("30 addresses from one network left")
    assert only(api)["doors"] == ["unsubscribe link"]


def test_one_click_of_one_company_is_flagged_by_its_domain(machine: Machine, api: Api) -> None:
    machine.press(firm(10), ip=everywhere("5"), **ONE_CLICK)
    found = only(api)
    assert found["why"].endswith("of one domain left within 2 seconds, through one click.")


def test_who_leaves_slowly_or_in_small_numbers_is_not_flagged(machine: Machine, api: Api) -> None:
    machine.press(firm(40), apart=7_000)
    assert listed(api) == []
    machine.press(firm(9, "small.example"), ip="8.8.8.8", apart=100)
    assert listed(api) == []
    # Nine people who press ten times are nine people.
    machine.press(firm(9, "small.example"), ip="8.8.8.8", apart=100)
    assert listed(api) == []


def test_a_network_is_a_24_or_a_48_and_none_where_a_proxy_is_not_counted(
    machine: Machine, api: Api
) -> None:
    def people(name: str) -> list[str]:
        return [f"{name}@house{number}.example" for number in range(10)]

    machine.press(people("a"), ip=lambda number: f"8.8.4.{number}")
    machine.press(people("b"), ip=lambda number: f"2a01:4f8:1:{number}::1")
    machine.press(people("c"), ip=lambda number: f"2a01:4f8:{number + 100}::1")
    machine.press(people("d"), ip="127.0.0.1")
    machine.press(people("e"), ip="10.0.0.7")
    assert [found["count"] for found in listed(api)] == [10, 10]


def test_the_preference_page_and_text_messages_are_looked_at_too(
    machine: Machine, api: Api
) -> None:
    for number, path in enumerate(machine.links(firm(10), "preferences")):
        machine.clock.now += 100
        machine.post(path, f"9.{number}.1.1", leave="all")
    assert only(api)["doors"] == ["preference page"]
    phones = [f"+1415555{number:04}" for number in range(2000, 2010)]
    machine.press(phones, ip="8.8.8.1")
    assert [found["count"] for found in listed(api)] == [10, 10]


def test_bursts_that_share_an_out_are_one_and_others_stay_apart(machine: Machine, api: Api) -> None:
    # One scanner for two companies and a few more: one machine, one burst.
    machine.press(firm(12, "one.example") + firm(12, "two.example") + firm(2, "gmail.com"))
    found = only(api)
    assert found["count"] == 26
    assert found["why"].startswith("26 addresses of 2 domains and from one network left")
    machine.press(firm(10, "three.example"), ip="9.9.9.9")
    assert [found["count"] for found in listed(api)] == [26, 10]
    machine.clock.forward(minutes=2)
    machine.press(firm(10, "three.example", start=50), ip="9.9.9.9")
    assert [found["count"] for found in listed(api)] == [26, 10, 10]


def test_a_burst_longer_than_the_window_is_one(machine: Machine, api: Api) -> None:
    machine.press(firm(100), apart=3_000)
    assert only(api)["count"] == 100


def test_what_the_api_or_a_file_says_is_no_burst(machine: Machine, api: Api) -> None:
    for who in firm(20):
        api.put(who, "out", scope={"all": True}, door="unsubscribe link")
    assert listed(api) == []


def test_it_is_looked_for_where_it_is_asked_for(machine: Machine, api: Api, clock: Clock) -> None:
    machine.press(firm(10))
    clock.forward(days=8)
    assert listed(api) == [], "the last seven days, if nobody says more"
    assert len(listed(api, "?since=2026-11-02T00:00:00Z")) == 1
    assert len(listed(api, "?until=2026-11-03T00:00:00Z")) == 1
    assert listed(api, "?since=2026-11-02T00:00:00Z&until=2026-11-02T12:00:00Z") == []


def test_reading_is_bounded_and_says_where_to_go_on(
    machine: Machine, api: Api, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding, "MOST_READ", 25)
    monkeypatch.setattr(finding, "_READ_AT_ONCE", 7)
    for name in ("one", "two", "three"):
        machine.press(firm(12, f"{name}.example"), ip="127.0.0.1")
        machine.clock.forward(minutes=2)
    first = api("GET", "/v1/bursts").get_json()
    assert [found["count"] for found in first["bursts"]] == [12, 12]
    rest = api("GET", f"/v1/bursts?since={first['next_since']}").get_json()
    assert [found["count"] for found in rest["bursts"]] == [11]
    assert rest["next_since"] is None


def test_finding_writes_nothing_and_changes_no_answer(
    machine: Machine, api: Api, opened: Installation
) -> None:
    people = firm(20) + firm(15, "gmail.com")
    machine.press(people)
    stored, out = everything(opened), outs(api, people)
    assert only(api)["count"] == 35
    assert only(api) == only(api)
    assert (everything(opened), outs(api, people)) == (stored, out)


# --- undone ---


def test_an_undo_gives_everyone_back_exactly_what_they_had(
    machine: Machine, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    people = firm(14)
    plain, agreed, left_before, left_all, sender, paused = people[:6]
    api.put(agreed, "in", scope={"topic": "events"}, basis="express")
    api.put(left_before, "out", scope={"topic": "product-news"})
    api.put(left_all, "out", scope={"all": True})
    api.put(sender, "out", scope={"brand": "acme"}, said_by="sender")
    api.put(paused, "snooze", scope={"all": True}, until="2027-01-01T00:00:00Z")
    clock.forward(minutes=5)

    def answers() -> list[tuple[str, str]]:
        topics = ("product-news", "events", "trail-tips")
        return [
            (decision["decision"], decision["reason"])
            for who in people
            for topic in topics
            if (decision := api.check(who, topic))
        ]

    before = answers()
    machine.press(people)
    machine.press(people, leave="all")
    assert "allow" not in {verdict for verdict, _ in answers()}
    burst = only(api)
    assert [len(member["outs"]) for member in burst["members"]] == [2] * 14
    done = undo(api, burst["id"])
    assert (done["undone"], done["repeated"], done["left"]) == (14, 0, 0)
    assert answers() == before
    told = dict(zip(people, done["members"], strict=True))
    assert told[plain]["topics"]["product-news"] == {
        "allowed_before": False,
        "allowed": True,
        "reason": "no_objection",
    }
    assert told[plain]["became"] == "undone"
    assert len(told[plain]["retracted"]) == 2
    for who, reason in ((left_before, "opted_out"), (left_all, "opted_out"), (paused, "snoozed")):
        assert told[who]["topics"]["product-news"]["reason"] == reason
        assert told[who]["topics"]["product-news"]["allowed"] is False
    with opened.database.reading() as connection:
        assert list(ledger.replay(connection, cast.tenant.id)) == []


def test_the_history_shows_what_was_taken_back_why_and_by_whom(machine: Machine, api: Api) -> None:
    machine.press(firm(10))
    burst = only(api)
    undo(api, burst["id"])
    asked = {"channel": "email", "address": firm(1)[0]}
    out, retract = api("POST", "/v1/history", asked).get_json()["events"]
    assert (out["what"], out["retracts"]) == ("out", [])
    assert (retract["what"], retract["retracts"], retract["outcome"]) == ("retract", [1], "applied")
    assert (retract["authority"], retract["door"]) == ("override", "burst undo")
    by = f"key {api.key.split('_')[1]}"
    assert retract["evidence"] == {"reason": REASON, "by": by, "burst": burst["id"]}


def test_who_says_no_again_in_any_way_stays_out(
    machine: Machine, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    people = firm(20)
    machine.press(people)
    burst = only(api)
    clock.forward(minutes=10)
    by_link, by_click, by_call, complained, erased, stopped, wider, other = people[:8]
    machine.press([by_link], ip="9.9.9.1")
    machine.press([by_click], ip="9.9.9.2", **ONE_CLICK)
    api.put(by_call, "out", scope={"topic": "product-news"})
    api.put(complained, "out", scope={"all": True}, said_by="complaint")
    api.put(wider, "out", scope={"brand": "acme"})
    api.put(other, "out", scope={"topic": "trail-tips"})
    for who, voice in ((stopped, Voice.STOP), (erased, Voice.ERASURE)):
        subject = Subject.of(cast.tenant, Address(Channel.EMAIL, who))
        said = Said(subject, Event(Kind.OUT, clock.now, ALL, voice, Authority.PERSON))
        with opened.database.writing() as connection:
            ledger.record(connection, cast.tenant.id, said)
    stay = {by_link, by_click, by_call, complained, erased, stopped, wider}
    again = [member["outs"][0]["repeated"] for member in only(api)["members"]]
    assert again == [who in stay for who in people]
    done = undo(api, burst["id"])
    assert (done["undone"], done["repeated"]) == (13, 7)
    assert outs(api, people) == stay
    assert outs(api, people, "trail-tips") == {complained, erased, stopped, other}
    for member in done["members"]:
        if member["became"] == "repeated":
            assert member["retracted"] == []
            assert member["topics"]["product-news"]["allowed"] is False
    asked = {"channel": "email", "address": by_link}
    assert len(api("POST", "/v1/history", asked).get_json()["events"]) == 2, "nothing is added"


def test_a_persons_own_press_while_the_machine_still_presses_is_theirs(
    machine: Machine, api: Api
) -> None:
    people = firm(20)
    machine.press(people[:10])
    elsewhere, by_click, in_their_program, by_the_machine = people[:4]
    machine.press([elsewhere], ip="9.9.9.1")
    machine.press([by_click], **ONE_CLICK)
    machine.press([in_their_program], agent="Mozilla/5.0 (a person)")
    machine.press([by_the_machine])
    machine.press(people[10:])
    burst = only(api)
    assert burst["count"] == 20
    stay = {elsewhere, by_click, in_their_program}
    assert [m["outs"][0]["repeated"] for m in burst["members"]] == [who in stay for who in people]
    assert [len(m["outs"]) for m in burst["members"][:4]] == [1, 1, 1, 2]
    done = undo(api, burst["id"])
    assert (done["undone"], done["repeated"]) == (17, 3)
    assert outs(api, people) == stay


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_who_says_no_at_the_moment_of_the_undo_is_heard(
    machine: Machine, api: Api, opened: Installation
) -> None:
    """SQLite has one writer, so there nobody comes between."""
    machine.press(firm(10))
    burst, late, came = only(api)["id"], firm(1)[0], False

    def between(connection: Any, clauses: Any, *rest: Any) -> None:
        """The last moment at which anybody can be heard first: before the rows are locked."""
        nonlocal came
        if not came and "FOR UPDATE" in str(clauses.compile(opened.database.engine)):
            came = True
            api.put(late, "out", scope={"topic": "product-news"})

    event.listen(opened.database.engine, "before_execute", between)
    done = undo(api, burst)
    event.remove(opened.database.engine, "before_execute", between)
    assert (done["undone"], done["repeated"]) == (9, 1)
    assert outs(api, firm(10)) == {late}


def test_an_undo_touches_only_what_was_shown(machine: Machine, api: Api, clock: Clock) -> None:
    machine.press(firm(20))
    shown = only(api)
    machine.press(firm(20, start=20))
    machine.press(firm(5))
    grown = only(api)
    assert grown["id"] != shown["id"]
    assert grown["count"] == 40
    done = undo(api, shown["id"])
    # Five were pressed for again after it was shown, and the service cannot know by whom.
    assert (done["undone"], done["repeated"], done["left"]) == (15, 5, 0)
    assert outs(api, firm(40)) == set(firm(5)) | set(firm(20, start=20))
    done = undo(api, grown["id"])
    assert (done["undone"], done["undone_before"]) == (25, 15)
    assert outs(api, firm(40)) == set()


def test_the_id_stays_what_it_is_while_others_come_and_is_short(
    machine: Machine, api: Api, clock: Clock
) -> None:
    machine.press(firm(10))
    first = only(api)
    clock.forward(minutes=5)
    machine.press(firm(15, "two.example"), ip="9.9.9.9")
    machine.press([f"x{n}@house{n}.example" for n in range(5)], ip="9.9.8.9")
    assert listed(api)[0] == first
    assert re.fullmatch(r"[0-9]+-[0-9]+-[0-9a-f]{16}", first["id"])
    assert len(first["id"]) < 64


def test_undoing_twice_changes_nothing(machine: Machine, api: Api, opened: Installation) -> None:
    machine.press(firm(12))
    burst = only(api)["id"]
    undo(api, burst)
    before = everything(opened)
    again = undo(api, burst)
    assert (again["undone"], again["undone_before"], again["members"]) == (0, 12, [])
    assert everything(opened) == before
    assert all(member["outs"][0]["undone"] for member in only(api)["members"])
    # Who leaves now has left.
    machine.press(firm(1))
    undo(api, burst)
    assert outs(api, firm(12)) == set(firm(1))


def test_an_undo_is_done_once_with_one_idempotency_key(machine: Machine, api: Api) -> None:
    machine.press(firm(10))
    burst = only(api)["id"]
    first = undo(api, burst, headers={"Idempotency-Key": "1"})
    assert undo(api, burst, headers={"Idempotency-Key": "1"}) == first
    assert first["undone"] == 10


def test_many_are_undone_some_at_a_time(
    machine: Machine, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    machine.press(firm(25))
    burst, left = only(api)["id"], []
    for _ in range(4):
        with opened.database.writing() as connection:
            found = bursts.named(connection, cast.tenant, burst)
            done = bursts.undo(connection, cast.tenant, found, REASON, "me", clock.now, most=10)
        left.append((len([one for one in done.touched if one.retracted]), done.left))
    assert left == [(10, 15), (10, 5), (5, 0), (0, 0)]
    assert outs(api, firm(25)) == set()


def test_whoever_was_erased_is_out_of_the_burst_and_stays_out(
    machine: Machine, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    people = firm(11)
    machine.press(people)
    shown = only(api)["id"]

    def erase(who: str) -> None:
        subject = Subject.of(cast.tenant, Address(Channel.EMAIL, who))
        with opened.database.writing() as connection:
            rights.erase(connection, cast.tenant.id, subject, clock.now)

    erase(people[0])
    stale = api("POST", f"/v1/bursts/{shown}/undo", {"reason": REASON})
    assert stale.status_code == 404
    assert "lists" in stale.get_json()["detail"]
    assert only(api)["count"] == 10
    undo(api, only(api)["id"])
    assert outs(api, people) == {people[0]}
    # With the evidence of an undo everything goes that could tell who it was.
    erase(people[1])
    assert listed(api) == []
    assert outs(api, people) == set(people[:2])


def test_an_address_that_is_not_known_is_a_member_without_a_name(
    machine: Machine, api: Api
) -> None:
    people = firm(10)
    items = [{"channel": "email", "address": who, "topic": "product-news"} for who in people]
    minted = api("POST", "/v1/links", {"items": items, "remember": False}).get_json()
    for item in minted["items"]:
        machine.post(urlsplit(item["unsubscribe"]).path)
    found = only(api)
    assert found["why"].startswith("10 addresses from one network left")
    assert {member["address"] for member in found["members"]} == {None}
    assert undo(api, found["id"])["undone"] == 10
    assert outs(api, people) == set()


PRESSES = st.lists(
    st.tuples(
        st.integers(0, 5),  # whose
        st.sampled_from(["machine", "person", "retopic", "complaint", "undo"]),
    ),
    max_size=8,
)


@hypothesis_settings(
    deadline=None,
    max_examples=15,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(said=PRESSES)
def test_whatever_is_said_around_an_undo_no_word_of_a_person_is_lost(
    machine: Machine, api: Api, clock: Clock, said: list[tuple[int, str]]
) -> None:
    clock.forward(days=8)
    people = firm(12, f"firm{clock.now}.example")
    machine.press(people)
    shown = only(api)["id"]
    clock.forward(minutes=3)
    noes: dict[str, set[str]] = {"product-news": set(), "trail-tips": set()}
    for number, what in said:
        who = people[number]
        if what == "machine":
            # Alone it is no burst, so it counts as the person's.
            machine.press([who])
            noes["product-news"].add(who)
        elif what == "person":
            api.put(who, "out", scope={"topic": "product-news"})
            noes["product-news"].add(who)
        elif what == "retopic":
            api.put(who, "out", scope={"topic": "trail-tips"})
            noes["trail-tips"].add(who)
        elif what == "complaint":
            api.put(who, "out", scope={"all": True}, said_by="complaint")
            noes["product-news"].add(who)
            noes["trail-tips"].add(who)
        else:
            undo(api, shown)
    undo(api, shown)
    for topic, expected in noes.items():
        assert outs(api, people, topic) == expected


# --- who may, and what is refused ---


def test_one_who_may_not_is_refused_and_nothing_is_undone(machine: Machine, api: Api) -> None:
    machine.press(firm(10))
    burst = only(api)["id"]
    assert key_with(api, "record")("GET", "/v1/bursts").status_code == 403
    for scope in ("export", "record", "admin"):
        answer = key_with(api, scope)("POST", f"/v1/bursts/{burst}/undo", {"reason": REASON})
        assert answer.status_code == 403
        assert "override" in answer.get_json()["detail"]
    assert outs(api, firm(10)) == set(firm(10))
    assert undo(key_with(api, "override"), burst)["undone"] == 10


def test_another_tenants_burst_is_not_there(
    machine: Machine, api: Api, opened: Installation
) -> None:
    with opened.database.writing() as connection:
        tenant = directory.add_tenant(connection, "borealis", "Borealis", NOON)
        brand = directory.add_brand(connection, tenant, "north", "North", "x", NOON)
        offered = {Channel.EMAIL: Mode.OPT_OUT}
        directory.add_topic(
            *(connection, tenant, brand, "product-news", "News", "", Purpose.MARKETING),
            *(offered, NOON),
        )
        _, key = directory.add_key(connection, tenant, "north", frozenset(SCOPES), NOON)
    other = Api(api.client, key)
    machine.press(firm(10))
    burst = only(api)["id"]
    assert listed(other) == []
    assert other("POST", f"/v1/bursts/{burst}/undo", {"reason": REASON}).status_code == 404
    assert outs(api, firm(10)) == set(firm(10))
    # The same people of the same domain are somebody else's people there.
    Machine(machine.client, other, machine.clock).press(firm(10))
    assert only(other)["count"] == only(api)["count"] == 10
    assert only(other)["id"][-16:] != only(api)["id"][-16:]


@pytest.mark.parametrize(
    "name", ["x", "1-2", "1-2-" + "0" * 16, "%00", "9" * 30 + "-1-" + "0" * 16, "-", "1-1-" + "é"]
)
def test_what_names_no_burst_is_404(machine: Machine, api: Api, name: str) -> None:
    machine.press(firm(10))
    assert api("POST", f"/v1/bursts/{name}/undo", {"reason": REASON}).status_code == 404
    first, last, mark = only(api)["id"].split("-")
    for other in (f"{first}-{last}-{'0' * 16}", f"{int(first) + 1}-{last}-{mark}"):
        assert api("POST", f"/v1/bursts/{other}/undo", {"reason": REASON}).status_code == 404
    assert outs(api, firm(10)) == set(firm(10))


def test_a_bad_question_names_its_field(api: Api) -> None:
    for query, field in (
        ("since=yesterday", "since"),
        ("since=2026-11-01", "since"),
        ("since=", "since"),
        ("since=2026-11-01T00:00:00Z&until=%00", "until"),
        ("since=2026-11-02T00:00:00Z&until=2026-11-02T00:00:00Z", "until"),
        ("limit=5", "limit"),
    ):
        answer = api("GET", f"/v1/bursts?{query}")
        refused(answer, field)
        assert answer.status_code == 422


def test_an_undo_without_a_reason_is_refused(machine: Machine, api: Api) -> None:
    machine.press(firm(10))
    burst = only(api)["id"]
    for body in (
        *({}, {"reason": ""}, {"reason": "  "}, {"reason": "x" * 501}, {"reason": None}),
        *({"reason": 5}, {"reason": "a\0b"}, {"reason": ["x"]}),
    ):
        answer = api("POST", f"/v1/bursts/{burst}/undo", body)
        refused(answer, "reason")
        assert answer.status_code == 422
    refused(api("POST", f"/v1/bursts/{burst}/undo", {"reason": "x", "all": True}), "all")
    assert outs(api, firm(10)) == set(firm(10))


def test_every_statement_names_the_tenant(
    machine: Machine, api: Api, opened: Installation, cast: Cast, clock: Clock
) -> None:
    machine.press(firm(10))
    said: list[str] = []

    def hear(*heard: Any) -> None:
        said.append(" ".join(heard[2].split()))

    event.listen(opened.database.engine, "before_cursor_execute", hear)
    with opened.database.writing() as connection:
        (burst,) = bursts.find(connection, cast.tenant, NOON).bursts
        bursts.undo(connection, cast.tenant, burst, REASON, "me", clock.now)
        assert bursts.named(connection, cast.tenant, burst.id)
        with pytest.raises(UnknownBurst):
            bursts.named(connection, cast.tenant, "1-1-" + "0" * 16)
    event.remove(opened.database.engine, "before_cursor_execute", hear)
    about_people = [s for s in said if re.search(r"\b(address|event|evidence)\b", s)]
    assert len(about_people) > 8
    for statement in about_people:
        if not statement.startswith("INSERT"):
            assert re.search(r"\bWHERE\b.*\btenant_id = ", statement), statement


# --- the command ---


def test_the_command_lists_them_asks_and_undoes(
    prefs: Command, machine: Machine, api: Api, clock: Clock
) -> None:
    clock.now = 1_793_620_800_000
    assert "No opt-outs" in prefs("burst", "list", "--since", "2026-11-01")
    machine.press(firm(12))
    api.put(firm(1)[0], "out", scope={"topic": "product-news"})
    shown = prefs("burst", "list", "--since", "2026-11-01")
    burst = only(api)["id"]
    assert shown.startswith(f"{burst}  2026-11-02 12:00:00 UTC  12 addresses of one domain")
    assert "an undo touches 11 of them; 1 have said no again since" in shown
    assert "domain: firm.example (12)" in shown
    assert f"user agent: {AGENT}" in shown
    asked = prefs("burst", "undo", burst, "--reason", REASON, code=1, stdin="n\n")
    assert "s•••@f•••.example  1 of topic product-news (said again)" in asked
    assert outs(api, firm(12)) == set(firm(12))
    done = prefs("burst", "undo", burst, "--reason", REASON, stdin="y\n")
    assert "Undone for 11; 1 have said no again." in done
    assert outs(api, firm(12)) == set(firm(1))
    again = prefs("burst", "undo", burst, "--reason", REASON, "--yes")
    assert "Undone for 0; 1 have said no again." in again
    assert "an undo touches 0 of them" in prefs("burst", "list", "--since", "2026-11-01")
    told = prefs("history", firm(2)[1])
    assert f"reason: {REASON}" in told
    assert "retract of what is numbered 1, through burst undo: applied." in told
    assert "staff" not in shown + asked + done


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        (("undo", "1-2-3", "--reason", "x"), "There is no such burst"),
        (("undo", "1-2-3", "--reason", " "), "Say in 1 to 500 characters"),
    ],
)
def test_the_command_says_in_one_line_what_to_change(
    prefs: Command, cast: Cast, words: tuple[str, ...], advice: str
) -> None:
    said = prefs("burst", *words, code=1)
    assert advice in said
    assert len(said.splitlines()) == 1
