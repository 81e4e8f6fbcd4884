"""Check references and hand them to the actors, a batch a message.

Step 2 of a killmail's way. Takes `killmails.received`; gives `persist` (the body is there) or
`fetch` (it isn't); what is no reference goes to `reject`. The offset moves on only when RabbitMQ
has the batch, so nothing is lost on the way; after a crash some come twice, which the actors fold.
"""

import asyncio
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

BATCH_REFERENCES: Final = 200
"""Most references in one message to the actors; one when no more are waiting."""
BATCH_BYTES: Final = 4 * 1024 * 1024
"""Size above which a batch takes no more."""
BACKLOG_REFERENCES: Final = 10
"""So many at once are a backlog: its batch may wait for more."""
FILL_S: Final = 0.005
"""How long a batch from a backlog waits for more, again while more comes."""
REJECTS_IN_A_ROW: Final = 1_000
"""Refusals without one good reference between, after which it must be us who are wrong."""

received: Final = app.topic(
    settings().named(topics.RECEIVED.name), key_type=bytes, value_type=bytes
)


class TooManyRejects(KillstreamError):
    """Everything is refused: stop before the whole topic lies among the rejects."""


broken: Final[asyncio.Queue[Exception]] = asyncio.Queue()
"""Where the agent says that this process must stop; an agent that raises is just restarted."""


@app.agent(received)
async def ingest(stream: StreamT[bytes]) -> None:
    """Hand references to the actors, in batches as large as what waits."""
    try:
        await _ingest(stream)
    except Exception as error:  # an edge: Faust would go on behind the event that broke us
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
    """Sort references by what they need and enqueue them; give how many were refused, passed on.

    Returns when the broker has them all.
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
    if without_body:
        await enqueue(fetch, without_body, priority=MAX_PRIORITY)
    return len(rejections), len(values) - len(rejections)


async def _batch(stream: StreamT[bytes], first: EventT[bytes]) -> list[EventT[bytes]]:
    """Take what waits behind the first event; only a backlog is given time to fill the batch."""
    batch = [first]
    room = BATCH_BYTES - _size(first)
    while len(batch) < BATCH_REFERENCES and room > 0:
        more = _waiting(stream, BATCH_REFERENCES - len(batch), room)
        batch += more
        room -= sum(map(_size, more))
        if not more or len(batch) < BACKLOG_REFERENCES:
            break
        await asyncio.sleep(FILL_S)
    return batch


def _waiting(stream: StreamT[bytes], limit: int, room: int) -> list[EventT[bytes]]:
    """Take up to `limit` events that have come already, until one fills the room (bytes)."""
    queue = cast(ChannelT[bytes], stream.channel).queue
    taken: list[EventT[bytes]] = []
    while len(taken) < limit and room > 0 and not queue.empty():
        event: EventT[bytes] = queue.get_nowait()
        message = event.message
        if message.generation_id != app.consumer_generation_id:
            continue  # from before a rebalance: whoever has the partition now gets it again
        message.tracked = True
        app.consumer.track_message(message)
        taken.append(event)
        room -= _size(event)
    return taken


def _size(event: EventT[bytes]) -> int:
    return len(event.value or b"")
