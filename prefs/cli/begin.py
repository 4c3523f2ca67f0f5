"""How a command begins and ends: the installation, the tenant, and errors in one line."""

import json
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import click

from prefs.address import Address, BadAddress, Channel
from prefs.database import Unavailable, WrongEncoding
from prefs.directory import BadEntry, Tenant
from prefs.installation import Installation
from prefs.ledger import Subject
from prefs.policy import written
from prefs.settings import BadSetting, Settings

P = ParamSpec("P")
T = TypeVar("T")

CHANNEL = click.Choice([str(channel) for channel in Channel])


def told(command: Callable[P, T]) -> Callable[P, T]:
    """What went wrong, as one line that says what to change."""

    @wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return command(*args, **kwargs)
        except (BadSetting, BadEntry, BadAddress, WrongEncoding) as error:
            raise click.ClickException(f"{str(error)[:1].upper()}{str(error)[1:]}.") from None
        except OSError as error:
            if error.filename is None:  # such as a pipe whose reader has gone: click ends quietly
                raise
            raise click.ClickException(
                f"Cannot use {error.filename} ({error.strerror}): make it usable by this user, or "
                "set PREFS_DATA to another folder."
            ) from None
        except Unavailable:
            raise click.ClickException(
                "The database cannot be reached, or is not migrated: `prefs doctor` tells more."
            ) from None

    return wrapped


@contextmanager
def opened_installation() -> Iterator[Installation]:
    settings = Settings.load(os.environ)
    installation = Installation.open(settings)
    try:
        yield installation
    finally:
        installation.database.close()


def tenant_named(opened: Installation, slug: str | None) -> Tenant:
    tenants = opened.directory.latest.tenants
    if slug is None:
        if len(tenants) == 1:
            return next(iter(tenants.values()))
        raise BadEntry("tenant", "name the tenant with --tenant" if tenants else NO_TENANT)
    if found := opened.directory.latest.tenant(slug):
        return found
    raise BadEntry("tenant", "there is no such tenant; `prefs tenant list` shows those there are")


NO_TENANT = "there is no tenant yet; make one with `prefs tenant add SLUG --name NAME`"

of_tenant = click.option(
    "--tenant", envvar="PREFS_TENANT", help="Whose data; not needed where there is one tenant."
)


def subject_of(tenant: Tenant, channel: str, address: str, region: str | None) -> Subject:
    try:
        return Subject.of(tenant, Address.parse(Channel(channel), address, region))
    except BadAddress as error:
        raise BadAddress(f"{error}{other_channel(channel, address)}", error.field) from None


def other_channel(channel: str, address: str) -> str:
    """What to add for an address that was taken for an email's and can be none."""
    if channel != Channel.EMAIL or "@" in address:
        return ""
    return (
        "; for a phone number add `--channel sms`, `--channel whatsapp` or `--channel rcs`, "
        "for a device `--channel push`"
    )


def about_address(command: Callable[..., Any]) -> Callable[..., Any]:
    for decorate in (
        of_tenant,
        click.option("--region", help="Where a phone number without + is dialled (ISO 3166)."),
        click.option("--channel", type=CHANNEL, default="email", show_default=True),
        click.argument("address"),
    ):
        command = decorate(command)
    return command


def print_json(value: Mapping[str, Any], err: bool = False) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False), err=err)


def day(millis: int) -> str:
    return f"{written(millis)[:19].replace('T', ' ')} UTC"


_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def printable(text: str) -> str:
    """Somebody else's text for a terminal, which obeys control characters."""
    return _CONTROL.sub("�", text)
