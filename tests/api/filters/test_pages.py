"""`killmails(filter:)` equals a scan of what was stored, page by page, over both databases."""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.finding.walk import BUDGET
from actors.shared.reference import encode_reference
from actors.shared.settings import Settings
from actors.shared.tables import (
    POSTINGS_STATE,
    SOLAR_SYSTEMS,
    UNIVERSE,
    UNIVERSE_GROUPS,
    UNIVERSE_TYPES,
)
from api import search
from tests.api.gateway import Writer, query
from tests.support.made import a_mail, a_reference, an_attacker

FIRST_ID = 131_000_000
COUNT = 150
VALUES = (None, 5e5, 1e6, 2.5e9)
PARTICIPANT = ("character_id", "corporation_id", "alliance_id", "faction_id", "ship_type_id")

PAGE = """
query ($first: Int, $after: String, $filter: KillmailFilter, $orderBy: KillmailOrder = time) {
  killmails(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {
    nodes { killmailId }
    edges { cursor node { killmailId victim { shipTypeName } } }
    pageInfo { hasNextPage endCursor }
    complete
  }
}
"""


@dataclass(frozen=True)
class Made:
    """A killmail that was stored."""

    mail: dict[str, Any]
    zkb: dict[str, Any]

    @property
    def total_value(self) -> float | None:
        value: float | None = self.zkb["totalValue"]
        return value

    def attacker(self, **ids: int | bool) -> bool:
        return any(
            all(one.get(name) == id_ for name, id_ in ids.items()) for one in self.mail["attackers"]
        )

    def in_role(self, role: str, **ids: int) -> bool:
        victims = [self.mail["victim"]] if role != "attacker" else []
        attackers = self.mail["attackers"] if role != "victim" else []
        return any(
            all(one.get(name) == id_ for name, id_ in ids.items()) for one in (*victims, *attackers)
        )


def some_killmails() -> list[Made]:
    random_ = random.Random(5)

    def participant() -> dict[str, int]:
        return {name: random_.randint(1, 3) for name in PARTICIPANT if random_.random() < 0.7}

    made = []
    for index in range(COUNT):
        victim = {"damage_taken": 1, "ship_type_id": 1} | participant()
        attackers = [
            an_attacker(**participant(), weapon_type_id=random_.randint(1, 3), final_blow=at == 0)
            for at in range(random_.randint(1, 3))
        ]
        mail = a_mail(
            FIRST_ID + index,
            killmail_time=f"2026-01-01T{index // 60:02}:{index % 60:02}:00Z",
            solar_system_id=random_.randint(1, 3),
            victim=victim,
            attackers=attackers,
        )
        if random_.random() < 0.3:
            mail["war_id"] = random_.randint(1, 3)
        item = {"item_type_id": random_.randint(1, 3), "flag": 5, "singleton": 0}
        mail["victim"]["items"] = [item] if random_.random() < 0.5 else []
        zkb = {
            "totalValue": random_.choice(VALUES),
            "droppedValue": random_.choice(VALUES),
            "labels": [one for one in ("pvp", "solo") if random_.random() < 0.4],
        }
        made.append(Made(mail, zkb))
    return made


MADE = some_killmails()


async def put(database: AsyncEngine, made: Sequence[Made]) -> None:
    """Store killmails as the actors do."""
    references = []
    for one in made:
        zkb = msgspec.Raw(msgspec.json.encode(one.zkb))
        body = msgspec.json.encode(one.mail)
        references.append(encode_reference(a_reference(body, one.mail["killmail_id"], zkb=zkb)))
    await store(database, read(references)[0])


@pytest.fixture
def settings(database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, **database_settings)


