"""Nothing that only looks changes anything: every route, every link on every page."""

import html
import re
from collections.abc import Iterator
from itertools import product
from typing import Any, NamedTuple
from urllib.parse import urldefrag, urljoin, urlsplit

import pytest
from sqlalchemy import event

from prefs import ledger
from prefs.address import Address, Channel
from prefs.demo import ALICE, BOB, CAROL, DAVE, ERIN, FRANK
from prefs.ledger import Subject
from prefs.links import CONFIRM_FOR, Action, Claim, undo_of
from prefs.policy import ALL, Scope
from tests.conftest import Api
from tests.test_bursts import Machine, firm, machine, only
from tests.test_languages import Visitor, visitor
from tests.test_one_click import everything

__all__ = ["machine", "visitor"]

HOST = "https://prefs.example.com"
SAFE = ("GET", "HEAD", "OPTIONS")
ODD = ("TRACE", "PROPFIND")
"""Safe too, by RFC 9110 and RFC 4918; nothing here answers them."""

AHEAD: tuple[dict[str, str], ...] = (
    {"Purpose": "prefetch"},
    {"Sec-Purpose": "prefetch;prerender"},
    {"X-Moz": "prefetch"},
    {"X-Purpose": "preview"},
    {"X-HTTP-Method-Override": "POST", "X-Method-Override": "DELETE", "X-HTTP-Method": "PUT"},
    {"Content-Type": "application/x-www-form-urlencoded", "X-Requested-With": "XMLHttpRequest"},
)
"""What a browser or a program says that opens a link before anybody has clicked it."""

TEMPTING = (
    "?leave=all&undo=1&List-Unsubscribe=One-Click&answer=yes&pause=week&pause_what=all"
    "&reason=other&shown=x&saw=9&lang=de&address=hans@example.org&channel=email&_method=POST"
)
"""What a form would send, in the URL."""


class Known(NamedTuple):
    """All that there is to name in a URL."""

    tokens: list[str]
    shorts: list[str]
    codes: list[str]
    sender: int
    key: str
    burst: str


@pytest.fixture
def known(visitor: Visitor, machine: Machine, api: Api) -> Known:
    machine.press(firm(12))
    burst = only(api)["id"]
    visitor.somebody(Channel.EMAIL, visitor.yes(), person="crm:1")
    visitor.somebody(Channel.SMS, visitor.yes(), person="crm:1")
    item = {"channel": "sms", "address": FRANK.value, "topic": "product-news"}
    mail = {"channel": "email", "address": ALICE.value, "topic": "events"}
    answer = api("POST", "/v1/links", {"items": [item, mail], "short": True})
    assert answer.status_code == 200, answer.text
    shorts = [i["short"].rpartition("/")[2] for i in answer.get_json()["items"]]
    (sender,) = api("GET", "/v1/senders").get_json()["senders"]
    (key,) = api("GET", "/v1/keys").get_json()["keys"]
    asked = {"channel": "email", "address": "grace@example.org", "topic": "events"}
    confirmation = api("POST", "/v1/confirmations", {**asked, "deliver": "sender"})
    question = confirmation.get_json()["link"].rpartition("/")[2]
    assert shorts
    return Known(
        [*tokens(visitor), question], shorts, [visitor.code()], sender["id"], key["id"], burst
    )


def tokens(v: Visitor) -> Iterator[str]:
    """A link of each action, for each of the cast and for each width."""
    links, tenant = v.opened.links, v.tenant
    somebody = v.somebody()
    v.post(v.path("u", somebody))
    who = (ALICE, CAROL, DAVE, ERIN, Address(Channel.PUSH, "fcm:token"), somebody)
    for action, one in product(Action, who):
        claim = Claim(action, tenant.id, one.channel, tenant.digest(one), v.news, v.clock())
        if action is Action.UNDO:
            yield links.sign(undo_of(claim, 1, 1, v.clock(), claim.digest))
        else:
            yield links.sign(claim)
    for action, scope in product(Action, (ALL, v.acme, Scope(v.acme.brand, 999))):
        yield links.sign(
            Claim(action, tenant.id, BOB.channel, tenant.digest(BOB), scope, v.clock(), "7")
        )
    old = v.clock() - 2 * CONFIRM_FOR
    yield links.sign(
        Claim(Action.CONFIRM, tenant.id, BOB.channel, tenant.digest(BOB), v.news, old, "1")
    )


