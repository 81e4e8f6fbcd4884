"""Names of ids: known to the process, stored in the table, or asked of ESI, in this order."""

import asyncio
import random
import time
from collections.abc import Collection, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import bindparam, func, select, update

from actors.broker import ESI_QUEUE, actor, enqueue
from actors.esi.client import EsiName, Refused, Unavailable, UnexpectedStatus
from actors.resources import Resources, resources
from actors.shared.database import reading
from actors.shared.errors import RetryLater
from actors.shared.rows import Columns, among, insert_missing
from actors.shared.tables import NAMES

log: Final = structlog.get_logger()

MAX_IDS: Final = 1000
"""Ids in one request, by ESI's rule; in one query as well."""
UNKNOWN_FOR: Final = timedelta(days=1)
"""After this, an id that ESI didn't know is asked for again."""
LATER_MS: Final = 30_000
LONGEST_DELAY_MS: Final = 300_000
"""Longest delay of a message: RabbitMQ takes back what a consumer holds for 30 minutes."""

RANGES: Final = (
    range(1, 500_000),  # types
    range(500_000, 600_000),  # factions
    range(1_000_000, 2_000_000),  # NPC corporations
    range(3_000_000, 4_000_000),  # NPC characters
    range(10_000_000, 40_000_000),  # regions, constellations, solar systems
    range(60_000_000, 70_000_000),  # stations
    range(90_000_000, 10_000_000_000),  # characters, corporations, alliances
)
"""What ESI can name: one id outside would have a whole request refused.

Source: ESI's documentation of id ranges (read 2026-11-21).
"""


async def known_names(ids: Collection[int], deadline_ms: int) -> dict[int, str]:
    """Give the names of these ids, as far as they are known when the deadline is over.

    An id without a name is missing. What isn't known in time will be in the table later, whatever
    happens to this process: a message sees to it. An id that the process has met costs a look-up.
    """
    cache = resources().names
    known = cache.known
    unmet = [id_ for id_ in ids if id_ not in known]
    if unmet:
        asking = _ask_for(resources(), unmet)
        if asking:
            await asyncio.wait(asking, timeout=deadline_ms / 1000)
        late = cache.defer(id_ for id_ in unmet if id_ not in known)
        if late:
            await enqueue(resolve_names, late, delay_ms=LATER_MS)
    return {id_: name for id_ in ids if (name := known.get(id_)) is not None}


@actor(queue_name=ESI_QUEUE, priority=9)
async def resolve_names(ids: list[int]) -> None:
    """Learn names that couldn't be had when they were wanted. Idempotent."""
    try:
        await _resolve(resources(), ids)
    except (Unavailable, UnexpectedStatus, RetryLater) as error:
        delay_ms = max(LATER_MS, getattr(error, "delay_ms", 0)) * random.uniform(1, 2)
        raise RetryLater(str(error), delay_ms=int(min(delay_ms, LONGEST_DELAY_MS))) from error


def _ask_for(opened: Resources, ids: Collection[int]) -> set[asyncio.Task[None]]:
    """Start to resolve what nobody is resolving yet; give all tasks that these ids wait for."""
    cache, now_s = opened.names, time.monotonic()
    new = [
        id_ for id_ in ids if id_ not in cache.in_flight and cache.deferred.get(id_, now_s) <= now_s
    ]
    for chunk in _chunks(new):
        task = asyncio.create_task(_resolve_or_leave(opened, chunk))
        cache.in_flight.update(dict.fromkeys(chunk, task))
    return {cache.in_flight[id_] for id_ in ids if id_ in cache.in_flight}


async def _resolve_or_leave(opened: Resources, ids: Sequence[int]) -> None:
    try:
        await _resolve(opened, ids)
    except (Unavailable, UnexpectedStatus, RetryLater) as error:
        log.debug("names come later", ids=len(ids), why=str(error))
    except Exception:  # a task that nobody awaits; the message that follows will tell
        log.exception("names come later", ids=len(ids))
    finally:
        for id_ in ids:
            del opened.names.in_flight[id_]


async def _resolve(opened: Resources, ids: Sequence[int]) -> None:
    """Learn names from the table, the others from ESI.

    Raises:
        Unavailable, RetryLater: not all could be had; what could is learnt and stored.
    """
    for chunk in _chunks(ids):
        unsure = [id_ for id_ in chunk if any(id_ in some for some in RANGES)]
        opened.names.learn(dict.fromkeys(set(chunk).difference(unsure)))
        missing = await _read_table(opened, unsure)
        if missing:
            await _ask_esi(opened, missing)


async def _read_table(opened: Resources, ids: Sequence[int]) -> list[int]:
    """Learn what is stored; give the rest, in order."""
    async with reading(opened.database) as connection:
        rows = (
            await connection.execute(select(NAMES).where(among(connection, NAMES.c.id, ids)))
        ).all()
    believed = datetime.now(UTC) - UNKNOWN_FOR
    stored = {row.id: row.name for row in rows if row.name or row.checked_at > believed}
    opened.names.learn(stored)
    return sorted(set(ids).difference(stored))


async def _ask_esi(opened: Resources, ids: Sequence[int]) -> None:
    """Ask for all at once; as ESI doesn't say which id it refuses, halve until it is alone.

    Each refusal is one of the few errors that ESI grants an address. When they run short, the
    client pauses us: that ends the search, and a later one begins with what is left.
    """
    left = [ids]
    while left:
        some = left.pop()
        try:
            found = await opened.esi.names(some)
        except Refused:
            if len(some) > 1:
                half = len(some) // 2
                left += [some[half:], some[:half]]
                continue
            found = []
        await _store(opened, some, found)


async def _store(opened: Resources, ids: Sequence[int], found: Sequence[EsiName]) -> None:
    """Write names, and for ids without one that there is none; a name once known stays."""
    named = {entity.id: entity for entity in found}
    ids = sorted(ids)  # concurrent writers lock in one order
    columns: Columns = {
        "id": ids,
        "name": [named[id_].name if id_ in named else None for id_ in ids],
        "category": [named[id_].category if id_ in named else None for id_ in ids],
        "checked_at": [datetime.now(UTC)] * len(ids),
    }
    async with opened.database.begin() as connection:
        new = set(await insert_missing(connection, NAMES, columns))
        rows = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        if known := [row for row in rows if row["id"] not in new]:
            await connection.execute(_CHECKED_AGAIN, [_as_parameters(row) for row in known])
    opened.names.learn(dict(zip(ids, columns["name"], strict=True)))


_CHECKED_AGAIN: Final = (
    update(NAMES)
    .where(NAMES.c.id == bindparam("id_"))
    .values(
        name=func.coalesce(bindparam("name_"), NAMES.c.name),
        category=func.coalesce(bindparam("category_"), NAMES.c.category),
        checked_at=bindparam("checked_at_"),
    )
)
"""For ids that were asked for before; a name once known stays."""


def _as_parameters(row: dict[str, Any]) -> dict[str, Any]:
    return {f"{column}_": value for column, value in row.items()}


def _chunks(ids: Sequence[int]) -> Iterator[Sequence[int]]:
    for start in range(0, len(ids), MAX_IDS):
        yield ids[start : start + MAX_IDS]
