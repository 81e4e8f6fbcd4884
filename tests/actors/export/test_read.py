"""A file is one state of the database, whatever is stored meanwhile."""

from datetime import date
from itertools import count

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.export import read
from actors.export.read import changed_days, count_killmails, killmails_of, read_feed, unpacked
from actors.killmails import persist
from actors.shared.database import reading_one_state
from actors.shared.reference import Reference, encode_reference
from tests.support.made import LATER, a_body, a_reference

DAY = date(2024, 5, 1)


async def store(database: AsyncEngine, *references: Reference) -> None:
    await persist.store(database, *persist.read(map(encode_reference, references)))


def at(killmail_id: int, time: str = "2024-05-01T12:00:00Z", **changes: object) -> Reference:
    as_of = LATER if changes else 1.0
    return a_reference(a_body(killmail_id, killmail_time=time, **changes), as_of=as_of)


async def test_what_is_stored_meanwhile_is_not_read(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "KILLMAILS_PER_QUERY", 1)
    before = [at(killmail_id) for killmail_id in (1, 2, 3)]
    await store(database, *before)
    async with reading_one_state(database) as connection:
        feed = await read_feed(connection)
        found = []
        number = count(1)
        async for page in killmails_of(connection, DAY):
            found += [unpacked(row).body for row in page]
            if (n := next(number)) <= 3:
                await store(database, at(3, war_id=n), at(10 + n))
        assert await count_killmails(connection, DAY) == 3
    assert found == [bytes(reference.body) for reference in before]
    assert feed.last_sequence == 3


async def test_a_day_has_the_killmails_from_its_first_to_its_last_moment(
    database: AsyncEngine,
) -> None:
    times = {
        1: "2024-04-30T23:59:59Z",
        2: "2024-05-01T00:00:00Z",
        3: "2024-05-02T00:30:00+01:00",
        4: "2024-05-02T00:00:00Z",
    }
    await store(database, *(at(killmail_id, time) for killmail_id, time in times.items()))
    async with reading_one_state(database) as connection:
        pages = [page async for page in killmails_of(connection, DAY)]
        assert await count_killmails(connection, DAY) == 2
    assert [row.killmail_id for page in pages for row in page] == [2, 3]


async def test_days_have_changed_by_entries_after_their_sequence(
    database: AsyncEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(read, "ENTRIES_PER_QUERY", 2)
    days = [date(2024, 5, number) for number in range(1, 6)]
    for day in days:
        await store(database, at(day.day, f"{day}T12:00:00Z"))
    await store(database, at(2, "2024-05-02T12:00:00Z", war_id=1))
    assert await changed_days(database, dict.fromkeys(days, 6)) == set()
    assert await changed_days(database, dict.fromkeys(days, 5)) == {days[1]}
    assert await changed_days(database, {days[0]: 1, days[1]: 6, days[3]: 3}) == {days[3]}
    assert await changed_days(database, {}) == set()
