"""A sync that a user asks for: it waits for the run, and says how it ended."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import aiohttp
import pytest
from sqlalchemy import insert, select, update

from actors.shared.tables import CORPORATION_SYNCS, USERS
from api.users import sync
from tests.api.login.browser import (
    ON_BOTH,
    SYNC_AS_IT_STANDS,
    Gateway,
    Program,
    code_of,
    program,
)

FULL_SYNC = """
mutation { syncMyKillmails(input: {full: true}) { success message syncedCount } }
"""


async def asking_for_a_sync(gateway: Gateway, asked: Program) -> asyncio.Task[Any]:
    """Ask, and return when the answer is waited for."""
    async with until_a_sync_is_due(gateway):
        return asyncio.create_task(asked.query(SYNC_AS_IT_STANDS))


@asynccontextmanager
async def until_a_sync_is_due(gateway: Gateway) -> AsyncIterator[None]:
    """Wait after the block until what it asks for has set the schedule."""
    later = datetime.now(UTC) + timedelta(minutes=15)
    async with gateway.database.begin() as connection:
        await connection.execute(update(USERS).values(next_sync_at=later))
    yield
    async with asyncio.timeout(10):
        while min(row.next_sync_at for row in await gateway.rows(select(USERS))) >= later:
            await asyncio.sleep(0.05)


@ON_BOTH
async def test_sync_waits_for_the_run_that_it_asked_for(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(last_sync_count=99))
        asking = await asking_for_a_sync(gateway, asked)
        assert not asking.done()
        done = {"last_killmail_sync_at": datetime.now(UTC), "last_sync_count": 3}
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(done))
        assert (await asking)["data"]["syncMyKillmails"] == {
            "success": True,
            "message": "synchronized: 3 new",
            "syncedCount": 3,
        }


async def test_sync_that_fails_says_why(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(last_sync_error="an older failure"))
        asking = asyncio.create_task(
            asked.query("mutation { syncMyKillmails(input: {full: true}) { success message } }")
        )
        async with asyncio.timeout(10):
            while (await gateway.rows(select(USERS)))[0].last_sync_error is not None:
                await asyncio.sleep(0.05)
        (user,) = await gateway.rows(select(USERS))
        assert user.next_full_sync_at == user.next_sync_at
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(last_sync_error="ESI is down"))
        assert (await asking)["data"]["syncMyKillmails"] == {
            "success": False,
            "message": "failed: ESI is down",
        }


@ON_BOTH
async def test_asking_revives_nothing_that_esi_refused(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        refused = {"next_sync_at": None, "last_sync_error": "Forbidden"}
        answer, row = await ask_with(gateway, asked, refused)
        assert answer == {"success": False, "message": "failed: Forbidden", "syncedCount": 0}
        assert (row.next_sync_at, row.next_full_sync_at) == (None, None)


@ON_BOTH
async def test_asking_shortens_no_wait_after_an_error(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        later = datetime.now(UTC) + timedelta(hours=1)
        waits = {"next_sync_at": later, "next_full_sync_at": later, "last_sync_error": "ESI: 420"}
        answer, row = await ask_with(gateway, asked, waits)
        message = f"failed: ESI: 420; the next try is at {later:%H:%M:%S} UTC"
        assert answer == {"success": False, "message": message, "syncedCount": 0}
        assert (row.next_sync_at, row.next_full_sync_at) == (later, later)


async def ask_with(gateway: Gateway, asked: Program, values: dict[str, Any]) -> tuple[Any, Any]:
    """Ask for a full sync with this state of it; return the answer and the row."""
    async with gateway.database.begin() as connection:
        await connection.execute(update(USERS).values(values))
    began_s = asyncio.get_running_loop().time()
    answer = await asked.query(FULL_SYNC)
    assert asyncio.get_running_loop().time() - began_s < sync.WAIT_S / 2, "it was waited for"
    (row,) = await gateway.rows(select(USERS))
    return answer["data"]["syncMyKillmails"], row


async def test_corporation_is_not_waited_for_without_a_login_that_works(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in(scopes="character, corporation")
        id_, now = gateway.character().character_id, datetime.now(UTC)
        async with gateway.database.begin() as connection:
            await connection.execute(
                insert(CORPORATION_SYNCS).values(
                    corporation_id=7,
                    character_id=id_,
                    state="active",
                    created_at=now,
                    next_sync_at=now,
                )
            )
        dead = {"state": "login_required", "state_reason": "revoked", "next_sync_at": None}
        answer, _ = await ask_with(gateway, asked, dead)
        assert answer == {"success": False, "message": "failed: revoked", "syncedCount": 0}
        document = "{ syncStatus { corporationId state reason } }"
        both = {"state": "login_required", "reason": "revoked"}
        assert (await asked.query(document))["data"]["syncStatus"] == [
            {"corporationId": None} | both,
            {"corporationId": 7} | both,
        ]


async def test_sync_that_takes_longer_goes_on(
    gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sync, "WAIT_S", 0.3)
    async with program(gateway) as asked:
        await asked.log_in()
        answer = (await asked.query(SYNC_AS_IT_STANDS))["data"]["syncMyKillmails"]
        assert (answer["success"], "goes on" in answer["message"]) == (False, True)


async def test_account_waits_for_one_sync_at_a_time(gateway: Gateway) -> None:
    async with program(gateway) as asked, program(gateway) as other:
        await asked.log_in()
        await other.log_in(1)
        asking = await asking_for_a_sync(gateway, asked)
        assert code_of(await asked.query(SYNC_AS_IT_STANDS)) == "RATE_LIMITED"
        of_other = asyncio.create_task(other.query(SYNC_AS_IT_STANDS))
        done = {"last_killmail_sync_at": datetime.now(UTC) + timedelta(minutes=1)}
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(done))
        for answer in (await asking, await of_other, await asked.query(SYNC_AS_IT_STANDS)):
            assert answer["data"]["syncMyKillmails"]["success"]


async def test_websocket_goes_on_while_a_sync_is_waited_for(gateway: Gateway) -> None:
    async with program(gateway) as asked:
        await asked.log_in()
        async with socket(asked) as opened:
            async with until_a_sync_is_due(gateway):
                await opened.send_json(operation("sync", SYNC_AS_IT_STANDS))
            await opened.send_json({"type": "ping"})
            assert await opened.receive_json(timeout=5) == {"type": "pong"}
            await opened.send_json(operation("me", "{ me { roles } }"))
            answer = await opened.receive_json(timeout=5)
            assert (answer["id"], answer["payload"]["data"]["me"]) == ("me", {"roles": ["user"]})
            assert await opened.receive_json(timeout=5) == {"type": "complete", "id": "me"}
            assert code_of(await asked.query(SYNC_AS_IT_STANDS)) == "RATE_LIMITED"
            await opened.send_json({"type": "complete", "id": "sync"})
            await opened.send_json(operation("sync", "{ me { roles } }"))
            assert (await opened.receive_json(timeout=5))["payload"]["data"]["me"]
        # A mutation runs to its end even though nobody waits for its result.
        assert code_of(await asked.query(SYNC_AS_IT_STANDS)) == "RATE_LIMITED"
        done = {"last_killmail_sync_at": datetime.now(UTC) + timedelta(minutes=1)}
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(done))
        async with asyncio.timeout(10):
            while "errors" in (answer := await asked.query(SYNC_AS_IT_STANDS)):
                await asyncio.sleep(0.1)
        assert answer["data"]["syncMyKillmails"]["success"]


def operation(id_: str, document: str) -> dict[str, Any]:
    return {"type": "subscribe", "id": id_, "payload": {"query": document}}


@asynccontextmanager
async def socket(asked: Program) -> AsyncIterator[aiohttp.ClientWebSocketResponse]:
    address = f"{asked.gateway.address}/graphql"
    async with asked.http.ws_connect(address, protocols=["graphql-transport-ws"]) as opened:
        params = {"authorization": f"Bearer {asked.token}"}
        await opened.send_json({"type": "connection_init", "payload": params})
        assert await opened.receive_json(timeout=5) == {"type": "connection_ack"}
        yield opened


@ON_BOTH
async def test_sync_does_not_wait_for_a_corporation_that_another_director_brings(
    gateway: Gateway,
) -> None:
    async with program(gateway) as asked:
        await asked.log_in(scopes="character, corporation")
        id_, now = gateway.character().character_id, datetime.now(UTC)
        of_both = {"corporation_id": 7, "state": "active", "created_at": now, "next_sync_at": now}
        async with gateway.database.begin() as connection:
            await connection.execute(
                insert(CORPORATION_SYNCS),
                [
                    of_both | {"character_id": id_, "last_killmail_sync_at": None},
                    of_both | {"character_id": 9, "last_killmail_sync_at": now},
                ],
            )
        asking = asyncio.create_task(asked.query(SYNC_AS_IT_STANDS))
        await asyncio.sleep(0)
        later = {"last_killmail_sync_at": now + timedelta(minutes=1), "last_sync_count": 2}
        async with gateway.database.begin() as connection:
            await connection.execute(update(USERS).values(later))
        assert (await asking)["data"]["syncMyKillmails"]["success"]
        document = "{ syncStatus { characterId corporationId state } }"
        statuses = (await asked.query(document))["data"]["syncStatus"]
        assert [(one["corporationId"], one["state"]) for one in statuses] == [
            (None, "active"),
            (7, "active"),
        ]
