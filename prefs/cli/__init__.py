"""The command `prefs`: the same verbs as the API, and what only an operator may do."""

from importlib import import_module

import click

from prefs.cli import asking, brands, bursts, files, mail, owned, running, sms

PROVIDERS = {"twilio": "webhooks.twilio.commands"}
"""The commands that speak a provider's dialect, and where each is. `prefs` imports no dialect, as
it does not import the server's `wsgi`: both are found by their names when they are asked for."""


class _Commands(click.Group):
    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *PROVIDERS])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name in PROVIDERS:
            command: click.Command = getattr(import_module(PROVIDERS[name]), name)
            return command
        return super().get_command(context, name)


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
def main() -> None:
    """Remembers what each person said they want, and answers: may I send this?"""


for command in (
    running.serve,
    running.demo_command,
    running.migrate_command,
    running.doctor,
    running.replay,
    asking.check,
    asking.history,
    asking.link,
    asking.whose,
    asking.leave,
    asking.code,
    asking.erase,
    bursts.burst,
    files.import_command,
    files.scrub,
    files.export,
    mail.mail,
    owned.tenant,
    brands.brand,
    brands.topic,
    owned.sender,
    sms.sms,
    owned.key,
):
    main.add_command(command)
