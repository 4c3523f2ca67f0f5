"""What a tenant owns: tenants, brands, topics, senders, keys."""

import os
import sys
from collections.abc import Callable
from typing import Any

import click

from prefs import directory
from prefs.address import Channel
from prefs.cli.begin import day, of_tenant, opened_installation, tenant_named, told
from prefs.directory import KINDS, PROVIDERS, SCOPES, BadEntry, Tenant
from prefs.installation import Installation
from prefs.policy import Mode
from prefs.policy import Purpose as TopicPurpose
from prefs.settings import data_folder, keep_token


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
@told
def change_tenant(slug: str, name: str | None, confirming_ends_complaint: bool | None) -> None:
    """Change a tenant's name, or what a confirmed opt-in may end."""
    with opened_installation() as opened:
        found = tenant_named(opened, slug)
        with opened.database.writing() as connection:
            directory.change_tenant(
                connection,
                found,
                name=name,
                confirming_ends_complaint=confirming_ends_complaint,
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
def brand() -> None:
    """In whose name messages are sent."""


@brand.command("add")
@click.argument("slug")
@click.option("--name", required=True)
@click.option("--contact", required=True, help="What a HELP by text is answered with.")
@of_tenant
@told
def add_brand(slug: str, name: str, contact: str, tenant: str | None) -> None:
    """Make a brand."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.add_brand(connection, found.id, slug, name, contact, opened.clock())
    click.echo(f"Made the brand {slug}.")


@brand.command("change")
@click.argument("slug")
@click.option("--name")
@click.option("--contact", help="What a HELP by text is answered with.")
@of_tenant
@told
def change_brand(slug: str, name: str | None, contact: str | None, tenant: str | None) -> None:
    """Change what people see of a brand."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.change_brand(connection, found, slug, name=name, contact=contact)
    click.echo(f"Changed the brand {slug}.")


@brand.command("list")
@of_tenant
@told
def list_brands(tenant: str | None) -> None:
    """Show the brands."""
    with opened_installation() as opened:
        for found in tenant_named(opened, tenant).brands.values():
            click.echo(f"{found.slug}\t{found.name}\t{found.contact}")


@click.group()
def topic() -> None:
    """What messages are about."""


MODE = click.Choice([*(str(mode) for mode in Mode), "off"])


def _offered(email: str | None, sms: str | None, push: str | None) -> dict[Channel, Mode]:
    given = {Channel.EMAIL: email, Channel.SMS: sms, Channel.PUSH: push}
    return {channel: Mode(mode) for channel, mode in given.items() if mode not in (None, "off")}


def on_channels(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in ("push", "sms", "email"):
        text = f"On {name}: until someone says no, after an express yes, or not at all."
        command = click.option(f"--{name}", type=MODE, help=text)(command)
    return command


@topic.command("add")
@click.argument("slug")
@click.option("--brand", required=True)
@click.option("--title", required=True, help="What people call it.")
@click.option("--description", default="")
@click.option(
    "--purpose",
    type=click.Choice([str(purpose) for purpose in TopicPurpose]),
    default="marketing",
    show_default=True,
    help="It never changes. Transactional always passes.",
)
@on_channels
@of_tenant
@told
def add_topic(
    slug: str,
    brand: str,
    title: str,
    description: str,
    purpose: str,
    email: str | None,
    sms: str | None,
    push: str | None,
    tenant: str | None,
) -> None:
    """Make a topic."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.add_topic(
                connection,
                found.id,
                found.brand(brand).id,
                slug,
                title,
                description,
                TopicPurpose(purpose),
                _offered(email, sms, push),
                opened.clock(),
            )
    click.echo(f"Made the topic {slug}.")


@topic.command("change")
@click.argument("slug")
@click.option("--title")
@click.option("--description")
@on_channels
@of_tenant
@told
def change_topic(
    slug: str,
    title: str | None,
    description: str | None,
    email: str | None,
    sms: str | None,
    push: str | None,
    tenant: str | None,
) -> None:
    """Change what a topic is called; with a channel, also where it goes out."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        given = {Channel.EMAIL: email, Channel.SMS: sms, Channel.PUSH: push}
        offered = {**found.topic(slug).offered, **_offered(email, sms, push)}
        offered = {channel: mode for channel, mode in offered.items() if given[channel] != "off"}
        with opened.database.writing() as connection:
            directory.change_topic(
                connection, found, slug, title=title, description=description, offered=offered
            )
    click.echo(f"Changed the topic {slug}.")


@topic.command("list")
@of_tenant
@told
def list_topics(tenant: str | None) -> None:
    """Show the topics."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        for entry in found.topics.values():
            offered = ", ".join(f"{channel} {mode}" for channel, mode in entry.offered.items())
            click.echo(f"{entry.slug}\t{entry.purpose}\t{offered}\t{entry.title}")


@click.group()
def sender() -> None:
    """The numbers and services that send, and hear what people answer."""


@sender.command("add")
@click.argument("identity")
@click.option("--brand", required=True)
@click.option("--provider", type=click.Choice(PROVIDERS), default="twilio", show_default=True)
@click.option("--account", required=True, help="The provider's account, such as AC….")
@click.option("--kind", type=click.Choice(KINDS), required=True)
@of_tenant
@told
def add_sender(
    identity: str, brand: str, provider: str, account: str, kind: str, tenant: str | None
) -> None:
    """Make a sender: IDENTITY is its number, short code or service id."""
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
            )
    click.echo(f"Made the sender {identity}. Now its token: prefs sender token {account}")


@sender.command("token")
@click.argument("account")
@click.option("--provider", type=click.Choice(PROVIDERS), default="twilio", show_default=True)
@told
def sender_token(account: str, provider: str) -> None:
    """Take the token with which an account signs; the one before goes on beside it."""
    token = click.prompt("Token", hide_input=sys.stdin.isatty()).strip()
    keep_token(data_folder(os.environ), provider, account, token)
    click.echo("The token is kept, and in force.")


@sender.command("list")
@of_tenant
@told
def list_senders(tenant: str | None) -> None:
    """Show the senders."""
    with opened_installation() as opened:
        for found in tenant_named(opened, tenant).senders:
            click.echo(
                f"{found.id}\t{found.identity}\t{found.kind}\t{found.provider}\t{found.account}"
            )


@sender.command("remove")
@click.argument("sender_id", type=int)
@of_tenant
@told
def remove_sender(sender_id: int, tenant: str | None) -> None:
    """Take a sender away: what people answer it is refused from then on."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.remove_sender(connection, found, sender_id)
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
