"""The database: silent connections are given up, readers don't wait, connections are counted."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any
from urllib.parse import urlsplit

import pytest
from sqlalchemy import func, select, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database, reading
from actors.shared.postgres import Limits
from actors.shared.rows import copy_all
from actors.shared.settings import Settings
from actors.shared.tables import FEED_COUNTER, KILLMAILS, UNPUBLISHED
from deploy.migrate import migrate
from tests.support.proxy import Proxy, open_proxy
from tests.support.servers import fresh_database

LIMITS = Limits(connect_s=1, command_s=1)
WITHIN_S = 6.0
"""A statement's limit, the farewell to its connection, and a new one."""
POOL_SIZE = 4

COUNT = update(FEED_COUNTER).values(last_sequence=FEED_COUNTER.c.last_sequence + 1)
COUNTED = select(FEED_COUNTER.c.last_sequence)


@asynccontextmanager
async def behind_proxy(limits: Limits = LIMITS) -> AsyncIterator[tuple[Proxy, AsyncEngine]]:
    """A fresh database of the tests' PostgreSQL, behind a proxy."""
    async with fresh_database() as url, open_proxy(url) as proxy:
        await migrate(Settings(database_url=url))
        settings = Settings(database_url=proxy.url(url), database_pool_size=POOL_SIZE)
        async with open_database(settings, "test", limits=limits) as database:
            yield proxy, database


async def count(database: AsyncEngine) -> None:
    async with database.begin() as connection:
        await connection.execute(COUNT)


async def count_stranded(proxy: Proxy, database: AsyncEngine, *, then: bool) -> None:
    """Go silent before the commit, or before another statement."""
    async with database.begin() as connection:
        await connection.execute(COUNT)
        proxy.strand_connections()
        if then:
            await connection.execute(COUNT)


async def copy(database: AsyncEngine, proxy: Proxy | None = None) -> None:
    """Copy two rows, or go silent before that."""
    async with database.begin() as connection:
        await connection.execute(COUNT)
        if proxy:
            proxy.strand_connections()
        await copy_all(connection, UNPUBLISHED, {"sequence": [1, 2]})


async def counted(database: AsyncEngine) -> int:
    async with reading(database) as connection:
        return int(await connection.scalar(COUNTED) or 0)


@pytest.mark.service
async def test_statement_on_a_silent_connection_fails_in_time_and_the_next_works() -> None:
    async with behind_proxy() as (proxy, database):
        await asyncio.gather(*(count(database) for _ in range(POOL_SIZE)))
        proxy.strand_connections()
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(TimeoutError, match="PostgreSQL didn't answer within 1 s"):
                await counted(database)
        async with asyncio.timeout(WITHIN_S):
            await asyncio.gather(*(count(database) for _ in range(POOL_SIZE * 2)))
        assert await counted(database) == POOL_SIZE * 3


@pytest.mark.service
async def test_a_copy_on_a_silent_connection_fails_in_time_and_the_next_works() -> None:
    async with behind_proxy() as (proxy, database):
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(TimeoutError):
                await copy(database, proxy)
        await copy(database)
        with pytest.raises(IntegrityError):
            await copy(database)
        assert await counted(database) == 1, "what failed was rolled back"


@pytest.mark.service
async def test_locks_of_a_transaction_gone_silent_stop_others_for_seconds_only() -> None:
    async with behind_proxy() as (proxy, database):
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(TimeoutError):
                await count_stranded(proxy, database, then=True)
        async with asyncio.timeout(WITHIN_S):
            await count(database)
        assert await counted(database) == 1


@pytest.mark.service
async def test_commit_on_a_silent_connection_fails_in_time() -> None:
    async with behind_proxy() as (proxy, database):
        async with asyncio.timeout(WITHIN_S):
            with pytest.raises(TimeoutError):
                await count_stranded(proxy, database, then=False)
        async with asyncio.timeout(WITHIN_S):
            await count(database)


@pytest.mark.service
async def test_server_that_stays_silent_fails_every_statement_in_time_until_it_is_back() -> None:
    async with behind_proxy() as (proxy, database):
        await count(database)
        proxy.go_silent()
        async with asyncio.timeout(WITHIN_S * 2):
            results = await asyncio.gather(
                *(count(database) for _ in range(POOL_SIZE * 2)), return_exceptions=True
            )
        # SQLAlchemy's TimeoutError is of those that found no free connection.
        assert {type(result).__name__ for result in results} == {"TimeoutError"}
        proxy.resume()
        async with asyncio.timeout(WITHIN_S):
            await count(database)


