"""`just bench scale`: killmails a second with one process for a queue, then with three.

Bodies are fetched from an ESI without limits that takes 100 ms; each process has few requests in
flight, so that it mostly waits, and the cores aren't the limit. `killstream queues --watch` looks
on meanwhile. Exit code 1 unless it shows three consumers and a falling number of messages, and
three processes are at least twice as fast as one.
"""

import argparse
import asyncio
import itertools
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.broker import ESI_QUEUE
from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import FEED
from tests.bench.drain import standin
from tests.bench.report import report
from tests.support.dead import a_message, declare, put
from tests.support.killmails import describe, references
from tests.support.processes import KILLSTREAM, environment, killstream
from tests.support.servers import empty_servers

LATENCY_MS: Final = 100
CONCURRENCY: Final = 4
"""Requests in flight of each process."""
PROCESSES: Final = 3
LEAST_RATIO: Final = 2.0
PER_MESSAGE: Final = 8
WATCH_S: Final = 1
START_S: Final = 60
FETCHES: Final = ("actors", "--queues=esi", "--threads=2")

Shown = dict[str, Any]


class Watched:
    """The last line of `killstream queues --watch --json`, and the lines of the queue."""

    def __init__(self) -> None:
        self.esi: list[Shown] = []

    async def follow(self, output: asyncio.StreamReader) -> None:
        """Read until the end."""
        async for line in output:
            queues = {one["name"]: one for one in msgspec.json.decode(line)["queues"]}
            self.esi.append(queues[ESI_QUEUE])

    async def until_consumers(self, count: int) -> None:
        """Wait until the queue has so many consumers."""
        async with asyncio.timeout(START_S):
            while not self.esi or self.esi[-1]["consumers"] != count:
                await asyncio.sleep(0.1)


async def scaled(settings: Settings, logs: Path, seconds: float, count: int) -> dict[str, Any]:
    """Measure with one process, then with three, on one backlog."""
    declare(settings)
    values = itertools.islice(references(with_body=False), count)
    put(settings, ESI_QUEUE, [_message(batch) for batch in iter(lambda: _next(values), [])])
    stores = killstream("actors", "--queues=database", settings=settings, log=logs / "stores.log")
    async with (
        open_database(settings) as database,
        stores,
        watching(settings) as watched,
        AsyncExitStack() as processes,
    ):

        async def scale_to(number: int, running: int = 0) -> dict[str, Any]:
            for i in range(running, number):
                log = logs / f"fetches-{i}.log"
                started = killstream(*FETCHES, settings=settings, log=log)
                await processes.enter_async_context(started)
            await watched.until_consumers(number)
            return await measured(database, watched, seconds)

        one = await scale_to(1)
        three = await scale_to(PROCESSES, running=1)
    return {
        "latency_ms": LATENCY_MS,
        "in_flight_per_process": CONCURRENCY,
        "one": one,
        "three": three,
        "ratio": round(three["per_s"] / one["per_s"], 2),
    }


async def measured(database: AsyncEngine, watched: Watched, seconds: float) -> dict[str, Any]:
    """Count what is stored in these seconds, and what `killstream queues` showed meanwhile."""
    clock, began = asyncio.get_running_loop().time, len(watched.esi)
    from_s, before = clock(), await _stored(database)
    await asyncio.sleep(seconds)
    stored, took_s = await _stored(database) - before, clock() - from_s
    shown = watched.esi[began:]
    ready = [one["ready"] for one in shown]
    return {
        "per_s": round(stored / took_s, 1),
        "consumers": sorted({one["consumers"] for one in shown}),
        "ready": [ready[0], ready[-1]],
        "messages_per_s": shown[-1]["out_per_s"],
        "is_falling": all(later < sooner for sooner, later in itertools.pairwise(ready)),
        "load": round(os.getloadavg()[0], 2),
    }


@asynccontextmanager
async def watching(settings: Settings) -> AsyncIterator[Watched]:
    """Have an operator look on."""
    watched = Watched()
    options = ("queues", "--watch", "--json", f"--every={WATCH_S}")
    process = await asyncio.create_subprocess_exec(
        KILLSTREAM, *options, env=environment(settings), stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout
    following = asyncio.create_task(watched.follow(process.stdout))
    try:
        yield watched
    finally:
        process.terminate()
        await process.wait()
        await following


async def _stored(database: AsyncEngine) -> int:
    async with database.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(FEED)) or 0


def _next(values: "itertools.islice[bytes]") -> list[bytes]:
    return list(itertools.islice(values, PER_MESSAGE))


def _message(batch: list[bytes]) -> dict[str, Any]:
    return a_message("fetch", "fetch", queue_name=ESI_QUEUE, args=[batch], options={})


async def main() -> int:
    """Run once; return the exit code."""
    parser = argparse.ArgumentParser(prog="just bench scale", description=__doc__)
    parser.add_argument("--seconds", type=float, default=15, help="of each measurement")
    parser.add_argument("--killmails", type=int, default=6_000, help="in the backlog")
    arguments = parser.parse_args()
    print(describe())
    with tempfile.TemporaryDirectory() as logs:
        async with empty_servers() as servers, standin(f"--esi-latency-ms={LATENCY_MS}") as url:
            changes = {
                "source": "none",
                "esi_url": url,
                "esi_killmail_tokens": 0,
                "esi_concurrency": CONCURRENCY,
            }
            figures = await scaled(
                servers.model_copy(update=changes),
                Path(logs),
                arguments.seconds,
                arguments.killmails,
            )
    runs = (figures["one"], figures["three"])
    ok = (
        figures["ratio"] >= LEAST_RATIO
        and [run["consumers"] for run in runs] == [[1], [PROCESSES]]
        and all(run["is_falling"] for run in runs)
    )
    report("scale", {"ok": ok, **figures})
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
