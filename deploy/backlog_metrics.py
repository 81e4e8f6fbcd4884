"""What waits where, as metrics: the same numbers from every process that shows them."""

import asyncio
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

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
from actors.shared.health.rabbitmq import probe_rabbitmq
from actors.shared.health.redis import probe_redis
from actors.shared.settings import Settings

ASKED_WITHIN_S: Final = 4.0
"""How long the servers may take; Prometheus gives up after 10 s."""
FRESH_S: Final = 5.0
"""For how long an answer is shown again."""

Part = DatabaseFacts | RabbitmqFacts | KafkaFacts | RedisFacts | Unreachable | Embedded


class BacklogCollector(Collector):
    """Asks the servers when it is scraped. What can't be asked has no number."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._asking = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._asked_s = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Name the metrics without asking anybody."""
        return _families({})

    def collect(self) -> Iterator[Metric]:
        """Give the numbers; takes `ASKED_WITHIN_S` at most."""
        with self._asking:
            if time.monotonic() - self._asked_s > FRESH_S:
                self._parts = asyncio.run(_ask(self._settings))
                self._asked_s = time.monotonic()
            yield from _families(self._parts)


async def _ask(settings: Settings) -> dict[str, Part]:
    database, rabbitmq, kafka, redis = await asyncio.gather(
        probe_database(settings, limit_s=ASKED_WITHIN_S),
        probe_rabbitmq(settings, limit_s=ASKED_WITHIN_S),
        probe_kafka(settings, limit_s=ASKED_WITHIN_S, lag=True),
        probe_redis(settings, limit_s=ASKED_WITHIN_S),
    )
    return {"database": database, "rabbitmq": rabbitmq, "kafka": kafka, "redis": redis}


def _families(parts: dict[str, Part]) -> list[Metric]:
    return [
        _servers(parts),
        *_of_database(parts.get("database")),
        *_of_queues(parts.get("rabbitmq")),
        *_of_topics(parts.get("kafka")),
    ]


class _NotAsked:
    last_sequence = last_stored_age_s = unpublished = ledger = ledger_oldest_age_s = holes = None


_NOT_ASKED: Final = _NotAsked()


def _servers(parts: dict[str, Part]) -> Metric:
    up = GaugeMetricFamily(
        "killstream_server_up",
        "Whether a server answers this process. 0: it is away, or the network between them is; what"
        " waits there has no number meanwhile.",
        labels=["server"],
    )
    for name, part in parts.items():
        if not isinstance(part, Embedded):
            up.add_metric([name], float(not isinstance(part, Unreachable)))
    return up


def _of_database(part: Part | None) -> Iterator[Metric]:
    facts = part if isinstance(part, DatabaseFacts) else _NOT_ASKED
    yield GaugeMetricFamily(
        "killstream_feed_sequence",
        "Last number of the feed. Stands still while received rises: nothing is stored.",
        value=facts.last_sequence,
    )
    yield GaugeMetricFamily(
        "killstream_feed_age_seconds",
        "Age of the feed's last entry. Rises beyond minutes: the upstream is quiet, or nothing is"
        " stored.",
        value=facts.last_stored_age_s,
    )
    yield GaugeMetricFamily(
        "killstream_unpublished",
        "Feed entries stored and not yet published. Stays above 0: Kafka or Redis is away, or no"
        " streams process has the sweep done.",
        value=facts.unpublished,
    )
    yield GaugeMetricFamily(
        "killstream_ledger",
        "Killmails received and not yet stored or rejected. Rises: bodies, queues or the database"
        " are the bottleneck.",
        value=facts.ledger,
    )
    yield GaugeMetricFamily(
        "killstream_ledger_oldest_age_seconds",
        "Age of the oldest of them. Rises beyond an hour: some can't be stored; see the dead"
        " letters.",
        value=facts.ledger_oldest_age_s,
    )
    yield GaugeMetricFamily(
        "killstream_holes",
        "Files that were absent and are asked for again. Rises: the upstream skips numbers or"
        " uploads late.",
        value=facts.holes,
    )


def _of_queues(part: Part | None) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "killstream_queue_messages",
        "Messages in RabbitMQ that no process holds. ready rises: too few actors; dead rises: work"
        " broke for good, see `killstream dead list`; delayed stays up: no actors run.",
        labels=["queue", "state"],
    )
    queues = part.queues if isinstance(part, RabbitmqFacts) else {}
    for name, queue in queues.items():
        counted = {"ready": queue.ready, "delayed": queue.delayed, "dead": queue.dead}
        for state, count in counted.items():
            if count is not None:
                messages.add_metric([name, state], count)
    yield messages


def _of_topics(part: Part | None) -> Iterator[Metric]:
    lag = GaugeMetricFamily(
        "killstream_topic_lag",
        "Messages that the streams have yet to read. Rises: no streams process reads, or RabbitMQ"
        " takes no messages.",
        labels=["topic"],
    )
    topics = part.topics if isinstance(part, KafkaFacts) else {}
    for name, topic in topics.items():
        if topic.lag is not None:
            lag.add_metric([name], topic.lag)
    yield lag
