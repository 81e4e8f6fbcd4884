"""Keep refused messages aside: a row that stays, and a rejection on `killmails.rejected`."""

from collections.abc import Sequence
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

import structlog
from aiokafka.errors import MessageSizeTooLargeError
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import DATABASE_QUEUE, actor
from actors.resources import resources
from actors.shared import topics
from actors.shared.ack import ack
from actors.shared.metrics import REJECTED
from actors.shared.rejection import decode_rejection
from actors.shared.rows import insert_missing
from actors.shared.tables import REJECTED as REJECTED_TABLE

log: Final = structlog.get_logger()


@actor(queue_name=DATABASE_QUEUE, priority=1)
async def reject(rejections: list[bytes]) -> None:
    """Keep rejections aside. Idempotent in the table; on the topic a rejection may come twice."""
    async with resources().database.begin() as connection:
        await ack(connection, await record_rejections(connection, rejections))
    await publish_rejections(rejections)


async def record_rejections(
    connection: AsyncConnection, rejections: Sequence[bytes]
) -> Sequence[tuple[str, int]]:
    """Write rejections in the caller's transaction; return the positions to ack."""
    read = {
        sha256(rejection).hexdigest(): (rejection, decode_rejection(rejection))
        for rejection in rejections
    }
    await insert_missing(
        connection,
        REJECTED_TABLE,
        {
            "digest": sorted(read),
            "reason": [read[digest][1].reason for digest in sorted(read)],
            "rejection": [read[digest][0] for digest in sorted(read)],
            "rejected_at": [datetime.now(UTC)] * len(read),
        },
    )
    return [
        (rejection.source, rejection.position)
        for _, rejection in read.values()
        if rejection.source is not None and rejection.position is not None
    ]


async def publish_rejections(rejections: Sequence[bytes]) -> None:
    """Send rejections to their topic; returns when Kafka has them.

    One that is too large for the topic stays in the table alone.
    """
    topic = resources().settings.named(topics.REJECTED.name)
    for value in rejections:
        rejection = decode_rejection(value)
        log.warning("rejected", reason=rejection.reason, killmail_id=rejection.killmail_id)
        REJECTED.inc()
        key = str(rejection.killmail_id).encode() if rejection.killmail_id is not None else b""
        try:
            await resources().producer.send_and_wait(topic, value, key=key)
        except MessageSizeTooLargeError:
            log.warning("too large for its topic", bytes=len(value), topic=topic)
