"""History by days from R2Z2: what it lacks, what it should not say, its limit."""

import asyncio
import time
from datetime import date

import aiohttp
import msgspec
import pytest
from aiohttp import web
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history import r2z2
from actors.history.run import import_day, schedule_days
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist
from actors.killmails.recall import recall
from actors.resources import Resources
from actors.shared.errors import RetryLater
from actors.shared.settings import Settings
from actors.shared.tables import (
    FEED,
    KILLMAILS,
    LEDGER,
)
from deploy.standin.server import Standin
from tests.actors.history.days import assert_whole, by_day, import_all, requested
from tests.support.esi import run, sent, server_that_says
from tests.support.tables import rows

pytestmark = pytest.mark.usefixtures("small_steps")


async def test_bodies_that_r2z2_lacks_are_fetched_from_esi(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    lacking = [one.killmail_id for one in list(upstream.dataset.killmails)[::50]]
    decode = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode

    class Lacking:
        @staticmethod
        def decode(text: bytes) -> dict[str, msgspec.Raw]:
            return {name: raw for name, raw in decode(text).items() if int(name) not in lacking}

    monkeypatch.setattr(r2z2, "_BODIES", Lacking)
    await requested(opened, "r2z2")
    await import_all(opened)
    stored = {row["killmail_id"] for row in await rows(opened.database, KILLMAILS)}
    assert stored == {one.killmail_id for one in upstream.dataset.killmails} - set(lacking)
    await run(recall)
    for message in sent("esi"):
        await run(fetch, *message.args)
    for message in sent("database"):
        if message.actor_name == "persist":
            await run(persist, *message.args)
    await assert_whole(opened, upstream)
    assert await rows(opened.database, LEDGER) == []
    added = [row for row in await rows(opened.database, FEED) if row["kind"] == "added"]
    assert {(row["killmail_id"], row["origin"]) for row in added} == {
        (killmail_id, "import") for killmail_id in lacking
    }


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/history/20260101.json", "<html>"),
        ("/history/20260101.json", '{"x":"y"}'),
        ("/history/raw/20260101.json", "[]"),
        ("/history/raw/20260101.json", '{"1":{"killmail_id":'),
    ],
)
async def test_what_r2z2_should_not_say_postpones_the_day(
    sqlite: AsyncEngine, path: str, text: str
) -> None:
    async def say(request: web.Request) -> web.Response:
        return web.Response(text=text if request.path == path else "{}")

    async with server_that_says(say) as url, aiohttp.ClientSession() as http:
        with pytest.raises(RetryLater, match="R2Z2's"):
            await r2z2.download(Settings(r2z2_url=url), http, sqlite, date(2026, 1, 1))


async def test_r2z2_is_asked_within_its_limit(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r2z2, "SPACING_S", 0.3)
    await requested(opened, "r2z2")
    began_s = time.monotonic()
    await run(schedule_days)
    await asyncio.gather(*(run(import_day, *one.args) for one in sent("history")))
    await import_all(opened)
    assert time.monotonic() - began_s > 2 * 0.3 * len(by_day(upstream))  # one after the other
