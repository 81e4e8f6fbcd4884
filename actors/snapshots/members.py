"""Members and corporations of a day, as ESI says on that day."""

from datetime import UTC, date, datetime
from typing import Any

from sqlalchemy import case, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.tables import ALLIANCE_SNAPSHOTS, CORPORATION_SNAPSHOTS


async def record_corporation(
    connection: AsyncConnection, corporation_id: int, members: int | None, alliance_id: int | None
) -> None:
    """Record what ESI says now; the last answer of a day holds."""
    key = {"corporation_id": corporation_id, "day": today()}
    await _upsert(
        connection, CORPORATION_SNAPSHOTS, key, {"members": members, "alliance_id": alliance_id}
    )


async def record_alliance(connection: AsyncConnection, alliance_id: int, corporations: int) -> None:
    """Record how many corporations ESI lists now."""
    key = {"alliance_id": alliance_id, "day": today()}
    await _upsert(connection, ALLIANCE_SNAPSHOTS, key, {"corporations": corporations})


async def sum_members(connection: AsyncConnection, day: date) -> None:
    """Add up the members of each alliance on a day.

    The sum is absent until ESI has said the members of all its corporations on that day.
    """
    of_day = (CORPORATION_SNAPSHOTS.c.day == day) & CORPORATION_SNAPSHOTS.c.alliance_id.is_not(None)
    corporations, alliances = CORPORATION_SNAPSHOTS.c, ALLIANCE_SNAPSHOTS.c
    sums = (
        select(
            corporations.alliance_id,
            func.sum(corporations.members).label("members"),
            func.count(corporations.members).label("known"),
        )
        .where(of_day)
        .group_by(corporations.alliance_id)
        .subquery()
    )
    is_whole = sums.c.known >= alliances.corporations
    await connection.execute(
        update(ALLIANCE_SNAPSHOTS)
        .where(alliances.day == day, alliances.alliance_id == sums.c.alliance_id)
        .values(members=case((is_whole, sums.c.members), else_=None))
    )
    await connection.execute(
        update(ALLIANCE_SNAPSHOTS)
        .where(alliances.day == day, alliances.corporations == 0)
        .values(members=0)
    )


def today() -> date:
    """Return the day, UTC."""
    return datetime.now(UTC).date()


async def _upsert(
    connection: AsyncConnection, table: Any, key: dict[str, Any], values: dict[str, Any]
) -> None:
    is_postgresql = connection.dialect.name == "postgresql"
    insert: Any = (postgresql.insert if is_postgresql else sqlite.insert)(table)
    await connection.execute(
        insert.values(**key, **values).on_conflict_do_update(index_elements=list(key), set_=values)
    )
