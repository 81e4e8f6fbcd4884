"""Days that fail: archives that are absent or damaged, killmails that are refused."""

from datetime import UTC, date, datetime
from typing import Any

import pytest
from sqlalchemy import update

from actors.history import day as module
from actors.history.run import import_day, schedule_days
from actors.history.schedule import (
    EPOCH,
    request_days,
)
from actors.killmails import bulk
from actors.resources import Resources
from actors.shared.tables import (
    FEED,
    HISTORY_DAYS,
    KILLMAILS,
    REJECTED,
)
from deploy.standin.server import Standin
from tests.actors.history.days import COUNT, assert_whole, by_day, import_all, requested
from tests.support.esi import run, sent, set_faults
from tests.support.tables import rows

pytestmark = pytest.mark.usefixtures("small_steps")


@pytest.mark.parametrize(
    ("faults", "state"),
    [
        ({"everef_status": 429}, "waiting"),
        ({"everef_status": 503}, "waiting"),
        ({"everef_wrong": "html"}, "failed"),
        ({"everef_wrong": "cut"}, "failed"),
    ],
)
async def test_a_day_whose_archive_fails_says_why(
    opened: Resources, upstream: Standin, faults: dict[str, Any], state: str
) -> None:
    totals = await requested(opened)
    set_faults(upstream, **faults)
    await import_all(opened)
    failed = await rows(opened.database, HISTORY_DAYS)
    assert {row["state"] for row in failed} == {state}
    assert all(row["state_reason"] for row in failed)
    assert await rows(opened.database, FEED) == []
    set_faults(upstream)
    async with opened.database.begin() as connection:
        await connection.execute(update(HISTORY_DAYS).values(next_try_at=EPOCH, leased_until=EPOCH))
    await request_days(opened.database, "everef", totals)
    await import_all(opened)
    await assert_whole(opened, upstream)


async def test_what_is_no_killmail_is_rejected_and_the_others_are_stored(
    opened: Resources, upstream: Standin
) -> None:
    set_faults(upstream, everef_wrong="file")
    await requested(opened)
    await import_all(opened)
    await assert_whole(opened, upstream)
    rejected = await rows(opened.database, REJECTED)
    assert len(rejected) == len(by_day(upstream))
    assert all("not an object" in row["reason"] for row in rejected)
    assert {row["rejected"] for row in await rows(opened.database, HISTORY_DAYS)} == {1}


async def test_what_the_database_refuses_is_rejected_alone(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    refused = {one.killmail_id for one in list(upstream.dataset.killmails)[::40]}
    stored = bulk._insert

    async def refuse_some(connection: Any, versions: Any) -> Any:
        if refused & {version.killmail.killmail_id for version in versions}:
            raise OverflowError("too large")
        return await stored(connection, versions)

    monkeypatch.setattr(bulk, "_insert", refuse_some)
    await requested(opened)
    await import_all(opened)
    kept = {row["killmail_id"] for row in await rows(opened.database, KILLMAILS)}
    assert kept == {one.killmail_id for one in upstream.dataset.killmails} - refused
    rejected = await rows(opened.database, REJECTED)
    assert len(rejected) == len(refused)
    days = await rows(opened.database, HISTORY_DAYS)
    assert sum(row["rejected"] for row in days) == len(refused)
    assert sum(row["added"] for row in days) == COUNT - len(refused)


async def test_an_unexpected_error_postpones_the_day(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> None:
        raise RuntimeError("unexpected")

    monkeypatch.setattr(module, "_store", fail)
    await requested(opened)
    await run(schedule_days)
    for message in sent("history"):
        with pytest.raises(RuntimeError):
            await run(import_day, *message.args)
    postponed = await rows(opened.database, HISTORY_DAYS)
    assert {row["state"] for row in postponed} == {"waiting"}
    assert all("unexpected" in row["state_reason"] for row in postponed)
    await run(schedule_days)
    assert sent("history") == []


async def test_a_day_without_an_archive_fails_when_it_is_old(opened: Resources) -> None:
    today = datetime.now(UTC).date()
    await request_days(opened.database, "everef", {date(2008, 1, 1): 5, today: 5})
    await import_all(opened)
    states = {row["day"]: row["state"] for row in await rows(opened.database, HISTORY_DAYS)}
    assert states == {date(2008, 1, 1): "failed", today: "waiting"}
