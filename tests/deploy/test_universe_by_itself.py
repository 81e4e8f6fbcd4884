"""The static universe comes by itself, and killmails don't wait for it."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from actors.shared.database import reading
from actors.shared.settings import Settings
from actors.shared.tables import SOLAR_SYSTEMS, UNIVERSE
from deploy.standin.faults import Faults
from deploy.standin.server import StandinOptions, start_standin
from deploy.standin.static_data import LATEST
from tests.support.pipeline import PARTS, Pipeline, pipeline
from tests.support.servers import empty_servers
from tests.support.tables import rows

RATE_PER_S = 20.0
LATENCY_MS = 4_000
"""Of each of the two answers. A poller that has reached the tip waits 6 s."""


async def until(pipe: Pipeline, column: Any) -> int:
    """Wait until the universe has a value there; return how many killmails are published."""
    async with asyncio.timeout(60):
        while True:
            async with reading(pipe.database) as connection:
                value = await connection.scalar(select(column))
            if value is not None:
                return await pipe.published()
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("servers", [False, pytest.param(True, marks=pytest.mark.service)])
async def test_it_is_loaded_while_killmails_are_published(servers: bool, tmp_path: Path) -> None:
    async with AsyncExitStack() as stack:
        settings = Settings(data_dir=tmp_path / "data")
        if servers:
            running = await stack.enter_async_context(empty_servers())
            settings = running.model_copy(update={"data_dir": settings.data_dir})
        faults = Faults(sde_latency_ms=LATENCY_MS)
        options = StandinOptions(
            synthetic=2_000, rate_per_s=RATE_PER_S, limits=False, faults=faults
        )
        standin = await start_standin(options)
        stack.push_async_callback(standin.stop)
        urls = {
            "r2z2_url": standin.url,
            "esi_url": standin.url,
            "sde_url": standin.url + LATEST,
            "r2z2_requests_per_s": 100.0,
        }
        parts = PARTS if servers else ("up",)
        pipe = await stack.enter_async_context(pipeline(settings, tmp_path, parts, **urls))
        await pipe.until(lambda published: published > 0)
        before = await until(pipe, UNIVERSE.c.next_check_at)
        after = await until(pipe, UNIVERSE.c.loaded_at)
        assert after - before > RATE_PER_S
        assert len(await rows(pipe.database, SOLAR_SYSTEMS)) > 400
