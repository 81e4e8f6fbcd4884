"""Publish delayed killmails when their time has come."""

from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import select, update

from actors.broker import DATABASE_QUEUE, actor, enqueue
from actors.killmails.persist import persist
from actors.resources import resources
from actors.shared.tables import DELAYED

BATCH: Final = 100
AGAIN: Final = timedelta(minutes=10)
"""When a killmail is sent again whose message was lost."""


@actor(queue_name=DATABASE_QUEUE, priority=4, scheduled=True)
async def publish_delayed() -> None:
    """Send each killmail that is due to `persist`, which deletes its row when it stores it."""
    while values := await _claim():
        for value in values:  # one message each: bodies may be large
            await enqueue(persist, [value], priority=1)


async def _claim() -> list[bytes]:
    now = datetime.now(UTC)
    due = (
        select(DELAYED.c.killmail_id, DELAYED.c.reference)
        .where(DELAYED.c.publish_at <= now)
        .order_by(DELAYED.c.publish_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    async with resources().database.begin() as connection:
        rows = (await connection.execute(due)).all()
        if rows:
            ids = [row.killmail_id for row in rows]
            await connection.execute(
                update(DELAYED).where(DELAYED.c.killmail_id.in_(ids)).values(publish_at=now + AGAIN)
            )
    return [row.reference for row in rows]
