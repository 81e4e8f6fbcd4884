"""Ingest: references reach the right actors, in fitting batches, and none is lost on the way."""

import asyncio
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any

import dramatiq
import msgspec
import pika
import pytest
from aiokafka import AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient

from actors.shared import topics
from actors.shared.killmail import MAX_BODY_BYTES
from actors.shared.reference import NO_JSON, encode_reference
from actors.shared.rejection import decode_rejection
from actors.shared.settings import Settings
from actors.shared.topics import MAX_MESSAGE_BYTES, create_topics, open_admin
from deploy.local import control
from streams.ingest import (
    BATCH_BYTES,
    BATCH_REFERENCES,
    FETCH_REFERENCES,
    REJECTS_IN_A_ROW,
    hand_over,
)
from tests.support.esi import sent
from tests.support.made import a_body, a_reference
from tests.support.pipeline import Pipeline, pipeline
from tests.support.servers import empty_servers

TIMEOUT_S = 30
SCHEDULED = {"sweep", "recall"}


def reference_of(killmail_id: int, padding: int = 0) -> bytes:
    body = a_body(killmail_id, **({"padding": "x" * padding} if padding else {}))
    return encode_reference(a_reference(body, killmail_id))


def bare_reference_of(killmail_id: int) -> bytes:
    whole = a_reference(a_body(killmail_id), killmail_id)
    return encode_reference(msgspec.structs.replace(whole, body=NO_JSON))


@pytest.fixture
def _empty_queues() -> Iterator[None]:
    yield
    for queue in ("database", "esi"):
        sent(queue)


@pytest.mark.usefixtures("_empty_queues")
async def test_each_reference_goes_where_it_is_needed() -> None:
    whole, bare = [reference_of(1), reference_of(2)], [bare_reference_of(3)]
    bad = [b"", b"\xff", b'{"v":1}']
    values = [bad[0], whole[0], bare[0], bad[1], whole[1], bad[2]]
    assert await hand_over(values) == (3, 3)
    rejected, kept = sorted(sent("database"), key=lambda m: m.actor_name, reverse=True)
    (fetched,) = sent("esi")
    assert (kept.actor_name, kept.args) == ("persist", (whole,))
    assert (fetched.actor_name, fetched.args) == ("fetch", (bare,))
    assert rejected.actor_name == "reject"
    rejections = [decode_rejection(rejection) for rejection in rejected.args[0]]
    assert [rejection.value for rejection in rejections] == ["", "\\xff", '{"v":1}']
    assert all(rejection.reason.startswith("not a reference: ") for rejection in rejections)


@pytest.mark.usefixtures("_empty_queues")
async def test_what_has_to_be_fetched_goes_in_smaller_messages() -> None:
    bare = [bare_reference_of(n) for n in range(1, BATCH_REFERENCES + 1)]
    assert await hand_over(bare) == (0, len(bare))
    messages = sent("esi")
    assert {len(message.args[0]) for message in messages[:-1]} == {FETCH_REFERENCES}
    assert [value for message in messages for value in message.args[0]] == bare


@pytest.mark.usefixtures("_empty_queues")
async def test_nothing_is_sent_for_what_is_not_there() -> None:
    assert await hand_over([]) == (0, 0)
    assert await hand_over([reference_of(1)]) == (0, 1)
    assert [message.actor_name for message in sent("database")] == ["persist"]
    assert sent("esi") == []


