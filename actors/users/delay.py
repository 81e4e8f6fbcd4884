"""The publication delay of a user's killmails: changed, and ended with the user."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

from sqlalchemy import bindparam, delete, exists, func, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.shared.among import among
from actors.shared.errors import Invalid
from actors.shared.tables import DELAYED, USER_KILLMAILS, USERS

DELAYS_H: Final = (0, 1, 3, 8, 24, 72)
"""The delays that a user may choose."""


async def set_publication_delay(
    connection: AsyncConnection, character_id: int, delay_h: int
) -> None:
    """Change a character's delay, for what is delayed now too.

    What has been published stays public.

    Raises:
        Invalid: `delay_h` isn't one of `DELAYS_H`.
    """
    if delay_h not in DELAYS_H:
        raise Invalid(f"hours: choose from {', '.join(map(str, DELAYS_H))}, not {delay_h}")
    await connection.execute(
        update(USERS)
        .where(USERS.c.character_id == character_id)
        .values(publication_delay_h=delay_h)
    )
    brought = (
        select(DELAYED.c.killmail_id)
        .join(USER_KILLMAILS, USER_KILLMAILS.c.killmail_id == DELAYED.c.killmail_id)
        .where(USER_KILLMAILS.c.character_id == character_id)
    )
    await reschedule(connection, (await connection.scalars(brought)).all())


async def reschedule(connection: AsyncConnection, killmail_ids: Sequence[int]) -> None:
    """Compute anew when delayed killmails become public: the shortest delay applies."""
    query = (
        select(
            DELAYED.c.killmail_id,
            DELAYED.c.killmail_time,
            func.min(USERS.c.publication_delay_h).label("delay_h"),
        )
        .join(USER_KILLMAILS, USER_KILLMAILS.c.killmail_id == DELAYED.c.killmail_id)
        .join(USERS, USERS.c.character_id == USER_KILLMAILS.c.character_id)
        .where(among(DELAYED.c.killmail_id, killmail_ids))
        .group_by(DELAYED.c.killmail_id, DELAYED.c.killmail_time)
        .order_by(DELAYED.c.killmail_id)
    )
    changes = [
        {"of": row.killmail_id, "at": row.killmail_time + timedelta(hours=row.delay_h)}
        for row in await connection.execute(query)
    ]
    if changes:
        await connection.execute(
            update(DELAYED)
            .where(DELAYED.c.killmail_id == bindparam("of"))
            .values(publish_at=bindparam("at", type_=DELAYED.c.publish_at.type)),
            changes,
        )


async def delete_unowned(connection: AsyncConnection) -> None:
    """Delete delayed killmails that no user brought any more."""
    is_brought = exists().where(USER_KILLMAILS.c.killmail_id == DELAYED.c.killmail_id)
    await connection.execute(delete(DELAYED).where(~is_brought))
