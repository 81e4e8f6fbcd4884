"""The actor loads the universe at the first start and once a day, in one process at a time."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from structlog.testing import capture_logs

from actors.resources import Resources
from actors.shared.outage import Outage
from actors.shared.settings import Settings
from actors.shared.tables import UNIVERSE, UNIVERSE_TYPES
from actors.universe import refresh, schedule
from actors.universe.refresh import load_universe
from deploy.standin.server import Standin
from deploy.standin.static_data import LATEST
from tests.support.esi import opened_resources, run, set_faults, standin
from tests.support.tables import rows


@pytest.fixture
async def upstream() -> AsyncIterator[Standin]:
    async with standin(20) as started:
        yield started


@pytest.fixture
async def opened(
    upstream: Standin, database_settings: dict[str, Any], tmp_path: Path
) -> AsyncIterator[Resources]:
    settings = Settings(
        data_dir=tmp_path,
        esi_url=upstream.url,
        sde_url=upstream.url + LATEST,
        **database_settings,
    )
    async with opened_resources(settings) as resources:
        yield resources


def archives(upstream: Standin) -> int:
    counted = upstream.playback.stats.requests.items()
    return sum(count for (_, endpoint, _), count in counted if endpoint == "archive")


async def state(opened: Resources) -> Any:
    async with opened.database.connect() as connection:
        return (await connection.execute(select(UNIVERSE))).one()


async def make_due(opened: Resources) -> None:
    async with opened.database.begin() as connection:
        await connection.execute(update(UNIVERSE).values(next_check_at=datetime.now(UTC)))


async def test_it_is_loaded_once_and_checked_when_a_day_is_over(
    opened: Resources, upstream: Standin
) -> None:
    await asyncio.gather(*(run(load_universe) for _ in range(3)))
    assert archives(upstream) == 1
    loaded = await state(opened)
    assert loaded.build_number == 3_000_000
    assert timedelta(hours=23) < loaded.next_check_at - datetime.now(UTC) < timedelta(hours=26)
    set_faults(upstream, sde_build=3_000_001)
    await run(load_universe)
    assert archives(upstream) == 1
    await make_due(opened)
    await run(load_universe)
    assert (await state(opened)).build_number == 3_000_001
    assert archives(upstream) == 2


async def test_a_failure_is_logged_once_and_tried_again_later_and_later(
    opened: Resources, upstream: Standin
) -> None:
    set_faults(upstream, sde_status=503)
    pauses = []
    with capture_logs() as logs:
        for _ in range(3):
            await run(load_universe)
            failed = await state(opened)
            pauses.append((failed.next_check_at - datetime.now(UTC)).total_seconds())
            await make_due(opened)
    assert [line["event"] for line in logs] == ["server.unavailable"]
    assert "answers 503" in failed.last_error
    assert (failed.tries, failed.loaded_at) == (3, None)
    assert 55 < pauses[0] < 80 < pauses[1] < 155 < pauses[2] < 310
    set_faults(upstream)
    with capture_logs() as logs:
        await run(load_universe)
    assert {line["event"] for line in logs} == {"universe.loaded", "server.available"}
    done = await state(opened)
    assert (done.tries, done.last_error) == (0, None)
    assert await rows(opened.database, UNIVERSE_TYPES)


async def test_pauses_have_a_maximum(opened: Resources, upstream: Standin) -> None:
    set_faults(upstream, sde_wrong=("html",))
    await run(load_universe)
    async with opened.database.begin() as connection:
        values = {"tries": 400, "next_check_at": datetime.now(UTC)}
        await connection.execute(update(UNIVERSE).values(**values))
    await run(load_universe)
    pause = (await state(opened)).next_check_at - datetime.now(UTC)
    assert schedule.RETRY_MAX * 0.9 < pause < schedule.RETRY_MAX * 1.3
    set_faults(upstream)
    await make_due(opened)
    await run(load_universe)


async def test_an_older_build_is_left_alone_until_tomorrow(
    opened: Resources, upstream: Standin
) -> None:
    await run(load_universe)
    set_faults(upstream, sde_build=2_999_999)
    await make_due(opened)
    await run(load_universe)
    kept = await state(opened)
    assert (kept.build_number, kept.last_error, kept.tries) == (3_000_000, None, 0)
    assert kept.next_check_at > datetime.now(UTC) + timedelta(hours=23)


async def test_another_process_loads_soon_after_one_died(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The lease is renewed while it works, and ends with the process."""
    monkeypatch.setattr(schedule, "LEASE", timedelta(seconds=0.4))
    monkeypatch.setattr(schedule, "RENEW_S", 0.05)
    set_faults(upstream, sde_latency_ms=600)
    first = asyncio.create_task(run(load_universe))
    await asyncio.sleep(0.8)  # twice the lease, within the two answers
    await run(load_universe)
    assert not first.done()
    first.cancel()
    await asyncio.wait([first])
    set_faults(upstream)
    async with asyncio.timeout(5):
        while not (await state(opened)).loaded_at:
            await run(load_universe)
            await asyncio.sleep(0.05)
    assert archives(upstream) == 1


async def test_the_end_of_a_process_is_no_failure(opened: Resources, upstream: Standin) -> None:
    set_faults(upstream, sde_latency_ms=60_000)
    loading = asyncio.create_task(run(load_universe))
    async with asyncio.timeout(10):
        while not await rows(opened.database, UNIVERSE):
            await asyncio.sleep(0.05)
    await asyncio.sleep(0.2)  # the request is on its way
    with capture_logs() as logs:
        await opened.http.close()
        await asyncio.wait_for(loading, 5)
    assert logs == []
    assert (await state(opened)).tries == 0


@pytest.fixture(autouse=True)
def _available(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refresh, "_outage", Outage("the archive of static data"))
