"""What systemd hears from each part: ready, alive, stopping."""

import asyncio
import os
import socket
import threading
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from dramatiq.asyncio import EventLoopThread

from actors.shared.supervisor import ALIVE, READY, STOPPING, notify, report_alive
from deploy.event_loops import until_actors_answer
from deploy.ports import free_port
from tests.support.processes import killstream
from tests.support.servers import empty_servers

COMMANDS = {
    "streams": ("streams",),
    "actors": ("actors",),
    "processes": ("actors", "--processes=2"),
    "api": ("api",),
}
WATCHDOG_USEC = 400_000
TIMEOUT_S = 45


class Supervisor:
    """The socket of a supervisor."""

    def __init__(self, path: Path) -> None:
        self.address = str(path)
        self.heard: list[str] = []
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(self.address)
        self._socket.setblocking(False)

    async def hear(self, state: str, times: int = 1) -> None:
        """Wait until a state was sent so often from now on."""
        loop = asyncio.get_running_loop()
        async with asyncio.timeout(TIMEOUT_S):
            while times:
                self.heard.append((await loop.sock_recv(self._socket, 100)).decode())
                times -= self.heard[-1] == state

    async def silent_for(self, silent_s: float) -> bool:
        """Tell whether nothing is sent for so long, from now on."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(silent_s):
                await loop.sock_recv(self._socket, 100)
        except TimeoutError:
            return True
        return False

    def close(self) -> None:
        self._socket.close()


@pytest.mark.service
async def test_each_part_reports_its_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with empty_servers() as servers, AsyncExitStack() as stack:
        nowhere = f"http://127.0.0.1:{free_port()}"
        changes = {"source": "none", "api_port": free_port(), "esi_url": nowhere}
        settings = servers.model_copy(update=changes)
        monkeypatch.setenv("WATCHDOG_USEC", str(WATCHDOG_USEC))
        supervisors = {}
        for name, command in COMMANDS.items():
            supervisors[name] = Supervisor(tmp_path / f"{name}.sock")
            stack.callback(supervisors[name].close)
            monkeypatch.setenv("NOTIFY_SOCKET", supervisors[name].address)
            await stack.enter_async_context(
                killstream(*command, settings=settings, log=tmp_path / f"{name}.log")
            )
        await asyncio.gather(*(one.hear(READY) for one in supervisors.values()))
        await asyncio.gather(*(one.hear(ALIVE, times=3) for one in supervisors.values()))
        assert all(STOPPING not in one.heard for one in supervisors.values())
        heard = [asyncio.create_task(one.hear(STOPPING)) for one in supervisors.values()]
        await stack.aclose()
        await asyncio.gather(*heard)


async def test_actors_whose_event_loop_hangs_are_not_alive(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, actors_loop: EventLoopThread
) -> None:
    supervisor = Supervisor(tmp_path / "socket")
    monkeypatch.setenv("NOTIFY_SOCKET", supervisor.address)
    monkeypatch.setenv("WATCHDOG_USEC", "100000")
    reporting = asyncio.create_task(report_alive(until_actors_answer))
    hangs, goes_on = threading.Event(), threading.Event()

    def hang() -> None:
        hangs.set()
        goes_on.wait(TIMEOUT_S)

    try:
        await supervisor.hear(ALIVE, times=2)
        actors_loop.loop.call_soon_threadsafe(hang)
        assert await asyncio.to_thread(hangs.wait, TIMEOUT_S)
        await supervisor.silent_for(0.2)  # a report that had begun
        assert await supervisor.silent_for(0.5)
        goes_on.set()
        await supervisor.hear(ALIVE, times=2)
    finally:
        goes_on.set()
        reporting.cancel()
        supervisor.close()


async def test_a_socket_in_the_abstract_namespace_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    name = f"killstream-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind("\0" + name)
        listening.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", "@" + name)
        notify(READY)
        assert listening.recv(100) == READY.encode()


def test_a_supervisor_that_is_gone_is_ignored(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify(READY)
