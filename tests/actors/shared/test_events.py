"""What events promise: once over memory, once over a Redis of its own."""

import asyncio
import signal
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from broadcaster import Broadcast, Event
from broadcaster._base import Subscriber, Unsubscribed

from actors.shared.events import NotPublished, bounded_queue, open_events, redis
from actors.shared.settings import Settings
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.timeout(30)


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[RedisServer]:
    server = RedisServer(tmp_path)
    yield server
    server.kill()


@pytest.fixture(params=["memory", pytest.param("redis", marks=pytest.mark.service)])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    if request.param == "memory":
        return Settings(data_dir=tmp_path)
    server: RedisServer = request.getfixturevalue("redis_server")
    return redis_settings(server, tmp_path)


def redis_settings(server: RedisServer, tmp_path: Path) -> Settings:
    return Settings(data_dir=tmp_path, redis_url=f"redis://127.0.0.1:{server.port}/0")


@pytest.fixture
async def events(settings: Settings) -> AsyncIterator[Broadcast]:
    async with open_events(settings) as opened:
        yield opened


async def read(subscriber: Subscriber) -> str:
    """Read the next message that isn't empty."""
    while not (message := (await subscriber.get()).message):
        pass
    return message


async def test_message_reaches_every_subscriber_of_its_channel(events: Broadcast) -> None:
    async with (
        events.subscribe("a") as first,
        events.subscribe("a") as second,
        events.subscribe("b") as other,
    ):
        await events.publish("a", "1")
        await events.publish("b", "2")
        assert [await read(s) for s in (first, second, other)] == ["1", "1", "2"]


async def test_concurrent_first_subscribers_all_get_the_message(events: Broadcast) -> None:
    standing = asyncio.Semaphore(0)

    async def one() -> str:
        async with events.subscribe("a") as subscriber:
            standing.release()
            return await read(subscriber)

    readers = [asyncio.create_task(one()) for _ in range(50)]
    for _ in readers:
        await standing.acquire()
    await events.publish("a", "hello")
    assert await asyncio.gather(*readers) == ["hello"] * 50


async def test_order_is_kept(events: Broadcast) -> None:
    messages = [str(n) for n in range(500)]
    async with events.subscribe("a") as subscriber:
        for message in messages:
            await events.publish("a", message)
        assert [await read(subscriber) for _ in messages] == messages


async def test_another_loop_in_another_thread_publishes(
    events: Broadcast, settings: Settings
) -> None:
    async def publish() -> None:
        async with open_events(settings) as others:
            await others.publish("a", "from afar")

    async with events.subscribe("a") as subscriber:
        thread = threading.Thread(target=asyncio.run, args=(publish(),))
        thread.start()
        assert await read(subscriber) == "from afar"
        await asyncio.to_thread(thread.join)


async def test_who_left_and_came_back_hears_again(events: Broadcast) -> None:
    async with events.subscribe("a"):
        pass
    async with events.subscribe("a") as subscriber:
        await events.publish("a", "heard")
        assert await read(subscriber) == "heard"


async def test_slow_reader_loses_the_oldest_and_keeps_the_newest(
    events: Broadcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_queue, "MAX_CHARS", 20)
    async with events.subscribe("a") as slow:
        for n in range(10):
            await events.publish("a", f"message {n}")
            async with events.subscribe("other") as other:  # until it has passed the listener
                await events.publish("other", "x")
                await read(other)
        assert [await read(slow), await read(slow)] == ["message 8", "message 9"]


def test_bounded_queue_keeps_one_message_of_any_size() -> None:
    queue = bounded_queue.BoundedQueue()
    for size in (1, bounded_queue.MAX_CHARS + 1):
        queue.put_nowait(Event("a", "x" * size))
    assert queue.qsize() == 1


async def test_closing_ends_the_subscribers_and_leaves_no_task(settings: Settings) -> None:
    before = asyncio.all_tasks()
    async with open_events(settings) as opened:
        subscription: AbstractAsyncContextManager[Subscriber] = opened.subscribe("a")
        subscriber = await subscription.__aenter__()
    with pytest.raises(Unsubscribed):
        await read(subscriber)
    await subscription.__aexit__(None, None, None)
    assert asyncio.all_tasks() == before


@asynccontextmanager
async def subscribed(settings: Settings) -> AsyncIterator[tuple[Broadcast, Subscriber]]:
    async with open_events(settings) as opened, opened.subscribe("a") as subscriber:
        yield opened, subscriber


@pytest.mark.service
async def test_redis_restart_is_survived_and_told(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    async with subscribed(redis_settings(redis_server, tmp_path)) as (opened, subscriber):
        await opened.publish("a", "before")
        assert await read(subscriber) == "before"
        await asyncio.to_thread(redis_server.kill)
        publishing = asyncio.create_task(opened.publish("a", "meanwhile"))
        await asyncio.to_thread(redis_server.start)
        assert (await subscriber.get()).message == "", "something may have been missed"
        await publishing
        await opened.publish("a", "after")
        assert await read(subscriber) in {"meanwhile", "after"}


@pytest.mark.service
async def test_redis_that_is_away_at_start_is_waited_for(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    redis_server.kill()
    async with open_events(redis_settings(redis_server, tmp_path)) as opened:

        async def one() -> str:
            async with opened.subscribe("a") as subscriber:
                await opened.publish("a", "at last")
                return await read(subscriber)

        reading = asyncio.create_task(one())
        await asyncio.to_thread(redis_server.start)
        assert await reading == "at last"


@pytest.mark.service
async def test_publishing_says_clearly_that_redis_is_away(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "PATIENCE_S", 0.2)
    redis_server.kill()
    async with open_events(redis_settings(redis_server, tmp_path)) as opened:
        with pytest.raises(NotPublished, match="Redis is unavailable"):
            await opened.publish("a", "x")


@pytest.mark.service
async def test_silent_redis_counts_as_lost(
    redis_server: RedisServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(redis, "QUIET_S", 0.1)
    async with subscribed(redis_settings(redis_server, tmp_path)) as (opened, subscriber):
        await subscriber.get()
        redis_server.send_signal(signal.SIGSTOP)
        confirmed = opened._backend._subscribed["a"]  # type: ignore[attr-defined]
        while confirmed.is_set():
            await asyncio.sleep(0.01)
        redis_server.send_signal(signal.SIGCONT)
        assert (await subscriber.get()).message == ""