class Rig:
    """A streams process on real servers; what it sends stays in RabbitMQ."""

    def __init__(self, pipe: Pipeline) -> None:
        self.pipe = pipe
        self.settings = pipe.settings

    async def produce(self, values: Sequence[bytes | None], key: bytes = b"1") -> None:
        """Put values on the topic, all on one partition."""
        async with AIOKafkaProducer(
            bootstrap_servers=self.settings.kafka_bootstrap,
            max_request_size=MAX_MESSAGE_BYTES,
            max_batch_size=1024 * 1024,
        ) as producer:
            await asyncio.gather(
                *[await producer.send(topics.RECEIVED.name, value, key=key) for value in values]
            )

    async def take(self, references: int, *names: str) -> list[dramatiq.Message[Any]]:
        """Take messages of these actors until they hold so many references."""
        return await asyncio.to_thread(self._take, references, names or ("persist",))

    def _take(self, references: int, names: tuple[str, ...]) -> list[dramatiq.Message[Any]]:
        taken: list[dramatiq.Message[Any]] = []
        with pika.BlockingConnection(pika.URLParameters(self.settings.rabbitmq_url)) as connection:
            channel = connection.channel()
            channel.basic_qos(prefetch_count=1)
            for method, _, body in channel.consume("database", inactivity_timeout=TIMEOUT_S):
                assert body is not None, f"{references} references never came"
                channel.basic_ack(method.delivery_tag)
                message = dramatiq.Message.decode(body)
                if message.actor_name in SCHEDULED:
                    continue  # the schedule's
                assert message.actor_name in names
                taken.append(message)
                references -= len(message.args[0]) if message.args else 0
                if references <= 0:
                    break
            channel.cancel()
        return taken

    async def committed(self) -> int:
        """Sum the offsets that the group has committed."""
        admin = AIOKafkaAdminClient(bootstrap_servers=self.settings.kafka_bootstrap)
        await admin.start()
        try:
            offsets = await admin.list_consumer_group_offsets("killstream")
        finally:
            await admin.close()
        return sum(
            offset.offset
            for partition, offset in offsets.items()
            if partition.topic == topics.RECEIVED.name
        )


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """Servers with topics and queues; streams isn't started yet."""
    async with empty_servers() as settings, pipeline(settings, tmp_path, (), source="none") as pipe:
        await create_topics(pipe.settings)
        _declare_queues(pipe.settings)
        yield Rig(pipe)


def _declare_queues(settings: Settings) -> None:
    from actors.broker import make_broker

    broker = make_broker(settings)
    for queue in ("database", "esi"):
        broker.declare_queue(queue, ensure=True)  # type: ignore[call-arg]
    broker.close()


@pytest.mark.service
async def test_a_lone_reference_is_a_message_of_its_own(rig: Rig) -> None:
    await rig.pipe.start("streams")
    for killmail_id in range(3):
        value = reference_of(killmail_id)
        await rig.produce([value])
        (message,) = await rig.take(1)
        assert list(message.args) == [[value]]


@pytest.mark.service
async def test_a_backlog_comes_in_order_in_batches_up_to_the_bound(rig: Rig) -> None:
    values = [reference_of(i) for i in range(1_000)]
    await rig.produce(values)
    await rig.pipe.start("streams")
    batches = [message.args[0] for message in await rig.take(1_000)]
    assert [value for batch in batches for value in batch] == values
    assert max(map(len, batches)) == BATCH_REFERENCES


@pytest.mark.service
async def test_a_batch_does_not_wait_until_it_is_full_while_more_arrive(rig: Rig) -> None:
    await rig.pipe.start("streams")
    await rig.produce([reference_of(0)])
    await rig.take(1)  # it reads the topic now
    values = [reference_of(i) for i in range(1, BATCH_REFERENCES + 1)]
    async with AIOKafkaProducer(bootstrap_servers=rig.settings.kafka_bootstrap) as producer:
        for start in range(0, len(values), 20):  # for half a second
            for value in values[start : start + 20]:
                await producer.send(topics.RECEIVED.name, value, key=b"1")
            await asyncio.sleep(0.02)
    batches = [message.args[0] for message in await rig.take(len(values))]
    assert [value for batch in batches for value in batch] == values
    assert max(map(len, batches)) < BATCH_REFERENCES / 2


