"""A ban by R2Z2 stops the live feed and the requests for history, whichever of them met it."""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from actors.history import r2z2, turns
from actors.history.errors import Banned
from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import REQUEST_TURNS
from deploy.migrate import migrate
from streams.sources import bans
from streams.sources.bans import sharing_ban
from streams.sources.r2z2 import open_r2z2
from tests.streams.files import FIRST, Files, killmail, settings_for
from tests.streams.rig import QUICK, Handler, Log, poll_until, polling, until, upstream
from tests.support.proxy import open_proxy
from tests.support.servers import fresh_database
from tests.support.tables import rows

BAN_S = 1.0


class Served:
    """An R2Z2 of two files; `banned` are the paths that are refused."""

    def __init__(self) -> None:
        self.files = Files({FIRST: killmail(1), FIRST + 1: killmail(2)}, newest=FIRST)
        self.banned: set[str] = set()
        self.asked_s: dict[str, list[float]] = {"ephemeral": [], "history": []}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        part = request.path.split("/")[1]
        self.asked_s[part].append(time.monotonic())
        if part in self.banned:
            return web.Response(status=429)
        return await self.files.file(request) if part == "ephemeral" else web.json_response({})


@pytest.fixture
def served() -> Served:
    return Served()


@pytest.fixture
async def url(served: Served) -> AsyncIterator[str]:
    routes: dict[str, Handler] = {
        "/ephemeral/{name}.json": served.answer,
        "/history/{name}.json": served.answer,
    }
    async with upstream(routes) as url:
        yield url


@pytest.fixture
def _short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a ban of a second be one."""
    monkeypatch.setattr(turns, "MAX_WAIT", timedelta(seconds=0.1))
    monkeypatch.setattr(r2z2, "BANNED_MS", round(BAN_S * 1_000))
    monkeypatch.setattr(r2z2, "SPACING_S", 0.0)
    monkeypatch.setattr(bans, "READ_EVERY_S", 0.05)


async def ask_for_history(settings: Settings, log: Log) -> None:
    async with aiohttp.ClientSession() as http:
        await r2z2.totals(settings, http, log.database)


async def wait_left_s(log: Log) -> float:
    return await turns.paused_for_s(log.database, r2z2.UPSTREAM)


async def test_the_pollers_ban_stops_history_until_it_is_over(
    log: Log, served: Served, url: str
) -> None:
    settings, served.banned = settings_for(url), {"ephemeral"}
    long = replace(QUICK, waits=replace(QUICK.waits, ban_s=300.0, ban_max_s=3600.0))

    async def is_published() -> bool:
        return await wait_left_s(log) > 0

    async with polling(settings, log, long):
        await until(is_published)
    assert 295 < await wait_left_s(log) <= 300
    with pytest.raises(Banned):
        await ask_for_history(settings, log)
    assert served.asked_s["history"] == []
    assert len(served.asked_s["ephemeral"]) == 1


async def test_a_turn_that_was_given_before_a_ban_is_not_taken(
    log: Log, served: Served, url: str
) -> None:
    await turns.take_turn(log.database, r2z2.UPSTREAM, 0.5)
    (given,) = await rows(log.database, REQUEST_TURNS)
    asking = asyncio.create_task(ask_for_history(settings_for(url), log))

    async def is_given() -> bool:
        return await rows(log.database, REQUEST_TURNS) != [given]

    await until(is_given)
    await turns.pause(log.database, r2z2.UPSTREAM, 300_000)
    with pytest.raises(Banned):
        await asking
    assert served.asked_s["history"] == []


@pytest.mark.usefixtures("_short")
async def test_historys_ban_stops_the_poller_until_it_is_over(
    log: Log, served: Served, url: str
) -> None:
    settings, served.banned = settings_for(url), {"history"}
    asked_s = served.asked_s["ephemeral"]
    with pytest.raises(Banned):
        await ask_for_history(settings, log)
    over_s = time.monotonic() + await wait_left_s(log)
    await poll_until(lambda: log.durable == {1, 2}, settings, log)
    assert asked_s[0] >= over_s - 0.01, "a poller that starts during a ban waits"

    async with polling(settings, log):
        count = len(asked_s)
        await until(lambda: asked_more(served, count))
        with pytest.raises(Banned):
            await ask_for_history(settings, log)
        over_s = time.monotonic() + await wait_left_s(log)
        await until(lambda: asked_after(served, over_s))
    known_s = over_s - BAN_S / 2
    assert [at for at in asked_s if known_s < at < over_s - 0.01] == [], "one that runs does too"


async def asked_more(served: Served, count: int) -> bool:
    return len(served.asked_s["ephemeral"]) > count


async def asked_after(served: Served, at_s: float) -> bool:
    return served.asked_s["ephemeral"][-1] > at_s


@pytest.mark.usefixtures("_short")
async def test_without_a_database_the_ban_is_kept_and_published_later(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    async with open_database(settings) as database, sharing_ban(database, "r2z2") as ban:
        ban.begin(asyncio.get_running_loop().time() + 300)
        await migrate(settings)
        async with asyncio.timeout(10):
            while not await turns.paused_for_s(database, "r2z2"):
                await asyncio.sleep(0.02)


@pytest.mark.service
@pytest.mark.usefixtures("_short")
async def test_a_frozen_database_does_not_stop_requests(
    monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setattr(bans, "TRY_S", 0.2)
    monkeypatch.setattr(bans, "CLOSE_S", 0.1)
    async with fresh_database() as database_url, open_proxy(database_url) as proxy:
        proxy.go_silent()
        settings = Settings(database_url=proxy.url(database_url))
        async with (
            asyncio.timeout(10),
            open_database(settings) as database,
            open_r2z2(settings_for(url), QUICK.waits, database) as source,
        ):
            file = await source._files.read(FIRST)
            assert file.readable
            proxy.resume()
