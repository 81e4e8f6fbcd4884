"""The ESI client against a stand-in, and what actors sent while it was used."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import dramatiq
from dramatiq.brokers.stub import StubBroker
from sqlalchemy import insert

from actors.broker import broker
from actors.budget import Budget, open_budget
from actors.esi import Esi
from actors.resources import Resources, open_resources
from actors.shared.settings import Settings
from actors.shared.tables import NAMES
from deploy.eventlog import open_event_log
from deploy.migrate import migrate
from deploy.standin.faults import Faults
from deploy.standin.server import Standin, StandinOptions, start_standin


@asynccontextmanager
async def standin(killmails: int = 200, **options: Any) -> AsyncIterator[Standin]:
    """Serve made-up killmails."""
    started = await start_standin(StandinOptions(synthetic=killmails, **options))
    try:
        yield started
    finally:
        await started.stop()


def set_faults(upstream: Standin, **faults: Any) -> None:
    """Replace the switches of a running stand-in."""
    upstream.play.faults = Faults(**faults)


@asynccontextmanager
async def esi_client(
    upstream: Standin, budget: Budget | None = None, **settings: Any
) -> AsyncIterator[Esi]:
    """Open a client; with a budget of its own in this process, unless one is given."""
    chosen = Settings(esi_url=upstream.url, **settings)
    async with aiohttp.ClientSession() as http:
        yield Esi(chosen, http, budget or open_budget(chosen, None))


@asynccontextmanager
async def opened_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open what actors stand on, with an event log of its own and a migrated database."""
    async with open_event_log() as (kafka_url, _):
        chosen = settings.model_copy(update={"kafka_url": kafka_url})
        await migrate(chosen)
        async with open_resources(chosen) as opened:
            yield opened
