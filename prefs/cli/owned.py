"""Tenants, and their senders and keys."""

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from prefs import directory, languages
from prefs.cli.begin import day, of_tenant, opened_installation, tenant_named, told
from prefs.directory import KINDS, LEAVES, PROVIDERS, PURPOSES, SCOPES, BadEntry, Tenant
from prefs.installation import Installation
from prefs.settings import SENDING_TOKENS, data_folder, keep_token


@click.group()
def tenant() -> None:
    """Whose data this is: a hard wall."""


@tenant.command("add")
@click.argument("slug")
@click.option("--name", required=True)
@told
def add_tenant(slug: str, name: str) -> None:
    """Make a tenant."""
    with opened_installation() as opened, opened.database.writing() as connection:
        directory.add_tenant(connection, slug, name, opened.clock())
    click.echo(f"Made the tenant {slug}.")


@tenant.command("change")
@click.argument("slug")
@click.option("--name")
@click.option(
    "--confirming-ends-complaint/--confirming-keeps-complaint",
    default=None,
    help="Whether a confirmed double opt-in may end a spam complaint.",
)
@click.option(
    "--language",
    type=click.Choice(list(languages.ALL)),
    help="Of its pages, for whoever has shown no other.",
)
@told
def change_tenant(
    slug: str, name: str | None, confirming_ends_complaint: bool | None, language: str | None
) -> None:
    """Change a tenant's name, its language, or what a confirmed opt-in may end."""
    with opened_installation() as opened:
        found = tenant_named(opened, slug)
        with opened.database.writing() as connection:
            directory.change_tenant(
                connection,
                found,
                name=name,
                confirming_ends_complaint=confirming_ends_complaint,
                language=language,
            )
    click.echo(f"Changed the tenant {slug}.")


@tenant.command("list")
@told
def list_tenants() -> None:
    """Show the tenants."""
    with opened_installation() as opened:
        for found in opened.directory.latest.tenants.values():
            click.echo(f"{found.slug}\t{found.name}")


@click.group()
def sender() -> None:
    """The numbers and services that send, and hear what people answer."""


def what_it_sends(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        click.option(
            "--clarify/--no-clarify",
            "clarifies",
            default=None,
            help="Whether the answer to a STOP offers to keep some topics.",
        ),
        click.option("--topic", metavar="SLUG", help="Which one, with --leaves topic."),
        click.option(
            "--leaves",
            type=click.Choice(LEAVES),
            help="What a STOP to it leaves; to a transactional sender always all.",
        ),
        click.option("--purpose", type=click.Choice(PURPOSES), help="What it sends."),
    ):
        command = decorate(command)
    return command


def _stops(tenant: Tenant, topic: str | None, **given: Any) -> dict[str, Any]:
    named = {} if topic is None else {"topic": tenant.topic(topic)}
    return {name: value for name, value in given.items() if value is not None} | named


@sender.command("add")
@click.argument("identity")
@click.option("--brand", required=True)
@click.option("--provider", type=click.Choice(PROVIDERS), default="twilio", show_default=True)
@click.option("--account", required=True, help="The provider's account, such as AC….")
@click.option("--kind", type=click.Choice(KINDS), required=True)
@what_it_sends
@of_tenant
@told
def add_sender(
    identity: str,
    brand: str,
    provider: str,
    account: str,
    kind: str,
    purpose: str | None,
    leaves: str | None,
    topic: str | None,
    clarifies: bool | None,
    tenant: str | None,
) -> None:
    """Make a sender: IDENTITY is its number, short code or service id.

    One that was removed comes back under its old id.
    """
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.add_sender(
                connection,
                found.id,
                found.brand(brand).id,
                provider,
                account,
                identity,
                kind,
                opened.clock(),
                by_operator=True,
                **_stops(found, topic, purpose=purpose, leaves=leaves, clarifies=clarifies),
            )
    click.echo(f"Made the sender {identity}. Now its token: {token_command(provider, account)}")


def token_command(provider: str, account: str, *, sending: bool = False) -> str:
    """The command that takes the token with which an account signs, or by which we send."""
    named = "" if provider == "twilio" else f" --provider {provider}"
    apart = " --for-sending" if sending and provider in SENDING_TOKENS else ""
    return f"prefs sender token {account}{named}{apart}"


