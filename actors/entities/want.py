"""Have entities refreshed that a killmail mentions or a reader looks at."""

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.entities.kinds import Kind
from actors.shared.among import among
from actors.shared.rows import Columns, insert_missing

SEEN_AGAIN: Final = timedelta(hours=1)
"""How exactly `seen_at` is known."""


async def want(
    connection: AsyncConnection, kind: Kind, ids: Collection[int], *, is_seen: bool = False
) -> int:
    """Have ids refreshed of which ESI may be asked again; cheap, and safe to call again.

    Asks nothing itself: `schedule_refreshes` sends what is due, within the bound per hour.

    Args:
        connection: a transaction. Rows that others have locked are left to them.
        kind: what they are.
        ids: ids, known or not.
        is_seen: whether a live killmail mentions them.

    Returns:
        How many weren't waiting before and are now.
    """
    wanted = sorted({id_ for id_ in ids if id_ > 0})
    if not wanted:
        return 0
    now = datetime.now(UTC)
    columns: Columns = {kind.key.name: wanted}
    seen_at = now if is_seen else None
    new = set(
        await insert_missing(
            connection, kind.table, columns, state="unknown", next_refresh_at=now, seen_at=seen_at
        )
    )
    existing = [id_ for id_ in wanted if id_ not in new]
    due = await want_known(connection, kind, existing)
    if is_seen:
        last_seen_at = kind.table.c.seen_at
        is_old = or_(last_seen_at.is_(None), last_seen_at < now - SEEN_AGAIN)
        await _update(connection, kind, existing, is_old, seen_at=now)
    return len(new) + due


async def want_known(connection: AsyncConnection, kind: Kind, ids: Collection[int]) -> int:
    """Do the same for ids that are known already; others are ignored.

    For readers: they don't choose the ids that ESI is asked for, killmails do.
    """
    now = datetime.now(UTC)
    columns = kind.table.c
    is_free = columns.next_refresh_at.is_(None)
    is_old = or_(columns.expires_at.is_(None), columns.expires_at <= now)
    return await _update(connection, kind, ids, is_free & is_old, next_refresh_at=now)


async def _update(
    connection: AsyncConnection, kind: Kind, ids: Collection[int], where: Any, **values: Any
) -> int:
    """Update rows, locked in the order of their ids; return how many."""
    if not ids:
        return 0
    locked = (
        select(kind.key)
        .where(among(kind.key, ids), where)
        .order_by(kind.key)
        .with_for_update(skip_locked=True)
    )
    found = list((await connection.scalars(locked)).all())
    if found:
        await connection.execute(update(kind.table).where(among(kind.key, found)).values(**values))
    return len(found)