Holds = Callable[[Made], bool]
FILTERS: dict[str, tuple[dict[str, Any], Holds]] = {
    "any role": ({"characterId": 1}, lambda m: m.in_role("any", character_id=1)),
    "victim": (
        {"role": "victim", "corporationId": 2},
        lambda m: m.in_role("victim", corporation_id=2),
    ),
    "attacker": (
        {"role": "attacker", "allianceId": 3},
        lambda m: m.in_role("attacker", alliance_id=3),
    ),
    "one participant": (
        {"factionId": 2, "shipTypeId": 1},
        lambda m: m.in_role("any", faction_id=2, ship_type_id=1),
    ),
    "one attacker": (
        {"role": "attacker", "characterId": 2, "corporationId": 1},
        lambda m: m.in_role("attacker", character_id=2, corporation_id=1),
    ),
    "system and value": (
        {"solarSystemId": 1, "minTotalValue": 1e6, "maxTotalValue": 2.5e9},
        lambda m: m.mail["solar_system_id"] == 1 and (m.total_value or 0) >= 1e6,
    ),
    "time": (
        {"since": "2026-01-01T00:30:00Z", "before": "2026-01-01T01:40:00Z"},
        lambda m: "T00:30" <= m.mail["killmail_time"][10:16] < "T01:40",
    ),
    "attacker count": (
        {"minAttackers": 2, "maxAttackers": 2},
        lambda m: len(m.mail["attackers"]) == 2,
    ),
    "the same attacker": (
        {"attacker": {"allianceId": [1, 2], "shipTypeId": 1, "weaponTypeId": 2}},
        lambda m: any(
            m.attacker(alliance_id=id_, ship_type_id=1, weapon_type_id=2) for id_ in (1, 2)
        ),
    ),
    "final blow": (
        {"finalBlow": {"corporationId": 2}},
        lambda m: m.attacker(corporation_id=2, final_blow=True),
    ),
    "anyone": (
        {"anyone": {"allianceId": 1, "factionId": 2}},
        lambda m: m.in_role("any", alliance_id=1, faction_id=2),
    ),
    "and, or, not": (
        {
            "or": [{"victim": {"shipTypeId": [2]}}, {"warId": [1, 2]}],
            "not": {"and": [{"location": {"solarSystemId": [1, 2]}}, {"minAttackers": 2}]},
        },
        lambda m: (
            (m.mail["victim"]["ship_type_id"] == 2 or m.mail.get("war_id") in (1, 2))
            and not (m.mail["solar_system_id"] in (1, 2) and len(m.mail["attackers"]) >= 2)
        ),
    ),
    "items and labels": (
        {"itemTypeId": [1, 3], "label": ["pvp", "unheard of"]},
        lambda m: (
            any(i["item_type_id"] in (1, 3) for i in m.mail["victim"]["items"])
            and "pvp" in m.zkb["labels"]
        ),
    ),
    "not a label": (
        {"not": {"label": "solo"}},
        lambda m: m.total_value is not None and "solo" not in m.zkb["labels"],
    ),
    "what dropped": (
        {"not": {"minDroppedValue": 1e6}},
        lambda m: m.zkb["droppedValue"] is not None and m.zkb["droppedValue"] < 1e6,
    ),
    "nobody": ({"characterId": 77}, lambda m: False),
    "nothing given": ({"characterId": None}, lambda m: True),
}


