"""One run of the pipeline under chaos: from the first file to the verdict."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.shared.tables import UNPUBLISHED
from deploy.standin.dataset import Dataset
from deploy.standin.faults import WrongAnswer
from deploy.standin.playback import Window
from deploy.standin.server import Standin, start_standin
from tests.support.chaos import PROCESSES, Chaos, Fault, drawn_holes, planned, proxied
from tests.support.killmails import standin_options
from tests.support.pipeline import pipeline
from tests.support.subscriber import TimedSubscriber
from tests.support.tables import rows
from tests.support.verdict import (
    SHOWN,
    client_verdict,
    explain,
    is_good,
    latencies_s,
    stored_verdict,
    unresolved,
)

FIRST_SEQUENCE = 96_000_000
WRONG_FROM_S = 5.0
"""When ESI's answers begin to be wrong."""
STOP_S = 25.0
"""Within so long each process ends after SIGTERM."""


@dataclass(frozen=True, kw_only=True)
class ChaosOptions:
    """How large a run is and how long its faults last."""

    killmails: int = 20_000
    rate_per_s: float = 200.0
    seed: int = 1
    times: int = 1
    """How often each fault comes."""
    subscribers: int = 5
    silent_s: float = 25.0
    frozen_s: float = 20.0
    stale_s: float = 30.0
    late_s: float = 20.0
    wrong_for_s: float = 120.0
    """How long ESI's answers are wrong."""
    wrong: tuple[WrongAnswer, ...] = ("404", "422", "html", "empty", "cut")
    deadline_s: float = 900.0
    """How long after the last file all must be stored and delivered."""


async def run_chaos(
    settings: Settings, logs: Path, options: ChaosOptions, output: Callable[[str], object]
) -> dict[str, Any]:
    """Run the pipeline on empty servers under a drawn plan of faults; give the verdict.

    Puts out a line for each fault, and where killmails stand if the verdict is bad.
    """
    faults = drawn_holes(options.seed, FIRST_SEQUENCE, options.killmails, late_s=options.late_s)
    wrong = Window({"esi_wrong": options.wrong}, for_s=options.wrong_for_s, from_s=WRONG_FROM_S)
    played = standin_options(
        options.killmails,
        rate_per_s=options.rate_per_s,
        seed=options.seed,
        first_sequence=FIRST_SEQUENCE,
        limits=False,
        faults=faults,
        windows=(wrong,),
    )
    started_s = time.monotonic()
    standin = await start_standin(played)
    ours = {
        "r2z2_url": standin.url,
        "esi_url": standin.url,
        "r2z2_requests_per_s": 10 * options.rate_per_s,
        "esi_killmail_tokens": 0,
    }
    try:
        async with (
            proxied(settings) as (through_proxies, proxies),
            pipeline(through_proxies, logs, parts=PROCESSES, **ours) as pipe,
            open_database(settings) as database,
        ):
            chaos = Chaos(pipe, standin, proxies, output)
            clients = [TimedSubscriber(pipe.url) for _ in range(options.subscribers)]
            tasks = [asyncio.create_task(client.run()) for client in clients]
            tasks.append(asyncio.create_task(chaos.supervise()))
            try:
                await clients[0].until(1, timeout_s=120)
                await chaos.inject(_plan(options))
                complete = await _until_complete(database, standin, clients, options)
            finally:
                for task in tasks:
                    task.cancel()
            verdict = await stored_verdict(database, standin.dataset)
            verdict["clients"] = [client_verdict(client, standin.dataset) for client in clients]
            if not is_good(verdict):
                output(await explain(pipe, standin.dataset, verdict))
            codes = await asyncio.gather(*(chaos.stop(name) for name in PROCESSES))
            verdict["exit_codes"] = dict(zip(PROCESSES, codes, strict=True))
    finally:
        await standin.stop()
    return {
        "ok": complete and is_good(verdict) and _ended_well(chaos),
        "options": asdict(options),
        **{name: _shortened(value) for name, value in verdict.items()},
        "seconds": round(time.monotonic() - started_s, 1),
        "latency_s": latencies_s(clients[0].came_s, standin.dataset, faults),
        "slowest_stop_s": max(chaos.stops_s),
        "orphans": chaos.orphans,
        "injected": chaos.injected,
        "ended_by_themselves": dict(chaos.ended),
        "upstream_faults": dict(standin.playback.stats.faults),
    }


def _plan(options: ChaosOptions) -> list[Fault]:
    return planned(
        options.seed,
        options.killmails / options.rate_per_s,
        silent_s=options.silent_s,
        frozen_s=options.frozen_s,
        stale_s=options.stale_s,
        times=options.times,
    )


def _ended_well(chaos: Chaos) -> bool:
    """Tell whether processes stopped in time, left no orphans, and ended only for a new start.

    Exit code 2 says that a setting is wrong: a supervisor need not start such a process anew.
    """
    misconfigured = any(name.endswith(": 2") for name in chaos.ended)
    return max(chaos.stops_s) < STOP_S and not chaos.orphans and not misconfigured


async def _until_complete(
    database: AsyncEngine, standin: Standin, clients: list[TimedSubscriber], options: ChaosOptions
) -> bool:
    """Wait until all is delivered and nothing is pending; say whether it came to that in time."""
    feed_s = options.killmails / options.rate_per_s
    with suppress(TimeoutError):
        async with asyncio.timeout(feed_s + options.deadline_s):
            while not await _is_complete(database, standin.dataset, clients):
                await asyncio.sleep(1.0)
            return True
    return False


async def _is_complete(
    database: AsyncEngine, dataset: Dataset, clients: list[TimedSubscriber]
) -> bool:
    if any(len(client.seen) < len(dataset.killmails) for client in clients):
        return False
    return not await rows(database, UNPUBLISHED) and not await unresolved(database, dataset)


def _shortened(value: Any) -> Any:
    return len(value) if isinstance(value, list) and len(value) > SHOWN else value
