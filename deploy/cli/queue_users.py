"""Make syncs of users and corporations due."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from rich.progress import Progress
from sqlalchemy import Table, exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.shared.tables import CORPORATION_SYNCS, USERS
from deploy.cli.process import console

RECENT: Final = timedelta(minutes=15)
"""A sync this young isn't repeated without `--force`; one that began within it may still run."""


class DueSyncs(NamedTuple):
    """How many syncs became due, and how many of the active ones were left as they are."""

    users: int
    corporations: int
    others: int


async def queue_users(database: AsyncEngine, force: bool, full: bool, *, dry_run: bool) -> DueSyncs:
    """Make the syncs due of users and corporations, in one transaction."""
    with Progress(console=console, transient=True) as progress:
        task = progress.add_task("queueing", total=2)
        async with database.connect() as connection, connection.begin() as transaction:
            users, all_users = await _make_due(connection, USERS, force, full)
            progress.update(task, advance=1, description=f"users: {users:,}")
            syncs, all_syncs = await _make_due(connection, CORPORATION_SYNCS, force, full)
            progress.update(task, advance=1)
            if dry_run:
                await transaction.rollback()
    return DueSyncs(users, syncs, all_users + all_syncs - users - syncs)


async def _make_due(
    connection: AsyncConnection, table: Table, force: bool, full: bool
) -> tuple[int, int]:
    """Return how many became due, and how many are active."""
    now = datetime.now(UTC)
    is_active = table.c.state == "active"
    if table is CORPORATION_SYNCS:
        is_active &= exists().where(
            USERS.c.character_id == table.c.character_id,
            USERS.c.state == "active",
            USERS.c.sync_corporation,
        )
    is_active &= table.c.next_sync_at.is_not(None)  # else ESI refused it, or it isn't wanted
    where: list[Any] = [
        is_active,
        or_(table.c.sync_started_at.is_(None), table.c.sync_started_at < now - RECENT),
    ]
    values = {"next_sync_at": now}
    waits = table.c.next_sync_at <= now
    if full:
        values["next_full_sync_at"] = now
        waits &= table.c.next_full_sync_at <= now
    where.append(~func.coalesce(waits, False))
    if not force:
        last = table.c.last_killmail_sync_at
        where.append(or_(last.is_(None), last < now - RECENT))
    active = await connection.scalar(select(func.count()).select_from(table).where(is_active))
    due = await connection.execute(update(table).where(*where).values(values))
    return due.rowcount, active or 0
