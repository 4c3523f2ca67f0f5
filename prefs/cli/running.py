"""Running it: serve, migrate, doctor, replay."""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import click

from prefs import ledger, letters, texts
from prefs.address import Channel
from prefs.cli.begin import (
    NO_TENANT,
    opened_installation,
    told,
)
from prefs.cli.owned import token_command
from prefs.database import Database, Unavailable, migrate, sqlite_file
from prefs.directory import Brand, Tenant, is_marked
from prefs.policy import Purpose
from prefs.settings import (
    Settings,
    create_secrets,
    data_folder,
    database_url,
    has_secrets,
    keep_token,
)


def where_served(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True),
        click.option(
            "--port", type=click.IntRange(0, 65535), help="Default: 8000, or the next free one."
        ),
        click.option("--host", default="127.0.0.1", show_default=True),
    ):
        command = decorate(command)
    return command


@click.command()
@click.option("--demo", is_flag=True, help="Show the cast, in a data folder that begins afresh.")
@where_served
@told
def serve(demo: bool, host: str, port: int | None, workers: int) -> None:
    """Serve over HTTP until Ctrl-C."""
    from prefs import serve as server

    ready: Callable[[str], None]
    if demo:
        lock, ready = _begin_demo()
    else:
        lock, ready = None, _begin()
    settings = Settings.load(os.environ)
    try:
        code = server.serve(settings, host=host, port=port, workers=workers, ready=ready)
    finally:
        if lock is not None:
            lock.close()
    sys.exit(code)


@click.command("demo")
@where_served
@click.pass_context
def demo_command(context: click.Context, /, **where: Any) -> None:
    """The same as `prefs serve --demo`."""
    context.invoke(serve, demo=True, **where)


def _begin() -> Callable[[str], None]:
    _install()
    with opened_installation() as opened:
        empty = not opened.directory.latest.tenants

    def ready(url: str) -> None:
        click.echo(f"prefs serves on {url}. The API: {url}/docs")
        if empty:
            click.echo(FIRST_STEPS)

    return ready


FIRST_STEPS = """
There is nothing here yet. In another terminal:

  bin/prefs tenant add acme --name "Acme"
  bin/prefs brand add acme --name "Acme" --contact help@acme.example
  bin/prefs topic add product-news --brand acme --title "Product news" --email opt_out
  bin/prefs key add "my first key" --scope check --scope record --scope links
"""


def _install() -> None:
    """Makes what a first start needs, and only a first start.

    Later, a secret that is missing is a loss to be mended, and a database that is missing an
    outage: a new one in its place would know of no no. Neither stops transactional.
    """
    file = sqlite_file(database_url(os.environ))
    if file and not Path(file).exists() and has_secrets(data_folder(os.environ)):
        click.echo(
            f"{file} is missing: put it back. (For a new one: prefs migrate.) {_HELD}", err=True
        )
        return
    try:
        _migrate()
    except Unavailable:
        click.echo(f"The database cannot be reached. {_HELD}", err=True)


_HELD = "Until then marketing is held, and transactional passes."


def _migrate() -> None:
    """Brings the database to this version's form; a new one gets its secrets."""
    url = database_url(os.environ)
    migrate(url)
    with closing(Database(url)) as database, database.reading() as connection:
        known = is_marked(connection)
    if not known:
        create_secrets(data_folder(os.environ))


def _begin_demo() -> tuple[IO[str], Callable[[str], None]]:
    from prefs import demo

    folder, lock = _demo_folder(data_folder(os.environ))
    # The demo is of this machine alone, whatever the real installation is told.
    for name in [name for name in os.environ if name.startswith("PREFS_")]:
        del os.environ[name]
    os.environ |= {
        "PREFS_DATA": str(folder),
        "PREFS_WORKER_HEADER": "1",
        "PREFS_PREVIEW": "1",
    }
    _install()
    keep_token(folder, "twilio", demo.ACCOUNT, demo.TOKEN)
    with opened_installation() as opened:
        cast = demo.load(opened)
        links, clock = opened.links, opened.clock

    def ready(url: str) -> None:
        click.echo(demo.what_to_try(cast, links, url, clock()))

    return lock, ready


def _demo_folder(data: Path) -> tuple[Path, IO[str]]:
    """An empty folder that no other running demo uses, and the lock that keeps it ours."""
    data.mkdir(parents=True, exist_ok=True)
    number = 1
    while True:
        folder = data / ("demo" if number == 1 else f"demo-{number}")
        lock = open(data / f"{folder.name}.lock", "w")  # noqa: SIM115  (held while serving)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            number += 1
            continue
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700)
        return folder, lock


@click.command("migrate")
@told
def migrate_command() -> None:
    """Make the database and its secrets, or bring it to this version's form."""
    _migrate()
    with opened_installation():
        click.echo("The database is of this version's form.")


