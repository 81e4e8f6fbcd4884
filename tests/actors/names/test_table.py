"""Names in the table: reading them waits for no writer."""

import asyncio
from datetime import UTC, datetime

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.esi.answer import EsiName
from actors.names.table import one_known, read_names, write_names
from actors.shared.tables import NAMES

CHARACTER_ID = 95_000_001


async def test_reads_wait_for_no_writer(database: AsyncEngine) -> None:
    await write_names(database, [EsiName(CHARACTER_ID, "Ada", "character")])
    async with database.begin() as writing:
        await writing.execute(insert(NAMES).values(id=1, checked_at=datetime.now(UTC)))
        async with asyncio.timeout(2):
            assert (await read_names(database, [CHARACTER_ID]))[CHARACTER_ID].name == "Ada"
            assert await one_known(database, "character", ()) == CHARACTER_ID
