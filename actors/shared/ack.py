"""Settle places of a source: what came from there is durable, so the ledger forgets it."""

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.rows import among
from actors.shared.tables import LEDGER


async def ack(connection: AsyncConnection, places: Iterable[tuple[str, int]]) -> None:
    """Delete the ledger's rows of these places, in the caller's transaction.

    Rows are locked by position, so that transactions over the same places queue up.
    """
    by_source: dict[str, list[int]] = defaultdict(list)
    for source, position in places:
        by_source[source].append(position)
    for source, positions in sorted(by_source.items()):
        held = (
            select(LEDGER.c.position)
            .where(LEDGER.c.source == source, among(connection, LEDGER.c.position, positions))
            .order_by(LEDGER.c.position)
            .with_for_update()
        )
        await connection.execute(
            delete(LEDGER).where(LEDGER.c.source == source, LEDGER.c.position.in_(held))
        )
