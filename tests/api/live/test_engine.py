"""The engine by itself: turns, rings, handovers between feed and live, slow clients."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from actors.shared.settings import Settings
from api import reads as reads_module
from api import tail as tail_module
from api.database import DatabaseUnavailable, open_read_database
from api.live import engine as engine_module
from api.live import group as group_module
from api.live import replay as replay_module
from api.live.engine import Engine, open_engine
from api.live.selection import Feed, Selection
from api.live.stream import Stream
from api.tail import PAGE_ENTRIES, Tail, open_tail
from api.view import View
from tests.api.gateway import Writer, a_killmail
from tests.api.live.test_render import executor_of
from tests.support.waiting import within

PLAIN = "subscription { killmailAdded { sequence } }"
ALL = Selection(added_only=True)


class Client:
    """A client's socket: takes what it is given while it isn't full."""

    def __init__(self) -> None:
        self.is_blocked = False
        self.sequences: list[int] = []
        self.failed: Exception | None = None
        self.engine: Engine
        self.stream: Stream

    def write(self, data: bytes) -> None:
        self.sequences += [int(found) for found in re.findall(rb'(?:sequence|k\d)":(\d+)', data)]

    def fell_behind(self, stream: Stream) -> None:
        self.engine.fell_behind(stream)

    def fail(self, _stream: Stream, error: Exception) -> None:
        self.failed = error

    def read_on(self) -> None:
        self.is_blocked = False
        self.stream.catch_up()

    async def until(self, wanted: list[int]) -> None:
        async with within(20, lambda: f"{self.sequences[-5:]} of {len(wanted)}: {self.failed}"):
            while self.sequences[-1:] != wanted[-1:]:
                await asyncio.sleep(0.005)
        assert self.sequences == wanted


def subscribe(
    engine: Engine, after: int, document: str = PLAIN, selection: Selection = ALL
) -> Client:
    client = Client()
    client.engine = engine
    client.stream = engine.open(client, executor_of(document), Feed(selection, after), "1")
    return client


@asynccontextmanager
async def running(settings: Settings, writer: Writer) -> AsyncIterator[tuple[Engine, Tail]]:
    async with (
        open_read_database(settings) as database,
        open_tail(database, writer.events, 0.2) as tail,
        open_engine(tail, no_subject) as engine,
    ):
        yield engine, tail


def no_subject(_view: View) -> Any:
    raise AssertionError("nobody filters")


async def test_clients_that_resume_and_live_ones_get_everything_once_in_order(
    settings: Settings, writer: Writer
) -> None:
    """They come at any time, from any sequence, while entries are added."""
    await writer.add(*range(1, 301))
    async with running(settings, writer) as (engine, tail):
        clients: list[tuple[Client, int]] = []
        for number in range(301, 701, 20):
            clients += [(subscribe(engine, after), after) for after in (0, number // 2, tail.last)]
            await writer.add(*range(number, number + 20))
            if number % 60 == 1:
                await asyncio.sleep(0)
        for client, after in clients:
            await client.until(list(range(after + 1, 701)))


async def test_many_that_resume_cost_one_read_of_the_feed(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    reads: list[int] = []
    feed_page = reads_module.feed_page

    async def count(database: Any, after: int, limit: int, **options: Any) -> Any:
        reads.append(after)
        return await feed_page(database, after, limit, **options)

    await writer.add(*range(1, 801))
    monkeypatch.setattr(tail_module, "CACHED_PAGES", 1)
    monkeypatch.setattr(reads_module, "feed_page", count)
    async with running(settings, writer) as (engine, _):
        clients = [(after, subscribe(engine, after)) for after in range(0, 800, 4)]
        for after, client in clients:
            await client.until(list(range(after + 1, 801)))
    assert len(reads) <= 2 * 800 / PAGE_ENTRIES


async def test_clients_of_the_ring_go_on_while_the_database_is_away(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any, **__: Any) -> None:
        raise DatabaseUnavailable("it is away")

    monkeypatch.setattr(replay_module, "READ_S", 0.05)
    await writer.add(*range(1, 101))
    async with running(settings, writer) as (engine, _):
        live = subscribe(engine, 100)
        await writer.add(*range(101, 121))
        await live.until(list(range(101, 121)))
        with monkeypatch.context() as patched:
            patched.setattr(reads_module, "feed_page", fail)
            far = [subscribe(engine, after) for after in (0, 50)]
            near = subscribe(engine, 110, "subscription { killmailAdded { n: warId sequence } }")
            await near.until(list(range(111, 121)))
            assert not any(client.sequences for client in far)
        for client, after in zip(far, (0, 50), strict=True):
            await client.until(list(range(after + 1, 121)))


async def test_a_client_that_reads_on_gets_what_it_lacks_from_ring_or_feed(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(group_module, "LEAST_BYTES", 1_000)
    monkeypatch.setattr(engine_module, "LEAST_BYTES", 1_000)
    monkeypatch.setattr(engine_module, "RING_BYTES", 0)
    async with running(settings, writer) as (engine, _):
        slow, quick = subscribe(engine, 0), subscribe(engine, 0)
        await writer.add(1)
        await quick.until([1])
        for last in (5, 400):  # within the ring, and far beyond it
            slow.is_blocked = True
            await writer.add(*range(len(quick.sequences) + 1, last + 1))
            await quick.until(list(range(1, last + 1)))
            assert len(slow.sequences) < last
            slow.read_on()
            await slow.until(list(range(1, last + 1)))


async def test_the_many_come_before_costly_documents_of_one(
    settings: Settings, writer: Writer
) -> None:
    """A connection with many heavy documents doesn't delay what others share."""
    heavy = " ".join(f"a{n}: attackers {{ characterId shipTypeId damageDone }}" for n in range(20))
    attackers = [
        {"damage_done": 7, "final_blow": n == 0, "security_status": 0.5, "character_id": 4}
        for n in range(100)
    ]
    bodies = [a_killmail(number, attackers=attackers) for number in range(1, 41)]
    async with running(settings, writer) as (engine, _):
        odd = [
            subscribe(engine, 0, f"subscription {{ killmailAdded {{ k{n}: sequence {heavy} }} }}")
            for n in range(10)
        ]
        many = [subscribe(engine, 0) for _ in range(50)]
        await writer.publish(*await writer.store(*bodies))
        await many[0].until(list(range(1, 41)))
        behind = [len(client.sequences) for client in odd]
        assert sum(behind) < 40 * len(odd) / 2, behind
        for client in [*many, *odd]:
            await client.until(list(range(1, 41)))


