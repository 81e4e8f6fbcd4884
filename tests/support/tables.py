"""What stands in the tables."""

from typing import Any

from sqlalchemy import Table, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.tables import FEED


async def rows(database: AsyncEngine, table: Table) -> list[dict[str, Any]]:
    """Read a table in the order of its key."""
    async with database.connect() as connection:
        found = await connection.execute(select(table).order_by(*table.primary_key))
        return [dict(row._mapping) for row in found]


async def feed_of(database: AsyncEngine) -> list[tuple[int, int, str]]:
    """Read the feed: sequence, killmail_id, kind."""
    return [
        (row["sequence"], row["killmail_id"], row["kind"]) for row in await rows(database, FEED)
    ]
