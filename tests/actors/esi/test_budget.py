"""What the budget promises: once in this process, once for all that share a Redis."""

import asyncio
import socket

import pytest
from redis.asyncio import Redis

from actors.esi import budget as budgets
from actors.esi.budget import (
    ALL,
    BUCKETLESS,
    KILLMAIL,
    SOON_MS,
    STATUS,
    TRANQUILITY,
    Budget,
    Paused,
    Terms,
)
from actors.esi.redis_budget import RedisBudget
from actors.shared.errors import RetryLater
from tests.support.budgets import MakeBudget, redis_budgets

WINDOW_MS = 300


def terms(tokens: int) -> Terms:
    return Terms({KILLMAIL: tokens}, WINDOW_MS)


async def spend(budget: Budget, tokens: int = 2, remaining: int | None = None) -> None:
    await budget.charge(await budget.reserve(KILLMAIL), tokens, remaining)


async def make_known(budget: Budget, limit: int) -> None:
    """Let the first request be answered: from then on, several may be under way."""
    await spend(budget, 0, limit)


async def test_refuses_what_the_window_does_not_hold(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(13))
    await make_known(budget, 13)
    for _ in range(5):
        await spend(budget)  # 2 each; 5 must be free
    with pytest.raises(RetryLater, match="spent") as spent:
        await budget.reserve(KILLMAIL)
    assert 0 < spent.value.delay_ms <= WINDOW_MS + budgets.DRIFT_MS + 1


async def test_tokens_come_back_after_the_delay_that_was_named(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(5))
    await make_known(budget, 5)
    await spend(budget)
    with pytest.raises(RetryLater) as spent:
        await budget.reserve(KILLMAIL)
    await asyncio.sleep(spent.value.delay_ms / 1000)
    await budget.reserve(KILLMAIL)


async def test_reserves_the_most_that_each_request_may_cost(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(14))
    await make_known(budget, 14)
    first = await budget.reserve(KILLMAIL)
    await budget.reserve(KILLMAIL)
    with pytest.raises(RetryLater) as wait:
        await budget.reserve(KILLMAIL)
    assert wait.value.delay_ms <= SOON_MS + 1  # an answer may free what wasn't needed
    await budget.charge(first, 2)
    await budget.reserve(KILLMAIL)


async def test_sends_one_request_alone_until_esi_was_heard(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(3600))
    alone = await budget.reserve(KILLMAIL)
    with pytest.raises(RetryLater):
        await budget.reserve(KILLMAIL)
    await budget.charge(alone, 2, 3598)
    await asyncio.gather(*(budget.reserve(KILLMAIL) for _ in range(50)))


async def test_adopts_what_esi_says_when_less_is_left(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(100))
    await spend(budget, 2, remaining=7)
    await spend(budget, 2, remaining=5)
    await spend(budget, 2, remaining=3)
    with pytest.raises(RetryLater):
        await budget.reserve(KILLMAIL)


async def test_does_not_believe_esi_when_more_is_left(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(7))
    await spend(budget, 2, remaining=3598)
    await spend(budget, 2, remaining=3596)
    with pytest.raises(RetryLater):
        await budget.reserve(KILLMAIL)


async def test_answers_that_overtake_each_other_cost_nothing_extra(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(30))
    await make_known(budget, 30)
    first, second, third = [await budget.reserve(KILLMAIL) for _ in range(3)]
    await budget.charge(third, 2, 24)
    await budget.charge(first, 2, 28)
    await budget.charge(second, 2, 26)
    for _ in range(4):
        await budget.reserve(KILLMAIL)  # 6 spent, 20 reserved, 4 left
    with pytest.raises(RetryLater):
        await budget.reserve(KILLMAIL)


async def test_reservation_of_a_dead_process_runs_out(
    make_budget: MakeBudget,
) -> None:
    budget = make_budget(Terms({KILLMAIL: 5}, WINDOW_MS, answer_ms=0))
    await budget.reserve(KILLMAIL)  # and dies
    with pytest.raises(RetryLater):
        await budget.reserve(KILLMAIL)
    await asyncio.sleep((WINDOW_MS + budgets.DRIFT_MS + 1) / 1000)
    await budget.reserve(KILLMAIL)


async def test_a_request_without_an_answer_counts_at_its_most(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(9))
    await make_known(budget, 9)
    await budget.charge(await budget.reserve(KILLMAIL), None)
    with pytest.raises(RetryLater):
        await budget.reserve(KILLMAIL)


async def test_no_limit_and_no_bucket_never_wait(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(0))
    for group in (KILLMAIL, BUCKETLESS, STATUS):
        for _ in range(100):
            await budget.reserve(group)


async def test_pause_holds_its_group_and_no_other(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(0))
    assert await budget.pause(KILLMAIL, 60_000, "too many")
    with pytest.raises(Paused, match="too many") as paused:
        await budget.reserve(KILLMAIL)
    assert paused.value.scope == KILLMAIL
    assert 59_000 < paused.value.delay_ms <= 60_001
    await budget.reserve(BUCKETLESS)


@pytest.mark.parametrize(("scope", "status_is_held"), [(ALL, True), (TRANQUILITY, False)])
async def test_pause_of_everything(
    make_budget: MakeBudget, scope: str, status_is_held: bool
) -> None:
    budget = make_budget(terms(0))
    await budget.pause(scope, 60_000, "spent")
    for group in (KILLMAIL, BUCKETLESS):
        with pytest.raises(Paused):
            await budget.reserve(group)
    if status_is_held:
        with pytest.raises(Paused):
            await budget.reserve(STATUS)
    else:
        await budget.reserve(STATUS)


async def test_pause_is_new_once_and_never_shortened(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(0))
    assert await budget.pause(ALL, 60_000, "long")
    assert not await budget.pause(ALL, 1, "short")
    with pytest.raises(Paused, match="long"):
        await budget.reserve(KILLMAIL)


async def test_pause_ends_after_the_delay_that_was_named(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(0))
    await budget.pause(ALL, 50, "short")
    with pytest.raises(Paused) as paused:
        await budget.reserve(KILLMAIL)
    await asyncio.sleep(paused.value.delay_ms / 1000)
    await budget.reserve(KILLMAIL)


@pytest.mark.service
async def test_processes_share_budget_and_pauses() -> None:
    async with redis_budgets() as make:
        one, other = make(terms(7)), make(terms(7))
        await make_known(one, 7)
        await spend(one)
        await spend(other)
        for budget in (one, other):
            with pytest.raises(RetryLater, match="spent"):
                await budget.reserve(KILLMAIL)
        await one.pause(BUCKETLESS, 60_000, "few errors left")
        with pytest.raises(Paused, match="few errors left"):
            await other.reserve(BUCKETLESS)


async def test_without_redis_nothing_is_sent() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, and nobody listens
        redis = Redis.from_url(f"redis://127.0.0.1:{closed.getsockname()[1]}/0")
        budget = RedisBudget(terms(0), redis, "away")
        with pytest.raises(RetryLater, match="Redis"):
            await budget.reserve(KILLMAIL)
        await redis.aclose()
