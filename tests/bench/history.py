"""`just bench history`: killmails a second from EVE Ref's archives to stored, found and entered.

Archives of many killmails made from the real ones, and one day of 40,000; so many processes of
`killstream history import` on PostgreSQL, each as an actors process does it. The days before the
first dictionary are imported first and aren't measured.
"""

import argparse
import asyncio
import contextlib
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import func, select, text

from actors.killmails.check.run import check_sample
from actors.killmails.dictionary import SAMPLES, train_first
from actors.shared.database import open_database
from actors.shared.killmail import parse_killmail
from actors.shared.reference import decode_reference
from actors.shared.settings import Settings
from actors.shared.tables import HISTORY_DAYS, IMPORTED_DAYS, KILLMAILS
from tests.bench.many import many_references
from tests.bench.report import report
from tests.support.archives import serving_archives, write_archives
from tests.support.processes import Killstream, cpu_s, killstream, server_pids
from tests.support.servers import migrated_database

LARGE = date(2024, 1, 1)
"""The day of 40,000 killmails."""
TABLES = ("killmails", "postings", "labels", "attackers")


def bodies(count: int, large: int) -> Iterator[bytes]:
    """Give the bodies of so many killmails, and of those of the large day."""
    for index, value in enumerate(many_references(count + large)):
        body = bytes(decode_reference(value).body)
        if index >= count:
            day = parse_killmail(body).killmail_time.astimezone(UTC).date()
            body = body.replace(f"{day}T".encode(), f"{LARGE}T".encode(), 1)
        yield body


async def imported(
    settings: Settings, totals: dict[date, int], processes: int, *, before_count: int = 0
) -> dict[str, Any]:
    """Import days; give rate, CPU and memory."""
    began_at = datetime.now(UTC)
    before = {name: cpu_s(pids) for name, pids in server_pids().items()}
    began_s = time.perf_counter()
    with tempfile.TemporaryDirectory() as logs:
        async with contextlib.AsyncExitStack() as stack:
            command = ("history", "import", f"--from={min(totals)}", f"--to={max(totals)}")
            started = [
                await stack.enter_async_context(
                    killstream(*command, settings=settings, log=Path(logs) / f"{n}.log")
                )
                for n in range(processes)
            ]
            used, peaks = await _watched(started)
            print((Path(logs) / "0.log").read_text(), file=sys.stderr)
    count = sum(totals.values())
    used |= {name: cpu_s(pids) - before[name] for name, pids in server_pids().items()}
    return {
        "per_s": await _rate(settings, began_at, count, before_count + count),
        "per_s_with_start": round(count / (time.perf_counter() - began_s)),
        "cpu_ms_per_killmail": {
            name: round(seconds * 1000 / count, 3) for name, seconds in used.items() if seconds > 1
        },
        "peak_mb_per_process": peaks,
    }


async def _watched(started: list[Killstream]) -> tuple[dict[str, float], list[int]]:
    """Wait until processes end; return the CPU of all and each one's highest memory."""
    used, peaks = [0.0] * len(started), [0] * len(started)
    while any(one.process.returncode is None for one in started):
        for n, one in enumerate(started):
            used[n] = max(used[n], cpu_s([one.pid]))
            peaks[n] = max(peaks[n], _peak_mb(one.pid))
        await asyncio.sleep(0.2)
    if codes := [one.process.returncode for one in started if one.process.returncode]:
        raise AssertionError(f"ended with {codes}")
    return {"importers": sum(used)}, peaks


def _peak_mb(pid: int) -> int:
    """Return the highest memory of a process; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) // 1024 for line in lines if line.startswith("VmHWM"))


async def _rate(settings: Settings, began_at: datetime, count: int, whole: int) -> int:
    """Return killmails a second from the first that was stored to the last day's entry."""
    async with open_database(settings) as database, database.connect() as connection:
        stored = await connection.scalar(select(func.count()).select_from(KILLMAILS))
        entered = await connection.scalar(select(func.sum(IMPORTED_DAYS.c.added)))
        assert stored == entered == whole, (stored, entered, whole)
        since = select(func.min(KILLMAILS.c.created_at)).where(KILLMAILS.c.created_at >= began_at)
        first = await connection.scalar(since)
        last = await connection.scalar(select(func.max(HISTORY_DAYS.c.updated_at)))
        assert first
        assert last
        seconds: float = (last - first).total_seconds()
        return round(count / seconds)


async def sizes(settings: Settings, count: int) -> dict[str, int]:
    """Return the bytes of each table with its indexes, for each killmail."""
    async with open_database(settings) as database, database.connect() as connection:
        query = "SELECT " + ", ".join(f"pg_total_relation_size('{name}')" for name in TABLES)
        row = (await connection.execute(text(query))).one()
        return {name: round(size / count) for name, size in zip(TABLES, row, strict=True)}


def _newest(totals: dict[date, int], count: int) -> dict[date, int]:
    """Choose the newest days that have so many killmails together."""
    chosen: dict[date, int] = {}
    for day in sorted(totals, reverse=True):
        if sum(chosen.values()) < count:
            chosen[day] = totals[day]
    return chosen


async def main() -> None:
    """Make archives, import them, print."""
    parser = argparse.ArgumentParser(prog="just bench history", description=__doc__)
    parser.add_argument("--killmails", type=int, default=200_000)
    parser.add_argument("--large", type=int, default=40_000, help="killmails of the large day")
    parser.add_argument("--processes", type=int, default=2)

    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)

        totals = write_archives(folder, bodies(options.killmails, options.large))
        count = sum(totals.values())
        print(f"{count:,} killmails of {len(totals)} days are in archives", file=sys.stderr)
        async with migrated_database() as url, serving_archives(folder, totals) as everef:
            settings = Settings(database_url=url, everef_url=everef)
            trained_from = _newest(totals, SAMPLES)
            await imported(settings, trained_from, options.processes)
            async with open_database(settings) as database:
                assert await train_first(database)
            rest = {day: totals[day] for day in totals.keys() - trained_from.keys()}
            figures = await imported(
                settings, rest, options.processes, before_count=sum(trained_from.values())
            )
            async with open_database(settings) as database:
                assert not (await check_sample(database, 500)).differing.total()
            figures["bytes_per_killmail"] = await sizes(settings, count)
    report("history", {"killmails": count, "days": len(totals), **figures})


if __name__ == "__main__":
    asyncio.run(main())
