"""Imports of one's own characters' histories from zKillboard."""

from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any, Final

from sqlalchemy import and_, select

from actors.history.request import request_import
from actors.shared.tables import IMPORTS
from actors.users.tokens import ACTIVE
from api.context import Info
from api.errors import ClientError
from api.state import writing
from api.users.bindings import IMPORT, MUTATION, USER_QUERY, own_character, own_characters

AGAIN_AFTER: Final = timedelta(days=1)
"""Shortest time between two imports of a character, to spare zKillboard the work."""

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
    character = await own_character(info, character_id)
    if character["state"] != ACTIVE:
        name = character["character_name"]
        raise ClientError("FORBIDDEN", f"log in again with {name} first: see authStatus")
    async with writing(info.context.state) as connection:
        await request_import(
            connection, "character", character_id, character_id, again_after=AGAIN_AFTER
        )
    (row,) = await _imports(info, [character_id])
    if row["state"] != "running":
        raise _too_soon(row["created_at"])
    return row


def _too_soon(requested_at: datetime) -> ClientError:
    wait = requested_at + AGAIN_AFTER - datetime.now(UTC)
    return ClientError(
        "RATE_LIMITED",
        "this character's history was imported less than a day ago: `imports` has the result",
        retryAfterSeconds=max(1, ceil(wait.total_seconds())),
    )


async def _imports(info: Info, character_ids: list[int]) -> list[Any]:
    query = (
        select(IMPORTS)
        .where(and_(IMPORTS.c.entity == "character", IMPORTS.c.entity_id.in_(character_ids)))
        .order_by(IMPORTS.c.entity_id)
    )
    return list(await info.context.state.database.fetch_all(query))
