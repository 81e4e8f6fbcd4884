"""Faults of servers, processes and upstreams at random times, by a seeded plan."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from random import Random
from typing import Any, Final, NamedTuple

from actors.shared.settings import Settings
from deploy.standin.faults import Absent, Faults
from deploy.standin.playback import Window
from deploy.standin.server import Standin
from tests.support.pipeline import Pipeline
from tests.support.processes import frozen, server_pids
from tests.support.proxy import Proxy, open_proxy

SETTINGS_BY_SERVER: Final = {
    "postgres": "database_url",
    "redis": "redis_url",
    "rabbitmq": "rabbitmq_url",
    "kafka": "kafka_url",
}
PROCESSES: Final = ("api", "actors", "streams", "streams-2")
KILLED_AFTER_S: Final = 60.0
"""A process that doesn't end on SIGTERM is killed after so long."""
ORPHANS_END_IN_S: Final = 15.0
STALE_BY: Final = 400
"""How far below the tip an old `sequence.json` lies."""


class Fault(NamedTuple):
    """One fault: when it begins, what it is, what it hits, how long it lasts."""

    at_s: float
    kind: str
    target: str
    for_s: float = 0.0


def planned(
    seed: int, over_s: float, *, silent_s: float, frozen_s: float, stale_s: float, times: int = 1
) -> list[Fault]:
    """Draw when each server falls silent and freezes, each process dies, and `streams` restarts.

    Each of these and each stale `sequence.json` comes `times` times, at random within `over_s`.
    """
    random = Random(seed)
    faults = [
        *(("silent", server, silent_s) for server in SETTINGS_BY_SERVER),
        *(("frozen", server, frozen_s) for server in SETTINGS_BY_SERVER),
        *(("killed", process, 0.0) for process in PROCESSES),
        ("parent_killed", "actors", 0.0),
        ("restarted", "streams", 0.0),
        ("stale_sequence", "r2z2", stale_s),
        ("zero_sequence", "r2z2", 0.0),
    ] * times
    return sorted(
        Fault(round(random.uniform(0.05, 0.85) * over_s, 1), kind, target, for_s)
        for kind, target, for_s in faults
    )


def drawn_holes(seed: int, first_sequence: int, count: int, *, late_s: float) -> Faults:
    """Draw the holes among `count` numbers.

    Single files come late, so do whole runs; one run and some single numbers stay away for ever;
    some files have no body, so that ESI is asked.
    """
    random = Random(seed)
    runs = [
        Absent(first_sequence + int(count * share) + random.randrange(count // 20), length, later)
        for share, length, later in (
            (0.1, 26, late_s),
            (0.3, random.randint(25, 60), late_s),
            (0.5, 30, None),
            (0.7, random.randint(5, 60), late_s / 2),
        )
    ]
    return Faults(
        hole_rate=0.002,
        late_rate=0.005,
        late_s=late_s,
        absent=tuple(runs),
        body_wrong=("null", "list", "object", "text", "absent"),
        body_wrong_rate=0.03,
    )


@asynccontextmanager
async def proxied(settings: Settings) -> AsyncIterator[tuple[Settings, dict[str, Proxy]]]:
    """Put a proxy before each server; give settings that name the proxies."""
    async with AsyncExitStack() as stack:
        proxies, urls = {}, {}
        for server, setting in SETTINGS_BY_SERVER.items():
            url = getattr(settings, setting)
            proxies[server] = await stack.enter_async_context(open_proxy(url))
            urls[setting] = proxies[server].url(url)
        yield settings.model_copy(update=urls), proxies


class Chaos:
    """Carries a plan out, and starts what ended by itself anew, as a supervisor does."""

    def __init__(
        self,
        pipe: Pipeline,
        standin: Standin,
        proxies: Mapping[str, Proxy],
        output: Callable[[str], object],
    ) -> None:
        self.injected: list[dict[str, Any]] = []
        """What was done, with the second it began."""
        self.ended: Counter[str] = Counter()
        """Processes that ended by themselves, by name and exit code."""
        self.stops_s: list[float] = []
        """How long each process took from SIGTERM to its end."""
        self.orphans = 0
        """Processes that outlived their parent."""
        self._pipe = pipe
        self._standin = standin
        self._proxies = proxies
        self._output = output
        self._started_s = 0.0
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

    async def inject(self, faults: Iterable[Fault]) -> None:
        """Carry out all faults, each at its time from now on."""
        self._started_s = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for fault in faults:
                group.create_task(self._inject(fault))

    async def stop(self, name: str) -> int | None:
        """Stop a process as an operator does; give its exit code, None if it had to be killed."""
        before_s = time.monotonic()
        process = self._pipe.running.pop(name)
        try:
            code: int | None = await asyncio.wait_for(process.stop(), KILLED_AFTER_S)
        except TimeoutError:
            code = None
        await process.kill()
        self.stops_s.append(round(time.monotonic() - before_s, 1))
        return code

    async def supervise(self) -> None:
        """Start what ended by itself anew, until cancelled."""
        while True:
            for name in PROCESSES:
                async with self._locks[name]:
                    code = self._pipe.running[name].process.returncode
                    if code is not None:
                        self.ended[f"{name}: {code}"] += 1
                        self._say(f"{name} ended by itself with {code}, starts anew")
                        await self._pipe.launch(name)
            await asyncio.sleep(1.0)

    async def _inject(self, fault: Fault) -> None:
        await asyncio.sleep(fault.at_s - (time.monotonic() - self._started_s))
        self._say(f"{fault.target}: {fault.kind}")
        self.injected.append(fault._asdict())
        if fault.target in PROCESSES:
            async with self._locks[fault.target]:
                await self._end(fault.kind, fault.target)
                await self._pipe.launch(fault.target)
        elif fault.target in SETTINGS_BY_SERVER:
            await self._disturb_server(fault)
            self._say(f"{fault.target}: no longer {fault.kind}")
        elif fault.kind == "stale_sequence":
            self._make_stale(fault.for_s)
        else:
            self._standin.playback.switch({"sequence_zero_next": 1})

    async def _end(self, kind: str, name: str) -> None:
        if kind == "killed":
            await self._pipe.kill(name)
        elif kind == "parent_killed":
            process = self._pipe.running.pop(name)
            self.orphans += len(await process.kill_parent(ORPHANS_END_IN_S))
        else:
            code = await self.stop(name)
            self._say(f"{name} stopped with {code}, {self.stops_s[-1]} s")

    async def _disturb_server(self, fault: Fault) -> None:
        if fault.kind == "frozen":
            with frozen(server_pids()[fault.target]):
                await asyncio.sleep(fault.for_s)
            return
        proxy = self._proxies[fault.target]
        proxy.go_silent()
        await asyncio.sleep(fault.for_s)
        proxy.resume()

    def _make_stale(self, for_s: float) -> None:
        playback = self._standin.playback
        dataset = playback.dataset
        tip = dataset.first_sequence + dataset.released(playback.now_s()) - 1
        stale = max(dataset.first_sequence, tip - STALE_BY)
        playback.open_window(Window({"sequence_number": stale}, for_s=for_s))

    def _say(self, what: str) -> None:
        self._output(f"{time.monotonic() - self._started_s:7.1f} s  {what}")
