"""Migrate the database to the newest schema."""

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
"""No time limit for a migration's statements."""
_LOCK: Final = 7_305_809_156_287_101_797
"""Key of the advisory lock during a migration: a random number, to be unique in the database."""


class Migrated(NamedTuple):
    """The revisions before and after a migration; None for an empty database."""

    before: str | None
    after: str | None


async def migrate(
    settings: Settings, revision: str = "head", *, wait_s: float = START_S
) -> Migrated:
    """Run the missing migrations in one transaction. Safe to repeat and to run concurrently.

    Waits for an unavailable database, and for a concurrent migration.

    Raises:
        Misconfigured: the database refuses the connection; the message has the correction.
        SchemaMismatch: the schema is a later version's.
        ServerUnavailable: the database wasn't available within `wait_s`.
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
