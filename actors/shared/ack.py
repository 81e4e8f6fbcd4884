"""Acknowledge positions of a source whose data is durable: delete their ledger entries."""

from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.among import among
from actors.shared.tables import LEDGER


class Acked(NamedTuple):
    """A ledger entry that was deleted."""

    source: str
    received_at: datetime


async def ack(connection: AsyncConnection, positions: Iterable[tuple[str, int]]) -> list[Acked]:
    """Delete the ledger entries of these positions, in the caller's transaction; return them.

    Rows are locked in the order of position, so that concurrent transactions don't deadlock.
    """
    acked: list[Acked] = []
    by_source: dict[str, list[int]] = defaultdict(list)
    for source, position in positions:
        by_source[source].append(position)
    for source, durable in sorted(by_source.items()):
        locked = (
            select(LEDGER.c.position)
            .where(LEDGER.c.source == source, among(LEDGER.c.position, durable))
            .order_by(LEDGER.c.position)
            .with_for_update()
        )
        deleted = await connection.execute(
            delete(LEDGER)
            .where(LEDGER.c.source == source, LEDGER.c.position.in_(locked))
            .returning(LEDGER.c.received_at)
        )
        acked += [Acked(source, received_at) for received_at in deleted.scalars()]
    return acked
