"""Members and corporations of a day, as ESI says on that day."""

from collections.abc import Collection
from datetime import UTC, date, datetime
from typing import Any, Final

from sqlalchemy import BigInteger, Select, bindparam, case, cast, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.among import among
from actors.shared.rows import upsert
from actors.shared.tables import ALLIANCE_SNAPSHOTS, CORPORATION_SNAPSHOTS


async def record_corporation(
    connection: AsyncConnection, corporation_id: int, members: int | None, alliance_id: int | None
) -> None:
    """Record what ESI says now; the last answer of a day holds."""
    key = {"corporation_id": corporation_id, "day": today()}
    await upsert(
        connection, CORPORATION_SNAPSHOTS, key, {"members": members, "alliance_id": alliance_id}
    )


async def record_alliance(connection: AsyncConnection, alliance_id: int, corporations: int) -> None:
    """Record how many corporations ESI lists now."""
    key = {"alliance_id": alliance_id, "day": today()}
    await upsert(connection, ALLIANCE_SNAPSHOTS, key, {"corporations": corporations})


async def sum_members(connection: AsyncConnection, days: Collection[date]) -> int:
    """Add up the members of each alliance on each of these days; return how many sums changed.

    The sum is absent until ESI has said the members of all its corporations on that day. Rows whose
    sum is the same are neither written nor locked, the others are locked in the order of the keys.
    """
    alliances = ALLIANCE_SNAPSHOTS.c
    query = _changed_sums(days).order_by(alliances.day, alliances.alliance_id)
    changed = (await connection.execute(query.with_for_update(of=ALLIANCE_SNAPSHOTS))).all()
    if changed:
        await connection.execute(_UPDATE, [row._asdict() for row in changed])
    return len(changed)


def _changed_sums(days: Collection[date]) -> Select[Any]:
    corporations, alliances = CORPORATION_SNAPSHOTS.c, ALLIANCE_SNAPSHOTS.c
    sums = (
        select(
            corporations.day,
            corporations.alliance_id,
            cast(func.sum(corporations.members), BigInteger).label("members"),
            func.count(corporations.members).label("known"),
        )
        .where(among(corporations.day, days), corporations.alliance_id.is_not(None))
        .group_by(corporations.day, corporations.alliance_id)
        .subquery()
    )
    of_alliance = (sums.c.day == alliances.day) & (sums.c.alliance_id == alliances.alliance_id)
    members = case(
        (alliances.corporations == 0, 0),
        (sums.c.known >= alliances.corporations, sums.c.members),
        else_=None,
    )
    return (
        select(
            alliances.day.label("day_"),
            alliances.alliance_id.label("alliance_id_"),
            members.label("members_"),
        )
        .select_from(ALLIANCE_SNAPSHOTS.outerjoin(sums, of_alliance))
        .where(among(alliances.day, days), alliances.members.is_distinct_from(members))
    )


_UPDATE: Final = (
    update(ALLIANCE_SNAPSHOTS)
    .where(
        ALLIANCE_SNAPSHOTS.c.day == bindparam("day_"),
        ALLIANCE_SNAPSHOTS.c.alliance_id == bindparam("alliance_id_"),
    )
    .values(members=bindparam("members_"))
)


def today() -> date:
    """Return the day, UTC."""
    return datetime.now(UTC).date()
