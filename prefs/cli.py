"""The command `prefs`: the same verbs as the API, and what only an operator may do."""

import fcntl
import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import wraps
from pathlib import Path
from typing import IO, Any, BinaryIO, ParamSpec, TypeVar

import click

from prefs import directory, ledger, rights
from prefs.address import Address, BadAddress, Channel
from prefs.database import Database, Unavailable, migrate
from prefs.directory import KINDS, PROVIDERS, SCOPES, BadEntry, Tenant
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.links import Claim, Purpose
from prefs.policy import REASONS, Ground, Message, Mode, Scope, for_address, may_send
from prefs.policy import Purpose as TopicPurpose
from prefs.settings import BadSetting, Settings, create_secrets, data_folder, keep_token

P = ParamSpec("P")
T = TypeVar("T")

CHANNEL = click.Choice([str(channel) for channel in Channel])


# --- how a command begins and ends ---


def told(command: Callable[P, T]) -> Callable[P, T]:
    """What went wrong, as one line that says what to change."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except (BadSetting, BadEntry, BadAddress) as error:
            raise click.ClickException(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        except Unavailable:
            raise click.ClickException(
                "The database cannot be reached, or is not migrated: `prefs doctor` tells more."
            ) from None

    return wrapped


@contextmanager
def _opened() -> Iterator[Installation]:
    settings = Settings.load(os.environ)
    installation = Installation.open(settings)
    try:
        yield installation
    finally:
        installation.database.close()


def _tenant(opened: Installation, slug: str | None) -> Tenant:
    tenants = opened.directory.directory.tenants
    if slug is None:
        if len(tenants) == 1:
            return next(iter(tenants.values()))
        raise BadEntry("tenant", "name the tenant with --tenant" if tenants else _NO_TENANT)
    if found := opened.directory.directory.tenant(slug):
        return found
    raise BadEntry("tenant", "there is no such tenant; `prefs tenant list` shows those there are")


_NO_TENANT = "there is no tenant yet; make one with `prefs tenant add SLUG --name NAME`"

of_tenant = click.option(
    "--tenant", envvar="PREFS_TENANT", help="Whose data; not needed where there is one tenant."
)


def _subject(tenant: Tenant, channel: str, address: str, region: str | None) -> Subject:
    return Subject.of(tenant, Address.parse(Channel(channel), address, region))


def about_address(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        of_tenant,
        click.option("--region", help="Where a phone number without + is dialled (ISO 3166)."),
        click.option("--channel", type=CHANNEL, default="email", show_default=True),
        click.argument("address"),
    ):
        command = decorate(command)
    return command


def _print_json(value: Mapping[str, Any]) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
def main() -> None:
    """Remembers what each person said they want, and answers: may I send this?"""


# --- running it ---


@main.command()
@click.option("--demo", is_flag=True, help="Show the cast, in a data folder that begins afresh.")
@click.option("--host", default="127.0.0.1", show_default=True)
@click.option("--port", type=click.IntRange(0, 65535), help="Default: 8000, or the next free one.")
@click.option("--workers", type=click.IntRange(1, 64), default=2, show_default=True)
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


@main.command("demo")
@click.pass_context
def demo_command(context: click.Context) -> None:
    """The same as `prefs serve --demo`."""
    context.invoke(serve, demo=True, host="127.0.0.1", port=None, workers=2)


def _begin() -> Callable[[str], None]:
    _install()
    try:
        with _opened() as opened:
            empty = not opened.directory.directory.tenants
    except Unavailable:
        empty = False

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
    """Makes what a first start needs; an outage of the database does not stop a later start."""
    create_secrets(data_folder(os.environ))
    settings = Settings.load(os.environ)
    try:
        migrate(settings.database_url)
    except Unavailable:
        click.echo(
            "The database cannot be reached: marketing is held, transactional passes.", err=True
        )


def _begin_demo() -> tuple[IO[str], Callable[[str], None]]:
    from prefs import demo

    folder, lock = _demo_folder(data_folder(os.environ))
    # The demo is of this machine alone, whatever the real installation is told.
    for name in [name for name in os.environ if name.startswith("PREFS_")]:
        del os.environ[name]
    os.environ |= {"PREFS_DATA": str(folder), "PREFS_WORKER_HEADER": "1"}
    _install()
    keep_token(folder, "twilio", demo.ACCOUNT, demo.TOKEN)
    with _opened() as opened:
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


@main.command("migrate")
@told
def migrate_command() -> None:
    """Make the secrets and the database, or bring them to this version's form."""
    create_secrets(data_folder(os.environ))
    settings = Settings.load(os.environ)
    migrate(settings.database_url)
    with _opened():
        click.echo("The database is of this version's form.")


