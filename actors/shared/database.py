"""The database: one engine a process and event loop, PostgreSQL or an SQLite file alike."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import msgspec
from sqlalchemy import event, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings, masked
from actors.shared.tables import FEED_COUNTER


@asynccontextmanager
async def open_database(settings: Settings) -> AsyncIterator[AsyncEngine]:
    """Open the engine; it belongs to the running event loop and closes with the block."""
    if settings.database_url:
        engine = create_async_engine(
            settings.database_dsn,
            pool_size=settings.database_pool_size,
            json_serializer=_json_text,
            json_deserializer=str,
        )
    else:
        settings.data_dir.mkdir(parents=True, exist_ok=True)
        engine = create_async_engine(
            settings.database_dsn,
            connect_args={"timeout": 30},
            json_serializer=_json_text,
            json_deserializer=str,
        )
        _make_sqlite_strict(engine)
    try:
        yield engine
    finally:
        await engine.dispose()


async def check_schema(engine: AsyncEngine) -> None:
    """Make sure that the tables are there.

    Raises:
        Misconfigured: they aren't, or the database can't be reached; says what to do.
    """
    url = masked(engine.url.render_as_string(hide_password=False))
    try:
        async with engine.connect() as connection:
            await connection.execute(select(FEED_COUNTER.c.last_sequence))
    except DBAPIError as error:
        raise Misconfigured(
            f"no Killstream tables at {url}: run `killstream migrate` ({error.orig})"
        ) from None
    except OSError as error:
        raise Misconfigured(f"no database at {url}: {error}") from None


def _json_text(value: Any) -> str:
    """JSON goes in and comes out as the text it is."""
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _make_sqlite_strict(engine: AsyncEngine) -> None:
    """Take SQLite's write lock at BEGIN, so that two writers queue up instead of failing."""

    @event.listens_for(engine.sync_engine, "connect")
    def _on_connect(connection: Any, _record: Any) -> None:
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    @event.listens_for(engine.sync_engine, "invalidate")
    def _on_invalidate(connection: Any, _record: Any, _error: Any) -> None:
        """A cancelled transaction's connection is thrown away; its write lock must not be."""
        connection.rollback()

    @event.listens_for(engine.sync_engine, "begin")
    def _on_begin(connection: Any) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
