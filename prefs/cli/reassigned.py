"""Numbers that the FCC's Reassigned Numbers Database says belong to somebody else now."""

from collections import Counter
from typing import BinaryIO

import click

from prefs.address import BadAddress, Channel
from prefs.cli.begin import of_tenant, opened_installation, print_json, tenant_named, told

_ANSWERS = {"yes": "yes", "no": "no", "nodata": "no_data"}
"""What the database answers, in 47 CFR 64.1200(m) and the Bureau's guidance (DA 21-1649)."""


@click.command("reassigned")
@click.argument("file", type=click.File("rb"))
@click.option("--column", help="The column that holds the numbers.")
@click.option("--answers", metavar="COLUMN", help="The column that holds yes, no or no data.")
@click.option("--region", default="US", show_default=True, help="Of numbers without a +.")
@of_tenant
@told
def reassigned(
    file: BinaryIO, column: str | None, answers: str | None, region: str, tenant: str | None
) -> None:
    """End the consents of numbers that have a new owner.

    FILE is what the FCC's Reassigned Numbers Database (reassigned.us) answered: a number a row,
    and yes, no or no data. Only yes counts. Nobody becomes known by it, and every no stays.
    """
    from prefs import texts
    from prefs.sheets import readable_twice
    from prefs.sheets.rows import BadSheet, Row, Sheet
    from prefs.texts.reassigning import AT_ONCE

    def bare(row: Row, index: int) -> str:
        cell = row.cells[index] if index < len(row.cells) else ""
        return "".join(cell.split()).replace("_", "").casefold()

    def answered(sheet: Sheet, rows: list[Row]) -> int:
        """Where the answers are."""
        if answers is not None:
            return sheet.column(answers, "--answers")
        told = [row for row in rows if row.cells and row is not sheet.header]
        width = max((len(row.cells) for row in told), default=0)
        fits = [i for i in range(width) if all(bare(row, i) in _ANSWERS for row in told)]
        if len(fits) != 1:
            raise BadSheet("which column holds yes, no or no data? Name it with --answers")
        return fits[0]

    done: Counter[str] = Counter()
    with opened_installation() as opened, readable_twice(file) as (source, digest):
        found = tenant_named(opened, tenant)
        sheet, index = Sheet(source), None
        try:
            sheet.find(Channel.SMS, region, column)
            while rows := sheet.take(AT_ONCE):
                index = answered(sheet, rows) if index is None else index
                numbers: list[str] = []
                for row in rows:
                    if row.blank or row is sheet.header:
                        continue
                    try:
                        number = sheet.address(row).value
                    except BadAddress:
                        done["unreadable"] += 1
                        continue
                    answer = _ANSWERS.get(bare(row, index), "unreadable")
                    done[answer] += 1
                    if answer == "yes":
                        numbers.append(number)
                with opened.database.writing() as connection:
                    ended = texts.reassigned(
                        connection,
                        found,
                        numbers,
                        source="reassigned numbers database",
                        report=digest,
                        door="reassigned numbers",
                        now=opened.clock(),
                    )
                done.update(blocked=ended.blocked, already=ended.already)
        except BadSheet as error:
            raise click.ClickException(str(error)) from None
    print_json({n: done[n] for n in ("yes", "no", "no_data", "unreadable", "blocked", "already")})
