"""Asking about one address: check, history, link, erase."""

import csv
import re
import sys
from collections.abc import Iterator
from itertools import islice

import click

from prefs import ledger, rights
from prefs.address import BadAddress
from prefs.check import Held, answer
from prefs.cli.begin import about_address, day, opened_installation, subject_of, tenant_named, told
from prefs.database import Unavailable
from prefs.directory import BadEntry, Tenant
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.links import Action, Claim, Minted, is_campaign
from prefs.policy import REASONS, Ground, Kind, Scope, hold


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
            click.echo(f"hold: {held.detail} ({held.reason})")
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


# Evidence is somebody else's text, and a terminal obeys its control characters.
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


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
        said_by = f" by {event.voice}" if event.voice else ""
        said_at = f", said {day(event.said_at)}" if event.said_at is not None else ""
        click.echo(
            f"{entry.seq}  {day(event.heard_at)}  {event.kind}{about}{said_by}{said_at}, through "
            f"{event.door}: {entry.outcome}. {ledger.sentence(event.kind, entry.outcome)}"
        )
        for name, text in (entry.evidence or {}).items():
            click.echo(f"     {name}: {_CONTROL.sub('�', text)}")


@click.command()
@about_address
@click.option("--topic", help="What the link leaves. Or --brand, or neither: all marketing.")
@click.option("--brand")
@click.option("--campaign", default="")
@told
def link(
    address: str,
    channel: str,
    region: str | None,
    tenant: str | None,
    topic: str | None,
    brand: str | None,
    campaign: str,
) -> None:
    """Mint the links and the mail headers for a message to ADDRESS.

    With - for ADDRESS, one address is read from each line of standard input, and CSV is written.
    """
    if not is_campaign(campaign):
        raise BadEntry("campaign", "a campaign is up to 32 letters, digits, dots, - and _")
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        scope = found.leavable(topic=topic, brand=brand)
        if address != "-":
            subject = subject_of(found, channel, address, region)
            (minted,) = _minted(opened, found, [subject], scope, campaign)
            click.echo(f"unsubscribe: {minted.unsubscribe}\npreferences: {minted.preferences}")
            for name, value in minted.headers.items():
                click.echo(f"{name}: {value}")
            return
        out = csv.writer(sys.stdout, lineterminator="\n")
        out.writerow(("address", "unsubscribe", "preferences"))
        read = _read_lines(found, channel, region)
        while chunk := list(islice(read, 1000)):
            subjects = [subject for _, subject in chunk]
            for (line, _), minted in zip(
                chunk, _minted(opened, found, subjects, scope, campaign), strict=True
            ):
                out.writerow((line, minted.unsubscribe, minted.preferences))


def _read_lines(tenant: Tenant, channel: str, region: str | None) -> Iterator[tuple[str, Subject]]:
    """The addresses on standard input; what is none is told on standard error."""
    for number, line in enumerate(sys.stdin, 1):
        if text := line.strip():
            try:
                yield text, subject_of(tenant, channel, text, region)
            except BadAddress as error:
                click.echo(f"line {number}: {error}", err=True)


def _minted(
    opened: Installation, tenant: Tenant, subjects: list[Subject], scope: Scope, campaign: str
) -> list[Minted]:
    with opened.database.writing() as connection:
        ledger.remember(connection, tenant.id, subjects)
    base, now = opened.settings.public_url, opened.clock()
    return [
        opened.links.mint(
            base,
            Claim(Action.UNSUBSCRIBE, tenant.id, s.channel, s.digest, scope, 0, campaign),
            now,
        )
        for s in subjects
    ]


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
