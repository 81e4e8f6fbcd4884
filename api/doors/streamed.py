"""Files that are written while they are sent."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing, suppress
from typing import Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from actors.shared.cancellation import cancel_and_wait
from api.doors.answers import too_many
from api.doors.client import client_of
from api.doors.export_formats import gzip_compressor
from api.doors.live import SEND_S, disconnect
from api.doors.slots import TooMany
from api.doors.state import Doors

CLOSE_S: Final = 1.5
"""How long a file may take to end when the gateway does."""


class Streamed(Response):
    """Sends the parts of a file until it is whole, or the client leaves.

    When something fails it ends in the middle, which HTTP shows the client.
    """

    def __init__(
        self,
        doors: Doors,
        parts: AsyncGenerator[bytes, None],
        media_type: str,
        headers: Mapping[str, str],
    ) -> None:
        super().__init__(media_type=media_type, headers=headers)
        del self.headers["content-length"]
        self._doors = doors
        self._parts = parts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or refuse a client that has too many open."""
        async with aclosing(self._parts):
            try:
                with self._doors.export.taken(client_of(Request(scope))):
                    await self._answer(scope, receive, send)
            except TooMany as error:
                await too_many(error)(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if scope["method"] == "HEAD":
            return await _send(send, b"", more=False)
        giving = asyncio.create_task(self._give(send), name="file: give")
        leaving = asyncio.create_task(disconnect(receive), name="file: disconnect")
        closing = asyncio.create_task(self._doors.closing.wait(), name="file: closing")
        try:
            await asyncio.wait([giving, leaving, closing], return_when=asyncio.FIRST_COMPLETED)
            if closing.done():  # an export ends by itself after its page
                await asyncio.wait([giving, leaving], timeout=CLOSE_S)
        finally:
            await cancel_and_wait(giving, leaving, closing)
        if not giving.cancelled():
            with suppress(TimeoutError):  # the client doesn't read
                giving.result()
        return None

    async def _give(self, send: Send) -> None:
        async for part in self._parts:
            await _send(send, part, more=True)
        await _send(send, b"", more=False)


async def _send(send: Send, part: bytes, *, more: bool) -> None:
    """Send a part. Raises TimeoutError when the client doesn't read."""
    async with asyncio.timeout(SEND_S):
        await send({"type": "http.response.body", "body": part, "more_body": more})


async def gzipped(parts: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    """Compress the parts of a file, in a thread."""
    compress = gzip_compressor()
    async with aclosing(parts):
        async for part in parts:
            if some := await asyncio.to_thread(compress.compress, part):
                yield some
    yield compress.flush()
