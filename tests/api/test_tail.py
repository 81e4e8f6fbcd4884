"""The tail by itself: whatever happens to channel, ring and table, readers see each entry once."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from datetime import date
from typing import Any

import msgspec
import pytest
from prometheus_client import Counter
from sqlalchemy import delete, update

from actors.shared.body import pack
from actors.shared.feed import CHANNEL, Entry, encode_entry
from actors.shared.metrics import EVENTS_FOREIGN
from actors.shared.settings import Settings
from actors.shared.tables import KILLMAILS
from api import reads
from api import tail as tail_module
from api.database import DatabaseUnavailable, ReadDatabase, open_read_database
from api.tail import Tail, TooSlow, open_tail
from api.view import FeedView
from tests.api.gateway import Writer, a_killmail
from tests.support.feed import of_killmail


@pytest.fixture
async def database(settings: Settings, writer: Writer) -> AsyncIterator[ReadDatabase]:
    async with open_read_database(settings) as opened:
        yield opened


@pytest.fixture
async def tail(database: ReadDatabase, writer: Writer) -> AsyncIterator[Tail]:
    async with (
        open_tail(database, writer.events, unpublished_timeout_s=0.1) as opened,
        writer.events.subscribe(CHANNEL),  # then the tail's subscription stands, too
    ):
        yield opened


async def take(views: AsyncGenerator[FeedView, None], count: int) -> list[int]:
    async with asyncio.timeout(10):
        return [(await anext(views)).entry.sequence for _ in range(count)]


async def test_reader_behind_the_ring_reads_from_the_table(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "RING_ENTRIES", 10)
    slow, fast = tail.follow(0), tail.follow(0)
    await writer.add(1)
    assert await take(slow, 1) == [1]
    for killmail_id in range(2, 101):
        await writer.add(killmail_id)
    assert await take(fast, 100) == list(range(1, 101))
    assert await take(slow, 99) == list(range(2, 101))


async def test_ring_is_limited_by_bytes(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "RING_BYTES", 3 * len(a_killmail(100)))
    reader = tail.follow(0)
    await writer.add(*range(100, 130))
    assert await take(reader, 30) == list(range(1, 31))
    assert len(tail._ring) == 3


async def test_tail_far_behind_the_table_skips_entries_and_readers_miss_none(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "RING_ENTRIES", 10)
    reader = tail.follow()
    await writer.mark(*await writer.store(*map(a_killmail, range(1, 501))))
    assert await take(reader, 500) == list(range(1, 501))


async def test_live_reader_that_falls_too_far_behind_gets_the_sequence_to_resume_from(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "MAX_BEHIND", 20)
    live, replay = tail.follow(), tail.follow(0)
    waiting = asyncio.create_task(take(live, 2))
    await asyncio.sleep(0)
    await writer.add(1, 2)
    assert await waiting == [1, 2]
    await writer.add(*range(3, 51))
    while tail.last < 50:
        await asyncio.sleep(0)
    with pytest.raises(TooSlow, match="after: 2"):
        await take(live, 1)
    assert await take(replay, 50) == list(range(1, 51)), "who catches up isn't too slow"


async def test_missing_sequence_in_the_table_is_skipped(tail: Tail, writer: Writer) -> None:
    reader = tail.follow()
    await writer.mark(*await writer.store(a_killmail(1), a_killmail(2)))
    async with writer.database.begin() as connection:
        await connection.execute(delete(KILLMAILS).where(KILLMAILS.c.killmail_id == 1))
    await writer.add(3)
    assert await take(reader, 2) == [2, 3]


async def test_an_imported_day_that_nobody_published_holds_nothing_up(
    database: ReadDatabase, writer: Writer
) -> None:
    """Its importer may be a process that can't reach this one's channel, or have been killed."""
    async with (
        open_tail(database, writer.events, unpublished_timeout_s=60) as tail,
        writer.events.subscribe(CHANNEL),
    ):
        reader = tail.follow()
        await writer.store_day(date(2026, 1, 1))
        await writer.add(1)
        assert await take(reader, 2) == [1, 2]


async def test_invalid_message_is_skipped(tail: Tail, writer: Writer) -> None:
    reader = tail.follow()
    deep = '{"killmail": ' + "[" * 100_000
    await writer.events.publish(CHANNEL, f'nonsense\n{{"sequence": "x"}}\n\ud800\n{deep}\n')
    await writer.add(1)
    assert await take(reader, 1) == [1]


async def test_many_entries_out_of_order_are_limited_and_read_from_the_table(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "MAX_OUT_OF_ORDER", 10)
    reader = tail.follow()
    first, *others = await writer.store(*map(a_killmail, range(1, 101)))
    await writer.publish(*others)
    await writer.publish(first)
    assert await take(reader, 100) == list(range(1, 101))
    assert len(tail._out_of_order) <= 10


async def test_readers_at_different_positions_receive_the_same_order(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "RING_ENTRIES", 30)
    monkeypatch.setattr(tail_module, "PAGE_ENTRIES", 16)
    monkeypatch.setattr(tail_module, "CACHED_PAGES", 2)
    readers = [asyncio.create_task(take(tail.follow(after), 200 - after)) for after in range(20)]
    for start in range(1, 201, 7):
        await writer.add(*range(start, min(start + 7, 201)))
    for after, taken in enumerate(await asyncio.gather(*readers)):
        assert taken == list(range(after + 1, 201))


class UnexpectedError(Exception):
    """An error that the tail doesn't handle by type."""


