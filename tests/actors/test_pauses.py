"""A paused queue keeps its messages: nothing consumes them, nothing is lost or repeated."""

import asyncio
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import TypeVar

import dramatiq
import pika
import pytest
from dramatiq import worker as dramatiq_worker
from dramatiq.worker import Worker
from sqlalchemy.ext.asyncio import AsyncEngine

from actors import broker as broker_module
from actors.broker import DATABASE_QUEUE, ESI_QUEUE, make_broker
from actors.consumption import Consumption
from actors.embedded_broker import EmbeddedBroker
from actors.rabbitmq_broker import BoundedBroker
from actors.shared.database import open_database
from actors.shared.pauses import pause, read_pauses, resume, watching_pauses
from actors.shared.settings import Settings
from deploy.eventlog import open_event_log
from deploy.migrate import migrate
from tests.support.proxy import open_proxy
from tests.support.servers import empty_servers

T = TypeVar("T")

TIMEOUT_S = 30
MESSAGES = 200


class Rig:
    """A broker whose actors count what they ran; each run waits until it may end."""

    def __init__(self, settings: Settings, broker: BoundedBroker | EmbeddedBroker) -> None:
        self.settings = settings
        self.broker = broker
        self.ran: Counter[str] = Counter()
        self.may_end = threading.Event()
        self.slow = self._actor("slow", DATABASE_QUEUE, self.may_end.wait)
        self.quick = self._actor("quick", ESI_QUEUE, lambda: None)

    def _actor(
        self, name: str, queue: str, wait: Callable[[], object]
    ) -> dramatiq.Actor[[str], None]:
        def work(key: str) -> None:
            wait()
            self.ran[key] += 1

        return dramatiq.actor(broker=self.broker, actor_name=name, queue_name=queue)(work)

    @contextmanager
    def working(self) -> Iterator[Worker]:
        worker = Worker(self.broker, worker_threads=2, worker_timeout=50)
        worker.start()
        try:
            yield worker
        finally:
            self.may_end.set()
            worker.stop()

    def ready(self, queue: str) -> int:
        if isinstance(self.broker, EmbeddedBroker):
            return int(self.broker.queues[queue].qsize())
        parameters = pika.URLParameters(self.settings.rabbitmq_url)
        with pika.BlockingConnection(parameters) as connection:
            return int(connection.channel().queue_declare(queue, passive=True).method.message_count)

    def unacked(self, queue: str) -> int:
        return self.broker.consumption.beats([queue])[queue].unacked

    async def until(self, wanted: Callable[[], bool]) -> float:
        began_s = time.monotonic()
        async with asyncio.timeout(TIMEOUT_S):
            while not await asyncio.to_thread(wanted):
                await asyncio.sleep(0.02)
        return time.monotonic() - began_s

    async def pause(self, *names: str) -> None:
        async with open_database(self.settings) as database:
            await pause(database, names)

    async def resume(self, *names: str) -> None:
        async with open_database(self.settings) as database:
            await resume(database, names)


@pytest.fixture(params=["embedded", pytest.param("rabbitmq", marks=pytest.mark.service)])
async def rig(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Rig]:
    if request.param == "rabbitmq":
        async with empty_servers() as settings:
            with a_rig(settings, monkeypatch) as rig:
                yield rig
        return
    async with open_event_log() as (url, _):
        settings = Settings(data_dir=tmp_path, kafka_url=url)
        await migrate(settings)
        with a_rig(settings, monkeypatch) as rig:
            yield rig


