"""`just bench pages`: the time of a page of 50 killmails, for many kinds of conditions.

Stores killmails made from the real ones as the pipeline does, and measures at a tenth of them and
at all.
"""

import argparse
import asyncio
import itertools
import random
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Final

import numpy as np
from sqlalchemy import func, select, text
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.among import among
from actors.shared.body import unpack
from actors.shared.database import open_database, reading
from actors.shared.dictionaries import learn_dictionaries
from actors.shared.finding.by_value import find_by_value
from actors.shared.finding.find import find
from actors.shared.finding.kinds import ID_BITS, WINDOW_BITS, Kind, term_of
from actors.shared.finding.tree import (
    EVERYTHING,
    And,
    AttackerCount,
    Has,
    Not,
    OneAttacker,
    Or,
    Time,
    Tree,
    Value,
)
from actors.shared.finding.windows import Read
from actors.shared.settings import Settings
from actors.shared.tables import KILLMAIL_DAYS, KILLMAILS, POSTINGS
from deploy.migrate import migrate
from tests.bench.many import many_references
from tests.bench.report import report
from tests.support.servers import migrated_database, server_urls

PAGE: Final = 50
RUNS: Final = 20
BATCH: Final = 2_000


@dataclass(frozen=True)
class Known:
    """What is stored: terms by kind, the most frequent first."""

    by_kind: dict[int, list[int]]
    days: list[date]
    random_: random.Random

    def heavy(self, kind: Kind) -> int:
        return self.random_.choice(self.by_kind[kind][:20])

    def middling(self, kind: Kind) -> int:
        terms = self.by_kind[kind]
        return self.random_.choice(terms[len(terms) // 50 : len(terms) // 20])

    def light(self, kind: Kind) -> int:
        terms = self.by_kind[kind]
        return self.random_.choice(terms[len(terms) // 4 : len(terms) * 3 // 4])

    def week(self) -> Time:
        since = datetime.combine(self.random_.choice(self.days[-20:]), time(), UTC)
        return Time(since, since + timedelta(days=7))


def id_of(term: int) -> int:
    return term & (1 << ID_BITS) - 1


def either(kind: str, entity_id: int) -> Tree:
    kinds = (Kind[f"VICTIM_{kind}"], Kind[f"ATTACKER_{kind}"])
    return Or(tuple(Has(term_of(one, entity_id)) for one in kinds))


Ask = Callable[[Known], Tree]

PAGES: Final[dict[str, Ask]] = {
    "everything": lambda _: EVERYTHING,
    "heavy alliance attacks": lambda k: Has(k.heavy(Kind.ATTACKER_ALLIANCE)),
    "heavy alliance either, deep": lambda k: either(
        "ALLIANCE", id_of(k.heavy(Kind.ATTACKER_ALLIANCE))
    ),
    "light character either": lambda k: either(
        "CHARACTER", id_of(k.light(Kind.ATTACKER_CHARACTER))
    ),
    "middling corporation victim": lambda k: Has(k.middling(Kind.VICTIM_CORPORATION)),
    "ship of an attacker": lambda k: Has(k.heavy(Kind.ATTACKER_SHIP_TYPE)),
    "alliance AND label AND > 1 billion": lambda k: And(
        (Has(k.heavy(Kind.ATTACKER_ALLIANCE)), Has(k.heavy(Kind.LABEL)), Value(low=1e9))
    ),
    "rare corporation AND heavy label": lambda k: And(
        (Has(k.light(Kind.ATTACKER_CORPORATION)), Has(k.heavy(Kind.LABEL)))
    ),
    "heavy AND heavy, nearly empty": lambda k: And(
        (Has(k.heavy(Kind.ATTACKER_ALLIANCE)), Has(k.heavy(Kind.VICTIM_ALLIANCE)))
    ),
    "heavy system AND heavy ship": lambda k: And(
        (Has(k.heavy(Kind.SOLAR_SYSTEM)), Has(k.heavy(Kind.VICTIM_SHIP_TYPE)))
    ),
    "same attacker: corporation, ship": lambda k: OneAttacker(
        (
            ("corporation_id", id_of(k.heavy(Kind.ATTACKER_CORPORATION))),
            ("ship_type_id", id_of(k.heavy(Kind.ATTACKER_SHIP_TYPE))),
        )
    ),
    "final blow of an alliance": lambda k: OneAttacker(
        (("alliance_id", id_of(k.heavy(Kind.ATTACKER_ALLIANCE))),), final_blow=True
    ),
    "any of 20 corporations": lambda k: Or(
        tuple(Has(k.middling(Kind.ATTACKER_CORPORATION)) for _ in range(20))
    ),
    "alliance NOT label, victim ship": lambda k: And(
        (
            Has(k.heavy(Kind.ATTACKER_ALLIANCE)),
            Not(Has(k.heavy(Kind.LABEL))),
            Has(k.heavy(Kind.VICTIM_SHIP_TYPE)),
        )
    ),
    "over 10 billion": lambda _: Value(low=1e10),
    "alliance in a week": lambda k: And((Has(k.heavy(Kind.ATTACKER_ALLIANCE)), k.week())),
    "nobody": lambda _: Has(term_of(Kind.ATTACKER_CHARACTER, 1)),
    "label, deep": lambda k: Has(k.heavy(Kind.LABEL)),
    "20 attackers or more": lambda _: AttackerCount(20),
    "everything by value": lambda _: EVERYTHING,
    "heavy alliance by value": lambda k: Has(k.heavy(Kind.ATTACKER_ALLIANCE)),
    "alliance AND label by value": lambda k: And(
        (Has(k.heavy(Kind.ATTACKER_ALLIANCE)), Has(k.heavy(Kind.LABEL)))
    ),
    "week by value": lambda k: k.week(),
}


async def main(arguments: Sequence[str] | None = None) -> None:
    """Load, measure, print."""
    options = parse(arguments)
    figures: dict[str, Any] = {}
    async with databases(options.database) as database:
        source = many_references(options.killmails)
        stored = 0
        for stage in (options.killmails // 10, options.killmails):
            began = perf_counter()
            await load(database, itertools.islice(source, stage - stored))
            per_s = round((stage - stored) / (perf_counter() - began))
            stored = stage
            print(f"{stage:,} are stored, {per_s:,}/s", file=sys.stderr)
            figures[str(stage)] = {
                "stored_per_s": per_s,
                "bytes_per_killmail": await bytes_per_killmail(database, stage),
                "page_ms": await measure(database),
            }
    report("pages", {"database": options.database, **figures})


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("just bench pages", description=__doc__)
    parser.add_argument("--killmails", type=int, default=1_000_000)
    parser.add_argument("--database", choices=("postgresql", "sqlite"), default="postgresql")
    return parser.parse_args(arguments)


@asynccontextmanager
async def databases(kind: str) -> AsyncIterator[AsyncEngine]:
    """Give an empty database."""
    if kind == "postgresql":
        async with migrated_database() as url:
            settings = Settings(**{**server_urls(), "database_url": url})  # type: ignore[arg-type]
            async with open_database(settings) as database:
                yield database
        return
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        await migrate(settings)
        async with open_database(settings) as database:
            yield database


async def load(database: AsyncEngine, values: Iterator[bytes]) -> None:
    while batch := list(itertools.islice(values, BATCH)):
        await store(database, read(batch)[0])
    if database.dialect.name == "postgresql":
        async with database.connect() as connection:
            autocommit = await connection.execution_options(isolation_level="AUTOCOMMIT")
            for table in ("killmails", "postings"):
                await autocommit.execute(text(f"VACUUM (ANALYZE) {table}"))


async def bytes_per_killmail(database: AsyncEngine, stored: int) -> dict[str, float]:
    """Measure the tables with their indexes; on PostgreSQL only."""
    if database.dialect.name != "postgresql":
        return {}
    sizes = {}
    async with reading(database) as connection:
        for table in ("killmails", "postings", "attackers"):
            size = await connection.scalar(text(f"SELECT pg_total_relation_size('{table}')"))
            sizes[table] = round((size or 0) / stored, 1)
    return sizes


async def measure(database: AsyncEngine) -> dict[str, dict[str, float]]:
    """Time pages of each kind, with conditions chosen at random; in ms."""
    known = await what_is_known(database)
    return {name: await times(database, known, name, ask) for name, ask in PAGES.items()}


async def times(database: AsyncEngine, known: Known, name: str, ask: Ask) -> dict[str, float]:
    times_ms, found, unfilled = [], 0, 0
    for run in range(RUNS + 1):
        tree = ask(known)
        began = perf_counter()
        async with reading(database) as connection:

            async def rows(query: Any, connection: Any = connection) -> Any:
                return (await connection.execute(query)).all()

            start = await deep(rows, known) if name.endswith("deep") else None
            if start is not None:
                began = perf_counter()
            ids, is_cut = await page_of(rows, tree, start, by_value=name.endswith("by value"))
            await whole(rows, ids)
        if run:  # the first one prepares the statements
            times_ms.append((perf_counter() - began) * 1_000)
            found += len(ids)
            unfilled += is_cut
    p50, p99 = np.percentile(times_ms, (50, 99)).tolist()
    return {
        "p50": round(p50, 2),
        "p99": round(p99, 2),
        "found": found / RUNS,
        "unfilled": unfilled,
    }


async def page_of(
    rows: Read, tree: Tree, start: int | None, *, by_value: bool
) -> tuple[list[int], bool]:
    """Find a page; also whether the budget was spent before it was full."""
    if by_value:
        page = await find_by_value(rows, tree, limit=PAGE)
        ids = [one.killmail_id for one in page.found]
        return ids, page.searched_to is not None and len(ids) < PAGE
    newest = await find(rows, tree, limit=PAGE, start=start)
    return newest.killmail_ids, newest.searched_to is not None and not newest.is_full


async def deep(rows: Any, known: Known) -> int:
    """Choose an id in the middle of history."""
    low, high = (
        await rows(select(func.min(KILLMAILS.c.killmail_id), func.max(KILLMAILS.c.killmail_id)))
    )[0]
    return known.random_.randint(low + (high - low) // 4, high - (high - low) // 4)


async def whole(rows: Any, ids: list[int]) -> None:
    """Read the rows of a page, bodies opened."""
    columns = (KILLMAILS.c.body, KILLMAILS.c.zkb, KILLMAILS.c.killmail_hash)
    found = await rows(select(*columns).where(among(KILLMAILS.c.killmail_id, ids)))
    await learn_dictionaries(rows, found)
    for row in found:
        unpack(row.body)


async def what_is_known(database: AsyncEngine) -> Known:
    counts: Counter[int] = Counter()
    async with reading(database) as connection:
        for key, worths in await connection.execute(
            select(POSTINGS.c.key, func.length(POSTINGS.c.worths))
        ):
            counts[key >> WINDOW_BITS] += worths
        day = KILLMAIL_DAYS.c.day
        days = list(await connection.scalars(select(day).order_by(day)))
    by_kind: dict[int, list[int]] = {}
    for term, _ in counts.most_common():
        by_kind.setdefault(term >> ID_BITS, []).append(term)
    return Known(by_kind, days, random.Random(1))


if __name__ == "__main__":
    asyncio.run(main())
