"""The sources of history."""

from collections.abc import Awaitable, Callable
from datetime import date
from typing import Final, NamedTuple

import aiohttp
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history import everef, r2z2
from actors.history.archive import Archive
from actors.shared.feed import HistorySource
from actors.shared.settings import Settings


class Source(NamedTuple):
    """How days are got from a source."""

    download: Callable[[Settings, aiohttp.ClientSession, AsyncEngine, date], Awaitable[Archive]]
    totals: Callable[[Settings, aiohttp.ClientSession, AsyncEngine], Awaitable[dict[date, int]]]
    downloads_at_once: int
    """Of all processes together."""


SOURCES: Final[dict[HistorySource, Source]] = {
    "everef": Source(everef.download, everef.totals, 2),  # eight at once were refused
    "r2z2": Source(r2z2.download, r2z2.totals, 1),
}
