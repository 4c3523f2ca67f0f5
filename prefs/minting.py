"""The links and header fields for messages about to be sent: one way for the API and command."""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from sqlalchemy import Connection

from prefs import ledger, short_links
from prefs.address import Channel
from prefs.directory import Tenant
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.links import Action, Claim, Minted, list_id
from prefs.policy import Millis, Scope
from prefs.settings import Settings

AT_ONCE = 1_000
"""Messages in one transaction: while it runs, a one click for one of them waits."""


class Wanted(NamedTuple):
    """A message about to be sent: to whom, and what its unsubscribe link is to say."""

    subject: Subject
    claim: Claim

    @classmethod
    def of(cls, tenant: Tenant, subject: Subject, scope: Scope, campaign: str = "") -> "Wanted":
        claim = Claim(
            Action.UNSUBSCRIBE, tenant.id, subject.channel, subject.digest, scope, 0, campaign
        )
        return cls(subject, claim)


def signed(
    opened: Installation, tenant: Tenant, wanted: Sequence[Wanted], now: Millis
) -> list[Minted]:
    """The links that need no database, and that nobody has to be remembered for."""
    settings = opened.settings
    scopes = {one.claim.scope for one in wanted}
    lists = {scope: _list_id(tenant, scope, settings.list_domain) for scope in scopes}
    return [
        opened.links.mint(settings.public_url, one.claim, now, lists[one.claim.scope])
        for one in wanted
    ]


def _list_id(tenant: Tenant, scope: Scope, domain: str) -> str | None:
    topic, brand = tenant.topic_of(scope), tenant.brand_of(scope)
    if topic:
        return list_id(topic.title, (topic.slug, tenant.slug), domain)
    if brand:
        return list_id(brand.name, (brand.slug, tenant.slug), domain)
    return list_id(tenant.name, (tenant.slug,), domain)


def kept(
    connection: Connection,
    settings: Settings,
    tenant: Tenant,
    wanted: Sequence[Wanted],
    minted: Sequence[Minted],
    short: bool,
) -> list[Minted]:
    """``minted``, with its addresses remembered, and with what needs that: short links, if they
    are wanted, and the address that a mail may unsubscribe by. For ``AT_ONCE`` at a time."""
    ledger.remember(connection, tenant.id, [one.subject for one in wanted])
    by_text = {at: one.claim for at, one in enumerate(wanted) if short}
    # Without the campaign: a list of a million is a million rows once, and not with each mail.
    by_mail = {
        at: replace(one.claim, campaign="")
        for at, one in enumerate(wanted)
        if settings.mail_domain and one.claim.channel is Channel.EMAIL
    }
    if not by_text and not by_mail:
        return list(minted)
    codes = short_links.kept(connection, tenant, [*by_text.values(), *by_mail.values()])
    shorts = dict(zip(by_text, codes[: len(by_text)], strict=True))
    boxes = dict(zip(by_mail, codes[len(by_text) :], strict=True))
    return [
        one._replace(
            short=f"{settings.public_url}/l/{shorts[at]}" if at in shorts else None,
            mailbox=short_links.mailbox(boxes[at], settings.mail_domain) if at in boxes else None,
        )
        for at, one in enumerate(minted)
    ]
