"""Refresh alliances with the lists of their corporations, and the list of all alliances."""

import asyncio
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import delete, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import ALLIANCES_QUEUE, actor
from actors.entities.kinds import ALLIANCE, CORPORATION
from actors.entities.refresh import LATER, answered, due, log, postpone, write, write_refused
from actors.entities.want import want
from actors.esi.conditional import Fetched
from actors.esi.details import alliance, alliance_corporations, alliances
from actors.esi.entities import Alliance
from actors.esi.errors import Refused
from actors.resources import resources
from actors.shared.among import among
from actors.shared.database import reading
from actors.shared.rows import insert_missing
from actors.shared.tables import ALLIANCE_CORPORATIONS, ESI_LISTS
from actors.snapshots.members import record_alliance

LIST: Final = "alliances"
"""The name of the list of all alliances in `esi_lists`."""


@actor(queue_name=ALLIANCES_QUEUE, priority=0, scheduled=True)
async def refresh_alliance(alliance_id: int) -> None:
    """Ask ESI for an alliance and its corporations, if that is allowed again. Idempotent.

    When ESI doesn't answer the alliance stays due, and is asked for later.
    """
    esi = resources().esi
    try:
        for row in await due(ALLIANCE, [alliance_id]):
            described, members = await asyncio.gather(
                alliance(esi, alliance_id, row.etag),
                alliance_corporations(esi, alliance_id, row.corporations_etag),
            )
            await _store(row, described, members)
    except Refused:
        await write_refused(ALLIANCE, [alliance_id])
    except LATER as error:
        await postpone(ALLIANCE, [alliance_id], error)


async def _store(row: Any, described: Fetched[Alliance], members: Fetched[list[int]]) -> None:
    # Both may be asked for again when the later one expires.
    values = answered(max(described.expires_at, members.expires_at))
    values |= {"etag": described.etag, "corporations_etag": members.etag}
    if described.value is not None:
        values |= _columns(described.value)
    async with resources().database.begin() as connection:
        corporations = await _replace(connection, row.alliance_id, members.value)
        values["state"] = "active" if corporations else "closed"
        await write(connection, ALLIANCE, [row.alliance_id], **values)
        await record_alliance(connection, row.alliance_id, corporations)


async def _replace(connection: AsyncConnection, alliance_id: int, ids: list[int] | None) -> int:
    """Store the list of an alliance's corporations; return how many there are.

    Those that joined or left are wanted, so that their own rows follow.
    """
    table = ALLIANCE_CORPORATIONS
    of_alliance = table.c.alliance_id == alliance_id
    stored = set(
        (await connection.scalars(select(table.c.corporation_id).where(of_alliance))).all()
    )
    if ids is None:
        return len(stored)
    now = set(ids)
    joined, left = sorted(now - stored), sorted(stored - now)
    if left:
        is_left = among(table.c.corporation_id, left)
        await connection.execute(delete(table).where(of_alliance, is_left))
    columns = {"alliance_id": [alliance_id] * len(joined), "corporation_id": joined}
    await insert_missing(connection, table, columns)
    await want(connection, CORPORATION, [*joined, *left])
    return len(now)


def _columns(found: Alliance) -> dict[str, Any]:
    return {
        "name": found.name,
        "ticker": found.ticker,
        "creator_id": found.creator_id,
        "creator_corporation_id": found.creator_corporation_id,
        "executor_corporation_id": found.executor_corporation_id,
        "faction_id": found.faction_id,
        "date_founded": found.date_founded,
    }


@actor(queue_name=ALLIANCES_QUEUE, priority=1, scheduled=True)
async def refresh_alliances() -> None:
    """Ask ESI for the list of all alliances; each that is new or due is wanted. Idempotent."""
    of_list = ESI_LISTS.c.name == LIST
    async with reading(resources().database) as connection:
        row = (await connection.execute(select(ESI_LISTS).where(of_list))).one_or_none()
    now = datetime.now(UTC)
    if row is None or (row.expires_at and row.expires_at > now):
        return
    try:
        fetched = await alliances(resources().esi, row.etag)
    except LATER as error:
        log.info("refresh.postponed", kind=LIST, reason=str(error))
        return
    async with resources().database.begin() as connection:
        await connection.execute(
            update(ESI_LISTS)
            .where(of_list)
            .values(etag=fetched.etag, expires_at=fetched.expires_at, updated_at=now)
        )
        await want(connection, ALLIANCE, fetched.value or [])
