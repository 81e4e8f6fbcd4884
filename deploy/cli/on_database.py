"""Run a command's work on the configured database."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import check_schema, open_database
from actors.shared.errors import KillstreamError, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.settings import Settings
from deploy.cli.process import configure, fail

T = TypeVar("T")


def run_on_database(work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    """Run a coroutine on the configured database; end the command with a message on an error."""
    settings = configure()
    try:
        return asyncio.run(_on_database(settings, work))
    except KillstreamError as error:
        fail(error)
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        fail(ServerUnavailable(f"the database: {one_line(error)}"))


async def _on_database(settings: Settings, work: Callable[[AsyncEngine], Awaitable[T]]) -> T:
    if not settings.database_url and not (settings.data_dir / "killstream.db").exists():
        raise ServerUnavailable(
            f"no database in {settings.data_dir.absolute()}: set KILLSTREAM_DATABASE_URL or"
            " KILLSTREAM_DATA_DIR to the deployment's"
        )
    async with open_database(settings, "command") as database:
        await check_schema(database)
        return await work(database)
