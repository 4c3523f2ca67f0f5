"""Brands and their topics: what people see."""

import re
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import click

from prefs import directory, look
from prefs.address import Channel
from prefs.cli.begin import of_tenant, opened_installation, tenant_named, told
from prefs.directory import BadEntry
from prefs.policy import Mode
from prefs.policy import Purpose as TopicPurpose


@click.group()
def brand() -> None:
    """In whose name messages are sent."""


def _said(texts: tuple[str, ...]) -> dict[str, dict[str, str]]:
    """What ``--text`` says, such as ``de:name=…``."""
    said: dict[str, dict[str, str]] = {}
    for text in texts:
        parts = re.fullmatch(r"([^:=]+):([a-z_]+)=(.*)", text, re.DOTALL)
        if parts is None:
            raise BadEntry("text", "write a text as LANGUAGE:PART=TEXT, as in de:name=…")
        said.setdefault(parts[1], {})[parts[2]] = parts[3]
    return said


def _look(accent: str | None, paper: str | None, logo: BinaryIO | None) -> dict[str, str]:
    given = {
        "accent": accent,
        "paper": paper,
        "logo": look.logo(logo.read(look.LONGEST_READ)) if logo else None,
    }
    return {name: value for name, value in given.items() if value is not None}


def texts_of(*parts: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return click.option(
        "--text",
        "texts",
        multiple=True,
        metavar=f"LANGUAGE:{'|'.join(parts)}=TEXT",
        help="The same in another language, such as de; again for more. Empty takes it away.",
    )


def as_people_see_it(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        texts_of(*directory.BRAND_TEXTS),
        click.option(
            "--logo",
            type=click.File("rb"),
            help="A PNG, JPEG, WebP or SVG of at most 6,000 bytes; /dev/null for none.",
        ),
        click.option("--paper", help="The colour behind the card, as in #f3f2ee."),
        click.option("--accent", help="The colour of buttons and links, as in #1d3f8f."),
        click.option("--mail-from", help="Whom its mails come from: 'Acme <news@acme.example>'."),
        click.option("--postal-address", help="Where it is, for the foot of its mails."),
    ):
        command = decorate(command)
    return command


@brand.command("add")
@click.argument("slug")
@click.option("--name", required=True)
@click.option("--contact", required=True, help="What a HELP by text is answered with.")
@as_people_see_it
@of_tenant
@told
def add_brand(
    slug: str,
    name: str,
    contact: str,
    postal_address: str | None,
    mail_from: str | None,
    accent: str | None,
    paper: str | None,
    logo: BinaryIO | None,
    texts: tuple[str, ...],
    tenant: str | None,
) -> None:
    """Make a brand."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.add_brand(
                connection,
                found.id,
                slug,
                name,
                contact,
                opened.clock(),
                postal_address=postal_address or "",
                mail_from=mail_from or "",
                look=_look(accent, paper, logo),
                texts=_said(texts),
            )
    click.echo(f"Made the brand {slug}.")


@brand.command("change")
@click.argument("slug")
@click.option("--name")
@click.option("--contact", help="What a HELP by text is answered with.")
@as_people_see_it
@of_tenant
@told
def change_brand(
    slug: str,
    name: str | None,
    contact: str | None,
    postal_address: str | None,
    mail_from: str | None,
    accent: str | None,
    paper: str | None,
    logo: BinaryIO | None,
    texts: tuple[str, ...],
    tenant: str | None,
) -> None:
    """Change what people see of a brand."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with opened.database.writing() as connection:
            directory.change_brand(
                connection,
                found,
                slug,
                name=name,
                contact=contact,
                postal_address=postal_address,
                mail_from=mail_from,
                look=_look(accent, paper, logo),
                texts=_said(texts),
            )
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


def _offered(modes: Mapping[str, str | None]) -> dict[Channel, Mode]:
    named = {Channel(name): mode for name, mode in modes.items() if mode not in (None, "off")}
    return {channel: Mode(mode) for channel, mode in named.items()}


def _numbers(at_most: str | None) -> list[int] | None:
    if at_most is None:
        return None
    parts = [part.strip() for part in at_most.split(",") if part.strip()]
    if not all(re.fullmatch(r"[0-9]{1,2}", part) for part in parts):
        raise BadEntry("at_most", "write the numbers with commas between them, as in 1,2,4")
    return [int(part) for part in parts]


how_often = click.option(
    "--at-most",
    metavar="NUMBERS",
    help="How many a week people may choose between, as in 1,2,4; empty for no such choice.",
)


def on_channels(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in reversed(Channel):
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
@how_often
@texts_of(*directory.TOPIC_TEXTS)
@of_tenant
@told
def add_topic(
    slug: str,
    brand: str,
    title: str,
    description: str,
    purpose: str,
    at_most: str | None,
    texts: tuple[str, ...],
    tenant: str | None,
    **modes: str | None,
) -> None:
    """Make a topic."""
    offered = _offered(modes)
    if not offered:
        raise BadEntry(
            "channels",
            "name at least one channel that the topic goes out on, such as --email opt_out",
        )
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
                offered,
                opened.clock(),
                at_most=_numbers(at_most) or (),
                texts=_said(texts),
            )
    click.echo(f"Made the topic {slug}.")


@topic.command("change")
@click.argument("slug")
@click.option("--title")
@click.option("--description")
@on_channels
@how_often
@texts_of(*directory.TOPIC_TEXTS)
@of_tenant
@told
def change_topic(
    slug: str,
    title: str | None,
    description: str | None,
    at_most: str | None,
    texts: tuple[str, ...],
    tenant: str | None,
    **modes: str | None,
) -> None:
    """Change what a topic is called and how often; with a channel, also where it goes out."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        offered = {**found.topic(slug).offered, **_offered(modes)}
        offered = {channel: mode for channel, mode in offered.items() if modes[channel] != "off"}
        with opened.database.writing() as connection:
            directory.change_topic(
                connection,
                found,
                slug,
                title=title,
                description=description,
                offered=offered,
                at_most=_numbers(at_most),
                texts=_said(texts),
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
