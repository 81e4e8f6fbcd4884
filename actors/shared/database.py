"""The database, PostgreSQL or an SQLite file: one engine per process and event loop."""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

from sqlalchemy import Connection, Dialect, event, make_url, text
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from actors.shared.database_errors import (
    SchemaMismatch,
    address_of,
    explain,
    when_database_available,
)
from actors.shared.errors import Misconfigured
from actors.shared.postgres import Connector, Limits
from actors.shared.postgres_url import read_url
from actors.shared.settings import Settings
from actors.shared.startup import START_S
from actors.shared.tables import REVISION
from actors.shared.writers import announce_writers

CLOSE_S: Final = 3.0
"""Time limit for closing all connections."""
SQLITE_WAIT_S: Final = 30.0
"""How long a writing transaction waits for the lock."""
DEFAULT_LIMITS: Final = Limits()
_READS: Final = "killstream_reads"
"""Execution option of read-only connections."""


@asynccontextmanager
async def open_database(
    settings: Settings, part: str = "killstream", *, limits: Limits = DEFAULT_LIMITS
) -> AsyncIterator[AsyncEngine]:
    """Open the engine; it belongs to the running event loop and closes with the block.

    Connects at first use. A query on a connection that gets no answer within the limits raises
    `TimeoutError`, and its connection is closed; retry then. Closing doesn't wait for a silent
    server.

    Args:
        settings: The database and the size of the pool.
        part: The part of Killstream, for the `application_name` of its connections.
        limits: Time limits for PostgreSQL.

    Raises:
        Misconfigured: the data directory can't be created, or its file can't be opened.
    """
    if settings.database_url:
        connector = Connector(read_url(settings.database_url), part, limits)
        engine = _postgresql_engine(settings, connector)
        try:
            yield engine
        finally:
            await _close(engine, connector)
    else:
        engine = _sqlite_engine(settings)
        try:
            yield engine
        finally:
            await engine.dispose()


@asynccontextmanager
async def reading(database: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a read-only connection, which neither waits for writers nor blocks them.

    On PostgreSQL each statement is its own transaction, on SQLite all of them are one.
    """
    options: dict[str, Any] = {_READS: True}
    if database.dialect.name == "postgresql":
        options["isolation_level"] = "AUTOCOMMIT"
    async with database.connect() as connection:
        yield await connection.execution_options(**options)


@asynccontextmanager
async def reading_one_state(database: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """Open a read-only connection on which all statements see the same state of the database."""
    options: dict[str, Any] = {_READS: True}
    if database.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    async with database.connect() as connection:
        yield await connection.execution_options(**options)


async def check_schema(database: AsyncEngine, *, wait_s: float = START_S) -> None:
    """Check that the schema is that of this version; waits for an unavailable database.

    Raises:
        Misconfigured: the database refuses the connection; says what to do.
        SchemaMismatch: the tables are missing, older or newer; says what to do.
        ServerUnavailable: it wasn't available within `wait_s`.
    """
    revision = await when_database_available(database, lambda: _revision(database), wait_s=wait_s)
    what = f"the database at {address_of(database)}"
    if not revision:
        raise SchemaMismatch(f"{what} has no Killstream tables: run `killstream migrate`")
    check_not_newer(revision, what)
    if revision != REVISION:
        raise SchemaMismatch(
            f"{what} has the tables of an older version, {revision} and not {REVISION}:"
            " run `killstream migrate`"
        )


def check_not_newer(revision: str, what: str) -> None:
    """Check that the schema isn't that of a later version.

    Raises:
        SchemaMismatch: the schema is a later version's.
    """
    if revision > REVISION:
        raise SchemaMismatch(
            f"this is an older Killstream than {what}: it knows tables up to {REVISION}, and"
            f" there are those of {revision}; update it"
        )


async def _revision(database: AsyncEngine) -> str | None:
    async with reading(database) as connection:
        revision: str | None = await connection.scalar(
            text("SELECT version_num FROM alembic_version")
        )
        return revision


def _is_reading(connection: Connection) -> bool:
    return _READS in connection.get_execution_options()


def _postgresql_engine(settings: Settings, connector: Connector) -> AsyncEngine:
    limits = connector.limits
    engine = create_async_engine(
        settings.database_dsn,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        pool_timeout=limits.command_s or SQLITE_WAIT_S,
        hide_parameters=True,  # error texts are logged
    )

    @event.listens_for(engine.sync_engine, "do_connect")
    def _connect(dialect: Dialect, _record: Any, _args: Any, _options: Any) -> Any:
        def connect() -> Any:
            return dialect.loaded_dbapi.connect(
                async_creator_fn=connector.connect,
                prepared_statement_cache_size=0 if connector.behind_pooler else 100,
            )

        assumed = connector.behind_pooler
        connection = connect()
        if connector.behind_pooler == assumed:
            return connection
        connection.terminate()  # a pooler was detected: this connection would use named statements
        return connect()

    @event.listens_for(engine.sync_engine, "begin")
    def _limit(connection: Connection) -> None:
        """Set the server's timeouts, so that it ends a transaction that we abandon.

        For this transaction only: behind a pooler the next one may use another session.
        """
        if limits.command_s is not None and not _is_reading(connection):
            connection.exec_driver_sql(_limits_statement(limits.command_s))

    @event.listens_for(engine.sync_engine, "handle_error")
    def _give_up_silent(context: ExceptionContext) -> BaseException | None:
        """Invalidate the connection that timed out, and all connections opened before."""
        if not isinstance(context.original_exception, TimeoutError):
            return None
        context.is_disconnect = context.invalidate_pool_on_disconnect = True
        return TimeoutError(f"PostgreSQL didn't answer within {limits.command_s:g} s")

    return engine


def _limits_statement(command_s: float) -> str:
    """Build timeouts shorter than ours, so that a working connection is kept."""
    statement_ms, idle_ms = int(command_s * 800), int(command_s * 1000)
    return (
        f"SELECT set_config('statement_timeout', '{statement_ms}', true),"
        f" set_config('idle_in_transaction_session_timeout', '{idle_ms}', true)"
    )


async def _close(engine: AsyncEngine, connector: Connector) -> None:
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await engine.dispose()
    finally:
        connector.terminate()


def _sqlite_engine(settings: Settings) -> AsyncEngine:
    _make_file(settings)
    engine = create_async_engine(
        settings.database_dsn,
        pool_size=settings.database_pool_size,
        max_overflow=0,
        connect_args={"timeout": SQLITE_WAIT_S},
        hide_parameters=True,  # error texts are logged
    )

    @event.listens_for(engine.sync_engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def _on_invalidate(connection: Any, _record: Any, _error: Any) -> None:
        """Roll back, as a discarded connection would keep its write lock."""
        connection.rollback()

    announce_writers(engine.sync_engine, lambda connection: not _is_reading(connection))

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Connection) -> None:
        """Take the write lock at BEGIN, so that two writers queue instead of failing."""
        connection.exec_driver_sql("BEGIN" if _is_reading(connection) else "BEGIN IMMEDIATE")

    return engine


def _make_file(settings: Settings) -> None:
    try:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Misconfigured(
            f"can't create KILLSTREAM_DATA_DIR {settings.data_dir}: {error.strerror}"
        ) from None
    file = make_url(settings.database_dsn).database or ""
    try:
        sqlite3.connect(file).close()  # on a failure aiosqlite would leak a thread
    except sqlite3.Error as error:
        raise explain(error, f"the database at {file}") or error from None
