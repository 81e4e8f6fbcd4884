"""`killstream snapshot`: compute daily snapshots now."""

from datetime import UTC, date, datetime
from typing import Annotated

import typer

from deploy.cli.on_database import run_on_database
from deploy.cli.queue import DryRun

app = typer.Typer(
    no_args_is_help=True,
    help="""Compute daily snapshots now, for operators and their crontabs. Safe to run twice.

    One pass over a day's killmails computes those of alliances and of corporations. Members are
    what ESI has said on that day; they are never filled in afterwards.

    Example: killstream snapshot alliances --day 2026-11-26
    """,
)

Day = Annotated[
    datetime | None,
    typer.Option(formats=["%Y-%m-%d"], help="This day (UTC). Default: all that have changed."),
]


@app.command()
def alliances(day: Day = None, dry_run: DryRun = False) -> None:
    """Compute the days whose killmails have changed, and print the counts of alliances.

    Example: killstream snapshot alliances
    """
    _snapshot(day, dry_run, "alliances")


@app.command()
def corporations(day: Day = None, dry_run: DryRun = False) -> None:
    """Compute the days whose killmails have changed, and print the counts of corporations.

    Example: killstream snapshot corporations --day 2026-11-26 --dry-run
    """
    _snapshot(day, dry_run, "corporations")


def _snapshot(day: datetime | None, dry_run: bool, of: str) -> None:
    from deploy.cli.snapshot_days import snapshot_days

    chosen: date | None = day.date() if day else None
    if chosen and chosen > datetime.now(UTC).date():
        raise typer.BadParameter(f"{chosen} is to come", param_hint="--day")
    taken = run_on_database(lambda database: snapshot_days(database, chosen, dry_run=dry_run))
    number = sum(getattr(one, of) for one in taken)
    verb = "would be computed" if dry_run else "computed"
    typer.echo(f"{verb}: {len(taken):,} days, {number:,} snapshots of {of}")
