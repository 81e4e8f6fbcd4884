"""Requests for recent killmails, with tokens that the SSO gave."""

from itertools import count
from typing import Any

from deploy.standin.members import CHARACTER_SCOPE, CORPORATION_SCOPE, ROLES_SCOPE
from deploy.standin.sso.grants import Bearer
from tests.deploy.standin.conftest import Answer, Client

SCOPES = frozenset({CHARACTER_SCOPE, CORPORATION_SCOPE, ROLES_SCOPE})
numbers = count(1)


def authorize(
    client: Client,
    character_id: int,
    *,
    scopes: frozenset[str] = SCOPES,
    application: str = "app",
    for_s: float = 86_400,
) -> dict[str, str]:
    """Give the headers of a request that carries a new token."""
    token = f"token-{next(numbers)}"
    playback = client.standin.playback
    now_s = playback.now_s()
    bearer = Bearer(character_id, scopes, application)
    playback.grants.give_access_token(token, bearer, now_s + for_s, now_s)
    return {"Authorization": f"Bearer {token}"}


async def recent(client: Client, character_id: int, **options: Any) -> Answer:
    headers = options.pop("headers", None) or authorize(client, character_id)
    return await client.get(
        f"/characters/{character_id}/killmails/recent", headers=headers, **options
    )