async def test_pages_equal_a_scan(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(writer.database, MADE)
    for budget in (BUDGET, 1):  # the second ends each page as early as it may
        monkeypatch.setattr(search, "PAGE_BUDGET", budget)
        for name, (conditions, holds) in FILTERS.items():
            expected = [one.mail["killmail_id"] for one in reversed(MADE) if holds(one)]
            pages = [page async for page in all_pages(client, conditions)]
            assert [n["killmailId"] for page in pages for n in page["nodes"]] == expected, name
            assert all(page["complete"] for page in pages)


async def test_the_most_valuable_come_first(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(writer.database, MADE)
    by_value = sorted(
        MADE, key=lambda one: (one.total_value or 0.0, one.mail["killmail_id"]), reverse=True
    )
    for budget in (BUDGET, 1):
        monkeypatch.setattr(search, "PAGE_BUDGET", budget)
        for name, (conditions, holds) in FILTERS.items():
            expected = [one.mail["killmail_id"] for one in by_value if holds(one)]
            pages = [page async for page in all_pages(client, conditions, orderBy="value")]
            edges = [edge for page in pages for edge in page["edges"]]
            assert [edge["node"]["killmailId"] for edge in edges] == expected, name
    for at in (2, len(edges) - 3):  # of a known value, and of an unknown one
        page = await query(client, PAGE, first=1, after=edges[at]["cursor"], orderBy="value")
        assert page["data"]["killmails"]["edges"] == [edges[at + 1]]


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_unknown_values_are_counted(client: aiohttp.ClientSession, writer: Writer) -> None:
    await put(writer.database, MADE)
    document = """
        query ($filter: KillmailFilter, $order: KillmailOrder) {
          killmails(filter: $filter, orderBy: $order) { unknownValues }
        }
    """
    unknown = sum(m.total_value is None and m.mail["solar_system_id"] == 1 for m in MADE)
    here = [m for m in MADE if m.mail["solar_system_id"] == 1]
    undropped = sum(m.zkb["droppedValue"] is None for m in here)
    either = undropped + sum(
        m.total_value is None and (m.zkb["droppedValue"] or 0) > 1e6 for m in here
    )
    of_all = sum(m.total_value is None for m in MADE)
    conditions: list[tuple[dict[str, Any], str, int]] = [
        ({"solarSystemId": 1, "minTotalValue": 1e6}, "time", unknown),
        ({"solarSystemId": 1, "minTotalValue": 1e6}, "value", unknown),
        ({"solarSystemId": 1}, "time", 0),
        ({"solarSystemId": 1}, "value", unknown),
        ({}, "time", 0),
        ({}, "value", of_all),
        ({"solarSystemId": 1, "minDroppedValue": 1e6}, "time", undropped),
        ({"solarSystemId": 1, "not": {"maxDroppedValue": 1e6}}, "value", either),
    ]
    for given, order, expected in conditions:
        answer = await query(client, document, filter=given, order=order)
        assert answer["data"]["killmails"]["unknownValues"] == expected
    assert unknown > 5


async def all_pages(
    client: aiohttp.ClientSession, conditions: dict[str, Any], first: int = 40, **more: Any
) -> AsyncIterator[Any]:
    after = None
    while True:
        answer = await query(client, PAGE, first=first, after=after, filter=conditions, **more)
        page = answer["data"]["killmails"]
        yield page
        after = page["pageInfo"]["endCursor"]
        if not page["pageInfo"]["hasNextPage"]:
            return


async def test_a_cursor_survives_killmails_that_arrive_later(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await put(writer.database, MADE[:100])
    conditions = {"role": "victim", "shipTypeId": 1}
    pages = all_pages(client, conditions, first=10)
    seen = [(await anext(pages))["edges"]]
    await put(writer.database, MADE[100:])
    seen += [page["edges"] async for page in pages]
    ids = [edge["node"]["killmailId"] for edges in seen for edge in edges]
    holds = [one.mail["killmail_id"] for one in MADE[:100] if one.in_role("victim", ship_type_id=1)]
    assert ids == holds[::-1]
    after_third = await query(client, PAGE, first=1, after=seen[0][2]["cursor"], filter=conditions)
    assert after_third["data"]["killmails"]["nodes"] == [{"killmailId": ids[3]}]


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        ({"characterId": -1}, "no id of EVE's is -1"),
        ({"role": "attacker", "shipTypeId": 2**37}, "no id of EVE's is 137438953472"),
        ({"minTotalValue": 2, "maxTotalValue": 1}, "minTotalValue is more than maxTotalValue"),
        (
            {"since": "2026-01-01T00:00:00Z", "before": "2026-01-01T00:00:00Z"},
            "since must be earlier than before",
        ),
    ],
)
async def test_a_senseless_filter_is_refused(
    client: aiohttp.ClientSession, conditions: dict[str, Any], message: str
) -> None:
    (error,) = (await query(client, PAGE, filter=conditions))["errors"]
    assert message in error["message"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_a_cursor_of_another_list_is_refused(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await put(writer.database, MADE[:5])
    of_all = (await query(client, PAGE, first=2))["data"]["killmails"]["pageInfo"]["endCursor"]
    answer = await query(client, PAGE, after=of_all, filter={"solarSystemId": 1})
    assert "of the same filter" in answer["errors"][0]["message"]
    found = await query(client, PAGE, first=1, filter={"since": "2026-01-01T00:00:00Z"})
    of_filter = found["data"]["killmails"]["pageInfo"]["endCursor"]
    for order in ("time", "value"):
        (error,) = (await query(client, PAGE, after=of_filter, orderBy=order))["errors"]
        assert "not a cursor" in error["message"]


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_what_cannot_find_everything_says_so(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with writer.database.begin() as connection:
        await connection.execute(update(POSTINGS_STATE).values(complete=False))
    answer = await query(client, PAGE, filter={"solarSystemId": 1})
    assert answer["data"]["killmails"]["complete"] is False


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_places_are_known_with_the_universe(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    forge = {"regionId": 10_000_002, "constellationId": 20_000_020, "spaceBand": "highsec"}
    (error,) = (await query(client, PAGE, filter=forge))["errors"]
    assert error["extensions"]["code"] == "UNIVERSE_UNKNOWN"
    assert "the static universe is being loaded" in error["message"]
    now = datetime.now(UTC)
    system = {"constellation_id": 20_000_020, "region_id": 10_000_002, "band": "high"}
    async with writer.database.begin() as connection:
        await connection.execute(UNIVERSE.insert().values(loaded_at=now, next_check_at=now))
        await connection.execute(SOLAR_SYSTEMS.insert().values(solar_system_id=2, **system))
    await put(writer.database, MADE)
    page = (await query(client, PAGE, first=200, filter=forge))["data"]["killmails"]
    assert page["complete"] is False
    async with writer.database.begin() as connection:
        await connection.execute(update(POSTINGS_STATE).values(universe_loaded_at=now))
    page = (await query(client, PAGE, first=200, filter=forge))["data"]["killmails"]
    in_system = [one.mail for one in reversed(MADE) if one.mail["solar_system_id"] == 2]
    assert page["nodes"] == [{"killmailId": mail["killmail_id"]} for mail in in_system]
    assert page["complete"] is True


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_facts_are_computed_without_zkillboards_block(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    now = datetime.now(UTC)
    async with writer.database.begin() as connection:
        await connection.execute(UNIVERSE.insert().values(loaded_at=now, next_check_at=now))
        group = {"group_id": 25, "category_id": 6, "name": "Frigate", "published": True}
        await connection.execute(UNIVERSE_GROUPS.insert().values(group))
        type_ = {"type_id": 587, "group_id": 25, "name": "Rifter", "published": True}
        await connection.execute(UNIVERSE_TYPES.insert().values(type_))
        await connection.execute(update(POSTINGS_STATE).values(universe_loaded_at=now))
    npcs, player = an_attacker(corporation_id=1_000_125), an_attacker(character_id=90_000_002)
    made = [
        Made(a_mail(FIRST_ID + index, attackers=attackers), {"totalValue": None})
        for index, attackers in enumerate(
            [[npcs], [player, npcs], [player, player | {"character_id": 90_000_003}]]
        )
    ]
    await put(writer.database, made)

    async def found(**facts: bool) -> list[int]:
        page = (await query(client, PAGE, filter=facts))["data"]["killmails"]
        return [node["killmailId"] - FIRST_ID for node in page["nodes"]]

    assert await found(npc=True) == [0]
    assert await found(npc=False) == [2, 1]
    assert await found(solo=True) == [1]
    assert await found(solo=False, npc=False) == [2]
    assert await found(awox=True) == []
