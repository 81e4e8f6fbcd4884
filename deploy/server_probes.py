"""Probe all servers of a process, one probe at a time, for its metrics and its readiness."""

import asyncio
import os
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, Final

from actors.shared.health.database import probe_database
from actors.shared.health.facts import (
    DatabaseFacts,
    Embedded,
    KafkaFacts,
    RabbitmqFacts,
    RedisFacts,
    Unreachable,
)
from actors.shared.health.kafka import probe_kafka
from actors.shared.health.queues import QueueReport, inspect_queues, nothing_paused
from actors.shared.health.rabbitmq import probe_rabbitmq
from actors.shared.health.redis import probe_redis
from actors.shared.settings import PREFIX, Settings, settings

PROBE_S: Final = 4.0
"""Time limit of the probes; Prometheus' default timeout of a scrape is 10 s, and the manifests for
Kubernetes give a probe 5 s."""
FRESH_S: Final = 5.0
"""How long the results of the probes are reused."""

SERVERS: Final = ("database", "rabbitmq", "kafka", "redis")

Part = (
    QueueReport | DatabaseFacts | RabbitmqFacts | KafkaFacts | RedisFacts | Unreachable | Embedded
)
Probe = Callable[[Settings], Coroutine[Any, Any, tuple[Part, Part, Part, Part]]]


class ServerProbes:
    """The latest result of each server's probe. It takes one connection to the database."""

    def __init__(self, configured: Settings, probe: Probe, *, fresh_s: float = FRESH_S) -> None:
        self._settings = configured
        self._probe = probe
        self._fresh_s = fresh_s
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._probed_at_s = float("-inf")

    def read(self) -> dict[str, Part]:
        """Return the results by server, at most `fresh_s` old, within the probe's time limit."""
        with self._lock:
            if time.monotonic() - self._probed_at_s > self._fresh_s:
                parts = asyncio.run(self._probe(self._settings))
                self._parts = dict(zip(SERVERS, parts, strict=True))
                self._probed_at_s = time.monotonic()
            return self._parts


async def probe_backlogs(configured: Settings) -> tuple[Part, Part, Part, Part]:
    """Read what the metrics of a streams process have."""
    return await asyncio.gather(
        probe_database(configured, limit_s=PROBE_S, users=True),
        _queues(configured),
        probe_kafka(configured, limit_s=PROBE_S, lag=True),
        probe_redis(configured, limit_s=PROBE_S),
    )


async def probe_servers(
    configured: Settings, *, limit_s: float = PROBE_S
) -> tuple[Part, Part, Part, Part]:
    """Find out which servers answer."""
    return await asyncio.gather(
        probe_database(configured, limit_s=limit_s),
        probe_rabbitmq(configured, limit_s=limit_s),
        probe_kafka(configured, limit_s=limit_s),
        probe_redis(configured, limit_s=limit_s),
    )


async def _queues(configured: Settings) -> QueueReport | Unreachable | Embedded:
    if not configured.rabbitmq_url:
        return Embedded()
    report = await inspect_queues(configured, limit_s=PROBE_S, read_pauses=nothing_paused)
    reason = report.unknown.get("rabbitmq")
    return report if reason is None else Unreachable(reason)


def beside_probes(configured: Settings) -> Settings:
    """Return the settings of what runs beside the probes, which take one connection."""
    others = max(1, configured.database_pool_size - (1 if configured.metrics_port else 0))
    return configured.model_copy(update={"database_pool_size": others})


def leave_to_probes(configured: Settings) -> None:
    """Leave the probes their connection: the actors read their number from the environment."""
    others = beside_probes(configured).database_pool_size
    os.environ[PREFIX + "DATABASE_POOL_SIZE"] = str(others)
    settings.cache_clear()
