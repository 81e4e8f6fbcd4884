"""Start the syncs that are due. The schedule is in the tables `users` and `corporation_syncs`."""

from datetime import UTC, datetime, timedelta
from typing import Any, Final

import structlog
from sqlalchemy import and_, exists, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import SYNC_QUEUE, actor, enqueue
from actors.resources import resources
from actors.shared.tables import CORPORATION_SYNCS, USERS
from actors.sync.character import sync_character
from actors.sync.corporation import enroll_corporation, sync_corporation
from actors.users.tokens import ACTIVE

log: Final = structlog.get_logger()

BATCH: Final = 200
"""Syncs that one call starts of each kind."""
CLAIM: Final = timedelta(minutes=15)
"""When a sync is started again whose message or process was lost."""
FIRST_PRIORITY: Final = 9
PRIORITY: Final = 5


@actor(queue_name=SYNC_QUEUE, priority=0, scheduled=True)
async def schedule_syncs() -> None:
    """Start each sync that is due, first syncs first. Safe to run at once in several processes.

    A sync that was started is due again after `CLAIM`, until its run sets its own next time.
    """
    async with resources().database.begin() as connection:
        characters = await _claim_characters(connection)
        corporations = await _claim_corporations(connection)
        enrollments = await _claim_enrollments(connection)
    for character_id, is_first in characters:
        await enqueue(sync_character, character_id, priority=_priority(is_first))
    for character_id in enrollments:
        await enqueue(enroll_corporation, character_id, priority=FIRST_PRIORITY)
    for corporation_id, character_id, is_first in corporations:
        await enqueue(sync_corporation, corporation_id, character_id, priority=_priority(is_first))


def _priority(is_first: bool) -> int:
    return FIRST_PRIORITY if is_first else PRIORITY


async def _claim_characters(connection: AsyncConnection) -> list[tuple[int, bool]]:
    now = datetime.now(UTC)
    due = (
        select(USERS.c.character_id, USERS.c.first_synced_at)
        .where(USERS.c.state == ACTIVE, USERS.c.next_sync_at <= now)
        .order_by(USERS.c.first_synced_at.is_not(None), USERS.c.next_sync_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    rows = (await connection.execute(due)).all()
    ids = [row.character_id for row in rows]
    if ids:
        await connection.execute(
            update(USERS).where(USERS.c.character_id.in_(ids)).values(next_sync_at=now + CLAIM)
        )
    return [(row.character_id, row.first_synced_at is None) for row in rows]


async def _claim_corporations(connection: AsyncConnection) -> list[tuple[int, int, bool]]:
    """Claim one director of each corporation that is due."""
    now = datetime.now(UTC)
    row, other = CORPORATION_SYNCS, CORPORATION_SYNCS.alias()
    another_does: Any = exists().where(  # it runs, was synchronized lately, or is postponed
        other.c.corporation_id == row.c.corporation_id,
        other.c.character_id != row.c.character_id,
        other.c.state == "active",
        other.c.next_sync_at > now,
    )
    due = (
        select(row.c.corporation_id, row.c.character_id, row.c.first_synced_at)
        .join(USERS, USERS.c.character_id == row.c.character_id)
        .where(
            row.c.state == "active",
            row.c.next_sync_at <= now,
            USERS.c.state == ACTIVE,
            USERS.c.sync_corporation,
            ~another_does,
        )
        .order_by(row.c.first_synced_at.is_not(None), row.c.next_sync_at)
        .limit(BATCH)
        .with_for_update(of=row, skip_locked=True)
    )
    claimed: dict[int, tuple[int, int, bool]] = {}
    for found in (await connection.execute(due)).all():
        claimed.setdefault(
            found.corporation_id,
            (found.corporation_id, found.character_id, found.first_synced_at is None),
        )
    for corporation_id, character_id, _ in claimed.values():
        of_row = and_(row.c.corporation_id == corporation_id, row.c.character_id == character_id)
        await connection.execute(update(row).where(of_row).values(next_sync_at=now + CLAIM))
    return list(claimed.values())


async def _claim_enrollments(connection: AsyncConnection) -> list[int]:
    now = datetime.now(UTC)
    due = (
        select(USERS.c.character_id)
        .where(USERS.c.state == ACTIVE, USERS.c.sync_corporation, USERS.c.next_enrollment_at <= now)
        .order_by(USERS.c.next_enrollment_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
    )
    ids = list((await connection.scalars(due)).all())
    if ids:
        await connection.execute(
            update(USERS)
            .where(USERS.c.character_id.in_(ids))
            .values(next_enrollment_at=now + CLAIM)
        )
    return ids
