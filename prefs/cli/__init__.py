"""The command `prefs`: the same verbs as the API, and what only an operator may do."""

import click

from prefs.cli import asking, files, owned, running


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
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
    asking.erase,
    files.import_command,
    files.scrub,
    files.export,
    owned.tenant,
    owned.brand,
    owned.topic,
    owned.sender,
    owned.key,
):
    main.add_command(command)
