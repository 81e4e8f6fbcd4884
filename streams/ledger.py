"""The ledger: what was read of a source and isn't durable yet, and how far the source was read.

Both are written in one transaction before a reference goes on; storing a killmail deletes its
place. So after any crash the cursor says where to go on, and the places that stayed say what may
have been lost on the way.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import func, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.ack import ack
from actors.shared.database import reading
from actors.shared.rows import insert_missing
from actors.shared.tables import CURSORS, LEDGER


@dataclass(frozen=True, slots=True)
class LedgerEntry:
    """A place that isn't durable; `reference` where the upstream gives it only once."""

    position: int
    reference: bytes | None


async def read_cursor(database: AsyncEngine, source: str) -> int | None:
    """Tell how far a source was read; None when it never was."""
    async with reading(database) as connection:
        position: int | None = await connection.scalar(
            select(CURSORS.c.position).where(CURSORS.c.source == source)
        )
        return position


async def record(
    database: AsyncEngine,
    source: str,
    cursor: int,
    places: Mapping[int, bytes | None],
    acked: Iterable[int] = (),
) -> None:
    """Write down what was read and how far, in one transaction. Idempotent.

    A place that is noted already stays as it is.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        if places:
            positions = sorted(places)
            await insert_missing(
                connection,
                LEDGER,
                {
                    "source": [source] * len(positions),
                    "position": positions,
                    "reference": [places[position] for position in positions],
                    "kind": ["received"] * len(positions),
                    "received_at": [now] * len(positions),
                    "next_try_at": [now] * len(positions),
                },
            )
        await ack(connection, [(source, position) for position in acked])
        await _set_cursor(connection, source, cursor)


async def overdue(
    database: AsyncEngine, source: str, *, before: datetime, after: int, limit: int
) -> list[LedgerEntry]:
    """List places that were received before a time and aren't durable yet.

    By position, from behind `after`, at most `limit`.
    """
    query = (
        select(LEDGER.c.position, LEDGER.c.reference)
        .where(LEDGER.c.source == source, LEDGER.c.position > after, LEDGER.c.received_at < before)
        .order_by(LEDGER.c.position)
        .limit(limit)
    )
    async with reading(database) as connection:
        return [LedgerEntry(*row) for row in await connection.execute(query)]


async def low_water(database: AsyncEngine, source: str) -> int | None:
    """Tell up to which place everything is durable; None when the source was never read."""
    first = select(func.min(LEDGER.c.position)).where(LEDGER.c.source == source).scalar_subquery()
    query = select(CURSORS.c.position, first).where(CURSORS.c.source == source)
    async with reading(database) as connection:
        row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None
    cursor, oldest = row
    return int(cursor if oldest is None else min(cursor, oldest - 1))


async def _set_cursor(connection: AsyncConnection, source: str, cursor: int) -> None:
    postgres = connection.dialect.name == "postgresql"
    insert = (postgresql.insert if postgres else sqlite.insert)(CURSORS)
    row = {"source": source, "position": cursor, "updated_at": datetime.now(UTC)}
    await connection.execute(
        insert.on_conflict_do_update(
            index_elements=[CURSORS.c.source],
            set_={"position": insert.excluded.position, "updated_at": insert.excluded.updated_at},
        ),
        row,
    )
