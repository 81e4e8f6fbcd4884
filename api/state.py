"""What the gateway holds open."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from actors.shared.events import Events, open_events
from actors.shared.settings import Settings
from api.database import ReadDatabase, open_reads
from api.health import Health, open_health
from api.tail import Tail, open_tail

PUBLISHING_S = 0.5
"""What telling takes at most beside the names' deadline."""


@dataclass(frozen=True)
class State:
    """Opened once a process; it is GraphQL's context (`info.context`), too."""

    settings: Settings
    database: ReadDatabase
    events: Events
    tail: Tail
    health: Health


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[State]:
    """Open everything, and close it in reverse order.

    Raises:
        ServerUnavailable, Misconfigured: the database can't be read.
    """
    patience_s = settings.names_deadline_ms / 1000 + PUBLISHING_S
    async with (
        open_reads(settings) as database,
        open_events(settings) as events,
        open_tail(database, events, patience_s) as tail,
        open_health(settings, events, tail) as health,
    ):
        yield State(settings, database, events, tail, health)
