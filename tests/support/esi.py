"""The ESI client against a stand-in, and what actors sent while it was used."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import dramatiq
from aiohttp import web
from dramatiq.brokers.stub import StubBroker

from actors.broker import broker
from actors.esi.budget import Budget
from actors.esi.client import Esi
from actors.esi.redis_budget import open_budget
from actors.resources import Resources, open_resources
from actors.shared.settings import Settings
from deploy.eventlog import open_event_log
from deploy.migrate import migrate
from deploy.standin.faults import Faults
from deploy.standin.server import Standin, StandinOptions, start_standin

Say = Callable[[web.Request], Awaitable[web.StreamResponse]]


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
    upstream.playback.faults = Faults(**faults)


@asynccontextmanager
async def esi_client(
    upstream: Standin, budget: Budget | None = None, **settings: Any
) -> AsyncIterator[Esi]:
    """Open a client; with a budget of its own in this process, unless one is given."""
    chosen = Settings(esi_url=upstream.url, **settings)
    async with aiohttp.ClientSession() as http:
        yield Esi(chosen, http, budget or open_budget(chosen, None))


@asynccontextmanager
async def esi_that_says(say: Say) -> AsyncIterator[Esi]:
    """Open a client of a server that answers everything in one way."""
    async with server_that_says(say) as url, aiohttp.ClientSession() as http:
        settings = Settings(esi_url=url)
        yield Esi(settings, http, open_budget(settings, None))


@asynccontextmanager
async def server_that_says(say: Say) -> AsyncIterator[str]:
    """Serve everything in one way; give the URL."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", say)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@asynccontextmanager
async def opened_resources(settings: Settings) -> AsyncIterator[Resources]:
    """Open what actors stand on, with an event log of its own and a migrated database."""
    async with open_event_log() as (kafka_url, _):
        chosen = settings.model_copy(update={"kafka_url": kafka_url})
        await migrate(chosen)
        async with open_resources(chosen) as opened:
            yield opened


async def run(unit: dramatiq.Actor[..., Any], *args: Any) -> None:
    """Run a unit of work here and now, as its worker would."""
    await inspect.unwrap(unit.fn)(*args)


def sent(queue: str) -> list[dramatiq.Message[Any]]:
    """Take what was sent to a queue and not taken yet; delayed messages come last."""
    assert isinstance(broker, StubBroker)
    messages = []
    for name in (queue, f"{queue}.DQ"):
        waiting = broker.queues[name]
        while not waiting.empty():
            messages.append(dramatiq.Message.decode(waiting.get_nowait()))
            waiting.task_done()
    return messages
