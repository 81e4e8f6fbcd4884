"""The gateway's read access to the database; each read has a time limit."""

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
from api.static_data import NOT_LOADED

READ_S: Final = 5.0
"""Time limit of one read, including the wait for a connection."""
CLOSE_S: Final = 2.0
"""Time limit for closing the connections."""
RESERVED: Final = 2
"""Connections of the setting that aren't for reading: one for health, one for writing."""
MIN_POOL_SIZE: Final = RESERVED + 1
IDLE_S: Final = 20.0
"""Idle time after which a connection is closed, so that no read gets one that went silent."""

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
FetchAll = Callable[[Any], Awaitable[Sequence[Any]]]
"""Reads all rows of a query."""


class DatabaseUnavailable(KillstreamError):
    """The database is unavailable; the same read may succeed later."""


def is_unavailable(error: BaseException) -> bool:
    """Return whether the database is unavailable; False for an error of the read itself."""
    if isinstance(error, sqlite3.Error):
        primary = getattr(error, "sqlite_errorcode", 0) & 0xFF
        return primary in _SQLITE_UNAVAILABLE
    # asyncpg's errors for an invalid option are both InterfaceError and ValueError.
    return isinstance(error, _POSTGRESQL_UNAVAILABLE) and not isinstance(error, ValueError)


def check_pool_size(settings: Settings) -> None:
    """Check that the gateway has enough connections to PostgreSQL.

    Raises:
        Misconfigured: the setting is below `MIN_POOL_SIZE`.
    """
    if settings.database_url and settings.database_pool_size < MIN_POOL_SIZE:
        raise Misconfigured(
            f"KILLSTREAM_DATABASE_POOL_SIZE must be {MIN_POOL_SIZE} at least for the gateway: it"
            " reads, writes and checks its health at once"
        )


@asynccontextmanager
async def open_read_database(
    settings: Settings, *, read_s: float = READ_S
) -> AsyncIterator["ReadDatabase"]:
    """Open the database for reading; it belongs to the running event loop.

    Args:
        settings: The database and the size of the pool.
        read_s: Time limit of each read.

    Raises:
        ServerUnavailable: the database doesn't answer.
        Misconfigured: it refuses the connection, or the pool is too small; the message says why.
    """
    check_pool_size(settings)
    connector = _connector(settings, read_s)
    database = Database(settings.database_dsn, **_options(settings, read_s, connector))
    try:
        await database.connect()
    except Exception as error:  # any error of the driver is why there is no database
        message = f"no database at {masked(settings.database_dsn)}: {one_line(error)}"
        raise (ServerUnavailable if is_unavailable(error) else Misconfigured)(message) from None
    database_reads = ReadDatabase(database, read_s)
    try:
        yield database_reads
    finally:
        await database_reads.drain()
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
        "max_size": settings.database_pool_size - RESERVED,
        "max_inactive_connection_lifetime": IDLE_S,
    }


async def _disconnect(database: Database) -> None:
    """Close all connections within `CLOSE_S`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(CLOSE_S):
            await database.disconnect()  # when cancelled, the pool terminates its connections


class ReadDatabase:
    """Reads of `databases.Database` with a time limit.

    A read that takes longer raises `DatabaseUnavailable`, and its connection is terminated without
    the protocol's closing message, because a silent server wouldn't answer it. When the caller is
    cancelled, its read continues in the background, within the limit.
    """

    def __init__(self, database: Database, read_s: float = READ_S) -> None:
        self._database = database
        self._read_s = read_s
        self._running: set[asyncio.Task[Any]] = set()
        self.static = NOT_LOADED
        """CCP's static data, as it was read last."""
        postgresql = database.url.dialect == "postgresql"
        snapshot = {"isolation": "repeatable_read", "readonly": True}
        self._snapshot: dict[str, Any] = snapshot if postgresql else {}

    async def drain(self) -> None:
        """Wait up to `CLOSE_S` for the reads whose callers were cancelled."""
        if self._running:
            await asyncio.wait(self._running, timeout=CLOSE_S)

    async def fetch_all(self, query: Select[Any]) -> Sequence[Any]:
        """Read all rows.

        Raises:
            DatabaseUnavailable: no answer within the limit.
        """
        return await self._limited(lambda connection: connection.fetch_all(query))

    async def fetch_one(self, query: Select[Any]) -> Any:
        """Read the first row, or None; raises like `fetch_all`."""
        return await self._limited(lambda connection: connection.fetch_one(query))

    async def fetch_val(self, query: Select[Any]) -> Any:
        """Read the first column of the first row, or None; raises like `fetch_all`."""
        return await self._limited(lambda connection: connection.fetch_val(query))

    async def in_snapshot(self, reads: Callable[[FetchAll], Awaitable[T]]) -> T:
        """Have several reads see one state of the database; the limit is for all together.

        Raises:
            DatabaseUnavailable: no answer within the limit.
        """

        async def read(connection: Connection) -> T:
            async with connection.transaction(**self._snapshot):
                return await reads(connection.fetch_all)

        return await self._limited(read)

    async def _limited(self, read: Read[T]) -> T:
        acquired: list[Any] = []
        reading = asyncio.create_task(self._read(read, acquired))
        limit = asyncio.get_running_loop().call_later(self._read_s, _abort, reading, acquired)

        self._running.add(reading)

        def on_end(ended: "asyncio.Task[T]") -> None:
            limit.cancel()
            self._running.discard(ended)
            if not ended.cancelled():
                ended.exception()  # retrieved, as the caller may have been cancelled

        reading.add_done_callback(on_end)
        # A little longer than the limit: an aborted read usually ends at once.
        await asyncio.wait([reading], timeout=self._read_s + 0.2)
        if not reading.done() or reading.cancelled():
            raise DatabaseUnavailable(f"no answer within {self._read_s:g} s")
        return reading.result()

    async def _read(self, read: Read[T], acquired: list[Any]) -> T:
        try:
            async with self._database.connection() as connection:
                acquired.append(connection.raw_connection)
                return await read(connection)
        except Exception as error:  # the drivers share no class for an unavailable database
            if is_unavailable(error):
                raise DatabaseUnavailable(" ".join(str(error).split()) or repr(error)) from error
            raise


def _abort(reading: "asyncio.Task[Any]", acquired: list[Any]) -> None:
    """Terminate a read's connection, or cancel its wait for one."""
    if acquired and isinstance(acquired[0], PoolConnectionProxy):
        with suppress(asyncpg.InterfaceError):  # already released
            acquired[0].terminate()
    else:
        reading.cancel()
