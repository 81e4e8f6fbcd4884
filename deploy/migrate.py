"""Bring the database to the newest schema."""

from pathlib import Path
from typing import Any, Final

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from actors.shared.database import open_database
from actors.shared.postgres import Limits
from actors.shared.settings import Settings

UNLIMITED: Final = Limits(command_s=None)
"""A migration takes its time."""


async def migrate(settings: Settings) -> str:
    """Run the migrations that are missing; give the revision reached. Safe to run again."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))

    def upgrade(connection: Connection) -> None:
        config.attributes["connection"] = connection
        command.upgrade(config, "head")

    async with (
        open_database(settings, "migrate", limits=UNLIMITED) as engine,
        engine.begin() as connection,
    ):
        await connection.run_sync(upgrade)
    head: Any = ScriptDirectory.from_config(config).get_current_head()
    return str(head)
