"""Each promise of the budget holds twice: in this process, and for all that share a Redis."""

from collections.abc import AsyncIterator

import pytest

from actors.esi.local_budget import LocalBudget
from tests.support.budgets import MakeBudget, redis_budgets


@pytest.fixture(params=["local", pytest.param("redis", marks=pytest.mark.service)])
async def make_budget(request: pytest.FixtureRequest) -> AsyncIterator[MakeBudget]:
    if request.param == "local":
        yield LocalBudget
    else:
        async with redis_budgets() as make:
            yield make
