"""Messages and links as a mailbox provider sees them: mail check, mail conformance."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO

import click

from prefs.cli.begin import told
from prefs.installation import Installation
from prefs.mail import check, path_here
from prefs.mail import conformance as asking
from prefs.mail.check import LONGEST, Level
from prefs.mail.conformance import BadUrl, Verdict
from prefs.settings import BadSetting, Settings


@click.group()
def mail() -> None:
    """What mailbox providers make of a message and of its unsubscribe link."""


@contextmanager
def _installation(url: str | None = None) -> Iterator[Installation | None]:
    """The installation here, or None: if there is none, or ``url`` is not one of its links."""
    try:
        settings = Settings.load(os.environ)
    except BadSetting:
        settings = None
    if settings is None or (url and path_here(url, settings.public_url) is None):
        yield None
        return
    opened = Installation.open(settings)
    try:
        yield opened
    finally:
        opened.database.close()


@mail.command("check")
@click.argument("message", type=click.File("rb"))
@click.option("--to", metavar="ADDRESS", help="Whom it is for, where the message does not tell.")
@told
def check_message(message: BinaryIO, to: str | None) -> None:
    """Can MESSAGE be left by one click? A file as it was sent (.eml), or - for standard input.

    Nothing is sent, and no DNS asked: signatures are read, not verified. Exit code 1 if there
    are errors or warnings.
    """
    with _installation() as opened:
        found = check.check(message.read(LONGEST + 1), opened, to)
    for finding in found:
        minds = f" ({finding.minds})" if finding.minds else ""
        click.echo(f"{finding.level}: {finding.sentence}{minds}")
    if any(finding.level is not Level.NOTE for finding in found):
        sys.exit(1)
    click.echo("All is well.")


@mail.command("conformance")
@click.argument("url")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--timeout",
    type=click.FloatRange(0.1, 120),
    default=20,
    show_default=True,
    help="Seconds that each answer may take.",
)
@told
def ask_link(url: str, yes: bool, timeout: float) -> None:
    """Does the one-click link URL, of any service, answer as RFC 8058 wants it?

    It UNSUBSCRIBES whom the link is for: it posts to it as a mailbox provider does. It also
    posts to the link with one character changed. Exit code 1 if anything fails.
    """
    try:
        at = asking.parsed(url)
    except BadUrl as error:
        raise click.UsageError(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
    if not yes:
        click.confirm(
            f"This unsubscribes whom the link is for at {at.hostname}. A link with one character "
            "changed is tried as well; a careless service may take it for another person's. Go on?",
            abort=True,
        )
    failed = 0
    with _installation(url) as opened:
        for line in asking.conformance(at, timeout, opened):
            click.echo(f"{line.verdict:<4}  {line.name}: {line.reason}")
            failed += line.verdict is Verdict.FAIL
    if failed:
        sys.exit(1)
