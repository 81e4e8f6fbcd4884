"""What a gateway process computes for its clients, and shares out between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final
from weakref import WeakValueDictionary

from api.budget import Budget
from api.turns import Turns

LARGE: Final = 4_000
"""An operation of a higher cost waits for one of `LARGE_AT_ONCE` places."""
LARGE_AT_ONCE: Final = 12
"""Bounds the memory of answers in the making: some 100 bytes for each value."""
LARGE_OF_CLIENT: Final = 3
"""How many of the places one client may have."""


@dataclass(frozen=True)
class Capacity:
    """Shared by all operations of the process."""

    budget: Budget
    turns: Turns = field(default_factory=Turns)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))
    _of_clients: WeakValueDictionary[str, asyncio.Semaphore] = field(
        default_factory=WeakValueDictionary
    )

    @asynccontextmanager
    async def place(self, client: str, cost: int) -> AsyncIterator[None]:
        """Wait for a place if the operation is large, and give it back."""
        if cost <= LARGE:
            yield
            return
        own = self._of_clients.get(client)
        if own is None:
            own = self._of_clients[client] = asyncio.Semaphore(LARGE_OF_CLIENT)
        async with own, self._places:
            yield
