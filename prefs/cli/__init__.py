"""The command `prefs`: the same verbs as the API, and what only an operator may do."""

import click

from prefs.cli import asking, brands, bursts, files, mail, owned, running


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
    owned.key,
):
    main.add_command(command)
