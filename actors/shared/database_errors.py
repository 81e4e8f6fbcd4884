"""Explain database errors in one line with advice; wait for an unavailable database."""

import sqlite3
import ssl
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import asyncpg
from sqlalchemy.exc import TimeoutError as NoFreeConnection
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.outage import one_line
from actors.shared.settings import masked
from actors.shared.startup import START_S, when_available

T = TypeVar("T")

_MISCONFIGURED: Final = {
    "22023": "correct the options in KILLSTREAM_DATABASE_URL",
    "28000": "it refuses the user: correct KILLSTREAM_DATABASE_URL",
    "28P01": "it refuses user or password: correct KILLSTREAM_DATABASE_URL",
    "3F000": "GRANT a schema to the user in KILLSTREAM_DATABASE_URL",
    "3D000": "create the database, or correct KILLSTREAM_DATABASE_URL",
    "42704": "correct the options in KILLSTREAM_DATABASE_URL",
    "42501": "GRANT the permission to the user in KILLSTREAM_DATABASE_URL",
}
"""By SQLSTATE. Source: PostgreSQL's manual, appendix A (read 2026-11-26)."""
_NO_TABLE: Final = "42P01"
_UNAVAILABLE: Final = ("08", "25006", "53", "55P03", "57", "58")
"""SQLSTATE prefixes: connections, a standby, resources, locks, shutdowns, disks."""
_WRONG_FILE: Final = {
    sqlite3.SQLITE_NOTADB: "move the file away",
    sqlite3.SQLITE_CORRUPT: "restore the file from a copy, or move it away",
    sqlite3.SQLITE_CANTOPEN: "let us read and write there",
    sqlite3.SQLITE_PERM: "let us read and write there",
    sqlite3.SQLITE_READONLY: "let us read and write there",
}
_BUSY_FILE: Final = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
}


class SchemaMismatch(KillstreamError):
    """The schema isn't that of this version; says what to do."""


async def when_database_available(
    database: AsyncEngine, act: Callable[[], Awaitable[T]], *, wait_s: float = START_S
) -> T:
    """Call `act`; retry for up to `wait_s` while the database is unavailable, logging it once.

    Raises:
        Misconfigured: the database refuses the connection.
        SchemaMismatch: it has no Killstream tables.
        ServerUnavailable: it wasn't available in time.
    """
    what = f"the database at {address_of(database)}"
    return await when_available(what, act, lambda error: explain(error, what), wait_s=wait_s)


def address_of(database: AsyncEngine) -> str:
    """Return the database's address without the password, or its file."""
    url = database.url
    if url.drivername.startswith("sqlite"):
        return str(url.database)
    return masked(url.set(drivername="postgresql").render_as_string(hide_password=False))


def explain(error: BaseException, what: str) -> KillstreamError | None:
    """Explain an error in one line with advice; None when it is no matter of configuration.

    Args:
        error: Raised by SQLAlchemy, a driver or the system.
        what: The name of the database in the message.
    """
    root = _root(error)
    if isinstance(root, sqlite3.Error):
        return _explain_file(root, what)
    if isinstance(root, asyncpg.PostgresError):
        return _explain_state(root, what)
    message = f"{what} can't be used: {one_line(root)}"
    if isinstance(root, ssl.SSLError | ValueError) or "SSL" in str(root):
        return Misconfigured(f"{message}; correct KILLSTREAM_DATABASE_URL")
    if isinstance(root, OSError | asyncpg.InterfaceError | NoFreeConnection):
        return ServerUnavailable(f"{message}; start it, or correct KILLSTREAM_DATABASE_URL")
    return None


def _explain_state(error: asyncpg.PostgresError, what: str) -> KillstreamError | None:
    state = str(error.sqlstate or "")
    message = f"{what} can't be used: {one_line(error)}"
    if state in _MISCONFIGURED:
        return Misconfigured(f"{message}; {_MISCONFIGURED[state]}")
    if state == _NO_TABLE:
        return _no_tables(what)
    if state.startswith(_UNAVAILABLE):
        return ServerUnavailable(message)
    return None


def _explain_file(error: sqlite3.Error, what: str) -> KillstreamError | None:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    message = f"{what} can't be used: {error}"
    if code in _WRONG_FILE:
        return Misconfigured(f"{message}; {_WRONG_FILE[code]}, or set another KILLSTREAM_DATA_DIR")
    if code in _BUSY_FILE:
        return ServerUnavailable(message)
    return _no_tables(what) if "no such table" in str(error) else None


def _no_tables(what: str) -> SchemaMismatch:
    return SchemaMismatch(f"{what} has no Killstream tables: run `killstream migrate`")


def _root(error: BaseException) -> BaseException:
    """Return the driver's error, which SQLAlchemy wraps."""
    wrapped = getattr(error, "orig", None)
    if wrapped is None:
        return error
    cause = wrapped.__cause__
    return cause if isinstance(cause, asyncpg.PostgresError | asyncpg.InterfaceError) else wrapped
