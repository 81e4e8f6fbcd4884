"""Metrics of feed, ledger, queues and topics, read from the servers; the same in every process."""

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

PROBE_S: Final = 4.0
"""Time limit of the probes; Prometheus' default timeout of a scrape is 10 s."""
FRESH_S: Final = 5.0
"""How long the results of the probes are reused."""

Part = DatabaseFacts | RabbitmqFacts | KafkaFacts | RedisFacts | Unreachable | Embedded


class BacklogCollector(Collector):
    """Probes the servers at each scrape. A metric has no value while its server is unreachable."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._parts: dict[str, Part] = {}
        self._probed_at_s = float("-inf")

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values; sends no request."""
        return _families({})

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics; takes `PROBE_S` at most."""
        with self._lock:
            if time.monotonic() - self._probed_at_s > FRESH_S:
                self._parts = asyncio.run(_probe(self._settings))
                self._probed_at_s = time.monotonic()
            yield from _families(self._parts)


async def _probe(settings: Settings) -> dict[str, Part]:
    database, rabbitmq, kafka, redis = await asyncio.gather(
        probe_database(settings, limit_s=PROBE_S),
        probe_rabbitmq(settings, limit_s=PROBE_S),
        probe_kafka(settings, limit_s=PROBE_S, lag=True),
        probe_redis(settings, limit_s=PROBE_S),
    )
    return {"database": database, "rabbitmq": rabbitmq, "kafka": kafka, "redis": redis}


def _families(parts: dict[str, Part]) -> list[Metric]:
    return [
        _servers(parts),
        *_of_database(parts.get("database")),
        *_of_queues(parts.get("rabbitmq")),
        *_of_topics(parts.get("kafka")),
    ]


class _Unknown:
    last_sequence = last_stored_age_s = unpublished = ledger = ledger_oldest_age_s = holes = None


_UNKNOWN: Final = _Unknown()


def _servers(parts: dict[str, Part]) -> Metric:
    up = GaugeMetricFamily(
        "killstream_server_up",
        "Whether a server answers this process. 0: the server or the network is down; the metrics"
        " of that server have no value meanwhile.",
        labels=["server"],
    )
    for name, part in parts.items():
        if not isinstance(part, Embedded):
            up.add_metric([name], float(not isinstance(part, Unreachable)))
    return up


def _of_database(part: Part | None) -> Iterator[Metric]:
    facts = part if isinstance(part, DatabaseFacts) else _UNKNOWN
    yield GaugeMetricFamily(
        "killstream_feed_sequence",
        "Last sequence of the feed. Constant while received rises: nothing is stored.",
        value=facts.last_sequence,
    )
    yield GaugeMetricFamily(
        "killstream_feed_age_seconds",
        "Age of the feed's last entry. Rises beyond minutes: the upstream has no new killmails, or"
        " nothing is stored.",
        value=facts.last_stored_age_s,
    )
    yield GaugeMetricFamily(
        "killstream_unpublished",
        "Feed entries stored and not yet published. Stays above 0: Kafka or Redis is unavailable,"
        " or no streams process runs.",
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
        "Age of the ledger's oldest entry. Rises beyond an hour: some killmails can't be stored;"
        " see the dead letters.",
        value=facts.ledger_oldest_age_s,
    )
    yield GaugeMetricFamily(
        "killstream_holes",
        "Absent files that are requested again. Rises: the upstream skips numbers or uploads late.",
        value=facts.holes,
    )


def _of_queues(part: Part | None) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "killstream_queue_messages",
        "Messages in RabbitMQ without those in delivery. ready rises: too few actors; dead rises:"
        " messages failed their last try, see `killstream dead list`; delayed doesn't fall: no"
        " actors run.",
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
        "Messages that the group of the streams hasn't consumed. Rises: no streams process runs, or"
        " RabbitMQ accepts no messages.",
        labels=["topic"],
    )
    topics = part.topics if isinstance(part, KafkaFacts) else {}
    for name, topic in topics.items():
        if topic.lag is not None:
            lag.add_metric([name], topic.lag)
    yield lag
