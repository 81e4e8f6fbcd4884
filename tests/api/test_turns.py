"""A long execution leaves the loop every few milliseconds, and a short one overtakes it."""

import asyncio
import time
from typing import Any

from graphql import ExecutionResult, GraphQLSchema, build_schema, parse

from api.executor import Meter, PiecewiseExecutor
from api.turns import Turns

SCHEMA: GraphQLSchema = build_schema(
    """
    type Query { entries: [Entry!]! few: [Entry!]! }
    type Entry { id: Int! parties: [Party!]! }
    type Party { a: Int! b: Int! }
    """
)
PARTIES = [{"a": 1, "b": 2}] * 10
ROOT = {
    "entries": [{"id": number, "parties": PARTIES} for number in range(300)],
    "few": [{"id": number, "parties": PARTIES} for number in range(3)],
}
LONG = "{ entries { id " + " ".join(f"p{n}: parties {{ a b }}" for n in range(10)) + " } }"
SHORT = "{ few { id parties { a b } } }"
MAX_WAIT_S = 0.25
"""The long one takes a second or more by itself."""


async def execute(document: str, turns: Turns, meter: Meter | None = None) -> ExecutionResult:
    executor: Any = PiecewiseExecutor.build(SCHEMA, parse(document), ROOT)
    executor.turns, executor.meter = turns, meter or Meter(10**9, 10**9)
    result = executor.execute_operation()
    done: ExecutionResult = await result if executor.is_awaitable(result) else result
    return done


async def test_short_execution_is_not_held_up_by_long_ones() -> None:
    turns = Turns()
    long = [asyncio.create_task(execute(LONG, turns)) for _ in range(3)]
    await asyncio.sleep(0)
    waits = []
    while not all(task.done() for task in long):
        begun = time.perf_counter()
        result = await execute(SHORT, turns)
        waits.append(time.perf_counter() - begun)
        assert result.data
        assert [entry["id"] for entry in result.data["few"]] == [0, 1, 2]
        await asyncio.sleep(0.01)
    assert len(waits) > 5
    assert max(waits) < MAX_WAIT_S
    for task in long:
        data = task.result().data
        assert data
        assert [entry["id"] for entry in data["entries"]] == list(range(300))
        assert data["entries"][-1]["p9"] == PARTIES


async def test_cancelled_execution_takes_no_turns() -> None:
    turns = Turns()
    cancelled, long = (asyncio.create_task(execute(LONG, turns)) for _ in range(2))
    await asyncio.sleep(0.02)
    cancelled.cancel()
    assert (await long).errors is None
    assert cancelled.cancelled()


async def test_execution_ends_soon_when_its_answer_is_too_long() -> None:
    for meter in (Meter(1_000, 10**9), Meter(10**9, 10_000)):
        assert not meter.is_full
        await execute(LONG, Turns(), meter)
        assert meter.is_full
        assert meter.values < 2_000
