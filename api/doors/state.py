"""What the doors of a process share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from actors.shared.settings import Settings
from api.doors.queues import QUEUES, QUEUES_PER_CLIENT, Queues, open_queues
from api.doors.rates import Rate
from api.doors.slots import Slots

STREAMS_PER_CLIENT: Final = 100
STREAMS: Final = 10_000
"""Open streams of SSE, of NDJSON and of zKillboard's websocket, each."""
FILES_PER_S: Final = 15.0
"""Files of R2Z2 that one client may fetch; as upstream, but without a ban."""
POLLS_PER_S: Final = 2.0
"""Polls of RedisQ that one client may begin, as upstream."""
EXPORTS_PER_CLIENT: Final = 2
EXPORTS: Final = 6
"""Exports at once; one of Parquet takes some 40 MB."""


@asynccontextmanager
async def open_doors(settings: Settings) -> AsyncIterator["Doors"]:
    """Open what the doors share; Redis may be unavailable."""
    async with open_queues(settings) as queues:
        yield Doors(queues)


class Doors:
    """Opened once per process."""

    def __init__(self, queues: Queues) -> None:
        self.queues: Final = queues
        self.closing: Final = asyncio.Event()
        """Set when the server shuts down: each stream ends with a word to its client."""
        self.sse: Final = Slots("sse", STREAMS_PER_CLIENT, STREAMS)
        self.ndjson: Final = Slots("ndjson", STREAMS_PER_CLIENT, STREAMS)
        self.zkillboard: Final = Slots("zkillboard", STREAMS_PER_CLIENT, STREAMS)
        self.r2z2: Final = Rate("r2z2", FILES_PER_S)
        self.redisq: Final = Slots("redisq", QUEUES_PER_CLIENT, QUEUES)
        self.polls: Final = Rate("redisq", POLLS_PER_S)
        self.export: Final = Slots("export", EXPORTS_PER_CLIENT, EXPORTS)
