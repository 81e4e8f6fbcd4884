"""The R2Z2 source: `Walk` for its files, `reread` for ledger entries."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history.r2z2 import UPSTREAM
from actors.shared.settings import Settings
from streams.sources.bans import sharing_ban
from streams.sources.r2z2.files import File, Files
from streams.sources.r2z2.reread import reread
from streams.sources.r2z2.walk import Walk
from streams.sources.step import LedgerEntry, Step
from streams.sources.upstream import Answer, Classify, Failure, open_upstream
from streams.sources.waits import Waits

SERIAL_UP_TO_PER_S: Final = 15
"""Up to the real upstream's limit one request at a time, as its own clients do."""
IN_FLIGHT: Final = 6
"""Concurrent requests above it, while catching up."""


def r2z2_name(settings: Settings) -> str:
    """Name the feed, as references and cursors do."""
    return f"r2z2:{urlsplit(settings.r2z2_url).netloc.rpartition('@')[2]}"


@asynccontextmanager
async def open_r2z2(
    settings: Settings, waits: Waits, database: AsyncEngine
) -> AsyncIterator["R2z2"]:
    """Open the feed. A ban is shared with the requests for R2Z2's history, by the database.

    Raises:
        Misconfigured: KILLSTREAM_CONTACT is missing, and the upstream isn't on this machine.
    """
    per_s = settings.r2z2_requests_per_s
    in_flight = 1 if per_s <= SERIAL_UP_TO_PER_S else IN_FLIGHT
    classify = _classify(waits)
    async with (
        sharing_ban(database, UPSTREAM) as ban,
        open_upstream(settings, settings.r2z2_url, per_s, waits, classify, ban=ban) as upstream,
    ):
        yield R2z2(r2z2_name(settings), Files(upstream, in_flight), waits)


class R2z2:
    """A `Source`."""

    gives_once = False

    def __init__(self, name: str, files: Files, waits: Waits) -> None:
        self.name = name
        self._files = files
        self._waits = waits
        self._unreadable: dict[int, int] = {}

    @property
    def tip(self) -> int | None:
        """The newest known number; see `Source`."""
        return self._files.newest or None

    @property
    def answered_at(self) -> datetime | None:
        """Time of the last usable response; see `Source`."""
        return self._files.answered_at

    def steps(self, cursor: int | None, updated_at: datetime) -> AsyncGenerator[Step, None]:
        """Walk the feed; see `Source`."""
        return Walk(self.name, self._files, self._waits).steps(cursor, updated_at)

    async def read_again(self, entries: Sequence[LedgerEntry]) -> AsyncGenerator[Step, None]:
        """Read files again; see `Source`."""
        for entry in entries:
            file = await self._files.read(entry.position)
            yield reread(self.name, entry, file, self._unreadable_count(file), self._waits)

    def _unreadable_count(self, file: File) -> int:
        """Count the unreadable responses of a number, except while all files are unreadable."""
        if file.readable or file.absent:
            return self._unreadable.pop(file.number, 0)
        if not self._files.in_doubt:
            self._unreadable[file.number] = self._unreadable.get(file.number, 0) + 1
        return self._unreadable.get(file.number, 0)


def _classify(waits: Waits) -> Classify:
    def classify(answer: Answer) -> Failure | None:
        if answer.status in (200, 404):
            return None
        if answer.status in (403, 429):
            return Failure(f"ban ({answer.status})", waits.ban_s, waits.ban_max_s, is_ban=True)
        return Failure(f"status {answer.status}", waits.outage_s, waits.outage_max_s)

    return classify
