"""The viewer's account, and whether its characters must log in again."""

from datetime import datetime
from typing import Any

from api.context import Info
from api.users.bindings import CHARACTER, SYNC, USER_QUERY, is_operator, own_characters


@USER_QUERY.field("me")
async def resolve_me(_: None, info: Info) -> dict[str, Any]:
    """Return the account."""
    characters = await own_characters(info)
    return {
        "accountId": info.context.viewer.account_id,
        "characters": characters,
        "roles": ["user", "operator"] if is_operator(info, characters) else ["user"],
    }


@USER_QUERY.field("authStatus")
async def resolve_auth_status(_: None, info: Info) -> dict[str, Any]:
    """Return whether a login is needed, and why."""
    session = info.context.viewer.session
    if session is None:
        return _auth_status("you aren't logged in: log in at /auth/login")
    characters = await own_characters(info)
    names = [one["character_name"] for one in characters if one["state"] != "active"]
    reason = f"log in again with {', '.join(names)} at /auth/login" if names else None
    return _auth_status(reason, is_authenticated=True, expires_at=session.expires_at) | {
        "characters": characters
    }


def _auth_status(
    reason: str | None, *, is_authenticated: bool = False, expires_at: datetime | None = None
) -> dict[str, Any]:
    return {
        "isAuthenticated": is_authenticated,
        "reason": reason,
        "expiresAt": expires_at,
        "characters": [],
    }


@CHARACTER.field("authStatus")
def resolve_character_auth_status(user: Any, _info: Info) -> str:
    """Return whether EVE still accepts the character's tokens."""
    return "ok" if user["state"] == "active" else "login_required"


@CHARACTER.field("scopes")
def resolve_scopes(user: Any, _info: Info) -> list[str]:
    """List the scopes that EVE granted."""
    return str(user["scopes"]).split()


for _name, _column in {
    "characterId": "character_id",
    "name": "character_name",
    "corporationId": "corporation_id",
    "authReason": "state_reason",
    "publicationDelayHours": "publication_delay_h",
    "syncCorporation": "sync_corporation",
    "isPremium": "is_premium",
}.items():
    CHARACTER.set_field(_name, lambda user, _info, column=_column: user[column])
CHARACTER.set_field("sync", lambda user, _info: user)

for _name, _column in {
    "firstSyncedAt": "first_synced_at",
    "lastSyncedAt": "last_killmail_sync_at",
    "lastCount": "last_sync_count",
    "lastDurationMs": "last_sync_duration_ms",
    "lastError": "last_sync_error",
    "nextSyncAt": "next_sync_at",
}.items():
    SYNC.set_field(_name, lambda row, _info, column=_column: row[column])
SYNC.set_field("isRunning", lambda row, _info: row["sync_started_at"] is not None)
