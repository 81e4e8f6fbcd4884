"""An import of history whose processes are killed, beside the live feed; and its verdict."""

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from random import Random
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.check.run import check_all
from actors.shared.settings import Settings
from actors.shared.tables import (
    FEED,
    FEED_COUNTER,
    HISTORY_DAYS,
    IMPORTED_DAYS,
    KILLMAILS,
    UNPUBLISHED,
)
from deploy.standin.faults import Faults
from deploy.standin.server import StandinOptions, start_standin
from tests.support.archives import FIRST_ID, made_up, serving_archives, write_archives
from tests.support.pipeline import Pipeline, pipeline
from tests.support.processes import Killstream, environment, start_killstream
from tests.support.subscriber import TimedSubscriber
from tests.support.tables import rows
from tests.support.verdict import latencies_s
from tests.support.waiting import within

WITH_LEASE = """
import sys
from datetime import timedelta
from actors.history import schedule
from deploy.__main__ import main

schedule.LEASE = timedelta(seconds=float(sys.argv.pop(1)))
schedule.RENEW_EVERY_S = schedule.LEASE.total_seconds() / 3
main()
"""


@dataclass(frozen=True, kw_only=True)
class HistoryOptions:
    """How much is imported, and how often the importers are killed."""

    counts: Mapping[date, int]
    """Killmails of each day."""
    importers: int = 2
    kills: int = 5
    lease_s: float | None = None
    """How long after its importer was killed another one goes on with a day; None: as it is."""
    until_published: bool = True
    """Whether to wait for the sweep, which publishes the days' entries."""
    live_per_s: float = 5.0
    seed: int = 1
    timeout_s: float = 900.0


class LongestWait:
    """How long the live feed waited for a transaction of an import."""

    wait_s = 0.0

    async def measure(self, database: AsyncEngine) -> None:
        """Lock what numbers the feed, as each live killmail does, until cancelled."""
        while True:
            began_s = time.monotonic()
            async with database.begin() as connection:
                await connection.execute(
                    update(FEED_COUNTER).values(last_sequence=FEED_COUNTER.c.last_sequence)
                )
            self.wait_s = max(self.wait_s, time.monotonic() - began_s)
            await asyncio.sleep(0.05)


async def run_history(
    settings: Settings, folder: Path, options: HistoryOptions, output: Callable[[str], object]
) -> dict[str, Any]:
    """Import made-up days with importers that are killed at random; give the verdict."""
    archives = folder / "archives"
    archives.mkdir()
    totals = await asyncio.to_thread(write_archives, archives, made_up(options.counts))
    output(f"{sum(totals.values()):,} killmails of {len(totals)} days are in archives")
    live_count = round(options.live_per_s * options.timeout_s)
    standin = await start_standin(
        StandinOptions(
            synthetic=live_count,
            rate_per_s=options.live_per_s,
            begins_at=datetime.now(UTC),
            seed=options.seed,
            limits=False,
            faults=Faults(esi_error_rate=0.05, r2z2_from_start=True),
        )
    )
    async with AsyncExitStack() as stack:
        stack.push_async_callback(standin.stop)
        everef = await stack.enter_async_context(serving_archives(archives, totals))
        changes = {
            "r2z2_url": standin.url,
            "esi_url": standin.url,
            "everef_url": everef,
            "r2z2_requests_per_s": 10 * options.live_per_s,
        }
        pipe = await stack.enter_async_context(pipeline(settings, folder, ("up",), **changes))
        client = TimedSubscriber(pipe.url)
        task = asyncio.create_task(client.run())
        stack.callback(task.cancel)
        await client.until(1, timeout_s=60)
        longest = LongestWait()
        probe = asyncio.create_task(longest.measure(pipe.database))
        stack.callback(probe.cancel)
        began_s = time.monotonic()
        killed = await _import(pipe, totals, options, output)
        probe.cancel()
        output(f"imported within {time.monotonic() - began_s:.1f} s")
        if options.until_published:
            await _until_published(pipe)
            output(f"published within {time.monotonic() - began_s:.1f} s")
        live = await _delivered(pipe, client)
        verdict = await _verdict(pipe.database, totals, live)
    return {
        **verdict,
        "killed": killed,
        "longest_wait_s": round(longest.wait_s, 2),
        "live": len(live),
        "live_latency_s": latencies_s(client.came_s, standin.dataset, standin.playback.faults),
        "options": {**asdict(options), "counts": len(options.counts)},
    }


