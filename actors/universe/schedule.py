"""When the static universe is checked: at the first start, then once a day."""

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.background import in_background
from actors.shared.database import reading
from actors.shared.tables import UNIVERSE
from actors.universe.store import ensure_universe, write_universe

EVERY: Final = timedelta(days=1)
LEASE: Final = timedelta(minutes=3)
"""When another process checks in place of one that died."""
RENEW_S: Final = 60.0
RETRY_FIRST: Final = timedelta(minutes=1)
RETRY_MAX: Final = timedelta(hours=6)
"""Pauses after failures: each is twice as long as the one before."""


def checked() -> dict[str, Any]:
    """Return the values of `universe` after an answer of the upstream."""
    now = datetime.now(UTC)
    return {
        "checked_at": now,
        "next_check_at": now + EVERY * random.uniform(1, 1.05),
        "tries": 0,
        "last_error": None,
    }


async def claim_check(database: AsyncEngine) -> bool:
    """Lease the check if it is due; False when it isn't, or another process has it."""
    async with reading(database) as connection:
        next_check_at = await connection.scalar(select(UNIVERSE.c.next_check_at))
    if next_check_at is not None and next_check_at > datetime.now(UTC):
        return False
    async with database.begin() as connection:
        await ensure_universe(connection)
        now = datetime.now(UTC)
        due = update(UNIVERSE).where(UNIVERSE.c.next_check_at <= now)
        claimed = await connection.execute(due.values(next_check_at=now + LEASE))
        return claimed.rowcount > 0


@asynccontextmanager
async def leasing(database: AsyncEngine) -> AsyncIterator[None]:
    """Keep the lease as long as the block runs."""

    async def renew() -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            await _update(database, next_check_at=datetime.now(UTC) + LEASE)

    async with in_background(renew(), "universe lease"):
        yield


async def postpone_check(database: AsyncEngine, reason: str) -> None:
    """Have the check repeated after a failure, at growing intervals."""
    async with reading(database) as connection:
        tries: int = await connection.scalar(select(UNIVERSE.c.tries)) or 0
    pause = min(RETRY_FIRST * 2 ** min(tries, 16), RETRY_MAX)
    await _update(
        database,
        tries=tries + 1,
        last_error=reason,
        next_check_at=datetime.now(UTC) + pause * random.uniform(1, 1.25),
    )


async def _update(database: AsyncEngine, **values: Any) -> None:
    async with database.begin() as connection:
        await write_universe(connection, **values)