@pytest.mark.service
async def test_cancelled_statement_on_a_silent_connection_ends_in_time() -> None:
    async with behind_proxy(Limits(connect_s=1, command_s=60)) as (proxy, database):
        await count(database)
        proxy.strand_connections()
        began_s = monotonic()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await count(database)
        assert monotonic() - began_s < WITHIN_S
        async with asyncio.timeout(WITHIN_S):
            await count(database)


@pytest.mark.service
async def test_closing_does_not_wait_for_a_silent_server() -> None:
    async with fresh_database() as url, open_proxy(url) as proxy:
        settings = Settings(database_url=proxy.url(url), database_pool_size=8)
        async with open_database(settings, limits=Limits()) as database:
            await asyncio.gather(*(_sleep(database) for _ in range(8)))
            assert proxy.open_connections == 8
            proxy.go_silent()
            began_s = monotonic()
        assert monotonic() - began_s < WITHIN_S


@pytest.mark.service
async def test_statement_that_waits_too_long_is_ended_by_the_server_and_its_connection_kept() -> (
    None
):
    async with behind_proxy() as (proxy, database):
        accepted = proxy.accepted
        async with database.begin() as holding:
            await holding.execute(COUNT)
            with pytest.raises(Exception, match="statement timeout"):
                await count(database)
        await asyncio.gather(*(count(database) for _ in range(2)))
        assert proxy.accepted - accepted == 2


@pytest.mark.service
async def test_second_host_is_taken_when_the_first_is_silent() -> None:
    async with fresh_database() as url, open_proxy(url) as proxy:
        proxy.go_silent()
        second = urlsplit(url).netloc.rpartition("@")[2]
        both = proxy.url(url).replace(f":{proxy.port}/", f":{proxy.port},{second}/")
        settings = Settings(database_url=both)
        async with (
            asyncio.timeout(WITHIN_S),
            open_database(settings, limits=LIMITS) as database,
            reading(database) as connection,
        ):
            assert await connection.scalar(text("SELECT 1")) == 1


@pytest.mark.service
async def test_no_more_connections_than_the_setting_says_named_after_the_part() -> None:
    async with behind_proxy(Limits()) as (_proxy, database):
        counts = await asyncio.gather(*(_sessions(database) for _ in range(POOL_SIZE * 3)))
    assert max(counts) == POOL_SIZE


async def _sleep(database: AsyncEngine) -> None:
    async with reading(database) as connection:
        await connection.execute(text("SELECT pg_sleep(0.1)"))


async def _sessions(database: AsyncEngine) -> int:
    """Count the connections while others are in use, too."""
    async with reading(database) as connection:
        await connection.execute(text("SELECT pg_sleep(0.1)"))
        return int(
            await connection.scalar(
                text(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND application_name = 'killstream/test'"
                )
            )
            or 0
        )


async def test_readers_wait_for_no_writer(database: AsyncEngine) -> None:
    async with database.begin() as writing:
        await writing.execute(COUNT)
        async with asyncio.timeout(2):
            assert await asyncio.gather(*(counted(database) for _ in range(20))) == [0] * 20
    assert await counted(database) == 1


async def test_writers_wait_for_no_reader(database: AsyncEngine) -> None:
    async with reading(database) as connection:
        await connection.scalar(select(func.count()).select_from(KILLMAILS))
        async with asyncio.timeout(2):
            await count(database)


async def test_writers_queue_up(database: AsyncEngine) -> None:
    async def read_and_count() -> None:
        async with database.begin() as connection:
            await connection.execute(COUNTED)
            await connection.execute(COUNT)

    await asyncio.gather(*(read_and_count() for _ in range(20)))
    assert await counted(database) == 20


@pytest.mark.service
async def test_an_idle_connection_is_probed_by_the_system() -> None:
    """A dropped entry of a NAT shows before the next statement."""
    async with behind_proxy() as (_, database), database.connect() as connection:
        opened: Any = (await connection.get_raw_connection()).driver_connection
        used = opened._transport.get_extra_info("socket")
        assert used.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        probes = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT)
        every_s = used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL)
        assert used.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) + probes * every_s <= 60