@contextmanager
def a_rig(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Iterator[Rig]:
    broker = make_broker(settings.model_copy(update={"esi_url": "http://127.0.0.1:9"}))
    monkeypatch.setattr(broker_module, "broker", broker)
    try:
        yield Rig(settings, broker)
    finally:
        broker.close()


async def test_a_pause_stops_consumption_and_keeps_every_message(rig: Rig) -> None:
    keys = [str(number) for number in range(MESSAGES)]
    with rig.working():
        for key in keys:
            rig.slow.send(key)
        await rig.until(lambda: rig.unacked(DATABASE_QUEUE) == 4)  # two run, two wait for a thread

        await rig.pause("database")
        took_s = await rig.until(lambda: rig.unacked(DATABASE_QUEUE) == 2)
        assert took_s < 5
        rig.may_end.set()  # what runs ends, and is acknowledged while the queue is paused
        await rig.until(lambda: rig.unacked(DATABASE_QUEUE) == 0)
        rig.quick.send("other")
        await rig.until(lambda: rig.ran["other"] == 1)
        await rig.until(lambda: rig.ready(DATABASE_QUEUE) == MESSAGES - 2)
        rig.slow.send_with_options(args=("delayed",), delay=10)
        await rig.until(lambda: rig.ready(DATABASE_QUEUE) == MESSAGES - 1)
        assert rig.ran.total() == 3

        await rig.resume("database")
        await rig.until(lambda: rig.ran.total() == MESSAGES + 2)
        await rig.until(lambda: rig.ready(DATABASE_QUEUE) + rig.unacked(DATABASE_QUEUE) == 0)
    assert rig.ran == Counter(dict.fromkeys([*keys, "other", "delayed"], 1))


async def test_a_process_that_starts_knows_what_is_paused(rig: Rig) -> None:
    await rig.pause("database")
    rig.may_end.set()
    for number in range(10):
        rig.slow.send(str(number))
    with rig.working():
        rig.quick.send("other")
        await rig.until(lambda: rig.ran["other"] == 1)
        assert rig.ran.total() == 1
        assert rig.ready(DATABASE_QUEUE) == 10
        assert rig.broker.consumption.beats([DATABASE_QUEUE])[DATABASE_QUEUE].processed == 0
        await rig.resume("database")
        await rig.until(lambda: rig.ran.total() == 11)


async def test_a_pause_lasts_while_the_database_is_away(
    database: AsyncEngine,
) -> None:
    seen: list[frozenset[str]] = []
    await pause(database, ["esi"])
    await pause(database, ["esi", "database"])
    since = await read_pauses(database)
    async with watching_pauses(database, seen.append, every_s=0.02):
        async with database.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE pauses RENAME TO gone")
        await asyncio.sleep(0.2)
        async with database.begin() as connection:
            await connection.exec_driver_sql("ALTER TABLE gone RENAME TO pauses")
        await resume(database, ["esi"])
        async with asyncio.timeout(TIMEOUT_S):
            while len(seen) < 2:
                await asyncio.sleep(0.02)
    assert seen == [frozenset({"database", "esi"}), frozenset({"database"})]
    assert list(since) == ["database", "esi"]


@asynccontextmanager
async def in_threads(manager: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave in other threads, while the proxy runs in this one."""
    value = await asyncio.to_thread(manager.__enter__)
    try:
        yield value
    finally:
        await asyncio.to_thread(manager.__exit__, None, None, None)


@pytest.mark.service
async def test_what_a_lost_connection_delivered_is_not_given_back_on_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(dramatiq_worker, "CONSUMER_RESTART_DELAY_SECS", 0.1)
    keys = [str(number) for number in range(20)]
    async with empty_servers() as settings, open_proxy(settings.rabbitmq_url) as proxy:
        settings = settings.model_copy(update={"rabbitmq_url": proxy.url(settings.rabbitmq_url)})
        async with (
            in_threads(a_rig(settings, monkeypatch)) as rig,
            in_threads(rig.working()) as worker,
        ):

            def consumer() -> object:
                return worker.consumers[DATABASE_QUEUE].consumer

            rig.may_end.set()
            await asyncio.to_thread(lambda: [rig.slow.send(key) for key in keys[:10]])
            await rig.until(lambda: rig.ran.total() == 10)
            rig.may_end.clear()
            await asyncio.to_thread(lambda: [rig.slow.send(key) for key in keys[10:]])
            await rig.until(lambda: rig.unacked(DATABASE_QUEUE) == 4)  # with tags from 11 on
            former = consumer()
            await proxy.close_connections()
            await rig.until(lambda: consumer() is not former)
            await rig.until(lambda: rig.unacked(DATABASE_QUEUE) == 4)  # again, with tags from 1 on
            current = consumer()

            await rig.pause("database")
            await rig.until(lambda: rig.ready(DATABASE_QUEUE) == 10)
            rig.may_end.set()  # two that run were delivered by the former connection
            await rig.until(lambda: rig.ran.total() == 12)
            await rig.resume("database")
            await rig.until(lambda: set(rig.ran) == set(keys))
            await rig.until(lambda: rig.ready(DATABASE_QUEUE) + rig.unacked(DATABASE_QUEUE) == 0)
            assert consumer() is current  # RabbitMQ closed nothing
        assert rig.ran.total() == 22


def test_counts_are_exact_in_several_threads() -> None:
    consumption = Consumption()
    message = dramatiq.MessageProxy(
        dramatiq.Message(
            queue_name=DATABASE_QUEUE,
            actor_name="persist",
            args=([b"", b""],),
            kwargs={},
            options={},
        )
    )
    times, threads = 5_000, 4

    def count() -> None:
        for _ in range(times):
            consumption.after_process_message(broker_module.broker, message)

    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(threads) as pool:
            for future in [pool.submit(count) for _ in range(threads)]:
                future.result()
    finally:
        sys.setswitchinterval(interval_s)
    beat = consumption.beats([DATABASE_QUEUE])[DATABASE_QUEUE]
    assert beat.killmails == 2 * times * threads
