"""The gateway's resources for users: the database for writing, and the client of EVE's SSO."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Final

import aiohttp
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import open_database
from actors.shared.database_errors import explain
from actors.shared.errors import ServerUnavailable
from actors.shared.postgres import Limits
from actors.shared.settings import Settings
from actors.users.tokens import Keeper, open_keeper
from api.background_writes import BackgroundWrites, open_background_writes
from api.database import DatabaseUnavailable
from api.login.limit import LoginLimit

WRITE_LIMITS: Final = Limits(connect_s=5.0, command_s=5.0)
WRITE_CONNECTIONS: Final = 1
"""One is enough, as writes are rare and short."""


@dataclass(frozen=True)
class Users:
    """Resources for users, opened once per process."""

    database: AsyncEngine
    keeper: Keeper | None
    """None if logins are disabled, as the application's id isn't set."""
    limit: LoginLimit
    background: BackgroundWrites
    syncing: set[str] = field(default_factory=set)
    """The accounts that wait for a sync."""


@asynccontextmanager
async def open_users(settings: Settings) -> AsyncIterator[Users]:
    """Open the resources for users; they connect at first use.

    Raises:
        Misconfigured: the keys of the vault are missing or invalid.
    """
    writing = settings.model_copy(update={"database_pool_size": WRITE_CONNECTIONS})
    async with (
        open_database(writing, "api", limits=WRITE_LIMITS) as database,
        aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http,
        LoginLimit(settings) as limit,
        open_background_writes(database) as background,
    ):
        yield Users(database, open_keeper(settings, database, http), limit, background)


@contextmanager
def translated_errors() -> Iterator[None]:
    """Raise `DatabaseUnavailable` instead of the engine's errors with that meaning."""
    try:
        yield
    except (SQLAlchemyError, OSError, TimeoutError) as error:
        explained = explain(error, "the database")
        if isinstance(explained, ServerUnavailable):
            raise DatabaseUnavailable(str(explained)) from error
        raise
