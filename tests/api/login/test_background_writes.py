"""What is written beside reading delays no answer and makes none fail."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from actors.shared.tables import ALLIANCES, SESSIONS
from actors.users.sessions import session_of, touch_session
from tests.api.login.browser import ON_BOTH, Gateway, Program, program

ALLIANCE = 99_000_001
NOW = "{ me { roles } alliance(id: 99000001) { name } }"
SOON_S = 3.0
"""Far less than a writer may wait for a lock."""


@pytest.fixture
async def asked(gateway: Gateway) -> Any:
    """A program whose session wasn't used for long, and an alliance that ESI may be asked for."""
    async with program(gateway) as opened:
        await opened.log_in()
        async with gateway.database.begin() as connection:
            past = datetime.now(UTC) - timedelta(hours=1)
            await connection.execute(update(SESSIONS).values(used_at=past))
            known = {"name": "Red", "ticker": "RED", "state": "active", "expires_at": past}
            await connection.execute(insert(ALLIANCES), known | {"alliance_id": ALLIANCE})
        yield opened


async def recorded(gateway: Gateway) -> tuple[bool, bool]:
    """Tell whether the use of the session and the wish for the alliance are recorded."""
    (session,) = await gateway.rows(select(SESSIONS))
    (alliance,) = await gateway.rows(select(ALLIANCES))
    is_used = session.used_at > datetime.now(UTC) - timedelta(minutes=1)
    return is_used, alliance.next_refresh_at is not None


async def until(happens: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await happens():
            await asyncio.sleep(0.02)


@ON_BOTH
async def test_answers_come_while_another_process_holds_the_lock(
    gateway: Gateway, asked: Program
) -> None:
    async with gateway.database.begin() as connection:
        for table in (SESSIONS, ALLIANCES):  # on SQLite BEGIN locks all
            await connection.execute(select(table).with_for_update())
        async with asyncio.timeout(SOON_S):
            for _ in range(3):
                answer = await asked.query(NOW)
                assert answer["data"] == {"me": {"roles": ["user"]}, "alliance": {"name": "Red"}}
        assert await recorded(gateway) == (False, False)

    async def both() -> bool:
        return await recorded(gateway) == (True, True)

    await until(both)


async def test_answers_come_when_the_writes_fail(gateway: Gateway, asked: Program) -> None:
    async with gateway.database.begin() as connection:
        for table in ("sessions", "alliances"):
            await connection.execute(
                text(
                    f"CREATE TRIGGER no_{table} BEFORE UPDATE ON {table}"
                    " BEGIN SELECT RAISE(ABORT, 'no'); END"
                )
            )
    for _ in range(2):
        answer = await asked.query(NOW)
        assert answer["data"] == {"me": {"roles": ["user"]}, "alliance": {"name": "Red"}}
    async with gateway.database.begin() as connection:
        for table in ("sessions", "alliances"):
            await connection.execute(text(f"DROP TRIGGER no_{table}"))

    async def both() -> bool:  # what failed is written at a later use
        await asked.query(NOW)
        return await recorded(gateway) == (True, True)

    await until(both)


@ON_BOTH
async def test_use_of_a_session_is_recorded_once_in_a_while(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
    (before,) = await gateway.rows(select(SESSIONS))
    long_ago = dict(before._mapping) | {"used_at": before.used_at - timedelta(hours=1)}
    async with gateway.database.begin() as connection:
        await touch_session(connection, session_of(long_ago))  # another request has recorded it
    assert await gateway.rows(select(SESSIONS)) == [before]
