"""The `killstream` command: one function per command, which imports what it needs when it runs."""

from importlib import metadata
from typing import Annotated

import typer

from deploy.cli import (
    check,
    completeness,
    dead,
    diagnose,
    dictionary,
    drain,
    export,
    history,
    keys,
    pause,
    queue,
    queues,
    reset,
    resume,
    serve,
    settings,
    snapshot,
    status,
    tail,
    universe,
    users,
)
from deploy.cli.rejected import rejected
from deploy.cli.standin import standin

app = typer.Typer(
    name="killstream",
    epilog="Settings are environment variables, KILLSTREAM_*: see deploy/README.md.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,
)

RUN, INSPECT, DEVELOP = "Run", "Inspect and repair", "Develop"
OPERATE = "Operate the queues"
app.command(rich_help_panel=RUN)(serve.up)
app.command(rich_help_panel=RUN)(serve.streams)
app.command(rich_help_panel=RUN)(serve.actors)
app.command(rich_help_panel=RUN)(serve.api)
app.command(rich_help_panel=RUN)(serve.migrate)
app.command(rich_help_panel=INSPECT)(status.status)
app.command(rich_help_panel=INSPECT)(tail.tail)
app.command(rich_help_panel=INSPECT)(diagnose.diagnose)
app.command(rich_help_panel=INSPECT)(check.check)
app.command(rich_help_panel=INSPECT)(completeness.completeness)
app.add_typer(dictionary.app, name="dictionary", rich_help_panel=INSPECT)
app.add_typer(rejected, rich_help_panel=INSPECT)
app.add_typer(dead.app, name="dead", rich_help_panel=INSPECT)
app.command(rich_help_panel=INSPECT)(export.export)
app.command(rich_help_panel=INSPECT)(settings.settings)
app.add_typer(users.app, name="users", rich_help_panel=INSPECT)
app.add_typer(keys.app, name="keys", rich_help_panel=RUN)
app.add_typer(history.app, name="history", rich_help_panel=RUN)
app.add_typer(universe.app, name="universe", rich_help_panel=RUN)
app.command(rich_help_panel=OPERATE)(queues.queues)
app.add_typer(queue.app, name="queue", rich_help_panel=OPERATE)
app.add_typer(snapshot.app, name="snapshot", rich_help_panel=OPERATE)
app.command(rich_help_panel=OPERATE)(pause.pause)
app.command(rich_help_panel=OPERATE)(resume.resume)
app.command(rich_help_panel=OPERATE)(drain.drain)
app.add_typer(reset.app, name="reset", rich_help_panel=OPERATE)
app.command(rich_help_panel=DEVELOP)(serve.demo)
app.command(rich_help_panel=DEVELOP)(standin)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"killstream {metadata.version('killstream')}")
        raise typer.Exit


@app.callback()
def killstream(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version."
        ),
    ] = False,
) -> None:
    """Every killmail of EVE Online: by GraphQL, as Kafka topics and in a database."""
