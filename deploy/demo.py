"""The whole system on made-up killmails in one process, with a subscriber that counts.

The upstream is the stand-in, by its real rules; everything else is what `killstream up` runs.
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
from deploy.cli.tail import Tail, gateway_url
from deploy.embedded import run_embedded
from deploy.ports import free_port, until_listening
from deploy.standin.server import Standin, StandinOptions, start_standin

DUE_S: Final = 16.0
"""How long after its release a killmail counts as lost (a poller that met the tip looks again
after 6 s). So long before the end of `--for` no new ones come out."""
REAL_REQUESTS_PER_S: Final = 15
"""R2Z2's limit for one address."""
SHOWN_EVERY_S: Final = 0.5
"""How often the counts are shown on a terminal."""


@dataclass(frozen=True)
class Verdict:
    """What became of the killmails that the stand-in played."""

    played: int
    due: int
    """Those that had time to be delivered."""
    received: int
    stored: int
    published: int
    delivered: int
    lost: int
    doubled: int
    seconds: float


def run_demo(for_s: float | None, rate_per_s: float, port: int) -> int:
    """Run the demo until it ends or is ended; print the verdict and give the exit code."""
    verdicts: list[Verdict] = []
    with tempfile.TemporaryDirectory(prefix="killstream-demo-") as folder:
        for name in [name for name in os.environ if name.startswith(PREFIX)]:
            del os.environ[name]
        standin_port = free_port()
        upstream = f"http://127.0.0.1:{standin_port}"
        # One killmail a request: the poller must be able to catch up.
        requests_per_s = max(REAL_REQUESTS_PER_S, math.ceil(2 * rate_per_s))
        ours = {
            "DATA_DIR": folder,
            "API_PORT": str(port or free_port()),
            "LOG_LEVEL": "warning",
            "R2Z2_URL": upstream,
            "ESI_URL": upstream,
            "R2Z2_REQUESTS_PER_S": str(requests_per_s),
        }
        os.environ |= {PREFIX + name: value for name, value in ours.items()}

        async def main(configured: Settings, stop: asyncio.Event) -> None:
            plays = None if for_s is None else max(1, int(rate_per_s * (for_s - DUE_S)))
            options = StandinOptions(
                port=standin_port,
                synthetic=plays,
                rate_per_s=rate_per_s,
                r2z2_per_s=requests_per_s,
            )
            if verdict := await _demonstrate(configured, options, for_s, stop):
                verdicts.append(verdict)

        run("demo", main)
    for verdict in verdicts:
        typer.echo(msgspec.json.encode(asdict(verdict)).decode())
    return int(any(verdict.lost or verdict.doubled for verdict in verdicts))


@dataclass
class Delivered:
    """What a client got, how often, and since when it listens (monotonic)."""

    seen: Counter[int] = field(default_factory=Counter)
    since_s: float | None = None


async def _demonstrate(
    configured: Settings, options: StandinOptions, for_s: float | None, stop: asyncio.Event
) -> Verdict | None:
    """Play, and judge at the end; there is nothing to judge when the end came before the start."""
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
            if delivered.seen or not stop.is_set():
                due = _due(standin, delivered) if stop.is_set() else _played(standin)
                verdict = await _judge(configured, standin, delivered, due, started_s)
            subscribing.cancel()
            showing.cancel()
            stop_parts.set()
    finally:
        await standin.stop()
    return verdict


async def _subscribe(configured: Settings, delivered: Delivered) -> None:
    """Count what a client gets, from the first killmail on."""
    await until_listening(configured.api_host, configured.api_port)
    delivered.since_s = time.monotonic()
    console.print(f"open http://{configured.api_host}:{configured.api_port}/graphql in a browser")
    async for killmail in Tail(gateway_url(configured), after=0).killmails():
        delivered.seen[killmail["killmailId"]] += 1


async def _show(standin: Standin, delivered: Delivered) -> None:
    """Keep the counts up to date: below the logs on a terminal, a line now and then elsewhere."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            done = counts()
            line = (
                f"played {len(_played(standin))}  received {done['received']:g}"
                f"  saved {done['saved']:g}  delivered {len(delivered.seen)}"
            )
            if console.is_terminal:
                live.update(Text(f" {line} ", style="bold reverse"), refresh=True)
                await asyncio.sleep(SHOWN_EVERY_S)
            else:
                console.print(line)
                await asyncio.sleep(10 * SHOWN_EVERY_S)


async def _judge(
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
    seen = delivered.seen
    return Verdict(
        played=len(_played(standin)),
        due=len(due),
        received=int(counts()["received"]),
        stored=entered,
        published=entered - unpublished,
        delivered=len(seen),
        lost=len(due - seen.keys()),
        doubled=seen.total() - len(seen),
        seconds=round(time.monotonic() - started_s, 1),
    )


def _due(standin: Standin, delivered: Delivered) -> set[int]:
    """Give what had time to be delivered when the end came unannounced."""
    if delivered.since_s is None or time.monotonic() < delivered.since_s + DUE_S:
        return set()
    return _played(standin, DUE_S)


def _played(standin: Standin, ago_s: float = 0.0) -> set[int]:
    """Give what had been released so long ago."""
    dataset = standin.dataset
    indexes = dataset.released_indexes(standin.playback.now_s() - ago_s)
    return {dataset.killmails.summary(index).killmail_id for index in indexes}
