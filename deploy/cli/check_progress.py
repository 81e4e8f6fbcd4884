"""Check all killmails with a progress bar."""

from time import monotonic

from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.check.run import Outcome, check_all
from deploy.cli.process import console


async def check_with_progress(database: AsyncEngine, *, mend: bool, restart: bool) -> Outcome:
    """Check all killmails, and show how many were checked, the rate and the time left."""
    columns = (
        TextColumn("{task.fields[amount]}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("check", total=1.0, amount="")

        began_s = monotonic()

        def show(killmails: int, share: float) -> None:
            per_s = killmails / (monotonic() - began_s)
            bar.update(task, completed=share, amount=f"{killmails:,} killmails, {per_s:,.0f}/s")

        return await check_all(database, mend=mend, restart=restart, on_progress=show)