@click.command()
@told
def doctor() -> None:
    """Look for what would go wrong, and say how to mend it."""
    settings = Settings.load(os.environ)
    found: list[str] = []
    secrets_folder = settings.data / "secrets"
    for path in [secrets_folder, *secrets_folder.iterdir()] if secrets_folder.exists() else []:
        if path.stat().st_mode & 0o077:
            found.append(f"{path} is readable by others: chmod go-rwx {path}")
    if settings.public_url.startswith("http://"):
        found.append(
            f"PREFS_PUBLIC_URL is {settings.public_url}, and one-click needs https (RFC 8058): set "
            "it, for the server and the commands, to where people reach this"
        )
    try:
        with (
            closing(Database(settings.database_url)) as database,
            database.reading() as connection,
        ):
            ledger.here(connection, 0)
    except Unavailable:
        found.append("The database cannot be reached, or is not migrated: run `prefs migrate`")
    else:
        with opened_installation() as opened:
            tenants = opened.directory.latest.tenants.values()
            if not tenants:
                found.append(f"{NO_TENANT[:1].upper()}{NO_TENANT[1:]}")
            for tenant in tenants:
                for line in unasked(settings, tenant):
                    click.echo(line)
                with opened.database.reading() as connection:
                    left = [
                        one.days_left(opened.clock())
                        for one in texts.all_waiting(connection, tenant)
                    ]
                if left:
                    overdue = sum(days < 0 for days in left)
                    line = (
                        f"{tenant.slug}: texts that wait for a decision: {len(left)}, overdue: "
                        f"{overdue}: `prefs sms review`"
                    )
                    if overdue:
                        found.append(line)
                    else:
                        click.echo(line)
                for sender in tenant.senders:
                    if not settings.provider_tokens(sender.provider, sender.account):
                        found.append(
                            f"{tenant.slug}: no token for {sender.account}, so every STOP to "
                            f"{sender.identity} is refused: "
                            f"`{token_command(sender.provider, sender.account)}`"
                        )
                    else:
                        click.echo(
                            f"{tenant.slug}: the webhook of {sender.identity} is "
                            f"{settings.public_url}/webhooks/{sender.provider}/{tenant.slug}"
                            f"{_COMES_AGAIN.get(sender.provider, '')}"
                        )
                    if not settings.sending_tokens(sender.provider, sender.account):
                        command = token_command(sender.provider, sender.account, sending=True)
                        click.echo(
                            f"{tenant.slug}: nothing can be sent from {sender.identity}, no answer "
                            f"to a text either: `{command}`"
                        )
    for line in found:
        click.echo(f"- {line}")
    if found:
        sys.exit(1)
    click.echo("Nothing found.")


_COMES_AGAIN = {"twilio": "#rc=5&rp=all"}
"""What makes a provider come again after any failure, where a webhook's URL has to say so."""


def unasked(settings: Settings, tenant: Tenant) -> Iterator[str]:
    """Where a topic could be asked for, and we cannot send the question. Senders may."""
    for brand in tenant.brands.values():
        for channel in letters.GO_BY:
            offered = any(
                topic.purpose is Purpose.MARKETING and channel in topic.offered
                for topic in tenant.topics.values()
                if topic.scope.brand == brand.id
            )
            if offered and not letters.can_send(settings, tenant, brand, channel):
                yield (
                    f"{tenant.slug}: no confirmation by {channel} can be sent for the brand "
                    f"{brand.slug}: {' and '.join(_missing(settings, tenant, brand, channel))}"
                )


def _missing(settings: Settings, tenant: Tenant, brand: Brand, channel: Channel) -> Iterator[str]:
    if channel is Channel.SMS:
        mine = {(s.account, s.provider) for s in tenant.senders if s.brand_id == brand.id}
        if not mine:
            yield "`prefs sender add`"
        account, provider = min(mine, default=("ACCOUNT", "twilio"))
        yield f"`{token_command(provider, account, sending=True)}`"
        return
    if settings.smtp is None:
        yield "set PREFS_SMTP_URL"
    if not brand.mail_from:
        yield f"`prefs brand change {brand.slug} --mail-from ADDRESS`"


@click.command()
@told
def replay() -> None:
    """Fold every event again and report standings that are not what they amount to."""
    differences = 0
    with opened_installation() as opened:
        for tenant in opened.directory.latest.tenants.values():
            with opened.database.reading() as connection:
                for difference in ledger.replay(connection, tenant.id):
                    differences += 1
                    click.echo(f"{tenant.slug} {difference.digest.hex()}: stored and folded differ")
    click.echo(f"{differences} differences.")
    if differences:
        sys.exit(1)
