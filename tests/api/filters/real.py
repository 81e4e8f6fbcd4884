"""Filters drawn from killmails, and whether all that apply filters agree on those killmails."""

import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any, Final

import msgspec
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.finding.find import Page, find
from actors.shared.finding.normal import normal_form
from actors.shared.finding.subject import Subject, matches
from actors.shared.finding.tree import Tree
from actors.shared.reference import decode_reference
from actors.shared.settings import Settings
from actors.shared.tables import (
    KILLMAILS,
    LABELS,
    SOLAR_SYSTEMS,
    STARGATES,
    UNIVERSE,
    UNIVERSE_GROUPS,
    UNIVERSE_TYPES,
)
from api import reads
from api.database import open_read_database
from api.filters.facts import Facts
from api.filters.graphql import tree_for
from api.filters.syntax import read_json
from tests.api.filters.given import LY

BATCH: Final = 500
OF_ATTACKER: Final = (
    "character_id",
    "corporation_id",
    "alliance_id",
    "faction_id",
    "ship_type_id",
    "weapon_type_id",
)
CAMEL: Final = {name: name.split("_")[0] + "TypeId" * ("type" in name) for name in OF_ATTACKER} | {
    name: name.split("_")[0] + "Id" for name in OF_ATTACKER[:4]
}


def group_of(type_id: int) -> int:
    """Return the group of a type, in a universe of our own."""
    return 1_000 + type_id % 37


def category_of(group_id: int) -> int:
    return 6 + group_id % 4


@dataclass
class Drawing:
    """Draws filters whose values are those of killmails."""

    killmails: Sequence[tuple[dict[str, Any], dict[str, Any]]]
    """Bodies and zkb blocks."""
    random_: random.Random

    def filter(self, depth: int = 2) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for _ in range(self.random_.choice((1, 1, 2, 3))):
            body, zkb = self.random_.choice(self.killmails)
            draw = self.random_.choice(
                (self._victim, self._attacker, self._attacker, self._location, self._other)
            )
            made |= draw(body, zkb)
        if depth and self.random_.random() < 0.5:
            several = [self.filter(depth - 1) for _ in range(self.random_.choice((1, 2, 3)))]
            made |= self.random_.choice(
                ({"and": several}, {"or": several}, {"or": several}, {"not": several[0]})
            )
        return made

    def _ids(self, id_: int, others: Sequence[int]) -> list[int]:
        return [id_, *self.random_.sample(others, self.random_.choice((0, 0, min(3, len(others)))))]

    def _some(self, of: dict[str, Any], names: Sequence[str]) -> dict[str, list[int]]:
        """Draw some fields of a participant."""
        given = [name for name in names if of.get(name)]
        chosen = self.random_.sample(given, min(len(given), self.random_.choice((1, 2, 3))))
        made = {CAMEL[name]: [of[name]] for name in chosen}
        for name, value in list(made.items()):
            if name in ("shipTypeId", "weaponTypeId") and self.random_.random() < 0.5:
                del made[name]
                made[name.replace("Type", "Group")] = self._ids(group_of(value[0]), [1_001, 1_005])
        if "shipGroupId" in made and self.random_.random() < 0.3:
            made["shipCategoryId"] = [category_of(made.pop("shipGroupId")[0])]
        return made

    def _victim(self, body: dict[str, Any], _: Any) -> dict[str, Any]:
        return {"victim": self._some(body["victim"], OF_ATTACKER[:5])}

    def _attacker(self, body: dict[str, Any], _: Any) -> dict[str, Any]:
        block = self.random_.choice(("attacker", "attacker", "finalBlow", "anyone"))
        return {block: self._some(self.random_.choice(body["attackers"]), OF_ATTACKER)}

    def _location(self, body: dict[str, Any], _: Any) -> dict[str, Any]:
        system, random_ = body["solar_system_id"], self.random_
        near = {"solarSystemId": system} | random_.choice(
            ({"jumps": random_.randint(0, 50)}, {"lightYears": random_.uniform(0, 100)})
        )
        conditions: list[dict[str, Any]] = [
            {"solarSystemId": [system]},
            {"regionId": [3_000 + system % 60]},
            {"constellationId": [2_000 + system % 400]},
            {"minSecurity": random_.randint(-10, 9) / 10},
            {"near": near},
        ]
        return {"location": random_.choice(conditions)}

    def _other(self, body: dict[str, Any], zkb: dict[str, Any]) -> dict[str, Any]:
        time = datetime.fromisoformat(body["killmail_time"])
        days = timedelta(days=self.random_.randint(0, 300))
        items = [one["item_type_id"] for one in body["victim"].get("items", ())] or [34]
        item = self.random_.choice(items)
        conditions: list[dict[str, Any]] = [
            {"since": (time - days).isoformat()},
            {"before": (time + days).isoformat()},
            {"minTotalValue": zkb.get("totalValue", 1e6)},
            {"maxFittedValue": zkb.get("fittedValue", 1e6)},
            {"minDestroyedValue": zkb.get("destroyedValue", 1e6)},
            {"maxPoints": zkb.get("points", 1)},
            {"label": zkb.get("labels", ["pvp"])[:1]},
            {"itemTypeId": self._ids(item, items)},
            {"itemGroupId": [group_of(item)]},
            {"minAttackers": self.random_.randint(1, 20)},
            {"maxAttackers": self.random_.randint(1, 20)},
            {self.random_.choice(("npc", "solo", "awox")): self.random_.random() < 0.5},
        ]
        return self.random_.choice(conditions)