async def test_a_socket_that_fails_ends_its_stream_only(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(_data: bytes) -> None:
        raise RuntimeError("the handler is closed")

    async with running(settings, writer) as (engine, _):
        clients = [subscribe(engine, 0) for _ in range(3)]
        await writer.add(1)
        for client in clients:
            await client.until([1])
        monkeypatch.setattr(clients[0], "write", fail)
        await writer.add(2)
        await writer.add(3)
        for client in clients[1:]:
            await client.until([1, 2, 3])
        assert isinstance(clients[0].failed, RuntimeError)


async def test_a_group_that_cannot_keep_up_loses_nothing(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "MAX_PENDING", 5)
    async with running(settings, writer) as (engine, _):
        clients = [subscribe(engine, 0) for _ in range(3)]
        entries = await writer.store(*map(a_killmail, range(1, 101)))
        await writer.publish(*entries)
        for client in clients:
            await client.until(list(range(1, 101)))


async def test_a_closed_stream_gets_nothing_and_leaves_nothing(
    settings: Settings, writer: Writer
) -> None:
    async with running(settings, writer) as (engine, _):
        gone, stays = subscribe(engine, 0), subscribe(engine, 0)
        replaying = subscribe(engine, 0)
        await writer.add(1)
        await stays.until([1])
        for client in (gone, replaying):
            engine.close(client.stream)
            engine.close(client.stream)
        await writer.add(2)
        await stays.until([1, 2])
        assert gone.sequences == [1]
        engine.close(stays.stream)
        assert not engine._groups
        assert not any(vars(engine._interests).values())


async def test_silent_subscriptions_to_the_whole_feed_get_heartbeats(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "HEARTBEAT_S", 0.0)
    document = "subscription { killmailFeed { ... on Heartbeat { sequence } } }"
    await writer.add(1, 2)
    async with running(settings, writer) as (engine, tail):
        client = subscribe(engine, tail.last, document, Selection(is_whole=True))
        plain = subscribe(engine, tail.last)
        await client.until([2])
        assert plain.sequences == []
