"""Record rejections in the table `rejected` and publish them on `killmails.rejected`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import DATABASE_QUEUE, actor
from actors.resources import resources
from actors.shared import topics
from actors.shared.ack import ack
from actors.shared.metrics import REJECTED, TRUNCATED
from actors.shared.produce import Message, produce
from actors.shared.reference import origin_of
from actors.shared.rejection import Rejection, decode_rejection, truncate_rejection
from actors.shared.rows import insert_missing
from actors.shared.tables import REJECTED as REJECTED_TABLE

log: Final = structlog.get_logger()


@actor(queue_name=DATABASE_QUEUE, priority=1)
async def reject(rejections: list[bytes]) -> None:
    """Record and publish rejections. Idempotent in the table, at least once on the topic."""
    async with resources().database.begin() as connection:
        await ack(connection, await record_rejections(connection, rejections))
    await publish_rejections(rejections)


async def record_rejections(
    connection: AsyncConnection, rejections: Sequence[bytes]
) -> Sequence[tuple[str, int]]:
    """Insert rejections in the caller's transaction; return the positions to ack."""
    read = {
        sha256(rejection).hexdigest(): (rejection, decode_rejection(rejection))
        for rejection in rejections
    }
    rows = [(digest, *read[digest]) for digest in sorted(read)]
    await insert_missing(
        connection,
        REJECTED_TABLE,
        {
            "digest": [digest for digest, _, _ in rows],
            "reason": [rejection.reason for _, _, rejection in rows],
            "rejection": [value for _, value, _ in rows],
            "rejected_at": [datetime.now(UTC)] * len(rows),
            "killmail_id": [rejection.killmail_id for _, _, rejection in rows],
        },
    )
    return [
        (rejection.source, rejection.position)
        for _, rejection in read.values()
        if rejection.source is not None and rejection.position is not None
    ]


async def publish_rejections(rejections: Sequence[bytes]) -> None:
    """Send rejections to their topic; returns when Kafka has stored them.

    One that is too large for the topic is sent without its value, which the table has. What a
    user's sync brought isn't sent at all: the user may delay its publication.
    """
    read = [decode_rejection(value) for value in rejections]
    for rejection in read:
        log.warning("killmail.rejected", reason=rejection.reason, killmail_id=rejection.killmail_id)
    REJECTED.inc(len(read))
    public = [(r, v) for r, v in zip(read, rejections, strict=True) if not _is_of_sync(r)]
    topic = resources().settings.named(topics.REJECTED.name)
    too_large = await _produce(topic, [(_key(r), value) for r, value in public])
    if too_large:
        TRUNCATED.labels(topic=topics.REJECTED.name).inc(len(too_large))
        cut = [truncate_rejection(public[index][0]) for index in too_large]
        await _produce(topic, [(_key(decode_rejection(value)), value) for value in cut])


async def _produce(topic: str, messages: Sequence[Message]) -> list[int]:
    too_large = await produce(resources().producer, topic, messages)
    for index in too_large:
        log.warning("message.too_large", topic=topic, bytes=len(messages[index][1]))
    return too_large


def _is_of_sync(rejection: Rejection) -> bool:
    return rejection.source is not None and origin_of(rejection.source) == "sync"


def _key(rejection: Rejection) -> bytes:
    return b"" if rejection.killmail_id is None else str(rejection.killmail_id).encode()
