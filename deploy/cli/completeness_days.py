"""Audit days now, and show a calendar of what was found."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

import aiohttp
from rich.console import Console
from rich.progress import Progress
from rich.text import Text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.completeness.audit import audit_day
from actors.completeness.facts import days_between, totals_of, unobtainable_between
from actors.history import r2z2
from actors.history.errors import NoSuchDay, Unreadable
from actors.shared.database import reading
from actors.shared.errors import RetryLater, ServerUnavailable
from actors.shared.settings import settings
from deploy.cli.process import console
from deploy.cli.signals import cancel_on_signals
from deploy.shorten import printable

CELLS: Final = {
    "complete": ("#", "green", "complete"),
    "repairing": ("~", "yellow", "under repair"),
    "incomplete": ("!", "red", "some are unobtainable"),
    "not_imported": ("-", "bright_black", "not imported"),
    None: (".", "bright_black", "not audited yet"),
}
"""The sign, colour and meaning of each state."""
MOST_NAMED: Final = 20
COUNTS: Final = {
    "upstream_total": "killmails that zKillboard has",
    "have": "are stored",
    "missing": "are missing",
    "hash_differs": "have another hash than zKillboard says",
    "repaired": "were missing at an audit, and were stored while it repaired their day",
    "unobtainable": "nobody gives",
}


@dataclass(frozen=True)
class Found:
    """What audits found of a range of days."""

    days: Sequence[Any]
    unobtainable: Sequence[Any]

    @property
    def is_under_repair(self) -> bool:
        """Whether something is missing that may be had."""
        return any(row.state == "repairing" for row in self.days)

    def as_json(self) -> dict[str, Any]:
        """Return everything as JSON's types."""
        return {
            "totals": totals_of(self.days),
            "days": [{**row._mapping, **_texts(row)} for row in self.days],
            "unobtainable": [
                {
                    "killmail_id": row.killmail_id,
                    "killmail_hash": row.killmail_hash,
                    "day": str(row.day),
                    "reason": row.reason,
                }
                for row in self.unobtainable
            ],
        }


def _texts(row: Any) -> dict[str, str]:
    return {
        "day": str(row.day),
        "checked_at": row.checked_at.isoformat(),
        "next_check_at": row.next_check_at.isoformat(),
    }


async def read_days(database: AsyncEngine, first: date, last: date) -> Found:
    """Read what audits found."""
    async with reading(database) as connection:
        days = (await connection.execute(days_between(first, last))).all()
        nobodys = (await connection.execute(unobtainable_between(first, last))).all()
    return Found(days, nobodys)


async def audit_now(database: AsyncEngine, first: date, last: date) -> None:
    """Audit the days of a range, newest first, with a progress bar.

    Raises:
        ServerUnavailable: zKillboard fails, or bans this address.
    """
    cancel_on_signals()
    try:
        async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as http:
            totals = await r2z2.totals(settings(), http, database)
            days = sorted((day for day in totals if first <= day <= last), reverse=True)
            with Progress(console=console, transient=True) as bar:
                for day in bar.track(days, description="audit"):
                    try:
                        await audit_day(settings(), database, http, day, totals[day])
                    except (NoSuchDay, Unreadable) as error:
                        console.print(f"{day}: {error}")
    except RetryLater as error:
        raise ServerUnavailable(str(error)) from None


def print_calendar(found: Found) -> None:
    """Print a row for each month with a sign for each day, then the sums."""
    out = Console(highlight=False)
    states = {row.day: row.state for row in found.days}
    if not states:
        out.print("nothing was audited yet: audits run by themselves, or with --audit")
        return
    for line in _months(states):
        out.print(line)
    out.print(", ".join(f"{sign} {meaning}" for sign, _, meaning in CELLS.values()))
    for name, count in totals_of(found.days).items():
        if count or name in ("upstream_total", "have", "missing"):
            out.print(f"{count:>12,}  {COUNTS[name]}")
    for row in found.unobtainable[:MOST_NAMED]:
        reason = printable(row.reason)
        out.print(Text(f"{row.day} {row.killmail_id} {row.killmail_hash}: {reason}"))


def _months(states: Mapping[date, str]) -> Iterator[Text]:
    months: dict[tuple[int, int], dict[int, str]] = defaultdict(dict)
    for day, state in states.items():
        months[day.year, day.month][day.day] = state
    for (year, month), of_month in sorted(months.items()):
        line = Text(f"{year}-{month:02}  ")
        for number in range(1, max(of_month) + 1):
            sign, colour, _ = CELLS[of_month.get(number)]
            line.append(sign, style=colour)
        yield line
