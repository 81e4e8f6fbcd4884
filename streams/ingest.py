"""Check references and send them to the actors, one message per batch.

Step 2 of the flow. Consumes `killmails.received`; sends references with a body to `persist`, those
without to `fetch`, invalid ones to `reject`. Offsets are committed after RabbitMQ has stored the
batch, so nothing is lost; after a crash some messages are sent twice: the actors are idempotent.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Final, cast

from faust.streams import Stream
from faust.types import ChannelT, EventT, StreamT

from actors.broker import MAX_PRIORITY, enqueue
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist
from actors.killmails.reject import reject
from actors.shared import topics
from actors.shared.errors import Invalid, KillstreamError
from actors.shared.reference import decode_reference
from actors.shared.rejection import encode_rejection
from actors.shared.settings import settings
from streams.app import app

BATCH_REFERENCES: Final = 500
"""Maximum number of references in one message to the actors, and so in one transaction.

Killmails of one time share rows of `postings`: 500 take a fifth less CPU each than 200.
"""
FETCH_REFERENCES: Final = 200
"""The same for those without a body: they are stored when all of a message were fetched."""
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Size at which a batch is full."""
BACKLOG_REFERENCES: Final = 10
"""Number of waiting references that makes a backlog, whose batch may wait for more."""
FILL_S: Final = 0.025
"""How long a batch of a backlog waits for more; repeated while more arrive.

The poller sends what it has read about as often.
"""
FULL_S: Final = 0.1
"""How long it waits in all."""
REJECTS_IN_A_ROW: Final = 1_000
"""Rejections in a row after which the process stops: the fault is probably ours."""

received: Final = app.topic(
    settings().named(topics.RECEIVED.name), key_type=bytes, value_type=bytes
)


class TooManyRejects(KillstreamError):
    """Every reference is rejected: stop before the whole topic is."""


broken: Final[asyncio.Queue[Exception]] = asyncio.Queue()
"""Errors of the agent that must stop the process; Faust would only restart the agent."""


@app.agent(received)
async def ingest(stream: StreamT[bytes]) -> None:
    """Send references to the actors, in batches of those waiting."""
    try:
        await _ingest(stream)
    except Exception as error:  # Faust would continue after the failed event
        broken.put_nowait(error)
        await asyncio.Event().wait()


async def _ingest(stream: StreamT[bytes]) -> None:
    rejects_in_a_row = 0
    async for event in cast(Stream[bytes], stream).noack().events():
        batch = await _batch(stream, event)
        refused, passed_on = await hand_over([event.value or b"" for event in batch])
        for event in batch:
            event.ack()
        rejects_in_a_row = 0 if passed_on else rejects_in_a_row + refused
        if rejects_in_a_row >= REJECTS_IN_A_ROW:
            raise TooManyRejects(f"{rejects_in_a_row} refusals in a row on {topics.RECEIVED.name}")


async def hand_over(values: Sequence[bytes]) -> tuple[int, int]:
    """Enqueue references at the actors they need; return the counts of rejected and valid ones.

    Returns when the broker has stored them all.
    """
    with_body: list[bytes] = []
    without_body: list[bytes] = []
    rejections: list[bytes] = []
    for value in values:
        try:
            reference = decode_reference(value)
        except Invalid as error:
            rejections.append(encode_rejection(str(error), value))
        else:
            (with_body if reference.body else without_body).append(value)
    if rejections:
        await enqueue(reject, rejections)
    if with_body:
        await enqueue(persist, with_body, priority=MAX_PRIORITY)
    for start in range(0, len(without_body), FETCH_REFERENCES):
        some = without_body[start : start + FETCH_REFERENCES]
        await enqueue(fetch, some, priority=MAX_PRIORITY)
    return len(rejections), len(values) - len(rejections)


async def _batch(stream: StreamT[bytes], first: EventT[bytes]) -> list[EventT[bytes]]:
    """Take the events waiting after the first; waits for more only in a backlog."""
    batch = [first]
    room = BATCH_BYTES - _size(first)
    until_s = time.monotonic() + FULL_S
    while len(batch) < BATCH_REFERENCES and room > 0:
        more = _waiting(stream, BATCH_REFERENCES - len(batch), room)
        batch += more
        room -= sum(map(_size, more))
        is_backlog = more and len(batch) >= BACKLOG_REFERENCES
        if not is_backlog or time.monotonic() > until_s:
            break
        await asyncio.sleep(FILL_S)
    return batch


def _waiting(stream: StreamT[bytes], limit: int, room: int) -> list[EventT[bytes]]:
    """Take up to `limit` waiting events, until `room` (bytes) is used."""
    queue = cast(ChannelT[bytes], stream.channel).queue
    taken: list[EventT[bytes]] = []
    while len(taken) < limit and room > 0 and not queue.empty():
        event: EventT[bytes] = queue.get_nowait()
        message = event.message
        if message.generation_id != app.consumer_generation_id:
            continue  # from before a rebalance: redelivered to the new owner of the partition
        message.tracked = True
        app.consumer.track_message(message)
        taken.append(event)
        room -= _size(event)
    return taken


def _size(event: EventT[bytes]) -> int:
    return len(event.value or b"")
