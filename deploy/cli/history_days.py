"""Request days of history, import them or watch others import them, and show progress."""

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Final

import aiohttp
from rich.progress import BarColumn, Progress, TextColumn
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.history.day import import_leased
from actors.history.schedule import (
    Standing,
    first_failure,
    lease_next,
    read_standing,
    request_days,
)
from actors.history.sources import SOURCES
from actors.shared.cancellation import cancel_and_wait
from actors.shared.errors import KillstreamError, RetryLater, ServerUnavailable
from actors.shared.feed import HistorySource
from actors.shared.settings import settings
from deploy.cli.process import console
from deploy.cli.signals import cancel_on_signals

SHOW_EVERY_S: Final = 1.0
PRINT_EVERY_S: Final = 10.0
"""The same where there is no terminal."""
WAITS_FOR: Final = timedelta(minutes=2)
"""How long the command waits for a day that was postponed."""


class Stopped(KillstreamError):
    """A signal stopped the command."""

    exit_code = 130


@dataclass(frozen=True)
class Plan:
    """What an import would take."""

    days: int
    killmails: int
    done: int
    """Days that were imported before."""


@dataclass(frozen=True)
class Outcome:
    """What was imported of the days asked for."""

    requested: int
    standing: Standing
    failure: str

    @property
    def done(self) -> int:
        """Days that are imported."""
        return self.standing.days.get("done", 0)

    @property
    def failed(self) -> int:
        """Days that were given up."""
        return self.standing.days.get("failed", 0)

    @property
    def waiting(self) -> int:
        """Days that are tried again later."""
        return self.standing.days.get("waiting", 0)

    @property
    def added(self) -> int:
        """Killmails that these imports stored."""
        return self.standing.added

    @property
    def rejected(self) -> int:
        """What isn't a killmail."""
        return self.standing.rejected

    @property
    def reason(self) -> str:
        """Why days wait."""
        return self.standing.reason or "they aren't begun yet"


async def plan_days(database: AsyncEngine, first: date, last: date, source: HistorySource) -> Plan:
    """Count what the source has of the days."""
    async with _http() as http:
        totals = await _totals(database, http, first, last, source)
    standing = await read_standing(database, first, last)
    return Plan(len(totals), sum(totals.values()), standing.days.get("done", 0))


async def import_days(
    database: AsyncEngine,
    first: date,
    last: date,
    source: HistorySource,
    *,
    again: bool,
    detach: bool,
) -> Outcome:
    """Request days; unless detached, wait until they are imported, and show progress.

    Raises:
        Stopped: SIGINT or SIGTERM came.
        ServerUnavailable: the source's totals can't be read.
    """
    cancel_on_signals()
    try:
        async with _http() as http:
            totals = await _totals(database, http, first, last, source)
            requested = await request_days(database, source, totals, again=again)
            if not detach:
                await _work_and_show(database, http, first, last)
    except asyncio.CancelledError:
        how = "the actors go on" if settings().rabbitmq_url else "the same command goes on"
        raise Stopped(f"stopped: {how}") from None
    standing = await read_standing(database, first, last)
    return Outcome(requested, standing, await first_failure(database, first, last))


@asynccontextmanager
async def _http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
        yield http


async def _totals(
    database: AsyncEngine,
    http: aiohttp.ClientSession,
    first: date,
    last: date,
    source: HistorySource,
) -> Mapping[date, int]:
    try:
        totals = await SOURCES[source].totals(settings(), http, database)
    except RetryLater as error:
        raise ServerUnavailable(str(error)) from None
    return {day: count for day, count in totals.items() if first <= day <= last}


async def _work_and_show(
    database: AsyncEngine, http: aiohttp.ClientSession, first: date, last: date
) -> None:
    tasks = [asyncio.create_task(_show(database, first, last))]
    if not settings().rabbitmq_url:
        tasks.append(asyncio.create_task(_work(database, http)))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                await task
    finally:
        await cancel_and_wait(*tasks)


async def _work(database: AsyncEngine, http: aiohttp.ClientSession) -> None:
    """Import days that are due, one after the other, for ever."""
    while True:
        if leased := await lease_next(database):
            await import_leased(settings(), database, http, leased, _only_recorded)
        else:
            await asyncio.sleep(SHOW_EVERY_S)


async def _only_recorded(rejections: list[bytes]) -> None:
    """Leave rejections to the table: this process has no Kafka."""


async def _show(database: AsyncEngine, first: date, last: date) -> None:
    """Show progress until no day waits, or all that do were postponed."""
    columns = TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %")
    began_s, at_start = time.monotonic(), await read_standing(database, first, last)
    printed_s = 0.0
    is_terminal = console.is_terminal
    with Progress(*columns, console=console, transient=True, disable=not is_terminal) as bar:
        task = bar.add_task("", total=1.0)
        while True:
            standing = await read_standing(database, first, last)
            if _is_over(standing):
                return
            line = _line(standing, at_start, time.monotonic() - began_s)
            bar.update(task, description=line, completed=standing.share)
            if not is_terminal and time.monotonic() - printed_s >= PRINT_EVERY_S:
                printed_s = time.monotonic()
                console.print(line)
            await asyncio.sleep(SHOW_EVERY_S)


def _is_over(standing: Standing) -> bool:
    if not standing.days.get("waiting"):
        return True
    postponed_until = standing.next_try_at if standing.reason else None
    return postponed_until is not None and postponed_until > datetime.now(UTC) + WAITS_FOR


def _line(standing: Standing, at_start: Standing, seconds: float) -> str:
    days = standing.days
    killmails = standing.read - at_start.read
    per_s = killmails / max(seconds, 0.001)
    left_s = (standing.total - standing.read) / per_s if killmails > 0 else None
    left = "unknown" if left_s is None else str(timedelta(seconds=round(left_s)))
    return (
        f"{days.get('done', 0):,} of {sum(days.values()):,} days, {standing.added:,} killmails"
        f" added, {per_s:,.0f}/s, time left: {left}"
    )
