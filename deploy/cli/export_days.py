"""Export days one after the other, with progress; stop on a signal and go on later."""

import asyncio
import time
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.export.day import FORMAT_VERSION, Format, OnProgress, export_day, name_of
from actors.export.manifest import (
    Manifest,
    is_whole,
    open_directory,
    read_manifest,
    write_manifest,
)
from actors.export.read import changed_days, read_feed
from actors.shared.database import reading
from actors.shared.errors import KillstreamError
from deploy.cli.process import console
from deploy.cli.signals import cancel_on_signals


class Stopped(KillstreamError):
    """A signal stopped the export."""

    exit_code = 130


@dataclass
class Done:
    """What an export did."""

    exported: int = 0
    rows: int = 0
    bytes: int = 0
    skipped: int = 0
    sequence: int = 0
    """The lowest one of the days' files: all are exact up to it."""


async def export_days(
    database: AsyncEngine, first: date, last: date, format_: Format, out: Path, *, again: bool
) -> Done:
    """Export the days that aren't up to date, and print a line for each.

    Raises:
        Stopped: SIGINT or SIGTERM came; the day in work is left out.
        Misconfigured: the directory can't be written, or has another database's export.
        CannotWrite: the disk refuses a file.
        Invalid: a stored body isn't a killmail; says which.
    """
    cancel_on_signals()
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    done = Done()
    with open_directory(out):
        async with reading(database) as connection:
            manifest = read_manifest(out, (await read_feed(connection)).feed_id)
        try:
            pending = days if again else await _pending(database, out, manifest, days, format_)
            done.skipped = len(days) - len(pending)
            await _export(database, out, manifest, pending, format_, done)
        except asyncio.CancelledError:
            raise Stopped(
                f"stopped after {done.exported:,} days, which are whole: the same command goes on"
            ) from None
    done.sequence = min(manifest.files[name_of(day, format_)].sequence for day in days)
    return done


async def _pending(
    database: AsyncEngine, out: Path, manifest: Manifest, days: list[date], format_: Format
) -> list[date]:
    """Choose the days whose file isn't whole, or that have changed since."""
    sequences = {
        day: manifest.files[name].sequence
        for day in days
        if is_whole(out, name := name_of(day, format_), manifest, FORMAT_VERSION)
    }
    changed = await changed_days(database, sequences)
    return [day for day in days if day not in sequences or day in changed]


async def _export(
    database: AsyncEngine,
    out: Path,
    manifest: Manifest,
    days: list[date],
    format_: Format,
    done: Done,
) -> None:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[rate]} killmails/s, left"),
        TimeRemainingColumn(),
    )
    began_s = time.monotonic()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("days", total=len(days), rate="-")
        for number, day in enumerate(days, start=1):
            bar.update(task, description=f"{day} ({number} of {len(days)})")
            on_progress = _show_in(bar, task, done, began_s)
            exported = await export_day(database, out, day, format_, on_progress)
            manifest.files[name_of(day, format_)] = exported
            write_manifest(out, manifest)
            done.exported = number
            done.rows += exported.rows
            done.bytes += exported.bytes
            bar.update(task, completed=number)
            left_s = (time.monotonic() - began_s) / number * (len(days) - number)
            console.print(
                f"{day} ({number} of {len(days)}): {exported.rows:,} killmails,"
                f" {exported.bytes / 1e6:,.1f} MB; left: {timedelta(seconds=round(left_s))}"
            )


def _show_in(bar: Progress, task: TaskID, done: Done, began_s: float) -> OnProgress:
    def show(rows: int, total: int) -> None:
        rate = (done.rows + rows) / max(time.monotonic() - began_s, 0.001)
        bar.update(task, completed=done.exported + rows / total, rate=f"{rate:,.0f}")

    return show
