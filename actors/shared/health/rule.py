"""The rule that derives problems from facts."""

from collections.abc import Iterator
from typing import Final, Literal

from actors.shared.health.facts import (
    DatabaseFacts,
    Facts,
    KafkaFacts,
    Part,
    Problem,
    RabbitmqFacts,
    Source,
    Unreachable,
)
from actors.shared.pauses import INTAKE

LEDGER_AGE_S: Final = 300.0
"""Age of the ledger's oldest entry that, while nothing is stored, is a problem."""
UNPUBLISHED_AGE_S: Final = 120.0
"""Age at which an unpublished entry is a problem: longer than the sweep's interval."""
CURSOR_AGE_S: Final = 120.0
"""How long a cursor may stay unchanged while its upstream has more."""
UPSTREAM_AGE_S: Final = 300.0
"""How long an upstream may not answer."""

UNREACHABLE: Final = "doesn't answer"


def status_of(ready: bool, problems: list[Problem]) -> Literal["up", "degraded", "down"]:
    """Return `down` when the process isn't ready, `degraded` when there are problems."""
    if not ready:
        return "down"
    return "degraded" if problems else "up"


def problems_of(facts: Facts) -> list[Problem]:
    """List the problems, in the order of a killmail's flow."""
    return [
        *_unreachable("database", facts.database),
        *(_database(facts.database) if isinstance(facts.database, DatabaseFacts) else ()),
        *_unreachable("kafka", facts.kafka),
        *(_kafka(facts.kafka) if isinstance(facts.kafka, KafkaFacts) else ()),
        *_unreachable("rabbitmq", facts.rabbitmq),
        *(_rabbitmq(facts) if isinstance(facts.rabbitmq, RabbitmqFacts) else ()),
        *_unreachable("redis", facts.redis),
    ]


def _unreachable(part: Part, facts: object) -> Iterator[Problem]:
    if isinstance(facts, Unreachable):
        yield Problem(part, UNREACHABLE)


def _database(facts: DatabaseFacts) -> Iterator[Problem]:
    if INTAKE in facts.pauses:
        yield Problem("source", "an operator has paused the intake")
    else:
        yield from _sources(facts.sources)
    queues = sorted(facts.pauses.keys() - {INTAKE})
    for name in queues:
        yield Problem("feed", f"an operator has paused the queue {name}")
    oldest_s = facts.ledger_oldest_age_s or 0.0
    stands_still = facts.last_stored_age_s is None or facts.last_stored_age_s > LEDGER_AGE_S
    if oldest_s > LEDGER_AGE_S and stands_still and not queues:
        yield Problem("feed", "stands still although killmails wait to be stored")
    if (facts.unpublished_oldest_age_s or 0.0) > UNPUBLISHED_AGE_S:
        yield Problem("feed", "stored entries are not published")


def _sources(sources: list[Source]) -> Iterator[Problem]:
    """Check the source that was polled last; the others belong to former settings."""
    polled = [source for source in sources if source.checked_age_s is not None]
    if not polled:
        return
    source = min(polled, key=lambda polled: polled.checked_age_s or 0.0)
    if (source.checked_age_s or 0.0) > UPSTREAM_AGE_S:
        yield Problem("source", "the upstream hasn't answered, or nobody polls it")
    elif (source.tip or 0) > (source.position or 0) and source.age_s > CURSOR_AGE_S:
        yield Problem("source", "reading stands still although the upstream has more")


def _kafka(facts: KafkaFacts) -> Iterator[Problem]:
    for name, topic in facts.topics.items():
        if not topic.partitions:
            yield Problem("kafka", f"topic {name} is missing")


def _rabbitmq(facts: Facts) -> Iterator[Problem]:
    """Check that queues with messages are consumed; a paused one is a problem of its own."""
    assert isinstance(facts.rabbitmq, RabbitmqFacts)
    paused = facts.database.pauses if isinstance(facts.database, DatabaseFacts) else {}
    for name, queue in facts.rabbitmq.queues.items():
        if queue.ready and queue.consumers == 0 and name not in paused:
            yield Problem("rabbitmq", f"nobody takes from queue {name}, where messages wait")
