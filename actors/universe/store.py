"""Replace the static universe in the database, in one transaction that writes what differs.

What is stored is compared before the transaction, which therefore holds SQLite's write lock only
for the rows that change.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Table, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.among import among
from actors.shared.daemon import in_daemon
from actors.shared.database import reading
from actors.shared.errors import Invalid
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import METADATA, UNIVERSE
from actors.universe.archive import Tables
from actors.universe.records import FILES, Row

BATCH: Final = 5_000
"""Rows of one statement, so that none holds the event loop up for long."""
MIN_SHARE: Final = 0.9
"""Fewer rows of a table than this share of what is stored: something is missing in the archive."""
_SQLITE: Final = sqlite.dialect(paramstyle="qmark")


class FewerRows(Invalid):
    """An archive has much fewer rows than what is loaded."""


class Difference(NamedTuple):
    """What has to change in one table."""

    table: Table
    gone: list[int]
    """Ids of rows that are to be deleted, of changed rows too."""
    new: list[Row]
    """Rows that are to be inserted, with those that changed."""


async def stored_universe(database: AsyncEngine) -> Any:
    """Read the row that says what is loaded; None before the first check."""
    async with reading(database) as connection:
        return (await connection.execute(select(UNIVERSE))).one_or_none()


async def replace_universe(
    database: AsyncEngine, tables: Tables, *, force: bool = False, **values: Any
) -> int:
    """Make the tables equal to an archive's; return the number of rows that changed.

    Readers see the universe from before or after. Safe to run several times at once.

    Args:
        database: Where.
        tables: All rows.
        force: Also if there are much fewer rows than before.
        **values: New values of the table `universe`.

    Raises:
        FewerRows: a table has much fewer rows than before.
    """
    while True:
        before = await stored_universe(database)
        differences = [await _difference(database, METADATA.tables[n], tables[n]) for n in tables]
        if not force:
            await _check_shares(database, tables)
        async with database.begin() as connection:
            await ensure_universe(connection)  # what can be locked
            locked = await connection.execute(select(UNIVERSE).with_for_update())
            if _version(locked.one()) != _version(before):
                continue  # another process loaded meanwhile
            for difference in differences:
                await _apply(connection, difference)
            await write_universe(connection, **values)
        return sum(max(len(one.gone), len(one.new)) for one in differences)


async def write_universe(connection: AsyncConnection, **values: Any) -> None:
    """Update the one row of `universe`."""
    await connection.execute(update(UNIVERSE).values(**values))


async def ensure_universe(connection: AsyncConnection) -> None:
    """Insert the one row of `universe` when it is missing; its check is due then."""
    columns: Columns = {"only": [1], "next_check_at": [datetime.now(UTC)]}
    await insert_missing(connection, UNIVERSE, columns)


async def count_rows(database: AsyncEngine) -> dict[str, int]:
    """Count the rows of each table."""
    counts = {}
    async with reading(database) as connection:
        for file in FILES:
            counted = await connection.scalar(select(func.count()).select_from(file.table))
            counts[file.table.name] = counted or 0
    return counts


def _version(row: Any) -> datetime | None:
    return row.loaded_at if row else None


async def _check_shares(database: AsyncEngine, tables: Tables) -> None:
    for name, stored in (await count_rows(database)).items():
        if len(tables[name]) < MIN_SHARE * stored:
            raise FewerRows(
                f"the archive has {len(tables[name]):,} rows for {name}, and {stored:,} are loaded"
            )


async def _difference(database: AsyncEngine, table: Table, rows: dict[int, Row]) -> Difference:
    (key,) = table.primary_key
    stored: dict[int, Row] = {}
    page = select(table).where(key > bindparam("after")).order_by(key).limit(BATCH)
    async with reading(database) as connection:
        while found := (await connection.execute(page, {"after": max(stored, default=-1)})).all():
            stored |= {row[0]: tuple(row) for row in found}
    return await in_daemon(partial(_compare, table, stored, rows), "universe compare")


def _compare(table: Table, stored: dict[int, Row], rows: dict[int, Row]) -> Difference:
    gone = [key for key, row in stored.items() if rows.get(key) != row]
    new = [row for key, row in rows.items() if stored.get(key) != row]
    return Difference(table, sorted(gone), sorted(new))


async def _apply(connection: AsyncConnection, difference: Difference) -> None:
    table = difference.table
    (key,) = table.primary_key
    for ids in _batches(difference.gone):
        await connection.execute(delete(table).where(among(key, ids)))
    for rows in _batches(difference.new):
        await _insert(connection, table, rows)


async def _insert(connection: AsyncConnection, table: Table, rows: list[Row]) -> None:
    if connection.dialect.name == "postgresql":
        columns = zip(table.c, zip(*rows, strict=True), strict=True)
        await insert_missing(
            connection, table, {column.name: list(values) for column, values in columns}
        )
    else:
        statement = str(insert(table).compile(dialect=_SQLITE))
        await connection.exec_driver_sql(statement, rows)


def _batches(values: Sequence[Any]) -> Any:
    rest = iter(values)
    while batch := list(islice(rest, BATCH)):
        yield batch
