"""The cast: Alice opted in, Bob left by one-click, Carol complained, Dave replied STOP,
Erin was erased. The demo shows them, and the tests know them too."""

import json
import secrets
from dataclasses import dataclass

from sqlalchemy import Connection
from twilio.request_validator import RequestValidator

from prefs import directory, ledger, rights
from prefs.address import Address, Channel
from prefs.directory import SCOPES, Tenant
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.links import Action, Claim, Links, Minted
from prefs.policy import (
    ALL,
    Authority,
    Event,
    Kind,
    Millis,
    Mode,
    Purpose,
    Scope,
    Voice,
)

ACCOUNT = "AC" + "0" * 32
SENDER = "+14155550199"
TOKEN = "demo-token-of-no-account"
"""The demo's Twilio token. It signs nothing but the demo's own sample."""

DAY: Millis = 24 * 3600 * 1000

ALICE = Address(Channel.EMAIL, "alice@example.org")
BOB = Address(Channel.EMAIL, "bob@example.org")
CAROL = Address(Channel.EMAIL, "carol@example.org")
DAVE = Address(Channel.SMS, "+14155550104")
ERIN = Address(Channel.EMAIL, "erin@example.org")
FRANK = Address(Channel.SMS, "+14155550106")


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays for whom. ``key`` is the text of an API key with every scope."""

    tenant: Tenant
    key: str


def load(opened: Installation) -> Cast:
    """Makes the tenant ``acme`` with its cast. Raises ``Taken`` if it is there already."""
    now = opened.clock()
    with opened.database.writing() as connection:
        tenant_id, key = _own(connection, now)
    opened.directory.refresh()
    tenant = opened.directory.latest.tenants[tenant_id]
    with opened.database.writing() as connection:
        _say(connection, tenant, now)
    return Cast(tenant, key)


def _own(connection: Connection, now: Millis) -> tuple[int, str]:
    tenant = directory.add_tenant(connection, "acme", "Acme Group", now)
    acme = directory.add_brand(connection, tenant, "acme", "Acme", "help@acme.example", now)
    outdoor = directory.add_brand(
        connection, tenant, "outdoor", "Acme Outdoor", "help@outdoor.example", now
    )
    email, sms, push = Channel.EMAIL, Channel.SMS, Channel.PUSH
    out, yes = Mode.OPT_OUT, Mode.OPT_IN
    for brand, slug, title, description, purpose, offered in (
        (
            acme,
            "product-news",
            "Product news",
            "What is new in what you use, about twice a month.",
            Purpose.MARKETING,
            {email: out, sms: yes, push: yes},
        ),
        (
            acme,
            "events",
            "Events",
            "Invitations to meetings near you.",
            Purpose.MARKETING,
            {email: yes, sms: yes},
        ),
        (
            acme,
            "order-updates",
            "Order updates",
            "Where your order is.",
            Purpose.TRANSACTIONAL,
            {email: out, sms: out, push: out},
        ),
        (
            acme,
            "account-security",
            "Passwords and security",
            "Codes to log in, and warnings.",
            Purpose.TRANSACTIONAL,
            {email: out, sms: out, push: out},
        ),
        (
            outdoor,
            "trail-tips",
            "Trail tips",
            "A walk for every weekend.",
            Purpose.MARKETING,
            {email: out},
        ),
    ):
        directory.add_topic(
            connection, tenant, brand, slug, title, description, purpose, offered, now
        )
    directory.add_sender(connection, tenant, acme, "twilio", ACCOUNT, SENDER, "long_code", now)
    _, key = directory.add_key(connection, tenant, "demo", frozenset(SCOPES), now)
    return tenant, key


def _say(connection: Connection, tenant: Tenant, now: Millis) -> None:
    news, events = tenant.topic("product-news").scope, tenant.topic("events").scope

    def said(address: Address, event: Event, **evidence: str) -> Said:
        return Said(Subject.of(tenant, address), event, evidence=evidence)

    def yes(topic: Scope, days: int) -> Event:
        return Event(
            Kind.IN,
            now - days * DAY,
            topic,
            authority=Authority.PERSON,
            basis="express",
            door="sign-up form",
        )

    def no(days: int, door: str, voice: Voice) -> Event:
        return Event(Kind.OUT, now - days * DAY, ALL, voice, Authority.PERSON, door=door)

    wording = "Yes, send me product news. I can unsubscribe at any time. (English, version 3)"
    left = Event(Kind.OUT, now - 12 * DAY, news, Voice.PERSON, Authority.PERSON, door="one-click")
    ledger.record_many(
        connection,
        tenant.id,
        [
            said(ALICE, yes(news, 200), wording=wording, ip="192.0.2.10"),
            said(ALICE, yes(events, 200), wording=wording, ip="192.0.2.10"),
            said(BOB, left, ip="192.0.2.77", user_agent="a mail program"),
            said(CAROL, no(30, "feedback loop", Voice.COMPLAINT)),
            said(DAVE, yes(news, 90), wording=wording),
            said(DAVE, no(3, "text message", Voice.STOP), text="STOP", to=SENDER),
            said(FRANK, yes(news, 60), wording=wording),
            said(ERIN, yes(news, 300), wording=wording, ip="192.0.2.44"),
        ],
    )
    rights.erase(connection, tenant.id, Subject.of(tenant, ERIN), now - 100 * DAY)


def what_to_try(cast: Cast, links: Links, url: str, now: Millis) -> str:
    """The lines that a demo shows once it answers at ``url``; those with curl run as they are."""
    tenant = cast.tenant
    news = tenant.topic("product-news").scope

    def minted(address: Address) -> Minted:
        digest = tenant.digest(address)
        claim = Claim(Action.UNSUBSCRIBE, tenant.id, address.channel, digest, news)
        return links.mint(url, claim, now)

    def check(address: Address) -> str:
        body = json.dumps(
            {"channel": address.channel, "address": address.value, "topic": "product-news"}
        )
        return (
            f"curl -s {url}/v1/check -H 'Authorization: Bearer {cast.key}' "
            f"-H 'Content-Type: application/json' -d '{body}'"
        )

    hook = f"{url}/webhooks/twilio/{tenant.slug}"
    message = {
        "MessageSid": f"SM{secrets.token_hex(16)}",
        "AccountSid": ACCOUNT,
        "From": FRANK.value,
        "To": SENDER,
        "Body": "STOP",
    }
    signature = RequestValidator(TOKEN).compute_signature(hook, message)
    form = " ".join(f"--data-urlencode '{name}={text}'" for name, text in message.items())
    return f"""
prefs is up, with a demo that begins afresh at each start. Ctrl-C stops it.

API docs    {url}/docs
API key     {cast.key}

May I send product news to Alice, who asked for it? (allow)

  {check(ALICE)}

And to Bob, who left by one click? (deny, with the reason)

  {check(BOB)}

Leave, as a link in a mail to Grace does; then choose, as Alice. Open in a browser:

  {minted(Address(Channel.EMAIL, "grace@example.org")).unsubscribe}
  {minted(ALICE).preferences}

Reply STOP as Frank, signed as Twilio would; then ask whether he may be texted (deny):

  curl -s {hook} -H 'X-Twilio-Signature: {signature}' {form}
  {check(FRANK)}
"""
