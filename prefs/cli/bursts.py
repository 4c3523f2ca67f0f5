"""Opt-outs that look like a machine's: list them, undo one."""

import getpass
from collections import Counter
from datetime import UTC, datetime

import click

from prefs import bursts
from prefs.address import Channel
from prefs.bursts import Became, Burst, Member, Touched
from prefs.cli.begin import day, of_tenant, opened_installation, printable, tenant_named, told
from prefs.directory import Tenant
from prefs.policy import Millis, Verdict

MOMENT = click.DateTime(["%Y-%m-%d", "%Y-%m-%dT%H:%M", "%Y-%m-%dT%H:%M:%S"])


@click.group()
def burst() -> None:
    """Opt-outs through links that look like a machine's. All of them are in force."""


@burst.command("list")
@click.option("--since", type=MOMENT, help="UTC; the last seven days if it is not given.")
@click.option("--until", type=MOMENT, help="UTC.")
@of_tenant
@told
def list_bursts(since: datetime | None, until: datetime | None, tenant: str | None) -> None:
    """Show the bursts: which they are, why they are flagged, what an undo would touch."""
    end = None if until is None else _millis(until)
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        begin: Millis | None = (
            (opened.clock() if end is None else end) - bursts.LOOK_BACK
            if since is None
            else _millis(since)
        )
        none = True
        while begin is not None and (end is None or begin < end):
            with opened.database.reading() as connection:
                seen, begin = bursts.find(connection, found, begin, end)
            for one in seen:
                none = False
                _show(one)
    if none:
        click.echo("No opt-outs that look like a machine's.")


def _millis(moment: datetime) -> Millis:
    return int(moment.replace(tzinfo=UTC).timestamp() * 1000)


def _show(one: Burst) -> None:
    click.echo(f"{one.id}  {day(one.started)}  {one.why}")
    waiting = sum(bool(member.waiting) for member in one.members)
    repeated = sum(any(out.repeated for out in member.outs) for member in one.members)
    click.echo(f"     an undo touches {waiting} of them; {repeated} have said no again since")
    about = (
        ("domain", _domains(one)),
        ("campaign", one.campaigns),
        ("user agent", one.user_agents),
    )
    for name, texts in about:
        for text in texts:
            click.echo(f"     {name}: {printable(text)}")


def _domains(one: Burst) -> list[str]:
    """The email domains that so many left of as make a burst, with how many."""
    known = [member.address for member in one.members if member.address is not None]
    emails = [address for address in known if address.channel is Channel.EMAIL]
    counted = Counter(address.value.rpartition("@")[2] for address in emails)
    return [f"{it} ({count})" for it, count in counted.most_common() if count >= bursts.AT_LEAST]


@burst.command("undo")
@click.argument("burst_id", metavar="ID")
@click.option("--reason", required=True, help="Why this was a machine; kept as evidence.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@of_tenant
@told
def undo_burst(burst_id: str, reason: str, yes: bool, tenant: str | None) -> None:
    """Take back the outs of the burst ID, except of whoever has said no again since."""
    with opened_installation() as opened:
        found = tenant_named(opened, tenant)
        bursts.reasoned(reason)
        with opened.database.reading() as connection:
            shown = bursts.named(connection, found, burst_id)
        _show(shown)
        for member in shown.members:
            click.echo(f"     {_told(found, member)}")
        if not yes and any(member.waiting for member in shown.members):
            click.confirm(
                "These outs are taken back, and what else was said stands. Go on?", abort=True
            )
        by, undone, left = f"command, by {getpass.getuser()}", 0, 1
        while left:
            with opened.database.writing() as connection:
                done = bursts.undo(connection, found, shown, reason, by, opened.clock())
            with opened.database.reading() as connection:
                shown = bursts.named(connection, found, burst_id)
            left, undone = done.left, undone + done.count(Became.UNDONE)
            for one in done.touched:
                if one.became is Became.UNDONE and (why := _still_out(one)):
                    click.echo(f"     {_address(one.member)} stays out: {why}")
    click.echo(f"Undone for {undone}; {done.count(Became.REPEATED)} have said no again.")


def _address(member: Member) -> str:
    return "(an address not known)" if member.address is None else member.address.masked


def _told(tenant: Tenant, member: Member) -> str:
    outs = [
        f"{out.seq} of {tenant.told(out.scope)}"
        + (" (undone)" if out.undone else " (said again)" if out.repeated else "")
        for out in member.outs
    ]
    return f"{_address(member)}  {', '.join(outs)}"


def _still_out(one: Touched) -> str:
    still = [turn for turn in one.turns if turn.after.verdict is not Verdict.ALLOW]
    return ", ".join(f"{turn.topic.slug} {turn.after.reason}" for turn in still)
