"""Count a day's kills and losses of each alliance and corporation, in one pass."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

from sqlalchemy import select, tuple_
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.zkb import facts_of
from actors.shared.body import parse_stored, zkb_or_none
from actors.shared.database import reading
from actors.shared.dictionaries import read_bodies
from actors.shared.killmail import Killmail, Victim
from actors.shared.tables import KILLMAILS

KILLMAILS_PER_QUERY: Final = 500
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
    async for rows in _pages(database, day):
        for row in rows:
            killmail = parse_stored(row.killmail_id, row.body)
            if killmail is not None:
                isk = facts_of(zkb_or_none(row.killmail_id, row.zkb)).total_value or 0.0
                _count_killmail(counted, killmail, isk)
    return counted


def _count_killmail(counted: Day, killmail: Killmail, isk: float) -> None:
    victim, attackers = killmail.victim, killmail.attackers
    facts = {"is_ship": _is_ship(victim), "isk": isk}
    alliances = {attacker.alliance_id for attacker in attackers}
    corporations = {attacker.corporation_id for attacker in attackers}
    _count(counted.alliances, alliances, victim.alliance_id, facts)
    _count(counted.corporations, corporations, victim.corporation_id, facts)


def _count(
    counts: defaultdict[int, Counts],
    attackers: Iterable[int | None],
    victim: int | None,
    facts: dict[str, Any],
) -> None:
    for id_ in attackers:
        if id_:
            counts[id_].add_kill(**facts)
    if victim:
        counts[victim].add_loss(**facts)


def _is_ship(victim: Victim) -> bool:
    return bool(victim.character_id) and victim.ship_type_id not in CAPSULES


async def _pages(database: AsyncEngine, day: date) -> AsyncIterator[Sequence[Any]]:
    start = datetime.combine(day, time(), UTC)
    after = (start, -1)
    columns = KILLMAILS.c
    order = tuple_(columns.killmail_time, columns.killmail_id)
    while True:
        query = (
            select(
                columns.killmail_id,
                columns.killmail_time,
                columns.body,
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
            killmails = await read_bodies(connection, query)
        yield killmails
        if len(killmails) < KILLMAILS_PER_QUERY:
            return
        after = (killmails[-1].killmail_time, killmails[-1].killmail_id)
