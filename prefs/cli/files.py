"""Lists in files: import, scrub, export."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import click

from prefs.address import Channel
from prefs.cli.begin import CHANNEL, of_tenant, opened_installation, print_json, tenant_named, told


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int], None]]:
    """Counts rows on a terminal, and says nothing in a pipe or a log."""
    if not sys.stderr.isatty():
        yield lambda rows: None
        return

    def show(rows: int) -> None:
        click.echo(f"\r{name}: {rows:,} rows", nl=False, err=True)

    yield show
    click.echo(err=True)


def _must_differ(*files: Any) -> None:
    """The audience must not be written over by what is left of it."""
    names = [file.name for file in files if file is not None]
    paths = [os.path.realpath(name) for name in names if name not in ("<stdin>", "<stdout>")]
    if len(set(paths)) != len(paths):
        raise click.UsageError("FILE, --output and --refused must be different files.")


@click.command("import")
@click.argument("file", type=click.File("rb"))
@click.option("--channel", type=CHANNEL, default="email", show_default=True)
@click.option("--topic", help="What they left. Or --brand, or --all.")
@click.option("--brand")
@click.option("--all", "everything", is_flag=True, help="They left all marketing.")
@click.option("--region", help="Where phone numbers without + are dialled (ISO 3166).")
@click.option("--column", help="The column that holds the addresses.")
@click.option("--rejects", type=click.File("w", encoding="utf-8"), help="Where bad rows go.")
@click.option("--dry-run", is_flag=True, help="Say what would be recorded, and record nothing.")
@of_tenant
@told
def import_command(
    file: BinaryIO,
    channel: str,
    topic: str | None,
    brand: str | None,
    everything: bool,
    region: str | None,
    column: str | None,
    rejects: Any,
    dry_run: bool,
    tenant: str | None,
) -> None:
    """Record everyone in FILE, which another tool wrote, as opted out."""
    from prefs import sheets
    from prefs.sheets.rows import BadSheet

    if sum((topic is not None, brand is not None, everything)) != 1:
        raise click.UsageError("Say what they left: one of --topic, --brand and --all.")
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        scope = found.leavable(topic=topic, brand=brand)
        with _progress("import") as progress:
            try:
                done = sheets.import_suppressions(
                    opened,
                    found,
                    file,
                    name=Path(file.name).name,
                    scope=scope,
                    channel=Channel(channel),
                    region=region,
                    rejects=rejects,
                    progress=progress,
                    column=column,
                    dry_run=dry_run,
                )
            except BadSheet as error:
                raise click.ClickException(str(error)) from None
    print_json({"dry_run": True, **done._asdict()} if dry_run else done._asdict())
    if done.unreadable:
        where = "they are in the rejects" if rejects else "--rejects FILE shows them"
        click.echo(
            f"WARNING: {done.unreadable} rows could not be read and are NOT recorded; {where}.",
            err=True,
        )


@click.command()
@click.argument("file", type=click.File("rb"))
@click.option("--topic", required=True)
@click.option("--channel", type=CHANNEL, default="email", show_default=True)
@click.option("--region", help="Where phone numbers without + are dialled (ISO 3166).")
@click.option("--column", help="The column that holds the addresses.")
@click.option(
    "-o",
    "--output",
    type=click.File("wb", atomic=True),
    default="-",
    help="The sendable rows. The file is there when the run is done, whole.",
)
@click.option(
    "--refused", type=click.File("wb", atomic=True), help="The other rows, with the reason."
)
@of_tenant
@told
def scrub(
    file: BinaryIO,
    topic: str,
    channel: str,
    region: str | None,
    column: str | None,
    output: BinaryIO,
    refused: BinaryIO | None,
    tenant: str | None,
) -> None:
    """Pass on the rows of FILE, an audience, that may be sent to; a summary goes to stderr."""
    from prefs import sheets
    from prefs.sheets.rows import BadSheet

    _must_differ(file, output, refused)
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        with _progress("scrub") as progress:
            try:
                done = sheets.scrub(
                    opened,
                    found,
                    file,
                    output,
                    topic=found.topic(topic),
                    channel=Channel(channel),
                    region=region,
                    refused=refused,
                    progress=progress,
                    column=column,
                )
            except BadSheet as error:
                raise click.ClickException(str(error)) from None
    cursor = str(done.cursor) if done.cursor else None
    print_json({**done._asdict(), "cursor": cursor}, err=True)


@click.command()
@click.option("--channel", type=CHANNEL, default="email", show_default=True)
@click.option("--topic", help="Who may not get this. None: who may get no marketing at all.")
@click.option("-o", "--output", type=click.File("wb", atomic=True), default="-")
@of_tenant
@told
def export(channel: str, topic: str | None, output: BinaryIO, tenant: str | None) -> None:
    """Write everything suppressed as CSV; a summary goes to stderr."""
    from prefs import sheets

    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        topics = [found.topic(topic)] if topic else list(found.topics.values())
        with _progress("export") as progress:
            done = sheets.export(
                opened,
                found,
                output,
                channel=Channel(channel),
                topics=topics,
                progress=progress,
            )
    print_json(done._asdict(), err=True)
