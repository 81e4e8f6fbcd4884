import asyncio
from datetime import UTC, datetime, timedelta

from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.ack import ack
from streams.ledger import LedgerEntry, low_water, overdue, read_cursor, record
from tests.streams.rig import ledger_positions

HOST, OTHER = "r2z2:host", "redisq:host/queue"


def soon() -> datetime:
    return datetime.now(UTC) + timedelta(minutes=1)


async def test_a_source_that_was_never_read_has_no_cursor(database: AsyncEngine) -> None:
    assert await read_cursor(database, HOST) is None
    assert await low_water(database, HOST) is None
    assert await overdue(database, HOST, before=soon(), after=-1, limit=9) == []


async def test_sources_dont_see_each_other(database: AsyncEngine) -> None:
    await record(database, HOST, 12, {11: None, 12: None})
    await record(database, OTHER, 2, {1: b"one", 2: b"two"})
    assert await read_cursor(database, HOST) == 12
    assert await overdue(database, OTHER, before=soon(), after=-1, limit=9) == [
        LedgerEntry(1, b"one"),
        LedgerEntry(2, b"two"),
    ]


async def test_recording_again_changes_nothing(database: AsyncEngine) -> None:
    await record(database, OTHER, 1, {1: b"one"})
    await record(database, OTHER, 1, {1: b"another"})
    assert await overdue(database, OTHER, before=soon(), after=-1, limit=9) == [
        LedgerEntry(1, b"one")
    ]


async def test_low_water_is_behind_the_first_open_place(database: AsyncEngine) -> None:
    await record(database, HOST, 15, {11: None, 13: None, 14: None})
    assert await low_water(database, HOST) == 10
    await record(database, HOST, 15, {}, acked=[11])
    assert await low_water(database, HOST) == 12
    async with database.begin() as connection:
        await ack(connection, [(HOST, 14), (HOST, 13)])
    assert await low_water(database, HOST) == 15
    assert await ledger_positions(database) == []


async def test_an_entry_recorded_and_acked_at_once_is_gone(database: AsyncEngine) -> None:
    await record(database, HOST, 15, {14: None}, acked=[14])
    assert await low_water(database, HOST) == 15


async def test_the_cursor_may_go_back(database: AsyncEngine) -> None:
    await record(database, HOST, 96_000_000, {})
    await record(database, HOST, 1000, {})
    assert await read_cursor(database, HOST) == 1000


async def test_open_places_come_by_position_and_age(database: AsyncEngine) -> None:
    await record(database, HOST, 5, {5: None, 3: None})
    between = datetime.now(UTC)
    await record(database, HOST, 7, {7: None, 1: None})
    assert await overdue(database, HOST, before=between, after=-1, limit=9) == [
        LedgerEntry(3, None),
        LedgerEntry(5, None),
    ]
    assert [p.position for p in await overdue(database, HOST, before=soon(), after=1, limit=2)] == [
        3,
        5,
    ]


async def test_cancelling_leaves_no_lock_behind(sqlite: AsyncEngine) -> None:
    for position in range(50):
        recording = asyncio.create_task(record(sqlite, HOST, position, {position: None}))
        for _ in range(position):
            await asyncio.sleep(0)
        recording.cancel()
        await asyncio.gather(recording, return_exceptions=True)
        async with asyncio.timeout(20):
            await record(sqlite, OTHER, position, {})
