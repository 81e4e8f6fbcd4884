"""The whole pipeline as an operator runs it: streams, actors, api, each its own process."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.settings import Settings
from deploy.ports import free_port
from tests.support.processes import Killstream, start_killstream
from tests.support.tables import PUBLISHED_COUNT
from tests.support.waiting import within

PARTS = ("api", "actors", "streams")


class Pipeline:
    """Processes by name, and the database to look into."""

    def __init__(self, settings: Settings, database: AsyncEngine, logs: Path) -> None:
        self.settings = settings
        self.database = database
        self.logs = logs
        self.running: dict[str, Killstream] = {}
        self.url = f"http://127.0.0.1:{settings.api_port}"
        self.metrics_ports: dict[str, int] = {}
        """Where parts that are started serve their metrics; the api does with the rest."""

    async def start(self, name: str) -> None:
        """Start one part; the api is waited for."""
        await self.launch(name)
        if name in ("api", "up"):
            await self.healthy()

    async def start_all(self, parts: Iterable[str]) -> None:
        """Start parts at once; the api is waited for."""
        await asyncio.gather(*map(self.start, parts))

    async def launch(self, name: str) -> None:
        """Start one part; "streams-2" is a second one of that part."""
        part = name.partition("-")[0]
        log = self.logs / f"{name}.log"
        settings = self.settings.model_copy(
            update={"metrics_port": self.metrics_ports.get(name, 0)}
        )
        self.running[name] = await start_killstream(part, settings=settings, log=log)

    async def kill(self, part: str) -> None:
        """End one part as a crash does."""
        await self.running.pop(part).kill()

    async def stop(self, part: str) -> int:
        """End one part as an operator does; give its exit code."""
        return await self.running.pop(part).stop()

    async def healthy(self, timeout_s: float = 60) -> None:
        """Wait until the gateway answers."""
        async with aiohttp.ClientSession() as http, within(timeout_s, self.said):
            while True:
                try:
                    async with http.get(f"{self.url}/killmails/1") as answer:
                        if answer.status == 404:
                            return
                except aiohttp.ClientError:
                    await asyncio.sleep(0.1)

    def said(self) -> str:
        """Return the ends of all logs."""
        return "\n".join(run.log.read_text()[-2_000:] for run in self.running.values())

    async def published(self) -> int:
        """Count the entries that were published."""
        async with self.database.connect() as connection:
            count: int = (await connection.execute(PUBLISHED_COUNT)).scalar_one()
            return count

    async def until(self, reached: Callable[[int], bool], timeout_s: float = 300) -> None:
        """Wait until the number of published entries satisfies `reached`; survives outages."""
        published = -1
        async with within(timeout_s, lambda: f"{published} are published"):
            while True:
                with suppress(DBAPIError, OSError):
                    if reached(published := await self.published()):
                        return
                await asyncio.sleep(0.2)


@asynccontextmanager
async def pipeline(
    settings: Settings, logs: Path, parts: tuple[str, ...] = PARTS, **changes: Any
) -> AsyncIterator[Pipeline]:
    """Run these parts with the settings; end them with the block, whatever state they are in."""
    changed = settings.model_copy(update={"api_port": free_port(), **changes})
    async with open_database(changed) as database:
        pipe = Pipeline(changed, database, logs)
        try:
            await pipe.start_all(parts)
            yield pipe
        finally:
            for part in list(pipe.running):
                await pipe.kill(part)
