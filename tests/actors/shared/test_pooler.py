"""A transaction pooler in between: each transaction gets another session of PostgreSQL."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from sqlalchemy import text

from actors.killmails.persist import read, store
from actors.shared import postgres
from actors.shared.database import check_schema, open_database, reading
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from api.database import open_read_database
from api.reads import feed_page
from deploy.migrate import migrate
from tests.support.made import a_body, a_reference
from tests.support.pgbouncer import open_pgbouncer
from tests.support.servers import fresh_database
from tests.support.tables import feed_of

pytestmark = pytest.mark.service
CLIENTS = 8
"""Twice as many as the pooler has sessions: statements of one meet another's sessions."""


@pytest.fixture
async def pooled() -> AsyncIterator[Settings]:
    """An empty database behind a transaction pooler."""
    async with fresh_database() as url, open_pgbouncer(url) as pooled_url:
        yield Settings(database_url=pooled_url, database_pool_size=CLIENTS)


async def store_each(settings: Settings, killmail_ids: range) -> None:
    async with open_database(settings, "test") as database:
        await check_schema(database)
        references = [encode_reference(a_reference(a_body(n))) for n in killmail_ids]
        await asyncio.gather(*(store(database, *read([value])) for value in references))
        assert {entry[1] for entry in await feed_of(database)} >= set(killmail_ids)


async def test_tables_are_made_filled_and_read_through_it(pooled: Settings) -> None:
    await migrate(pooled)
    await migrate(pooled)
    await asyncio.gather(*(store_each(pooled, range(n, n + 20)) for n in (1, 21, 41)))
    async with open_read_database(pooled) as gateway:
        pages = await asyncio.gather(*(feed_page(gateway, 0, 100) for _ in range(20)))
        assert {len(page) for page in pages} == {60}


async def test_limits_of_the_server_hold_for_one_transaction_only(pooled: Settings) -> None:
    async with open_database(pooled, "test") as database:
        async with database.begin() as connection:
            assert await connection.scalar(text("SHOW statement_timeout")) == "8s"
        async with reading(database) as connection:
            assert await connection.scalar(text("SHOW statement_timeout")) == "0"


@pytest.mark.parametrize("option", ["statement_cache_size=0", "pgbouncer=true"])
async def test_url_may_say_that_a_pooler_is_in_between(
    pooled: Settings, option: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Then it isn't detected: a pooler may look like the server."""

    async def looks_like_the_server(_: object) -> bool:
        return False

    monkeypatch.setattr(postgres, "_is_pooled", looks_like_the_server)
    await migrate(pooled.model_copy(update={"database_url": f"{pooled.database_url}?{option}"}))
    settings = pooled.model_copy(update={"database_url": f"{pooled.database_url}?{option}"})
    await asyncio.gather(*(store_each(settings, range(n, n + 20)) for n in (1, 21)))
