"""Rows into tables in bulk, by column: unnest on PostgreSQL, executemany on SQLite."""

from collections.abc import Sequence
from functools import cache
from typing import Any

from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Columns = dict[str, list[Any]]


async def insert_missing(
    connection: AsyncConnection, table: Table, columns: Columns
) -> Sequence[int]:
    """Insert the rows whose key isn't there yet; give back the first key column of the new ones.

    Concurrent transactions that insert the same keys wait for each other in the order of the rows,
    so give them sorted.
    """
    if not any(columns.values()):
        return []
    if connection.dialect.name == "postgresql":
        result = await connection.exec_driver_sql(
            _unnest(table, tuple(columns)), tuple(columns.values())
        )
    else:
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        statement = sqlite.insert(table).on_conflict_do_nothing()
        result = await connection.execute(statement.returning(_key(table)), rows)
    return [row[0] for row in result]


def _key(table: Table) -> Any:
    return next(iter(table.primary_key))


@cache
def _unnest(table: Table, names: tuple[str, ...]) -> str:
    dialect = postgresql.dialect()
    arrays = ", ".join(
        f"${i}::{table.c[name].type.compile(dialect)}[]" for i, name in enumerate(names, 1)
    )
    return (
        f"INSERT INTO {table.name} ({', '.join(names)}) SELECT * FROM unnest({arrays})"
        f" ON CONFLICT DO NOTHING RETURNING {_key(table).name}"
    )
