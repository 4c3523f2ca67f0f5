"""What people text: try a text, a tenant's own words, and the texts that wait for a decision."""

import getpass
from collections.abc import Mapping

import click

from prefs import directory, keywords, texts
from prefs.cli.begin import day, of_tenant, opened_installation, printable, tenant_named, told
from prefs.cli.reassigned import reassigned
from prefs.directory import WORDS_SAY, BadEntry, Tenant
from prefs.keywords import Says
from prefs.policy import Millis
from prefs.texts import NoReview, Waiting


@click.group()
def sms() -> None:
    """What people text, and what it is read as."""


@sms.command("try")
@click.argument("text")
@of_tenant
@told
def try_text(text: str, tenant: str | None) -> None:
    """What TEXT would be read as, by which rule. Nothing is written."""
    own: Mapping[str, Says] = {}
    with opened_installation() as opened:
        if tenant is not None or len(opened.directory.latest.tenants) == 1:
            own = tenant_named(opened, tenant).words
    reading = keywords.read(text, own)
    click.echo(f"{reading.says}{', and it names everything' if reading.everything else ''}")
    if reading.rule:
        language = f" ({reading.language})" if reading.language else ""
        click.echo(f"rule: {reading.rule}{language}")
        click.echo(f"source: {keywords.source_of(reading.rule)}")
    click.echo(f"version: {keywords.VERSION}")


# --- the tenant's own words ---


@sms.group()
def word() -> None:
    """Words of a tenant's own, beside those that everybody's texts are read by."""


def _set(word: str, says: str | None, tenant: str | None) -> None:
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        if says is None and keywords.normal(word) not in found.words:
            raise BadEntry(
                "word", "there is no such word; `prefs sms word list` shows those there are"
            )
        with opened.database.writing() as connection:
            directory.change_tenant(connection, found, words={word: says})


@word.command("add")
@click.argument("word")
@click.option("--as", "says", type=click.Choice(WORDS_SAY), required=True, help="What it says.")
@of_tenant
@told
def add_word(word: str, says: str, tenant: str | None) -> None:
    """Let WORD, or a phrase, say something, where it is the whole text."""
    _set(word, says, tenant)
    click.echo(f"{keywords.normal(word)} says {says} from now on.")


@word.command("remove")
@click.argument("word")
@of_tenant
@told
def remove_word(word: str, tenant: str | None) -> None:
    """Take WORD away again. What was heard by it stands."""
    _set(word, None, tenant)
    click.echo("Removed.")


@word.command("list")
@of_tenant
@told
def list_words(tenant: str | None) -> None:
    """Show the tenant's own words, and what each says."""
    with opened_installation() as opened:
        for own, says in sorted(tenant_named(opened, tenant).words.items()):
            click.echo(f"{own}\t{says}")


# --- the texts that wait ---


@sms.command("review")
@click.argument("review_id", metavar="[ID]", required=False)
@click.option("--no", "is_no", flag_value=True, type=bool, default=None, help="It is a no.")
@click.option("--not-a-no", "is_no", flag_value=False, type=bool, help="It is none.")
@click.option("--reason", default="", help="Why; kept as evidence.")
@of_tenant
@told
def review(review_id: str | None, is_no: bool | None, reason: str, tenant: str | None) -> None:
    """Show the texts that may be a no, the longest waiting first; or decide about the text ID.

    Until somebody decides, marketing in their scope is held.
    """
    if review_id is None and (is_no is not None or reason):
        raise click.UsageError("Name the text that is decided by its ID.")
    if review_id is not None and is_no is None:
        raise click.UsageError("Decide: --no or --not-a-no.")
    with opened_installation() as opened:
        found, now = tenant_named(opened, tenant), opened.clock()
        if review_id is None or is_no is None:
            with opened.database.reading() as connection:
                waiting = sorted(texts.all_waiting(connection, found), key=lambda w: w.heard_at)
            for one in waiting:
                _show(found, one, now)
            if not waiting:
                click.echo("No text waits for a decision.")
            return
        try:
            with opened.database.writing() as connection:
                one = texts.named(connection, found, review_id)
                texts.decide(
                    connection,
                    found,
                    review_id,
                    is_no=is_no,
                    by=f"command, by {getpass.getuser()}",
                    now=now,
                    reason=reason,
                )
        except NoReview as error:
            raise BadEntry("id", f"{error}; `prefs sms review` shows those that wait") from None
    if is_no:
        click.echo(f"It is a no: opted out of {_told(found, one)}.")
    else:
        click.echo(f"It is no no: {_told(found, one)} is as it was before.")


def _told(tenant: Tenant, one: Waiting) -> str:
    told = tenant.told(one.scope)
    return "all marketing" if told == "all" else told


def _show(tenant: Tenant, one: Waiting, now: Millis) -> None:
    left = one.days_left(now)
    if left < 0:
        when = f"OVERDUE by {_days(-left)}"
    else:
        when = f"{_days(left)} left" if left else "due today"
    number = one.address.masked if one.address else "a number not known any more"
    text = "(the text was erased)" if one.text is None else printable(one.text)
    click.echo(f"{one.id}  heard {day(one.heard_at)}, to be decided by {one.due}: {when}")
    click.echo(
        f"     {one.subject.channel} from {number} to {printable(one.to or 'a sender not known')}, "
        f"about {_told(tenant, one)}; rule {one.rule}"
    )
    click.echo(f"     {text}")


def _days(number: int) -> str:
    return "1 day" if number == 1 else f"{number} days"


sms.add_command(reassigned)
