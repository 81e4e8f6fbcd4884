"""Acknowledge positions of a source whose data is durable: delete their ledger entries."""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.rows import among
from actors.shared.tables import LEDGER


async def ack(connection: AsyncConnection, positions: Iterable[tuple[str, int]]) -> None:
    """Delete the ledger entries of these positions, in the caller's transaction.

    Rows are locked in the order of position, so that concurrent transactions don't deadlock.
    """
    by_source: dict[str, list[int]] = defaultdict(list)
    for source, position in positions:
        by_source[source].append(position)
    for source, durable in sorted(by_source.items()):
        locked = (
            select(LEDGER.c.position)
            .where(LEDGER.c.source == source, among(connection, LEDGER.c.position, durable))
            .order_by(LEDGER.c.position)
            .with_for_update()
        )
        await connection.execute(
            delete(LEDGER).where(LEDGER.c.source == source, LEDGER.c.position.in_(locked))
        )
