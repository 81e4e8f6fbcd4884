"""Wait for the end of a session, as a websocket lasts longer than one check of it."""

import asyncio
from typing import Final

from actors.users.sessions import session_query
from api.database import DatabaseUnavailable, ReadDatabase

CHECK_S: Final = 20.0
"""Interval of the checks."""
UNCONFIRMED_S: Final = 40.0
"""Age of the last successful check from which on a failing one ends the wait."""


async def wait_for_end(database: ReadDatabase, token: str) -> None:
    """Return within a minute after the session of a token has ended; doesn't count as its use.

    Raises:
        DatabaseUnavailable: the session couldn't be read for so long that it may have ended.
    """
    clock = asyncio.get_running_loop().time
    confirmed_s = clock()
    while True:
        await asyncio.sleep(CHECK_S)
        try:
            if await database.fetch_one(session_query(token)) is None:
                return
            confirmed_s = clock()
        except DatabaseUnavailable:
            if clock() - confirmed_s >= UNCONFIRMED_S:
                raise