def urls(known: Known) -> dict[str, list[str]]:
    """Every route, filled in with what there is. Whoever adds a route adds it here."""
    slugs = ("product-news", "events", "trail-tips", "order-updates")
    texts = ("?channel=sms", "?channel=email&lang=ar")
    address = "channel=email&topic=product-news"
    return {
        "/static/<path:filename>": ["/static/prefs.css", "/static/icon.svg"],
        "/healthz": ["/healthz"],
        "/readyz": ["/readyz"],
        "/u/<token:token>": [f"/u/{token}" for token in known.tokens],
        "/l/<token:code>": [f"/l/{code}" for code in known.shorts],
        "/p/<token:token>": [f"/p/{token}" for token in known.tokens],
        "/c/<token:token>": [f"/c/{token}" for token in known.tokens],
        "/d/<token:token>": [f"/d/{token}" for token in known.tokens],
        "/code": ["/code", *(f"/code?code={code}" for code in known.codes)],
        "/s/<slug>/<topic>": [f"/s/acme/{t}{query}" for t in slugs for query in ("", *texts)],
        "/lost/<slug>": ["/lost/acme", "/lost/acme?address=alice@example.org"],
        "/v1/check": [f"/v1/check?address={ALICE.value}&{address}"],
        "/v1/checks": ["/v1/checks"],
        "/v1/preferences": [f"/v1/preferences?address={ALICE.value}&word=out&said_by=person"],
        "/v1/devices": ["/v1/devices"],
        "/v1/confirmations": ["/v1/confirmations"],
        "/v1/standing": ["/v1/standing"],
        "/v1/history": ["/v1/history"],
        "/v1/changes": ["/v1/changes", "/v1/changes?since=0.0&limit=5"],
        "/v1/suppressions": [f"/v1/suppressions?{address}"],
        "/v1/links": ["/v1/links"],
        "/v1/codes": ["/v1/codes"],
        "/v1/topics": ["/v1/topics"],
        "/v1/topics/<slug>": [f"/v1/topics/{slug}" for slug in slugs],
        "/v1/brands": ["/v1/brands"],
        "/v1/brands/<slug>": ["/v1/brands/acme", "/v1/brands/outdoor"],
        "/v1/senders": ["/v1/senders"],
        "/v1/senders/<int:sender_id>": [f"/v1/senders/{known.sender}"],
        "/v1/keys": ["/v1/keys"],
        "/v1/keys/<key_id>/rotate": [f"/v1/keys/{known.key}/rotate"],
        "/v1/keys/<key_id>": [f"/v1/keys/{known.key}"],
        "/v1/tenant": ["/v1/tenant"],
        "/v1/bursts": ["/v1/bursts", "/v1/bursts?since=2026-01-01T00:00:00Z"],
        "/v1/bursts/<burst_id>/undo": [f"/v1/bursts/{known.burst}/undo"],
        "/v1/texts/try": ["/v1/texts/try", "/v1/texts/try?text=STOP"],
        "/v1/reviews": ["/v1/reviews", "/v1/reviews?limit=1"],
        "/v1/reviews/<review_id>": [f"/v1/reviews/{'0' * 32}.1?decision=no"],
        "/openapi.json": ["/openapi.json"],
        "/": ["/"],
        "/docs": ["/docs"],
        "/webhooks/<provider>/<slug>": ["/webhooks/twilio/acme", "/webhooks/nobody/acme"],
    }


def test_every_route_is_among_those_that_are_looked_at(visitor: Visitor, known: Known) -> None:
    rules = {rule.rule for rule in visitor.client.application.url_map.iter_rules()}
    assert urls(known).keys() == rules
    adapter = visitor.client.application.url_map.bind("")
    for rule, there in urls(known).items():
        methods = {m for r in adapter.map.iter_rules() if r.rule == rule for m in r.methods or ()}
        for url in there:
            found = [adapter.match(urlsplit(url).path, method=m, return_rule=True) for m in methods]
            assert {one.rule for one, _ in found} == {rule}, url


def test_no_safe_method_on_any_route_changes_anything(
    visitor: Visitor, known: Known, api: Api
) -> None:
    before = everything(visitor.opened)
    answered: dict[str, int] = {}
    key = {"Authorization": f"Bearer {api.key}"}
    for rule, there in urls(known).items():
        for url in there:
            tempting = url + TEMPTING if "?" not in url else f"{url}&{TEMPTING[1:]}"
            asked: list[tuple[str, str, dict[str, str]]] = [
                *product((*SAFE, *ODD), (url, tempting), ({}, key)),
                *product(("GET",), (url,), [one | key for one in AHEAD]),
            ]
            for method, target, headers in asked:
                answer = visitor.client.open(target, method=method, headers=headers, buffered=True)
                assert answer.status_code < 500, (rule, method)
                assert "Set-Cookie" not in answer.headers
                assert method not in ODD or answer.status_code in (404, 405), (rule, method)
                answered[rule] = answered.get(rule, 0) + (answer.status_code == 200)
        # Rule by rule, so that whoever wrote is named.
        assert everything(visitor.opened) == before, rule
    assert min(answered.values()) > 0, answered