@main.command()
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
            "PREFS_PUBLIC_URL is not set: links lead to this machine, and one-click needs https "
            "(RFC 8058)"
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
        with _opened() as opened:
            tenants = opened.directory.directory.tenants.values()
            if not tenants:
                found.append(f"{_NO_TENANT[:1].upper()}{_NO_TENANT[1:]}")
            for tenant in tenants:
                for sender in tenant.senders:
                    if not settings.provider_tokens(sender.provider, sender.account):
                        found.append(
                            f"{tenant.slug}: no token for {sender.account}, so every STOP to "
                            f"{sender.identity} is refused: `prefs sender token {sender.account}`"
                        )
                    else:
                        click.echo(
                            f"{tenant.slug}: the webhook of {sender.identity} is "
                            f"{settings.public_url}/webhooks/{sender.provider}/{tenant.slug}"
                            "#rc=5&rp=all"
                        )
    for line in found:
        click.echo(f"- {line}")
    if found:
        sys.exit(1)
    click.echo("Nothing found.")


@main.command()
@told
def replay() -> None:
    """Fold every event again and report standings that are not what they amount to."""
    differences = 0
    with _opened() as opened:
        for tenant in opened.directory.directory.tenants.values():
            with opened.database.reading() as connection:
                for difference in ledger.replay(connection, tenant.id):
                    differences += 1
                    click.echo(f"{tenant.slug} {difference.digest.hex()}: stored and folded differ")
    click.echo(f"{differences} differences.")
    if differences:
        sys.exit(1)


# --- asking ---


@main.command()
@about_address
@click.option("--topic", required=True)
@told
def check(address: str, channel: str, region: str | None, tenant: str | None, topic: str) -> None:
    """May this topic be sent to ADDRESS? Exit code 0 for allow, 1 for deny, 2 for hold."""
    with _opened() as opened:
        found = _tenant(opened, tenant)
        about = found.topic(topic)
        now, asked = opened.clock(), Address.parse(Channel(channel), address, region)
        with opened.database.reading() as connection:
            standing = ledger.standing(connection, found.id, found.digest(asked))
        decision = for_address(may_send(Message(about, asked.channel), standing, now), asked, now)
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
        f"It rests on event {ground.seq}: {ground.what} of {_scope(tenant, ground.scope)}"
        f"{said_by}{through}, {_day(ground.when)}."
    )


def _scope(tenant: Tenant, scope: Scope) -> str:
    if topic := tenant.topic_of(scope):
        return topic.slug
    brand = tenant.brand_of(scope)
    return f"the brand {brand.slug}" if brand else "all marketing"


