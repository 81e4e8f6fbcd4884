"""Refresh types of items."""

from typing import Any

from actors.broker import TYPES_QUEUE, actor
from actors.entities.kinds import TYPE
from actors.entities.refresh import LATER, answered, due, postpone, write, write_refused
from actors.esi.conditional import Fetched
from actors.esi.details import item_type
from actors.esi.entities import ItemType
from actors.esi.errors import Refused
from actors.resources import resources


@actor(queue_name=TYPES_QUEUE, priority=0, scheduled=True)
async def refresh_type(type_id: int) -> None:
    """Ask ESI for a type, if that is allowed again. Idempotent.

    When ESI doesn't answer the type stays due, and is asked for later.
    """
    try:
        for row in await due(TYPE, [type_id]):
            await _store(row, await item_type(resources().esi, type_id, row.etag))
    except Refused:
        await write_refused(TYPE, [type_id])
    except LATER as error:
        await postpone(TYPE, [type_id], error)


async def _store(row: Any, fetched: Fetched[ItemType]) -> None:
    values = answered(fetched.expires_at) | {"etag": fetched.etag}
    if fetched.value is not None:
        values |= _columns(fetched.value)
    async with resources().database.begin() as connection:
        await write(connection, TYPE, [row.type_id], **values)


def _columns(found: ItemType) -> dict[str, Any]:
    names = ("name", "group_id", "market_group_id", "published")
    sizes = ("volume", "packaged_volume", "mass", "capacity")
    return {"state": "active"} | {name: getattr(found, name) for name in names + sizes}
