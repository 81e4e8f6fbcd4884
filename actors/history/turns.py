"""Space the requests to an upstream, of all processes together, and stop them while it bans us.

The live feed has a pace of its own (`streams/sources`); bans it shares.
"""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.history.errors import Banned
from actors.shared.database import reading
from actors.shared.rows import Columns, insert_missing
from actors.shared.tables import REQUEST_TURNS

MAX_WAIT: Final = timedelta(seconds=30)
"""Longest wait for a turn; it is longer only while the upstream bans this address."""


async def take_turn(database: AsyncEngine, upstream: str, spacing_s: float) -> None:
    """Wait until a request may be sent: `spacing_s` after the one before, whoever sent it.

    Raises:
        Banned: the upstream refused requests, see `pause`.
    """
    now = datetime.now(UTC)
    async with database.begin() as connection:
        turn_at = max(await _next_at(connection, upstream, now), now)
        if turn_at - now > MAX_WAIT:
            raise _banned(upstream, turn_at)
        await connection.execute(_set(upstream, turn_at + timedelta(seconds=spacing_s)))
    await asyncio.sleep((turn_at - now).total_seconds())
    if wait_s := await paused_for_s(database, upstream):  # since the turn was given
        raise _banned(upstream, datetime.now(UTC) + timedelta(seconds=wait_s))


async def paused_for_s(database: AsyncEngine, upstream: str) -> float:
    """Return for how long no process may send requests, as the upstream bans this address."""
    turns = REQUEST_TURNS.c
    async with reading(database) as connection:
        query = select(turns.next_at).where(turns.upstream == upstream)
        next_at: datetime | None = await connection.scalar(query)
    wait = (next_at - datetime.now(UTC)) if next_at else timedelta()
    return wait.total_seconds() if wait > MAX_WAIT else 0.0


async def pause(database: AsyncEngine, upstream: str, delay_ms: int) -> None:
    """Have no process send requests for a while."""
    now = datetime.now(UTC)
    until = now + timedelta(milliseconds=delay_ms)
    async with database.begin() as connection:
        if until > await _next_at(connection, upstream, now):
            await connection.execute(_set(upstream, until))


async def _next_at(connection: AsyncConnection, upstream: str, now: datetime) -> datetime:
    """Lock the row of an upstream, and read when the next request may be sent."""
    columns: Columns = {"upstream": [upstream], "next_at": [now]}
    await insert_missing(connection, REQUEST_TURNS, columns)
    turns = REQUEST_TURNS.c
    query = select(turns.next_at).where(turns.upstream == upstream).with_for_update()
    next_at: datetime = (await connection.execute(query)).scalar_one()
    return next_at


def _banned(upstream: str, until: datetime) -> Banned:
    reason = f"{upstream} has refused requests: none before {until:%H:%M:%S} UTC"
    return Banned(reason, delay_ms=(until - datetime.now(UTC)) // timedelta(milliseconds=1))


def _set(upstream: str, next_at: datetime) -> Any:
    of_upstream = REQUEST_TURNS.c.upstream == upstream
    return update(REQUEST_TURNS).where(of_upstream).values(next_at=next_at)
