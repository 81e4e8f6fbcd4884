"""The feed, open: the walk along its files, and the reading again of what the ledger holds."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from actors.shared.settings import Settings
from streams.sources.r2z2.files import File, Files
from streams.sources.r2z2.reread import reread
from streams.sources.r2z2.walk import Walk
from streams.sources.step import LedgerEntry, Step
from streams.sources.upstream import Answer, Judge, Trouble, open_upstream
from streams.sources.waits import Waits

SERIAL_UP_TO_PER_S: Final = 15
"""Up to the real upstream's limit one request at a time, as its own clients do."""
IN_FLIGHT: Final = 6
"""Above it, so many at once while there is something to catch up with."""


def r2z2_name(settings: Settings) -> str:
    """Name the feed, as references and cursors do."""
    return f"r2z2:{urlsplit(settings.r2z2_url).netloc.rpartition('@')[2]}"


@asynccontextmanager
async def open_r2z2(settings: Settings, waits: Waits) -> AsyncIterator["R2z2"]:
    """Open the feed.

    Raises:
        Misconfigured: the upstream is a real one and KILLSTREAM_CONTACT is missing.
    """
    per_s = settings.r2z2_requests_per_s
    in_flight = 1 if per_s <= SERIAL_UP_TO_PER_S else IN_FLIGHT
    judge = _judge(waits)
    async with open_upstream(settings, settings.r2z2_url, per_s, waits, judge) as upstream:
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
        """The newest number that is known to exist; see `Source`."""
        return self._files.newest or None

    @property
    def answered_at(self) -> datetime | None:
        """When the upstream gave the last answer of use; see `Source`."""
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
        """Count the unreadable answers of a number, but none while no file is readable."""
        if file.readable or file.absent:
            return self._unreadable.pop(file.number, 0)
        if not self._files.in_doubt:
            self._unreadable[file.number] = self._unreadable.get(file.number, 0) + 1
        return self._unreadable.get(file.number, 0)


def _judge(waits: Waits) -> Judge:
    def judge(answer: Answer) -> Trouble | None:
        if answer.status in (200, 404):
            return None
        if answer.status in (403, 429):
            return Trouble(f"ban ({answer.status})", waits.ban_s, waits.ban_most_s)
        return Trouble(f"status {answer.status}", waits.outage_s, waits.outage_most_s)

    return judge
