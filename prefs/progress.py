"""Up to where something that is read little by little has been read."""

from sqlalchemy import Connection, select

from prefs import database, tables


def place(connection: Connection, tenant: int, name: str) -> str | None:
    """The place, in its reader's own words; None before the first time."""
    table = tables.progress
    return connection.scalar(
        select(table.c.place).where(table.c.tenant_id == tenant, table.c.name == name)
    )


def move(connection: Connection, tenant: int, name: str, place: str) -> None:
    """All before ``place`` was read, and what it says is kept or is so with this transaction."""
    table = tables.progress
    statement = database.insert(connection, table)
    connection.execute(
        statement.on_conflict_do_update(
            index_elements=[table.c.tenant_id, table.c.name],
            set_={"place": statement.excluded.place},
        ),
        {"tenant_id": tenant, "name": name, "place": place},
    )
