"""Make refreshes due of the entities of a kind: all known ones, and those of all killmails."""

from collections.abc import AsyncIterator, Collection
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from rich.progress import Progress
from sqlalchemy import func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.entities.alliances import LIST
from actors.entities.follow import ids_of
from actors.entities.kinds import ALLIANCE, KINDS, Kind
from actors.entities.want import want
from actors.shared.database import reading
from actors.shared.tables import ESI_LISTS, KILLMAILS
from deploy.cli.process import console

IDS_PER_TRANSACTION: Final = 1_000
"""Entities in one transaction."""
KILLMAILS_PER_QUERY: Final = 2_000


class Counts(NamedTuple):
    """How many entities there are, and how many became due."""

    found: int
    due: int


async def queue_entities(database: AsyncEngine, name: str, *, dry_run: bool) -> Counts:
    """Make refreshes due, and show progress."""
    kind = next(kind for kind in KINDS.values() if kind.name == name)
    found_ids: set[int] = set()
    due = 0
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task(name, total=await _total(database, kind))
        async for ids, steps in _all_ids(database, kind):
            new = sorted(set(ids) - found_ids)
            found_ids.update(new)
            for start in range(0, len(new), IDS_PER_TRANSACTION):
                due += await _want(
                    database, kind, new[start : start + IDS_PER_TRANSACTION], dry_run=dry_run
                )
            progress.update(task, advance=steps, description=f"{name}: {due:,}")
    if kind is ALLIANCE and not dry_run:
        async with database.begin() as connection:
            await _make_list_due(connection)
    return Counts(len(found_ids), due)


async def _want(database: AsyncEngine, kind: Kind, ids: Collection[int], *, dry_run: bool) -> int:
    async with database.connect() as connection, connection.begin() as transaction:
        due = await want(connection, kind, ids)
        if dry_run:
            await transaction.rollback()
    return due


async def _make_list_due(connection: AsyncConnection) -> None:
    """Have the list of all alliances asked for; not before ESI may be."""
    await connection.execute(
        update(ESI_LISTS)
        .where(ESI_LISTS.c.name == LIST, ESI_LISTS.c.expires_at <= datetime.now(UTC))
        .values(updated_at=None)
    )


async def _total(database: AsyncEngine, kind: Kind) -> int:
    async with reading(database) as connection:
        counts = [
            await connection.scalar(select(func.count()).select_from(table))
            for table in (kind.table, KILLMAILS)
        ]
    return sum(count or 0 for count in counts)


async def _all_ids(database: AsyncEngine, kind: Kind) -> AsyncIterator[tuple[Collection[int], int]]:
    """Yield ids, some more than once, with the number of rows that were read for them."""
    async for ids in _pages(database, kind.key, IDS_PER_TRANSACTION):
        yield ids, len(ids)
    async for killmail_ids in _pages(database, KILLMAILS.c.killmail_id, KILLMAILS_PER_QUERY):
        async with reading(database) as connection:
            yield (await ids_of(connection, killmail_ids))[kind], len(killmail_ids)


async def _pages(database: AsyncEngine, key: Any, limit: int) -> AsyncIterator[list[int]]:
    after = -1
    while True:
        query = select(key).where(key > after).order_by(key).limit(limit)
        async with reading(database) as connection:
            ids = list((await connection.scalars(query)).all())
        if not ids:
            return
        yield ids
        after = ids[-1]
