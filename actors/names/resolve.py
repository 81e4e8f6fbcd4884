"""Resolve names of ids: from the cache, the table `names` or ESI, in this order.

Names expire, as players rename themselves: an expired name is used, and requested again at low
priority when a killmail mentions it.
"""

import asyncio
import random
from collections.abc import Collection, Iterator, Sequence
from typing import Final

import structlog

from actors.broker import ESI_QUEUE, actor, enqueue
from actors.esi.answer import EsiName
from actors.esi.errors import Unavailable, UnexpectedStatus
from actors.names.cache import Known
from actors.names.ids import kind_of
from actors.names.search import search
from actors.names.table import read_names, write_names
from actors.resources import Resources, resources
from actors.shared.errors import RetryLater

log: Final = structlog.get_logger()

MAX_IDS: Final = 1000
"""Ids in one request, by ESI's limit, and in one query."""
LATER_MS: Final = 30_000
MAX_DELAY_MS: Final = 120_000
"""Longest delay of a message: names are resolved within minutes after an outage of ESI."""
REFRESH_LATER_S: Final = 600.0
"""Wait after a failed refresh of an expired name."""
REFRESH_ERRORS_LEFT: Final = 75
"""Expired names are refreshed only while this many errors remain of ESI's limit."""
REFRESH_MAX_REFUSALS: Final = 12
"""Enough to find one id in a thousand that ESI no longer resolves."""
NEVER_S: Final = 2.0**35

_LATER: Final = (Unavailable, UnexpectedStatus, RetryLater)


async def known_names(ids: Collection[int], deadline_ms: int) -> dict[int, str]:
    """Return the names of these ids that are known by the deadline.

    Ids without a name are left out. Ids that aren't resolved in time are sent to `resolve_names`,
    which survives a crash of this process. A cached id costs one dict lookup.
    """
    cache = resources().names
    due = cache.due(ids)
    if due:
        asking = _start_resolving(resources(), due)
        if asking:
            await asyncio.wait(asking, timeout=deadline_ms / 1000)
        late = cache.defer(cache.unknown(due))
        if late:
            await enqueue(resolve_names, late, delay_ms=LATER_MS)
    return cache.names(ids)


@actor(queue_name=ESI_QUEUE, priority=9)
async def resolve_names(ids: list[int]) -> None:
    """Resolve names that weren't known in time. Idempotent."""
    try:
        await _resolve(resources(), ids)
    except _LATER as error:
        delay_ms = max(LATER_MS, getattr(error, "delay_ms", 0)) * random.uniform(1, 2)
        delay_ms = int(min(delay_ms, MAX_DELAY_MS))
        cache = resources().names
        cache.defer(cache.unknown(ids), for_s=2 * delay_ms / 1000)  # no second message
        raise RetryLater(str(error), delay_ms=delay_ms) from error


def _start_resolving(opened: Resources, ids: Collection[int]) -> set[asyncio.Task[None]]:
    """Start to resolve ids that aren't being resolved; return the tasks of all these ids."""
    cache = opened.names
    for chunk in _chunks(cache.askable(ids)):
        task = asyncio.create_task(_resolve_or_log(opened, chunk))
        cache.in_flight.update(dict.fromkeys(chunk, task))
    return {cache.in_flight[id_] for id_ in ids if id_ in cache.in_flight}


async def _resolve_or_log(opened: Resources, ids: Sequence[int]) -> None:
    try:
        await _resolve(opened, ids)
    except _LATER as error:
        log.debug("names.deferred", ids=len(ids), reason=str(error))
    except Exception:  # nothing awaits this task; the deferred message retries
        log.exception("names.deferred", ids=len(ids))
    finally:
        for id_ in ids:
            del opened.names.in_flight[id_]


async def _resolve(opened: Resources, ids: Sequence[int]) -> None:
    """Load names from the table; request missing and expired ones from ESI.

    Raises:
        Unavailable, UnexpectedStatus, RetryLater: some names are missing; the others are stored.
            Expired names never raise.
    """
    cache = opened.names
    for chunk in _chunks(ids):
        nameable = [id_ for id_ in chunk if kind_of(id_)]
        cache.learn(dict.fromkeys(set(chunk).difference(nameable), Known(None, NEVER_S)))
        cache.learn(await read_names(opened.database, nameable))
        due = sorted(cache.due(nameable))
        unknown = cache.unknown(due)
        expired = sorted(set(due).difference(unknown))
        results = await asyncio.gather(
            _ask_esi(opened, unknown), _refresh(opened, expired), return_exceptions=True
        )
        for error in filter(None, results):
            raise error


async def _ask_esi(opened: Resources, ids: Sequence[int], max_refusals: int | None = None) -> None:
    async def store(found: Sequence[EsiName], nameless: Collection[int]) -> None:
        opened.names.learn(await write_names(opened.database, found, nameless))

    if ids:
        await search(opened.esi, opened.database, ids, store, max_refusals=max_refusals)


async def _refresh(opened: Resources, ids: Sequence[int]) -> None:
    """Request expired names, while ESI's error limit allows it."""
    try:
        if opened.esi.errors_left() >= REFRESH_ERRORS_LEFT:
            await _ask_esi(opened, ids, REFRESH_MAX_REFUSALS)
    except _LATER as error:
        log.debug("names.refresh_failed", ids=len(ids), reason=str(error))
    finally:
        opened.names.postpone(opened.names.due(ids), REFRESH_LATER_S)


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]
