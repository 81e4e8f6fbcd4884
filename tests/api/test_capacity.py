"""Large operations take turns at a number of places, of which one client has a share."""

import asyncio
from contextlib import AsyncExitStack

from api.budget import Budget
from api.capacity import LARGE, LARGE_AT_ONCE, LARGE_OF_CLIENT, Capacity


async def is_free(capacity: Capacity, client: str, cost: int = LARGE + 1) -> bool:
    try:
        async with asyncio.timeout(0.01), capacity.place(client, cost):
            return True
    except TimeoutError:
        return False


async def test_one_client_has_a_share_of_the_places() -> None:
    capacity = Capacity(Budget(1))
    async with AsyncExitStack() as taken:
        for _ in range(LARGE_OF_CLIENT):
            await taken.enter_async_context(capacity.place("a", LARGE + 1))
        assert not await is_free(capacity, "a")
        assert await is_free(capacity, "a", cost=LARGE), "it isn't large"
        assert await is_free(capacity, "b")
        for number in range(LARGE_AT_ONCE - LARGE_OF_CLIENT):
            await taken.enter_async_context(capacity.place(str(number), LARGE + 1))
        assert not await is_free(capacity, "b")
    assert await is_free(capacity, "a")
