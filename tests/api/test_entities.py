"""Alliances and corporations with snapshots, metrics and charts, over both databases."""

import asyncio
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from sqlalchemy import insert, select, update

from actors.shared.settings import Settings
from actors.shared.tables import (
    ALLIANCE_SNAPSHOTS,
    ALLIANCES,
    CORPORATION_SNAPSHOTS,
    CORPORATIONS,
)
from tests.api.gateway import Writer, query

RED, CORPORATION = 99_000_001, 98_000_001

METRICS = """
query ($id: Long!, $day: String) {
  alliance(id: $id) {
    name state dateFounded
    metrics(day: $day) {
      day
      over1Day { members { value delta growth } kills { value delta growth } }
      over7Days { days members { delta growth } iskLost { value delta growth } }
      over30Days { members { delta } corporations { delta } }
    }
  }
}
"""
CHANGE = "{ value delta growth }"
DAYS = """
query ($id: Long!, $days: Int) {
  corporation(id: $id) {
    memberCount allianceId taxRate
    snapshots(days: $days) { day members corporations kills shipsLost iskDestroyed }
    chart(days: $days) { days members kills iskDestroyed }
  }
}
"""


@pytest.fixture
def settings(database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, **database_settings)


@pytest.fixture
def today() -> date:
    """The day on which the test begins."""
    return datetime.now(UTC).date()


@pytest.fixture(autouse=True)
async def _entities(writer: Writer, today: date) -> None:
    in_an_hour = datetime.now(UTC) + timedelta(hours=1)
    founded = datetime(2010, 5, 1, tzinfo=UTC)
    described = {"name": "Red", "ticker": "RED", "state": "active", "expires_at": in_an_hour}
    snapshots: list[dict[str, Any]] = [
        {
            "alliance_id": RED,
            "day": today - timedelta(days=back),
            "members": 200 - 10 * back if back < 10 else None,
            "corporations": 3 if back < 10 else None,
            "kills": 1 + back,
            "isk_lost": 1e9 * back,
        }
        for back in range(20)
    ]
    async with writer.database.begin() as connection:
        await connection.execute(
            insert(ALLIANCES), described | {"alliance_id": RED, "date_founded": founded}
        )
        await connection.execute(
            insert(CORPORATIONS),
            described
            | {"corporation_id": CORPORATION, "member_count": 7, "alliance_id": RED}
            | {"tax_rate": 12.5},
        )
        await connection.execute(insert(ALLIANCE_SNAPSHOTS), snapshots)
        await connection.execute(
            insert(CORPORATION_SNAPSHOTS),
            [
                {"corporation_id": CORPORATION, "day": today, "members": 7}
                | dict.fromkeys(("kills", "ships_lost", "isk_destroyed"), 0),
                {
                    "corporation_id": CORPORATION,
                    "day": today - timedelta(days=2),
                    "members": None,
                    "kills": 4,
                    "ships_lost": 1,
                    "isk_destroyed": 2.5e9,
                },
            ],
        )


async def test_metrics_compare_days_and_periods(client: aiohttp.ClientSession, today: date) -> None:
    answer = await query(client, METRICS, id=RED)
    yesterday = today - timedelta(days=1)
    lost, before = 1e9 * sum(range(1, 8)), 1e9 * sum(range(8, 15))
    assert answer == {
        "data": {
            "alliance": {
                "name": "Red",
                "state": "active",
                "dateFounded": "2010-05-01T00:00:00Z",
                "metrics": {
                    "day": str(yesterday),
                    "over1Day": {
                        "members": {"value": 190, "delta": 10, "growth": pytest.approx(10 / 180)},
                        "kills": {"value": 2, "delta": -1, "growth": pytest.approx(-1 / 3)},
                    },
                    "over7Days": {
                        "days": 7,
                        "members": {"delta": 70, "growth": pytest.approx(70 / 120)},
                        "iskLost": {
                            "value": lost,
                            "delta": lost - before,
                            "growth": pytest.approx((lost - before) / before),
                        },
                    },
                    "over30Days": {"members": {"delta": None}, "corporations": {"delta": None}},
                },
            }
        }
    }
    of_today = await query(client, METRICS, id=RED, day=str(today))
    over_1_day = of_today["data"]["alliance"]["metrics"]["over1Day"]
    assert over_1_day["members"]["value"] == 200


