"""Run the whole system on made-up killmails in one process, with a subscriber that counts.

The upstream is the stand-in with R2Z2's rules; everything else is what `killstream up` runs.
"""

import asyncio
import math
import os
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Final

import msgspec
import typer
from rich.live import Live
from rich.text import Text
from sqlalchemy import func, select

from actors.shared.counts import counts
from actors.shared.database import open_database, reading
from actors.shared.settings import PREFIX, Settings
from actors.shared.tables import FEED, UNPUBLISHED
from deploy.cli.process import console, run
from deploy.cli.tail import Tail
from deploy.embedded import run_embedded
from deploy.ports import free_port, gateway_url, wait_until_listening
from deploy.standin.server import Standin, StandinOptions, start_standin
from deploy.standin.static_data import LATEST

DUE_S: Final = 16.0
"""Time after its release within which a killmail must be delivered; later it counts as lost.
(A poller that has reached the tip waits 6 s.) The stand-in releases none in the last `DUE_S` of
`--for`."""
REAL_REQUESTS_PER_S: Final = 15
"""R2Z2's limit for one address."""
REFRESH_S: Final = 0.5
"""Interval at which the counts on a terminal are refreshed."""


@dataclass(frozen=True)
class Verdict:
    """Counts of the killmails that the stand-in released."""

    played: int
    due: int
    """Released at least `DUE_S` before the end."""
    received: int
    stored: int
    published: int
    delivered: int
    lost: int
    doubled: int
    seconds: float


def requests_for(rate_per_s: float) -> int:
    """Return R2Z2's pace with which the poller can catch up: a request gives one killmail."""
    return max(REAL_REQUESTS_PER_S, math.ceil(2 * rate_per_s))


def run_demo(for_s: float | None, rate_per_s: float, port: int) -> int:
    """Run the demo until its time is over or a signal arrives; print the counts.

    Returns:
        The exit code: 1 if a killmail was lost or duplicated.
    """
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="killstream-demo-") as folder:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            del os.environ[name]
        standin_port = free_port()
        upstream = f"http://127.0.0.1:{standin_port}"
        requests_per_s = requests_for(rate_per_s)
        values = {
            "DATA_DIR": folder,
            "API_PORT": str(port or free_port()),
            "LOG_LEVEL": "warning",
            "R2Z2_URL": upstream,
            "ESI_URL": upstream,
            "SDE_URL": upstream + LATEST,
            "R2Z2_REQUESTS_PER_S": str(requests_per_s),
        }
        os.environ |= {PREFIX + name: value for name, value in values.items()}

        async def main(configured: Settings, stop: asyncio.Event) -> None:
            killmails = None if for_s is None else max(1, int(rate_per_s * (for_s - DUE_S)))
            options = StandinOptions(
                port=standin_port,
                synthetic=killmails,
                rate_per_s=rate_per_s,
                r2z2_per_s=requests_per_s,
            )
            if verdict := await _run(configured, options, for_s, stop):
                verdicts.append(verdict)

        run("demo", main)
    for verdict in verdicts:
        typer.echo(msgspec.json.encode(asdict(verdict)).decode())
    return int(any(verdict.lost or verdict.doubled for verdict in verdicts))


@dataclass
class Delivered:
    """The killmails that the subscriber received."""

    counts: Counter[int] = field(default_factory=Counter)
    """Deliveries by killmail id."""
    since_s: float | None = None
    """When the subscription started (monotonic seconds)."""


async def _run(
    configured: Settings, options: StandinOptions, for_s: float | None, stop: asyncio.Event
) -> Verdict | None:
    """Run stand-in, pipeline and subscriber; return the counts.

    Returns None when it was stopped before the first delivery.
    """
    started_s = time.monotonic()
    standin = await start_standin(options)
    delivered = Delivered()
    stop_parts = asyncio.Event()
    verdict = None
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_embedded(configured, stop_parts), name="everything")
            subscribing = group.create_task(_subscribe(configured, delivered))
            showing = group.create_task(_show(standin, delivered))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), for_s)
            if delivered.counts or not stop.is_set():
                due = due_by_now(standin, delivered) if stop.is_set() else _played(standin)
                verdict = await _count(configured, standin, delivered, due, started_s)
            subscribing.cancel()
            showing.cancel()
            stop_parts.set()
    finally:
        await standin.stop()
    return verdict


async def _subscribe(configured: Settings, delivered: Delivered) -> None:
    """Subscribe from the first killmail on, and count deliveries."""
    await wait_until_listening(configured.api_host, configured.api_port)
    delivered.since_s = time.monotonic()
    console.print(f"open {gateway_url(configured, 'http')} in a browser")
    async for killmail in Tail(gateway_url(configured, "ws"), after=0).killmails():
        delivered.counts[killmail["killmailId"]] += 1


async def _show(standin: Standin, delivered: Delivered) -> None:
    """Show the counts: below the logs on a terminal, else a line every `10 * REFRESH_S`."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            done = counts()
            line = (
                f"played {len(_played(standin))}  received {done['received']:g}"
                f"  saved {done['saved']:g}  delivered {len(delivered.counts)}"
            )
            if console.is_terminal:
                live.update(Text(f" {line} ", style="bold reverse"), refresh=True)
                await asyncio.sleep(REFRESH_S)
            else:
                console.print(line)
                await asyncio.sleep(10 * REFRESH_S)


async def _count(
    configured: Settings, standin: Standin, delivered: Delivered, due: set[int], started_s: float
) -> Verdict:
    stored = (
        select(func.count(), func.count(UNPUBLISHED.c.sequence))
        .select_from(FEED)
        .outerjoin(UNPUBLISHED, UNPUBLISHED.c.sequence == FEED.c.sequence)
        .where(FEED.c.kind == "added")
    )
    async with open_database(configured, "demo") as database, reading(database) as connection:
        entered, unpublished = (await connection.execute(stored)).one()
    deliveries = delivered.counts
    return Verdict(
        played=len(_played(standin)),
        due=len(due),
        received=int(counts()["received"]),
        stored=entered,
        published=entered - unpublished,
        delivered=len(deliveries),
        lost=len(due - deliveries.keys()),
        doubled=deliveries.total() - len(deliveries),
        seconds=round(time.monotonic() - started_s, 1),
    )


def due_by_now(standin: Standin, delivered: Delivered) -> set[int]:
    """Return the killmails that are due when a signal ends the demo."""
    if delivered.since_s is None or time.monotonic() < delivered.since_s + DUE_S:
        return set()
    return _played(standin, DUE_S)


def _played(standin: Standin, ago_s: float = 0.0) -> set[int]:
    """Return the killmails that were released at least `ago_s` ago."""
    dataset = standin.dataset
    indexes = dataset.released_indexes(standin.playback.now_s() - ago_s)
    return {dataset.killmails.summary(index).killmail_id for index in indexes}
