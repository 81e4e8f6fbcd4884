"""How units of work travel and end: done, invalid, later, or a dead letter."""

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import dramatiq
import dramatiq.worker as worker_module
import pika
import pytest
from dramatiq.brokers.rabbitmq import RabbitmqBroker
from dramatiq.errors import DecodeError
from dramatiq.middleware import MiddlewareError
from dramatiq.worker import Worker
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from actors import broker as broker_module
from actors import rabbitmq as rabbitmq_module
from actors import rabbitmq_broker as rabbitmq_broker_module
from actors.broker import (
    DATABASE_QUEUE,
    MAX_PRIORITY,
    MessagePack,
    cancel_start,
    enqueue,
    make_broker,
    pause_s,
)
from actors.rabbitmq import check_rabbitmq
from actors.shared.daemon import in_daemon
from actors.shared.errors import Invalid, Misconfigured, RetryLater, ServerUnavailable
from actors.shared.settings import Settings
from deploy.local import control
from deploy.ports import free_port
from tests.support.processes import start_killstream
from tests.support.proxy import open_proxy
from tests.support.servers import empty_servers, fresh_database, server_urls

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)
TIMEOUT_S = 60


@given(st.dictionaries(st.text(), VALUES))
def test_a_message_is_read_as_it_was_written(message: dict[str, Any]) -> None:
    assert MessagePack().decode(MessagePack().encode(message)) == message


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x92\x01", b"\xa1\xff", b"\x91" * 10_000])
def test_broken_bytes_are_no_message(data: bytes) -> None:
    with pytest.raises(DecodeError):
        MessagePack().decode(data)


def test_the_pause_while_rabbitmq_is_away_stays_short_for_ever() -> None:
    pauses = [pause_s(attempt) for attempt in (0, 1, 10, 100_000)]
    assert pauses == [0.1, 0.2, 5.0, 5.0]


class Rig:
    """RabbitMQ, a worker in this process, and what was done there."""

    def __init__(self, settings: Settings, broker: dramatiq.Broker) -> None:
        self.settings = settings
        self.broker = broker
        self.done: queue.Queue[Any] = queue.Queue()

    def actor(self, work: Callable[..., Any], **options: Any) -> dramatiq.Actor[..., Any]:
        """Declare a unit of work as `actors.broker.actor` does."""
        declare = dramatiq.actor(
            broker=self.broker, queue_name=DATABASE_QUEUE, throws=Invalid, **options
        )
        return declare(work)

    async def next(self) -> Any:
        """Wait for what a unit of work says."""
        return await asyncio.to_thread(self.done.get, True, TIMEOUT_S)

    async def dead_letter(self) -> dramatiq.Message[Any]:
        """Wait for a dead letter."""
        return await asyncio.to_thread(self._dead_letter)

    def _dead_letter(self) -> dramatiq.Message[Any]:
        parameters = pika.URLParameters(self.settings.rabbitmq_url)
        with pika.BlockingConnection(parameters) as connection:
            channel = connection.channel()
            for _, _, body in channel.consume("database.XQ", True, inactivity_timeout=TIMEOUT_S):
                assert body is not None, "no dead letter came"
                return dramatiq.Message.decode(body)
        raise AssertionError("the queue was deleted")

    def messages(self, queue_name: str) -> int:
        """Count what is ready in a queue."""
        parameters = pika.URLParameters(self.settings.rabbitmq_url)
        with pika.BlockingConnection(parameters) as connection:
            declared = connection.channel().queue_declare(queue_name, passive=True)
            return int(declared.method.message_count)

    @contextmanager
    def working(self, threads: int = 1) -> Any:
        """Run a worker for the length of the block."""
        worker = Worker(self.broker, worker_threads=threads, worker_timeout=50)
        worker.start()
        try:
            yield
        finally:
            worker.stop()


