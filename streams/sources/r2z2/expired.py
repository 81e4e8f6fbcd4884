"""Find the oldest file after a long downtime."""

import time
from typing import Final

from streams.sources.r2z2.files import Files

SAMPLES: Final = 64
YOUNG: Final = 0.9
"""Fraction of the minimum lifetime; files younger than this aren't the oldest."""
PROBES: Final = 5
"""Consecutive absent numbers that count as expired, or as not there yet."""
EDGE: Final = 200
"""Consecutive absent numbers that are the edge and not holes."""


async def oldest_number(files: Files, low: int, high: int, live_s: float) -> int:
    """Find the lowest number that has a file; `high` when none is below.

    Bisects, which a run of holes may mislead. So whenever a file is found within EDGE numbers
    below, it bisects again below that; and files that are much younger than `live_s` aren't the
    oldest ones, so then it samples all that lies below.
    """
    while True:
        number = await _bisected(files, low, high)
        below = await _file_below(files, number, low)
        if below is None and await _is_young(files, number, live_s):
            below = await _sampled(files, low, number)
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


async def _is_young(files: Files, number: int, live_s: float) -> bool:
    uploaded_at_s = (await files.probe(number)).uploaded_at_s
    return uploaded_at_s is not None and time.time() - uploaded_at_s < live_s * YOUNG


async def _sampled(files: Files, low: int, number: int) -> int | None:
    for sample in range(number - 1, low - 1, -max(1, (number - low) // SAMPLES)):
        if (await files.probe(sample)).readable:
            return sample
    return None
