"""`just bench filters`: whether index and predicate select the same killmails, for drawn filters.

Stores all real killmails, then draws filters from them; also measures what the predicate takes.
"""

import argparse
import asyncio
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from actors.shared.database import open_database
from actors.shared.settings import Settings
from deploy.migrate import migrate
from tests.api.filters.real import drawing, found_by_index, found_by_predicate, load, subjects
from tests.bench.report import report
from tests.support.killmails import REAL_COUNT, references
from tests.support.servers import migrated_database

DATABASES: Final = ("sqlite", "postgresql")


async def main() -> None:
    parser = argparse.ArgumentParser(
        prog="just bench filters",
        description=__doc__,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--killmails", type=int, default=REAL_COUNT)
    parser.add_argument("--filters", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--database", choices=DATABASES, action="append")
    options = parser.parse_args()
    some = list(references(options.killmails))
    figures: dict[str, Any] = {"killmails": len(some), "filters": options.filters}
    for name in options.database or DATABASES:
        async with _opened(name) as settings:
            async with open_database(settings) as database:
                await load(database, some)
            figures[name] = await compare(settings, some, options)
    report("filters", figures)
    if any(figures[name]["differ"] for name in options.database or DATABASES):
        sys.exit(1)


async def compare(
    settings: Settings, some: list[bytes], options: argparse.Namespace
) -> dict[str, Any]:
    drawn, differ, hits, index_s, predicate_s = drawing(some, options.seed), [], 0, 0.0, 0.0
    async with subjects(settings) as (facts, of):
        for _ in range(options.filters):
            filter_ = drawn.filter()
            began = perf_counter()
            found = await found_by_index(facts, filter_)
            between = perf_counter()
            if found != await found_by_predicate(facts, filter_, of):
                differ.append(filter_)
            index_s += between - began
            predicate_s += perf_counter() - between
            hits += 0 < len(found) < len(of)
    for one in differ:
        print("differs:", one, file=sys.stderr)
    return {
        "differ": len(differ),
        "neither none nor all": hits,
        "index_ms": round(index_s / options.filters * 1_000, 1),
        "predicate_us": round(predicate_s / options.filters / len(of) * 1e6, 2),
    }


@asynccontextmanager
async def _opened(name: str) -> AsyncIterator[Settings]:
    if name == "postgresql":
        async with migrated_database() as url:
            yield Settings(database_url=url, database_pool_size=4)
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        await migrate(settings)
        yield settings


if __name__ == "__main__":
    asyncio.run(main())
