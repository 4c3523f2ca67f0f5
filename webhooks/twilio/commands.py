"""The command `prefs twilio`: setting up, finding faults, and keeping both sides alike."""

import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime

import click

from prefs.cli.begin import (
    of_tenant,
    opened_installation,
    print_json,
    printable,
    tenant_named,
    told,
)
from prefs.directory import BadEntry, Sender, Tenant
from prefs.policy import Millis
from webhooks.twilio import examining, sampling
from webhooks.twilio.sending import NoToken


@click.group()
def twilio() -> None:
    """What is between us and Twilio."""


@twilio.command()
@of_tenant
@told
def doctor(tenant: str | None) -> None:
    """Show what to enter at Twilio and who answers a STOP, and look for what loses one."""
    with opened_installation() as opened:
        settings, known = opened.settings, opened.directory.latest.tenants.values()
        asked = list(known) if tenant is None else [tenant_named(opened, tenant)]
        found = [(one, examining.examine(settings, one, opened.clock())) for one in asked]
    shown = [(one, examined) for one, examined in found if examined.shows]
    if not shown:
        raise BadEntry("sender", "no number or service of Twilio's is here: `prefs sender add`")
    for _, examined in shown:
        for line in [*examined.shows, ""]:
            click.echo(line)
    for line in [*examining.layout(settings, shown[0][0]), ""]:
        click.echo(line)
    for _, examined in shown:
        for line in examined.advises:
            click.echo(f"note: {line}")
    # What is wrong with the installation is wrong for every tenant, and said once.
    faults = list(dict.fromkeys(fault for _, examined in shown for fault in examined.faults))
    for line in faults:
        click.echo(f"- {line}")
    if faults:
        sys.exit(1)
    click.echo("Nothing must be mended.")


@twilio.command("send-sample")
@click.argument("words", nargs=-1, metavar="[stop|start|help] NUMBER")
@click.option("--body", help="Another text than the word.")
@click.option("--to", help="The number or service that it is sent to; not needed where one is.")
@click.option("--url", help="Where the server is: this machine, or (the default) PREFS_PUBLIC_URL.")
@of_tenant
@told
def send_sample(
    words: tuple[str, ...], body: str | None, to: str | None, url: str | None, tenant: str | None
) -> None:
    """Post a text as Twilio would, signed with the account's token. It is recorded like a real one.

    NUMBER is whose text it is: +14155550123, or whatsapp:+14155550123.
    """
    number, text = _sample(words, body)
    with opened_installation() as opened:
        settings, found = opened.settings, tenant_named(opened, tenant)
    sender = _sender(found, to)
    sent = sampling.fields(sender, number, text)
    base = url or settings.public_url
    click.echo(
        f"From {sent['From']} to {sent['To']}: {printable(text)}\n"
        "It is signed as Twilio signs, and recorded like a real one."
    )
    try:
        answer = sampling.post(settings, found, base, sent)
    except NoToken:
        raise BadEntry(
            "token", f"the account has no token here: `prefs sender token {sender.account}`"
        ) from None
    click.echo(f"{answer.status}: {answer.in_words()}")
    for text in answer.texts or ():
        click.echo(f"To be texted in answer: {printable(text)}")
    if not answer.is_heard:
        sys.exit(1)


def _sample(words: tuple[str, ...], body: str | None) -> tuple[str, str]:
    """Whose text it is, and what it says."""
    if len(words) == 2 and words[0].lower() in ("stop", "start", "help"):
        return words[1], words[0].upper() if body is None else body
    if len(words) == 1 and body is not None:
        return words[0], body
    raise click.UsageError("Say stop, start or help, or give a --body; then the number it is from.")


def _sender(tenant: Tenant, identity: str | None) -> Sender:
    def named(senders: Sequence[Sender]) -> list[Sender]:
        twilios = [sender for sender in senders if sender.provider == "twilio"]
        return [one for one in twilios if identity is None or one.identity == identity]

    # One that was removed hears as ever, and stands back for the one that is there now.
    mine = named(tenant.senders) or named(tenant.removed_senders)
    if len(mine) == 1:
        return mine[0]
    if identity is None:
        raise BadEntry("to", "name the number or service with --to; `prefs sender list` shows them")
    if mine:
        raise BadEntry(
            "to",
            f"{identity} is of several accounts here: take those away that it is not of, with "
            "`prefs sender remove`",
        )
    raise BadEntry("to", f"{identity} is no sender of Twilio's; `prefs sender list` shows them")