async def _import(
    pipe: Pipeline, totals: Mapping[date, int], options: HistoryOptions, output: Callable[..., Any]
) -> int:
    """Run importers until all is imported; kill one of them at certain points of the way."""
    random, killed, total = Random(options.seed), 0, sum(totals.values())
    points = sorted(random.uniform(0.02, 0.9) for _ in range(options.kills))
    importers: list[Killstream] = []
    try:
        importers = [await _start(pipe, totals, n, options) for n in range(options.importers)]
        async with within(options.timeout_s, pipe.said):
            while not all(one.process.returncode == 0 for one in importers):
                if any(one.process.returncode for one in importers):
                    raise AssertionError("\n".join(one.log.read_text() for one in importers))
                added = await _added(pipe.database)
                if killed < options.kills and added >= points[killed] * total:
                    chosen = random.randrange(len(importers))
                    await importers[chosen].kill()
                    killed += 1
                    output(f"killed importer {chosen} after {added:,} killmails")
                    importers[chosen] = await _start(pipe, totals, chosen, options)
                await asyncio.sleep(0.05)
    finally:
        for one in importers:
            await one.kill()
    return killed


async def _start(
    pipe: Pipeline, totals: Mapping[date, int], number: int, options: HistoryOptions
) -> Killstream:
    command = ["history", "import", f"--from={min(totals)}", f"--to={max(totals)}"]
    log = pipe.logs / f"importer-{number}.log"
    if options.lease_s is None:
        return await start_killstream(*command, settings=pipe.settings, log=log)
    with log.open("ab") as said:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WITH_LEASE, str(options.lease_s), *command,
            env=environment(pipe.settings), stdout=said, stderr=said, start_new_session=True,
        )  # fmt: skip
    return Killstream(process, log)


async def _added(database: AsyncEngine) -> int:
    async with database.connect() as connection:
        return int(await connection.scalar(select(func.sum(HISTORY_DAYS.c.added))) or 0)


async def _until_published(pipe: Pipeline) -> None:
    """Wait until the entries of all days are published, which a killed importer left."""
    days = (
        select(func.count())
        .select_from(UNPUBLISHED)
        .join(IMPORTED_DAYS, IMPORTED_DAYS.c.sequence == UNPUBLISHED.c.sequence)
    )
    async with within(120, pipe.said):
        while True:
            async with pipe.database.connect() as connection:
                if not await connection.scalar(days):
                    return
            await asyncio.sleep(0.5)


async def _delivered(pipe: Pipeline, client: TimedSubscriber) -> dict[int, int]:
    """Wait until what came live until now is delivered; return how often each was."""
    added = select(FEED.c.killmail_id).where(FEED.c.kind == "added")
    async with pipe.database.connect() as connection:
        ids = set(await connection.scalars(added))
    with suppress(TimeoutError):
        async with asyncio.timeout(60):
            while ids - client.seen.keys():
                await asyncio.sleep(0.2)
    return {killmail_id: client.seen[killmail_id] for killmail_id in ids | client.seen.keys()}


async def _verdict(
    database: AsyncEngine, totals: Mapping[date, int], live: Mapping[int, int]
) -> dict[str, Any]:
    """Compare what is stored with the archives; what should be empty is empty in a good run."""
    ids = {FIRST_ID + 2 * n for n in range(sum(totals.values()))}
    async with database.connect() as connection:
        stored = set(await connection.scalars(select(KILLMAILS.c.killmail_id)))
        query = select(FEED.c.sequence, FEED.c.kind, FEED.c.killmail_id).order_by(FEED.c.sequence)
        feed = (await connection.execute(query)).all()
    days = await rows(database, IMPORTED_DAYS)
    checked = await check_all(database, mend=False)
    return {
        "stored": len(stored & ids),
        "missing": len(ids - stored),
        "differing": dict(+checked.differing),
        "days_wrong": sorted(
            str(row["day"])
            for row in days
            if not row["added"] == row["total"] == totals[row["day"]]
        ),
        "days_entered": len(days),
        "days_entered_twice": len(days) - len({row["day"] for row in days}),
        "feed_is_gapless": [row.sequence for row in feed] == list(range(1, len(feed) + 1)),
        "live_missing": sum(count == 0 for count in live.values()),
        "live_doubled": sum(count > 1 for count in live.values()),
        "history_sent_to_client": len(ids & live.keys()),
        "states": dict(Counter(row["state"] for row in await rows(database, HISTORY_DAYS))),
    }


def is_good(verdict: Mapping[str, Any], days: int) -> bool:
    """Tell whether everything is stored and entered once, and the live feed wasn't touched."""
    empty = (
        "missing", "differing", "days_wrong", "days_entered_twice", "live_missing", "live_doubled",
        "history_sent_to_client",
    )  # fmt: skip
    entered: bool = verdict["days_entered"] == days and verdict["states"] == {"done": days}
    return entered and verdict["feed_is_gapless"] and not any(verdict[name] for name in empty)
