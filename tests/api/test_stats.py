"""Sums of killmails equal those of a scan, within the budget."""

from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from actors.shared.settings import Settings
from api import search, stats
from tests.api.filters.test_pages import MADE, Made, put
from tests.api.gateway import Writer, query
from tests.support.made import a_mail, an_attacker

STATS = """
query ($filter: KillmailFilter, $by: KillGroupBy, $every: KillInterval, $first: Int = 50) {
  killStats(filter: $filter, groupBy: $by, interval: $every, first: $first) {
    kills totalValue killsWithoutValue groupCount complete countedSince
    groups {
      key name kills totalValue killsWithoutValue
      intervals { since kills totalValue killsWithoutValue }
    }
  }
}
"""
COUNTS = """
query ($from: String!, $to: String!) {
  killmailsDateCounts(from: $from, to: $to) { days { day count } complete }
}
"""
GROUPED: dict[str, Callable[[Made], int | None]] = {
    "solarSystem": lambda one: one.mail["solar_system_id"],
    "shipType": lambda one: one.mail["victim"]["ship_type_id"],
    "alliance": lambda one: one.mail["victim"].get("alliance_id"),
}


@pytest.fixture
def settings(database_settings: dict[str, Any], tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, **database_settings)


def hour_of(one: Made) -> str:
    return f"{one.mail['killmail_time'][:13]}:00:00Z"


def sums(made: list[Made]) -> dict[str, Any]:
    known = [one.total_value for one in made if one.total_value is not None]
    return {
        "kills": len(made),
        "totalValue": sum(known),
        "killsWithoutValue": len(made) - len(known),
    }


async def stats_of(client: aiohttp.ClientSession, **given: Any) -> Any:
    answer = await query(client, STATS, **given)
    assert "errors" not in answer, answer
    return answer["data"]["killStats"]


async def test_sums_equal_a_scan(client: aiohttp.ClientSession, writer: Writer) -> None:
    await put(writer.database, MADE)
    chosen = [one for one in MADE if len(one.mail["attackers"]) > 1]
    for by, key_of in GROUPED.items():
        found = await stats_of(client, filter={"minAttackers": 2}, by=by, every="hour")
        expected: dict[Any, list[Made]] = defaultdict(list)
        for one in chosen:
            expected[key_of(one)].append(one)
        assert {"kills": len(chosen)} | found == found
        assert found["complete"]
        assert found["groupCount"] == len(expected)
        assert found["countedSince"] == min(one.mail["killmail_time"] for one in chosen)
        counts = [group["kills"] for group in found["groups"]]
        assert counts == sorted(counts, reverse=True)
        for group in found["groups"]:
            some = expected.pop(group["key"])
            assert sums(some) | group == group
            hours = sorted({hour_of(one) for one in some})
            assert group["intervals"] == [
                {"since": hour} | sums([one for one in some if hour_of(one) == hour])
                for hour in hours
            ]
        assert not expected
    whole = await stats_of(client)
    assert sums(MADE) | whole == whole
    assert (whole["groupCount"], whole["groups"][0]["key"]) == (1, None)


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_intervals_begin_where_calendars_say(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    days = [datetime(2025, 12, 28) + timedelta(days=back) for back in range(40)]  # noqa: DTZ001
    made = [
        Made(
            a_mail(
                100 + number,
                killmail_time=f"{day:%Y-%m-%d}T23:59:59Z",
                attackers=[an_attacker(alliance_id=1)],
            ),
            {"totalValue": 1.0},
        )
        for number, day in enumerate(days)
    ]
    await put(writer.database, made)
    begins: dict[str, Callable[[datetime], datetime]] = {
        "day": lambda day: day,
        "week": lambda day: day - timedelta(days=day.weekday()),
        "month": lambda day: day.replace(day=1),
    }
    for every, begin in begins.items():
        (group,) = (await stats_of(client, every=every))["groups"]
        expected = Counter(f"{begin(day):%Y-%m-%d}T00:00:00Z" for day in days)
        assert {one["since"]: one["kills"] for one in group["intervals"]} == expected


async def test_days_are_counted_exactly(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    times = ["2026-01-01T00:00:00Z", "2026-01-01T23:59:59Z", "2026-01-03T00:00:00Z"]
    await put(
        writer.database,
        [
            Made(a_mail(10 + n, killmail_time=time), {"totalValue": None})
            for n, time in enumerate(times)
        ],
    )
    days = {"from": "2025-12-31", "to": "2026-01-04"}

    async def counts() -> Any:
        return (await query(client, COUNTS, **days))["data"]["killmailsDateCounts"]

    found = await counts()
    assert found["complete"]
    assert [one["count"] for one in found["days"]] == [0, 2, 0, 1, 0]
    assert (found["days"][0]["day"], found["days"][-1]["day"]) == tuple(days.values())
    monkeypatch.setattr(stats, "DAYS_AT_ONCE", 2)
    monkeypatch.setattr(stats, "MAX_COUNTED", 1)
    assert await counts() == {"complete": False, "days": found["days"][3:]}
    days["to"] = "2027-12-31"
    (error,) = (await query(client, COUNTS, **days))["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("database_settings", ["sqlite"], indirect=True)
async def test_what_exceeds_the_budget_is_said(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    await put(writer.database, MADE)
    monkeypatch.setattr(search, "PAGE_BUDGET", 1)
    monkeypatch.setattr(stats, "CHUNK", 10)
    found = await stats_of(client, by="solarSystem", first=1)
    assert not found["complete"]
    assert found["kills"] == 10
    assert found["countedSince"] == MADE[-10].mail["killmail_time"]
    assert len(found["groups"]) == 1 < found["groupCount"]
    (error,) = (await query(client, STATS, first=201))["errors"]
    assert error["extensions"]["code"] == "BAD_USER_INPUT"
