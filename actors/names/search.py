"""Ask ESI for names: all at once, and halve what it refuses until the unknown ids are alone.

ESI refuses a request as a whole when one id in it is unknown, and doesn't say which. Now and then
it refuses everything, or all characters. So an id that is refused alone is believed nameless only
when ESI answers a known id of its kind right after.
"""

from collections.abc import Awaitable, Callable, Collection, Sequence
from typing import Final

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.esi.answer import EsiName
from actors.esi.budget import BUCKETLESS
from actors.esi.client import Esi, Refused, Unavailable
from actors.names.ids import NEIGHBOURS, Kind, kind_of
from actors.names.table import one_known

REFUSED_PAUSE_MS: Final = 20_000
"""Pause of all routes without a bucket when ESI refuses even the names that it knows."""

Store = Callable[[Sequence[EsiName], Collection[int]], Awaitable[None]]


async def search(
    esi: Esi,
    database: AsyncEngine,
    ids: Sequence[int],
    store: Store,
    *,
    max_refusals: int | None = None,
) -> None:
    """Ask for names and store them; store ids as nameless once that is sure.

    Each refusal is one of the few errors that ESI grants an address. When they run short, the
    client pauses us: that ends the search, and a later one begins with what is left.

    Args:
        esi: what to ask.
        database: where known names are found.
        ids: at most as many as one request takes, each in one of ESI's ranges.
        store: takes names, and ids that have none.
        max_refusals: after so many the search gives up.

    Raises:
        Unavailable, UnexpectedStatus, RetryLater: not all is known; what is known is stored.
    """
    alone, answered = await _narrow_down(esi, database, ids, store, max_refusals)
    if not alone:
        return
    doubtful = await _doubtful(esi, database, alone, answered)
    await store((), set(alone) - doubtful)
    if doubtful:
        raise Unavailable(
            f"{len(doubtful)} ids are refused, and no known one of their kind is here"
        )


async def _narrow_down(
    esi: Esi, database: AsyncEngine, ids: Sequence[int], store: Store, max_refusals: int | None
) -> tuple[list[int], list[int]]:
    """Give the ids that are refused alone, and those that were answered and are stored."""
    left, alone, answered = [ids], list[int](), list[int]()
    refusals = 0
    while left:
        some = left.pop()
        if (found := await _ask(esi, some)) is not None:
            answered += some
            await store(found, ())
            continue
        refusals += 1
        if refusals == 1:
            await _doubtful(esi, database, some, answered)
        elif max_refusals is not None and refusals > max_refusals:
            raise Unavailable(f"over {max_refusals} refusals in one search for names")
        half = len(some) // 2
        if half:
            left += [some[half:], some[:half]]
        else:
            alone += some
    return alone, answered


async def _ask(esi: Esi, ids: Sequence[int]) -> list[EsiName] | None:
    """Ask for names; None when they are refused."""
    try:
        return await esi.names(ids)
    except Refused:
        return None


async def _doubtful(
    esi: Esi, database: AsyncEngine, refused: Collection[int], answered: Sequence[int]
) -> set[int]:
    """Ask for known ids of the kinds of those that were refused.

    Returns:
        Refused ids of whose kind no other id is known: of these a refusal proves nothing.

    Raises:
        RetryLater: ESI refuses the known ones, too; everybody pauses.
    """
    wanted = {of for id_ in refused if (kind := kind_of(id_)) for of in NEIGHBOURS[kind]}
    known: dict[Kind, int] = {}
    for kind in sorted(wanted):
        here = [id_ for id_ in answered if kind_of(id_) == kind]
        found = here[-1] if here else await one_known(database, kind, refused)
        if found is not None:
            known[kind] = found
    if known and await _ask(esi, list(known.values())) is None:
        await esi.pause(BUCKETLESS, REFUSED_PAUSE_MS, "names that ESI knows are refused")
    return {
        id_
        for id_ in refused
        if (kind_ := kind_of(id_)) and not known.keys() >= {*NEIGHBOURS[kind_]}
    }
