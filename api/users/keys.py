"""The API keys of an account."""

import re
from typing import Any, Final

from sqlalchemy import delete, func, select

from actors.shared.tables import SESSIONS
from actors.users.secrets import hash_of
from actors.users.sessions import open_session
from api.context import Info
from api.errors import BadInput, ClientError
from api.state import writing
from api.users.bindings import MUTATION, USER_QUERY

MAX_KEYS: Final = 50
MAX_NAME: Final = 100
ID_LENGTH: Final = 16
"""Number of the first digits of a key's hash that are its id."""
NO_KEY: Final = "you have no such key"
_ID: Final = re.compile(f"[0-9a-f]{{{ID_LENGTH}}}")


@MUTATION.field("createApiKey")
async def resolve_create(_: None, info: Info, name: str) -> dict[str, Any]:
    """Create a key; its token is returned only here."""
    session = info.context.viewer.require_login()
    name = name.strip()
    if not (0 < len(name) <= MAX_NAME and name.isprintable()):
        raise BadInput(f"name: must be 1 to {MAX_NAME} printable characters")
    async with writing(info.context.state) as connection:
        held = await connection.scalar(
            select(func.count()).where(
                SESSIONS.c.account_id == session.account_id, SESSIONS.c.kind == "api_key"
            )
        )
        if (held or 0) >= MAX_KEYS:
            raise ClientError(
                "FORBIDDEN", f"you have {MAX_KEYS} keys, which is the limit: revoke one"
            )
        opened = await open_session(connection, session.account_id, "api_key", name)
    id_ = hash_of(opened.token)[:ID_LENGTH]
    return {"token": opened.token, "key": next(k for k in await _keys(info) if k["id"] == id_)}


@MUTATION.field("revokeApiKey")
async def resolve_revoke(_: None, info: Info, id: str) -> bool:  # noqa: A002
    """Revoke a key."""
    session = info.context.viewer.require_login()
    if not _ID.fullmatch(id):
        raise ClientError("NOT_FOUND", NO_KEY)
    async with writing(info.context.state) as connection:
        revoked = await connection.execute(
            delete(SESSIONS).where(
                SESSIONS.c.account_id == session.account_id,
                SESSIONS.c.kind == "api_key",
                func.substr(SESSIONS.c.token_hash, 1, ID_LENGTH) == id,
            )
        )
    if not revoked.rowcount:
        raise ClientError("NOT_FOUND", NO_KEY)
    return True


@USER_QUERY.field("apiKeys")
async def resolve_keys(_: None, info: Info) -> list[dict[str, Any]]:
    """List the keys."""
    return await _keys(info)


async def _keys(info: Info) -> list[dict[str, Any]]:
    query = (
        select(SESSIONS)
        .where(
            SESSIONS.c.account_id == info.context.viewer.account_id, SESSIONS.c.kind == "api_key"
        )
        .order_by(SESSIONS.c.created_at.desc())
    )
    return [
        {
            "id": row["token_hash"][:ID_LENGTH],
            "name": row["name"],
            "createdAt": row["created_at"],
            "usedAt": row["used_at"],
        }
        for row in await info.context.state.database.fetch_all(query)
    ]
