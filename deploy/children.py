"""Child processes that end on their parent's request, at the latest with their parent."""

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

import structlog

from actors.shared.errors import KillstreamError

log: Final = structlog.get_logger()

_PR_SET_PDEATHSIG: Final = 1
PARENT_CHECK_S: Final = 1.0


class ChildDied(KillstreamError):
    """One of the processes of a group ended by itself."""


class Child:
    """One process, started by the constructor; belongs to the running event loop and its thread.

    It starts in its own session with SIGINT and SIGTERM blocked: a terminal or a supervisor sends
    these to all processes of a group, but the parent ends its children. (uvloop's subprocesses
    start with no signal blocked, so this uses the standard library's.) On Linux the kernel sends it
    the signal `when_orphaned` when this thread ends for any reason.
    """

    def __init__(
        self, command: Sequence[str], when_orphaned: signal.Signals, output: int | None = None
    ) -> None:
        def before_exec() -> None:
            signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
            if sys.platform == "linux":
                ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, when_orphaned)

        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
            preexec_fn=before_exec,
        )
        self.pid = self._process.pid
        self._ended = asyncio.Event()
        threading.Thread(
            target=self._wait, args=[asyncio.get_running_loop()], name="child", daemon=True
        ).start()

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.returncode

    def send_signal(self, signum: signal.Signals) -> None:
        """Send a signal, unless the process has ended."""
        self._process.send_signal(signum)

    async def wait(self) -> int:
        """Wait until the process ends; return its exit code."""
        await self._ended.wait()
        return self._process.wait()

    def _wait(self, loop: asyncio.AbstractEventLoop) -> None:
        self._process.wait()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(self._ended.set)


async def stop_when_orphaned(parent_pid: int, stop: asyncio.Event) -> None:
    """Wait until `stop` is set; set it when the parent has died."""
    while not stop.is_set():
        if os.getppid() != parent_pid:
            log.error("parent.died", pid=parent_pid, action="this process ends")
            stop.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_CHECK_S)


async def run_children(commands: Sequence[Sequence[str]], stop: asyncio.Event) -> None:
    """Run processes until `stop` is set; then send SIGTERM and wait until they have ended.

    When one ends by itself, ends the others in the same way.

    Raises:
        ChildDied: a process ended by itself, or with another exit code than 0.
    """
    children = [Child(command, when_orphaned=signal.SIGTERM) for command in commands]
    endings = [asyncio.create_task(child.wait(), name=f"process {child.pid}") for child in children]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*endings, stopping], return_when=asyncio.FIRST_COMPLETED)
        died = [child for child in children if child.returncode is not None]
        stop.set()
        for child in children:
            child.send_signal(signal.SIGTERM)
        await asyncio.wait(endings)
    finally:
        stopping.cancel()
        for child in children:
            child.send_signal(signal.SIGKILL)
    for child in [*died, *(child for child in children if child.returncode)]:
        raise ChildDied(f"process {child.pid} ended with code {child.returncode}")
