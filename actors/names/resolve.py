"""Names of ids: known to the process, stored in the table, or asked of ESI, in this order.

Names grow old, as players rename themselves: an old one is used, and asked for again at low
priority when a killmail mentions it.
"""

import asyncio
import random
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import structlog

from actors.broker import ESI_QUEUE, actor, enqueue
from actors.esi.answer import EsiName
from actors.esi.client import Unavailable, UnexpectedStatus
from actors.names.cache import Known
from actors.names.ids import kind_of
from actors.names.search import search
from actors.names.table import read_names, write_names
from actors.resources import Resources, resources
from actors.shared.errors import RetryLater

log: Final = structlog.get_logger()

MAX_IDS: Final = 1000
"""Ids in one request, by ESI's rule; in one query as well."""
LATER_MS: Final = 30_000
MAX_DELAY_MS: Final = 120_000
"""Longest delay of a message: names are there within minutes after ESI is well again."""
REFRESH_LATER_S: Final = 600.0
"""When an old name is asked for again after that failed."""
REFRESH_ERRORS_LEFT: Final = 75
"""Old names are asked for only while ESI grants so many errors more."""
REFRESH_MAX_REFUSALS: Final = 12
"""Enough to find one id of a thousand that ESI doesn't name any more."""
NEVER_S: Final = 2.0**35

_LATER: Final = (Unavailable, UnexpectedStatus, RetryLater)


async def known_names(ids: Collection[int], deadline_ms: int) -> dict[int, str]:
    """Give the names of these ids, as far as they are known when the deadline is over.

    An id without a name is missing. What isn't known in time will be in the table later, whatever
    happens to this process: a message sees to it. An id that the process has met costs a look-up.
    """
    cache = resources().names
    due = cache.due(ids)
    if due:
        asking = _ask_for(resources(), due)
        if asking:
            await asyncio.wait(asking, timeout=deadline_ms / 1000)
        late = cache.defer(cache.unknown(due))
        if late:
            await enqueue(resolve_names, late, delay_ms=LATER_MS)
    return cache.names(ids)


@actor(queue_name=ESI_QUEUE, priority=9)
async def resolve_names(ids: list[int]) -> None:
    """Learn names that couldn't be had when they were wanted. Idempotent."""
    try:
        await _resolve(resources(), ids)
    except _LATER as error:
        delay_ms = max(LATER_MS, getattr(error, "delay_ms", 0)) * random.uniform(1, 2)
        delay_ms = int(min(delay_ms, MAX_DELAY_MS))
        cache = resources().names
        cache.defer(cache.unknown(ids), for_s=2 * delay_ms / 1000)  # no second message
        raise RetryLater(str(error), delay_ms=delay_ms) from error


def _ask_for(opened: Resources, ids: Collection[int]) -> set[asyncio.Task[None]]:
    """Start to resolve what nobody is resolving yet; give all tasks that these ids wait for."""
    cache = opened.names
    for chunk in _chunks(cache.askable(ids)):
        task = asyncio.create_task(_resolve_or_leave(opened, chunk))
        cache.in_flight.update(dict.fromkeys(chunk, task))
    return {cache.in_flight[id_] for id_ in ids if id_ in cache.in_flight}


async def _resolve_or_leave(opened: Resources, ids: Sequence[int]) -> None:
    try:
        await _resolve(opened, ids)
    except _LATER as error:
        log.debug("names.later", ids=len(ids), reason=str(error))
    except Exception:  # a task that nobody awaits; the message that follows will tell
        log.exception("names.later", ids=len(ids))
    finally:
        for id_ in ids:
            del opened.names.in_flight[id_]


async def _resolve(opened: Resources, ids: Sequence[int]) -> None:
    """Learn names from the table, the others and the old ones from ESI.

    Raises:
        Unavailable, UnexpectedStatus, RetryLater: not all could be had; what could is learnt and
            stored. Old names never raise.
    """
    cache = opened.names
    for chunk in _chunks(ids):
        nameable = [id_ for id_ in chunk if kind_of(id_)]
        cache.learn(dict.fromkeys(set(chunk).difference(nameable), Known(None, NEVER_S)))
        cache.learn(await read_names(opened.database, nameable))
        due = sorted(cache.due(nameable))
        unknown = cache.unknown(due)
        old = sorted(set(due).difference(unknown))
        asked = await asyncio.gather(
            _ask_esi(opened, unknown), _refresh(opened, old), return_exceptions=True
        )
        for error in filter(None, asked):
            raise error


async def _ask_esi(opened: Resources, ids: Sequence[int], max_refusals: int | None = None) -> None:
    async def store(found: Sequence[EsiName], nameless: Collection[int]) -> None:
        opened.names.learn(await write_names(opened.database, found, nameless))

    if ids:
        await search(opened.esi, opened.database, ids, store, max_refusals=max_refusals)


async def _refresh(opened: Resources, ids: Sequence[int]) -> None:
    """Ask for old names again, as long as that costs nobody else anything."""
    try:
        if opened.esi.errors_left() >= REFRESH_ERRORS_LEFT:
            await _ask_esi(opened, ids, REFRESH_MAX_REFUSALS)
    except _LATER as error:
        log.debug("names.stay_old", ids=len(ids), reason=str(error))
    finally:
        opened.names.postpone(opened.names.due(ids), REFRESH_LATER_S)


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]
