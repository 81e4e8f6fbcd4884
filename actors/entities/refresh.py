"""What all refreshes share: the entity's row, and what happens when ESI doesn't answer."""

import random
from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.entities.kinds import Kind
from actors.esi.errors import Unavailable, UnexpectedStatus
from actors.resources import resources
from actors.shared.among import among
from actors.shared.database import reading
from actors.shared.errors import RetryLater

log: Final = structlog.get_logger()

LATER: Final = (Unavailable, UnexpectedStatus, RetryLater)
"""Errors after which the same request may succeed."""
LATER_S: Final = 60
MIN_ERRORS_LEFT: Final = 75
"""Entities are refreshed only while this many errors remain of ESI's limit: names need the rest."""
ABSENT_TTL: Final = timedelta(days=1)
"""When ESI is asked again for what it doesn't know."""
CONFIRMED_AFTER: Final = timedelta(hours=1)
"""Time after a first refusal from which on another one holds: longer than ESI's downtime."""


async def due(kind: Kind, ids: Collection[int]) -> Sequence[Any]:
    """Read the rows of those ids for which ESI may be asked; the others are refreshed already.

    Raises:
        RetryLater: ESI's error limit is nearly reached.
    """
    if not resources().esi.errors_left() >= MIN_ERRORS_LEFT:
        raise RetryLater("few errors are left of ESI's limit", delay_ms=LATER_S * 1000)
    now = datetime.now(UTC)
    expires_at = kind.table.c.expires_at
    is_due = or_(expires_at.is_(None), expires_at <= now)
    async with reading(resources().database) as connection:
        query = select(kind.table).where(among(kind.key, ids), is_due)
        found = (await connection.execute(query.order_by(kind.key))).all()
    fresh = set(ids).difference(getattr(row, kind.key.name) for row in found)
    if fresh:
        async with resources().database.begin() as connection:
            await write(connection, kind, fresh, next_refresh_at=None)
    return found


async def write(
    connection: AsyncConnection, kind: Kind, ids: Collection[int], **values: Any
) -> None:
    """Update rows, locked in the order of their ids."""
    await connection.execute(
        select(kind.key).where(among(kind.key, ids)).order_by(kind.key).with_for_update()
    )
    await connection.execute(update(kind.table).where(among(kind.key, ids)).values(**values))


def answered(expires_at: datetime) -> dict[str, Any]:
    """Return the values of the schedule's columns after an answer of ESI."""
    return {
        "updated_at": datetime.now(UTC),
        "expires_at": expires_at,
        "next_refresh_at": None,
        "refused_at": None,
    }


async def postpone(kind: Kind, ids: Collection[int], error: BaseException) -> None:
    """Have ids refreshed later, as ESI didn't answer now."""
    delay_s = max(LATER_S, getattr(error, "delay_ms", 0) / 1000) * random.uniform(1, 2)
    log.info("refresh.postponed", kind=kind.name, ids=len(ids), reason=str(error))
    later = datetime.now(UTC) + timedelta(seconds=delay_s)
    async with resources().database.begin() as connection:
        await write(connection, kind, ids, next_refresh_at=later)


async def write_refused(kind: Kind, ids: Collection[int], state: str = "absent") -> None:
    """Record that ESI refuses ids; what it said before stays.

    ESI refuses valid requests, too, while it is overloaded. So ids get the state only when ESI
    refuses them again `CONFIRMED_AFTER` the first refusal, without an answer in between; until then
    they stay due.
    """
    now = datetime.now(UTC)
    refused_at = kind.table.c.refused_at
    async with resources().database.begin() as connection:
        before = refused_at <= now - CONFIRMED_AFTER
        query = select(kind.key).where(among(kind.key, ids), before)
        confirmed = set(await connection.scalars(query.order_by(kind.key).with_for_update()))
        values = answered(now + ABSENT_TTL) | {"refused_at": refused_at}  # the next one holds, too
        await write(connection, kind, confirmed, state=state, **values)
        again_at = now + CONFIRMED_AFTER * random.uniform(1, 1.25)
        values = {"refused_at": func.coalesce(refused_at, now), "next_refresh_at": again_at}
        await write(connection, kind, set(ids) - confirmed, **values)
    log.info("refresh.refused", kind=kind.name, ids=len(ids), confirmed=len(confirmed))