async def test_metrics_count_days_without_snapshots_as_0(
    client: aiohttp.ClientSession, today: date
) -> None:
    metrics = f"""{{
      over1Day {{ members {CHANGE} corporations {CHANGE} kills {CHANGE} }}
      over7Days {{ kills {CHANGE} iskDestroyed {CHANGE} }}
    }}"""
    document = f"""query ($id: Long!, $day: String) {{ corporation(id: $id) {{
      yesterday: metrics {metrics} other: metrics(day: $day) {metrics}
    }} }}"""
    unknown = {"value": None, "delta": None, "growth": None}
    nothing = {"value": 0, "delta": 0, "growth": None}
    answers = [
        await query(client, document, id=CORPORATION, day=str(today + timedelta(days=days)))
        for days in (-9, 5000)
    ]
    for answer in answers:
        assert answer["data"]["corporation"]["yesterday"] == {
            "over1Day": {
                "members": unknown,
                "corporations": unknown,
                "kills": {"value": 0, "delta": -4, "growth": -1},
            },
            "over7Days": {
                "kills": {"value": 4, "delta": 4, "growth": None},
                "iskDestroyed": {"value": 2.5e9, "delta": 2.5e9, "growth": None},
            },
        }
    before, after = (answer["data"]["corporation"]["other"] for answer in answers)
    assert (
        before
        == after
        == {
            "over1Day": {"members": unknown, "corporations": unknown, "kills": nothing},
            "over7Days": {"kills": nothing, "iskDestroyed": nothing},
        }
    )


async def test_snapshots_are_those_that_exist_and_charts_have_every_day(
    client: aiohttp.ClientSession, today: date
) -> None:
    answer = await query(client, DAYS, id=CORPORATION, days=3)
    days = [str(today - timedelta(days=back)) for back in (2, 1, 0)]
    empty = {"members": None, "corporations": None, "kills": 0, "shipsLost": 0, "iskDestroyed": 0}
    assert answer == {
        "data": {
            "corporation": {
                "memberCount": 7,
                "allianceId": RED,
                "taxRate": 12.5,
                "snapshots": [
                    empty | {"day": days[0], "kills": 4, "shipsLost": 1, "iskDestroyed": 2.5e9},
                    empty | {"day": days[2], "members": 7},
                ],
                "chart": {
                    "days": days,
                    "members": [None, None, 7],
                    "kills": [4, 0, 0],
                    "iskDestroyed": [2.5e9, 0, 0],
                },
            }
        }
    }


async def test_looking_has_a_known_one_refreshed_when_esi_allows_it(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async def next_refresh_at() -> list[Any]:
        async with writer.database.connect() as connection:
            return list(await connection.scalars(select(ALLIANCES.c.next_refresh_at)))

    document = "query ($id: Long!) { alliance(id: $id) { name } }"
    await query(client, document, id=RED)
    assert await next_refresh_at() == [None]
    async with writer.database.begin() as connection:
        an_hour_ago = datetime.now(UTC) - timedelta(hours=1)
        await connection.execute(update(ALLIANCES).values(expires_at=an_hour_ago))
    assert (await query(client, document, id=RED))["data"] == {"alliance": {"name": "Red"}}
    async with asyncio.timeout(10):
        while (due := (await next_refresh_at())[0]) is None:
            await asyncio.sleep(0.01)
    assert await query(client, document, id=99_999_999) == {"data": {"alliance": None}}
    assert await next_refresh_at() == [due]


@pytest.mark.parametrize(
    ("field", "argument"),
    [("snapshots", "days: 0"), ("chart", "days: 401"), ("metrics", 'day: "tomorrow"')],
)
async def test_arguments_out_of_range_are_refused(
    client: aiohttp.ClientSession, field: str, argument: str
) -> None:
    inner = {"snapshots": "day", "chart": "days", "metrics": "day"}[field]
    document = f"{{ alliance(id: {RED}) {{ {field}({argument}) {{ {inner} }} }} }}"
    answer = await query(client, document)
    assert [error["extensions"]["code"] for error in answer["errors"]] == ["BAD_USER_INPUT"]
