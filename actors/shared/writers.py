"""Let bulk writes on SQLite wait for the others, whose transactions are short.

SQLite has one writer at a time, and those that wait for it poll, each by itself: between the
transactions of a bulk write there is time for a few of them only. So each transaction that writes
holds a shared lock on a file beside the database, from before it begins until it ends, and a bulk
write begins none while anybody holds it.
"""

import asyncio
import fcntl
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, event
from sqlalchemy.ext.asyncio import AsyncEngine

QUIET_S: Final = 0.05
"""How long nobody must have written: a killmail takes several transactions, one after another."""
MOST_S: Final = 1.0
"""How long a bulk write waits for that; then it goes on, so that it ends some day."""
_POLL_S: Final = 0.01
_FILE: Final = "killstream_writers"


def announce_writers(engine: Engine, writes: Callable[[Connection], bool]) -> None:
    """Have an engine's transactions hold the lock; `writes` tells which connections write."""

    @event.listens_for(engine, "connect")
    def _open(_connection: Any, record: Any) -> None:
        record.info[_FILE] = _lock_file(engine).open("ab")

    @event.listens_for(engine, "close")
    def _close(_connection: Any, record: Any) -> None:
        if file := record.info.pop(_FILE, None):
            file.close()

    @event.listens_for(engine, "begin")
    def _hold(connection: Connection) -> None:
        if writes(connection):
            fcntl.flock(connection.info[_FILE], fcntl.LOCK_SH)

    @event.listens_for(engine, "reset")
    def _release(_connection: Any, record: Any, _state: Any) -> None:
        if file := record.info.get(_FILE):
            fcntl.flock(file, fcntl.LOCK_UN)


async def let_others_write(database: AsyncEngine) -> None:
    """Wait until nobody writes, before the next transaction of a bulk write; `MOST_S` at most.

    Returns at once on PostgreSQL, whose writers don't wait for each other.
    """
    if database.dialect.name != "sqlite":
        return
    began_s = busy_at_s = time.monotonic()
    with _lock_file(database.sync_engine).open("ab") as file:
        while (now_s := time.monotonic()) - began_s < MOST_S:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                busy_at_s = now_s
            else:
                fcntl.flock(file, fcntl.LOCK_UN)
                if now_s - busy_at_s >= QUIET_S:
                    return
            await asyncio.sleep(_POLL_S)


def _lock_file(engine: Engine) -> Path:
    return Path(f"{engine.url.database}-writers")
