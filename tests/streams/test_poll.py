import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from aiokafka.errors import KafkaConnectionError
from redis.asyncio import Redis
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from actors.shared.tables import CURSORS
from streams.intake import Intake
from streams.ledger import read_cursor
from streams.poll import Counts, PollOptions, poll
from streams.sources.r2z2 import r2z2_name
from tests.streams.rig import (
    QUICK,
    TIMEOUT_S,
    Log,
    dataset_ids,
    ledger_positions,
    poll_until,
    standin,
    stopped_when,
)
from tests.support.servers import server_urls


def settings_for(url: str, **more: Any) -> Settings:
    return Settings(source="r2z2", r2z2_url=url, r2z2_requests_per_s=5000, **more)


async def test_without_a_source_nothing_happens(log: Log) -> None:
    counts = await poll_until(lambda: False, Settings(source="none"), log)
    assert counts == Counts()


async def test_positions_are_recorded_before_they_are_sent(database: AsyncEngine) -> None:
    log = Log(database, persists=False)
    async with standin(synthetic=200) as served:
        settings = settings_for(served.url)

        async def inspect() -> None:
            recorded.append((await ledger_positions(database), await read_cursor(database, name)))

        name = r2z2_name(settings)
        recorded: list[tuple[list[int], int | None]] = []
        log.before = inspect
        await poll_until(lambda: len(log.taken) == 200, settings, log)
    sent = [reference.position for reference in log.taken]
    assert await ledger_positions(database) == sent
    for positions, cursor in recorded:
        assert cursor == positions[-1]
    assert [len(seen) for seen, _ in recorded] == sorted(len(seen) for seen, _ in recorded)
    async with database.connect() as connection:
        row = (await connection.execute(select(CURSORS))).one()
    assert row.tip == row.position == sent[-1]
    assert datetime.now(UTC) - row.checked_at < timedelta(minutes=1)


class Crash(BaseException):
    """Ends the poller at once, as a dying process would."""


@pytest.mark.parametrize("seed", range(4))
async def test_a_crash_anywhere_loses_nothing(database: AsyncEngine, seed: int) -> None:
    random = Random(seed)
    log = Log(database)
    crashes = 0

    async def crash_perhaps() -> None:
        nonlocal crashes
        if crashes < 3 or (crashes < 12 and random.random() < 0.5):
            crashes += 1
            raise Crash

    log.before = crash_perhaps
    faults = {"hole_rate": 0.1, "html_rate": 0.1, "null_rate": 0.05, "rewrite_rate": 0.05}
    async with standin(faults, synthetic=300, seed=seed) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(served.url)
        while not log.durable >= wanted:
            await crashing(settings, log, wanted)
    assert crashes >= 3
    assert await ledger_positions(database) == []


async def crashing(settings: Settings, log: Log, wanted: set[int]) -> None:
    """Poll until all is durable, or until a crash."""
    task = asyncio.current_task()
    assert task

    async def send(references: Any) -> None:
        try:
            await log.send(references)
        except Crash:
            task.cancel()
            await asyncio.Event().wait()

    try:
        async with (
            stopped_when(lambda: log.durable >= wanted, log, acked=True) as stop,
            asyncio.timeout(TIMEOUT_S),
        ):
            await poll(settings, log.database, send, log.refuse, stop, options=QUICK)
    except asyncio.CancelledError:
        task.uncancel()


async def test_what_the_event_log_forgot_is_sent_again(log: Log) -> None:
    """A broker in memory restarts: it took the references, and they never became durable."""
    options = replace(QUICK, patience=timedelta(milliseconds=300))
    async with standin(synthetic=50) as served:
        wanted = dataset_ids(served.dataset)

        def broker_comes_back() -> bool:
            if len(log.taken) >= 50:
                log.persists = True
            return log.durable >= wanted

        log.persists = False
        counts = await poll_until(
            broker_comes_back, settings_for(served.url), log, options, acked=True
        )
    assert counts.recalled >= 50


