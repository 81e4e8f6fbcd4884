"""Compute the snapshots of a day, and of all days that have changed."""

import time
from dataclasses import asdict, fields
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final, NamedTuple

import structlog
from sqlalchemy import Column, Table, bindparam, delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.broker import DATABASE_QUEUE, actor
from actors.resources import resources
from actors.shared.database import reading
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import ALLIANCE_SNAPSHOTS, CORPORATION_SNAPSHOTS, SNAPSHOT_DAYS
from actors.snapshots.count import Counts, count_day
from actors.snapshots.days import changed_days
from actors.snapshots.members import sum_members, today

log: Final = structlog.get_logger()

WORKS_FOR_S: Final = 45.0
"""How long one message computes; the next one goes on."""
_COUNTS: Final = tuple(field.name for field in fields(Counts))


@actor(queue_name=DATABASE_QUEUE, priority=8, scheduled=True)
async def take_snapshots() -> None:
    """Compute the days that changed, newest first, and add up the members of today. Idempotent."""
    database = resources().database
    until_s = time.monotonic() + WORKS_FOR_S
    async with reading(database) as connection:
        days = list((await connection.scalars(changed_days())).all())
    for day in days:
        if time.monotonic() >= until_s:
            return
        await take_day(database, day)
    async with database.begin() as connection:
        await sum_members(connection, (today() - timedelta(days=1), today()))


class Taken(NamedTuple):
    """How many snapshots a day has with kills or losses."""

    alliances: int
    corporations: int


async def take_day(database: AsyncEngine, day: date) -> Taken:
    """Compute one day's snapshots from its killmails.

    Idempotent. A killmail that arrives meanwhile marks the day as changed again.
    """
    began_at = datetime.now(UTC)
    counted = await count_day(database, day)
    async with database.begin() as connection:
        await _lock_day(connection, day, began_at)
        alliances, corporations = ALLIANCE_SNAPSHOTS.c, CORPORATION_SNAPSHOTS.c
        await _replace(
            connection, ALLIANCE_SNAPSHOTS, alliances.alliance_id, day, counted.alliances
        )
        await _replace(
            connection,
            CORPORATION_SNAPSHOTS,
            corporations.corporation_id,
            day,
            counted.corporations,
        )
        await sum_members(connection, [day])
    taken = Taken(len(counted.alliances), len(counted.corporations))
    log.info("snapshot.taken", day=str(day), **taken._asdict())
    return taken


async def _lock_day(connection: AsyncConnection, day: date, computed_at: datetime) -> None:
    """Record the computation; the row's lock lets two of them replace one after the other."""
    columns: Columns = {"day": [day], "changed_at": [computed_at]}
    await insert_missing(connection, SNAPSHOT_DAYS, columns)
    of_day = SNAPSHOT_DAYS.c.day == day
    await connection.execute(update(SNAPSHOT_DAYS).where(of_day).values(computed_at=computed_at))


async def _replace(
    connection: AsyncConnection,
    table: Table,
    key: Column[Any],
    day: date,
    counted: dict[int, Counts],
) -> None:
    """Write a day's counts. Rows without any keep what ESI said, or go when it said nothing."""
    of_day = table.c.day == day
    stored = {row.id: row for row in await connection.execute(_stored(table, key, day))}
    gone = [id_ for id_ in stored if id_ not in counted]
    none = asdict(Counts())
    changed = [
        {"id_": id_, **_parameters(counts)}
        for id_, counts in sorted((counted | {id_: Counts() for id_ in gone}).items())
        if id_ in stored and _differs(stored[id_], counts)
    ]
    if changed:
        statement = update(table).where(of_day, key == bindparam("id_"))
        await connection.execute(
            statement.values({name: bindparam(f"{name}_") for name in none}), changed
        )
    new = sorted(id_ for id_ in counted if id_ not in stored)
    columns: Columns = {key.name: new, "day": [day] * len(new)}
    columns |= {name: [getattr(counted[id_], name) for id_ in new] for name in none}
    await insert_missing(connection, table, columns)
    said = [table.c[name] for name in ("members", "corporations") if name in table.c]
    is_empty = [column.is_(None) for column in said] + [table.c[name] == 0 for name in none]
    await connection.execute(delete(table).where(of_day, *is_empty))


def _stored(table: Table, key: Column[Any], day: date) -> Any:
    counts = [table.c[name] for name in _COUNTS]
    return (
        select(key.label("id"), *counts).where(table.c.day == day).order_by(key).with_for_update()
    )


def _differs(row: Any, counts: Counts) -> bool:
    return any(getattr(row, name) != getattr(counts, name) for name in _COUNTS)


def _parameters(counts: Counts) -> dict[str, Any]:
    return {f"{name}_": value for name, value in asdict(counts).items()}
