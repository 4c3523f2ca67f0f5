"""About one address or link: check, history, link, whose, leave, code, erase."""

import csv
import sys
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from typing import NamedTuple

import click
from sqlalchemy import Connection

from prefs import codes, languages, ledger, minting, rights, short_links
from prefs.address import Address, BadAddress, Channel
from prefs.check import Held, answer
from prefs.cli.begin import (
    about_address,
    day,
    opened_installation,
    other_channel,
    printable,
    subject_of,
    tenant_named,
    told,
)
from prefs.database import Unavailable
from prefs.directory import BadEntry, Tenant
from prefs.installation import Installation
from prefs.ledger import Said, Subject
from prefs.links import Action, BadLink, Claim, Minted, is_campaign
from prefs.minting import Wanted
from prefs.policy import REASONS, Authority, Event, Ground, Kind, Scope, Voice, hold


@click.command()
@about_address
@click.option("--topic", required=True)
@told
def check(address: str, channel: str, region: str | None, tenant: str | None, topic: str) -> None:
    """May this topic be sent to ADDRESS? Send only on exit code 0; 1 is deny, 2 is hold."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        item = {"channel": channel, "address": address, "topic": topic}
        if region is not None:
            item["region"] = region
        now = opened.clock()
        try:
            decision = answer(opened.database, found, item, now)
        except Held as held:
            advice = other_channel(channel, address) if held.reason == "bad_address" else ""
            click.echo(f"hold: {held.detail} ({held.reason}){advice}")
            sys.exit(2)
        except Unavailable:
            decision = hold("state_unknown", now)
    click.echo(f"{decision.verdict}: {REASONS[decision.reason]} ({decision.reason})")
    if decision.ground:
        click.echo(_ground(found, decision.ground))
    for note in decision.notes:
        click.echo(f"note: {note}")
    sys.exit({"allow": 0, "deny": 1, "hold": 2}[decision.verdict])


def _ground(tenant: Tenant, ground: Ground) -> str:
    said_by = f", said by {ground.voice}" if ground.voice else ""
    through = f", through {ground.door}" if ground.door else ""
    return (
        f"It rests on event {ground.seq}: {ground.what} of {tenant.told(ground.scope)}"
        f"{said_by}{through}, {day(ground.when)}."
    )


@click.command()
@about_address
@told
def history(address: str, channel: str, region: str | None, tenant: str | None) -> None:
    """Everything that was said about ADDRESS, with its evidence."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        subject = subject_of(found, channel, address, region)
        with opened.database.reading() as connection:
            entries = ledger.history(connection, found.id, subject.digest)
    if not entries:
        click.echo("Nobody has said anything about this address.")
    for entry in entries:
        event = entry.event
        about = "" if event.kind is Kind.REGISTERED else f" of {found.told(event.scope)}"
        if event.retracts:
            about = f" of what is numbered {', '.join(map(str, event.retracts))}"
        said_by = f" by {event.voice}" if event.voice else ""
        said_at = f", said {day(event.said_at)}" if event.said_at is not None else ""
        click.echo(
            f"{entry.seq}  {day(event.heard_at)}  {event.kind}{about}{said_by}{said_at}, through "
            f"{event.door}: {entry.outcome}. {ledger.sentence(event.kind, entry.outcome)}"
        )
        for mark in _marks(event):
            click.echo(f"     {mark}")
        for name, text in (entry.evidence or {}).items():
            click.echo(f"     {name}: {printable(text)}")


def _marks(event: Event) -> Iterator[str]:
    if event.rule:
        yield f"rule: {event.rule}"
    if event.to_transactional:
        yield "it answered a transactional message"
    if event.ours_alone:
        yield "heard by us alone: neither provider nor carrier blocks anything"


@click.command()
@about_address
@click.option("--topic", help="What the link leaves. Or --brand, or neither: all marketing.")
@click.option("--brand")
@click.option("--campaign", default="")
@click.option("--language", help="Which one the person reads, such as de, unless they chose one.")
@click.option("--short", is_flag=True, help="A short link too, as texts need.")
@told
def link(
    address: str,
    channel: str,
    region: str | None,
    tenant: str | None,
    topic: str | None,
    brand: str | None,
    campaign: str,
    language: str | None,
    short: bool,
) -> None:
    """Mint the links and the mail headers for a message to ADDRESS.

    With - for ADDRESS, one address is read from each line of standard input, and CSV is written.
    """
    if not is_campaign(campaign):
        raise BadEntry("campaign", "a campaign is up to 32 letters, digits, dots, - and _")
    if language is not None and not languages.is_code(language):
        raise BadEntry("language", languages.NO_CODE)
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        scope = found.leavable(topic=topic, brand=brand)

        def minted(subjects: list[Subject]) -> list[Minted]:
            wanted = [
                Wanted.of(found, subject._replace(language=language), scope, campaign)
                for subject in subjects
            ]
            links = minting.signed(opened, found, wanted, opened.clock())
            with opened.database.writing() as connection:
                return minting.kept(connection, opened.settings, found, wanted, links, short)

        if address != "-":
            (one,) = minted([subject_of(found, channel, address, region)])
            click.echo(f"unsubscribe: {one.unsubscribe}\npreferences: {one.preferences}")
            for name, url in (("short", one.short), ("device", one.device)):
                if url:
                    click.echo(f"{name}: {url}")
            for name, value in one.headers.items():
                click.echo(f"{name}: {value}")
            return
        columns = ["unsubscribe", "preferences"]
        columns += ["short"] if short else []
        columns += ["device"] if channel == Channel.PUSH else []
        columns += ["mailbox"] if opened.settings.mail_domain and channel == Channel.EMAIL else []
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(["address", *columns])
        read = _read_lines(found, channel, region)
        while chunk := list(islice(read, minting.AT_ONCE)):
            links = minted([subject for _, subject in chunk])
            for (line, _), one in zip(chunk, links, strict=True):
                out.writerow([line, *(getattr(one, column) for column in columns)])


