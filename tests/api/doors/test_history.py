"""R2Z2's history, read by our own client."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history import r2z2
from actors.history.archive import Archived
from actors.history.errors import NoSuchDay
from actors.shared.settings import Settings
from actors.shared.tables import COMPLETENESS_DAYS
from api.doors import history
from tests.api.gateway import Writer, a_killmail, serve

DAY = date(2026, 1, 1)
ODD = ("20260230", "2026010", "202601011", "99999999", "20260102", "x", "2026-01-01", "%D9%A1" * 8)


@pytest.fixture
def settings(database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, api_files_per_s=10_000, **database_settings)


async def test_our_client_reads_our_history(
    settings: Settings, writer: Writer, sqlite: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(r2z2, "SPACING_S", 0)
    monkeypatch.setattr(history, "HASHES_AT_ONCE", 2)
    monkeypatch.setattr(history, "BODIES_AT_ONCE", 2)
    wanted = {id_: a_killmail(id_) for id_ in range(1, 8)}
    at_once = a_killmail(9, killmail_time="2026-01-01T00:03:00Z")
    day_before = a_killmail(8, killmail_time="2025-12-31T23:59:59Z")
    await writer.store(*wanted.values(), at_once, day_before)
    await _audited(writer, DAY, have=8)
    async with serve(settings) as address, aiohttp.ClientSession() as http:
        ours = Settings(r2z2_url=address)
        assert await r2z2.totals(ours, http, sqlite) == {DAY: 8}
        archive = await r2z2.download(ours, http, sqlite, DAY)
        assert archive.without_body == {}
        by_time = [*wanted.values()]
        by_time.insert(3, at_once)
        assert [one.body for one in archive.unpack() if isinstance(one, Archived)] == by_time
        with pytest.raises(NoSuchDay):
            await r2z2.hashes(ours, http, sqlite, DAY - timedelta(days=9))


async def _audited(writer: Writer, day: date, have: int) -> None:
    now = datetime.now(UTC)
    row = {"day": day, "have": have, "upstream_total": have, "state": "complete"}
    async with writer.database.begin() as connection:
        insert = COMPLETENESS_DAYS.insert().values(checked_at=now, next_check_at=now, **row)
        await connection.execute(insert)


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_days_that_arent_there_are_not_found(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    today = datetime.now(UTC)
    await writer.store(a_killmail(7, killmail_time=f"{today:%Y-%m-%dT%H:%M:%SZ}"))
    for odd in (*ODD, f"{today:%Y%m%d}"):
        for path in (f"/history/{odd}.json", f"/history/raw/{odd}.json"):
            async with client.get(path) as answer:
                assert answer.status == 404, path
    async with client.get("/history/totals.json") as answer:
        assert await answer.json() == {}
