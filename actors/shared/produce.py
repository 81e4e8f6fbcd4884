"""Send batches to Kafka in which messages may be too large for the topic."""

import asyncio
from collections.abc import Sequence
from typing import Final

from aiokafka import AIOKafkaProducer
from aiokafka.errors import MessageSizeTooLargeError, RecordListTooLargeError
from aiokafka.partitioner import DefaultPartitioner

from actors.shared.topics import MAX_MESSAGE_BYTES

TOO_LARGE: Final = (MessageSizeTooLargeError, RecordListTooLargeError)

Message = tuple[bytes, bytes]
"""Key and value."""

_partition_of: Final = DefaultPartitioner()


async def produce(producer: AIOKafkaProducer, topic: str, messages: Sequence[Message]) -> list[int]:
    """Send messages; returns the indexes of those that are too large for the topic.

    Returns when Kafka has stored all others. Kafka refuses a batch as a whole, so the messages of
    a refused batch are sent again, each in a batch of its own.

    Raises:
        KafkaError: Kafka didn't store the others.
    """
    sent: list[asyncio.Future[object] | None] = []
    for key, value in messages:
        try:
            sent.append(await producer.send(topic, value, key=key))
        except MessageSizeTooLargeError:
            sent.append(None)
    results = await asyncio.gather(*filter(None, sent), return_exceptions=True)
    answers = iter(results)
    refused = []
    for index, future in enumerate(sent):
        answer = next(answers) if future else MessageSizeTooLargeError()
        if isinstance(answer, TOO_LARGE):
            refused.append(index)
        elif isinstance(answer, BaseException):
            raise answer
    return [i for i in refused if not await _stores(producer, topic, messages[i])]


async def _stores(producer: AIOKafkaProducer, topic: str, message: Message) -> bool:
    """Send a message in a batch of its own; return whether Kafka stored it."""
    key, value = message
    if len(value) > MAX_MESSAGE_BYTES:
        return False
    batch = producer.create_batch()
    batch.append(key=key, value=value, timestamp=None)
    partitions = sorted(await producer.partitions_for(topic))
    partition = _partition_of(key, partitions, partitions)
    try:
        await (await producer.send_batch(batch, topic, partition=partition))
    except TOO_LARGE:
        return False
    return True