async def test_outages_of_the_event_log_are_waited_out(log: Log) -> None:
    failures = 0

    async def fail_three_times() -> None:
        nonlocal failures
        if failures < 3:
            failures += 1
            raise KafkaConnectionError("away")

    log.before = fail_three_times
    async with standin() as served:
        wanted = dataset_ids(served.dataset)
        await poll_until(lambda: log.durable >= wanted, settings_for(served.url), log)
    assert failures == 3


async def test_outages_of_the_database_are_waited_out(log: Log) -> None:
    async with standin(synthetic=30) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(served.url)
        async with log.database.begin() as connection:
            await connection.execute(text("ALTER TABLE cursors RENAME TO cursors_behind"))

        async def come_back() -> None:
            await asyncio.sleep(0.5)
            async with log.database.begin() as connection:
                await connection.execute(text("ALTER TABLE cursors_behind RENAME TO cursors"))

        coming = asyncio.create_task(come_back())
        await poll_until(lambda: log.durable >= wanted, settings, log)
        await coming


async def test_a_bug_of_ours_ends_it(log: Log) -> None:
    async def go_wrong() -> None:
        raise ZeroDivisionError

    log.before = go_wrong
    async with standin() as served:
        with pytest.raises(ZeroDivisionError):
            await poll_until(lambda: False, settings_for(served.url), log)


async def test_a_stop_while_the_event_log_is_away_leaves_all_in_the_ledger(log: Log) -> None:
    async def fail() -> None:
        raise KafkaConnectionError("away")

    log.before = fail
    async with standin(synthetic=30) as served:
        wanted = dataset_ids(served.dataset)
        settings = settings_for(served.url)
        options = replace(QUICK, drain_s=0.1)
        recorded = asyncio.Event()

        async def inspect() -> None:
            recorded.set()
            await fail()

        log.before = inspect
        await poll_until(recorded.is_set, settings, log, options)
        assert await ledger_positions(log.database)
        log.before = None
        await poll_until(lambda: log.durable >= wanted, settings, log, acked=True)


class Two:
    """Two pollers over one lock."""

    def __init__(self, settings: Settings, log: Log) -> None:
        self.counts = (Counts(), Counts())
        self.stops = (asyncio.Event(), asyncio.Event())
        self.highest = 0
        self.tasks = [
            asyncio.create_task(
                poll(settings, log.database, log.send, log.refuse, stop, counts, QUICK)
            )
            for counts, stop in zip(self.counts, self.stops, strict=True)
        ]

    async def until_polling(self, which: int | None = None) -> int:
        """Wait until one of them polls (or the one that is meant); return which."""
        async with asyncio.timeout(TIMEOUT_S):
            while True:
                polling = [n for n in (0, 1) if self.counts[n].polling]
                assert len(polling) <= 1
                if polling and which in (None, polling[0]):
                    return polling[0]
                await asyncio.sleep(0.01)

    async def stop(self) -> None:
        for stop in self.stops:
            stop.set()
        await asyncio.wait_for(asyncio.gather(*self.tasks, return_exceptions=True), TIMEOUT_S)


def redis_url() -> str:
    return server_urls()["redis_url"]


@pytest.mark.service
@pytest.mark.parametrize("graceful", [True, False])
async def test_another_takes_over(log: Log, graceful: bool) -> None:
    async with standin(synthetic=400, rate_per_s=200) as served:
        wanted = dataset_ids(served.dataset)
        two = Two(settings_for(served.url, redis_url=redis_url()), log)
        first = await two.until_polling()
        if graceful:
            two.stops[first].set()
        else:
            two.tasks[first].cancel()
        second = await two.until_polling(1 - first)
        async with asyncio.timeout(TIMEOUT_S):
            while not log.durable >= wanted:
                assert two.counts[second].polling
                await asyncio.sleep(0.01)
        await two.stop()
    assert sum(counts.received for counts in two.counts) >= len(wanted)


