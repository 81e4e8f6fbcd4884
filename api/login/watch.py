"""Wait for the end of a session, for what outlives the request that it began with."""

import asyncio
from typing import Final

from actors.users.sessions import session_query
from api.database import DatabaseUnavailable, ReadDatabase

CHECK_S: Final = 20.0
"""Interval of the checks."""
UNCONFIRMED_S: Final = 40.0
"""Age of the last good check at which a failing one counts as the end."""


async def wait_for_end(database: ReadDatabase, token: str) -> None:
    """Return when the session of a token has ended: within a minute. Doesn't count as its use.

    Raises:
        DatabaseUnavailable: it couldn't be read for so long that it may have ended.
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
