"""The rule that says what is wrong, over facts."""

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from actors.shared.health.facts import (
    DatabaseFacts,
    Embedded,
    Facts,
    KafkaFacts,
    Problem,
    QueueFacts,
    RabbitmqFacts,
    RedisFacts,
    Source,
    TopicFacts,
    Unreachable,
)
from actors.shared.health.rule import problems_of, status_of

SOURCE = Source("r2z2:host", position=100, age_s=600, tip=100, checked_age_s=2)
DATABASE = DatabaseFacts(
    revision="0001",
    last_sequence=10,
    last_stored_age_s=600,
    unpublished=0,
    unpublished_oldest_age_s=None,
    sources=[SOURCE],
    ledger=0,
    ledger_oldest_age_s=None,
    holes=3,
)
WELL = Facts(
    at=datetime.now(UTC),
    database=DATABASE,
    rabbitmq=RabbitmqFacts({"database": QueueFacts(5, 0, 2, consumers=1)}),
    kafka=KafkaFacts({"killmails.received": TopicFacts(4, 10, 3)}),
    redis=RedisFacts("7", 0.1),
)


def source(**changes: Any) -> dict[str, Any]:
    return {"sources": [msgspec.structs.replace(SOURCE, **changes)]}


def test_quiet_feed_with_dead_letters_and_holes_is_well() -> None:
    assert problems_of(WELL) == []


def test_embedded_parts_are_well() -> None:
    embedded = Facts(WELL.at, DATABASE, Embedded(), Embedded(), Embedded())
    assert problems_of(embedded) == []


@pytest.mark.parametrize("part", ["database", "kafka", "rabbitmq", "redis"])
def test_server_that_does_not_answer_is_a_problem_of_its_part(part: str) -> None:
    facts = msgspec.structs.replace(WELL, **{part: Unreachable("secret-host:1 refused")})
    (problem,) = problems_of(facts)
    assert problem.part == part
    assert "secret-host" not in problem.reason


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({"ledger": 1, "ledger_oldest_age_s": 301.0}, "feed"),
        ({"ledger": 1, "ledger_oldest_age_s": 301.0, "last_stored_age_s": None}, "feed"),
        ({"unpublished": 1, "unpublished_oldest_age_s": 121.0}, "feed"),
        (source(tip=101, age_s=121.0), "source"),
        (source(position=None, tip=101, age_s=121.0), "source"),
        (source(checked_age_s=301.0), "source"),
    ],
)
def test_work_that_stands_still_is_a_problem(changes: dict[str, Any], part: str) -> None:
    facts = msgspec.structs.replace(WELL, database=msgspec.structs.replace(DATABASE, **changes))
    assert [problem.part for problem in problems_of(facts)] == [part]


@pytest.mark.parametrize(
    "changes",
    [
        {"ledger": 1, "ledger_oldest_age_s": 299.0},
        {"ledger": 9, "ledger_oldest_age_s": 9e4, "last_stored_age_s": 2.0},
        {"unpublished": 1, "unpublished_oldest_age_s": 119.0},
        {"sources": []},
        source(tip=101, age_s=119.0),
        source(tip=None),
        source(tip=99),
        source(checked_age_s=None),
        {"sources": [SOURCE, Source("redisq:old", 5, 9e6, tip=7, checked_age_s=9e6)]},
    ],
)
def test_work_that_goes_on_is_none(changes: dict[str, Any]) -> None:
    """A backlog that is being worked off, a source of former settings, an upstream without news."""
    facts = msgspec.structs.replace(WELL, database=msgspec.structs.replace(DATABASE, **changes))
    assert problems_of(facts) == []


def test_topic_that_is_missing_is_a_problem() -> None:
    kafka = KafkaFacts({"killmails.stored": TopicFacts(0, 0, None)})
    (problem,) = problems_of(msgspec.structs.replace(WELL, kafka=kafka))
    assert problem == Problem("kafka", "topic killmails.stored is missing")


@pytest.mark.parametrize(
    ("queue", "is_problem"),
    [
        (QueueFacts(1, 0, 0, consumers=0), True),
        (QueueFacts(0, 0, 0, consumers=0), False),
        (QueueFacts(1, 0, 0, consumers=1), False),
        (QueueFacts(None, None, None), False),
    ],
)
def test_messages_that_nobody_takes_are_a_problem(queue: QueueFacts, is_problem: bool) -> None:
    rabbitmq = RabbitmqFacts({"esi": queue})
    problems = problems_of(msgspec.structs.replace(WELL, rabbitmq=rabbitmq))
    assert [p.part for p in problems] == ["rabbitmq"] * is_problem


def test_problems_degrade_and_only_what_is_needed_is_down() -> None:
    problem = Problem("kafka", "doesn't answer")
    assert status_of(True, []) == "up"
    assert status_of(True, [problem]) == "degraded"
    assert status_of(False, [problem]) == "down"


def test_a_pause_is_the_only_problem_of_what_stands_still() -> None:
    stale = source(checked_age_s=4000) | {"ledger": 3, "ledger_oldest_age_s": 4000.0}
    paused = msgspec.structs.replace(DATABASE, **stale, pauses={"source": 5000.0, "database": 9.0})
    waiting = RabbitmqFacts({"database": QueueFacts(5, 0, 0, 0), "esi": QueueFacts(1, 0, 0, 0)})
    assert problems_of(msgspec.structs.replace(WELL, database=paused, rabbitmq=waiting)) == [
        Problem("source", "an operator has paused the intake"),
        Problem("feed", "an operator has paused the queue database"),
        Problem("rabbitmq", "nobody takes from queue esi, where messages wait"),
    ]
