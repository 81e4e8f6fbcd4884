"""Conditions that stand on CCP's static data: found by the index, and known of one killmail."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.finding.normal import normal_form
from actors.shared.finding.subject import matches
from actors.shared.finding.tree import InSystems
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import (
    SOLAR_SYSTEMS,
    STARGATES,
    UNIVERSE,
    UNIVERSE_GROUPS,
    UNIVERSE_TYPES,
)
from api import search
from api.database import open_read_database
from api.filters.facts import Facts
from api.filters.graphql import tree_for
from api.filters.syntax import read_json
from tests.api.filters.given import LY
from tests.support.made import a_mail, a_reference, an_attacker

FRIGATE, CRUISER, MODULE = 25, 26, 53
RIFTER, STABBER, GUN, LAUNCHER = 587, 622, 2881, 2404
"""A frigate, a cruiser; a module, and one of another group."""
COUNT = 130
"""Solar systems, in a row: as many light years as jumps lie between them."""

MAILS = [
    a_mail(
        100 + index,
        solar_system_id=system,
        victim={"damage_taken": 1, "ship_type_id": ship, "items": [held]},
        attackers=[an_attacker(**attacker, final_blow=at == 0) for at, attacker in enumerate(by)],
    )
    for index, (system, ship, item, by) in enumerate(
        [
            (1, RIFTER, GUN, [{"alliance_id": 1, "ship_type_id": RIFTER, "weapon_type_id": GUN}]),
            (3, STABBER, GUN, [{"alliance_id": 1, "ship_type_id": STABBER}]),
            (6, RIFTER, LAUNCHER, [{"alliance_id": 2, "ship_type_id": RIFTER}]),
            (
                120,
                GUN,
                LAUNCHER,
                [
                    {"alliance_id": 1, "ship_type_id": STABBER, "weapon_type_id": LAUNCHER},
                    {"alliance_id": 2, "ship_type_id": RIFTER},
                ],
            ),
        ]
    )
    for held in [{"item_type_id": item, "flag": 5, "singleton": 0}]
]


@pytest.fixture
async def facts(sqlite: AsyncEngine) -> AsyncIterator[Facts]:
    now = datetime.now(UTC)
    async with sqlite.begin() as connection:
        await connection.execute(UNIVERSE.insert().values(loaded_at=now, next_check_at=now))
        groups = [(FRIGATE, 6), (CRUISER, 6), (MODULE, 7), (54, 7)]
        await connection.execute(
            UNIVERSE_GROUPS.insert(),
            [{"group_id": id_, "category_id": category} for id_, category in groups],
        )
        types = [(RIFTER, FRIGATE), (STABBER, CRUISER), (GUN, MODULE), (LAUNCHER, 54)]
        await connection.execute(
            UNIVERSE_TYPES.insert(), [{"type_id": id_, "group_id": of} for id_, of in types]
        )
        systems = [
            {
                "solar_system_id": id_,
                "constellation_id": 2_000 + id_ // 10,
                "region_id": 1_000,
                "security_status": 1.02 - id_ / 10 if id_ < 10 else -0.5,
                "band": "high" if id_ < 6 else "low",
                "x": id_ * LY,
                "y": 0.0,
                "z": 0.0,
            }
            for id_ in range(1, COUNT + 1)
        ]
        await connection.execute(SOLAR_SYSTEMS.insert(), systems)
        gates = [(id_, id_ + way) for id_ in range(2, COUNT) for way in (-1, 1)]
        rows = [
            {
                "stargate_id": index,
                "solar_system_id": from_,
                "destination_stargate_id": 0,
                "destination_solar_system_id": to,
            }
            for index, (from_, to) in enumerate([*gates, (1, 2), (COUNT, COUNT - 1)])
        ]
        await connection.execute(STARGATES.insert(), rows)
    references = [
        encode_reference(a_reference(msgspec.json.encode(mail), mail["killmail_id"]))
        for mail in MAILS
    ]
    await store(sqlite, read(references)[0])
    folder = str(sqlite.url.database).rsplit("/", 1)[0]
    async with open_read_database(Settings(data_dir=folder)) as database:
        yield Facts(database)


CASES: list[tuple[dict[str, Any], list[int]]] = [
    ({"victim": {"shipGroupId": [FRIGATE]}}, [0, 2]),
    ({"victim": {"shipCategoryId": 6}}, [0, 1, 2]),
    ({"attacker": {"shipGroupId": CRUISER}}, [1, 3]),
    ({"attacker": {"shipGroupId": FRIGATE, "allianceId": 1}}, [0]),
    ({"attacker": {"shipCategoryId": 6, "allianceId": 2}}, [2, 3]),
    ({"finalBlow": {"shipGroupId": [FRIGATE]}}, [0, 2]),
    ({"not": {"finalBlow": {"shipGroupId": [FRIGATE]}}}, [1, 3]),
    ({"attacker": {"weaponGroupId": MODULE}}, [0]),
    ({"attacker": {"weaponGroupId": [MODULE, 54], "allianceId": 1}}, [0, 3]),
    ({"anyone": {"shipGroupId": [FRIGATE]}}, [0, 2, 3]),
    ({"itemGroupId": MODULE}, [0, 1]),
    ({"location": {"spaceBand": "highsec"}}, [0, 1]),
    ({"location": {"constellationId": [2_000]}}, [0, 1, 2]),
    ({"location": {"minSecurity": 0.7}}, [0, 1]),
    ({"location": {"minSecurity": 0.4, "maxSecurity": 0.7}}, [1, 2]),
    ({"location": {"maxSecurity": 0.5}}, [2, 3]),
    ({"location": {"near": {"solarSystemId": 4, "jumps": 1}}}, [1]),
    ({"location": {"near": {"solarSystemId": 4, "jumps": 3}}}, [0, 1, 2]),
    ({"location": {"near": {"solarSystemId": 4, "lightYears": 2.5}}}, [1, 2]),
    ({"location": {"near": {"solarSystemId": 4, "jumps": 2, "lightYears": 1.5}}}, [1]),
    ({"not": {"location": {"near": {"solarSystemId": 1, "lightYears": 100}}}}, [3]),
]


async def test_the_index_and_the_killmail_itself_give_the_same(facts: Facts) -> None:
    every = await tree_for(facts, {})
    views = [view for view, _ in await all_of(facts, every)]
    assert len(views) == len(MAILS)
    for filter_, expected in CASES:
        tree = await tree_for(facts, read_json(msgspec.json.encode(filter_).decode()))
        found = [view.entry.killmail_id - 100 for view, _ in await all_of(facts, tree)]
        assert sorted(found) == expected, filter_
        judged = normal_form(tree)
        met = {
            view.entry.killmail_id - 100 for view in views if matches(judged, facts.subject(view))
        }
        assert sorted(met) == expected, filter_


async def test_many_systems_are_found_by_their_constellations(facts: Facts) -> None:
    space = await facts.space()
    assert space is await facts.space()
    tree = space.condition(space.of_security(None, 0.8))
    assert isinstance(tree, InSystems)
    assert len(tree.system_ids) == COUNT - 1
    assert len(tree.through) == 1 + COUNT // 10


async def all_of(facts: Facts, tree: Any) -> list[Any]:
    found = await search.by_id(facts.database, tree, None, 50, with_names=False)
    assert found.searched_to is None
    return found.views
