"""How every long-running command starts and ends."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import NoReturn

import typer
import uvloop
from rich.console import Console

from actors.shared.counts import counts
from actors.shared.errors import KillstreamError, Misconfigured
from actors.shared.settings import Settings, masked, settings
from deploy.cli.shutdown import LIMIT_S, Shutdown, hold_signals
from deploy.log import set_up_logs

console = Console(stderr=True, highlight=False)


def run(
    what: str,
    main: Callable[[Settings, asyncio.Event], Awaitable[None]],
    limit_s: float = LIMIT_S,
) -> None:
    """Run `main` on uvloop until it returns or SIGINT or SIGTERM sets its event.

    Says at the start what runs and with which servers, at the end what was done. A setting that
    is missing or wrong ends the command with code 2 and a sentence that says what to do. Once
    the event is set the process ends within `limit_s`, with code 1 when parts are left.
    """
    hold_signals()
    configured = configure()
    introduce(what, configured)

    async def until_stopped() -> None:
        if task := asyncio.current_task():
            task.set_name(what)
        stop = asyncio.Event()
        shutdown = Shutdown(what, stop, limit_s)
        shutdown.watch()
        try:
            await main(configured, stop)
        finally:
            shutdown.begin()

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_stopped())
    except (KillstreamError, BaseExceptionGroup) as error:
        fail(error)
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
    """End the command with a sentence and the code that the error carries.

    Raises:
        BaseExceptionGroup: there is no error of ours in it.
    """
    if isinstance(error, BaseExceptionGroup):
        ours, _ = error.split(KillstreamError)
        if ours is None:
            raise error
        fail(ours.exceptions[0])
    console.print(f"killstream: {error}", soft_wrap=True)
    raise typer.Exit(getattr(error, "exit_code", 1))


def introduce(what: str, settings: Settings) -> None:
    """Say what runs and with which servers, without secrets."""
    console.print(f"killstream {what}")
    for name, place in servers(settings).items():
        console.print(f"  {name:<9} {place}", soft_wrap=True)


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
