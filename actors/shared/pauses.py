"""What operators have paused, in the table `pauses`: queues, and the polling of the source.

Every process that consumes or polls reads the table each `WATCH_S`. While the database is
unavailable it continues with what it read last.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

import structlog
from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.background import in_background
from actors.shared.database import reading
from actors.shared.tables import PAUSES

log: Final = structlog.get_logger()

INTAKE: Final = "source"
"""The name under which the intake is paused; queues have their names, without the namespace."""
WATCH_S: Final = 1.5

Watcher = Callable[[frozenset[str]], None]


async def read_pauses(database: AsyncEngine) -> dict[str, datetime]:
    """Return what is paused, with the time since when."""
    async with reading(database) as connection:
        rows = await connection.execute(select(PAUSES).order_by(PAUSES.c.name))
        return {row.name: row.paused_at for row in rows}


async def pause(database: AsyncEngine, names: Collection[str]) -> None:
    """Pause these; what is paused already stays so."""
    dialect: Any = postgresql if database.dialect.name == "postgresql" else sqlite
    values = [{"name": name, "paused_at": datetime.now(UTC)} for name in sorted(names)]
    async with database.begin() as connection:
        await connection.execute(dialect.insert(PAUSES).on_conflict_do_nothing(), values)


async def resume(database: AsyncEngine, names: Collection[str]) -> None:
    """Resume these; what isn't paused stays so."""
    async with database.begin() as connection:
        await connection.execute(delete(PAUSES).where(PAUSES.c.name.in_(names)))


@asynccontextmanager
async def watching_pauses(
    database: AsyncEngine, on_change: Watcher, *, every_s: float = WATCH_S
) -> AsyncIterator[None]:
    """Call `on_change` with what is paused: before the block begins, and at each change.

    A first read that fails counts as nothing paused.
    """
    paused = await _read(database) or frozenset()
    on_change(paused)
    if paused:
        log.info("paused", names=sorted(paused))
    async with in_background(_watch(database, paused, on_change, every_s), "pauses"):
        yield


async def _watch(
    database: AsyncEngine, known: frozenset[str], on_change: Watcher, every_s: float
) -> None:
    while True:
        await asyncio.sleep(every_s)
        paused = await _read(database)
        if paused is not None and paused != known:
            log.info(
                "pauses.changed", paused=sorted(paused - known), resumed=sorted(known - paused)
            )
            known = paused
            on_change(paused)


async def _read(database: AsyncEngine) -> frozenset[str] | None:
    try:
        return frozenset(await read_pauses(database))
    except (SQLAlchemyError, OSError):
        return None  # its other users log the outage
