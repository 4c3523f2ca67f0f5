"""Whatever a sender records is kept once, and never over the person's own no."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

from prefs.demo import ALICE, BOB, CAROL, DAVE, ERIN
from prefs.policy import written
from prefs.web.door import KEEP_ANSWERS_FOR
from tests.conftest import NOON, Api, Clock

GRACE = "grace@example.org"
NEWS, EVENTS, ALL = {"topic": "product-news"}, {"topic": "events"}, {"all": True}
PROOF = {"said": "Please send it again", "how": "by phone", "seen": "the list of topics"}
HOUR = 3_600_000


def yes(api: Api, address: str, **said: Any) -> Any:
    return api.put(address, "in", **{"scope": NEWS, "basis": "express", **said})


def history(api: Api, address: str, channel: str = "email") -> list[dict[str, Any]]:
    found = api("POST", "/v1/history", {"channel": channel, "address": address}).get_json()
    return list(found["events"])


def standing(api: Api, address: str, channel: str = "email") -> dict[str, Any]:
    found = api("POST", "/v1/standing", {"channel": channel, "address": address})
    return dict(found.get_json())


def count(api: Api) -> int:
    return len(api("GET", "/v1/changes?limit=10000").get_json()["changes"])


# --- the words ---


def test_an_out_of_a_topic_holds_at_once_and_for_that_topic_alone(api: Api) -> None:
    answer = api.put(GRACE, "out", scope=NEWS)
    assert answer.status_code == 200
    assert answer.get_json()["outcome"] == "applied"
    assert answer.get_json()["standing"]["outs"][0]["scope"] == {"brand": "acme", **NEWS}
    assert api.check(GRACE)["reason"] == "opted_out"
    assert api.check(GRACE, "trail-tips")["allowed"] is True


def test_an_out_of_a_brand_covers_its_topics_and_no_other_brands(api: Api) -> None:
    api.put(GRACE, "out", scope={"brand": "outdoor"})
    assert api.check(GRACE, "trail-tips")["scope"] == {"brand": "outdoor"}
    assert api.check(GRACE)["allowed"] is True


def test_an_out_of_all_covers_everything_but_what_is_transactional(api: Api) -> None:
    api.put(ALICE.value, "out", scope=ALL, said_by="sender")
    assert api.check(ALICE.value)["reason"] == "sender_opted_out"
    assert api.check(ALICE.value, "trail-tips")["allowed"] is False
    assert api.check(ALICE.value, "order-updates")["allowed"] is True


def test_a_complaint_is_an_out_of_all_and_nothing_less(api: Api) -> None:
    refused = api.put(GRACE, "out", scope=NEWS, said_by="complaint")
    assert refused.status_code == 422
    assert list(refused.get_json()["errors"]) == ["said_by"]
    assert api.put(GRACE, "out", scope=ALL, said_by="complaint").status_code == 200
    assert api.check(GRACE, "trail-tips")["reason"] == "complained"


def test_an_in_consents_to_one_topic_with_its_basis_and_wording(api: Api) -> None:
    wording = {"text": "Yes, invite me", "language": "en", "version": "7"}
    answer = yes(api, GRACE, scope=EVENTS, wording=wording, evidence={"form": "/sign-up"})
    assert answer.get_json()["standing"]["consents"][0]["basis"] == "express"
    assert api.check(GRACE, "events")["reason"] == "consent"
    assert history(api, GRACE)[0]["evidence"] == {
        "form": "/sign-up",
        "wording text": "Yes, invite me",
        "wording language": "en",
        "wording version": "7",
    }


def test_an_in_to_a_brand_or_to_all_or_without_a_basis_is_refused(api: Api) -> None:
    for said, field in (
        ({"scope": ALL, "basis": "express"}, "scope"),
        ({"scope": {"brand": "acme"}, "basis": "express"}, "scope"),
        ({"scope": NEWS}, "basis"),
    ):
        refused = api.put(GRACE, "in", **said)
        assert refused.status_code == 422
        assert list(refused.get_json()["errors"]) == [field]
    assert history(api, GRACE) == []


def test_a_scope_names_exactly_one_thing(api: Api) -> None:
    for scope in ({}, {**NEWS, **ALL}, {"all": False}, {"topic": None}, {"brand": "acme", **NEWS}):
        refused = api.put(GRACE, "out", scope=scope)
        assert refused.status_code == 422, scope
        assert next(iter(refused.get_json()["errors"])).startswith("scope"), scope
    assert history(api, GRACE) == []


def test_a_lift_takes_back_the_senders_own_out_and_consents_to_nothing(api: Api) -> None:
    seq = api.put(GRACE, "out", scope=ALL, said_by="sender").get_json()["standing"]["seq"]
    answer = api.put(GRACE, "lift", scope=ALL, saw=seq)
    assert answer.get_json()["outcome"] == "applied"
    assert answer.get_json()["standing"]["outs"] == []
    assert api.check(GRACE)["reason"] == "no_objection"
    assert api.check(GRACE, "events")["reason"] == "no_consent"


def test_a_snooze_holds_until_its_date(api: Api, clock: Clock) -> None:
    assert api.put(ALICE.value, "snooze", scope=ALL).status_code == 422
    api.put(ALICE.value, "snooze", scope=ALL, until=written(NOON + HOUR))
    assert api.check(ALICE.value)["reason"] == "snoozed"
    clock.forward(minutes=60)
    assert api.check(ALICE.value)["reason"] == "consent"


def test_a_date_that_is_past_ends_nothing(api: Api) -> None:
    for word, said in (("snooze", {}), ("in", {"basis": "express"})):
        refused = api.put(GRACE, word, scope=NEWS, until=written(NOON), **said)
        assert (refused.status_code, list(refused.get_json()["errors"])) == (422, ["until"])


def test_an_unknown_topic_or_brand_is_422_and_never_becomes_everything(api: Api) -> None:
    for scope in ({"topic": "no-such"}, {"brand": "no-such"}):
        refused = api.put(GRACE, "out", scope=scope)
        assert refused.status_code == 422
        assert list(refused.get_json()["errors"]) == [f"scope.{name}" for name in scope]
    assert standing(api, GRACE)["seq"] == 0


# --- over a person's no ---


def test_a_senders_word_never_lifts_a_persons_no_and_is_kept_as_refused(api: Api) -> None:
    for person, channel in ((BOB, "email"), (CAROL, "email"), (DAVE, "sms"), (ERIN, "email")):
        seq = standing(api, person.value, channel)["seq"]
        before = api.check(person.value, channel=channel)
        for word, said in (("in", {"basis": "express"}), ("lift", {})):
            scope = before["scope"] if word == "lift" else NEWS
            scope = {"topic": scope["topic"]} if "topic" in scope else scope
            answer = api.put(person.value, word, scope=scope, channel=channel, saw=seq, **said)
            assert answer.status_code == 200
            assert answer.get_json()["outcome"] == "refused"
        assert [e["outcome"] for e in history(api, person.value, channel)[-2:]] == ["refused"] * 2
        assert api.check(person.value, channel=channel)["reason"] == before["reason"]


def test_a_yes_by_a_sender_who_had_not_seen_its_own_no_is_refused(api: Api) -> None:
    seen = api.put(GRACE, "out", scope=NEWS, said_by="sender").get_json()["standing"]["seq"]
    api.put(GRACE, "out", scope=NEWS, said_by="sender")
    assert yes(api, GRACE).get_json()["outcome"] == "refused"
    assert yes(api, GRACE, saw=seen).get_json()["outcome"] == "refused"
    now = standing(api, GRACE)["seq"]
    assert yes(api, GRACE, saw=now).get_json()["outcome"] == "applied"
    assert api.check(GRACE)["reason"] == "consent"


def test_the_etag_of_a_standing_is_what_if_match_takes(api: Api) -> None:
    api.put(GRACE, "out", scope=NEWS, said_by="sender")
    seen = api("POST", "/v1/standing", {"channel": "email", "address": GRACE})
    assert seen.headers["ETag"] == '"1"'
    body = {
        "channel": "email",
        "address": GRACE,
        "word": "in",
        "scope": NEWS,
        "said_by": "person",
        "basis": "express",
    }
    for etag, outcome in (('"0"', "refused"), (seen.headers["ETag"], "applied")):
        answer = api("PUT", "/v1/preferences", body, headers={"If-Match": etag})
        assert answer.get_json()["outcome"] == outcome
    for strange in ("*", '"one"', '"1", "2"', "9" * 40):
        answer = api("PUT", "/v1/preferences", body, headers={"If-Match": strange})
        assert answer.status_code == 412


def test_an_override_lifts_a_persons_no_by_what_they_did_after_it(api: Api, clock: Clock) -> None:
    api.put(GRACE, "out", scope=NEWS)
    clock.forward(minutes=60)
    said = {"override": True, "evidence": PROOF}
    early = yes(api, GRACE, **said, said_at=written(NOON))
    assert early.get_json()["outcome"] == "refused"
    later = yes(api, GRACE, **said, said_at=written(NOON + HOUR // 2))
    assert later.get_json()["outcome"] == "applied"
    assert api.check(GRACE)["reason"] == "consent"
    assert history(api, GRACE)[-1]["evidence"] == PROOF


def test_an_override_lifts_a_stop_but_no_complaint_and_no_erasure(api: Api, clock: Clock) -> None:
    clock.forward(minutes=60)
    said = {"override": True, "evidence": PROOF, "said_at": written(NOON + HOUR // 2)}
    for person, outcome in ((DAVE, "applied"), (CAROL, "refused"), (ERIN, "refused")):
        answer = yes(api, person.value, channel=str(person.channel), **said)
        assert answer.get_json()["outcome"] == outcome


def test_an_override_needs_its_evidence_and_the_time_it_was_said(api: Api) -> None:
    whole = {"override": True, "evidence": PROOF, "said_at": written(NOON)}
    for missing in ("said", "how", "seen"):
        proof = {name: text for name, text in PROOF.items() if name != missing}
        refused = yes(api, BOB.value, **{**whole, "evidence": proof})
        assert (refused.status_code, list(refused.get_json()["errors"])) == (422, ["evidence"])
        assert missing in refused.get_json()["errors"]["evidence"][0]
    without = {name: value for name, value in whole.items() if name != "said_at"}
    assert list(yes(api, BOB.value, **without).get_json()["errors"]) == ["said_at"]


def test_an_override_needs_a_key_with_that_scope(api: Api) -> None:
    made = api("POST", "/v1/keys", {"name": "plain", "scopes": ["record", "check"]}).get_json()
    plain = Api(api.client, made["key"])
    refused = yes(plain, BOB.value, override=True, evidence=PROOF, said_at=written(NOON))
    assert refused.status_code == 403
    assert "override" in refused.get_json()["detail"]
    assert plain.check(BOB.value)["reason"] == "opted_out"


# --- when it was said ---


def test_a_yes_from_the_future_is_refused_and_a_clocks_small_error_is_not(api: Api) -> None:
    refused = yes(api, GRACE, said_at=written(NOON + HOUR))
    assert (refused.status_code, list(refused.get_json()["errors"])) == (422, ["said_at"])
    assert yes(api, GRACE, said_at=written(NOON + 4_000)).get_json()["outcome"] == "applied"
    assert history(api, GRACE)[0]["said_at"] == written(NOON)


def test_a_no_from_the_future_holds_from_now_and_its_time_is_unknown(api: Api) -> None:
    answer = api.put(GRACE, "out", scope=NEWS, said_at=written(NOON + 365 * 24 * HOUR))
    assert answer.get_json()["outcome"] == "applied"
    assert api.check(GRACE)["event"]["when"] == written(NOON)
    assert history(api, GRACE)[0]["said_at"] is None


def test_times_keep_their_milliseconds_and_need_a_zone(api: Api) -> None:
    for millis in (NOON - 1, NOON - 877, NOON - 1_000 + 123, NOON - 1_000 + 290):
        api.put(GRACE, "out", scope=NEWS, said_at=written(millis))
        assert history(api, GRACE)[-1]["said_at"] == written(millis)
    api.put(GRACE, "out", scope=NEWS, said_at="2026-05-03T12:00:00.5+02:00")
    assert history(api, GRACE)[-1]["said_at"] == "2026-05-03T10:00:00.500Z"
    for text in ("2026-05-03T12:00:00", "2026-05-03", "yesterday", "0001-01-01T00:00:00+14:00", ""):
        refused = api.put(GRACE, "out", scope=NEWS, said_at=text)
        assert (refused.status_code, list(refused.get_json()["errors"])) == (422, ["said_at"])


# --- once ---


def test_the_same_event_id_is_recorded_once_ever_and_swallows_no_other_event(
    api: Api, clock: Clock
) -> None:
    assert api.put(GRACE, "out", scope=NEWS, event_id="crm-1").get_json()["outcome"] == "applied"
    clock.forward(days=1000)
    again = api.put(GRACE, "out", scope=NEWS, event_id="crm-1").get_json()
    assert (again["outcome"], again["standing"]["seq"]) == ("duplicate", 1)
    for address, scope in ((BOB.value, NEWS), (GRACE, ALL)):
        other = api.put(address, "out", scope=scope, event_id="crm-1")
        assert other.status_code == 409
        assert list(other.get_json()["errors"]) == ["event_id"]
    entry = history(api, GRACE)[-1]
    assert entry["evidence"]["event_id"] == "crm-1"
    assert entry["source_id"] != "crm-1", "which may hold an address, and cannot be erased"


def test_a_no_sent_again_with_its_key_after_the_person_came_back_is_a_no(
    api: Api, clock: Clock
) -> None:
    key = {"Idempotency-Key": "hash-of-the-body"}
    body = {"channel": "email", "address": GRACE, "word": "out", "said_by": "sender"}
    body |= {"scope": NEWS}
    api("PUT", "/v1/preferences", body, headers=key)
    api.put(GRACE, "lift", scope=NEWS, said_by="sender", saw=1)
    assert api.check(GRACE)["allowed"] is True
    again = api("PUT", "/v1/preferences", body, headers=key).get_json()
    assert (again["outcome"], again["standing"]["seq"]) == ("applied", 3)
    assert api.check(GRACE)["allowed"] is False


def test_the_same_idempotency_key_is_done_once_and_answered_alike(api: Api) -> None:
    before = count(api)
    key = {"Idempotency-Key": "once"}
    body = {
        "channel": "email",
        "address": GRACE,
        "word": "out",
        "scope": NEWS,
        "said_by": "person",
    }
    first = api("PUT", "/v1/preferences", body, headers=key)
    second = api("PUT", "/v1/preferences", body, headers=key)
    assert (first.status_code, first.data) == (second.status_code, second.data)
    assert count(api) == before + 1


def test_an_idempotency_key_of_another_request_is_422_and_does_nothing(api: Api) -> None:
    key = {"Idempotency-Key": "mine"}
    body = {"channel": "email", "address": GRACE, "word": "out", "said_by": "person"}
    assert api("PUT", "/v1/preferences", body | {"scope": NEWS}, headers=key).status_code == 200
    before = count(api)
    for path, other in (
        ("/v1/preferences", body | {"scope": ALL}),
        ("/v1/devices", {"address": "fcm:a"}),
    ):
        refused = api("PUT", path, other, headers=key)
        assert refused.status_code == 422
        assert list(refused.get_json()["errors"]) == ["Idempotency-Key"]
    assert count(api) == before


def test_an_idempotency_key_is_forgotten_after_seven_days_and_unused_by_a_refusal(
    api: Api, clock: Clock
) -> None:
    key = {"Idempotency-Key": "again"}
    body = {"channel": "email", "address": GRACE, "word": "out", "said_by": "person"}
    refused = api("PUT", "/v1/preferences", body | {"scope": {"topic": "no"}}, headers=key)
    assert refused.status_code == 422
    assert api("PUT", "/v1/preferences", body | {"scope": NEWS}, headers=key).status_code == 200
    clock.forward(days=KEEP_ANSWERS_FOR // (24 * HOUR), seconds=1)
    assert api("PUT", "/v1/preferences", body | {"scope": ALL}, headers=key).status_code == 200


def test_two_with_the_same_idempotency_key_at_once_make_one_event(api: Api) -> None:
    before = count(api)
    body = {
        "channel": "email",
        "address": GRACE,
        "word": "out",
        "scope": NEWS,
        "said_by": "person",
    }

    def send(number: int) -> Any:
        client = api.client.application.test_client()
        key = {"Idempotency-Key": f"race-{number % 3}"}
        return Api(client, api.key)("PUT", "/v1/preferences", body, headers=key)

    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(send, range(12)))
    assert {answer.status_code for answer in answers} == {200}
    for number in range(3):
        assert len({answer.data for answer in answers[number::3]}) == 1
    assert count(api) == before + 3


def test_a_keys_text_is_shown_once_even_to_a_repeated_request(api: Api) -> None:
    body, key = {"name": "ci", "scopes": ["check"]}, {"Idempotency-Key": "new key"}
    first = api("POST", "/v1/keys", body, headers=key).get_json()
    second = api("POST", "/v1/keys", body, headers=key).get_json()
    assert first["key"].startswith(f"prefs_{first['id']}_")
    assert second == first | {"key": None}


# --- which addresses ---


def test_a_no_is_kept_for_what_could_be_an_address_and_a_yes_needs_a_valid_one(api: Api) -> None:
    for odd in ("anna@localhost", "anna..b@example.org", "anna@-bad-.example"):
        assert api.put(odd, "out", scope=NEWS).get_json()["outcome"] == "applied", odd
        assert api.check(odd)["reason"] == "opted_out"
        refused = yes(api, odd)
        assert (refused.status_code, list(refused.get_json()["errors"])) == (422, ["address"])
    number = {"address": "+999123456789", "channel": "sms"}
    assert api.put(**number, word="out", scope=NEWS).get_json()["outcome"] == "applied"
    assert yes(api, **number).status_code == 422


# --- devices ---


def test_a_device_is_registered_and_being_reachable_is_no_consent(api: Api) -> None:
    answer = api("PUT", "/v1/devices", {"address": "fcm:new", "person": "p1"})
    assert (answer.status_code, answer.get_json()["outcome"]) == (200, "applied")
    assert api.check("fcm:new", channel="push")["reason"] == "no_consent"
    assert [entry["what"] for entry in history(api, "fcm:new", "push")] == ["registered"]


def test_a_new_token_takes_over_what_was_said_to_the_old_one(api: Api) -> None:
    yes(api, "fcm:old", channel="push")
    api.put("fcm:old", "snooze", channel="push", scope=ALL, until=written(NOON + HOUR))
    body = {"address": "fcm:new", "replaces": "fcm:old"}
    api("PUT", "/v1/devices", body)
    assert api.check("fcm:new", channel="push")["reason"] == "snoozed"
    assert len(standing(api, "fcm:new", "push")["consents"]) == 1
    seq = standing(api, "fcm:new", "push")["seq"]
    again = api("PUT", "/v1/devices", body).get_json()
    assert (again["standing"]["outs"], len(again["standing"]["consents"])) == ([], 1)
    # Apps tell of their token at every start: that is no news.
    assert (again["outcome"], again["standing"]["seq"]) == ("duplicate", seq)


def test_a_no_on_one_device_holds_on_the_persons_next_and_a_yes_does_not(api: Api) -> None:
    api("PUT", "/v1/devices", {"address": "apns:first", "person": "p1"})
    yes(api, "apns:first", channel="push")
    assert api.check("apns:first", channel="push")["allowed"] is True
    api("PUT", "/v1/devices", {"address": "fcm:second", "person": "p1"})
    assert api.check("fcm:second", channel="push")["reason"] == "no_consent"
    api.put("apns:first", "out", channel="push", scope=NEWS)
    api("PUT", "/v1/devices", {"address": "fcm:third", "person": "p1"})
    yes(api, "fcm:third", channel="push")
    assert api.check("fcm:third", channel="push")["reason"] == "opted_out"
    api("PUT", "/v1/devices", {"address": "fcm:strangers", "person": "p2"})
    assert standing(api, "fcm:strangers", "push")["outs"] == []


def test_a_bad_token_is_named_by_its_field(api: Api) -> None:
    for body, field in (
        ({"address": "no colon"}, "address"),
        ({"address": "fcm:new", "replaces": "no colon"}, "replaces"),
    ):
        refused = api("PUT", "/v1/devices", body)
        assert (refused.status_code, list(refused.get_json()["errors"])) == (422, [field])


# --- looking back ---


def test_a_standing_shows_the_words_in_force_and_what_may_be_sent(api: Api) -> None:
    shown = standing(api, BOB.value)
    assert [(out["voice"], out["door"]) for out in shown["outs"]] == [("person", "one-click")]
    assert {slug: topic["decision"] for slug, topic in shown["topics"].items()} == {
        "product-news": "deny",
        "events": "deny",
        "order-updates": "allow",
        "account-security": "allow",
        "trail-tips": "allow",
    }
    assert shown["topics"]["product-news"] == api.check(BOB.value)


def test_asking_writes_nothing(api: Api) -> None:
    before = count(api)
    standing(api, GRACE)
    history(api, GRACE)
    api.check(GRACE)
    assert count(api) == before
    rows = api("GET", "/v1/suppressions?channel=email").get_json()["suppressions"]
    assert GRACE not in [row["address"] for row in rows]


def test_a_history_comes_in_pages_in_order_with_its_sentence(api: Api) -> None:
    for number in range(7):
        api.put(GRACE, "out", scope=NEWS, event_id=f"e{number}")
    asked = {"channel": "email", "address": GRACE, "limit": 3}
    seen: list[int] = []
    more = True
    while more:
        page = api("POST", "/v1/history", asked | {"beyond": seen[-1] if seen else 0}).get_json()
        more = page["more"]
        assert len(page["events"]) <= 3
        assert all(entry["sentence"] for entry in page["events"])
        seen += [entry["seq"] for entry in page["events"]]
    assert seen == [1, 2, 3, 4, 5, 6, 7]


def test_an_erased_history_keeps_the_events_and_no_evidence(api: Api) -> None:
    assert [entry["evidence"] for entry in history(api, ERIN.value)] == [None, None]


def test_changes_come_in_pages_each_event_once_in_order(api: Api) -> None:
    for number in range(5):
        api.put(f"new{number}@example.org", "out", scope=NEWS)
    whole = api("GET", "/v1/changes").get_json()
    assert whole["more"] is False
    seen, cursor, more = [], "0.0", True
    while more:
        page = api("GET", f"/v1/changes?since={cursor}&limit=4").get_json()
        assert len(page["changes"]) <= 4
        seen += page["changes"]
        cursor, more = page["cursor"], page["more"]
    assert seen == whole["changes"]
    assert [change["address"] for change in seen[-5:]] == [
        f"new{number}@example.org" for number in range(5)
    ]
    assert all(not change["address"] for change in seen if change["voice"] == "erasure")
    nothing_new = api("GET", f"/v1/changes?since={cursor}").get_json()
    assert (nothing_new["changes"], nothing_new["cursor"]) == ([], cursor)


def test_suppressions_come_in_pages_with_their_reasons(api: Api) -> None:
    for number in range(6):
        api.put(f"left{number}@example.org", "out", scope=ALL)
        api.put(f"news{number}@example.org", "out", scope=NEWS)

    def pages(query: str, limit: int) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        more: str | None = ""
        while more is not None:
            page = api("GET", f"/v1/suppressions?{query}&limit={limit}{more}").get_json()
            assert page["unknown_addresses"] == sum(
                row["address"] is None for row in page["suppressions"]
            )
            rows += page["suppressions"]
            more = f"&cursor={page['cursor']}" if page["cursor"] else None
        return rows

    everything = pages("channel=email", 5)
    assert pages("channel=email", 1000) == everything
    left = {f"left{number}@example.org" for number in range(6)}
    assert {row["address"] for row in everything} == {CAROL.value, None} | left
    assert {row["reason"] for row in everything} == {"complained", "erased", "opted_out"}
    news = {row["address"] for row in pages("channel=email&topic=product-news", 5)}
    assert news == {BOB.value, CAROL.value, None} | left | {
        f"news{n}@example.org" for n in range(6)
    }
    assert [row["address"] for row in pages("channel=sms", 5)] == [DAVE.value]
    assert pages("channel=email&topic=order-updates", 5) == []


def test_who_left_everything_is_suppressed_even_where_nothing_is_offered_any_more(
    api: Api,
) -> None:
    for slug in ("product-news", "events"):
        api("PATCH", f"/v1/topics/{slug}", {"channels": {"sms": "off"}})
    rows = api("GET", "/v1/suppressions?channel=sms").get_json()["suppressions"]
    assert [(row["address"], row["reason"]) for row in rows] == [(DAVE.value, "replied_stop")]


def test_a_no_said_to_a_token_that_was_replaced_is_heard_at_its_successor(api: Api) -> None:
    yes(api, "fcm:old", channel="push")
    api("PUT", "/v1/devices", {"address": "fcm:new", "replaces": "fcm:old"})
    assert api.check("fcm:new", channel="push")["allowed"] is True
    assert api.check("fcm:old", channel="push")["reason"] == "unreachable"
    api("PUT", "/v1/devices", {"address": "fcm:newest", "replaces": "fcm:new"})
    api.put("fcm:old", "out", channel="push", scope=ALL)
    assert api.check("fcm:newest", channel="push")["reason"] == "opted_out"


def test_a_refused_yes_stays_refused_when_its_token_is_told_of_again(api: Api) -> None:
    device = {"address": "fcm:new", "replaces": "fcm:old"}
    api("PUT", "/v1/devices", {"address": "fcm:old"})
    api("PUT", "/v1/devices", device)
    api.put("fcm:old", "out", channel="push", scope=NEWS)
    api.put("fcm:old", "in", channel="push", scope=NEWS, basis="express", saw=1)
    api("PUT", "/v1/devices", device)
    assert api.check("fcm:new", channel="push")["reason"] == "opted_out"


def test_nobody_was_shown_what_has_not_happened(api: Api) -> None:
    api.put(GRACE, "out", scope=NEWS, said_by="sender")
    refused = api.put(GRACE, "in", scope=NEWS, basis="express", said_by="sender", saw=99)
    assert refused.get_json()["outcome"] == "refused"


def test_an_event_id_swallows_no_longer_pause(api: Api) -> None:
    for year, status in ((2027, 200), (2028, 409)):
        until = f"{year}-12-01T00:00:00Z"
        answer = api.put(GRACE, "snooze", scope=ALL, until=until, event_id="pause")
        assert answer.status_code == status


def test_nobody_can_leave_what_always_passes(api: Api) -> None:
    refused = api.put(GRACE, "out", scope={"topic": "order-updates"})
    assert refused.status_code == 422
    assert list(refused.get_json()["errors"]) == ["scope.topic"]


def test_a_consent_that_ran_out_puts_nobody_on_the_suppression_list(api: Api, clock: Clock) -> None:
    until = written(NOON + HOUR)
    api.put(GRACE, "in", scope={"topic": "events"}, basis="express", until=until)
    clock.forward(days=1)
    assert api.check(GRACE, "events")["reason"] == "consent_expired"
    rows = api("GET", "/v1/suppressions?channel=email&topic=events").get_json()["suppressions"]
    assert GRACE not in {row["address"] for row in rows}


def test_links_for_ten_thousand_are_minted_in_one_request(api: Api) -> None:
    items = [
        {"channel": "email", "address": f"person{number}@example.org", "topic": "product-news"}
        for number in range(10_000)
    ]
    minted = api("POST", "/v1/links", {"items": items}).get_json()["items"]
    assert [link["address"] for link in minted] == [item["address"] for item in items]
    assert len({link["unsubscribe"] for link in minted}) == 10_000
    one_more = {"items": [*items, items[0]]}
    assert api("POST", "/v1/links", one_more).status_code == 422


def test_a_channel_is_taken_from_a_topic_only_when_that_is_said(api: Api) -> None:
    def changed(channels: dict[str, str]) -> dict[str, str]:
        answer = api("PATCH", "/v1/topics/events", {"channels": channels})
        return dict(answer.get_json()["channels"])

    assert changed({"sms": "opt_out"}) == {"email": "opt_in", "sms": "opt_out"}
    assert changed({"sms": "off"}) == {"email": "opt_in"}
