"""A connection to PostgreSQL that goes silent without closing costs seconds and no killmail."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from sqlalchemy import delete

from actors.shared.database import open_database
from actors.shared.events import open_events
from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.tree import Has
from actors.shared.settings import Settings
from actors.shared.tables import SESSIONS
from actors.users.sessions import open_session
from api import tail as tail_module
from api.database import READ_S as DEFAULT_READ_S
from api.database import DatabaseUnavailable, open_read_database
from api.login import watch
from api.search import by_id
from api.tail import Tail, open_tail
from tests.api.gateway import Writer, a_killmail, make_tables
from tests.support.proxy import Proxy, open_proxy
from tests.support.servers import fresh_database

pytestmark = pytest.mark.service
READ_S = 0.5


@pytest.fixture
async def writer(tmp_path: Path) -> AsyncIterator[Writer]:
    """A writer to PostgreSQL with its own connection; its channel has no subscriber."""
    async with fresh_database() as url:
        settings = Settings(data_dir=tmp_path, database_url=url)
        async with open_database(settings) as database, open_events(settings) as events:
            await make_tables(database)
            yield Writer(database, events)


@pytest.fixture
async def proxy(writer: Writer) -> AsyncIterator[Proxy]:
    url = writer.database.url.render_as_string(hide_password=False)
    async with open_proxy(url) as opened:
        yield opened


@pytest.fixture
async def tail(
    writer: Writer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Tail]:
    monkeypatch.setattr(tail_module, "TABLE_POLL_S", 0.1)
    monkeypatch.setattr(tail_module, "RING_ENTRIES", 5)
    url = proxy.url(writer.database.url.render_as_string(hide_password=False))
    async with (
        open_read_database(Settings(database_url=url), read_s=READ_S) as database,
        open_tail(database, writer.events, unpublished_timeout_s=0.1) as opened,
    ):
        yield opened


async def test_session_that_cannot_be_read_ends(
    writer: Writer, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A failing check begins within two intervals, and takes as long as a read may.
    assert watch.UNCONFIRMED_S <= 2 * watch.CHECK_S
    assert 2 * (watch.CHECK_S + DEFAULT_READ_S) <= 60
    monkeypatch.setattr(watch, "CHECK_S", 0.1)
    monkeypatch.setattr(watch, "UNCONFIRMED_S", READ_S * 4)
    async with writer.database.begin() as connection:
        session = await open_session(connection, "account", "bearer")
    url = proxy.url(writer.database.url.render_as_string(hide_password=False))
    async with open_read_database(Settings(database_url=url), read_s=READ_S) as database:
        ended = asyncio.create_task(watch.wait_for_end(database, session.token))
        proxy.go_silent()
        await asyncio.sleep(READ_S * 2)
        assert not ended.done(), "one failed check is no end"
        proxy.resume()
        await asyncio.sleep(READ_S * 4)
        assert not ended.done(), "the session was read again"
        proxy.go_silent()
        with pytest.raises(DatabaseUnavailable):
            await asyncio.wait_for(ended, READ_S * 10)
        proxy.resume()
        async with writer.database.begin() as connection:
            await connection.execute(delete(SESSIONS))
        await asyncio.wait_for(watch.wait_for_end(database, session.token), READ_S * 10)


async def test_a_search_ends_within_the_limit_of_one_read(writer: Writer, proxy: Proxy) -> None:
    url = proxy.url(writer.database.url.render_as_string(hide_password=False))
    anyone = Has(term_of(Kind.VICTIM_CHARACTER, 1))
    async with open_read_database(Settings(database_url=url), read_s=READ_S) as database:
        assert (await by_id(database, anyone, None, 10, with_names=False)).views == []
        proxy.go_silent()
        with pytest.raises(DatabaseUnavailable):
            async with asyncio.timeout(READ_S * 4):
                await by_id(database, anyone, None, 10, with_names=False)
        proxy.resume()
        assert (await by_id(database, anyone, None, 10, with_names=False)).views == []


async def sequences(tail: Tail, after: int, count: int) -> list[int]:
    async with asyncio.timeout(READ_S * 4 + 2):
        views = tail.follow(after)
        return [(await anext(views)).entry.sequence for _ in range(count)]


async def test_tail_and_replays_continue_on_a_new_connection(
    tail: Tail, writer: Writer, proxy: Proxy
) -> None:
    await writer.mark(*await writer.store(*map(a_killmail, range(1, 21))))
    assert await sequences(tail, 0, 20) == list(range(1, 21))
    proxy.strand_connections()
    await writer.mark(*await writer.store(a_killmail(21)))
    live, replayed = await asyncio.gather(sequences(tail, 20, 1), sequences(tail, 3, 18))
    assert (live, replayed) == ([21], list(range(4, 22)))


async def test_tail_continues_when_a_silent_server_answers_again(
    tail: Tail, writer: Writer, proxy: Proxy
) -> None:
    proxy.go_silent()
    await writer.mark(*await writer.store(a_killmail(1)))
    await asyncio.sleep(READ_S * 2)
    proxy.resume()
    assert await sequences(tail, 0, 1) == [1]
