"""Imports of one's own characters' histories from zKillboard."""

from typing import Any

from sqlalchemy import and_, select

from actors.history.request import request_import
from actors.shared.tables import IMPORTS
from api.context import Info
from api.state import writing
from api.users.bindings import IMPORT, MUTATION, USER_QUERY, own_character, own_characters

IMPORT.set_field("characterId", lambda row, _: row["entity_id"])
IMPORT.set_field("state", lambda row, _: row["state"])
IMPORT.set_field("reason", lambda row, _: row["state_reason"])
IMPORT.set_field("killmails", lambda row, _: row["killmails"])
IMPORT.set_field("requestedAt", lambda row, _: row["created_at"])
IMPORT.set_field("updatedAt", lambda row, _: row["updated_at"])


@USER_QUERY.field("imports")
async def resolve_imports(_: None, info: Info) -> list[Any]:
    """List the imports of one's characters."""
    return await _imports(info, [one["character_id"] for one in await own_characters(info)])


@MUTATION.field("importFromZkillboard")
async def resolve_import(_: None, info: Info, character_id: int) -> Any:
    """Request an import; returns its state."""
    await own_character(info, character_id)
    async with writing(info.context.state) as connection:
        await request_import(connection, "character", character_id, character_id)
    (row,) = await _imports(info, [character_id])
    return row


async def _imports(info: Info, character_ids: list[int]) -> list[Any]:
    query = (
        select(IMPORTS)
        .where(and_(IMPORTS.c.entity == "character", IMPORTS.c.entity_id.in_(character_ids)))
        .order_by(IMPORTS.c.entity_id)
    )
    return list(await info.context.state.database.fetch_all(query))
