"""Compute the snapshots of one day, or of all that have changed."""

from datetime import date, timedelta

from rich.progress import Progress
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import reading
from actors.snapshots.count import count_day
from actors.snapshots.days import changed_days
from actors.snapshots.take import Taken, take_day
from deploy.cli.process import console


async def snapshot_days(database: AsyncEngine, day: date | None, *, dry_run: bool) -> list[Taken]:
    """Compute, and show progress; with `dry_run` only count."""
    if day is None:
        async with reading(database) as connection:
            days = list((await connection.scalars(changed_days(again=timedelta()))).all())
    else:
        days = [day]
    taken = []
    with Progress(console=console, transient=True) as progress:
        for at in progress.track(days, description="days"):
            taken.append(await (_count if dry_run else take_day)(database, at))
    return taken


async def _count(database: AsyncEngine, day: date) -> Taken:
    counted = await count_day(database, day)
    return Taken(len(counted.alliances), len(counted.corporations))
