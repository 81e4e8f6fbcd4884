"""Synchronize a corporation's killmails with the token of one of its directors."""

from datetime import UTC, datetime, timedelta
from typing import Final

import structlog
from sqlalchemy import delete, update

from actors.broker import SYNC_QUEUE, actor
from actors.esi.affiliations import affiliations
from actors.esi.authenticated import roles
from actors.esi.errors import Forbidden, TokenRejected
from actors.resources import resources
from actors.shared.errors import KillstreamError, RetryLater
from actors.shared.rows import insert_missing
from actors.shared.tables import CORPORATION_SYNCS, USERS
from actors.sync.pages import synchronize
from actors.sync.subject import Subject
from actors.users.tokens import expire_token

log: Final = structlog.get_logger()

CHECK_EVERY: Final = timedelta(days=1)
"""How often corporation and roles are looked up again; ESI caches both for an hour."""
FAILURE_WAIT: Final = timedelta(minutes=5)
NO_DIRECTOR: Final = "the character isn't a director of its corporation"


@actor(queue_name=SYNC_QUEUE, priority=1)
async def sync_corporation(corporation_id: int, character_id: int, full: bool = False) -> None:
    """List a corporation's recent killmails with this director's token. Idempotent."""
    await synchronize(Subject("corporation", corporation_id, character_id), full=full)


@actor(queue_name=SYNC_QUEUE, priority=1)
async def enroll_corporation(character_id: int) -> None:
    """Look a character's corporation and roles up, and schedule the corporation's sync.

    The roles are checked here, as ESI charges a denied list five times. Without the Director role
    the corporation's row says so, and the roles are looked up again after a day.
    """
    opened = resources()
    try:
        corporation_id, is_director = await _look_up(character_id)
    except TokenRejected:
        await expire_token(opened.database, character_id)
        wait = FAILURE_WAIT
    except RetryLater as later:
        wait = timedelta(milliseconds=later.delay_ms)
    except KillstreamError as error:
        log.warning("sync.enrollment_failed", character_id=character_id, reason=str(error))
        wait = FAILURE_WAIT
    else:
        await _record(character_id, corporation_id, is_director)
        wait = CHECK_EVERY
    async with opened.database.begin() as connection:
        await connection.execute(
            update(USERS)
            .where(USERS.c.character_id == character_id, USERS.c.sync_corporation)
            .values(next_enrollment_at=datetime.now(UTC) + wait)
        )


async def _look_up(character_id: int) -> tuple[int, bool]:
    opened = resources()
    (affiliation,) = await affiliations(opened.esi, [character_id])
    token = await opened.keeper.access_token(character_id)
    try:
        held = await roles(opened.esi, character_id, token)
    except Forbidden:
        return affiliation.corporation_id, False
    return affiliation.corporation_id, bool(held.value and held.value.is_director)


async def _record(character_id: int, corporation_id: int, is_director: bool) -> None:
    now = datetime.now(UTC)
    columns = CORPORATION_SYNCS.c
    of_character = columns.character_id == character_id
    async with resources().database.begin() as connection:
        await connection.execute(
            update(USERS)
            .where(USERS.c.character_id == character_id)
            .values(corporation_id=corporation_id)
        )
        await connection.execute(
            delete(CORPORATION_SYNCS).where(of_character, columns.corporation_id != corporation_id)
        )
        await insert_missing(
            connection,
            CORPORATION_SYNCS,
            {
                "corporation_id": [corporation_id],
                "character_id": [character_id],
                "state": ["refused"],
                "created_at": [now],
            },
        )
        of_row = (of_character, columns.corporation_id == corporation_id)
        if is_director:
            became = {"state": "active", "state_reason": None, "next_sync_at": now}
            await connection.execute(
                update(CORPORATION_SYNCS).where(*of_row, columns.state != "active").values(became)
            )
        else:
            lost = {"state": "refused", "state_reason": NO_DIRECTOR, "next_sync_at": None}
            await connection.execute(update(CORPORATION_SYNCS).where(*of_row).values(lost))
