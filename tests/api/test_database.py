"""Reads of the database: a wrong read is not a server that cannot answer."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.errors import ServerUnavailable
from actors.shared.settings import Settings
from actors.shared.tables import FEED
from api import reads
from api.database import DatabaseUnavailable, ReadDatabase, open_read_database
from tests.support.proxy import Proxy, open_proxy
from tests.support.servers import fresh_database, server_urls

READ_S = 0.5
ONE: Any = select(text("1"))


@pytest.fixture
async def reading(database: AsyncEngine) -> AsyncIterator[ReadDatabase]:
    """Each database in turn, opened for reading."""
    url = database.url.render_as_string(hide_password=False)
    settings = (
        Settings(database_url=url)
        if url.startswith("postgresql")
        else Settings(data_dir=Path(str(database.url.database)).parent)
    )
    async with open_read_database(settings) as opened:
        yield opened


@pytest.mark.parametrize("after", [-(2**63) - 1, 2**63])
async def test_value_out_of_range_is_not_taken_for_an_unavailable_database(
    reading: ReadDatabase, after: int
) -> None:
    with pytest.raises(Exception, match=r"int64|too large") as caught:
        await reads.feed_page(reading, after, 10)
    assert not isinstance(caught.value, DatabaseUnavailable)


async def test_missing_table_is_not_taken_for_an_unavailable_database(
    reading: ReadDatabase, database: AsyncEngine
) -> None:
    async with database.begin() as connection:
        await connection.exec_driver_sql(f"DROP TABLE {FEED.name}")
    with pytest.raises(Exception, match="feed") as caught:
        await reads.last_sequence(reading)
    assert not isinstance(caught.value, DatabaseUnavailable)


async def test_sqlite_file_under_an_exclusive_lock_is_unavailable(sqlite: AsyncEngine) -> None:
    settings = Settings(data_dir=Path(str(sqlite.url.database)).parent)
    async with sqlite.connect() as connection:
        await connection.exec_driver_sql("ROLLBACK")
        await connection.exec_driver_sql("PRAGMA journal_mode=DELETE")
        await connection.exec_driver_sql("BEGIN EXCLUSIVE")
        async with open_read_database(settings, read_s=READ_S) as reading:
            with pytest.raises(DatabaseUnavailable):
                await reads.last_sequence(reading)


@pytest.fixture
async def proxied() -> AsyncIterator[tuple[Proxy, ReadDatabase]]:
    """The tests' PostgreSQL behind a proxy, opened for reading."""
    async with fresh_database() as url, open_proxy(url) as proxy:
        settings = Settings(database_url=proxy.url(url), database_pool_size=4)
        async with open_read_database(settings, read_s=READ_S) as reading:
            yield proxy, reading


@pytest.mark.service
async def test_silent_connection_is_terminated_and_the_next_read_has_another(
    proxied: tuple[Proxy, ReadDatabase],
) -> None:
    proxy, reading = proxied
    assert await reading.fetch_val(ONE) == 1
    proxy.strand_connections()
    async with asyncio.timeout(READ_S + 1):
        with pytest.raises(DatabaseUnavailable):
            await reading.fetch_val(ONE)
    assert await reading.fetch_val(ONE) == 1


@pytest.mark.service
async def test_all_reads_on_silent_connections_end_within_the_limit(
    proxied: tuple[Proxy, ReadDatabase],
) -> None:
    """More than there are connections: some wait for one, some for the server to accept them."""
    proxy, reading = proxied
    proxy.go_silent()
    async with asyncio.timeout(READ_S + 1):
        results = await asyncio.gather(
            *(reading.fetch_val(ONE) for _ in range(10)), return_exceptions=True
        )
    assert {type(result) for result in results} == {DatabaseUnavailable}
    proxy.resume()
    assert await reading.fetch_val(ONE) == 1


@pytest.mark.service
async def test_cancelled_caller_neither_waits_nor_loses_a_connection(
    proxied: tuple[Proxy, ReadDatabase],
) -> None:
    _proxy, reading = proxied
    for _ in range(10):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.02):
                await reading.fetch_val(select(text("pg_sleep(0.1)")))
    assert await reading.fetch_val(ONE) == 1


@pytest.mark.service
async def test_closing_does_not_wait_for_a_silent_server() -> None:
    async with fresh_database() as url, open_proxy(url) as proxy:
        settings = Settings(database_url=proxy.url(url))
        async with asyncio.timeout(5), open_read_database(settings, read_s=READ_S) as reading:
            assert await reading.fetch_val(ONE) == 1
            proxy.go_silent()


@pytest.mark.service
async def test_opening_does_not_wait_for_a_silent_server() -> None:
    async with open_proxy(server_urls()["database_url"]) as proxy:
        proxy.go_silent()
        settings = Settings(database_url=proxy.url(server_urls()["database_url"]))
        async with asyncio.timeout(READ_S + 1):
            with pytest.raises(ServerUnavailable, match="no database at"):
                async with open_read_database(settings, read_s=READ_S):
                    pass


@pytest.mark.service
async def test_server_that_ends_the_session_is_unavailable(
    proxied: tuple[Proxy, ReadDatabase],
) -> None:
    _proxy, reading = proxied
    ends_itself: Any = select(text("pg_terminate_backend(pg_backend_pid())"))
    with pytest.raises(DatabaseUnavailable) as caught:
        await reading.fetch_val(ends_itself)
    assert isinstance(caught.value.__cause__, asyncpg.PostgresError)
    assert await reading.fetch_val(ONE) == 1
