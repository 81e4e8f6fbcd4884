"""What the gateway knows of the health of every part.

Each part is asked again and again on the side, and anew when somebody wants to know. An answer
never waits longer than `ANSWER_S`, whatever is frozen: then it is made of what was known before.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final, Generic, TypeVar

import structlog

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
from api.tail import Tail

INTERVAL_S: Final = 10.0
"""How often each part is asked when nobody wants to know."""
FRESH_S: Final = 1.0
"""How old an answer may be when somebody wants to know."""
ANSWER_S: Final = 2.5
"""How long an answer may take, whatever is frozen."""
NEEDED_LIMIT_S: Final = 2.0
"""How long the database may take: what isn't there by then isn't ready."""
OTHERS_LIMIT_S: Final = 5.0
"""How long the other servers may take."""
CLOSE_S: Final = 1.0
"""How long closing waits for answers."""
BEHIND_S: Final = 30.0
"""How long this process may be behind the feed table."""

T = TypeVar("T")
_log: Final = structlog.get_logger()


@asynccontextmanager
async def open_health(settings: Settings, events: Events, tail: Tail) -> AsyncIterator["Health"]:
    """Ask every part again and again, for the length of the block."""
    health = Health(settings, events, tail)
    asking = asyncio.create_task(health.ask_for_ever(), name="health")
    try:
        yield health
    finally:
        asking.cancel()
        await asyncio.wait([asking])
        await health.close()


class Prober(Generic[T]):
    """Asks one part, once at a time, and remembers the latest answer."""

    def __init__(self, probe: Callable[[], Awaitable[T]]) -> None:
        self.latest: T | Unreachable = Unreachable("not asked yet")
        self._probe = probe
        self._answered_s = float("-inf")
        self._asking: asyncio.Task[None] | None = None

    def ask(self, fresh_s: float) -> "asyncio.Task[None] | None":
        """Ask, unless the latest answer is fresh enough; give what is to be waited for."""
        now_s = asyncio.get_running_loop().time()
        if self._asking is None or self._asking.done():
            if now_s - self._answered_s <= fresh_s:
                return None
            self._asking = asyncio.create_task(self._ask())
        return self._asking

    @property
    def asking(self) -> "asyncio.Task[None] | None":
        """The question that is open now."""
        return self._asking if self._asking and not self._asking.done() else None

    async def _ask(self) -> None:
        self.latest = await self._probe()
        self._answered_s = asyncio.get_running_loop().time()


class Health:
    """What is known, and since when something is wrong."""

    def __init__(self, settings: Settings, events: Events, tail: Tail) -> None:
        self._tail = tail
        self._database: Prober[DatabaseFacts | Unreachable] = Prober(
            lambda: probe_database(settings, limit_s=NEEDED_LIMIT_S)
        )
        self._rabbitmq: Prober[RabbitmqFacts | Unreachable | Embedded] = Prober(
            lambda: probe_rabbitmq(settings, limit_s=OTHERS_LIMIT_S)
        )
        self._kafka: Prober[KafkaFacts | Unreachable | Embedded] = Prober(
            lambda: probe_kafka(settings, limit_s=OTHERS_LIMIT_S)
        )
        self._redis: Prober[RedisFacts | Unreachable | Embedded] = Prober(
            lambda: probe_redis(settings, limit_s=NEEDED_LIMIT_S)
        )
        self._connectivity: Prober[Connectivity | Unreachable] = Prober(
            lambda: within(NEEDED_LIMIT_S, events.connectivity())
        )
        self._probers: tuple[Prober[Any], ...] = (
            *(self._database, self._rabbitmq, self._kafka, self._redis, self._connectivity),
        )
        self._since: dict[Problem, datetime] = {}
        self._expected = (0, 0.0)
        """A sequence of the feed table, and when it was seen there."""

    async def ask_for_ever(self) -> None:
        """Ask every part each `INTERVAL_S`, and log what changes."""
        while True:
            if asking := [task for p in self._probers if (task := p.ask(fresh_s=0.0))]:
                await asyncio.wait(asking)
            self._compare(self._facts())
            await asyncio.sleep(INTERVAL_S)

    async def close(self) -> None:
        """Wait a moment for what was asked; a frozen server's answer isn't waited for."""
        asking = [task for prober in self._probers if (task := prober.asking)]
        if asking:
            _, late = await asyncio.wait(asking, timeout=CLOSE_S)
            for task in late:
                task.cancel()

    async def is_ready(self) -> bool:
        """Tell whether the database answers and has a schema: what this process itself needs."""
        await _wait([self._database.ask(FRESH_S)])
        return isinstance(self._database.latest, DatabaseFacts)

    async def answer(self) -> tuple[bool, dict[str, Any]]:
        """Sum up: whether this process is ready, and the state of every part."""
        await _wait([prober.ask(FRESH_S) for prober in self._probers])
        facts = self._facts()
        since = self._compare(facts)
        ready = isinstance(facts.database, DatabaseFacts)
        return ready, {
            "status": status_of(ready, list(since)),
            "live": True,
            "ready": ready,
            "down": list(dict.fromkeys(problem.part for problem in since)),
            "problems": [
                {"part": problem.part, "reason": problem.reason, "since": _written(time)}
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
        feed: dict[str, Any] = {"sentUpTo": self._tail.last}
        if isinstance(facts.database, DatabaseFacts):
            feed["lastSequence"] = facts.database.last_sequence
            feed["ageSeconds"] = facts.database.last_stored_age_s
        return feed

    def _compare(self, facts: Facts) -> dict[Problem, datetime]:
        """Give what is wrong, with the time when it was first seen; log what is new or gone."""
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
        """Look at what only this process knows."""
        if not self._tail.alive:
            yield Problem("gateway", "the tail has ended: start this process again")
        subscribed = isinstance(self._connectivity.latest, Connectivity) and (
            self._connectivity.latest.subscribe
        )
        if isinstance(facts.redis, RedisFacts) and not subscribed:
            yield Problem("gateway", "isn't subscribed to the channel: entries come later")
        if isinstance(facts.database, DatabaseFacts) and self._is_behind(facts.database):
            yield Problem("gateway", "is behind the feed table")

    def _is_behind(self, facts: DatabaseFacts) -> bool:
        now_s = asyncio.get_running_loop().time()
        expected, seen_s = self._expected
        if self._tail.last >= expected:
            self._expected = facts.last_sequence, now_s
            return False
        return now_s - seen_s > BEHIND_S


async def _wait(asking: "list[asyncio.Task[None] | None]") -> None:
    if tasks := [task for task in asking if task]:
        await asyncio.wait(tasks, timeout=ANSWER_S)


def _written(time: datetime) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ")
