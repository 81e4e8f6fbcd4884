"""A lower class of requests leaves a share of the tokens to those above, in any order of events."""

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass, field

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from actors.esi.budget import (
    KILLMAIL,
    MAX_TOKENS,
    Budget,
    BudgetClass,
    Reservation,
    Spent,
    Terms,
)
from actors.esi.local_budget import LocalBudget
from tests.support.budgets import MakeBudget, redis_budgets

WINDOW_MS = 900_000


def terms(tokens: int) -> Terms:
    return Terms({KILLMAIL: tokens}, WINDOW_MS)


async def spend_all(budget: Budget, class_: BudgetClass) -> int:
    """Send successful requests of one class while its share lasts; return what they cost."""
    spent = 0
    while True:
        try:
            reservation = await budget.reserve(KILLMAIL, class_=class_)
        except Spent:
            return spent
        await budget.charge(reservation, 2)
        spent += 2


async def test_each_class_leaves_a_fifth_to_those_above(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(100))
    await budget.charge(await budget.reserve(KILLMAIL), 0, 100)
    total = 0
    for class_, share in zip(reversed(BudgetClass), (40, 60, 80, 100), strict=True):
        total += await spend_all(budget, class_)
        assert share - MAX_TOKENS < total <= share


async def test_a_class_whose_share_is_spent_waits_for_tokens_and_not_for_answers(
    make_budget: MakeBudget,
) -> None:
    budget = make_budget(terms(100))
    await budget.charge(await budget.reserve(KILLMAIL), 0, 100)
    await spend_all(budget, BudgetClass.SYNC)
    await budget.reserve(KILLMAIL)  # and is in flight
    with pytest.raises(Spent) as spent:
        await budget.reserve(KILLMAIL, class_=BudgetClass.SYNC)
    assert spent.value.delay_ms > WINDOW_MS / 2
    await budget.reserve(KILLMAIL, class_=BudgetClass.FIRST_SYNC)


async def test_a_small_budget_serves_each_class(make_budget: MakeBudget) -> None:
    budget = make_budget(terms(5))
    await budget.charge(await budget.reserve(KILLMAIL), 0, 5)
    await budget.charge(await budget.reserve(KILLMAIL, class_=BudgetClass.IMPORT), 2)
    with pytest.raises(Spent):
        await budget.reserve(KILLMAIL)


@dataclass
class Model:
    """What is in flight and spent, by the rules."""

    limit: int
    in_flight: list[Reservation] = field(default_factory=list)
    spent: int = 0

    @property
    def total(self) -> int:
        return self.spent + MAX_TOKENS * len(self.in_flight)

    def allows(self, class_: BudgetClass) -> bool:
        share = self.limit * (5 - class_) / 5
        return self.total + MAX_TOKENS <= share


Charge = tuple[int, int | None]
"""Which of the requests in flight ends, and its cost, None for a request without a response."""
CHARGES = st.tuples(st.integers(0, 20), st.sampled_from([0, 1, 2, 5, None]))
EVENTS = st.lists(st.sampled_from(BudgetClass) | CHARGES, max_size=60)


async def follow(budget: Budget, limit: int, events: list[BudgetClass | Charge]) -> None:
    model = Model(limit)
    await budget.charge(await budget.reserve(KILLMAIL), 0, limit)
    for event in events:
        if isinstance(event, BudgetClass):
            await reserve(budget, model, event)
        elif model.in_flight:
            which, cost = event
            ended = model.in_flight.pop(which % len(model.in_flight))
            await budget.charge(ended, cost)
            model.spent += MAX_TOKENS if cost is None else cost


async def reserve(budget: Budget, model: Model, class_: BudgetClass) -> None:
    try:
        reservation = await budget.reserve(KILLMAIL, class_=class_)
    except Spent:
        assert not model.allows(class_)
    else:
        assert model.allows(class_)
        model.in_flight.append(reservation)
    assert model.total <= model.limit


@given(limit=st.integers(13, 90), events=EVENTS)
def test_whatever_the_order_in_this_process(limit: int, events: list[BudgetClass | Charge]) -> None:
    asyncio.run(follow(LocalBudget(terms(limit)), limit, events))


@pytest.mark.service
@settings(max_examples=40, deadline=None)
@given(limit=st.integers(13, 90), events=EVENTS)
def test_whatever_the_order_in_redis(limit: int, events: list[BudgetClass | Charge]) -> None:
    async def run() -> None:
        async with AsyncExitStack() as stack:
            make = await stack.enter_async_context(redis_budgets())
            await follow(make(terms(limit)), limit, events)

    asyncio.run(run())
