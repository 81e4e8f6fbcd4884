"""The commands that run processes of Killstream, and `migrate`."""

import asyncio
import os
import sys
from contextlib import nullcontext
from typing import Annotated

import typer

from actors.shared.errors import KillstreamError, Misconfigured
from actors.shared.queues import Queue
from actors.shared.settings import PREFIX, Settings
from actors.shared.supervisor import READY, notify
from deploy.cli.process import configure, fail, run
from deploy.cli.shutdown import LIMIT_S, holding_signals
from deploy.contact import check_contact


@holding_signals
def up() -> None:
    """Run everything in this one process, on the configured upstream.

    Servers without a URL in the settings are embedded: a Kafka broker in memory, the actors'
    queues, an SQLite file, the channel for subscriptions. Open http://127.0.0.1:4000/graphql in a
    browser. A crash loses nothing: the next start resumes from the stored position.

    Example: KILLSTREAM_CONTACT=you@example.org killstream up
    """
    from deploy.embedded import run_embedded

    run("up", run_embedded)


@holding_signals
def streams() -> None:
    """Poll the source into Kafka and send references to the actors.

    Any number of processes may run: one of them polls, another takes over when it dies; all
    consume the topic. Requires Kafka, RabbitMQ, Redis and a database in the settings; `just
    services` starts them on this host.

    Example: KILLSTREAM_CONTACT=you@example.org killstream streams
    """

    async def main(settings: Settings, stop: asyncio.Event) -> None:
        from deploy.backlog_metrics import BacklogCollector
        from deploy.metrics import serving_metrics
        from deploy.process_health import ProcessHealth
        from deploy.server_probes import ServerProbes, beside_probes, probe_backlogs

        check_contact(settings, esi=False)
        servers = ServerProbes(settings, probe_backlogs)
        with serving_metrics(settings, ProcessHealth(servers), BacklogCollector(servers)):
            from streams.worker import run_streams

            await run_streams(beside_probes(settings), stop)

    _require("KAFKA_URL", "RABBITMQ_URL", "DATABASE_URL", "REDIS_URL")
    run("streams", main)


@holding_signals
def actors(
    queues: Annotated[
        list[Queue] | None, typer.Option(help="Consume only this queue; repeatable. Default: all.")
    ] = None,
    processes: Annotated[int, typer.Option(min=1, help="Processes to start.")] = 1,
    threads: Annotated[int, typer.Option(min=1, help="Worker threads per process.")] = 8,
    concurrency: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUEUE=N",
            help="Messages of a queue at once, per process; repeatable. Default: characters=10,"
            " corporations=5, alliances=3, types=10. The other queues share --threads.",
        ),
    ] = None,
    prefetch: Annotated[
        list[str] | None,
        typer.Option(
            metavar="QUEUE=N",
            help="Messages of such a queue that a process holds. Default: twice as many.",
        ),
    ] = None,
    parent: Annotated[int | None, typer.Option(hidden=True)] = None,
) -> None:
    """Fetch, persist and publish killmails.

    Start more processes for a queue that grows: `--queues database` for storing, `--queues esi`
    for fetching (all processes share ESI's rate limit). With `--processes 2` or more, the first
    process starts and stops the others; when one of them dies, all end with an error, so that a
    supervisor restarts them.

    Example: killstream actors --queues database --processes 2
    """
    from deploy.children import run_children, stop_when_orphaned
    from deploy.event_loops import end_when_hanging
    from deploy.metrics import serving_group_metrics, serving_metrics
    from deploy.pools import read_pools
    from deploy.process_health import ProcessHealth
    from deploy.server_probes import ServerProbes, leave_to_probes, probe_servers
    from deploy.workers import can_start, running_actors

    try:
        pools = read_pools(concurrency or (), prefetch or ())
    except Misconfigured as error:
        fail(error)

    async def work(settings: Settings, stop: asyncio.Event) -> None:
        check_contact(settings, source=False)
        names = [settings.named(queue) for queue in queues or ()]
        if parent:
            end_when_hanging()
        else:
            leave_to_probes(settings)
        health = ProcessHealth(ServerProbes(settings, probe_servers))
        with nullcontext() if parent else serving_metrics(settings, health):
            async with running_actors(threads, stop, names, pools=pools):
                await (stop_when_orphaned(parent, stop) if parent else stop.wait())

    async def supervise(settings: Settings, stop: asyncio.Event) -> None:
        options = [f"--threads={threads}", *(f"--queues={queue}" for queue in queues or ())]
        options += [f"--concurrency={option}" for option in concurrency or ()]
        options += [f"--prefetch={option}" for option in prefetch or ()]
        command = [sys.executable, "-m", "deploy", "actors", f"--parent={os.getpid()}", *options]
        check_contact(settings, source=False)
        health = ProcessHealth(ServerProbes(settings, probe_servers))
        with serving_group_metrics(settings, health):
            if await can_start(settings, stop):  # an error is reported once, not by each process
                notify(READY)
                await run_children([command] * processes, stop)

    _require("KAFKA_URL", "RABBITMQ_URL", "DATABASE_URL", "REDIS_URL")
    if processes == 1:
        run("actors", work)
    else:
        run("actors", supervise, limit_s=LIMIT_S + 1)  # the processes have the same limit


@holding_signals
def api() -> None:
    """Serve GraphQL, the websocket and REST.

    Reads the database and subscribes to Redis; any number of processes may run. GET /health
    reports the problems of all parts, GET /health/ready whether this process can serve, GET
    /metrics the metrics for Prometheus.

    Example: KILLSTREAM_API_HOST=0.0.0.0 killstream api
    """
    from deploy.gateway import run_gateway

    _require("DATABASE_URL", "REDIS_URL")
    run("api", run_gateway)


def migrate() -> None:
    """Migrate the database to the schema of this version.

    Run it once before the other processes start. For an upgrade stop all processes of the old
    version first: see "Upgrade" in deploy/README.md. Running it again, or several times at once,
    is safe. `killstream up` migrates by itself. Prints the revisions before and after.

    Example: killstream migrate
    """
    from deploy.migrate import migrate as migrate_database

    configured = configure()
    try:
        before, after = asyncio.run(migrate_database(configured))
    except KillstreamError as error:
        fail(error)
    if before == after:
        typer.echo(f"the schema is already at revision {after}")
    else:
        typer.echo(f"migrated the schema from revision {before or 'none'} to {after}")


def demo(
    for_s: Annotated[
        float | None,
        typer.Option("--for", min=20, help="End after so many seconds and print the result."),
    ] = None,
    rate: Annotated[float, typer.Option(min=0.01, help="Killmails per second.")] = 10.0,
    port: Annotated[
        int, typer.Option(min=0, help="Port of the gateway; 0 chooses a free one.")
    ] = 4000,
) -> None:
    """Run the whole system on made-up killmails: upstream, pipeline and a subscriber.

    Sends no request outside this machine and leaves no data. With `--for` the last line is JSON;
    the exit code is 0 when no killmail was lost or duplicated.

    Example: killstream demo --for 30 --rate 100
    """
    from deploy.demo import run_demo

    raise typer.Exit(run_demo(for_s=for_s, rate_per_s=rate, port=port))


def _require(*names: str) -> None:
    """End the command with exit code 2 when the URL of a server that processes share isn't set."""
    missing = [PREFIX + name for name in names if not os.environ.get(PREFIX + name)]
    if missing:
        typer.echo(
            f"killstream: set {', '.join(missing)}: all processes use these servers"
            " (`just services` starts them on this host, `killstream up` needs none)",
            err=True,
        )
        raise typer.Exit(2)
