"""Child processes that end with their parent, and not before it wants them to."""

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

import structlog

from actors.shared.errors import KillstreamError

log: Final = structlog.get_logger()

_PR_SET_PDEATHSIG: Final = 1
PARENT_CHECKED_EVERY_S: Final = 1.0


class ChildDied(KillstreamError):
    """One of the processes of a group ended by itself."""


def dependent(signum: signal.Signals) -> Callable[[], None]:
    """Make a `preexec_fn`: the child is sent `signum` when its parent dies, however (Linux).

    SIGINT and SIGTERM stay blocked until the child takes them itself: a terminal or a supervisor
    sends them to all processes of a group, and it is the parent who ends its children.
    """

    def before_exec() -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
        if sys.platform == "linux":
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signum)

    return before_exec


async def stop_when_orphaned(parent_pid: int, stop: asyncio.Event) -> None:
    """Return when `stop` is set; set it when the parent is gone."""
    while not stop.is_set():
        if os.getppid() != parent_pid:
            log.error("parent.died", pid=parent_pid, then="this process ends")
            stop.set()
        with suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), PARENT_CHECKED_EVERY_S)


async def run_children(commands: Sequence[Sequence[str]], stop: asyncio.Event) -> None:
    """Run processes until `stop` is set; then end them by SIGTERM and wait for them.

    When one ends by itself the others are ended too.

    Raises:
        ChildDied: one ended by itself, or not with code 0.
    """
    children = [
        await asyncio.create_subprocess_exec(
            *command, start_new_session=True, preexec_fn=dependent(signal.SIGTERM)
        )
        for command in commands
    ]
    endings = [asyncio.create_task(child.wait(), name=f"process {child.pid}") for child in children]
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([*endings, stopping], return_when=asyncio.FIRST_COMPLETED)
        by_themselves = [child for child in children if child.returncode is not None]
        for child in children:
            if child.returncode is None:
                child.terminate()
        stop.set()
        await asyncio.wait(endings)
    finally:
        stopping.cancel()
        for child in children:
            if child.returncode is None:
                child.kill()
    for child in [*by_themselves, *(c for c in children if c.returncode)]:
        raise ChildDied(f"process {child.pid} ended with code {child.returncode}")
