"""The whole system on made-up killmails in one process, with a subscriber that counts.

The upstream is the stand-in, by its real rules; everything else is what `killstream up` runs.
"""

import asyncio
import os
import tempfile
import time
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Final

import msgspec
import typer
from rich.live import Live
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

QUIET_S: Final = 16.0
"""Before the end of `--for` no new killmails come out, so that all can arrive (a poller that met
the tip looks again after 6 s)."""
SHOWN_EVERY_S: Final = 0.5
"""How often the counts are shown on a terminal."""


@dataclass(frozen=True)
class Verdict:
    """What became of the killmails that the stand-in played."""

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
        ours = {
            "DATA_DIR": folder,
            "API_PORT": str(port or free_port()),
            "LOG_LEVEL": "warning",
            "R2Z2_URL": upstream,
            "ESI_URL": upstream,
        }
        os.environ |= {PREFIX + name: value for name, value in ours.items()}

        async def main(configured: Settings, stop: asyncio.Event) -> None:
            plays = None if for_s is None else max(1, int(rate_per_s * (for_s - QUIET_S)))
            options = StandinOptions(port=standin_port, synthetic=plays, rate_per_s=rate_per_s)
            verdicts.append(await _demonstrate(configured, options, for_s, stop))

        run("demo", main)
    verdict = verdicts[0]
    typer.echo(msgspec.json.encode(asdict(verdict)).decode())
    return 1 if verdict.lost or verdict.doubled else 0


async def _demonstrate(
    configured: Settings, options: StandinOptions, for_s: float | None, stop: asyncio.Event
) -> Verdict:
    started_s = time.monotonic()
    standin = await start_standin(options)
    seen: Counter[int] = Counter()
    stop_parts = asyncio.Event()
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(run_embedded(configured, stop_parts))
            helpers = [
                group.create_task(_subscribe(configured, seen)),
                group.create_task(_show(standin, seen)),
            ]
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), for_s)
            verdict = await _judge(configured, standin, seen, time.monotonic() - started_s)
            for helper in helpers:
                helper.cancel()
            stop_parts.set()
    finally:
        await standin.stop()
    return verdict


async def _subscribe(configured: Settings, seen: Counter[int]) -> None:
    """Count what a client gets, from the first killmail on."""
    await until_listening(configured.api_host, configured.api_port)
    console.print(f"open http://{configured.api_host}:{configured.api_port}/graphql in a browser")
    async for killmail in Tail(gateway_url(configured), after=0).killmails():
        seen[killmail["killmailId"]] += 1


async def _show(standin: Standin, seen: Counter[int]) -> None:
    """Keep the counts up to date: one line on a terminal, a line now and then elsewhere."""
    with Live(console=console, auto_refresh=False, transient=True) as live:
        while True:
            done = counts()
            line = (
                f"played {len(_played(standin))}  received {done['received']:g}"
                f"  saved {done['saved']:g}  delivered {len(seen)}"
            )
            if console.is_terminal:
                live.update(line, refresh=True)
                await asyncio.sleep(SHOWN_EVERY_S)
            else:
                console.print(line)
                await asyncio.sleep(10 * SHOWN_EVERY_S)


async def _judge(
    configured: Settings, standin: Standin, seen: Counter[int], seconds: float
) -> Verdict:
    stored = (
        select(func.count(), func.count(UNPUBLISHED.c.sequence))
        .select_from(FEED)
        .outerjoin(UNPUBLISHED, UNPUBLISHED.c.sequence == FEED.c.sequence)
        .where(FEED.c.kind == "added")
    )
    async with open_database(configured, "demo") as database, reading(database) as connection:
        entered, unpublished = (await connection.execute(stored)).one()
    played = _played(standin)
    return Verdict(
        received=int(counts()["received"]),
        stored=entered,
        published=entered - unpublished,
        delivered=len(seen),
        lost=len(played - seen.keys()),
        doubled=seen.total() - len(seen),
        seconds=round(seconds, 1),
    )


def _played(standin: Standin) -> set[int]:
    dataset = standin.dataset
    indexes = dataset.released_indexes(standin.playback.now_s())
    return {dataset.killmails.summary(index).killmail_id for index in indexes}
