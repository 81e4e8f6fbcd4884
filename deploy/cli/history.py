"""`killstream history import`: import killmails of the past by days, from archives."""

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Final, Literal

import typer

from deploy.cli.on_database import run_on_database

if TYPE_CHECKING:
    from deploy.cli.history_days import Outcome

FIRST: Final = datetime(2007, 12, 5, tzinfo=UTC)
"""The first day of which killmails are known."""

app = typer.Typer(
    no_args_is_help=True,
    help="""Import killmails of the past, by days, from archives of others.

    Example: killstream history import --from 2026-01-01
    """,
)


@app.callback()
def _group() -> None:
    """Make `import` a command of its own."""


@app.command("import")
def import_(
    first: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day (UTC).")
    ] = FIRST,
    last: Annotated[
        datetime | None,
        typer.Option(
            "--to", formats=["%Y-%m-%d"], help="The last day, imported, too. Default: yesterday."
        ),
    ] = None,
    source: Annotated[
        Literal["everef", "r2z2"],
        typer.Option(help="EVE Ref's archives, or the history of zKillboard's R2Z2."),
    ] = "everef",
    again: Annotated[
        bool, typer.Option("--again", help="Also days that were imported and haven't changed.")
    ] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say how much would be imported.")
    ] = False,
    detach: Annotated[
        bool,
        typer.Option("--detach", help="Request the days and end: running processes import them."),
    ] = False,
) -> None:
    """Import all killmails of each day (UTC), newest day first, and show progress.

    Safe to run twice, at once in several processes, and beside the live feed; an interrupted import
    goes on where it was, by day. What is stored already stays as it is. A day that brought
    killmails is one entry of the feed, `imported`; its killmails have none of their own. Days that
    were imported are skipped unless the source has another number of killmails now.

    With RabbitMQ the running actors import the days (queue `history`): this command requests them
    and shows progress, and Ctrl-C ends only the display. Without it this process imports them.

    Exit code 1 when a day failed.

    Example: killstream history import --from 2025-01-01 --to 2025-12-31
    """
    first_day = first.date()
    yesterday = datetime.now(UTC).date() - timedelta(days=1)
    last_day = last.date() if last else yesterday
    if first_day > last_day:
        raise typer.BadParameter(f"{first_day} is after --to {last_day}", param_hint="--from")
    if last_day > yesterday:
        raise typer.BadParameter(f"{last_day} isn't over yet", param_hint="--to")
    from deploy.cli.history_days import import_days, plan_days

    if dry_run:
        plan = run_on_database(lambda database: plan_days(database, first_day, last_day, source))
        typer.echo(
            f"{source} has {plan.killmails:,} killmails of {plan.days:,} days from {first_day} to"
            f" {last_day}; {plan.done:,} of the days were imported before"
        )
        return
    outcome = run_on_database(
        lambda database: import_days(
            database, first_day, last_day, source, again=again, detach=detach
        )
    )
    _print(outcome, detach=detach)
    if outcome.failed:
        raise typer.Exit(1)


def _print(outcome: "Outcome", *, detach: bool) -> None:
    if detach:
        typer.echo(f"requested: {outcome.requested:,} days; `killstream history import` shows them")
        return
    typer.echo(
        f"imported: {outcome.done:,} days; {outcome.added:,} killmails were added,"
        f" {outcome.rejected:,} rejected"
    )
    if outcome.waiting:
        typer.echo(f"{outcome.waiting:,} days are tried again later: {outcome.reason}")
    if outcome.failed:
        typer.echo(f"{outcome.failed:,} days failed, for example {outcome.failure}")
