"""Whatever is killed or restarted on the way: after recovery all is there, once."""

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from math import inf
from pathlib import Path

import pytest

from actors.shared.settings import Settings
from deploy.local import control
from deploy.migrate import migrate
from deploy.standin.server import load_dataset, start_standin
from tests.flow.checks import assert_stored
from tests.support.killmails import standin_options
from tests.support.pipeline import Pipeline, pipeline
from tests.support.subscriber import Subscriber

KILLMAILS = 3_000
RATE_PER_S = 100.0
RESTARTS_RATE_PER_S = 75.0
HELD_BACK_FROM = 0.97
"""The share of the killmails after which the upstream waits."""

pytestmark = pytest.mark.crash


class Clock:
    """The upstream's clock: stands still before the last killmails are out, until `go_on()`.

    So killmails are still to come however long a crash or a restart takes.
    """

    def __init__(self) -> None:
        self._last_s = inf

    def __call__(self) -> float:
        return min(time.time(), self._last_s)

    def stand_still_at(self, unix_s: float) -> None:
        """Don't go on from this time."""
        self._last_s = unix_s

    def go_on(self) -> None:
        """Follow the time again."""
        self._last_s = inf


@dataclass
class Run:
    """A pipeline under way, with a client that resumes, and what is played to it."""

    pipe: Pipeline
    subscriber: Subscriber
    played: dict[int, bytes]
    clock: Clock

    async def passes(self, share: float) -> None:
        """Wait until this share of all killmails is published; more are to come."""
        assert share < HELD_BACK_FROM
        await self.pipe.until(lambda published: published >= share * len(self.played))

    async def recovers(self) -> None:
        """Everything played is stored, in a feed without gaps, and came to the client once."""
        self.clock.go_on()
        await self.pipe.until(lambda published: published >= len(self.played))
        await self.subscriber.until(len(self.played), timeout_s=120)
        await assert_stored(self.pipe.database, self.played)
        assert self.subscriber.seen.keys() == self.played.keys()
        assert self.subscriber.seen.total() == len(self.played)


@asynccontextmanager
async def run(
    settings: Settings, logs: Path, *parts: str, rate_per_s: float = RATE_PER_S
) -> AsyncIterator[Run]:
    """Play killmails at a steady pace to a pipeline of these parts."""
    clock = Clock()
    options = standin_options(KILLMAILS, rate_per_s=rate_per_s, limits=False, clock=clock)
    played = {played.killmail_id: played.body for played in load_dataset(options).killmails}
    standin = await start_standin(options)
    held_back_from = int(HELD_BACK_FROM * KILLMAILS)
    clock.stand_still_at(standin.playback.dataset.released_at_s(held_back_from))
    upstream = {"r2z2_url": standin.url, "esi_url": standin.url, "r2z2_requests_per_s": 1_000.0}
    try:
        async with pipeline(settings, logs, parts=parts, **upstream) as pipe:
            subscriber = Subscriber(pipe.url, after=0)
            listening = asyncio.create_task(subscriber.run())
            try:
                yield Run(pipe, subscriber, played, clock)
            finally:
                listening.cancel()
    finally:
        await standin.stop()


async def test_killed_processes_lose_nothing(servers: Settings, tmp_path: Path) -> None:
    async with run(servers, tmp_path, "api", "actors", "streams") as running:
        for share, part in ((0.1, "streams"), (0.35, "actors"), (0.6, "api")):
            await running.passes(share)
            await running.pipe.kill(part)
            await running.pipe.start(part)
        await running.recovers()


async def test_restarted_servers_lose_nothing(servers: Settings, tmp_path: Path) -> None:
    """Each of them, one after the other, while killmails come."""
    parts = ("api", "actors", "streams")
    async with run(servers, tmp_path, *parts, rate_per_s=RESTARTS_RATE_PER_S) as running:
        for share, server in (
            (0.05, "postgres"),
            (0.3, "redis"),
            (0.55, "rabbitmq"),
            (0.8, "kafka"),
        ):
            await running.passes(share)
            with noted(f"{server} was restarted last"):
                await asyncio.to_thread(control.restart, server)
                await running.passes(share + 0.15)
        await running.recovers()


@contextmanager
def noted(note: str) -> Iterator[None]:
    """Add a note to what the block raises."""
    try:
        yield
    except BaseException as error:
        error.add_note(note)
        raise


async def test_a_killed_embedded_process_loses_nothing(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path / "data")
    await migrate(settings)
    async with run(settings, tmp_path, "up") as running:
        for share in (0.1, 0.5):
            await running.passes(share)
            await running.pipe.kill("up")
            await running.pipe.start("up")
        await running.recovers()
