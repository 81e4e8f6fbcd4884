"""`just bench sync`: 42 users and 3 corporations log in; all that ESI lists of them is stored.

Each corporation has 2,500 killmails of the last days, of 14 members who log in; one of them is its
director. Then everything is synchronized again, in full. Reports how long each took, and by the
stand-in's counts that no budget of ESI's was exceeded and nothing was fetched twice. Exit code 1 if
not. ESI's window is shortened, so that its budgets are reached within the run.
"""

import argparse
import asyncio
import gzip
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from sqlalchemy import func, select, update

from actors.shared.settings import Settings
from actors.shared.tables import CORPORATION_SYNCS, KILLMAILS, LEDGER, USER_KILLMAILS, USERS
from actors.users.sso import Sso
from actors.users.tokens import Keeper
from actors.users.vault import open_vault
from deploy.migrate import migrate
from deploy.standin.server import Standin, StandinOptions, start_standin
from tests.bench.report import report
from tests.support.login import log_in, with_logins
from tests.support.made import a_mail, an_attacker
from tests.support.pipeline import Pipeline, pipeline
from tests.support.servers import empty_servers

CORPORATIONS, MEMBERS = 3, 14
FIRST_CHARACTER, FIRST_CORPORATION = 90_100_000, 98_100_000


async def main() -> int:
    """Run once; return the exit code."""
    parser = argparse.ArgumentParser(prog="just bench sync", description=__doc__)
    parser.add_argument("--killmails", type=int, default=2_500, help="of each corporation")
    parser.add_argument("--window", type=int, default=20, help="ESI's window, in seconds")
    parser.add_argument("--deadline", type=float, default=600, help="seconds until all is stored")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = folder / "killmails.jsonl.gz"
        write_dataset(dataset, arguments.killmails)
        standin = await start_standin(
            StandinOptions(killmails=dataset, esi_window_s=arguments.window, recent_cache_s=1)
        )
        try:
            async with empty_servers() as servers:
                verdict = await measure(
                    with_logins(servers, standin, source="none", esi_window_s=arguments.window),
                    standin,
                    folder,
                    CORPORATIONS * arguments.killmails,
                    arguments.deadline,
                )
        finally:
            await standin.stop()
    report("sync", verdict)
    return 0 if verdict["ok"] else 1


def write_dataset(path: Path, killmails: int) -> None:
    """Write each corporation's killmails, with one to five of its members."""
    path.write_bytes(gzip.compress(b"\n".join(_lines(killmails)) + b"\n", 1))


def _lines(killmails: int) -> Iterator[bytes]:
    chance = random.Random(1)
    begins = datetime.now(UTC) - timedelta(days=30)
    for i in range(killmails * CORPORATIONS):
        number = i % CORPORATIONS
        members = chance.sample(range(MEMBERS), chance.randint(1, 5))
        yield msgspec.json.encode(
            a_mail(
                130_000_000 + i,
                killmail_time=f"{begins + timedelta(minutes=4 * i):%Y-%m-%dT%H:%M:%SZ}",
                attackers=[_attacker(number, member) for member in members],
            )
        )


def _attacker(corporation: int, member: int) -> dict[str, Any]:
    return an_attacker(
        character_id=FIRST_CHARACTER + corporation * 100 + member,
        corporation_id=FIRST_CORPORATION + corporation,
    )


async def measure(
    settings: Settings, standin: Standin, folder: Path, killmails: int, deadline_s: float
) -> dict[str, Any]:
    """Log all users in, wait for their first syncs, synchronize again, and judge."""
    await migrate(settings)
    async with (
        pipeline(settings, folder, parts=("actors", "streams")) as pipe,
        aiohttp.ClientSession() as http,
    ):
        keeper = Keeper(pipe.database, open_vault(settings), Sso(settings, http))
        began_s = time.monotonic()
        await log_all_in(keeper, standin)
        first_s = None
        async with asyncio.timeout(deadline_s):
            while not await is_done(pipe, killmails, datetime.min.replace(tzinfo=UTC)):
                stored = await count(pipe, KILLMAILS)
                if first_s is None and stored:
                    first_s = time.monotonic() - began_s
                await asyncio.sleep(0.5)
        first_syncs_s = time.monotonic() - began_s
        fetched = requests(standin, "killmail")
        again_at, began_s = datetime.now(UTC), time.monotonic()
        await synchronize_again(pipe)
        async with asyncio.timeout(deadline_s):
            while not await is_done(pipe, killmails, again_at):
                await asyncio.sleep(0.5)
        again_s = time.monotonic() - began_s
        listed = await count(pipe, USER_KILLMAILS)
    fetched_again = requests(standin, "killmail") - fetched
    refused = dict(standin.playback.stats.refused)
    buckets = standin.control.counted()["buckets"]
    return {
        "ok": fetched == killmails and fetched_again == 0 and not refused,
        "users": CORPORATIONS * MEMBERS,
        "corporations": CORPORATIONS,
        "killmails": killmails,
        "listed": listed,
        "first_stored_after_s": round(first_s or 0.0, 1),
        "first_syncs_s": round(first_syncs_s, 1),
        "again_s": round(again_s, 1),
        "fetched": fetched,
        "fetched_again": fetched_again,
        "refused": refused,
        "tokens_highest": {name: one["highest"] for name, one in buckets.items()},
    }


async def log_all_in(keeper: Keeper, standin: Standin) -> None:
    """Log all members in; directors for their corporation, too."""
    for corporation in range(CORPORATIONS):
        members = standin.playback.characters.members(FIRST_CORPORATION + corporation)
        for member in members:
            scopes = ("character", "corporation") if member.is_director else ("character",)
            await log_in(keeper, member.character_id, scopes)


async def synchronize_again(pipe: Pipeline) -> None:
    """Have all synchronized again, in full."""
    due = {"next_sync_at": datetime.now(UTC), "next_full_sync_at": datetime.now(UTC)}
    async with pipe.database.begin() as connection:
        await connection.execute(update(USERS).values(due | {"list_expires_at": None}))
        await connection.execute(update(CORPORATION_SYNCS).values(due | {"list_expires_at": None}))


async def is_done(pipe: Pipeline, killmails: int, since: datetime) -> bool:
    """Tell whether all syncs have succeeded since a time and all killmails are stored."""
    async with pipe.database.connect() as connection:
        synced = 0
        for table in (USERS, CORPORATION_SYNCS):
            query = select(func.count()).where(
                table.c.first_synced_at.is_not(None),
                table.c.last_killmail_sync_at > since,
                table.c.last_sync_error.is_(None),
            )
            synced += await connection.scalar(query) or 0
        if synced < CORPORATIONS * (MEMBERS + 1):
            return False
        pending = await connection.scalar(select(func.count()).select_from(LEDGER))
    return not pending and await count(pipe, KILLMAILS) == killmails


async def count(pipe: Pipeline, table: Any) -> int:
    async with pipe.database.connect() as connection:
        return await connection.scalar(select(func.count()).select_from(table)) or 0


def requests(standin: Standin, endpoint: str) -> int:
    return sum(n for key, n in standin.playback.stats.requests.items() if key[1] == endpoint)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