@pytest.fixture
async def rig(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    async with empty_servers() as settings, a_rig(settings, monkeypatch) as rig:
        yield rig


@asynccontextmanager
async def a_rig(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Rig]:
    chosen = settings.model_copy(update={"esi_url": "http://127.0.0.1:9"})
    rabbit = make_broker(chosen)
    monkeypatch.setattr(broker_module, "broker", rabbit)
    try:
        yield Rig(chosen, rabbit)
    finally:
        await asyncio.to_thread(rabbit.close)


@pytest.mark.service
async def test_work_that_keeps_breaking_is_retried_and_then_a_dead_letter(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "MAX_TRIES", 2)

    def breaks(body: bytes) -> None:
        rig.done.put(body)
        raise RuntimeError("broken")

    await enqueue(rig.actor(breaks), b"\xff\x00 body")
    before = errors()
    with rig.working():
        assert [await rig.next() for _ in range(3)] == [b"\xff\x00 body"] * 3
        rejection = await rig.dead_letter()
    assert (rejection.actor_name, rejection.args) == ("breaks", (b"\xff\x00 body",))
    assert errors() - before == 3
    assert rig.done.empty()


@pytest.mark.service
async def test_scheduled_work_that_breaks_is_counted_and_leaves_no_dead_letter(rig: Rig) -> None:
    async def breaks() -> None:
        rig.done.put("ran")
        raise RuntimeError("broken")

    before = errors()
    unit = broker_module.actor(scheduled=True, queue_name=DATABASE_QUEUE)(breaks)
    await enqueue(unit)
    await enqueue(rig.actor(rig.done.put, actor_name="say"), "after")
    with rig.working():
        assert [await rig.next(), await rig.next()] == ["ran", "after"]
    await asyncio.to_thread(rig.broker.close)  # what it holds unacknowledged is ready again
    assert errors() == before + 1
    assert rig.messages("database.XQ") == rig.messages("database.DQ") == 0


@pytest.mark.service
async def test_a_connection_that_goes_silent_is_given_up_and_the_message_arrives(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_module, "HEARTBEAT_S", 1)
    monkeypatch.setattr(rabbitmq_module, "ANSWER_S", 1.0)
    monkeypatch.setattr(rabbitmq_broker_module, "CLOSE_S", 0.5)
    monkeypatch.setattr(worker_module, "CONSUMER_RESTART_DELAY_SECS", 0.1)
    monkeypatch.setattr(worker_module, "POST_PROCESS_MESSAGE_RETRY_DELAY_SECS", 0.1)
    async with open_proxy(rig.settings.rabbitmq_url) as proxy:
        behind = rig.settings.model_copy(
            update={"rabbitmq_url": proxy.url(rig.settings.rabbitmq_url)}
        )
        async with a_rig(behind, monkeypatch) as silent:
            unit = silent.actor(silent.done.put, actor_name="say")
            await enqueue(unit, "before")
            worker = Worker(silent.broker, worker_threads=1, worker_timeout=50)
            await asyncio.to_thread(worker.start)  # the proxy needs this loop meanwhile
            try:
                assert await silent.next() == "before"
                proxy.go_silent()
                connections = proxy.accepted
                waiting = asyncio.create_task(enqueue(unit, "meanwhile"))
                async with asyncio.timeout(TIMEOUT_S):
                    while proxy.accepted < connections + 3:  # consumers and sender gave theirs up
                        await asyncio.sleep(0.05)
                    await proxy.close_connections()
                    proxy.resume()
                    await waiting
                    while await silent.next() != "meanwhile":
                        pass  # what wasn't acknowledged in time comes again
            finally:
                await asyncio.to_thread(worker.stop)


@pytest.mark.service
async def test_a_stop_does_not_wait_for_a_silent_rabbitmq_and_loses_nothing(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rabbitmq_broker_module, "CLOSE_S", 0.5)
    loop = asyncio.get_running_loop()
    async with open_proxy(rig.settings.rabbitmq_url) as proxy:
        behind = rig.settings.model_copy(
            update={"rabbitmq_url": proxy.url(rig.settings.rabbitmq_url)}
        )
        async with a_rig(behind, monkeypatch) as silent:
            is_sent = threading.Event()

            async def last(number: int) -> None:
                assert is_sent.wait(TIMEOUT_S), "RabbitMQ confirms the message before the silence"
                loop.call_soon_threadsafe(proxy.go_silent)
                silent.done.put(number)

            unit = silent.actor(last)
            worker = Worker(silent.broker, worker_threads=1, worker_timeout=50)
            await asyncio.to_thread(worker.start)
            await enqueue(unit, 1)
            is_sent.set()
            assert await silent.next() == 1
            began_s = time.monotonic()
            await asyncio.to_thread(worker.stop, 1_000)
            await asyncio.to_thread(silent.broker.close)
            assert time.monotonic() - began_s < 4
    rig.actor(rig.done.put, actor_name="last")
    with rig.working():
        assert await rig.next() == 1


@pytest.mark.service
async def test_a_wrong_password_is_said_with_the_setting_and_without_the_password() -> None:
    url = server_urls()["rabbitmq_url"].replace(":killstream@", ":s3cret@")
    with pytest.raises(
        Misconfigured, match=r"refuses the connection.*KILLSTREAM_RABBITMQ_URL"
    ) as refused:
        await check_rabbitmq(Settings(rabbitmq_url=url))
    assert "s3cret" not in str(refused.value)


async def test_a_rabbitmq_that_is_not_there_is_waited_for_and_then_said() -> None:
    url = f"amqp://a:b@127.0.0.1:{free_port()}/x"
    with pytest.raises(ServerUnavailable, match="KILLSTREAM_RABBITMQ_URL"):
        await check_rabbitmq(Settings(rabbitmq_url=url), wait_s=0.5)


@pytest.mark.service
async def test_invalid_data_is_a_dead_letter_at_once(rig: Rig) -> None:
    def refuses(number: int) -> None:
        rig.done.put(number)
        raise Invalid("wrong for ever")

    await enqueue(rig.actor(refuses), 1)
    with rig.working():
        rejection = await rig.dead_letter()
    assert rejection.args == (1,)
    assert [rig.done.get_nowait()] == [1]
    assert rig.done.empty()


@pytest.mark.service
async def test_what_has_to_wait_comes_again_and_is_no_error(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_module, "MAX_TRIES", 0)
    tries = iter(range(3))

    def waits() -> None:
        number = next(tries)
        rig.done.put(number)
        if number < 2:
            raise RetryLater("the world isn't ready", delay_ms=10)

    before = errors()
    await enqueue(rig.actor(waits))
    with rig.working():
        assert [await rig.next() for _ in range(3)] == [0, 1, 2]
    assert errors() == before


@pytest.mark.service
async def test_live_work_goes_before_other_work(rig: Rig) -> None:
    unit = rig.actor(rig.done.put, actor_name="say")
    for number in range(5):
        await enqueue(unit, number, priority=0)
    await enqueue(unit, "live", priority=MAX_PRIORITY)
    with rig.working():
        assert [await rig.next() for _ in range(6)] == ["live", 0, 1, 2, 3, 4]


@pytest.mark.service
async def test_a_worker_does_not_start_without_what_actors_need(
    rig: Rig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_tables = rig.settings.model_copy(update={"database_url": "", "data_dir": tmp_path})
    async with a_rig(without_tables, monkeypatch) as broken:
        with pytest.raises(MiddlewareError, match="killstream migrate"), broken.working():
            pass


@pytest.mark.service
async def test_a_start_that_waits_for_a_silent_server_is_cancelled_soon(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_proxy(rig.settings.redis_url) as proxy:
        proxy.go_silent()
        behind = rig.settings.model_copy(update={"redis_url": proxy.url(rig.settings.redis_url)})
        async with a_rig(behind, monkeypatch) as waiting:
            worker = Worker(waiting.broker, worker_threads=1, worker_timeout=50)
            starting = asyncio.create_task(in_daemon(worker.start, "start"))
            async with asyncio.timeout(TIMEOUT_S):
                while not proxy.accepted:
                    await asyncio.sleep(0.01)
            assert not starting.done()
            cancel_start(waiting.broker)
            with pytest.raises(MiddlewareError, match="can't open"):
                await asyncio.wait_for(starting, 2)


@pytest.mark.service
async def test_a_process_whose_worker_can_not_start_says_why_and_ends(
    rig: Rig, tmp_path: Path
) -> None:
    log = tmp_path / "actors.log"
    async with fresh_database() as without_tables:
        settings = rig.settings.model_copy(update={"database_url": without_tables})
        started = await start_killstream("actors", settings=settings, log=log)
        try:
            async with asyncio.timeout(TIMEOUT_S):
                assert await started.process.wait() != 0
        finally:
            await started.kill()
    assert "killstream migrate" in log.read_text()


@pytest.mark.service
@pytest.mark.crash
async def test_a_message_waits_while_rabbitmq_is_away_and_then_arrives(rig: Rig) -> None:
    unit = rig.actor(rig.done.put, actor_name="say")
    await enqueue(unit, "before")
    await asyncio.to_thread(control.stop, "rabbitmq", kill=True)
    try:
        waiting = asyncio.create_task(enqueue(unit, b"meanwhile"))
        finished, _ = await asyncio.wait([waiting], timeout=1)
        assert not finished
    finally:
        await asyncio.to_thread(control.start, "rabbitmq")
    await waiting
    with rig.working():
        assert {await rig.next(), await rig.next()} == {"before", b"meanwhile"}


@pytest.mark.service
async def test_closes_while_a_thread_that_outlived_its_limit_opens_connections(rig: Rig) -> None:
    assert isinstance(rig.broker, RabbitmqBroker)
    broker = rig.broker
    opened, ended = threading.Event(), threading.Event()

    def outlive() -> None:
        while not ended.is_set():
            with suppress(Exception):  # its connection is closed under it
                del broker.connection
                assert broker.channel
                opened.set()

    thread = threading.Thread(target=outlive)
    for _ in range(5):
        await asyncio.to_thread(threads_connection, broker)
    thread.start()
    try:
        await asyncio.to_thread(opened.wait, TIMEOUT_S)
        await asyncio.to_thread(broker.close)
    finally:
        ended.set()
        await asyncio.to_thread(thread.join)


def threads_connection(broker: RabbitmqBroker) -> None:
    """Open a connection from a thread of its own, as each of dramatiq's does."""
    thread = threading.Thread(target=lambda: broker.channel)
    thread.start()
    thread.join()


def errors() -> float:
    return REGISTRY.get_sample_value("killstream_errors_total") or 0.0