def _read_lines(tenant: Tenant, channel: str, region: str | None) -> Iterator[tuple[str, Subject]]:
    """The addresses on standard input; what is none is told on standard error."""
    for number, line in enumerate(sys.stdin, 1):
        if text := line.strip():
            try:
                yield text, subject_of(tenant, channel, text, region)
            except BadAddress as error:
                click.echo(f"line {number}: {error}", err=True)


class Found(NamedTuple):
    """What a link is about, and its address as far as it is known."""

    claim: Claim
    tenant: Tenant
    scope: Scope
    value: str | None

    def __str__(self) -> str:
        value = self.value and Address(self.claim.channel, self.value).masked
        campaign = f", campaign {self.claim.campaign}" if self.claim.campaign else ""
        return (
            f"{self.claim.channel} {value or 'address that is not known (any more)'}, "
            f"{self.tenant.told(self.scope)} of {self.tenant.slug}{campaign}"
        )


def _found(opened: Installation, connection: Connection, text: str) -> Found:
    """What a link stands for, or its code, or the address an unsubscribe mail was sent to."""
    claim = _claim(opened, connection, text.strip())
    tenant = opened.directory.latest.tenants.get(claim.tenant) if claim else None
    if claim is None or tenant is None:
        raise BadEntry(
            "link",
            "this is no link, code or unsubscribe address of ours, or not whole: copy all of it",
        )
    # What it was about may be gone, and the no counts should it come back.
    scope = tenant.whole(claim.scope) or claim.scope._replace(brand=claim.scope.brand or 0)
    value = ledger.known(connection, tenant.id, claim.digest).value
    return Found(claim, tenant, scope, value)


def _claim(opened: Installation, connection: Connection, text: str) -> Claim | None:
    code = short_links.addressed(text) or text.rstrip("/").rpartition("/")[2]
    if claim := short_links.opened(connection, code):
        return claim
    for action in (Action.UNSUBSCRIBE, Action.PREFERENCES, Action.DEVICE):
        with suppress(BadLink):
            return opened.links.open(code, action)
    return None


@click.command()
@click.argument("link")
@told
def whose(link: str) -> None:
    """Whose LINK is, and what it leaves.

    LINK is a link that was sent out, the code of a short one, or the address that an unsubscribe
    mail came to.
    """
    with opened_installation() as opened, opened.database.reading() as connection:
        click.echo(_found(opened, connection, link))


@click.command()
@click.argument("link")
@told
def leave(link: str) -> None:
    """Record that the person left by LINK, such as by a mail to an unsubscribe address.

    LINK is what `prefs whose` takes.
    """
    with opened_installation() as opened, opened.database.writing() as connection:
        found = _found(opened, connection, link)
        left = Event(
            Kind.OUT,
            opened.clock(),
            found.scope,
            Voice.PERSON,
            Authority.PERSON,
            door="unsubscribe mail",
        )
        evidence = {"recorded": "by hand, with prefs leave"}
        if found.claim.campaign:
            evidence["campaign"] = found.claim.campaign
        subject = Subject(found.claim.channel, found.claim.digest)
        ledger.record(connection, found.tenant.id, Said(subject, left, evidence=evidence))
    click.echo(f"Opted out: {found}")


@click.command()
@about_address
@told
def code(address: str, channel: str, region: str | None, tenant: str | None) -> None:
    """Make a one-time code for ADDRESS, to be read to a person who has no link."""
    with opened_installation() as opened:
        found, now = tenant_named(opened, tenant), opened.clock()
        subject = subject_of(found, channel, address, region)
        with opened.database.writing() as connection:
            ledger.remember(connection, found.id, [subject])
            made = codes.make(connection, found.id, subject, now)
        click.echo(
            f"{made}\nThey enter it once, until {day(now + codes.VALID_FOR)}, at "
            f"{opened.settings.public_url}/code"
        )


@click.command()
@about_address
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--anyway", is_flag=True, help="Bar the address even if nothing is known of it.")
@told
def erase(
    address: str, channel: str, region: str | None, tenant: str | None, yes: bool, anyway: bool
) -> None:
    """Erase what identifies the person behind ADDRESS, and keep their no."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        subject = subject_of(found, channel, address, region)
        with opened.database.reading() as connection:
            known = ledger.known(connection, found.id, subject.digest)
        if known.value is None and not known.standing.seq and not anyway:
            raise BadEntry(
                "address",
                "nothing is known of that address: is it spelt right? "
                "With --anyway it is barred from all marketing all the same",
            )
        if not yes:
            click.confirm(
                "What identifies this person is erased for good, and all marketing to the address "
                "is barred; nobody can take that back. Go on?",
                abort=True,
            )
        with opened.database.writing() as connection:
            rights.erase(connection, found.id, subject, opened.clock())
    click.echo("Erased. The address is opted out of all marketing from now on.")
