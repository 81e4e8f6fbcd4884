"""`killstream queue`: have syncs, refreshes and imports begun now."""

from typing import Annotated

import typer

from actors.shared.settings import PREFIX
from deploy.cli.on_database import run_on_database

app = typer.Typer(
    no_args_is_help=True,
    help="""Have syncs, refreshes and imports begun now, for operators and their crontabs.

    Each is written to the schedule in the database, which the processes read every few seconds, so
    it is safe to run twice: what waits already, and what ESI may not be asked for again yet, is
    left as it is. Prints the counts at the end.

    Example: killstream queue users --full
    """,
)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Change nothing; print the counts.")]


@app.command()
def users(
    force: Annotated[
        bool, typer.Option("--force", help="Also those synchronized within 15 minutes.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="All pages that ESI has, not only what is new.")
    ] = False,
    dry_run: DryRun = False,
) -> None:
    """Synchronize the killmails of users, and of the corporations whose sync is on.

    Example: killstream queue users --force --full
    """
    from deploy.cli.queue_users import queue_users

    due = run_on_database(lambda database: queue_users(database, force, full, dry_run=dry_run))
    typer.echo(f"{_done(dry_run)}: {due.users:,} users, {due.corporations:,} corporations")
    typer.echo(f"left as they are: {due.others:,} that wait, run, or were synchronized just now")


@app.command()
def corporations(dry_run: DryRun = False) -> None:
    """Refresh all corporations that killmails or alliances mention.

    Example: killstream queue corporations --dry-run
    """
    _queue("corporations", dry_run)


@app.command()
def alliances(dry_run: DryRun = False) -> None:
    """Refresh all alliances with their corporations, and the list of all alliances.

    Example: killstream queue alliances
    """
    _queue("alliances", dry_run)


@app.command()
def characters(dry_run: DryRun = False) -> None:
    """Refresh where all characters belong that killmails mention.

    Example: killstream queue characters
    """
    _queue("characters", dry_run)


@app.command()
def types(dry_run: DryRun = False) -> None:
    """Refresh all types of ships and weapons that killmails mention.

    Example: killstream queue types
    """
    _queue("types", dry_run)


@app.command()
def zkillboard(
    entity: Annotated[
        str,
        typer.Argument(metavar="KIND/ID", help="character/ID, corporation/ID or alliance/ID."),
    ],
    dry_run: DryRun = False,
) -> None:
    """Import the history of a character, corporation or alliance from zKillboard.

    One import runs at a time; an import that runs goes on, one that has ended begins anew.

    Example: killstream queue zkillboard corporation/98000001
    """
    from deploy.cli.queue_imports import EntityId, queue_import, read_entity

    try:
        of: EntityId = read_entity(entity)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="KIND/ID") from None
    is_new = run_on_database(lambda database: queue_import(database, of, dry_run=dry_run))
    if is_new:
        typer.echo(f"{_done(dry_run)}: 1 import, of {entity}")
    else:
        typer.echo(f"left as it is: the import of {entity} runs already")


def _queue(name: str, dry_run: bool) -> None:
    from deploy.cli.queue_entities import queue_entities

    counts = run_on_database(lambda database: queue_entities(database, name, dry_run=dry_run))
    typer.echo(f"{_done(dry_run)}: {counts.due:,} {name}")
    typer.echo(f"left as they are: {counts.found - counts.due:,} that wait or are fresh")
    if counts.due:
        typer.echo(f"at most {PREFIX}ESI_REFRESHES_PER_HOUR of them are refreshed in an hour")


def _done(dry_run: bool) -> str:
    return "would be queued" if dry_run else "queued"
