"""What tests put into the ledger, and what they find there."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.reference import Reference
from actors.shared.tables import GAPS, LEDGER
from streams.ledger import Fence, record, take_over
from streams.sources.step import Pending, Step

HASH = "8ef20e05bcced7e543e113b0f33438fd16d664fa"
PATIENCE = timedelta(minutes=15)


def reference(source: str, position: int, killmail_id: int | None = None) -> Reference:
    return Reference(
        source=source,
        position=position,
        as_of=1767793100.0,
        killmail_id=position if killmail_id is None else killmail_id,
        hash=HASH,
    )


async def record_positions(
    database: AsyncEngine,
    source: str,
    cursor: int,
    received: Iterable[int] = (),
    holes: Iterable[int] = (),
) -> Fence:
    """Record what a source would have given, as a process that took it over."""
    fence, _ = await take_over(database, source)
    references = tuple(reference(source, position) for position in received)
    pending = tuple(Pending(position, 10.0) for position in holes)
    step = Step(cursor, references=references, pending=pending)
    await record(database, fence, [step], patience=PATIENCE)
    return fence


async def ledger(database: AsyncEngine, *columns: str) -> list[Any]:
    """List the ledger by position; one column's values, or rows."""
    chosen = [LEDGER.c[name] for name in columns] or list(LEDGER.c)
    async with database.connect() as connection:
        rows = await connection.execute(select(*chosen).order_by(LEDGER.c.position))
        return [row[0] if len(columns) == 1 else row for row in rows]


async def gaps(database: AsyncEngine) -> list[tuple[int, int, str]]:
    columns = (GAPS.c.first_position, GAPS.c.last_position, GAPS.c.reason)
    async with database.connect() as connection:
        rows = await connection.execute(select(*columns).order_by(GAPS.c.first_position))
        return [(first, last, reason) for first, last, reason in rows]


async def change_ledger(database: AsyncEngine, **values: Any) -> None:
    """Set columns of all entries, as time or another process would."""
    async with database.begin() as connection:
        await connection.execute(update(LEDGER).values(values))
