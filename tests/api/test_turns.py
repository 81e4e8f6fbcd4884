"""A long execution leaves the loop every few milliseconds, and a short one overtakes it."""

import asyncio
import time
from collections.abc import Awaitable
from typing import Any, cast

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
    "entries": [{"id": number, "parties": PARTIES} for number in range(150)],
    "few": [{"id": number, "parties": PARTIES} for number in range(3)],
}
LONG = "{ entries { id " + " ".join(f"p{n}: parties {{ a b }}" for n in range(10)) + " } }"
SHORT = "{ few { id parties { a b } } }"
MAX_WAIT_S = 0.25
"""Of computing, which is all in this process; the long one takes a second or more by itself."""


def an_executor(document: str, turns: Turns, meter: Meter | None = None) -> PiecewiseExecutor:
    executor = PiecewiseExecutor.build(SCHEMA, parse(document), ROOT)
    assert isinstance(executor, PiecewiseExecutor)
    executor.turns, executor.meter = turns, meter or Meter(10**9, 10**9)
    return executor


async def execute(document: str, turns: Turns, meter: Meter | None = None) -> ExecutionResult:
    executor = an_executor(document, turns, meter)
    result = executor.execute_operation()
    done: Any = await result if executor.is_awaitable(result) else result
    assert isinstance(done, ExecutionResult)
    return done


async def test_short_execution_is_not_held_up_by_long_ones() -> None:
    turns = Turns()
    long = [asyncio.create_task(execute(LONG, turns)) for _ in range(3)]
    await asyncio.sleep(0)
    waits = []
    while not all(task.done() for task in long):
        begun = time.process_time()
        result = await execute(SHORT, turns)
        waits.append(time.process_time() - begun)
        assert result.data
        assert [entry["id"] for entry in result.data["few"]] == [0, 1, 2]
        await asyncio.sleep(0.01)
    assert len(waits) > 5
    assert max(waits) < MAX_WAIT_S
    for task in long:
        data = task.result().data
        assert data
        assert [entry["id"] for entry in data["entries"]] == list(range(150))
        assert data["entries"][-1]["p9"] == PARTIES


async def test_execution_that_is_stopped_ends_soon() -> None:
    turns, meter = Turns(), Meter(10**9, 10**9)
    executor = an_executor(LONG, turns, meter)
    stopped = asyncio.ensure_future(cast(Awaitable[Any], executor.execute_operation()))
    other = asyncio.create_task(execute(SHORT, turns))
    await asyncio.sleep(0.02)
    executor.stop()
    async with asyncio.timeout(MAX_WAIT_S):
        await stopped
    assert meter.values < 20_000
    assert (await other).errors is None


async def test_execution_ends_soon_when_its_answer_is_too_long() -> None:
    for meter in (Meter(1_000, 10**9), Meter(10**9, 10_000)):
        assert not meter.is_full
        await execute(LONG, Turns(), meter)
        assert meter.is_full
        assert meter.values < 2_000
