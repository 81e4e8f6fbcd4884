"""Keep refused messages aside: a row that stays, and a letter on `killmails.rejected`."""

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
from actors.shared.letter import read_letter
from actors.shared.metrics import REJECTED
from actors.shared.rows import insert_missing
from actors.shared.settle import settle
from actors.shared.tables import REJECTED as REJECTED_TABLE

log: Final = structlog.get_logger()


@actor(queue_name=DATABASE_QUEUE, priority=1)
async def reject(letters: list[bytes]) -> None:
    """Keep letters aside. Idempotent in the table; on the topic a letter may come twice."""
    async with resources().database.begin() as connection:
        await settle(connection, await put_aside(connection, letters))
    await tell_rejected(letters)


async def put_aside(
    connection: AsyncConnection, letters: Sequence[bytes]
) -> Sequence[tuple[str, int]]:
    """Write letters, in the caller's transaction; give the places they came from, to be settled."""
    read = {sha256(letter).hexdigest(): (letter, read_letter(letter)) for letter in letters}
    await insert_missing(
        connection,
        REJECTED_TABLE,
        {
            "digest": sorted(read),
            "reason": [read[digest][1].reason for digest in sorted(read)],
            "letter": [read[digest][0] for digest in sorted(read)],
            "rejected_at": [datetime.now(UTC)] * len(read),
        },
    )
    return [
        (letter.source, letter.position)
        for _, letter in read.values()
        if letter.source is not None and letter.position is not None
    ]


async def tell_rejected(letters: Sequence[bytes]) -> None:
    """Send letters to their topic; returns when Kafka has them.

    One that is too large for the topic stays in the table alone.
    """
    for value in letters:
        letter = read_letter(value)
        log.warning("rejected", reason=letter.reason, killmail_id=letter.killmail_id)
        REJECTED.inc()
        key = str(letter.killmail_id).encode() if letter.killmail_id is not None else b""
        try:
            await resources().producer.send_and_wait(topics.REJECTED.name, value, key=key)
        except MessageSizeTooLargeError:
            log.warning("too large for its topic", bytes=len(value), topic=topics.REJECTED.name)
