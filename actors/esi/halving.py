"""Requests for many ids that ESI refuses as a whole when one id in them is unknown."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import TypeVar

from actors.esi.errors import Refused

T = TypeVar("T")


async def ask_in_halves(
    ids: Sequence[int], ask: Callable[[Sequence[int]], Awaitable[T]]
) -> AsyncIterator[tuple[Sequence[int], T | None]]:
    """Ask for all ids; halve each refused request until the unknown ids are alone.

    Each refusal counts against ESI's error limit; when few errors remain, `ask` raises a pause.

    Yields:
        The ids of each request with its response, or None for a refusal. One id with None is
        unknown to ESI, or ESI refuses valid requests at the moment.

    Raises:
        Whatever `ask` raises but `Refused`; what was yielded before holds.
    """
    left = [ids]
    while left:
        some = left.pop()
        answer = await _ask(some, ask)
        yield some, answer
        half = len(some) // 2
        if answer is None and half:
            left += [some[half:], some[:half]]


async def _ask(ids: Sequence[int], ask: Callable[[Sequence[int]], Awaitable[T]]) -> T | None:
    try:
        return await ask(ids)
    except Refused:
        return None
