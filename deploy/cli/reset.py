"""`killstream reset queues`: drop the messages of our queues."""

import asyncio
from typing import TYPE_CHECKING, Annotated, Final

import typer

from actors.shared.errors import KillstreamError, Misconfigured, ServerUnavailable
from actors.shared.settings import PREFIX, Settings
from deploy.cli.process import configure, fail

if TYPE_CHECKING:
    from actors.shared.health.queues import QueueReport

READ_S: Final = 10.0
CONFIRMATION: Final = "reset"

app = typer.Typer(
    no_args_is_help=True,
    help="""Drop what Killstream can make again.

    Example: killstream reset queues
    """,
)


@app.callback()
def _group() -> None:
    """Make `queues` a command of its own."""


@app.command()
def queues(
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask, for scripts.")] = False,
) -> None:
    """Drop all messages of our queues, with the delayed ones and the dead letters.

    Asks first, with the number of messages. Their killmails aren't lost: they are in the ledger,
    which sends them again within seconds. Messages that a process holds aren't dropped; pause the
    queues before to have them, too. Other queues of the same RabbitMQ aren't touched.

    Example: killstream pause esi && killstream reset queues --yes
    """
    from deploy.cli.on_database import run_on_database

    configured = configure()
    try:
        report = _inspect(configured)
        _confirm(report, yes=yes)
        run_on_database(_check)  # before anything is dropped: the ledger is what sends it again
        _purge(configured)
    except KillstreamError as error:
        fail(error)


def _purge(settings: Settings) -> None:
    """Drop the messages; what was dropped is sent again however far this comes."""
    from deploy.cli.on_database import run_on_database
    from deploy.purge import purge
    from streams.ledger import recall_all

    try:
        for name, count in purge(settings):
            typer.echo(f"dropped {count:,} from {name}")
    finally:
        recalled = run_on_database(recall_all)
        typer.echo(f"the ledger sends {recalled:,} killmails again")


def _inspect(settings: Settings) -> "QueueReport":
    from actors.shared.health.queues import inspect_queues

    if not settings.rabbitmq_url:
        raise Misconfigured(
            f"{PREFIX}RABBITMQ_URL is not set: the queues are in the process of `killstream up`;"
            " restart it, and the ledger sends their killmails again"
        )
    report = asyncio.run(inspect_queues(settings, limit_s=READ_S))
    if "rabbitmq" in report.unknown:
        raise ServerUnavailable(f"RabbitMQ didn't answer: {report.unknown['rabbitmq']}")
    return report


def _confirm(report: "QueueReport", *, yes: bool) -> None:
    for queue in report.queues:
        held = f", and {queue.unacked:,} more that processes hold" if queue.unacked else ""
        typer.echo(f"{queue.name}: {queue.ready or 0:,} messages would be dropped{held}")
    typer.echo("Their killmails are in the ledger, which sends them again.")
    if not yes and typer.prompt(f"Type {CONFIRMATION} to drop them") != CONFIRMATION:
        raise KillstreamError("nothing was dropped")


async def _check(_database: object) -> None:
    """Do nothing: the database is there and has our tables."""
