"""`just bench history-crashes`: an import of history that is killed, beside the live feed.

60 days of 1,500 made-up killmails and one of 40,000, two importers beside `killstream up`, which
imports, too; importers are killed five times, ESI fails for 5 % of the requests.
"""

import argparse
import asyncio
import sys
import tempfile
from datetime import date, timedelta
from pathlib import Path
from typing import Final

from actors.shared.settings import Settings
from tests.bench.report import report
from tests.support.history_run import HistoryOptions, is_good, run_history
from tests.support.servers import migrated_database

LIVE_P99_S: Final = 15.0
"""From file to subscriber: the poller waits 6 s at the end of the feed, import or not."""
WAIT_S: Final = 1.0
"""How long a live killmail may wait for a transaction of an import."""


async def main() -> None:
    """Run on one database and print the verdict; exit code 1 when it is bad."""
    parser = argparse.ArgumentParser(prog="just bench history-crashes", description=__doc__)
    parser.add_argument("--database", choices=["postgresql", "sqlite"], default="postgresql")
    parser.add_argument("--importers", type=int, default=2)
    parser.add_argument("--kills", type=int, default=5)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--large", type=int, default=40_000)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    counts = {date(2015, 1, 1) + timedelta(days=n): 1_500 for n in range(chosen.days)}
    counts[date(2016, 1, 1)] = chosen.large
    options = HistoryOptions(
        counts=counts, importers=chosen.importers, kills=chosen.kills, seed=chosen.seed
    )
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        settings = Settings(data_dir=folder / "data")
        if chosen.database == "postgresql":
            async with migrated_database() as url:
                changed = settings.model_copy(update={"database_url": url})
                verdict = await run_history(changed, folder, options, _say)
        else:
            verdict = await run_history(settings, folder, options, _say)
    late = verdict["live_latency_s"]["p99"] > LIVE_P99_S or verdict["longest_wait_s"] > WAIT_S
    good = is_good(verdict, len(counts)) and not late
    report("history-crashes", {"ok": good, "database": chosen.database, **verdict})
    if not good:
        raise SystemExit(1)


def _say(line: str) -> None:
    print(line, file=sys.stderr)


if __name__ == "__main__":
    asyncio.run(main())
