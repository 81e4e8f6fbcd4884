"""What a gateway process computes for its clients, and shares out between them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from api.budget import Budget
from api.turns import Turns

LARGE: Final = 20_000
"""An operation of a higher cost waits until one of `LARGE_AT_ONCE` places is free."""
LARGE_AT_ONCE: Final = 4
"""Bounds the memory of answers in the making: some 100 bytes for each value."""


@dataclass(frozen=True)
class Capacity:
    """Shared by all operations of the process."""

    budget: Budget
    turns: Turns = field(default_factory=Turns)
    _places: asyncio.Semaphore = field(default_factory=lambda: asyncio.Semaphore(LARGE_AT_ONCE))

    @asynccontextmanager
    async def place(self, cost: int) -> AsyncIterator[None]:
        """Wait for a place if the operation is large, and give it back."""
        if cost <= LARGE:
            yield
            return
        async with self._places:
            yield
