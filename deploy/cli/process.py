"""How every long-running command starts and ends."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from typing import NoReturn

import typer
import uvloop
from rich.console import Console

from actors.shared.counts import counts
from actors.shared.errors import KillstreamError, Misconfigured
from actors.shared.settings import Settings, masked, settings
from deploy.log import set_up_logs

console = Console(stderr=True, highlight=False)


def run(what: str, main: Callable[[Settings, asyncio.Event], Awaitable[None]]) -> None:
    """Run `main` on uvloop until it returns or SIGINT or SIGTERM sets its event.

    Says at the start what runs and with which servers, at the end what was done. A setting that
    is missing or wrong ends the command with code 2 and a sentence that says what to do.
    """
    configured = configure()
    introduce(what, configured)

    async def until_signal() -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()
        for signum in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(signum, stop.set)
        await main(configured, stop)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_signal())
    except* KillstreamError as group:
        fail(group.exceptions[0])
    finally:
        console.print(f"{what}: " + ", ".join(f"{k} {v:g}" for k, v in counts().items()))


def configure() -> Settings:
    """Read the settings and set up logs, or end the command with what is wrong."""
    try:
        configured = settings()
    except Misconfigured as error:
        fail(error)
    set_up_logs(configured)
    return configured


def fail(error: BaseException) -> NoReturn:
    """End the command with a sentence: settings, servers or the upstream don't allow it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    console.print(f"killstream: {error}", soft_wrap=True)
    raise typer.Exit(getattr(error, "exit_code", 1))


def introduce(what: str, settings: Settings) -> None:
    """Say what runs and with which servers, without secrets."""
    console.print(f"killstream {what}")
    for name, place in servers(settings).items():
        console.print(f"  {name:<9} {place}")


def servers(settings: Settings) -> dict[str, str]:
    """Name the servers that the settings choose; passwords are hidden."""
    upstream = {"r2z2": settings.r2z2_url, "redisq": settings.redisq_url, "none": "-"}
    return {
        "source": f"{settings.source} {masked(upstream[settings.source])}",
        "esi": masked(settings.esi_url),
        "kafka": settings.kafka_bootstrap or "a broker of its own, in memory",
        "rabbitmq": masked(settings.rabbitmq_url) or "inside this process",
        "database": masked(settings.database_dsn),
        "redis": masked(settings.redis_url) or "inside this process",
    }
