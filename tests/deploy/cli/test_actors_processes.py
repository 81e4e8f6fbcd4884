"""The processes of `killstream actors`: they end together, whoever is signalled or dies."""

import asyncio
import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.processes import Killstream, alive, children, killstream
from tests.support.servers import empty_servers

pytestmark = [pytest.mark.service, pytest.mark.crash, pytest.mark.timeout(120)]


@pytest.fixture
async def master(tmp_path: Path) -> AsyncIterator[Killstream]:
    """Two processes at work, and the one that started them."""
    async with (
        empty_servers() as servers,
        killstream(
            "actors",
            "--processes=2",
            settings=servers.model_copy(update={"esi_url": "http://127.0.0.1:1"}),
            log=tmp_path / "actors.log",
        ) as started,
    ):
        await started.wait_for_output('(?s)"ready".*"ready"')
        yield started


async def all_end(pids: list[int]) -> None:
    async with asyncio.timeout(20):
        while alive(pids):
            await asyncio.sleep(0.05)


async def test_end_when_the_first_one_is_killed(master: Killstream) -> None:
    workers = children(master.pid)
    assert len(workers) == 2
    os.kill(master.pid, signal.SIGKILL)
    await all_end(workers)


async def test_end_with_an_error_when_one_of_them_is_killed(master: Killstream) -> None:
    killed, other = children(master.pid)
    os.kill(killed, signal.SIGKILL)
    await all_end([other, master.pid])
    assert await master.process.wait() == 1
    assert f"process {killed} ended with code -9" in master.log.read_text()


async def test_all_end_with_0_when_all_receive_a_signal(master: Killstream) -> None:
    workers = children(master.pid)
    for pid in [*workers, master.pid]:
        os.kill(pid, signal.SIGTERM)
    await all_end(workers)
    assert await master.process.wait() == 0
    assert master.log.read_text().count("actors: received") == 3
