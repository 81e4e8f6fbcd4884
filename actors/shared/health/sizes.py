"""Read the sizes of the database and its tables, without a scan of large ones."""

from typing import Any, Final

from sqlalchemy import Table, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.health.facts import EXACT_ROWS, Sizes, TableSize
from actors.shared.tables import ATTACKERS, KILLMAILS, METADATA

LARGEST: Final = 8
"""Tables of which the size is shown."""
DBSTAT_BYTES: Final = 512 * 2**20
"""Size up to which an SQLite file is read whole for the sizes of its tables, in about a second."""

_POSTGRESQL_TABLES: Final = text(
    "SELECT name, pg_total_relation_size(to_regclass(name)), pg_indexes_size(to_regclass(name))"
    " FROM unnest(CAST(:names AS text[])) AS name WHERE to_regclass(name) IS NOT NULL"
)
_SQLITE_TABLES: Final = text(
    "SELECT tbl_name, sum(pgsize), sum(iif(type = 'index', pgsize, 0))"
    " FROM dbstat JOIN sqlite_master USING (name) WHERE aggregate = TRUE GROUP BY tbl_name"
)


async def count_rows(connection: AsyncConnection, table: Table, *where: Any) -> int:
    """Count rows up to `EXACT_ROWS`; beyond, estimate those of the table with any content."""
    bounded = select(literal(1)).select_from(table).where(*where).limit(EXACT_ROWS + 1).subquery()
    counted = int(await connection.scalar(select(func.count()).select_from(bounded)) or 0)
    return counted if counted <= EXACT_ROWS else max(counted, await _estimate(connection, table))


async def _estimate(connection: AsyncConnection, table: Table) -> int:
    """Estimate a table's rows.

    PostgreSQL's planner knows the rows per page since the last analysis, and the pages of now. On
    SQLite rows are numbered as they are inserted.
    """
    if connection.dialect.name == "postgresql":
        plan = await connection.scalar(text(f"EXPLAIN (FORMAT JSON) SELECT FROM {table.name}"))
        return int(plan[0]["Plan"]["Plan Rows"])
    numbers = text(
        f"SELECT (SELECT max(rowid) FROM {table.name}) - min(rowid) + 1 FROM {table.name}"
    )
    return int(await connection.scalar(numbers) or 0)


async def read_sizes(connection: AsyncConnection, killmails: int) -> Sizes:
    """Read the sizes of the database and its largest tables.

    Those of tables are unknown where SQLite can't tell them, or not without reading a large file.

    Args:
        connection: the database.
        killmails: the number of killmails.
    """
    database_bytes, tables = await _sizes(connection)
    largest = sorted(tables, key=lambda name: -tables[name][0])[:LARGEST]

    def per_killmail(table: Table) -> int | None:
        total_bytes, _ = tables.get(table.name, (0, 0))
        return round(total_bytes / killmails) if total_bytes and killmails else None

    return Sizes(
        database_bytes=database_bytes,
        bytes_per_killmail=per_killmail(KILLMAILS),
        attackers_bytes_per_killmail=per_killmail(ATTACKERS),
        tables={
            name: TableSize(*tables[name], await count_rows(connection, METADATA.tables[name]))
            for name in largest
        },
    )


async def _sizes(connection: AsyncConnection) -> tuple[int, dict[str, tuple[int, int]]]:
    """Read the database's bytes, and each table's with and of its indexes."""
    if connection.dialect.name == "postgresql":
        size = text("SELECT pg_database_size(current_database())")
        database_bytes = int(await connection.scalar(size) or 0)
        found = await connection.execute(_POSTGRESQL_TABLES, {"names": list(METADATA.tables)})
    else:
        size = text("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size")
        database_bytes = int(await connection.scalar(size) or 0)
        has_dbstat = text("SELECT sqlite_compileoption_used('ENABLE_DBSTAT_VTAB')")
        if database_bytes > DBSTAT_BYTES or not await connection.scalar(has_dbstat):
            return database_bytes, {}
        found = await connection.execute(_SQLITE_TABLES)
    return database_bytes, {
        name: (int(total), int(indexes))
        for name, total, indexes in found
        if name in METADATA.tables
    }
