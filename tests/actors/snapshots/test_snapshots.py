"""Snapshots agree with a count of the killmails by hand, on both databases."""

import random
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
import pytest
from sqlalchemy import TableClause, select, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.reference import encode_reference
from actors.shared.tables import (
    ALLIANCE_SNAPSHOTS,
    ATTACKERS,
    CORPORATION_SNAPSHOTS,
    KILLMAILS,
    SNAPSHOT_DAYS,
)
from actors.snapshots import members
from actors.snapshots.days import changed_days, mark_changed
from actors.snapshots.growth import ALLIANCE_GROWTH, CORPORATION_GROWTH, FLOWS, PERIODS, STOCKS
from actors.snapshots.members import record_alliance, record_corporation, sum_members
from actors.snapshots.take import take_day
from tests.support.made import LATER, a_body, a_reference, an_attacker
from tests.support.tables import rows, statements

FIRST = date(2026, 3, 1)
DAYS = [FIRST + timedelta(days=n) for n in range(40)]
RED, BLUE = 99_000_001, 99_000_002
CORPORATIONS = {98_000_001: RED, 98_000_002: RED, 98_000_003: BLUE, 98_000_004: None}
CAPSULE = 670


def side(corporation_id: int) -> dict[str, Any]:
    alliance_id = CORPORATIONS[corporation_id]
    return {"corporation_id": corporation_id} | (
        {"alliance_id": alliance_id} if alliance_id else {}
    )


def a_mail(killmail_id: int, day: date, dice: random.Random) -> dict[str, Any]:
    """Make a killmail at some time of a day, of some corporations, worth something."""
    second = dice.choice([0, 1, 43_200, 86_399])
    at = datetime.combine(day, datetime.min.time(), UTC) + timedelta(seconds=second)
    pilot = {"character_id": 90_000_001} if dice.random() < 0.8 else {}
    victim = pilot | side(dice.choice(list(CORPORATIONS)))
    fighters = dice.choices(list(CORPORATIONS), k=dice.randint(1, 4))
    return {
        "killmail_id": killmail_id,
        "killmail_time": f"{at:%Y-%m-%dT%H:%M:%SZ}",
        "victim": {"damage_taken": 1, "ship_type_id": dice.choice([587, CAPSULE]), **victim},
        "attackers": [an_attacker(character_id=90_000_002, **side(one)) for one in fighters],
        "isk": dice.choice([1.5e9, 250.0, None]),
    }


async def save(
    database: AsyncEngine, mails: Sequence[dict[str, Any]], as_of: float = LATER
) -> None:
    values = []
    for mail in mails:
        body = a_body(**{name: value for name, value in mail.items() if name != "isk"})
        value = b"{}" if mail["isk"] is None else b'{"totalValue":%f}' % mail["isk"]
        values.append(encode_reference(a_reference(body, as_of=as_of, zkb=msgspec.Raw(value))))
    arrivals, invalid = read(values)
    assert invalid == []
    await store(database, arrivals)


def by_hand(
    mails: Sequence[dict[str, Any]], day: date, name: str, entity_id: int
) -> tuple[int, int, int, int, float, float]:
    """Count what an entity did on a day, straight from the killmails."""
    of_day = [mail for mail in mails if mail["killmail_time"].startswith(str(day))]
    kills = [m for m in of_day if entity_id in [a.get(name) for a in m["attackers"]]]
    losses = [m for m in of_day if m["victim"].get(name) == entity_id]

    def ships(some: list[dict[str, Any]]) -> int:
        victims = [mail["victim"] for mail in some]
        return len([v for v in victims if "character_id" in v and v["ship_type_id"] != CAPSULE])

    def isk(some: list[dict[str, Any]]) -> float:
        return sum(mail["isk"] or 0.0 for mail in some)

    return len(kills), len(losses), ships(kills), ships(losses), isk(kills), isk(losses)


async def stored(database: AsyncEngine, table: Any, entity_id: int) -> dict[date, dict[str, Any]]:
    key = next(iter(table.primary_key))
    async with database.connect() as connection:
        rows = await connection.execute(select(table).where(key == entity_id))
        return {row.day: dict(row._mapping) for row in rows}


def head_count(day: date, corporation_id: int) -> int:
    return 100 + (day - FIRST).days * (corporation_id % 10) - (day - FIRST).days ** 2 // 10


