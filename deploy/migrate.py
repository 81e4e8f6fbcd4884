"""Bring the database to the newest schema."""

from pathlib import Path
from typing import Final, NamedTuple

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from sqlalchemy import Connection, text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import check_not_newer, open_database
from actors.shared.database_errors import address_of, when_database_available
from actors.shared.postgres import Limits
from actors.shared.settings import Settings
from actors.shared.startup import START_S

UNLIMITED: Final = Limits(command_s=None)
"""A migration takes its time."""
_LOCK: Final = 7_305_809_156_287_101_797
"""PostgreSQL's advisory lock that a migration holds; the number only has to be nobody else's."""


class Migrated(NamedTuple):
    """The revisions before and after; none before on an empty database."""

    before: str | None
    after: str | None


async def migrate(
    settings: Settings, revision: str = "head", *, wait_s: float = START_S
) -> Migrated:
    """Run the migrations that are missing. Safe to run again, and at once with others.

    All of them are one transaction: it succeeds, or nothing has changed. Waits for a database that
    is away, and for another one's migration.

    Raises:
        Misconfigured: the database refuses us; says what to do.
        SchemaMismatch: the tables are those of a newer version.
        ServerUnavailable: the database didn't come within `wait_s`.
    """
    async with open_database(settings, "migrate", limits=UNLIMITED) as database:
        return await when_database_available(
            database, lambda: _upgrade(database, revision), wait_s=wait_s
        )


async def _upgrade(database: AsyncEngine, revision: str) -> Migrated:
    async with database.begin() as connection:  # on SQLite this takes the write lock
        if database.dialect.name == "postgresql":
            await connection.execute(text(f"SELECT pg_advisory_xact_lock({_LOCK})"))
        before = await connection.run_sync(_current)
        check_not_newer(before or "", f"the database at {address_of(database)}")
        await connection.run_sync(_run, revision)
        return Migrated(before, await connection.run_sync(_current))


def _current(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _run(connection: Connection, revision: str) -> None:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    command.upgrade(config, revision)
