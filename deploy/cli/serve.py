"""The commands that run something until they are asked to stop."""

import asyncio
import os
import sys
from contextlib import nullcontext
from enum import StrEnum
from typing import Annotated

import typer

from actors.shared.errors import KillstreamError
from actors.shared.settings import PREFIX, Settings
from deploy.cli.process import configure, fail, run
from deploy.cli.shutdown import LIMIT_S
from deploy.contact import check_contact


class Queue(StrEnum):
    """What actor processes can be limited to."""

    DATABASE = "database"
    ESI = "esi"


def up() -> None:
    """Run everything in this one process, on the configured upstream.

    What has no URL in the settings runs inside: an event log in memory, the actors, an SQLite
    file, the push channel. Open http://127.0.0.1:4000/graphql in a browser. A crash loses nothing:
    the next start goes on where the stored killmails end.

    Example: KILLSTREAM_CONTACT=you@example.org killstream up
    """
    from deploy.embedded import run_embedded

    run("up", run_embedded)


def streams() -> None:
    """Poll the source into Kafka and hand references to the actors.

    Start as many as you like: one polls, another takes over when it dies; all share the topic.
    Needs Kafka, RabbitMQ and a database in the settings; `just services` starts them on this host.

    Example: KILLSTREAM_CONTACT=you@example.org killstream streams
    """

    async def main(settings: Settings, stop: asyncio.Event) -> None:
        from deploy.backlog_metrics import BacklogCollector
        from deploy.metrics import serving_metrics

        check_contact(settings, esi=False)
        with serving_metrics(settings, BacklogCollector(settings)):
            from streams.worker import run_streams

            await run_streams(settings, stop)

    _needs("KAFKA_URL", "RABBITMQ_URL", "DATABASE_URL", "REDIS_URL")
    run("streams", main)


def actors(
    queues: Annotated[
        list[Queue] | None, typer.Option(help="Only these queues; again for more. All by default.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes to start.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Units of work at once in each.")] = 8,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Fetch, persist and publish killmails.

    Start more where a queue grows: `--queues database` for storing, `--queues esi` for fetching
    (ESI's budget is shared by all processes, however many). With more than one, the first process
    starts and ends the others; one that dies takes the group down, so let a supervisor start it
    again.

    Example: killstream actors --queues database --processes 2
    """
    from deploy.children import run_children, stop_when_orphaned
    from deploy.metrics import serving_group_metrics, serving_metrics
    from deploy.workers import can_start, running_actors

    async def work(settings: Settings, stop: asyncio.Event) -> None:
        check_contact(settings, source=False)
        names = [settings.named(queue) for queue in queues or ()]
        with nullcontext() if parent else serving_metrics(settings):
            if await can_start(settings, stop):
                async with running_actors(threads, names):
                    await (stop_when_orphaned(parent, stop) if parent else stop.wait())

    async def supervise(settings: Settings, stop: asyncio.Event) -> None:
        options = [f"--threads={threads}", *(f"--queues={queue}" for queue in queues or ())]
        command = [sys.executable, "-m", "deploy", "actors", f"--parent={os.getpid()}", *options]
        check_contact(settings, source=False)
        with serving_group_metrics(settings):
            if await can_start(settings, stop):  # a mistake is said once, not by each process
                await run_children([command] * processes, stop)

    _needs("KAFKA_URL", "RABBITMQ_URL", "DATABASE_URL", "REDIS_URL")
    if processes == 1:
        run("actors", work)
    else:
        run("actors", supervise, limit_s=LIMIT_S + 1)  # the processes have the same limit


def api() -> None:
    """Serve GraphQL, the websocket and REST.

    It asks the database and listens to Redis; it never processes, so start as many as clients need.
    GET /health says what is wrong, GET /health/ready whether it can serve; GET /metrics is for
    Prometheus.

    Example: KILLSTREAM_API_HOST=0.0.0.0 killstream api
    """
    from deploy.gateway import run_gateway

    _needs("DATABASE_URL", "REDIS_URL")
    run("api", run_gateway)


def migrate() -> None:
    """Bring the database to the newest schema. Safe to run again.

    Run it once before the other processes start. For an update stop all processes of the old
    version first: see "Upgrade" in deploy/README.md. Several at once do no harm.
    `killstream up` does it by itself. It says from which revision to which it went.

    Example: killstream migrate
    """
    from deploy.migrate import migrate as bring_up

    configured = configure()
    try:
        before, after = asyncio.run(bring_up(configured))
    except KillstreamError as error:
        fail(error)
    if before == after:
        typer.echo(f"the schema is at {after} already")
    else:
        typer.echo(f"the schema went from {before or 'nothing'} to {after}")


def demo(
    for_s: Annotated[
        float | None,
        typer.Option("--for", min=20, help="End by itself after so many seconds, with a verdict."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Killmails a second.")] = 10.0,
    port: Annotated[
        int, typer.Option(min=0, help="Port of the gateway; 0 takes a free one.")
    ] = 4000,
) -> None:
    """Show the whole system on made-up killmails: upstream, pipeline and a subscriber.

    Nothing outside this machine is asked and nothing is kept. The last line of `--for` is JSON;
    the exit code is 0 when nothing was lost and nothing came twice.

    Example: killstream demo --for 30 --rate 100
    """
    from deploy.demo import run_demo

    raise typer.Exit(run_demo(for_s=for_s, rate_per_s=rate, port=port))


def _needs(*names: str) -> None:
    """Parts that run apart only meet at servers: end the command when one isn't named."""
    missing = [PREFIX + name for name in names if not os.environ.get(PREFIX + name)]
    if missing:
        typer.echo(
            f"killstream: set {', '.join(missing)}: processes meet at these servers"
            " (`just services` gives them on this host, `killstream up` needs none)",
            err=True,
        )
        raise typer.Exit(2)