def _show(line: str) -> None:
    """How far it is, on a terminal; nothing in a pipe or a log."""
    if sys.stderr.isatty():
        click.echo(f"\r{line}\x1b[K", nl=False, err=True)


def _shown() -> None:
    if sys.stderr.isatty():
        click.echo(err=True)


def _day(millis: Millis) -> str:
    return datetime.fromtimestamp(millis / 1000, UTC).date().isoformat()


def _no_token(account: str) -> str:
    return f"{account} has no token here: `prefs sender token {account}` takes it"


@twilio.command("reconcile")
@click.option(
    "--since",
    type=click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M:%S"]),
    help="UTC. Read from there, even what was read before.",
)
@of_tenant
@told
def reconcile_command(since: datetime | None, tenant: str | None) -> None:
    """Hear what people texted and no webhook brought.

    Reads the messages of every account of the tenant's senders since the last run, the first
    time of seven days, and records what is missing with the rule that read it and Twilio's own
    times: what a webhook brought is known and changes nothing. Whoever texted less than five
    minutes ago is answered. Messages that failed because their recipient had replied STOP (21610)
    or cannot be reached are recorded too. Run it from cron every few minutes; stopped anywhere,
    the next run goes on.
    """
    from webhooks.twilio import reconciling
    from webhooks.twilio.patient import Stopped
    from webhooks.twilio.reconciling import Reconciled
    from webhooks.twilio.sending import NoToken

    def show(so_far: Reconciled, at: Millis) -> None:
        _show(f"{so_far.account}: {_day(at)}, {so_far.read:,} messages read")

    begin = None if since is None else int(since.replace(tzinfo=UTC).timestamp() * 1000)
    faults = []
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        accounts = reconciling.accounts(found)
        if not accounts:
            raise click.ClickException("No sender is Twilio's: `prefs sender add` makes one.")
        for account in accounts:
            try:
                done = reconciling.reconcile(
                    opened, found, account, since=begin, told=show, sleep=time.sleep
                )
            except NoToken:
                # Of a removed sender's there need be none: it may have been a slip.
                if any(sender.account == account for sender in found.senders):
                    faults.append(_no_token(account))
                continue
            except Stopped as error:
                _shown()
                faults.append(str(error))
                continue
            _shown()
            print_json(
                {
                    "account": account,
                    "messages_read": done.read,
                    "missed": {str(says): n for says, n in sorted(done.missed.items()) if n},
                    "already_known": done.known,
                    "failures_recorded": done.failures,
                    "answered": done.answered,
                }
            )
    if faults:
        raise click.ClickException("\n".join(f"{fault}." for fault in faults))


@twilio.command("deactivations")
@click.option("--date", "day", type=click.DateTime(["%Y-%m-%d"]), help="One day's, and no others.")
@of_tenant
@told
def deactivations_command(day: datetime | None, tenant: str | None) -> None:
    """End the consents of US numbers that carriers have taken from their owners.

    Reads the deactivation report of each day since the last that was read, 30 days back at the
    most, up to yesterday. Numbers that are known here are blocked as reassigned, on SMS, RCS and
    WhatsApp, until a new confirmed opt-in; what was said no to stays. Nobody becomes known by it.
    Run it daily: carriers want it so.
    """
    from webhooks.twilio import deactivating, reconciling
    from webhooks.twilio.patient import Stopped
    from webhooks.twilio.sending import NoToken

    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        accounts = reconciling.accounts(found)
        account = next((a for a in accounts if opened.settings.provider_tokens("twilio", a)), None)
        if account is None:
            raise click.ClickException(
                f"{_no_token(accounts[0])}."
                if accounts
                else "No sender is Twilio's: `prefs sender add` makes one."
            )
        days: list[date] = [day.date()] if day else deactivating.days(opened, found)
        for one in days:

            def show(numbers: int, one: date = one) -> None:
                _show(f"{one}: {numbers:,} numbers")

            try:
                report = deactivating.deactivate(
                    opened,
                    found,
                    account,
                    one,
                    sleep=time.sleep,
                    told=show,
                )
            except NoToken:
                raise click.ClickException(f"{_no_token(account)}.") from None
            except Stopped as error:
                _shown()
                raise click.ClickException(f"{error}.") from None
            _shown()
            if report.numbers is None:
                click.echo(f"{one}: there is no report (yet)")
                if day is None and (days[-1] - one).days < deactivating.LATE_DAYS:
                    # The next run begins with it.
                    break
                continue
            if day is None:
                deactivating.finished(opened, found, one)
            again = f", {report.already} were before" if report.already else ""
            click.echo(
                f"{one}: {report.numbers:,} numbers, {report.blocked} addresses blocked{again}"
            )
        if not days:
            click.echo("Every report up to yesterday has been read.")


