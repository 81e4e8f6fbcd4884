"""`killstream resume`: consume paused queues again."""

import typer

from deploy.cli.pause import QueuesArgument


def resume(queues: QueuesArgument) -> None:
    """Let all processes consume these queues again.

    They read it from the database within two seconds. A queue that isn't paused is left as it is.

    Example: killstream resume esi
    """
    from actors.shared import pauses
    from deploy.cli.on_database import run_on_database

    run_on_database(lambda database: pauses.resume(database, queues))
    typer.echo(f"resumed: {', '.join(queues)}")
