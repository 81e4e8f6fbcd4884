"""Every process ends by itself within seconds of SIGTERM, whatever is frozen."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.shared.settings import Settings
from deploy.ports import free_port
from deploy.standin.server import StandinOptions, start_standin
from tests.support.processes import Killstream, frozen, server_pids, start_killstream
from tests.support.servers import empty_servers

WITHIN_S = 15.0
"""Alone on a machine none takes more than 10 s."""
COMMANDS = {
    "streams": ("streams",),
    "actors": ("actors",),
    "actors of two processes": ("actors", "--processes=2"),
    "api": ("api",),
}

pytestmark = [pytest.mark.service, pytest.mark.crash, pytest.mark.timeout(120)]


@pytest.fixture
async def settings() -> AsyncIterator[Settings]:
    """Empty servers, and an upstream that never stops."""
    async with empty_servers() as servers:
        standin = await start_standin(StandinOptions(rate_per_s=20.0, limits=False))
        try:
            yield servers.model_copy(
                update={
                    "r2z2_url": standin.url,
                    "esi_url": standin.url,
                    "r2z2_requests_per_s": 50.0,
                    "api_port": free_port(),
                }
            )
        finally:
            await standin.stop()


@asynccontextmanager
async def running(settings: Settings, logs: Path) -> AsyncIterator[dict[str, Killstream]]:
    """Run all parts until they are at work; kill what is left of them."""
    started = {}
    try:
        for name, command in COMMANDS.items():
            log = logs / f"{name}.log"
            started[name] = await start_killstream(*command, settings=settings, log=log)
        for process in started.values():
            await process.wait_for_output('"ready"')
        await started["streams"].wait_for_output("poll.started")
        yield started
    finally:
        for process in started.values():
            await process.kill()


async def end_all(processes: dict[str, Killstream]) -> dict[str, float]:
    """Send SIGTERM to all; tell how long each took."""

    async def end(process: Killstream) -> float:
        began_s = time.monotonic()
        await process.stop()
        return time.monotonic() - began_s

    took = await asyncio.gather(*(end(process) for process in processes.values()))
    return dict(zip(processes, took, strict=True))


@pytest.mark.parametrize("server", ["postgres", "redis", "rabbitmq", "kafka"])
async def test_ends_in_time_while_a_server_is_frozen(
    settings: Settings, tmp_path: Path, server: str
) -> None:
    async with running(settings, tmp_path) as processes:
        with frozen(server_pids()[server]):
            await asyncio.sleep(1)  # requests that get no answer are under way
            took_s = await end_all(processes)
    assert max(took_s.values()) < WITHIN_S, took_s
    for name, process in processes.items():
        log = process.log.read_text()
        assert process.process.returncode == 0, f"{name}:\n{log}"
        assert "runtime_s" in log.splitlines()[-1]
