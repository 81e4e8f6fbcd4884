"""Find rows of postings that no killmail should have: no body leads to them."""

from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.killmails.check.findings import Findings
from actors.killmails.check.inspect import inspect_block
from actors.killmails.postings import blocks_of, places_of
from actors.shared.among import among
from actors.shared.database import reading_one_state
from actors.shared.finding.kinds import WINDOW_BITS, base_of
from actors.shared.tables import POSTINGS

KEYS: Final = 100_000
"""Keys that are read at once."""
SUSPECTS: Final = 50
"""Blocks that are looked into at once: their keys take some 100 MB."""


async def find_surplus(database: AsyncEngine, expected: Mapping[int, int]) -> Findings:
    """Look into the blocks that have more rows than expected, given by block.

    A block may have more rows than when it was checked as killmails were stored since. Reads the
    keys of all postings, about a million a second.
    """
    found = Findings()
    counts = await _count_rows(database)
    suspects = sorted(block for block, count in counts.items() if count > expected.get(block, 0))
    for start in range(0, len(suspects), SUSPECTS):
        keys = await _keys_of(database, suspects[start : start + SUSPECTS])
        for block in suspects[start : start + SUSPECTS]:
            _, wanted = await inspect_block(database, block)
            surplus = [key for key in keys[blocks_of(keys) == block].tolist() if key not in wanted]
            for key, places in (await _places(database, surplus)).items():
                for place in places or [0]:
                    found.postings[base_of(key) + place].add(key >> WINDOW_BITS)
    return found


async def _count_rows(database: AsyncEngine) -> Counter[int]:
    counts: Counter[int] = Counter()
    async with reading_one_state(database) as connection:
        async for keys in _all_keys(connection):
            blocks, of_block = np.unique(blocks_of(keys), return_counts=True)
            counts.update(dict(zip(blocks.tolist(), of_block.tolist(), strict=True)))
    return counts


async def _keys_of(database: AsyncEngine, blocks: Sequence[int]) -> NDArray[np.int64]:
    found = []
    async with reading_one_state(database) as connection:
        async for keys in _all_keys(connection):
            found.append(keys[np.isin(blocks_of(keys), blocks)])
    return np.concatenate(found)


async def _all_keys(connection: AsyncConnection) -> AsyncIterator[NDArray[np.int64]]:
    column = POSTINGS.c.key
    query = select(column).order_by(column).limit(KEYS)
    after = -1
    while True:
        rows = await connection.execute(query.where(column > after))
        keys = np.array(rows.scalars().all(), np.int64)
        if not len(keys):
            return
        yield keys
        after = int(keys[-1])


async def _places(database: AsyncEngine, keys: Collection[int]) -> dict[int, list[int]]:
    query = select(POSTINGS.c.key, POSTINGS.c.places)
    async with reading_one_state(database) as connection:
        rows = await connection.execute(query.where(among(POSTINGS.c.key, keys)))
        return {row.key: places_of(row.places) for row in rows}
