"""Servers that go silent without closing, and processes that wake up late."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from aiohttp import web
from redis.asyncio import Redis
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.settings import Settings
from deploy.migrate import migrate
from streams.ledger import read_cursor, recall_all, record, take_over
from streams.lock import Lease
from streams.sources.r2z2 import r2z2_name
from streams.sources.redisq import redisq_name
from streams.sources.step import UNALLOTTED, Step
from tests.streams.files import FIRST, Files, killmail, settings_for
from tests.streams.rig import (
    QUICK,
    Handler,
    Log,
    dataset_ids,
    ledger_positions,
    poll_until,
    polling,
    standin,
    until,
    upstream,
)
from tests.streams.test_redisq import settings_for as redisq_settings_for
from tests.support.ledger import HASH, PATIENCE, change_ledger, ledger, record_positions, reference
from tests.support.proxy import Proxy, open_proxy
from tests.support.servers import fresh_database, server_urls

SHORT = replace(QUICK, drain_s=1.0, given_once_s=1.0, database_s=1.0, send_s=1.0)
ENDS_WITHIN_S = 6.0
"""Far below the 25 s that a whole process has."""


@asynccontextmanager
async def behind_proxy() -> AsyncIterator[tuple[Log, Proxy]]:
    """A PostgreSQL that can go silent for the poller; what is behind the event log sees it."""
    async with fresh_database() as url, open_proxy(url) as proxy:
        settings = Settings(database_url=url)
        await migrate(settings)
        behind = settings.model_copy(update={"database_url": proxy.url(url)})
        async with open_database(settings) as direct, open_database(behind) as database:
            log = Log(direct)
            log.polled = database
            yield log, proxy


async def ended_after_s(running: asyncio.Task[None], stop: asyncio.Event) -> float:
    began_s = time.monotonic()
    stop.set()
    async with asyncio.timeout(60):
        await running
    return time.monotonic() - began_s


@asynccontextmanager
async def stoppable(
    settings: Settings, log: Log
) -> AsyncIterator[tuple[asyncio.Event, asyncio.Task[None]]]:
    """Poll until the event is set."""
    stop = asyncio.Event()

    async def run() -> None:
        async with polling(settings, log, SHORT):
            await stop.wait()

    task = asyncio.create_task(run())
    try:
        yield stop, task
    finally:
        stop.set()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.service
async def test_it_ends_while_postgresql_is_silent() -> None:
    async with (
        standin(synthetic=None, rate_per_s=50) as served,
        behind_proxy() as (log, proxy),
        stoppable(settings_for(served.url), log) as (stop, running),
    ):
        await until(lambda: reached(log, 20))
        proxy.go_silent()
        await asyncio.sleep(0.3)
        assert await ended_after_s(running, stop) < ENDS_WITHIN_S


@pytest.mark.service
async def test_it_goes_on_after_postgresql_was_silent() -> None:
    """Connections that went silent are given up; nothing is lost."""
    async with (
        standin(synthetic=300, rate_per_s=100) as served,
        behind_proxy() as (log, proxy),
        stoppable(settings_for(served.url), log),
    ):
        wanted = dataset_ids(served.dataset)
        await until(lambda: reached(log, 20))
        proxy.go_silent()
        await asyncio.sleep(2 * SHORT.database_s)
        proxy.resume()
        await until(lambda: reached(log, len(wanted)))
        assert log.durable >= wanted


async def reached(log: Log, count: int) -> bool:
    return len(log.durable) >= count


@pytest.mark.parametrize("source", ["r2z2", "redisq"])
async def test_an_upstream_that_goes_silent_is_asked_again(log: Log, source: str) -> None:
    """It takes each request, and the first one of each file or object gets no answer."""
    asked: set[str] = set()

    async def silent_at_first(request: web.Request) -> None:
        if request.path_qs not in asked:
            asked.add(request.path_qs)
            await asyncio.Event().wait()

    async def file(request: web.Request) -> web.Response:
        await silent_at_first(request)
        return await files.file(request)

    async def listen(request: web.Request) -> web.Response:
        await silent_at_first(request)
        raise web.HTTPFound(f"/object.php?objectID={FIRST if not log.durable else 'null'}")

    async def give(request: web.Request) -> web.Response:
        await silent_at_first(request)
        return web.json_response({"package": {"killID": FIRST, "zkb": {"hash": HASH}}})

    files = Files({FIRST: killmail(FIRST)}, newest=FIRST)
    routes: dict[str, Handler] = {
        "/ephemeral/{name}.json": file,
        "/listen.php": listen,
        "/object.php": give,
    }
    options = replace(QUICK, waits=replace(QUICK.waits, request_s=0.2))
    async with upstream(routes) as url:
        settings = settings_for(url) if source == "r2z2" else redisq_settings_for(url)
        await poll_until(lambda: log.durable == {FIRST}, settings, log, options)
    assert len(asked) >= 2


async def test_it_ends_while_the_event_log_is_silent(log: Log) -> None:
    entered = asyncio.Event()

    async def hang() -> None:
        entered.set()
        await asyncio.Event().wait()

    log.before = hang
    async with (
        standin(synthetic=30) as served,
        stoppable(settings_for(served.url), log) as (stop, running),
    ):
        await entered.wait()
        assert await ended_after_s(running, stop) < ENDS_WITHIN_S
    assert await ledger_positions(log.database)


async def test_a_send_that_hangs_is_made_again(log: Log) -> None:
    async def hang_once() -> None:
        log.before = None
        await asyncio.Event().wait()

    log.before = hang_once
    async with standin(synthetic=30) as served:
        wanted = dataset_ids(served.dataset)
        async with polling(settings_for(served.url), log, SHORT):
            await until(lambda: reached(log, len(wanted)))


@pytest.mark.service
@pytest.mark.parametrize("holds", [True, False])
async def test_it_ends_while_redis_is_silent(log: Log, holds: bool) -> None:
    url = server_urls()["redis_url"]
    async with standin(synthetic=30) as served, open_proxy(url) as proxy:
        settings = settings_for(served.url).model_copy(update={"redis_url": proxy.url(url)})
        if not holds:
            async with Redis.from_url(url) as redis:
                await redis.set(f"killstream:poll:{r2z2_name(settings)}", "of another", px=60_000)
        async with stoppable(settings, log) as (stop, running):
            if holds:
                await until(lambda: reached(log, 30))
            else:
                await asyncio.sleep(1.5)
            proxy.go_silent()
            await asyncio.sleep(0.2)
            assert await ended_after_s(running, stop) < ENDS_WITHIN_S


async def test_who_was_fenced_off_writes_nothing_and_follows(log: Log) -> None:
    """Suspended in the middle of its work, it wakes after a successor read on."""
    async with standin(synthetic=None, rate_per_s=100) as served:
        settings = settings_for(served.url)
        name = r2z2_name(settings)
        successor: list[int] = []

        async def be_followed() -> None:
            if successor or len(log.durable) < 10:
                return
            fence, cursor = await take_over(log.database, name)
            successor.append((cursor.position or 0) + 100)
            await record(log.database, fence, [Step(successor[0])], patience=PATIENCE)

        async def read_on() -> bool:
            return bool(successor) and (await read_cursor(log.database, name) or 0) > successor[0]

        log.before = be_followed
        options = replace(SHORT, lease=Lease(lasts_s=0.3, renewed_every_s=0.1))
        async with polling(settings, log, options):
            await until(read_on)
        positions = sorted(reference.position for reference in log.taken)
    # It began again where the successor stood: nothing between was read by it.
    assert next(p for p in positions if p > successor[0]) == successor[0] + 1


async def five_thousand(database: AsyncEngine, name: str) -> None:
    """Record 5,000 messages that were given only once, and one that was recorded last."""
    fence, _ = await take_over(database, name)
    for count in (5_000, 1):
        given = tuple(reference(name, UNALLOTTED, 7_000 + i) for i in range(count))
        await record(database, fence, [Step(references=given)], patience=PATIENCE, gives_once=True)


async def test_starts_send_nothing_again_that_is_not_due(log: Log) -> None:
    """A full ledger and four starts: 20,000 messages before."""
    log.persists = False
    async with standin(synthetic=1) as served:
        settings = redisq_settings_for(served.url)
        await five_thousand(log.database, redisq_name(settings))
        for _ in range(4):
            async with polling(settings, log):
                await asyncio.sleep(2 * QUICK.check_s)
    # The message that the stand-in gave, and what was recorded last: a crash may have cut it off.
    assert len(log.taken) <= 3
    assert len(await ledger(log.database)) == 5_002


async def test_an_event_log_that_forgot_gets_all_once(log: Log) -> None:
    log.persists = False
    async with standin(synthetic=1) as served:
        settings = redisq_settings_for(served.url)
        await five_thousand(log.database, redisq_name(settings))
        assert await recall_all(log.database) == 5_001

        async def all_taken() -> bool:
            return len({r.position for r in log.taken}) >= 5_001

        async with polling(settings, log):
            await until(all_taken)
        async with polling(settings, log):
            await asyncio.sleep(2 * QUICK.check_s)
    assert len({r.position for r in log.taken}) == 5_002
    assert len(log.taken) <= 5_003
    assert set(await ledger(log.database, "tries")) <= {0, 1}


async def test_an_entry_that_waits_long_holds_up_no_other(log: Log) -> None:
    """Each entry has its own times: one can't become durable, the next is soon sent again."""
    options = replace(QUICK, patience=timedelta(milliseconds=200), check_s=0.1)
    log.persists = False
    async with standin(synthetic=1) as served:
        settings = redisq_settings_for(served.url)
        name = redisq_name(settings)
        fence = await record_positions(log.database, name, 0)
        for killmail_id in (71, 72):
            step = Step(references=(reference(name, UNALLOTTED, killmail_id),))
            await record(log.database, fence, [step], patience=options.patience, gives_once=True)
            if killmail_id == 71:
                await change_ledger(log.database, tries=12)

        async def sent(killmail_id: int, times: int) -> bool:
            return [r.killmail_id for r in log.taken].count(killmail_id) >= times

        async with polling(settings, log, options):
            await until(lambda: sent(71, 1))
            await until(lambda: sent(72, 3))
    assert [r.killmail_id for r in log.taken].count(71) == 1
