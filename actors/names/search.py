"""Request names from ESI; halve a refused request until the unknown ids are alone.

ESI refuses a whole request when one id in it is unknown, and doesn't say which. At times it refuses
every request, or all characters. So an id that is refused alone is stored as nameless only when
ESI resolves a known id of its kind right after.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.esi.answer import EsiName
from actors.esi.budget import BUCKETLESS
from actors.esi.client import Esi
from actors.esi.errors import Refused, Unavailable
from actors.esi.halving import ask_in_halves
from actors.names.ids import NEIGHBOURS, Kind, kind_of
from actors.names.table import one_known

REFUSED_PAUSE_MS: Final = 20_000
"""Pause of all routes without a token bucket when ESI refuses known ids."""

Store = Callable[[Sequence[EsiName], Collection[int]], Awaitable[None]]


async def search(
    esi: Esi,
    database: AsyncEngine,
    ids: Sequence[int],
    store: Store,
    *,
    max_refusals: int | None = None,
) -> None:
    """Request names and store them; store ids as nameless once that is confirmed.

    Each refusal counts against ESI's error limit. When few errors remain, the client raises a
    pause, which ends the search; a later one continues with the remaining ids.

    Args:
        esi: the client.
        database: has the known names.
        ids: at most as many as one request takes, all within `RANGES`.
        store: stores names, and ids that have none.
        max_refusals: the number of refusals after which the search gives up.

    Raises:
        Unavailable, UnexpectedStatus, RetryLater: some ids are unresolved; the others are stored.
    """
    alone, answered = await _narrow_down(esi, database, ids, store, max_refusals)
    if not alone:
        return
    unconfirmed = await _unconfirmed(esi, database, alone, answered)
    await store((), set(alone) - unconfirmed)
    if unconfirmed:
        raise Unavailable(
            f"{len(unconfirmed)} ids are refused, and no known id of their kind confirms it"
        )


async def _narrow_down(
    esi: Esi, database: AsyncEngine, ids: Sequence[int], store: Store, max_refusals: int | None
) -> tuple[list[int], list[int]]:
    """Return the ids that are refused alone, and those that were resolved and stored."""
    alone, answered = list[int](), list[int]()
    refusals = 0
    async for some, found in ask_in_halves(ids, esi.names):
        if found is not None:
            answered += some
            await store(found, ())
            continue
        refusals += 1
        if refusals == 1:
            await _unconfirmed(esi, database, some, answered)
        elif max_refusals is not None and refusals > max_refusals:
            raise Unavailable(f"over {max_refusals} refusals in one search for names")
        if len(some) == 1:
            alone += some
    return alone, answered


async def _unconfirmed(
    esi: Esi, database: AsyncEngine, refused: Collection[int], answered: Sequence[int]
) -> set[int]:
    """Request known ids of the same kinds as the refused ones.

    Returns:
        Refused ids without a known id of their kind, whose refusal can't be confirmed.

    Raises:
        RetryLater: ESI refuses the known ids, too; all processes pause.
    """
    wanted = {
        neighbour for id_ in refused if (kind := kind_of(id_)) for neighbour in NEIGHBOURS[kind]
    }
    known: dict[Kind, int] = {}
    for kind in sorted(wanted):
        resolved = [id_ for id_ in answered if kind_of(id_) == kind]
        found = resolved[-1] if resolved else await one_known(database, kind, refused)
        if found is not None:
            known[kind] = found
    if known:
        try:
            await esi.names(list(known.values()))
        except Refused:
            await esi.pause(BUCKETLESS, REFUSED_PAUSE_MS, "ESI refuses known ids")
    return {
        id_
        for id_ in refused
        if (kind_ := kind_of(id_)) and not known.keys() >= {*NEIGHBOURS[kind_]}
    }
