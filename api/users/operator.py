"""The list of all users, and their premium state, for operators."""

from typing import Any, Final

from sqlalchemy import select, update

from actors.shared.tables import USERS
from actors.users.listing import select_users
from api.context import Info
from api.errors import BadInput, ClientError
from api.state import writing
from api.users.bindings import MUTATION, USER_QUERY, is_operator, own_characters

MAX_USERS: Final = 200
_STATES: Final = {"ok": "active", "login_required": "login_required"}


@USER_QUERY.field("users")
async def resolve_users(
    _: None,
    info: Info,
    limit: int,
    name: str | None = None,
    state: str | None = None,
    premium: bool | None = None,
) -> list[Any]:
    """List characters by name."""
    await _require_operator(info)
    if not 1 <= limit <= MAX_USERS:
        raise BadInput(f"limit: must be 1 to {MAX_USERS}, not {limit}")
    query = select_users(name, _STATES[state] if state else None, premium).limit(limit)
    return list(await info.context.state.database.fetch_all(query))


@MUTATION.field("setPremium")
async def resolve_premium(_: None, info: Info, character_id: int, enabled: bool) -> Any:
    """Set whether a character is synchronized more often than others."""
    await _require_operator(info)
    of_character = USERS.c.character_id == character_id
    async with writing(info.context.state) as connection:
        changed = await connection.execute(
            update(USERS).where(of_character).values(is_premium=enabled)
        )
    if not changed.rowcount:
        raise ClientError("NOT_FOUND", f"character {character_id} has never logged in")
    return await info.context.state.database.fetch_one(select(USERS).where(of_character))


async def _require_operator(info: Info) -> None:
    """Check that an operator logged in.

    Raises:
        ClientError: UNAUTHENTICATED; FORBIDDEN for other users, and for API keys.
    """
    info.context.viewer.require_login()
    if not is_operator(info, await own_characters(info)):
        raise ClientError("FORBIDDEN", "only an operator of this gateway may do this")
