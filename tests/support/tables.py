"""What stands in the tables."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import import_module
from typing import Any, Final

from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, Table, event, func, insert, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.tables import FEED, FEED_COUNTER, LEDGER, UNPUBLISHED

PUBLISHED_COUNT: Final = select(
    FEED_COUNTER.c.last_sequence - select(func.count()).select_from(UNPUBLISHED).scalar_subquery()
)
"""How many entries were published; doesn't scan the feed."""


def create_views(connection: Connection) -> None:
    """Create the views, as their migration does."""
    migration = import_module("deploy.migrations.versions.0007_growth")
    with Operations.context(MigrationContext.configure(connection)):
        migration.upgrade()


@contextmanager
def statements(database: AsyncEngine) -> Iterator[list[str]]:
    """Collect the statements that are executed meanwhile."""
    said: list[str] = []

    def listen(*args: Any) -> None:
        said.append(args[2])

    event.listen(database.sync_engine, "before_cursor_execute", listen)
    try:
        yield said
    finally:
        event.remove(database.sync_engine, "before_cursor_execute", listen)


async def rows(database: AsyncEngine, table: Table) -> list[dict[str, Any]]:
    """Read a table in the order of its key."""
    async with database.connect() as connection:
        found = await connection.execute(select(table).order_by(*table.primary_key))
        return [dict(row._mapping) for row in found]


async def receive(database: AsyncEngine, source: str, positions: Iterable[int]) -> None:
    """Record positions in the ledger as a source does."""
    now = datetime.now(UTC)
    row = {"source": source, "kind": "received", "received_at": now, "next_try_at": now}
    async with database.begin() as connection:
        await connection.execute(insert(LEDGER), [row | {"position": p} for p in positions])


async def feed_of(database: AsyncEngine) -> list[tuple[int, int, str]]:
    """Read the feed: sequence, killmail_id, kind."""
    return [
        (row["sequence"], row["killmail_id"], row["kind"]) for row in await rows(database, FEED)
    ]
