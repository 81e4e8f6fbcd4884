"""What the doors of a process share."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final
from weakref import WeakValueDictionary

from actors.shared.settings import Settings
from api.doors.queues import QUEUES, QUEUES_PER_CLIENT, Queues, open_queues
from api.doors.rates import Rate
from api.doors.slots import Slots

STREAMS: Final = 10_000
"""Open streams of SSE, of NDJSON and of zKillboard's websocket, each."""
EXPORTS: Final = 6
"""Exports at once; one of Parquet takes some 20 MB."""


@asynccontextmanager
async def open_doors(settings: Settings) -> AsyncIterator["Doors"]:
    """Open what the doors share; Redis may be unavailable."""
    async with open_queues(settings) as queues:
        yield Doors(settings, queues)


class Doors:
    """Opened once per process."""

    def __init__(self, settings: Settings, queues: Queues) -> None:
        self.queues: Final = queues
        self.closing: Final = asyncio.Event()
        """Set when the server shuts down: each stream ends with a word to its client."""
        streams = settings.api_streams_per_client
        self._turns: Final = WeakValueDictionary[str, asyncio.Lock]()
        self.sse: Final = Slots("sse", streams, STREAMS)
        self.ndjson: Final = Slots("ndjson", streams, STREAMS)
        self.zkillboard: Final = Slots("zkillboard", streams, STREAMS)
        self.redisq: Final = Slots("redisq", QUEUES_PER_CLIENT, QUEUES)
        self.export: Final = Slots("export", settings.api_exports_per_client, EXPORTS)
        self.files: Final = Rate("r2z2", settings.api_files_per_s)
        self.polls: Final = Rate("redisq", settings.api_polls_per_s)

    def turn_of(self, client: str) -> asyncio.Lock:
        """Return what all readers of a client hold while they read old entries: one at a time."""
        return self._turns.setdefault(client, asyncio.Lock())
