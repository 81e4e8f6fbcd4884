"""Find rows of postings that no killmail should have: no body leads to them."""

from collections import Counter, defaultdict
from collections.abc import Collection, Mapping

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.check.findings import Findings
from actors.killmails.check.inspect import inspect_block
from actors.killmails.check.stored import snapshot
from actors.killmails.postings import places_of
from actors.shared.finding.kinds import BLOCK_BITS, ID_BITS, WIDTHS, WINDOW_BITS, base_of

_OF_KIND = "FROM postings WHERE key BETWEEN :first AND :last"


async def find_surplus(database: AsyncEngine, expected: Mapping[int, int]) -> Findings:
    """Look into the blocks that have more rows than expected, given by block.

    A block may have more rows than when it was checked as killmails were stored since. Reads the
    keys of all postings, which takes about a second for a million killmails.
    """
    found = Findings()
    counts = await _count_rows(database)
    suspects = {block for block, count in counts.items() if count > expected.get(block, 0)}
    for block, keys in (await _keys_of(database, suspects)).items():
        _, wanted = await inspect_block(database, block)
        surplus = [key for key in keys if key not in wanted]
        for key, places in (await _places(database, surplus)).items():
            for place in places or [0]:
                found.postings[base_of(key) + place].add(key >> WINDOW_BITS)
    return found


async def _count_rows(database: AsyncEngine) -> Counter[int]:
    counts: Counter[int] = Counter()
    async with snapshot(database) as connection:
        for kind in WIDTHS:
            query = text(f"SELECT {_block(kind)} AS block, count(*) {_OF_KIND} GROUP BY 1")
            for block, count in await connection.execute(query, _bounds(kind)):
                counts[block] += count
    return counts


async def _keys_of(database: AsyncEngine, blocks: Collection[int]) -> dict[int, list[int]]:
    keys: dict[int, list[int]] = defaultdict(list)
    if not blocks:
        return keys
    among = ", ".join(map(str, sorted(blocks)))
    async with snapshot(database) as connection:
        for kind in WIDTHS:
            query = text(f"SELECT key {_OF_KIND} AND {_block(kind)} IN ({among})")
            for (key,) in await connection.execute(query, _bounds(kind)):
                keys[base_of(key) >> BLOCK_BITS].append(key)
    return keys


async def _places(database: AsyncEngine, keys: Collection[int]) -> dict[int, list[int]]:
    query = text("SELECT places FROM postings WHERE key = :key")
    async with snapshot(database) as connection:
        rows = {key: (await connection.execute(query, {"key": key})).first() for key in keys}
    return {key: places_of(row.places) for key, row in rows.items() if row}


def _block(kind: int) -> str:
    """Build the SQL of a row's block."""
    return f"(key & {(1 << WINDOW_BITS) - 1}) >> {BLOCK_BITS - WIDTHS[kind]}"


def _bounds(kind: int) -> dict[str, int]:
    first = kind << ID_BITS + WINDOW_BITS
    return {"first": first, "last": first + (1 << ID_BITS + WINDOW_BITS) - 1}
