"""`killstream universe load`: load the static universe now."""

from pathlib import Path
from typing import Annotated

import typer

from deploy.cli.on_database import run_on_database

app = typer.Typer(
    no_args_is_help=True,
    help="""Load types, solar systems and so on from CCP's archive of static data.

    Running processes load it by themselves, at the first start and then once a day.

    Example: killstream universe load
    """,
)


@app.callback()
def _group() -> None:
    """Make `load` a command of its own."""


@app.command()
def load(
    file: Annotated[
        Path | None,
        typer.Option(
            help="A local archive: JSON Lines in a zip. Default: the one at KILLSTREAM_SDE_URL."
        ),
    ] = None,
    force: Annotated[
        bool,
        typer.Option(
            "--force", help="Also if it was loaded before, is older, or has much fewer rows."
        ),
    ] = False,
) -> None:
    """Load the static universe, and print the number of rows.

    Downloads the archive only if it has changed. Safe to run twice, and beside running processes:
    the rows are replaced in one transaction, and nothing else waits for it. After an error what was
    loaded before stays. A local archive is for hosts that can't reach CCP's.

    Example: killstream universe load --file eve-online-static-data-3000000-jsonl.zip
    """
    from deploy.cli.universe_load import load_universe

    loaded = run_on_database(lambda database: load_universe(database, file, force=force))
    build = "unknown build" if loaded.build_number is None else f"build {loaded.build_number}"
    if not loaded.is_new:
        typer.echo(f"up to date: {build}")
        return
    for table, count in loaded.rows.items():
        typer.echo(f"{table:<20} {count:>8,}")
    typer.echo(f"loaded: {build}, {loaded.changed:,} rows changed")