def _day(millis: int) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(millis / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"


@main.command()
@about_address
@told
def history(address: str, channel: str, region: str | None, tenant: str | None) -> None:
    """Everything that was said about ADDRESS, with its evidence."""
    with _opened() as opened:
        found = _tenant(opened, tenant)
        subject = _subject(found, channel, address, region)
        with opened.database.reading() as connection:
            entries = ledger.history(connection, found.id, subject.digest)
    for entry in entries:
        event = entry.event
        said_by = f" by {event.voice}" if event.voice else ""
        click.echo(
            f"{entry.seq}  {_day(event.heard_at)}  {event.kind} of "
            f"{_scope(found, event.scope)}{said_by}, through {event.door}: {entry.outcome}. "
            f"{ledger.SENTENCES[event.kind]}"
        )
        for name, text in (entry.evidence or {}).items():
            click.echo(f"     {name}: {text}")


@main.command()
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
        subject = _subject(found, channel, address, region)
        scope = found.leavable(topic=topic, brand=brand)
        with opened.database.writing() as connection:
            ledger.remember(connection, found.id, [subject])
        claim = Claim(
            Purpose.UNSUBSCRIBE, found.id, subject.channel, subject.digest, scope, 0, campaign
        )
        try:
            minted = opened.links.mint(opened.settings.public_url, claim, opened.clock())
        except ValueError as error:
            raise BadEntry("campaign", str(error)) from None
    click.echo(f"unsubscribe: {minted.unsubscribe}\npreferences: {minted.preferences}")
    for name, value in minted.headers.items():
        click.echo(f"{name}: {value}")


@main.command()
@about_address
@click.confirmation_option(prompt="What identifies the person is erased for good. Go on?")
@told
def erase(address: str, channel: str, region: str | None, tenant: str | None) -> None:
    """Erase what identifies the person behind ADDRESS, and keep their no."""
    with _opened() as opened:
        found = _tenant(opened, tenant)
        subject = _subject(found, channel, address, region)
        with opened.database.writing() as connection:
            rights.erase(connection, found.id, subject, opened.clock())
    click.echo("Erased. The address stays opted out of all marketing.")


# --- files ---


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


@main.command("import")
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
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
    _print_json(done._asdict())
    if done.unreadable and rejects is None:
        click.echo("Name a file with --rejects to see the rows that could not be read.", err=True)


@main.command()
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

    with _opened() as opened:
        found = _tenant(opened, tenant)
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
    click.echo(json.dumps(done._asdict(), indent=2, default=str), err=True)


@main.command()
@click.option("--channel", type=CHANNEL, default="email", show_default=True)
@click.option("--topic", help="Who may not get this. None: who may get no marketing at all.")
@click.option("-o", "--output", type=click.File("wb", atomic=True), default="-")
@of_tenant
@told
def export(channel: str, topic: str | None, output: BinaryIO, tenant: str | None) -> None:
    """Write everything suppressed as CSV; a summary goes to stderr."""
    from prefs import sheets

    with _opened() as opened:
        found = _tenant(opened, tenant)
        topics = [found.topic(topic)] if topic else list(found.topics.values())
        with _progress("export") as progress:
            done = sheets.export(
                opened,
                found,
                output,
                channel=Channel(channel),
                topics=topics,
                now=opened.clock(),
                progress=progress,
            )
    click.echo(json.dumps(done._asdict(), indent=2), err=True)


# --- what a tenant owns ---


@main.group()
def tenant() -> None:
    """Whose data this is: a hard wall."""


@tenant.command("add")
@click.argument("slug")
@click.option("--name", required=True)
@told
def add_tenant(slug: str, name: str) -> None:
    """Make a tenant."""
    with _opened() as opened, opened.database.writing() as connection:
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
    with _opened() as opened:
        found = _tenant(opened, slug)
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
    with _opened() as opened:
        for found in opened.directory.directory.tenants.values():
            click.echo(f"{found.slug}\t{found.name}")


@main.group()
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
        with opened.database.writing() as connection:
            directory.add_brand(connection, found.id, slug, name, contact, opened.clock())
    click.echo(f"Made the brand {slug}.")


@brand.command("list")
@of_tenant
@told
def list_brands(tenant: str | None) -> None:
    """Show the brands."""
    with _opened() as opened:
        for found in _tenant(opened, tenant).brands.values():
            click.echo(f"{found.slug}\t{found.name}\t{found.contact}")


@main.group()
def topic() -> None:
    """What messages are about."""


MODE = click.Choice([str(mode) for mode in Mode])


def _offered(email: str | None, sms: str | None, push: str | None) -> dict[Channel, Mode]:
    given = {Channel.EMAIL: email, Channel.SMS: sms, Channel.PUSH: push}
    return {channel: Mode(mode) for channel, mode in given.items() if mode is not None}


def on_channels(command: Callable[..., Any]) -> Callable[..., Any]:
    for name in ("push", "sms", "email"):
        text = f"Offer it on {name}: until someone says no, or after an express yes."
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
        offered = {**found.topic(slug).offered, **_offered(email, sms, push)}
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
        for entry in found.topics.values():
            offered = ", ".join(f"{channel} {mode}" for channel, mode in entry.offered.items())
            click.echo(f"{entry.slug}\t{entry.purpose}\t{offered}\t{entry.title}")


@main.group()
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
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
    if not token.isascii() or len(token.split()) != 1 or len(account.split()) != 1:
        raise click.ClickException("A token and an account are one word each.")
    keep_token(data_folder(os.environ), provider, account, token)
    click.echo("The token is kept, and in force.")


@sender.command("list")
@of_tenant
@told
def list_senders(tenant: str | None) -> None:
    """Show the senders."""
    with _opened() as opened:
        for found in _tenant(opened, tenant).senders:
            click.echo(
                f"{found.id}\t{found.identity}\t{found.kind}\t{found.provider}\t{found.account}"
            )


@sender.command("remove")
@click.argument("sender_id", type=int)
@of_tenant
@told
def remove_sender(sender_id: int, tenant: str | None) -> None:
    """Take a sender away: what people answer it is refused from then on."""
    with _opened() as opened:
        found = _tenant(opened, tenant)
        with opened.database.writing() as connection:
            directory.remove_sender(connection, found, sender_id)
    click.echo("Removed.")


@main.group()
def key() -> None:
    """API keys: shown once, kept as hashes."""


@key.command("add")
@click.argument("name")
@click.option("--scope", "scopes", multiple=True, required=True, type=click.Choice(SCOPES))
@of_tenant
@told
def add_key(name: str, scopes: tuple[str, ...], tenant: str | None) -> None:
    """Make a key and show it, this once."""
    with _opened() as opened:
        found = _tenant(opened, tenant)
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
    with _opened() as opened:
        found = _tenant(opened, tenant)
        for entry in opened.directory.directory.keys.values():
            if entry.tenant_id == found.id:
                ends = f"ends {_day(entry.ends_at)}" if entry.ends_at else "in force"
                click.echo(f"{entry.id}\t{entry.name}\t{' '.join(sorted(entry.scopes))}\t{ends}")


def _key(opened: Installation, tenant: Tenant, key_id: str) -> directory.Key:
    found = opened.directory.directory.keys.get(key_id)
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
    with _opened() as opened:
        found = _key(opened, _tenant(opened, tenant), key_id)
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
    with _opened() as opened:
        found = _key(opened, _tenant(opened, tenant), key_id)
        with opened.database.writing() as connection:
            directory.end_key(connection, found, opened.clock())
    click.echo("Revoked.")


if __name__ == "__main__":
    main(prog_name="prefs")
