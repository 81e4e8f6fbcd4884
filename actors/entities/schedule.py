"""Send the refreshes that are due. The schedule is in the tables of the entities."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import exists, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import DATABASE_QUEUE, actor, enqueue
from actors.entities.alliances import LIST, refresh_alliance, refresh_alliances
from actors.entities.characters import refresh_characters
from actors.entities.corporations import refresh_corporation
from actors.entities.kinds import ALLIANCE, CHARACTER, CORPORATION, KINDS, TYPE, Kind
from actors.entities.refresh import write
from actors.entities.types import refresh_type
from actors.esi.affiliations import MAX_IDS
from actors.resources import resources
from actors.shared.rows import insert_missing
from actors.shared.tables import ALLIANCE_CORPORATIONS, ALLIANCES, CORPORATIONS, ESI_LISTS

BATCH: Final = 200
"""Corporations, alliances and types that one call sends, of each."""
CLAIM: Final = timedelta(minutes=15)
"""When a refresh is sent again whose message or process was lost."""
HOUR: Final = timedelta(hours=1)
FOUGHT: Final = timedelta(days=7)
"""For how long a corporation is refreshed daily after a live killmail mentioned it."""

_UNITS: Final = {
    CORPORATION.name: refresh_corporation,
    ALLIANCE.name: refresh_alliance,
    TYPE.name: refresh_type,
}


@actor(queue_name=DATABASE_QUEUE, priority=7, scheduled=True)
async def schedule_refreshes() -> None:
    """Send what is due to be refreshed, within the bound per hour. Safe to run at once elsewhere.

    First come those that a killmail mentioned or a reader looked at. What remains of the bound
    goes to alliances and corporations that weren't refreshed on this day (UTC), for the snapshots.
    """
    if await _claim_list():
        await enqueue(refresh_alliances)
    for kind in KINDS.values():
        await send(kind, await _claim(kind))


async def send(kind: Kind, ids: Sequence[int]) -> None:
    """Send ids to the actor that refreshes them."""
    if kind is CHARACTER:
        for start in range(0, len(ids), MAX_IDS):
            await enqueue(refresh_characters, list(ids[start : start + MAX_IDS]))
    else:
        for id_ in ids:
            await enqueue(_UNITS[kind.name], id_)


async def _claim_list() -> bool:
    """Claim the list of all alliances; False when it was refreshed on this day."""
    now = datetime.now(UTC)
    async with resources().database.begin() as connection:
        added = await insert_missing(connection, ESI_LISTS, {"name": [LIST], "requested_at": [now]})
        if added:
            return True
        is_due = or_(ESI_LISTS.c.updated_at.is_(None), ESI_LISTS.c.updated_at < _day(now))
        claimed = await connection.execute(
            update(ESI_LISTS)
            .where(ESI_LISTS.c.name == LIST, is_due, ESI_LISTS.c.requested_at < now - CLAIM)
            .values(requested_at=now)
        )
        return claimed.rowcount > 0


async def _claim(kind: Kind) -> list[int]:
    now = datetime.now(UTC)
    limit = MAX_IDS if kind is CHARACTER else BATCH
    async with resources().database.begin() as connection:
        limit = min(limit, await _left(connection, kind))
        ids = await _due(connection, kind, kind.table.c.next_refresh_at <= now, limit)
        daily = _daily(kind, now)
        if daily is not None and len(ids) < limit:
            ids += await _due(connection, kind, daily, limit - len(ids))
        if ids:
            await write(connection, kind, ids, requested_at=now, next_refresh_at=now + CLAIM)
    return ids


async def _left(connection: AsyncConnection, kind: Kind) -> int:
    """Count what may be sent now, of the bound per hour."""
    since = kind.table.c.requested_at > datetime.now(UTC) - HOUR
    sent = await connection.scalar(select(func.count()).select_from(kind.table).where(since))
    return max(0, resources().settings.esi_refreshes_per_hour - (sent or 0))


async def _due(connection: AsyncConnection, kind: Kind, where: Any, limit: int) -> list[int]:
    due = (
        select(kind.key)
        .where(where)
        .order_by(kind.table.c.next_refresh_at, kind.key)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    return list((await connection.scalars(due)).all()) if limit else []


def _daily(kind: Kind, now: datetime) -> Any:
    """Make the condition for what is refreshed once a day; None for a kind that isn't."""
    table = kind.table
    if kind is ALLIANCE:
        of_kind = ALLIANCES.c.state != "closed"
    elif kind is CORPORATION:
        is_member = exists().where(
            ALLIANCE_CORPORATIONS.c.corporation_id == CORPORATIONS.c.corporation_id
        )
        of_kind = or_(CORPORATIONS.c.seen_at > now - FOUGHT, is_member)
    else:
        return None
    is_free = table.c.next_refresh_at.is_(None) & (table.c.expires_at <= now)
    return of_kind & is_free & (table.c.updated_at < _day(now))


def _day(now: datetime) -> datetime:
    return now.replace(hour=0, minute=0, second=0, microsecond=0)
