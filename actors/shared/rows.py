"""Inserts: many rows by their columns, and rows that may be there already."""

from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import asyncpg
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

Columns = dict[str, list[Any]]


async def insert_missing(
    connection: AsyncConnection, table: Table, columns: Columns, **same: Any
) -> Sequence[int]:
    """Insert rows, ignoring existing keys; return the first key column of the new rows.

    Args:
        connection: a transaction.
        table: the table.
        columns: the rows, sorted by key: concurrent transactions that insert the same keys wait
            for each other in the order of the rows.
        **same: columns, not of the key, that have the same value in all rows. To pass a time is
            the most expensive of all.
    """
    if not any(columns.values()):
        return []
    if connection.dialect.name == "postgresql":
        statement = _insert_missing(table, tuple(columns), tuple(same))
        values = (*columns.values(), *same.values())
        result = await connection.exec_driver_sql(statement, values)
    else:
        insert = sqlite.insert(table).on_conflict_do_nothing().returning(_key(table))
        result = await connection.execute(insert, [row | same for row in _as_rows(columns)])
    return [row[0] for row in result]


async def insert_all(connection: AsyncConnection, table: Table, columns: Columns) -> None:
    """Insert rows that aren't there yet, as the caller has made sure."""
    if not any(columns.values()):
        return
    if connection.dialect.name == "postgresql":
        statement = _insert_unnest(table, tuple(columns))
        await connection.exec_driver_sql(statement, tuple(columns.values()))
    else:
        await connection.execute(table.insert(), _as_rows(columns))


async def copy_all(connection: AsyncConnection, table: Table, columns: Columns) -> None:
    """Insert rows as `insert_all` does; on PostgreSQL by COPY, which takes a third of the CPU.

    Raises:
        IntegrityError: a row exists; go back to a savepoint then.
        DBAPIError: PostgreSQL refuses them for another reason.
        TimeoutError: it doesn't answer.
    """
    if connection.dialect.name != "postgresql" or not any(columns.values()):
        await insert_all(connection, table, columns)
        return
    raw = await connection.get_raw_connection()
    assert raw.driver_connection is not None, "the connection is open"
    try:
        await raw.driver_connection.copy_records_to_table(
            table.name, columns=list(columns), records=zip(*columns.values(), strict=True)
        )
    except asyncpg.IntegrityConstraintViolationError as error:
        raise IntegrityError(None, None, error) from None
    except asyncpg.PostgresError as error:
        raise DBAPIError(None, None, error) from None


def insert_into(connection: AsyncConnection, table: Table) -> Any:
    """Begin an INSERT in the database's dialect, which can say what is to happen on a conflict."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


async def upsert(
    connection: AsyncConnection, table: Table, key: Mapping[str, Any], values: Mapping[str, Any]
) -> None:
    """Insert a row, or update these values of the one that is there."""
    insert = insert_into(connection, table).values(**key, **values)
    await connection.execute(
        insert.on_conflict_do_update(index_elements=list(key), set_=dict(values))
    )


def _key(table: Table) -> Any:
    return next(iter(table.primary_key))


def _as_rows(columns: Columns) -> list[dict[str, Any]]:
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


@cache
def _insert_missing(table: Table, names: tuple[str, ...], same: tuple[str, ...]) -> str:
    key = postgresql.dialect().identifier_preparer.quote(_key(table).name)
    insert = _insert_unnest(table, names, same)
    return f"{insert} ON CONFLICT DO NOTHING RETURNING {key}"


@cache
def _insert_unnest(table: Table, names: tuple[str, ...], same: tuple[str, ...] = ()) -> str:
    dialect = postgresql.dialect()
    typed = [
        f"${number}::{table.c[name].type.compile(dialect)}"
        for number, name in enumerate((*names, *same), 1)
    ]
    arrays = ", ".join(f"{one}[]" for one in typed[: len(names)])
    selected = ", ".join(["*", *typed[len(names) :]])
    into = ", ".join(map(dialect.identifier_preparer.quote, (*names, *same)))
    return f"INSERT INTO {table.name} ({into}) SELECT {selected} FROM unnest({arrays})"