async def test_snapshots_over_40_days_give_the_right_deltas(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    dice = random.Random(4)
    mails: list[dict[str, Any]] = []
    asked = DAYS[5:]  # ESI is first asked on the sixth day
    for day in DAYS:
        some = [a_mail(len(mails) + n + 1, day, dice) for n in range(dice.randint(0, 6))]
        await save(database, some)
        mails += some
        if day in asked:
            monkeypatch.setattr(members, "today", lambda day=day: day)
            async with database.begin() as connection:
                for corporation_id, alliance_id in CORPORATIONS.items():
                    count = head_count(day, corporation_id)
                    await record_corporation(connection, corporation_id, count, alliance_id)
                await record_alliance(connection, RED, 2)
                await record_alliance(connection, BLUE, 1)
        await take_day(database, day)

    for table, view, name, ids in (
        (ALLIANCE_SNAPSHOTS, ALLIANCE_GROWTH, "alliance_id", [RED, BLUE]),
        (CORPORATION_SNAPSHOTS, CORPORATION_GROWTH, "corporation_id", list(CORPORATIONS)),
    ):
        for entity_id in ids:
            snapshots = await stored(database, table, entity_id)
            counted: dict[date, tuple[float, ...]] = {
                day: by_hand(mails, day, name, entity_id) for day in DAYS
            }
            for day, counts in counted.items():
                found = snapshots.get(day)
                assert bool(found) == (any(counts[:2]) or day in asked)
                assert found is None or tuple(found[flow] for flow in FLOWS) == counts
            own = [id_ for id_, alliance in CORPORATIONS.items() if entity_id in (id_, alliance)]
            compared = await growth(database, view, view.c[name] == entity_id)
            check_deltas(compared, counted, own, asked)


async def growth(
    database: AsyncEngine, view: TableClause, of_entity: Any
) -> dict[tuple[date, int], dict[str, Any]]:
    async with database.connect() as connection:
        rows = await connection.execute(select(view).where(of_entity))
        return {(row.day, row.days): dict(row._mapping) for row in rows}


def check_deltas(
    compared: dict[tuple[date, int], dict[str, Any]],
    counted: dict[date, tuple[float, ...]],
    corporations: list[int],
    asked: Sequence[date],
) -> None:
    for day in DAYS:
        for days in PERIODS:
            changes = compared.get((day, days), NONE)
            before = day - timedelta(days=days)
            for name, of_each in (("members", head_count), ("corporations", lambda *_: 1)):
                if name in changes:
                    assert change(changes, name) == expected(
                        *(
                            sum(of_each(at, id_) for id_ in corporations) if at in asked else None
                            for at in (day, before)
                        )
                    )
            for index, flow in enumerate(FLOWS):
                assert change(changes, flow) == expected(
                    *(
                        sum(counted[at][index] for at in period(last, days) if at in counted)
                        for last in (day, before)
                    )
                )


NONE = dict.fromkeys(STOCKS) | {
    f"{name}{suffix}": 0 if suffix != "_growth" else None
    for name in FLOWS
    for suffix in ("", "_delta", "_growth")
}


def period(last: date, days: int) -> list[date]:
    return [last - timedelta(days=back) for back in range(days)]


def change(changes: dict[str, Any], name: str) -> tuple[Any, Any, Any]:
    return changes[name], changes.get(f"{name}_delta"), changes.get(f"{name}_growth")


def expected(now: float | None, then: float | None) -> Any:
    if now is None or then is None:
        return now, None, None
    return pytest.approx((now, now - then, (now - then) / then if then else None))


async def test_members_of_an_alliance_are_absent_until_all_its_corporations_are_known(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def members_of_red() -> int | None:
        found: int | None = (await stored(database, ALLIANCE_SNAPSHOTS, RED))[FIRST]["members"]
        return found

    monkeypatch.setattr(members, "today", lambda: FIRST)
    async with database.begin() as connection:
        await record_alliance(connection, RED, 2)
        await record_alliance(connection, BLUE, 0)
        await record_corporation(connection, 98_000_001, 10, RED)
        assert await sum_members(connection, [FIRST]) == 1  # Blue's 0
    assert await members_of_red() is None
    async with database.begin() as connection:
        await record_corporation(connection, 98_000_002, 5, RED)
        await record_corporation(connection, 98_000_001, 12, RED)  # the day's last word
        assert await sum_members(connection, [FIRST]) == 1
    assert await members_of_red() == 17
    async with database.begin() as connection:
        await record_corporation(connection, 98_000_002, 5, None)
        await sum_members(connection, [FIRST])
    assert await members_of_red() is None  # the list of the alliance says 2


async def test_sums_that_are_the_same_are_not_written(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    days = DAYS[:2]
    for day in days:
        monkeypatch.setattr(members, "today", lambda day=day: day)
        async with database.begin() as connection:
            await record_alliance(connection, RED, 1)
            await record_corporation(connection, 98_000_001, 10, RED)
    with statements(database) as said:
        async with database.begin() as connection:
            assert await sum_members(connection, days) == 2
        assert len([one for one in said if one.startswith("UPDATE")]) == 1
    with statements(database) as said:
        async with database.begin() as connection:
            assert await sum_members(connection, days) == 0
        assert not [one for one in said if one.startswith("UPDATE")]


async def test_changed_days_are_marked_in_one_statement(database: AsyncEngine) -> None:
    async with database.begin() as connection:
        await mark_changed(connection, DAYS[:3])
    before = await stored_days(database)
    with statements(database) as said:
        async with database.begin() as connection:
            await mark_changed(connection, DAYS[1:])
    assert len([one for one in said if one.startswith("UPDATE")]) == 1
    after = await stored_days(database)
    assert list(after) == DAYS
    assert [day for day in before if after[day] > before[day]] == DAYS[1:3]


async def stored_days(database: AsyncEngine) -> dict[date, datetime]:
    return {row["day"]: row["changed_at"] for row in await rows(database, SNAPSHOT_DAYS)}


async def test_killmail_that_arrives_late_has_its_day_computed_anew(database: AsyncEngine) -> None:
    dice = random.Random(1)
    mails = [a_mail(1, FIRST, dice)]
    await save(database, mails)
    async with database.begin() as connection:
        await mark_changed(connection, {FIRST, DAYS[1]})
        assert list(await connection.scalars(changed_days())) == [DAYS[1], FIRST]
    await take_day(database, FIRST)
    await take_day(database, DAYS[1])
    async with database.begin() as connection:
        assert list(await connection.scalars(changed_days(again=timedelta()))) == []
        mails.append(a_mail(2, FIRST, dice))
    await save(database, mails[1:])
    async with database.begin() as connection:
        await mark_changed(connection, {FIRST})
        assert list(await connection.scalars(changed_days())) == []  # too soon
        assert list(await connection.scalars(changed_days(again=timedelta()))) == [FIRST]
    await take_day(database, FIRST)
    await take_day(database, FIRST)
    for corporation_id in CORPORATIONS:
        found = (await stored(database, CORPORATION_SNAPSHOTS, corporation_id)).get(FIRST)
        counts = by_hand(mails, FIRST, "corporation_id", corporation_id)
        assert (tuple(found[flow] for flow in FLOWS) if found else (0,) * 6) == counts


async def test_an_unreadable_killmail_costs_only_itself(database: AsyncEngine) -> None:
    mails = [a_mail(n, FIRST, random.Random(n)) for n in (1, 2)]
    await save(database, mails)
    async with database.begin() as connection:
        await connection.execute(ATTACKERS.delete())  # the bodies are the truth
        of_first = KILLMAILS.c.killmail_id == 1
        await connection.execute(update(KILLMAILS).where(of_first).values(body=b"?"))
    await take_day(database, FIRST)
    for corporation_id in CORPORATIONS:
        found = (await stored(database, CORPORATION_SNAPSHOTS, corporation_id)).get(FIRST)
        counts = by_hand(mails[1:], FIRST, "corporation_id", corporation_id)
        assert (tuple(found[flow] for flow in FLOWS) if found else (0,) * 6) == counts


async def test_corrected_killmail_leaves_nothing_of_its_former_sides(database: AsyncEngine) -> None:
    mail = a_mail(1, FIRST, random.Random(2))
    mail |= {"attackers": [an_attacker(**side(98_000_003))], "victim": side(98_000_001)}
    mail["victim"] |= {"damage_taken": 1, "ship_type_id": 587}
    await save(database, [mail], as_of=LATER)
    await take_day(database, FIRST)
    assert FIRST in await stored(database, ALLIANCE_SNAPSHOTS, BLUE)
    async with database.begin() as connection:
        await connection.execute(update(SNAPSHOT_DAYS).values(computed_at=None))
    mail["attackers"] = [an_attacker(**side(98_000_002))]
    await save(database, [mail], as_of=LATER + 10)
    await take_day(database, FIRST)
    assert await stored(database, ALLIANCE_SNAPSHOTS, BLUE) == {}
    assert (await stored(database, ALLIANCE_SNAPSHOTS, RED))[FIRST]["kills"] == 1


@pytest.mark.parametrize("value", ['"much"', "null", "[1]"])
async def test_value_that_is_no_number_counts_0(sqlite: AsyncEngine, value: str) -> None:
    body = a_body(1, attackers=[an_attacker(**side(98_000_001))])
    zkb = msgspec.Raw(f'{{"totalValue":{value}}}'.encode())
    arrivals, _ = read([encode_reference(a_reference(body, zkb=zkb))])
    await store(sqlite, arrivals)
    await take_day(sqlite, date(2024, 5, 1))
    (found,) = (await stored(sqlite, CORPORATION_SNAPSHOTS, 98_000_001)).values()
    assert (found["kills"], found["isk_destroyed"]) == (1, 0.0)
