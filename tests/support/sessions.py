"""The sessions that our processes have open at PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import text

from actors.shared.database import open_database, reading
from actors.shared.settings import Settings

SESSIONS = text(
    "SELECT application_name FROM pg_stat_activity WHERE datname = current_database()"
    " AND application_name IN ('killstream/actors', 'killstream/api', 'killstream/health',"
    " 'killstream/migrate', 'killstream/streams')"
)


@asynccontextmanager
async def most_sessions(settings: Settings) -> AsyncIterator[list[list[str]]]:
    """Give, at its end, the names of the most sessions that were open at once."""
    most: list[list[str]] = [[]]

    async def watch() -> None:
        async with open_database(settings, "test") as database, reading(database) as connection:
            while True:
                names = sorted((await connection.scalars(SESSIONS)).all())
                most[0] = max(most[0], names, key=len)
                await asyncio.sleep(0.02)

    watching = asyncio.create_task(watch())
    try:
        yield most
    finally:
        watching.cancel()
        await asyncio.wait([watching])
