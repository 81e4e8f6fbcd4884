"""Small writes beside reading: no answer waits for them or fails with them."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from typing import Final

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.outage import Outage

MAX_WAITING: Final = 1_000
CLOSE_S: Final = 1.0

Write = Callable[[AsyncConnection], Awaitable[object]]


class BackgroundWrites:
    """Runs writes one after another, each in a transaction of its own.

    For what may get lost: a write that fails isn't repeated, and what waits meanwhile is dropped.
    """

    def __init__(self, database: AsyncEngine) -> None:
        self._database = database
        self._waiting: dict[Hashable, Write] = {}
        self._running: asyncio.Task[None] | None = None
        self._outage = Outage("the database, for writes beside reading")

    def add(self, key: Hashable, write: Write) -> None:
        """Have a write run soon; does nothing while one with this key waits, or too many do."""
        if key in self._waiting or len(self._waiting) >= MAX_WAITING:
            return
        self._waiting[key] = write
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._run(), name="background writes")

    async def close(self) -> None:
        """Wait up to `CLOSE_S` for the writes."""
        if self._running is not None:
            await asyncio.wait([self._running], timeout=CLOSE_S)
            self._running.cancel()

    async def _run(self) -> None:
        while self._waiting:
            key = next(iter(self._waiting))
            try:
                async with self._database.begin() as connection:
                    await self._waiting[key](connection)
            except (SQLAlchemyError, OSError, TimeoutError) as error:
                self._outage.failed(error)
                self._waiting.clear()
            else:
                self._outage.worked()
                del self._waiting[key]


@asynccontextmanager
async def open_background_writes(database: AsyncEngine) -> AsyncIterator[BackgroundWrites]:
    """Open what writes in the background; its last writes may take `CLOSE_S`."""
    writes = BackgroundWrites(database)
    try:
        yield writes
    finally:
        await writes.close()
