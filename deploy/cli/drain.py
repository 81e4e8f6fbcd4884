"""`killstream drain`: take nothing in, and finish what is there."""

import time
from typing import Annotated

import typer

from deploy.cli.ages import parse_age


def drain(
    timeout_s: Annotated[
        float,
        typer.Option("--timeout", parser=parse_age, metavar="AGE", help="Such as 90s or 30m."),
    ] = "10m",  # type: ignore[assignment]  # parsed like an argument
    resume: Annotated[
        bool, typer.Option("--resume", help="End the drain: take killmails in again.")
    ] = False,
) -> None:
    """Stop taking killmails in, and wait until queues and ledger are empty.

    The source isn't polled, and no sync or import starts, in any process and over restarts, until
    `--resume`. What was received is stored and published meanwhile; progress is printed. What is
    left at the end is named. Not waited for: killmails that ESI refuses, positions that the source
    didn't have, dead letters. The exit code is 1 when something is left after the timeout. However
    it ends, also with Ctrl-C, the intake stays paused; the last line says how to resume it.

    Example: killstream drain --timeout 5m && killstream status; killstream drain --resume
    """
    from deploy.cli.on_database import run_on_database
    from deploy.cli.process import configure
    from deploy.draining import begin_drain, drained, end_drain, print_left

    if resume:
        run_on_database(end_drain)
        typer.echo("killmails are taken in again")
        return
    began_s, configured = time.monotonic(), configure()
    run_on_database(begin_drain)
    typer.echo("the intake is paused")
    try:
        left = run_on_database(lambda database: drained(configured, database, timeout_s))
        print_left(left, time.monotonic() - began_s)
    finally:  # also after Ctrl-C, or when a server was lost
        typer.echo("nothing is taken in until `killstream drain --resume`")
    raise typer.Exit(0 if left.is_empty else 1)