@pytest.mark.service
async def test_a_dead_holder_is_followed(log: Log) -> None:
    """Its lease still stands when the poller begins, and nobody renews it."""
    async with standin(synthetic=20) as served, Redis.from_url(redis_url()) as redis:
        settings = settings_for(served.url, redis_url=redis_url())
        lock = f"killstream:poll:{r2z2_name(settings)}"
        await redis.set(lock, "of a dead process", px=700)
        wanted = dataset_ids(served.dataset)
        await poll_until(lambda: log.durable >= wanted, settings, log)
        assert await redis.get(lock) is None


@pytest.mark.service
async def test_who_loses_the_lock_stops_polling(log: Log) -> None:
    async with (
        standin(synthetic=None, rate_per_s=50) as served,
        Redis.from_url(redis_url()) as redis,
    ):
        settings = settings_for(served.url, redis_url=redis_url())
        lock = f"killstream:poll:{r2z2_name(settings)}"
        two = Two(settings, log)
        await two.until_polling()
        await redis.set(lock, "of another process", px=60_000)
        async with asyncio.timeout(TIMEOUT_S):
            while any(counts.polling for counts in two.counts):
                await asyncio.sleep(0.01)
        assert await redis.get(lock) == b"of another process"
        await redis.delete(lock)
        await two.until_polling()
        await two.stop()


@pytest.mark.service
async def test_a_lease_is_renewed(log: Log) -> None:
    async with (
        standin(synthetic=None, rate_per_s=50) as served,
        Redis.from_url(redis_url()) as redis,
    ):
        settings = settings_for(served.url, redis_url=redis_url())
        lock = f"killstream:poll:{r2z2_name(settings)}"
        two = Two(settings, log)
        first = await two.until_polling()
        holder = await redis.get(lock)
        await asyncio.sleep(2 * QUICK.lease.lasts_s)
        assert two.counts[first].polling
        assert await redis.get(lock) == holder
        await two.stop()
        assert await redis.get(lock) is None


async def test_without_redis_the_lock_waits(log: Log) -> None:
    """Nothing answers at the address: it says so, and stops when asked."""
    settings = Settings(
        source="r2z2", r2z2_url="http://127.0.0.1:9", redis_url="redis://127.0.0.1:9"
    )
    stop = asyncio.Event()
    async with asyncio.timeout(TIMEOUT_S):
        polling = asyncio.create_task(
            poll(settings, log.database, log.send, log.refuse, stop, options=PollOptions())
        )
        await asyncio.sleep(0.2)
        assert not polling.done()
        stop.set()
        counts = await polling
    assert counts.received == 0


async def test_a_paused_intake_reads_nothing_new_and_sends_what_it_has_again(
    database: AsyncEngine,
) -> None:
    intake, log = Intake(), Log(database, persists=False)
    options = replace(QUICK, patience=timedelta(seconds=0.1), check_s=0.1)
    stop = asyncio.Event()

    def positions() -> set[int | None]:
        return {reference.position for reference in log.taken}

    async def until(wanted: Callable[[], bool]) -> None:
        async with asyncio.timeout(TIMEOUT_S):
            while not wanted():
                await asyncio.sleep(0.01)

    async with standin(synthetic=120) as served:
        settings = settings_for(served.url).model_copy(update={"r2z2_requests_per_s": 60})
        polling = asyncio.create_task(
            poll(settings, database, log.send, log.refuse, stop, options=options, intake=intake)
        )
        await until(lambda: len(positions()) > 10)
        intake.switch(frozenset({"source"}))
        await until(lambda: len(log.taken) > 2 * len(positions()))  # what was read is sent again
        known = positions()
        await until(lambda: len(log.taken) > 4 * len(known))
        assert positions() == known
        assert len(known) < 60

        intake.switch(frozenset({"esi"}))
        await until(lambda: len(positions()) == 120)
        intake.switch(frozenset({"source"}))
        stop.set()  # a paused poller ends, too
        async with asyncio.timeout(TIMEOUT_S):
            await polling