async def test_unreadable_stored_body_is_skipped(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "RING_ENTRIES", 5)
    monkeypatch.setattr(tail_module, "TABLE_POLL_S", 0.05)
    live = tail.follow()
    entries = await writer.store(*map(a_killmail, range(1, 21)))
    async with writer.database.begin() as connection:
        for killmail_id, body in ((3, b"no zstd"), (4, pack(b"{}"))):
            await connection.execute(
                update(KILLMAILS).where(KILLMAILS.c.killmail_id == killmail_id).values(body=body)
            )
    await writer.mark(*entries)
    wanted = [1, 2, *range(5, 21)]
    assert await take(live, 18) == wanted
    assert await take(tail.follow(0), 18) == wanted


async def test_failed_replay_releases_the_lock(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "RING_ENTRIES", 5)
    live = tail.follow()
    await writer.add(*range(1, 21))
    assert await take(live, 20) == list(range(1, 21))

    async def feed_page(*_arguments: Any, **_options: Any) -> Any:
        raise UnexpectedError

    with monkeypatch.context() as patched:
        patched.setattr(reads, "feed_page", feed_page)
        for _ in range(2):
            with pytest.raises(UnexpectedError):
                await take(tail.follow(0), 1)
    assert await take(tail.follow(0), 20) == list(range(1, 21))


async def test_entries_of_another_feed_are_ignored_and_own_entries_are_delivered(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two deployments on one Redis: the other's numbers mean other killmails, and it is busy."""
    monkeypatch.setattr(tail_module, "TABLE_POLL_S", 0.2)
    reader, refused = tail.follow(), counted(EVENTS_FOREIGN)

    async def other_deployment() -> None:
        for sequence in range(1, 1000):
            foreign = Entry(sequence, "added", 9, "b" * 40, 1.0, msgspec.Raw(a_killmail(9)))
            for feed_id in ("f0e", ""):
                named = msgspec.structs.replace(foreign, feed_id=feed_id)
                await writer.events.publish(CHANNEL, encode_entry(named).decode())
            await asyncio.sleep(0.01)

    busy = asyncio.create_task(other_deployment())
    try:
        await writer.add(1)
        lost = await writer.store(a_killmail(2))
        await writer.mark(*lost)
        async with asyncio.timeout(5):
            views = [await anext(reader) for _ in range(2)]
    finally:
        busy.cancel()
    assert [of_killmail(view.entry).killmail_id for view in views] == [1, 2]
    assert counted(EVENTS_FOREIGN) > refused
    assert tail._out_of_order == {}


def counted(counter: Counter) -> float:
    return next(iter(counter.collect())).samples[0].value


async def test_replay_waits_for_an_unavailable_database_without_blocking_others(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reader whose page can't be read releases the lock while it waits to retry."""
    monkeypatch.setattr(tail_module, "RING_ENTRIES", 5)
    monkeypatch.setattr(tail_module, "PAGE_ENTRIES", 10)
    monkeypatch.setattr(tail_module, "TABLE_POLL_S", 0.1)
    await writer.add(*range(1, 51))
    while tail.last < 50:
        await asyncio.sleep(0)
    away, read = {0}, reads.feed_page

    async def feed_page(database: ReadDatabase, after: int, *args: Any, **options: Any) -> Any:
        if after in away:
            raise DatabaseUnavailable("away")
        return await read(database, after, *args, **options)

    monkeypatch.setattr(reads, "feed_page", feed_page)
    stuck = asyncio.create_task(take(tail.follow(0), 50))
    await asyncio.sleep(0.05)
    assert await take(tail.follow(20), 30) == list(range(21, 51))
    assert not stuck.done()
    away.clear()
    assert await stuck == list(range(1, 51))


async def test_tail_continues_after_a_failed_read(
    tail: Tail, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail_module, "TABLE_POLL_S", 0.05)
    read, breaks = reads.last_sequence, [UnexpectedError("once"), UnexpectedError("twice")]

    async def last_sequence(database: ReadDatabase) -> int:
        if breaks:
            raise breaks.pop()
        return await read(database)

    monkeypatch.setattr(reads, "last_sequence", last_sequence)
    reader = tail.follow()
    await writer.mark(*await writer.store(a_killmail(1)))
    assert await take(reader, 1) == [1]
    assert breaks == []
