"""`killstream history import` without RabbitMQ: by itself, with a plan, and once."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.shared.tables import FEED, HISTORY_DAYS, KILLMAILS
from deploy.cli import app
from deploy.standin.server import Standin
from tests.support.esi import set_faults, standin
from tests.support.tables import rows

COUNT = 60


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Standin]:
    async with standin(COUNT, rate_per_s=0.0005, released_before_s=COUNT * 2001) as started:
        monkeypatch.setenv("KILLSTREAM_EVEREF_URL", started.url)
        yield started


async def history(*options: str) -> Result:
    command = ["history", "import", "--from=2026-01-01", "--to=2026-01-31", *options]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def test_it_imports_by_itself_and_only_once(upstream: Standin, database: AsyncEngine) -> None:
    days = {
        datetime.fromtimestamp(one.killed_at_s, UTC).date() for one in upstream.dataset.killmails
    }
    planned = await history("--dry-run")
    assert f"has {COUNT} killmails of {len(days)} days" in planned.output
    assert await rows(database, HISTORY_DAYS) == []
    done = await history()
    assert done.exit_code == 0, done.output
    assert f"imported: {len(days)} days; {COUNT} killmails were added, 0 rejected" in done.output
    assert len(await rows(database, KILLMAILS)) == COUNT
    assert len(await rows(database, FEED)) == len(days)
    before = await rows(database, HISTORY_DAYS)
    assert (await history()).exit_code == 0
    assert await rows(database, HISTORY_DAYS) == before
    again = await history("--again")
    assert f"imported: {len(days)} days; 0 killmails were added" in again.output


async def test_a_failed_day_is_named(upstream: Standin, database: AsyncEngine) -> None:
    set_faults(upstream, everef_wrong="cut")
    failed = await history()
    assert failed.exit_code == 1
    assert "failed, for example 2026-01-0" in failed.output
    assert "the archive is damaged" in failed.output
    set_faults(upstream, everef_status=429)
    refused = await history()
    assert "EVE Ref refuses: 429" in refused.output


async def test_detached_it_only_requests(upstream: Standin, database: AsyncEngine) -> None:
    assert "requested: 2 days" in (await history("--detach")).output
    states = {row["day"]: row["state"] for row in await rows(database, HISTORY_DAYS)}
    assert states == {date(2026, 1, 1): "waiting", date(2026, 1, 2): "waiting"}
    assert await rows(database, KILLMAILS) == []


async def test_days_that_are_not_over_are_refused() -> None:
    refused = await asyncio.to_thread(
        CliRunner().invoke, app, ["history", "import", "--to", "2999-01-01"]
    )
    assert refused.exit_code == 2
    assert "isn't over yet" in refused.output
