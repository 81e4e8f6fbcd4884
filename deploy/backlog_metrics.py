"""Metrics of feed, ledger, queues and topics, read from the servers; the same in every process."""

from collections.abc import Iterable, Iterator
from typing import Final

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from actors.shared.health.facts import (
    CompletenessFacts,
    DatabaseFacts,
    Embedded,
    KafkaFacts,
    Source,
    Unreachable,
    UserFacts,
)
from actors.shared.health.queues import QueueReport
from actors.shared.pauses import INTAKE
from actors.shared.queues import Queue
from deploy.server_probes import SERVERS, Part, ServerProbes

DAY_STATES: Final = ("complete", "repairing", "incomplete", "not_imported")
STATES: Final = {"ready": "", "delayed": ".DQ", "dead": ".XQ"}
"""Suffixes of the queues that hold messages of a state."""


class BacklogCollector(Collector):
    """Reads the servers at each scrape. A metric has no value while its server is unreachable."""

    def __init__(self, servers: ServerProbes) -> None:
        self._servers = servers

    def describe(self) -> Iterable[Metric]:
        """Return the metrics without values; sends no request."""
        return _families({})

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, within the time limit of the probes."""
        yield from _families(self._servers.read())


def _families(parts: dict[str, Part]) -> list[Metric]:
    return [
        _servers(parts),
        *_of_database(parts.get("database")),
        *_of_sources(parts.get("database")),
        *_of_users(parts.get("database")),
        *_of_completeness(parts.get("database")),
        _of_pauses(parts.get("database")),
        *_of_queues(parts.get("rabbitmq")),
        *_of_topics(parts.get("kafka")),
    ]


class _Unknown:
    last_sequence = last_stored_age_s = unpublished = unpublished_oldest_age_s = None
    ledger = ledger_oldest_age_s = holes = None


_UNKNOWN: Final = _Unknown()


def _servers(parts: dict[str, Part]) -> Metric:
    up = GaugeMetricFamily(
        "killstream_server_up",
        "Whether a server answers this process. 0: the server or the network is down; the metrics"
        " of that server have no value meanwhile.",
        labels=["server"],
    )
    for name in SERVERS:
        part = parts.get(name)
        if part is not None and not isinstance(part, Embedded):
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
        "killstream_unpublished_oldest_age_seconds",
        "Age of the oldest feed entry that isn't published; 0 without one. Rises: Kafka or Redis is"
        " unavailable, or no streams process runs.",
        value=_or_0(facts.unpublished, facts.unpublished_oldest_age_s),
    )
    yield GaugeMetricFamily(
        "killstream_ledger",
        "Killmails received and not yet stored or rejected. Rises: bodies, queues or the database"
        " are the bottleneck.",
        value=facts.ledger,
    )
    yield GaugeMetricFamily(
        "killstream_ledger_oldest_age_seconds",
        "Age of the ledger's oldest entry; 0 without one. Rises beyond an hour: some killmails"
        " can't be stored; see the dead letters.",
        value=_or_0(facts.ledger, facts.ledger_oldest_age_s),
    )
    yield GaugeMetricFamily(
        "killstream_holes",
        "Absent files that are requested again. Rises: the upstream skips numbers or uploads late.",
        value=facts.holes,
    )


def _or_0(entries: int | None, age_s: float | None) -> float | None:
    """Return 0 where the database answers and no entry has an age."""
    return age_s if entries is None or age_s is not None else 0.0


def _of_sources(part: Part | None) -> Iterator[Metric]:
    sources = part.sources if isinstance(part, DatabaseFacts) else []
    lag = GaugeMetricFamily(
        "killstream_source_lag",
        "Killmails that the upstream has and we haven't read: its newest position minus ours."
        " Rises: polling is slower than the upstream, or stands still.",
        labels=["source"],
    )
    age = GaugeMetricFamily(
        "killstream_source_age_seconds",
        "Time since the position in the source changed. Rises with the lag: polling stands still;"
        " without the lag: the upstream has no new killmails.",
        labels=["source"],
    )
    checked = GaugeMetricFamily(
        "killstream_source_checked_age_seconds",
        "Time since the upstream answered. Rises: the upstream is unavailable or bans us, or no"
        " streams process polls.",
        labels=["source"],
    )
    for one in sources:
        age.add_metric([one.source], one.age_s)
        if one.checked_age_s is not None:
            checked.add_metric([one.source], one.checked_age_s)
        if (behind := _lag(one)) is not None:
            lag.add_metric([one.source], behind)
    yield from (lag, age, checked)


def _lag(source: Source) -> int | None:
    if source.tip is None or source.position is None:
        return None
    return max(0, source.tip - source.position)


def _of_users(part: Part | None) -> Iterator[Metric]:
    users = part.users if isinstance(part, DatabaseFacts) else None
    states = GaugeMetricFamily(
        "killstream_users",
        "Characters that logged in, by the state of their tokens. login_required rises: users"
        " revoked the application, were sold, or EVE lost their tokens; they have to log in again.",
        labels=["state"],
    )
    overdue = GaugeMetricFamily(
        "killstream_syncs_overdue",
        "Active users whose sync is 15 minutes late. Rises: no streams process schedules, no actors"
        " consume the queue sync, or ESI fails.",
        value=None if users is None else users.overdue,
    )
    for state, count in _with_states(users).items():
        states.add_metric([state], count)
    yield from (states, overdue)


def _with_states(users: UserFacts | None) -> dict[str, int]:
    return {} if users is None else {"active": 0, "login_required": 0} | users.by_state


def _of_completeness(part: Part | None) -> Iterator[Metric]:
    facts = part if isinstance(part, DatabaseFacts) else None
    days = GaugeMetricFamily(
        "killstream_completeness_days",
        "Days beside zKillboard's lists, by state. repairing doesn't fall: ESI or R2Z2 fails.",
        labels=["state"],
    )
    missing = GaugeMetricFamily(
        "killstream_completeness_missing",
        "Killmails that zKillboard has and we lack, by the state of their day. incomplete: nobody"
        " gives them; not_imported: `killstream history import` gets them.",
        labels=["state"],
    )
    obtainable = GaugeMetricFamily(
        "killstream_completeness_obtainable",
        "Killmails missing of days that are recent or imported, without those that nobody gives."
        " Stays above 0: their repair fails, or zKillboard lists fewer than it counts.",
        value=None if facts is None else facts.obtainable,
    )
    age = GaugeMetricFamily(
        "killstream_completeness_audit_age_seconds",
        "Time since the one of the last 7 days was audited that waits longest. Rises beyond two"
        " days: R2Z2 fails or bans us, or nothing consumes the queue history.",
        value=None if facts is None else facts.audit_age_s,
    )
    none = dict.fromkeys(DAY_STATES, CompletenessFacts(0, 0))
    for state, found in (none | facts.completeness if facts else {}).items():
        days.add_metric([state], found.days)
        missing.add_metric([state], found.missing)
    yield from (days, missing, obtainable, age)


def _of_pauses(part: Part | None) -> Metric:
    paused = GaugeMetricFamily(
        "killstream_queue_paused",
        "1: an operator has paused the queue, or the intake (queue `source`). For long: it was"
        " forgotten; `killstream resume` or `killstream drain --resume` ends it.",
        labels=["queue"],
    )
    if isinstance(part, DatabaseFacts):
        for name in (*Queue, INTAKE):
            paused.add_metric([name], float(name in part.pauses))
    return paused


def _of_queues(part: Part | None) -> Iterator[Metric]:
    messages = GaugeMetricFamily(
        "killstream_queue_messages",
        "Messages in RabbitMQ without those in delivery. ready rises: too few actors; dead rises:"
        " messages failed their last try, see `killstream dead list`; delayed doesn't fall: no"
        " actors run.",
        labels=["queue", "state"],
    )
    consumers = GaugeMetricFamily(
        "killstream_queue_consumers",
        "Consumers of a queue. 0: no actors process works on it.",
        labels=["queue"],
    )
    oldest = GaugeMetricFamily(
        "killstream_queue_oldest_age_seconds",
        "Age of the oldest message of a queue, as far as known (RabbitMQ's management API knows"
        " those that no process holds); 0 without one. Rises: too few actors, or its limit is"
        " reached.",
        labels=["queue"],
    )
    if isinstance(part, QueueReport):
        for name in Queue:
            for state, suffix in STATES.items():
                _add(messages, [name, state], part.queue(name + suffix).ready)
            queue = part.queue(name)
            _add(consumers, [name], queue.consumers)
            none = 0.0 if queue.messages == 0 else None
            _add(oldest, [name], none if queue.oldest_age_s is None else queue.oldest_age_s)
    yield from (messages, consumers, oldest)


def _add(family: GaugeMetricFamily, labels: list[str], value: float | None) -> None:
    if value is not None:
        family.add_metric(labels, value)


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