def drawing(references: Sequence[bytes], seed: int) -> Drawing:
    """Prepare to draw filters for killmails."""
    decoded = map(decode_reference, references)
    return Drawing(
        [
            (msgspec.json.decode(one.body), msgspec.json.decode(one.zkb) if one.zkb else {})
            for one in decoded
        ],
        random.Random(seed),
    )


async def load(database: AsyncEngine, references: Sequence[bytes]) -> None:
    """Store a universe of our own, and killmails."""
    bodies = [msgspec.json.decode(decode_reference(one).body) for one in references]
    systems = sorted({body["solar_system_id"] for body in bodies})
    types = {type_id for body in bodies for type_id in _types_in(body)}
    groups = sorted({*map(group_of, types), 1_001, 1_005})
    now = datetime.now(UTC)
    async with database.begin() as connection:
        await connection.execute(UNIVERSE.insert().values(loaded_at=now, next_check_at=now))
        rows: dict[Any, list[dict[str, Any]]] = {
            UNIVERSE_GROUPS: [{"group_id": id_, "category_id": category_of(id_)} for id_ in groups],
            UNIVERSE_TYPES: [
                {"type_id": id_, "group_id": group_of(id_)} for id_ in types | {1_001}
            ],
            SOLAR_SYSTEMS: [_system(id_) for id_ in systems],
            STARGATES: [
                {
                    "stargate_id": index,
                    "solar_system_id": id_,
                    "destination_stargate_id": 0,
                    "destination_solar_system_id": to,
                }
                for index, (id_, to) in enumerate(
                    [
                        *pairwise(systems),
                        *pairwise(systems[::-1]),
                    ]
                )
            ],
        }
        for table, of_table in rows.items():
            for start in range(0, len(of_table), BATCH):
                await connection.execute(table.insert(), of_table[start : start + BATCH])
    for start in range(0, len(references), BATCH):
        await store(database, read(references[start : start + BATCH])[0])


def _types_in(body: dict[str, Any]) -> list[int]:
    held = body["victim"].get("items", ())
    inside = [one for item in held for one in item.get("items", ())]
    return [
        body["victim"]["ship_type_id"],
        *(one["item_type_id"] for one in [*held, *inside]),
        *(one[name] for one in body["attackers"] for name in OF_ATTACKER[4:] if one.get(name)),
    ]


def _system(id_: int) -> dict[str, Any]:
    return {
        "solar_system_id": id_,
        "constellation_id": 2_000 + id_ % 400,
        "region_id": 3_000 + id_ % 60,
        "security_status": (id_ * 7 % 21 - 10) / 10,
        "band": ("high", "low", "null")[id_ % 3],
        **{axis: id_ * prime % 211 * LY for axis, prime in (("x", 31), ("y", 37), ("z", 41))},
    }


@asynccontextmanager
async def subjects(
    settings: Settings,
) -> AsyncIterator[tuple[Facts, dict[int, Subject]]]:
    """Read what filters are applied to from all stored killmails, by their bodies and blocks."""
    async with open_read_database(settings, read_s=60) as database:
        facts = Facts(database)
        await facts.loaded_universe()
        labels = await database.fetch_all(select(LABELS.c.label))
        await facts.label_terms({row["label"] for row in labels})
        views = await reads.matching(
            database, KILLMAILS.c.killmail_id >= 0, 10**6, with_names=False
        )
        yield facts, {view.entry.killmail_id: facts.subject(view) for view in views}


async def found_by_index(facts: Facts, filter_: dict[str, Any]) -> set[int]:
    """Return what the finder finds, page by page."""
    tree = await tree_for(facts, read_json(msgspec.json.encode(filter_).decode()))
    found: set[int] = set()
    start = None
    while True:
        page = await facts.database.in_snapshot(partial(_page, tree, start))
        found.update(page.killmail_ids)
        if page.searched_to is None:
            return found
        start = page.searched_to


async def _page(tree: Tree, start: int | None, read: Any) -> Page:
    return await find(read, tree, limit=1_000, start=start)


async def found_by_predicate(
    facts: Facts, filter_: dict[str, Any], of: dict[int, Subject]
) -> set[int]:
    """Return what the predicate selects."""
    tree = normal_form(await tree_for(facts, read_json(msgspec.json.encode(filter_).decode())))
    return {id_ for id_, subject in of.items() if matches(tree, subject)}
