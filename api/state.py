"""The resources of a gateway process."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection
from starlette.applications import Starlette
from starlette.requests import HTTPConnection

from actors.shared.events import Events, open_events
from actors.shared.settings import Settings
from api.budget import Budget
from api.capacity import Capacity
from api.database import ReadDatabase, open_read_database
from api.doors.state import Doors, open_doors
from api.filters.facts import Facts, open_facts
from api.health import Health, open_health
from api.live.engine import Engine, open_engine
from api.static_reads import open_static_data
from api.tail import Tail, open_tail
from api.users.state import Users, open_users, translated_errors
from api.workers.state import Workers, open_workers

PUBLISH_S = 0.5
"""How long publishing takes at most, in addition to the deadline for names."""


@dataclass(frozen=True)
class State:
    """Opened once per process."""

    settings: Settings
    capacity: Capacity
    database: ReadDatabase
    facts: Facts
    events: Events
    tail: Tail
    engine: Engine
    health: Health
    users: Users
    workers: Workers
    doors: Doors


@asynccontextmanager
async def open_state(settings: Settings) -> AsyncIterator[State]:
    """Open all resources; close them in reverse order when the block ends.

    Raises:
        ServerUnavailable: the database doesn't answer.
        Misconfigured: the database refuses the connection.
    """
    unpublished_timeout_s = settings.names_deadline_ms / 1000 + PUBLISH_S
    async with (
        open_read_database(settings) as database,
        open_static_data(database),
        open_facts(database) as facts,
        open_events(settings) as events,
        open_tail(database, events, unpublished_timeout_s) as tail,
        open_engine(tail, facts.subject) as engine,
        open_health(settings, events, tail, engine) as health,
        open_users(settings) as users,
        open_workers(settings, database) as workers,
        open_doors(settings) as doors,
    ):
        capacity = Capacity(Budget(settings.api_cost_per_minute))
        yield State(
            settings, capacity, database, facts, events, tail, engine, health, users, workers, doors
        )


def state_of(connection: HTTPConnection) -> State:
    """Return the resources of the process that serves a request or websocket."""
    state: State = connection.app.state.gateway
    return state


def end_streams(app: Starlette) -> None:
    """End what follows the feed without end; the server calls it before it waits for clients."""
    state: State | None = getattr(app.state, "gateway", None)
    if state is not None:
        state.doors.closing.set()


@asynccontextmanager
async def writing(state: State) -> AsyncIterator[AsyncConnection]:
    """Open a transaction for what users change.

    Raises:
        DatabaseUnavailable: the database is unavailable; nothing was changed.
    """
    with translated_errors():
        async with state.users.database.begin() as connection:
            yield connection