@pytest.mark.service
async def test_large_references_come_in_smaller_batches(rig: Rig) -> None:
    values = [reference_of(i, padding=200 * 1024) for i in range(60)]  # Kafka gives 5 at once
    values.append(reference_of(60, padding=MAX_BODY_BYTES - 1_000))
    await rig.produce(values)
    await rig.pipe.start("streams")
    batches = [message.args[0] for message in await rig.take(61)]
    assert [value for batch in batches for value in batch] == values
    for batch in batches:
        assert sum(map(len, batch[:-1])) < BATCH_BYTES
    assert max(map(len, batches)) > 1


@pytest.mark.service
async def test_a_message_without_a_value_is_refused_and_the_next_goes_on(rig: Rig) -> None:
    await rig.pipe.start("streams")
    await rig.produce([None, reference_of(1)])
    messages = await rig.take(2, "reject", "persist")
    assert {message.actor_name for message in messages} == {"reject", "persist"}


@pytest.mark.service
async def test_nothing_but_refusals_stops_the_process_loudly(rig: Rig) -> None:
    await rig.produce([b"garbage %d" % i for i in range(REJECTS_IN_A_ROW + 1)])
    await rig.pipe.start("streams")
    streams = rig.pipe.running["streams"]
    async with asyncio.timeout(TIMEOUT_S):
        assert await streams.process.wait() == 1
    assert f"refusals in a row on {topics.RECEIVED.name}" in streams.log.read_text()
    rejections = await rig.take(REJECTS_IN_A_ROW, "reject")
    assert decode_rejection(rejections[0].args[0][0]).value == "garbage 0"


@pytest.mark.service
async def test_many_refusals_with_a_good_one_between_do_not_stop_it(rig: Rig) -> None:
    bad = [b"garbage"] * (REJECTS_IN_A_ROW - 1)
    await rig.pipe.start("streams")
    for killmail_id in range(2):
        await rig.produce([*bad, reference_of(killmail_id)])
        await rig.take(REJECTS_IN_A_ROW, "reject", "persist")
    await rig.produce([reference_of(3)])
    assert len(await rig.take(1)) == 1


@pytest.mark.service
async def test_stopping_commits_what_rabbitmq_has(rig: Rig) -> None:
    await rig.pipe.start("streams")
    await rig.produce([reference_of(i) for i in range(300)])
    await rig.take(300)
    assert await rig.pipe.stop("streams") == 0
    assert await rig.committed() == 300


@pytest.mark.service
@pytest.mark.crash
async def test_offsets_do_not_move_before_rabbitmq_has_the_batch(rig: Rig) -> None:
    values = [reference_of(i) for i in range(300)]
    await rig.produce(values)
    await asyncio.to_thread(control.stop, "rabbitmq", kill=True)
    try:
        await rig.pipe.start("streams")
        await rig.pipe.running["streams"].wait_for_output("server.unavailable")
        async with asyncio.timeout(TIMEOUT_S):
            await rig.pipe.stop("streams")  # which commits what was acknowledged
    finally:
        await asyncio.to_thread(control.start, "rabbitmq")
    assert await rig.committed() == 0
    await rig.pipe.start("streams")
    assert {value for message in await rig.take(300) for value in message.args[0]} == set(values)


@pytest.mark.service
@pytest.mark.crash
async def test_a_deleted_topic_is_said_created_again_and_read_on(rig: Rig) -> None:
    await rig.pipe.start("streams")
    await rig.produce([reference_of(i) for i in range(100)])
    await rig.take(100)
    async with open_admin(rig.settings) as admin:
        await admin.delete_topics([topics.RECEIVED.name])
    await rig.pipe.running["streams"].wait_for_output("kafka.topics_recreated")
    await rig.produce([reference_of(i) for i in range(100, 110)])
    taken = await rig.take(10)
    assert {value for message in taken for value in (message.args or [()])[0]} == {
        reference_of(i) for i in range(100, 110)
    }
    assert len(rig.pipe.running["streams"].log.read_text().splitlines()) < 40
