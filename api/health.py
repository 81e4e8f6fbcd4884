"""The gateway's health report.

Each part is probed every `INTERVAL_S` in the background, and at a request when the last result is
older than `FRESH_S`. A report takes `ANSWER_S` at most: it has the last known result of a part that
doesn't answer in time.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import structlog

from actors.shared.background import in_background
from actors.shared.events import Connectivity, Events
from actors.shared.health.database import probe_database
from actors.shared.health.facts import (
    DatabaseFacts,
    Embedded,
    Facts,
    KafkaFacts,
    Problem,
    RabbitmqFacts,
    RedisFacts,
    Unreachable,
)
from actors.shared.health.kafka import probe_kafka
from actors.shared.health.probe import within
from actors.shared.health.rabbitmq import probe_rabbitmq
from actors.shared.health.redis import probe_redis
from actors.shared.health.rule import problems_of, status_of
from actors.shared.settings import Settings
from api.live.engine import Engine
from api.tail import Tail

INTERVAL_S: Final = 10.0
"""Interval of the probes in the background."""
FRESH_S: Final = 1.0
"""Age up to which a report uses the last result of a probe."""
ANSWER_S: Final = 2.5
"""Time limit of a report."""
PROBE_S: Final = 2.0
"""Time limit for the probes of database and Redis."""
SLOW_PROBE_S: Final = 5.0
"""Time limit for the probes of RabbitMQ and Kafka."""
CLOSE_S: Final = 1.0
"""How long closing waits for running probes."""
BEHIND_S: Final = 30.0
"""How long the tail may be behind the feed table before this is reported."""

T = TypeVar("T")
_log: Final = structlog.get_logger()


@asynccontextmanager
async def open_health(
    settings: Settings, events: Events, tail: Tail, engine: Engine
) -> AsyncIterator["Health"]:
    """Probe every part in the background until the block ends."""
    health = Health(settings, events, tail, engine)
    try:
        async with in_background(health.refresh_forever(), "health"):
            yield health
    finally:
        await health.close()


class Prober(Generic[T]):
    """Probes one part, one probe at a time, and stores the latest result."""

    def __init__(self, probe: Callable[[], Awaitable[T]]) -> None:
        self.latest: T | Unreachable = Unreachable("not probed yet")
        self._probe = probe
        self._probed_at_s = float("-inf")
        self._running: asyncio.Task[None] | None = None

    def refresh(self, fresh_s: float) -> "asyncio.Task[None] | None":
        """Start a probe, unless the latest result is at most `fresh_s` old; return its task."""
        now_s = asyncio.get_running_loop().time()
        if self._running is None or self._running.done():
            if now_s - self._probed_at_s <= fresh_s:
                return None
            self._running = asyncio.create_task(self._probe_once())
        return self._running

    @property
    def running(self) -> "asyncio.Task[None] | None":
        """The running probe."""
        return self._running if self._running and not self._running.done() else None

    async def _probe_once(self) -> None:
        self.latest = await self._probe()
        self._probed_at_s = asyncio.get_running_loop().time()


class Health:
    """The latest results, and since when each problem exists."""

    def __init__(self, settings: Settings, events: Events, tail: Tail, engine: Engine) -> None:
        self._tail = tail
        self._engine = engine
        self._database: Prober[DatabaseFacts | Unreachable] = Prober(
            lambda: probe_database(settings, limit_s=PROBE_S)
        )
        self._rabbitmq: Prober[RabbitmqFacts | Unreachable | Embedded] = Prober(
            lambda: probe_rabbitmq(settings, limit_s=SLOW_PROBE_S)
        )
        self._kafka: Prober[KafkaFacts | Unreachable | Embedded] = Prober(
            lambda: probe_kafka(settings, limit_s=SLOW_PROBE_S)
        )
        self._redis: Prober[RedisFacts | Unreachable | Embedded] = Prober(
            lambda: probe_redis(settings, limit_s=PROBE_S)
        )
        self._connectivity: Prober[Connectivity | Unreachable] = Prober(
            lambda: within(PROBE_S, events.connectivity())
        )
        self._probers: tuple[Prober[Any], ...] = (
            *(self._database, self._rabbitmq, self._kafka, self._redis, self._connectivity),
        )
        self._since: dict[Problem, datetime] = {}
        self._expected = (0, 0.0)
        """The sequence that the engine must reach, and when it was read (monotonic seconds)."""

    async def refresh_forever(self) -> None:
        """Probe every part each `INTERVAL_S`, and log new and solved problems."""
        while True:
            if tasks := [task for p in self._probers if (task := p.refresh(fresh_s=0.0))]:
                await asyncio.wait(tasks)
            self._update_problems(self._facts())
            await asyncio.sleep(INTERVAL_S)

    async def close(self) -> None:
        """Wait up to `CLOSE_S` for running probes, then cancel them."""
        tasks = [task for prober in self._probers if (task := prober.running)]
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=CLOSE_S)
            for task in late:
                task.cancel()

    async def is_ready(self) -> bool:
        """Return whether the database answers and has the schema: all that the gateway requires."""
        await _wait([self._database.refresh(FRESH_S)])
        return isinstance(self._database.latest, DatabaseFacts)

    async def report(self) -> tuple[bool, dict[str, Any]]:
        """Return whether this process is ready, and the report with the state of every part."""
        await _wait([prober.refresh(FRESH_S) for prober in self._probers])
        facts = self._facts()
        since = self._update_problems(facts)
        ready = isinstance(facts.database, DatabaseFacts)
        return ready, {
            "status": status_of(ready, list(since)),
            "live": True,
            "ready": ready,
            "down": list(dict.fromkeys(problem.part for problem in since)),
            "problems": [
                {"part": problem.part, "reason": problem.reason, "since": _iso(time)}
                for problem, time in since.items()
            ],
            "parts": {
                name: getattr(facts, name).__struct_config__.tag
                for name in ("database", "rabbitmq", "kafka", "redis")
            },
            "feed": self._feed(facts),
        }

    def _facts(self) -> Facts:
        return Facts(
            datetime.now(UTC),
            self._database.latest,
            self._rabbitmq.latest,
            self._kafka.latest,
            self._redis.latest,
        )

    def _feed(self, facts: Facts) -> dict[str, Any]:
        feed: dict[str, Any] = {"sentUpTo": self._engine.head}
        if isinstance(facts.database, DatabaseFacts):
            feed["lastSequence"] = facts.database.last_sequence
            feed["ageSeconds"] = facts.database.last_stored_age_s
        return feed

    def _update_problems(self, facts: Facts) -> dict[Problem, datetime]:
        """Return the problems with the time of their first detection; log new and solved ones."""
        now = {*problems_of(facts), *self._own_problems(facts)}
        for problem in self._since.keys() - now:
            _log.info("health.problem_solved", part=problem.part, was=problem.reason)
        for problem in now - self._since.keys():
            detail = getattr(getattr(facts, problem.part, None), "reason", None)
            _log.warning(
                "health.problem_found", part=problem.part, reason=problem.reason, detail=detail
            )
        self._since = {problem: self._since.get(problem, facts.at) for problem in now}
        return dict(sorted(self._since.items(), key=lambda item: (item[1], item[0].part)))

    def _own_problems(self, facts: Facts) -> Iterator[Problem]:
        """Yield the problems of this process."""
        if not self._tail.alive:
            yield Problem("gateway", "the tail has ended: restart this process")
        if not self._engine.alive:
            yield Problem("gateway", "subscriptions have ended: restart this process")
        subscribed = isinstance(self._connectivity.latest, Connectivity) and (
            self._connectivity.latest.subscribe
        )
        if isinstance(facts.redis, RedisFacts) and not subscribed:
            yield Problem("gateway", "isn't subscribed to the Redis channel: entries arrive late")
        if isinstance(facts.database, DatabaseFacts) and self._is_behind(facts.database):
            yield Problem("gateway", "is behind the feed table")

    def _is_behind(self, facts: DatabaseFacts) -> bool:
        now_s = asyncio.get_running_loop().time()
        expected, seen_s = self._expected
        if self._engine.head >= expected:
            self._expected = facts.last_sequence, now_s
            return False
        return now_s - seen_s > BEHIND_S


async def _wait(tasks: "list[asyncio.Task[None] | None]") -> None:
    if tasks := [task for task in tasks if task]:
        await asyncio.wait(tasks, timeout=ANSWER_S)


def _iso(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
