"""What the doors of a process share."""

import asyncio
from typing import Final

from api.doors.slots import Slots

STREAMS_PER_CLIENT: Final = 100
STREAMS: Final = 10_000
"""Open streams of SSE and NDJSON, each."""


class Doors:
    """Opened once per process."""

    def __init__(self) -> None:
        self.closing: Final = asyncio.Event()
        """Set when the server shuts down: each stream ends with a word to its client."""
        self.sse: Final = Slots("sse", STREAMS_PER_CLIENT, STREAMS)
        self.ndjson: Final = Slots("ndjson", STREAMS_PER_CLIENT, STREAMS)
