"""An R2Z2 of a few files, for what the stand-in never does."""

import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta

import msgspec
from aiohttp import web
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.settings import Settings
from actors.shared.tables import CURSORS
from tests.streams.rig import upstream
from tests.support.ledger import HASH

FIRST = 1000


def settings_for(url: str, per_s: float = 5000) -> Settings:
    return Settings(source="r2z2", r2z2_url=url, r2z2_requests_per_s=per_s)


def killmail(killmail_id: int, age_s: float = 0.0) -> bytes:
    body = {"killmail_id": killmail_id, "killmail_time": "2026-01-07T13:37:34Z"}
    uploaded_at = time.time() - age_s
    document = {"killmail_id": killmail_id, "hash": HASH, "esi": body, "uploaded_at": uploaded_at}
    return msgspec.json.encode(document)


async def set_back(database: AsyncEngine, age_s: float) -> None:
    """Make the last movement of the cursor older: the poller has been away."""
    async with database.begin() as connection:
        updated_at = datetime.now(UTC) - timedelta(seconds=age_s)
        await connection.execute(update(CURSORS).values(updated_at=updated_at))


class Files:
    """The files by number, as they are now; `newest` is what `sequence.json` says."""

    def __init__(self, files: dict[int, bytes], newest: int | None = None) -> None:
        self.files = files
        self.newest = newest
        self.always: bytes | None = None
        self.asked = 0
        self.asked_at_s: dict[str, list[float]] = {}
        """By the file's name."""
        self._due: dict[int, Callable[[], None]] = {}

    def served(self) -> AbstractAsyncContextManager[str]:
        return upstream({"/ephemeral/{name}.json": self.file})

    def at_request(self, number: int, then: Callable[[], None]) -> None:
        self._due[self.asked + number] = then

    async def file(self, request: web.Request) -> web.Response:
        self.asked += 1
        self._due.pop(self.asked, lambda: None)()
        name = request.match_info["name"]
        self.asked_at_s.setdefault(name, []).append(time.monotonic())
        if self.always:
            return web.Response(body=self.always, content_type="text/html")
        if name == "sequence":
            newest = min(self.files) if self.newest is None else self.newest
            return web.json_response({"sequence": newest})
        value = self.files.get(int(name))
        return web.Response(status=404) if value is None else web.Response(body=value)