@sender.command("change")
@click.argument("sender_id", type=int)
@what_it_sends
@of_tenant
@told
def change_sender(
    sender_id: int,
    purpose: str | None,
    leaves: str | None,
    topic: str | None,
    clarifies: bool | None,
    tenant: str | None,
) -> None:
    """Change what a sender sends, and what a STOP to it leaves from then on."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        stops = _stops(found, topic, purpose=purpose, leaves=leaves, clarifies=clarifies)
        with opened.database.writing() as connection:
            changed = directory.change_sender(connection, found, sender_id, **stops)
    click.echo(f"Changed the sender {changed.identity}.")


@sender.command("token")
@click.argument("account")
@click.option("--provider", type=click.Choice(PROVIDERS), default="twilio", show_default=True)
@click.option(
    "--for-sending",
    is_flag=True,
    help="The API key by which we send, of a provider that signs with something else (Telnyx).",
)
@told
def sender_token(account: str, provider: str, for_sending: bool) -> None:
    """Take the token with which an account signs; the one before goes on beside it."""
    if for_sending and provider not in SENDING_TOKENS:
        raise BadEntry(
            "for-sending", f"one token of {provider}'s is for both; leave the option out"
        )
    token = click.prompt("Token", hide_input=sys.stdin.isatty()).strip()
    kept_as = SENDING_TOKENS[provider] if for_sending else provider
    keep_token(data_folder(os.environ), kept_as, account, token)
    click.echo("The token is kept, and in force.")


@sender.command("list")
@of_tenant
@told
def list_senders(tenant: str | None) -> None:
    """Show the senders."""
    with opened_installation() as opened:
        of = tenant_named(opened, tenant)
        for found in of.senders:
            sends = f"sends {found.purpose}, STOP leaves {of.told(found.scope)}"
            sends += ", clarifies" if found.clarifies else ""
            click.echo(
                f"{found.id}\t{found.identity}\t{found.kind}\t{found.provider}\t{found.account}"
                f"\t{sends}"
            )


@sender.command("remove")
@click.argument("sender_id", type=int)
@of_tenant
@told
def remove_sender(sender_id: int, tenant: str | None) -> None:
    """Take a sender away: it sends no more, and what people answer it is heard as ever."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.remove_sender(connection, found, sender_id, opened.clock())
    click.echo("Removed.")


@click.group()
def key() -> None:
    """API keys: shown once, kept as hashes."""


@key.command("add")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES))
@of_tenant
@told
def add_key(name: str, scopes: tuple[str, ...], tenant: str | None) -> None:
    """Make a key and show it, this once."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            _, text = directory.add_key(
                connection, found.id, name, frozenset(scopes), opened.clock()
            )
    click.echo(text)


@key.command("list")
@of_tenant
@told
def list_keys(tenant: str | None) -> None:
    """Show the keys, without their secrets."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        for entry in opened.directory.latest.keys.values():
            if entry.tenant_id == found.id:
                ends = f"ends {day(entry.ends_at)}" if entry.ends_at else "in force"
                click.echo(f"{entry.id}\t{entry.name}\t{' '.join(sorted(entry.scopes))}\t{ends}")


def _key(opened: Installation, tenant: Tenant, key_id: str) -> directory.Key:
    found = opened.directory.latest.keys.get(key_id)
    if found is None or found.tenant_id != tenant.id:
        raise BadEntry("key", "there is no such key; `prefs key list` shows those there are")
    return found


@key.command("rotate")
@click.argument("key_id")
@click.option("--grace-hours", type=click.IntRange(0, 720), default=24, show_default=True)
@of_tenant
@told
def rotate_key(key_id: str, grace_hours: int, tenant: str | None) -> None:
    """Make a key like this one and show it; the old one goes on for a while."""
    with opened_installation() as opened:
        found = _key(opened, tenant_named(opened, tenant), key_id)
        with opened.database.writing() as connection:
            _, text = directory.rotate_key(
                connection, found, opened.clock(), grace_hours * 3_600_000
            )
    click.echo(text)


@key.command("revoke")
@click.argument("key_id")
@of_tenant
@told
def revoke_key(key_id: str, tenant: str | None) -> None:
    """End a key, on every worker within ten seconds."""
    with opened_installation() as opened:
        found = _key(opened, tenant_named(opened, tenant), key_id)
        with opened.database.writing() as connection:
            directory.end_key(connection, found, opened.clock())
    click.echo("Revoked.")
