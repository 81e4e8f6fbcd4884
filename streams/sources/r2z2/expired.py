"""After a long downtime: where the files begin that are still there."""

from typing import Final

from streams.sources.r2z2.files import Files

PROBES: Final = 5
"""Numbers tried from one on before it counts as expired."""
EDGE: Final = 200
"""So many numbers in a row without a file are the edge, and no holes."""


async def oldest_number(files: Files, low: int, high: int) -> int:
    """Find the lowest number that has a file; `high` when none is below.

    Bisects, which a run of holes may mislead; so whenever a file is found within EDGE numbers
    below, it bisects again below that.
    """
    while True:
        number = await _bisected(files, low, high)
        below = await _file_below(files, number, low)
        if below is None:
            return number
        high = below


async def _bisected(files: Files, low: int, high: int) -> int:
    end = high
    while low < high:
        middle = (low + high) // 2
        if await _any_file(files, middle):
            high = middle
        else:
            low = middle + 1
    while low < end and not (await files.probe(low)).readable:
        low += 1
    return low


async def _any_file(files: Files, number: int) -> bool:
    for offset in range(PROBES):
        if (await files.probe(number + offset)).readable:
            return True
    return False


async def _file_below(files: Files, number: int, low: int) -> int | None:
    for below in range(number - 1, max(low, number - EDGE) - 1, -1):
        if (await files.probe(below)).readable:
            return below
    return None
