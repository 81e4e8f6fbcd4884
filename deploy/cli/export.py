"""`killstream export`: write stored killmails to files, by day."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from deploy.cli.on_database import run_on_database


def export(
    first: Annotated[
        datetime, typer.Option("--from", formats=["%Y-%m-%d"], help="The first day (UTC).")
    ],
    last: Annotated[
        datetime, typer.Option("--to", formats=["%Y-%m-%d"], help="The last day, exported, too.")
    ],
    format_: Annotated[
        Literal["parquet", "ndjson"], typer.Option("--format", help="See streams/README.md.")
    ] = "parquet",
    out: Annotated[Path, typer.Option(help="The directory; it is created.")] = Path("export"),
    again: Annotated[
        bool, typer.Option("--again", help="Also days that are whole and haven't changed.")
    ] = False,
) -> None:
    """Write the killmails of each day (UTC) to a file, DAY.parquet or DAY.ndjson.

    A file appears when it is whole. Run the same command again after an interruption: days that are
    whole are skipped, and days with killmails that were added or updated since are written anew. A
    day without killmails has a file without rows. Killmails whose publication is delayed aren't
    exported. manifest.json has each file's rows, bytes and SHA-256, and the feed's sequence up to
    which the file is exact: follow the feed after the sequence that is printed at the end.

    Example: killstream export --from 2026-11-01 --to 2026-11-26 --format parquet --out export
    """
    first_day, last_day = first.date(), last.date()
    if first_day > last_day:
        raise typer.BadParameter(f"{first_day} is after --to {last_day}", param_hint="--from")
    if last_day > datetime.now(UTC).date():
        raise typer.BadParameter(f"{last_day} is to come", param_hint="--to")
    from deploy.cli.export_days import export_days

    done = run_on_database(
        lambda database: export_days(database, first_day, last_day, format_, out, again=again)
    )
    typer.echo(
        f"exported: {done.exported:,} days, {done.rows:,} killmails, {done.bytes / 1e6:,.1f} MB;"
        f" up to date before: {done.skipped:,} days"
    )
    typer.echo(f"{out} is exact up to sequence {done.sequence}: follow the feed after it")
