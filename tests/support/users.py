"""Rows of users that logged in."""

from datetime import UTC, datetime
from typing import Any


def a_user(character_id: int, **changes: Any) -> dict[str, Any]:
    """Make the row of a user that logged in just now."""
    now = datetime.now(UTC)
    return {
        "character_id": character_id,
        "account_id": f"account of {character_id}",
        "character_name": "A Pilot",
        "owner_hash": "o",
        "scopes": "",
        "state": "active",
        "created_at": now,
        "logged_in_at": now,
    } | changes
