"""Load the static universe with a progress bar."""

from pathlib import Path

import aiohttp
from rich.progress import BarColumn, Progress, TaskID, TextColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.errors import Invalid, KillstreamError
from actors.shared.settings import settings
from actors.universe.load import Loaded, OlderArchive, OnProgress, load_from_file, load_from_url
from actors.universe.store import FewerRows
from deploy.cli.process import console


class NotLoaded(KillstreamError):
    """The archive wasn't loaded; says why."""


async def load_universe(database: AsyncEngine, file: Path | None, *, force: bool) -> Loaded:
    """Load from a file or from the URL, and show progress.

    Raises:
        NotLoaded: the archive is wrong, older than what is loaded, or lacks rows.
        KillstreamError: the upstream can't be reached, or a setting is wrong.
    """
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[amount]}")
    with Progress(*columns, console=console, transient=True) as bar:
        on_progress = _show_in(bar)
        try:
            if file is not None:
                return await load_from_file(database, file, force=force, on_progress=on_progress)
            async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
                return await load_from_url(
                    settings(), database, http, force=force, on_progress=on_progress
                )
        except (OlderArchive, FewerRows) as error:
            raise NotLoaded(f"nothing was changed: {error}; --force loads it") from None
        except Invalid as error:
            raise NotLoaded(f"nothing was changed: {error}") from None


def _show_in(bar: Progress) -> OnProgress:
    """Show a bar for each stage, one after the other."""
    tasks: dict[str, TaskID] = {}

    def show(stage: str, done: int, total: int | None) -> None:
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, amount="")
        amount = f"{done / 1e6:.1f} MB" if stage == "download" else ""
        bar.update(tasks[stage], completed=done, total=total, amount=amount)

    return show
