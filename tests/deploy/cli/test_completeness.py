"""`killstream completeness`: the calendar, the sums and what nobody gives; an audit now."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from typer.testing import CliRunner, Result

from actors.history import r2z2
from actors.killmails.persist import read, store
from actors.shared.reference import encode_reference
from actors.shared.tables import COMPLETENESS_DAYS, LEDGER, UNOBTAINABLE
from deploy.cli import app
from deploy.standin.server import Standin
from tests.support.esi import set_faults, standin
from tests.support.made import a_reference
from tests.support.tables import rows

COUNT = 50


@pytest.fixture
async def upstream(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Standin]:
    monkeypatch.setattr(r2z2, "SPACING_S", 0.0)
    async with standin(COUNT) as started:
        monkeypatch.setenv("KILLSTREAM_R2Z2_URL", started.url)
        yield started


async def completeness(*options: str) -> Result:
    command = ["completeness", "--from=2026-01-01", "--to=2026-02-28", *options]
    return await asyncio.to_thread(CliRunner().invoke, app, command)


async def write(database: AsyncEngine, day: date, state: str, **values: Any) -> None:
    now = datetime.now(UTC)
    row = {"upstream_total": 10, "have": 10, "checked_at": now, "next_check_at": now} | values
    async with database.begin() as connection:
        await connection.execute(COMPLETENESS_DAYS.insert().values(day=day, state=state, **row))


async def test_the_calendar_has_a_sign_for_each_day(database: AsyncEngine) -> None:
    assert "nothing was audited yet" in (await completeness()).output
    await write(database, date(2026, 1, 1), "complete")
    await write(database, date(2026, 1, 3), "incomplete", have=8, missing=2, repaired=3)
    await write(database, date(2026, 2, 1), "not_imported", have=0, missing=10)
    nobodys = {"killmail_id": 7, "killmail_hash": "a" * 40, "day": date(2026, 1, 3)}
    async with database.begin() as connection:
        said = {"reason": "ESI answers 404", "recorded_at": datetime.now(UTC)}
        await connection.execute(UNOBTAINABLE.insert().values(**nobodys, **said))
    shown = await completeness()
    assert shown.exit_code == 0, shown.output
    assert "2026-01  #.!\n2026-02  -\n" in shown.output
    assert "12  are missing" in shown.output
    assert f"2026-01-03 7 {'a' * 40}: ESI answers 404" in shown.output
    told = json.loads((await completeness("--json")).stdout)
    assert told["totals"]["have"] == 18
    assert [day["unobtainable"] for day in told["days"]] == [0, 1, 0]
    assert told["unobtainable"][0]["killmail_id"] == 7


async def test_an_audit_now_begins_repairs(upstream: Standin, database: AsyncEngine) -> None:
    played = list(upstream.dataset.killmails)
    known = [a_reference(one.body, i) for i, one in enumerate(played[5:])]
    await store(database, *read(map(encode_reference, known)))
    audited = await completeness("--audit")
    assert audited.exit_code == 1, audited.output
    assert "2026-01  ~\n" in audited.output
    assert "5  are missing" in audited.output
    assert {row["position"] for row in await rows(database, LEDGER)} == {
        one.killmail_id for one in played[:5]
    }


async def test_a_ban_is_named(upstream: Standin, database: AsyncEngine) -> None:
    set_faults(upstream, r2z2_status=429)
    refused = await completeness("--audit")
    assert refused.exit_code == 1
    assert "R2Z2 refuses: 429" in refused.output
    assert "has refused requests" in (await completeness("--audit")).output
