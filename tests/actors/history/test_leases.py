"""One process at a time imports a day, and another goes on where it ended."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import select, update

from actors.history import day as module
from actors.history import schedule
from actors.history.day import import_leased
from actors.history.run import import_day, schedule_days
from actors.history.schedule import (
    EPOCH,
    LeaseLost,
    begin_download,
    lease_day,
    lease_next,
    read_standing,
    request_days,
)
from actors.resources import Resources
from actors.shared.tables import (
    FEED,
    HISTORY_DAYS,
    IMPORTED_DAYS,
    KILLMAILS,
)
from deploy.standin.server import Standin
from tests.actors.history.days import COUNT, assert_whole, by_day, import_all, requested
from tests.support.esi import run, sent, set_faults
from tests.support.tables import rows

pytestmark = pytest.mark.usefixtures("small_steps")


async def test_a_day_that_is_interrupted_goes_on_and_is_counted_once(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await requested(opened)
    stored = module._store
    calls = 0

    async def crash_at_times(*args: Any) -> list[bytes]:
        nonlocal calls
        calls += 1
        if calls % 5 == 0:  # in the middle of days of three batches
            raise RuntimeError("crash")
        return await stored(*args)

    monkeypatch.setattr(module, "_store", crash_at_times)
    monkeypatch.setattr(module, "AFTER_ERROR", timedelta())
    for _ in range(20):
        await run(schedule_days)
        for message in sent("history"):
            try:
                await run(import_day, *message.args)
            except RuntimeError:
                continue
    assert calls > 6
    standing = await read_standing(opened.database, date.min, date.max)
    assert standing.days == {"done": len(by_day(upstream))}
    assert standing.added == COUNT
    await assert_whole(opened, upstream)
    assert len(await rows(opened.database, FEED)) == len(by_day(upstream))


async def test_who_lost_the_lease_writes_nothing(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    await requested(opened)
    day = max(by_day(upstream))
    leased = await lease_day(opened.database, day)
    assert leased
    assert await lease_day(opened.database, day) is None
    async with opened.database.begin() as connection:
        await connection.execute(update(HISTORY_DAYS).values(leased_until=EPOCH))
    other = await lease_day(opened.database, day)
    assert other
    with pytest.raises(LeaseLost):
        await begin_download(opened.database, leased)
    monkeypatch.setattr(module, "begin_download", lambda *_: asyncio.sleep(0, True))

    async def ignore(_: list[bytes]) -> None: ...

    args = opened.settings, opened.database, opened.http
    assert await import_leased(*args, leased, ignore) is None
    assert await rows(opened.database, KILLMAILS) == []
    entry = await import_leased(*args, other, ignore)
    assert entry
    assert entry.entry.added == len(by_day(upstream)[day])


async def test_a_day_whose_process_died_is_due_when_its_lease_ends(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LEASE", timedelta(seconds=0.2))
    day = max(by_day(upstream))
    await request_days(opened.database, "everef", {day: 1})
    await run(schedule_days)
    assert len(sent("history")) == 1
    assert await lease_day(opened.database, day)  # and no more is heard of it
    await run(schedule_days)
    assert sent("history") == []
    await asyncio.sleep(0.25)
    await run(schedule_days)
    assert [message.args[0] for message in sent("history")] == [str(day)]


async def test_a_slow_download_keeps_its_lease(
    opened: Resources, upstream: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "LEASE", timedelta(seconds=0.6))
    monkeypatch.setattr(schedule, "RENEW_EVERY_S", 0.1)
    set_faults(upstream, everef_latency_ms=1_500)
    await request_days(opened.database, "everef", {max(by_day(upstream)): 1})
    await run(schedule_days)
    (message,) = sent("history")
    importing = asyncio.create_task(run(import_day, *message.args))
    while not importing.done():
        (row,) = await rows(opened.database, HISTORY_DAYS)
        if row["lease"] and row["state"] == "waiting":
            assert row["leased_until"] > datetime.now(UTC)
        await run(import_day, *message.args)
        await asyncio.sleep(0.05)
    await importing
    (row,) = await rows(opened.database, HISTORY_DAYS)
    assert (row["state"], row["downloading_until"]) == ("done", None)
    assert upstream.playback.stats.requests["everef", "archive", 200] == 1


async def test_a_process_that_ends_gives_its_day_back(opened: Resources, upstream: Standin) -> None:
    set_faults(upstream, everef_latency_ms=10_000)
    await request_days(opened.database, "everef", {max(by_day(upstream)): 1})
    await run(schedule_days)
    (message,) = sent("history")
    importing = asyncio.create_task(run(import_day, *message.args))
    async with asyncio.timeout(5):
        while not (await rows(opened.database, HISTORY_DAYS))[0]["downloading_until"]:
            await asyncio.sleep(0.01)
        importing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await importing
    (row,) = await rows(opened.database, HISTORY_DAYS)
    assert (row["lease"], row["downloading_until"]) == (None, None)
    await run(schedule_days)
    assert [one.args for one in sent("history")] == [message.args]


async def test_on_sqlite_one_day_is_imported_at_a_time(
    opened: Resources, upstream: Standin
) -> None:
    await requested(opened)
    first, second, *_ = sorted(by_day(upstream), reverse=True)
    await run(schedule_days)
    sent("history")
    assert await lease_day(opened.database, first)
    other = await lease_day(opened.database, second)
    assert (other is None) == (opened.database.dialect.name == "sqlite")
    await run(schedule_days)
    assert sent("history") == []
    async with opened.database.begin() as connection:  # the others wait for it no longer
        await connection.execute(update(HISTORY_DAYS).values(leased_until=EPOCH))
    await run(schedule_days)
    assert str(second) in [message.args[0] for message in sent("history")]


async def test_two_importers_at_once_add_each_killmail_once(
    opened: Resources, upstream: Standin
) -> None:
    await requested(opened)
    await run(schedule_days)
    messages = sent("history")
    await asyncio.gather(*(run(import_day, *one.args) for one in [*messages, *messages]))
    await import_all(opened)
    await assert_whole(opened, upstream)
    assert upstream.playback.stats.refused["everef"] == 0
    assert sum(row["added"] for row in await rows(opened.database, IMPORTED_DAYS)) == COUNT


async def test_few_messages_are_under_way(opened: Resources) -> None:
    days = {date(2008, 1, 1) + timedelta(days=n): 5 for n in range(100)}
    await request_days(opened.database, "everef", days)
    await run(schedule_days)
    await run(schedule_days)
    assert [message.args[0] for message in sent("history")] == [
        str(day) for day in sorted(days, reverse=True)[:40]
    ]


async def test_a_day_is_chosen_and_leased_at_once(opened: Resources, upstream: Standin) -> None:
    """Who is killed with a lease leaves the day to others when it ends, not minutes later."""
    await requested(opened)
    first, none = await lease_next(opened.database), await lease_next(opened.database)
    assert first is not None
    if opened.database.dialect.name == "sqlite":
        assert none is None  # one at a time
    waiting = select(HISTORY_DAYS.c.day, HISTORY_DAYS.c.next_try_at, HISTORY_DAYS.c.leased_until)
    async with opened.database.connect() as connection:
        found = {row.day: row for row in await connection.execute(waiting)}
    now = datetime.now(UTC)
    assert max(found) == first.day
    assert all(row.next_try_at <= now for row in found.values())
    assert found[first.day].leased_until > now
