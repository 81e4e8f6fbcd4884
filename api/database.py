"""The database as the gateway reads it: every read ends within a limit."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, Final, TypeVar

import asyncpg
from asyncpg.pool import PoolConnectionProxy
from databases import Database
from databases.core import Connection
from sqlalchemy import Select

from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.postgres import Connector, Limits
from actors.shared.postgres_url import read_url
from actors.shared.settings import Settings, masked

READ_S: Final = 5.0
"""How long one read may take, the wait for a connection included."""
CLOSE_S: Final = 2.0
"""How long closing waits for the server."""
IDLE_S: Final = 20.0
"""Age at which an idle connection is closed: one that went silent must not wait for a read."""

_SQLITE_UNAVAILABLE: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
    sqlite3.SQLITE_INTERRUPT,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PROTOCOL,
}
_POSTGRESQL_UNAVAILABLE: Final = (
    asyncpg.PostgresConnectionError,
    asyncpg.OperatorInterventionError,
    asyncpg.InsufficientResourcesError,
    asyncpg.InterfaceError,
    OSError,
)

T = TypeVar("T")
Read = Callable[[Connection], Awaitable[T]]


class DatabaseUnavailable(KillstreamError):
    """The database can't answer now: the same read may succeed later."""


def is_unavailable(error: BaseException) -> bool:
    """Tell a database that can't answer now from a read that is wrong and will stay wrong."""
    if isinstance(error, sqlite3.Error):
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return primary in _SQLITE_UNAVAILABLE
    # asyncpg's complaints about a wrong option are InterfaceErrors, too.
    return isinstance(error, _POSTGRESQL_UNAVAILABLE) and not isinstance(error, ValueError)


@asynccontextmanager
async def open_reads(
    settings: Settings, *, read_s: float = READ_S
) -> AsyncIterator["ReadDatabase"]:
    """Open the database for reading; it belongs to the running event loop.

    Args:
        settings: Which database.
        read_s: The limit of each read.

    Raises:
        ServerUnavailable: the database doesn't answer; says which.
        Misconfigured: it refuses us; says why.
    """
    connector = _connector(settings, read_s)
    database = Database(settings.database_dsn, **_options(settings, read_s, connector))
    try:
        await database.connect()
    except Exception as error:
        said = f"no database at {masked(settings.database_dsn)}: {one_line(error)}"
        raise (ServerUnavailable if is_unavailable(error) else Misconfigured)(said) from None
    reads = ReadDatabase(database, read_s)
    try:
        yield reads
    finally:
        await reads.end()
        await _disconnect(database)
        if connector:
            connector.terminate()


def _connector(settings: Settings, read_s: float) -> Connector | None:
    if not settings.database_url:
        return None
    limits = Limits(connect_s=read_s, command_s=read_s)
    return Connector(read_url(settings.database_url), "api", limits)


def _options(settings: Settings, read_s: float, connector: Connector | None) -> dict[str, Any]:
    if connector is None:
        return {"timeout": read_s}
    return {
        "connect": connector.connect,
        "min_size": 1,
        "max_size": max(1, settings.database_pool_size - 1),  # health has one of its own
        "max_inactive_connection_lifetime": IDLE_S,
    }


async def _disconnect(database: Database) -> None:
    """Close; a server that doesn't answer is not waited for."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await database.disconnect()  # cancelled, the pool drops its connections


class ReadDatabase:
    """`databases.Database` for reading, each read with a limit.

    A read that takes longer raises `DatabaseUnavailable`, and its connection is dropped without a
    word to the server, because a server that is silent answers no farewell either. A caller that
    is cancelled leaves its read to end by itself.
    """

    def __init__(self, database: Database, read_s: float = READ_S) -> None:
        self._database = database
        self._read_s = read_s
        self._running: set[asyncio.Task[Any]] = set()

    async def end(self) -> None:
        """Wait a moment for the reads that callers have left."""
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_S)

    async def fetch_all(self, query: Select[Any]) -> Sequence[Any]:
        """Read all rows.

        Raises:
            DatabaseUnavailable: the database can't answer now.
        """
        return await self._within_limit(lambda connection: connection.fetch_all(query))

    async def fetch_one(self, query: Select[Any]) -> Any:
        """Read the first row, or None; raises like `fetch_all`."""
        return await self._within_limit(lambda connection: connection.fetch_one(query))

    async def fetch_val(self, query: Select[Any]) -> Any:
        """Read the first column of the first row, or None; raises like `fetch_all`."""
        return await self._within_limit(lambda connection: connection.fetch_val(query))

    async def _within_limit(self, read: Read[T]) -> T:
        acquired: list[Any] = []
        reading = asyncio.create_task(self._read(read, acquired))
        limit = asyncio.get_running_loop().call_later(self._read_s, _give_up, reading, acquired)

        self._running.add(reading)

        def on_end(ended: "asyncio.Task[T]") -> None:
            limit.cancel()
            self._running.discard(ended)
            if not ended.cancelled():
                ended.exception()  # looked at, in case that nobody waits any more

        reading.add_done_callback(on_end)
        # A little longer than the limit: what was given up on usually ends at once.
        await asyncio.wait([reading], timeout=self._read_s + 0.2)
        if not reading.done() or reading.cancelled():
            raise DatabaseUnavailable(f"no answer within {self._read_s:g} s")
        return reading.result()

    async def _read(self, read: Read[T], acquired: list[Any]) -> T:
        try:
            async with self._database.connection() as connection:
                acquired.append(connection.raw_connection)
                return await read(connection)
        except Exception as error:
            if is_unavailable(error):
                raise DatabaseUnavailable(" ".join(str(error).split()) or repr(error)) from error
            raise


def _give_up(reading: "asyncio.Task[Any]", acquired: list[Any]) -> None:
    """Drop a read's connection, or its wait for one."""
    if acquired and isinstance(acquired[0], PoolConnectionProxy):
        with suppress(asyncpg.InterfaceError):  # it was released just now
            acquired[0].terminate()
    else:
        reading.cancel()
