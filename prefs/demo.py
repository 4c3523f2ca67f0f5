"""The cast: Alice opted in, Bob left by one-click, Carol complained, Dave replied STOP,
Erin was erased, Kim is one person with two addresses. The demo shows them, and the tests
know them too."""

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
from prefs.look import logo
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

ACME_LOGO = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48">
<rect width="48" height="48" rx="10" fill="#4b2e9e"/>
<path d="M24 9 39 39h-8l-7-15-7 15H9z" fill="#ffffff"/>
<circle cx="24" cy="35" r="4" fill="#f5b52e"/>
</svg>"""
OUTDOOR_LOGO = b"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 48 48">
<circle cx="24" cy="24" r="24" fill="#1f6b3a"/>
<circle cx="33" cy="15" r="5" fill="#f5d76e"/>
<path d="M6 36 19 15l8 13 4-6 11 14z" fill="#ffffff"/>
</svg>"""

TOPICS = {
    "product-news": {
        "en": ("Product news", "What is new in what you use, about twice a month."),
        "de": ("Produktneuheiten", "Was neu ist an dem, was Sie nutzen, etwa zweimal im Monat."),
        "fr": ("Nouveautés", "Ce qui change dans ce que vous utilisez, deux fois par mois."),
        "ar": ("أخبار المنتجات", "الجديد فيما تستخدمه، نحو مرتين في الشهر."),
    },
    "events": {
        "en": ("Events", "Invitations to meetings near you."),
        "de": ("Veranstaltungen", "Einladungen zu Treffen in Ihrer Nähe."),
        "fr": ("Événements", "Des invitations à des rencontres près de chez vous."),
        "ar": ("الفعاليات", "دعوات إلى لقاءات قريبة منك."),
    },
    "order-updates": {
        "en": ("Order updates", "Where your order is."),
        "de": ("Ihre Bestellung", "Wo Ihre Bestellung gerade ist."),
        "fr": ("Suivi de commande", "Où se trouve votre commande."),
        "ar": ("تحديثات الطلبات", "أين وصل طلبك."),
    },
    "account-security": {
        "en": ("Passwords and security", "Codes to log in, and warnings."),
        "de": ("Passwörter und Sicherheit", "Codes zum Anmelden, und Warnungen."),
        "fr": ("Mots de passe et sécurité", "Codes de connexion et avertissements."),
        "ar": ("كلمات المرور والأمان", "رموز تسجيل الدخول والتحذيرات."),
    },
    "trail-tips": {
        "en": ("Trail tips", "A walk for every weekend."),
        "de": ("Wandertipps", "Eine Wanderung für jedes Wochenende."),
        "fr": ("Idées de balades", "Une balade pour chaque week-end."),
        "ar": ("نصائح المسارات", "نزهة لكل عطلة نهاية أسبوع."),
    },
}
"""The title and description of each topic, by language."""

ALICE = Address(Channel.EMAIL, "alice@example.org")
BOB = Address(Channel.EMAIL, "bob@example.org")
CAROL = Address(Channel.EMAIL, "carol@example.org")
DAVE = Address(Channel.SMS, "+14155550104")
ERIN = Address(Channel.EMAIL, "erin@example.org")
FRANK = Address(Channel.SMS, "+14155550106")
KIM = Address(Channel.EMAIL, "kim@example.org")
KIMS_PHONE = Address(Channel.SMS, "+14155550112")


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
    acme = directory.add_brand(
        connection,
        tenant,
        "acme",
        "Acme",
        "help@acme.example",
        now,
        postal_address="Acme Ltd\n1 Anvil Street\nLondon N1 0AA",
        mail_from="Acme <news@acme.example>",
        look={"accent": "#4b2e9e", "paper": "#f1effa", "logo": logo(ACME_LOGO)},
        texts={
            "en": {"about": "Tools that outlast their owners."},
            "de": {"about": "Werkzeug, das seine Besitzer überlebt."},
            "fr": {"about": "Des outils qui survivent à leurs propriétaires."},
            "ar": {"name": "أكمي", "about": "أدوات تعيش أطول من أصحابها."},
        },
    )
    outdoor = directory.add_brand(
        connection,
        tenant,
        "outdoor",
        "Acme Outdoor",
        "help@outdoor.example",
        now,
        postal_address="Acme Outdoor GmbH\nAm Waldrand 3\n79098 Freiburg",
        mail_from='"Acme Outdoor" <walks@outdoor.example>',
        look={"accent": "#1f6b3a", "paper": "#f0f5e4", "logo": logo(OUTDOOR_LOGO)},
        texts={
            "en": {"about": "Boots, tents, and where to take them."},
            "de": {"name": "Acme Draußen", "about": "Schuhe, Zelte, und wohin damit."},
            "fr": {"name": "Acme Plein air", "about": "Chaussures, tentes, et où les emmener."},
            "ar": {"name": "أكمي للرحلات", "about": "أحذية وخيام، وأماكن تأخذها إليها."},
        },
    )
    email, sms, push = Channel.EMAIL, Channel.SMS, Channel.PUSH
    out, yes = Mode.OPT_OUT, Mode.OPT_IN
    marketing, transactional = Purpose.MARKETING, Purpose.TRANSACTIONAL
    asked = (sms, Channel.WHATSAPP, Channel.RCS, push)
    for brand, slug, purpose, offered, at_most in (
        (acme, "product-news", marketing, {email: out} | dict.fromkeys(asked, yes), (1, 2, 4)),
        (acme, "events", marketing, {email: yes, sms: yes}, ()),
        (acme, "order-updates", transactional, {email: out, sms: out, push: out}, ()),
        (acme, "account-security", transactional, {email: out, sms: out, push: out}, ()),
        (outdoor, "trail-tips", marketing, {email: out}, ()),
    ):
        (title, description), others = TOPICS[slug]["en"], TOPICS[slug].items()
        directory.add_topic(
            connection,
            tenant,
            brand,
            slug,
            title,
            description,
            purpose,
            offered,
            now,
            at_most=at_most,
            texts={
                code: {"title": called, "description": told}
                for code, (called, told) in others
                if code != "en"
            },
        )
    directory.add_sender(connection, tenant, acme, "twilio", ACCOUNT, SENDER, "long_code", now)
    _, key = directory.add_key(connection, tenant, "demo", frozenset(SCOPES), now)
    return tenant, key


def _say(connection: Connection, tenant: Tenant, now: Millis) -> None:
    news, events = tenant.topic("product-news").scope, tenant.topic("events").scope

    def said(address: Address, event: Event, **evidence: str) -> Said:
        person = "kim" if address in (KIM, KIMS_PHONE) else None
        return Said(Subject.of(tenant, address), event, evidence=evidence, person=person)

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
            said(KIM, yes(events, 40), wording=wording),
            said(KIMS_PHONE, yes(news, 40), wording=wording),
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
Every page  {url}/preview  (in every language and brand)

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
