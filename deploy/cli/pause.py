"""`killstream pause`: let the messages of queues wait."""

from typing import Annotated

import typer

from actors.shared.queues import Queue

QueuesArgument = Annotated[list[Queue], typer.Argument(help="Queues, without the namespace.")]


def pause(queues: QueuesArgument) -> None:
    """Stop all processes from consuming these queues, until `killstream resume`.

    Every process reads it from the database within two seconds, and it lasts over restarts. What is
    running ends; no message is lost, they wait in the queue. Delayed messages return to it when
    they are due.

    Example: killstream pause esi
    """
    from actors.shared import pauses
    from deploy.cli.on_database import run_on_database

    run_on_database(lambda database: pauses.pause(database, queues))
    typer.echo(f"paused: {', '.join(queues)}; `killstream queues` shows what waits")