def test_a_body_makes_no_word_of_a_look(visitor: Visitor, known: Known) -> None:
    before = everything(visitor.opened)
    for rule in ("/u/<token:token>", "/l/<token:code>", "/p/<token:token>", "/c/<token:token>"):
        for url in urls(known)[rule]:
            for form in ({"List-Unsubscribe": "One-Click"}, {"leave": "all", "answer": "yes"}):
                for method in SAFE:
                    assert visitor.client.open(url, method=method, data=form).status_code < 500
    assert visitor.client.get("/code", data={"code": known.codes[0]}).status_code == 200
    assert everything(visitor.opened) == before
    assert visitor.post("/code", code=known.codes[0]).status_code == 200


def test_no_safe_method_even_begins_to_write(visitor: Visitor, known: Known, api: Api) -> None:
    """Neither what is taken back again, nor what waits for a lock."""
    said: list[str] = []

    def hear(_: Any, __: Any, statement: str, *___: Any) -> None:
        said.append(statement)

    engine = visitor.opened.database.engine
    event.listen(engine, "before_cursor_execute", hear)
    try:
        for there in urls(known).values():
            for url in there:
                visitor.client.get(
                    url, headers={"Authorization": f"Bearer {api.key}"}, buffered=True
                )
    finally:
        event.remove(engine, "before_cursor_execute", hear)
    assert len(said) > 50
    writing = re.compile(r"\b(INSERT|UPDATE|DELETE|LOCK|IMMEDIATE)\b", re.IGNORECASE)
    assert [statement for statement in said if writing.search(statement)] == []


# --- following ---


def links_on(text: str, at: str) -> set[str]:
    """Wherever somebody who reads the page by machine might go on to, on our host."""
    found = re.findall(r'(?:href|action|src|data-url|content)="([^"]*)"', text)
    found += re.findall(rf"{re.escape(HOST)}[^\s\"'<>)]+", text)
    there = set()
    for target in found:
        whole = urldefrag(urljoin(f"{HOST}{at}", html.unescape(target))).url
        if whole.startswith(f"{HOST}/"):
            there.add(whole.removeprefix(HOST))
    return there


def test_whoever_follows_every_link_of_every_page_to_the_end_changes_nothing(
    visitor: Visitor, known: Known, api: Api
) -> None:
    v = visitor
    # What presses have answered has links of its own.
    who = v.somebody()
    pressed = [
        v.post(v.path("u")),
        v.post(v.path("u", who), leave="all"),
        v.post(v.path("p", who), pause="week", pause_what="all"),
        v.post(v.path("c", campaign="0"), answer="no"),
        v.post("/s/acme/events", address="12"),
        v.post("/lost/acme", address="12"),
        v.post("/code", code=known.codes[0]),
    ]
    before = everything(v.opened)
    pending = {url for there in urls(known).values() for url in there}
    for page in pressed:
        assert page.status_code in (200, 422)
        pending |= links_on(page.text, page.request.path)
    seen: set[str] = set()
    kinds: set[str] = set()
    while pending:
        url = pending.pop()
        seen.add(url)
        answer = v.client.get(url, headers={"Authorization": f"Bearer {api.key}"}, buffered=True)
        assert answer.status_code < 500, urlsplit(url).path.split("/")[1]
        kinds.add(answer.mimetype)
        if answer.mimetype == "text/html":
            pending |= links_on(answer.text, url) - seen
        assert len(seen) < 20_000
    assert kinds >= {"text/html", "text/css", "image/svg+xml", "application/json"}
    assert len(seen) > 1_000
    assert everything(v.opened) == before


# --- and these would see it ---


def test_one_row_that_a_look_wrote_would_be_seen(visitor: Visitor, known: Known) -> None:
    v, who = visitor, Address(Channel.EMAIL, "nobody-yet@example.org")
    view = v.client.application.view_functions["leave.show_leave"]

    def careless(token: str) -> Any:
        with v.opened.database.writing() as connection:
            ledger.remember(connection, v.tenant.id, [Subject.of(v.tenant, who)])
        return view(token)

    before = everything(v.opened)
    v.client.application.view_functions["leave.show_leave"] = careless
    v.get(v.client.application.url_map.bind("").build("leave.show_leave", {"token": "x"}))
    assert everything(v.opened) != before
