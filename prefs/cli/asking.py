"""Asking about one address: check, history, link, erase."""

import re
import sys

import click

from prefs import ledger, rights
from prefs.check import Held, answer
from prefs.cli.begin import about_address, day, opened_installation, subject_of, tenant_named, told
from prefs.directory import BadEntry, Tenant
from prefs.links import Action, Claim
from prefs.policy import REASONS, Ground


@click.command()
@about_address
@click.option("--topic", required=True)
@told
def check(address: str, channel: str, region: str | None, tenant: str | None, topic: str) -> None:
    """May this topic be sent to ADDRESS? Send only on exit code 0; 1 is deny, 2 is hold."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        item = {"channel": channel, "address": address, "topic": found.topic(topic).slug}
        if region is not None:
            item["region"] = region
        try:
            decision = answer(opened.database, found, item, opened.clock())
        except Held as held:
            raise BadEntry(held.field, held.detail) from None
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
    for entry in entries:
        event = entry.event
        said_by = f" by {event.voice}" if event.voice else ""
        click.echo(
            f"{entry.seq}  {day(event.heard_at)}  {event.kind} of "
            f"{found.told(event.scope)}{said_by}, through {event.door}: {entry.outcome}. "
            f"{ledger.SENTENCES[event.kind]}"
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
    """Mint the links and the mail headers for a message to ADDRESS."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        subject = subject_of(found, channel, address, region)
        scope = found.leavable(topic=topic, brand=brand)
        with opened.database.writing() as connection:
            ledger.remember(connection, found.id, [subject])
        claim = Claim(
            Action.UNSUBSCRIBE, found.id, subject.channel, subject.digest, scope, 0, campaign
        )
        try:
            minted = opened.links.mint(opened.settings.public_url, claim, opened.clock())
        except ValueError as error:
            raise BadEntry("campaign", str(error)) from None
    click.echo(f"unsubscribe: {minted.unsubscribe}\npreferences: {minted.preferences}")
    for name, value in minted.headers.items():
        click.echo(f"{name}: {value}")


@click.command()
@about_address
@click.confirmation_option(prompt="What identifies the person is erased for good. Go on?")
@told
def erase(address: str, channel: str, region: str | None, tenant: str | None) -> None:
    """Erase what identifies the person behind ADDRESS, and keep their no."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        subject = subject_of(found, channel, address, region)
        with opened.database.writing() as connection:
            rights.erase(connection, found.id, subject, opened.clock())
    click.echo("Erased. The address stays opted out of all marketing.")
