"""A process that refreshes a character's token, and may be killed at it.

Run as `python -m tests.support.refresher CHARACTER_ID`, with settings in the environment.
"""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import aiohttp
import structlog

from actors.shared.database import open_database
from actors.shared.settings import Settings
from actors.users.tokens import open_keeper
from tests.support.processes import ROOT, environment

READY: Final = b"ready\n"


@asynccontextmanager
async def refresher(
    settings: Settings, character_id: int
) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start the process. It has read the SSO's metadata, and refreshes on a line of input."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", __spec__.name, str(character_id)),
        cwd=ROOT,
        env=environment(settings),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout
        assert await process.stdout.readline() == READY
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def main(character_id: int) -> None:
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))
    settings = Settings()
    async with open_database(settings) as database, aiohttp.ClientSession() as http:
        keeper = open_keeper(settings, database, http)
        assert keeper is not None
        await keeper.sso.authorization_url("state", "verifier", [])
        sys.stdout.buffer.write(READY)
        sys.stdout.buffer.flush()
        await asyncio.to_thread(sys.stdin.readline)
        await keeper.access_token(character_id)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