@twilio.command("push")
@click.option("--opt-ins", is_flag=True, help="Tell of whoever has come back by their own act too.")
@click.option("--dry-run", is_flag=True, help="Say how many, and tell Twilio nothing.")
@of_tenant
@told
def push_command(opt_ins: bool, dry_run: bool, tenant: str | None) -> None:
    """Tell Twilio whom its marketing senders must not text (Consent API).

    Whoever has left all marketing topics of a sender's brand on SMS is told as an opt-out, since
    the last run. Only of senders whose purpose is `marketing`: an opt-out of one that sends
    transactional messages too would block those. A pause is no opt-out.

    --opt-ins tells of whoever Twilio blocks and who has said yes again by their own later act: on
    a page, by a confirmed opt-in, or by a START that Twilio did not read as one. Never of a
    toll-free number: its carrier alone ends that, with START.
    """
    from webhooks.twilio import consenting
    from webhooks.twilio.patient import Stopped
    from webhooks.twilio.sending import NoToken

    failed = 0
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        for sender in _marketing(found):
            try:
                done = consenting.push(
                    opened, found, sender, opt_ins=opt_ins, dry_run=dry_run, sleep=time.sleep
                )
            except NoToken:
                raise click.ClickException(f"{_no_token(sender.account)}.") from None
            except Stopped as error:
                raise click.ClickException(
                    f"{error}. What was told stays told; another run goes on from there."
                ) from None
            told = {"sender": sender.identity, "opt_outs": done.opt_outs, "opt_ins": done.opt_ins}
            errors = {str(code): count for code, count in sorted(done.errors.items())}
            print_json({"dry_run": True, **told} if dry_run else {**told, "errors": errors})
            failed += done.errors.total()
    if failed:
        raise click.ClickException(
            f"Twilio did not take {failed} of them; https://www.twilio.com/docs/api/errors tells "
            "what the codes mean."
        )


def _marketing(tenant: Tenant) -> list[Sender]:
    from webhooks.twilio import consenting

    if found := consenting.marketing(tenant):
        return found
    raise click.ClickException(
        "No sender of Twilio's is for marketing alone, and an opt-out of any other would block its "
        "transactional messages: give marketing a sender of its own, with the purpose marketing."
    )


@twilio.command("differences")
@click.option("--list", "listed", is_flag=True, help="Show the numbers, masked.")
@of_tenant
@told
def differences_command(listed: bool, tenant: str | None) -> None:
    """Show where Twilio and prefs differ about whom marketing senders may text.

    Twilio has no list of whom it blocks. Its side is what the ledger knows that it was told: STOPs
    to that sender that Twilio or the carrier took for one, and messages that it refused (21610),
    until a START that it took; and what `prefs twilio push` has told it. A STOP that neither a
    webhook nor `prefs twilio reconcile` has brought, and what was done in Twilio's console, are
    not in it; nor are items that Twilio did not take.

    "Twilio blocks, we would send": they must text START, or have come back by their own act, which
    `prefs twilio push --opt-ins` tells Twilio. "We would not send, Twilio would deliver": `prefs
    twilio push` tells Twilio.
    """
    from webhooks.twilio import consenting

    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        for sender in _marketing(found):
            differing = consenting.differences(opened, found, sender)
            click.echo(sender.identity)
            for name, addresses in (
                ("Twilio blocks, we would send", differing.twilio_blocks),
                ("We would not send, Twilio would deliver", differing.we_are_stricter),
            ):
                click.echo(f"  {name}: {len(addresses)}")
                for address in addresses if listed else ():
                    click.echo(f"    {address.masked}")
