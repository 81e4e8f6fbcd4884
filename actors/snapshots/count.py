"""Count a day's kills and losses of each alliance and corporation, in one pass."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.zkb import facts_of
from actors.shared.database import reading
from actors.shared.rows import among
from actors.shared.tables import ATTACKERS, KILLMAILS

KILLMAILS_PER_QUERY: Final = 2_000
CAPSULES: Final = frozenset({670, 33_328})
"""Types of capsules, which aren't counted as ships."""


@dataclass
class Counts:
    """What one entity destroyed and lost on one day."""

    kills: int = 0
    losses: int = 0
    ships_destroyed: int = 0
    """Kills whose victim had a pilot and wasn't in a capsule."""
    ships_lost: int = 0
    isk_destroyed: float = 0.0
    """By zKillboard's total value; a killmail without one counts 0."""
    isk_lost: float = 0.0

    def add_kill(self, *, is_ship: bool, isk: float) -> None:
        """Count a killmail that the entity attacked in."""
        self.kills += 1
        self.ships_destroyed += is_ship
        self.isk_destroyed += isk

    def add_loss(self, *, is_ship: bool, isk: float) -> None:
        """Count a killmail whose victim belonged to the entity."""
        self.losses += 1
        self.ships_lost += is_ship
        self.isk_lost += isk


@dataclass
class Day:
    """The counts of a day by id."""

    alliances: defaultdict[int, Counts]
    corporations: defaultdict[int, Counts]


async def count_day(database: AsyncEngine, day: date) -> Day:
    """Count the stored killmails of a day (UTC).

    A killmail counts once for each entity among its attackers, however many they are; one on
    one's own side counts as a kill and as a loss.
    """
    counted = Day(defaultdict(Counts), defaultdict(Counts))
    async for killmails, attackers in _pages(database, day):
        by_alliance, by_corporation = _sides(attackers)
        for killmail in killmails:
            facts = {
                "is_ship": _is_ship(killmail),
                "isk": facts_of((killmail.zkb or "").encode()).total_value or 0.0,
            }
            _count(
                counted.alliances,
                by_alliance[killmail.killmail_id],
                killmail.victim_alliance_id,
                facts,
            )
            _count(
                counted.corporations,
                by_corporation[killmail.killmail_id],
                killmail.victim_corporation_id,
                facts,
            )
    return counted


def _count(
    counts: defaultdict[int, Counts],
    attackers: Iterable[int],
    victim: int | None,
    facts: dict[str, Any],
) -> None:
    for id_ in attackers:
        counts[id_].add_kill(**facts)
    if victim:
        counts[victim].add_loss(**facts)


def _sides(attackers: Sequence[Any]) -> tuple[dict[int, set[int]], dict[int, set[int]]]:
    alliances, corporations = defaultdict[int, set[int]](set), defaultdict[int, set[int]](set)
    for row in attackers:
        if row.alliance_id:
            alliances[row.killmail_id].add(row.alliance_id)
        if row.corporation_id:
            corporations[row.killmail_id].add(row.corporation_id)
    return alliances, corporations


def _is_ship(killmail: Any) -> bool:
    return bool(killmail.victim_character_id) and killmail.victim_ship_type_id not in CAPSULES


async def _pages(
    database: AsyncEngine, day: date
) -> AsyncIterator[tuple[Sequence[Any], Sequence[Any]]]:
    start = datetime.combine(day, time(), UTC)
    after = (start, -1)
    columns = KILLMAILS.c
    order = tuple_(columns.killmail_time, columns.killmail_id)
    while True:
        query = (
            select(
                columns.killmail_id,
                columns.killmail_time,
                columns.victim_character_id,
                columns.victim_corporation_id,
                columns.victim_alliance_id,
                columns.victim_ship_type_id,
                columns.zkb,
            )
            .where(
                order
                > tuple_(*after, types=[columns.killmail_time.type, columns.killmail_id.type]),
                columns.killmail_time < start + timedelta(days=1),
            )
            .order_by(columns.killmail_time, columns.killmail_id)
            .limit(KILLMAILS_PER_QUERY)
        )
        async with reading(database) as connection:
            killmails = (await connection.execute(query)).all()
            of_page = among(
                connection, ATTACKERS.c.killmail_id, [one.killmail_id for one in killmails]
            )
            sides = select(
                ATTACKERS.c.killmail_id, ATTACKERS.c.alliance_id, ATTACKERS.c.corporation_id
            )
            attackers = (await connection.execute(sides.where(of_page).distinct())).all()
        yield killmails, attackers
        if len(killmails) < KILLMAILS_PER_QUERY:
            return
        after = (killmails[-1].killmail_time, killmails[-1].killmail_id)
