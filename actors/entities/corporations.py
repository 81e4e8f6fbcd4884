"""Refresh corporations."""

from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from actors.broker import CORPORATIONS_QUEUE, actor
from actors.entities.kinds import ALLIANCE, CORPORATION
from actors.entities.refresh import LATER, answered, due, postpone, write, write_refused
from actors.entities.want import want
from actors.esi.conditional import Fetched
from actors.esi.details import corporation
from actors.esi.entities import Corporation
from actors.esi.errors import Refused
from actors.resources import resources
from actors.snapshots.members import record_corporation

_CLOSED: Final = "closed"


@actor(queue_name=CORPORATIONS_QUEUE, priority=0, scheduled=True)
async def refresh_corporation(corporation_id: int) -> None:
    """Ask ESI for a corporation, if that is allowed again; record its members of today.

    Idempotent. When ESI doesn't answer the corporation stays due, and is asked for later.
    """
    try:
        for row in await due(CORPORATION, [corporation_id]):
            await _store(row, await corporation(resources().esi, corporation_id, row.etag))
    except Refused:
        await write_refused(CORPORATION, [corporation_id])
    except LATER as error:
        await postpone(CORPORATION, [corporation_id], error)


async def _store(row: Any, fetched: Fetched[Corporation]) -> None:
    values = answered(fetched.expires_at) | {"etag": fetched.etag}
    if fetched.value is not None:
        values |= _columns(fetched.value)
    members = values.get("member_count", row.member_count)
    alliance_id = values.get("alliance_id", row.alliance_id)
    async with resources().database.begin() as connection:
        await write(connection, CORPORATION, [row.corporation_id], **values)
        await record_corporation(connection, row.corporation_id, members, alliance_id)
        await _want_alliances(connection, {alliance_id, row.alliance_id})


async def _want_alliances(connection: AsyncConnection, ids: set[int | None]) -> None:
    """Have the alliance refreshed that it belongs to, and both when it has changed."""
    await want(connection, ALLIANCE, [id_ for id_ in ids if id_ is not None])


def _columns(found: Corporation) -> dict[str, Any]:
    return {
        "state": _CLOSED if found.state == _CLOSED else "active",
        "name": found.name,
        "ticker": found.ticker,
        "member_count": found.member_count,
        "alliance_id": found.alliance_id,
        "faction_id": found.enlisted_faction_id,
        "ceo_id": found.ceo_id,
        "creator_id": found.creator_id,
        "date_founded": found.date_founded,
        "home_station_id": found.home_station_id,
        "tax_rate": found.tax_rates.isk if found.tax_rates else None,
        "war_eligible": found.war_eligible,
        "url": found.url,
        "description": found.description,
    }
