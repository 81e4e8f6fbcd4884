"""Gaps: positions of a source that were skipped permanently, for an import of history to fill."""

from collections.abc import Iterable
from datetime import datetime
from itertools import groupby

from sqlalchemy import delete, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.tables import GAPS, LEDGER
from streams.sources.step import Gap


async def record_gaps(
    connection: AsyncConnection, source: str, gaps: Iterable[Gap], now: datetime
) -> None:
    """Insert gaps in the caller's transaction and delete their holes from the ledger.

    Adjacent gaps with the same reason are merged. Idempotent.
    """
    for gap in merged(gaps):
        await connection.execute(
            delete(LEDGER).where(
                LEDGER.c.source == source,
                LEDGER.c.position.between(gap.first, gap.last),
                LEDGER.c.killmail_hash.is_(None),
                LEDGER.c.reference.is_(None),
                LEDGER.c.object_id.is_(None),
            )
        )
        adjacent = (
            GAPS.c.source == source,
            GAPS.c.reason == gap.reason,
            GAPS.c.first_position <= gap.last + 1,
            GAPS.c.last_position >= gap.first - 1,
        )
        ends = select(GAPS.c.first_position, GAPS.c.last_position).where(*adjacent)
        found = [Gap(first, last, gap.reason) for first, last in await connection.execute(ends)]
        (whole,) = merged([gap, *found])
        await connection.execute(delete(GAPS).where(*adjacent))
        await _insert(connection, source, whole, now)


def merged(gaps: Iterable[Gap]) -> list[Gap]:
    """Merge gaps with the same reason that overlap or are adjacent."""
    joined: list[Gap] = []
    ordered = sorted(gaps, key=lambda gap: (gap.reason, gap.first))
    for reason, same in groupby(ordered, key=lambda gap: gap.reason):
        for gap in same:
            last = joined[-1] if joined and joined[-1].reason == reason else None
            if last and gap.first <= last.last + 1:
                joined[-1] = Gap(last.first, max(last.last, gap.last), reason)
            else:
                joined.append(gap)
    return joined


async def _insert(connection: AsyncConnection, source: str, gap: Gap, now: datetime) -> None:
    """Insert a gap; replaces one with another reason at the same first position."""
    same_begin = (GAPS.c.source == source, GAPS.c.first_position == gap.first)
    other = await connection.scalar(select(GAPS.c.last_position).where(*same_begin))
    if other is not None:
        await connection.execute(delete(GAPS).where(*same_begin))
    row = {
        "source": source,
        "first_position": gap.first,
        "last_position": max(gap.last, other or gap.last),
        "reason": gap.reason,
        "recorded_at": now,
    }
    await connection.execute(insert(GAPS).values(row))
