"""Start and end of every long-running command."""

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Final, NoReturn

import typer
import uvloop
from rich.console import Console

from actors.shared.cancellation import cancel_and_wait
from actors.shared.counts import counts
from actors.shared.errors import KillstreamError, Misconfigured
from actors.shared.settings import Settings, masked, settings
from actors.shared.supervisor import report_alive
from deploy.cli.shutdown import LIMIT_S, Shutdown, hold_signals
from deploy.event_loops import until_actors_answer
from deploy.log import set_up_logs

CANCEL_S: Final = 0.2
"""Interval of repeated cancellations of the tasks that libraries leave at the end."""
COLLECT_AFTER: Final = 50_000
"""How many more objects there are before Python looks for cycles of them.

A batch of killmails makes tens of thousands and hardly a cycle: with Python's 700 an actor spends
a fifth of its time on that.
"""

console = Console(stderr=True, highlight=False)


def run(
    what: str,
    main: Callable[[Settings, asyncio.Event], Awaitable[None]],
    limit_s: float = LIMIT_S,
) -> None:
    """Run `main` on uvloop until it returns, or until SIGINT or SIGTERM sets its event.

    Prints the command and its servers at the start, and its counts at the end. A missing or wrong
    setting ends the command with exit code 2 and a message with the correction. Once the event is
    set the process ends within `limit_s`, with exit code 1 if parts of it haven't finished.
    """
    hold_signals()
    configured = configure()
    print_servers(what, configured)

    async def until_stopped() -> None:
        if task := asyncio.current_task():
            task.set_name(what)
        stop = asyncio.Event()
        shutdown = Shutdown(what, stop, limit_s)
        shutdown.watch()
        alive = asyncio.create_task(report_alive(until_actors_answer))
        try:
            await main(configured, stop)
        finally:
            shutdown.begin()
            alive.cancel()
            await cancel_and_wait(*asyncio.all_tasks() - {asyncio.current_task()}, retry_s=CANCEL_S)

    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(until_stopped())
    except (KillstreamError, BaseExceptionGroup) as error:
        fail(error)
    finally:
        console.print(f"{what}: " + ", ".join(f"{k} {v:g}" for k, v in counts().items()))


def configure() -> Settings:
    """Prepare the process, read the settings and set up logs.

    Ends the command if a setting is wrong.
    """
    gc.set_threshold(COLLECT_AFTER)
    try:
        configured = settings()
    except Misconfigured as error:
        fail(error)
    set_up_logs(configured)
    return configured


def fail(error: BaseException) -> NoReturn:
    """Print the error's message and end the command with the error's exit code.

    Raises:
        BaseExceptionGroup: the group has no `KillstreamError`.
    """
    if isinstance(error, BaseExceptionGroup):
        ours, _ = error.split(KillstreamError)
        if ours is None:
            raise error
        fail(ours.exceptions[0])
    console.print(f"killstream: {error}", soft_wrap=True)
    raise typer.Exit(getattr(error, "exit_code", 1))


def print_servers(what: str, settings: Settings) -> None:
    """Print the command and the addresses of its servers; passwords are masked."""
    console.print(f"killstream {what}")
    for name, address in servers(settings).items():
        console.print(f"  {name:<9} {address}", soft_wrap=True)


def servers(settings: Settings) -> dict[str, str]:
    """Return the addresses of the configured servers; passwords are masked."""
    upstream = {"r2z2": settings.r2z2_url, "redisq": settings.redisq_url, "none": "-"}
    return {
        "source": f"{settings.source} {masked(upstream[settings.source])}",
        "esi": masked(settings.esi_url),
        "kafka": settings.kafka_bootstrap or "embedded: a broker in memory",
        "rabbitmq": masked(settings.rabbitmq_url) or "embedded in this process",
        "database": masked(settings.database_dsn),
        "redis": masked(settings.redis_url) or "embedded in this process",
    }
