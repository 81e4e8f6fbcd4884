"""ESI's authenticated routes: a character's or corporation's recent killmails, and roles.

Each character's requests have budgets of their own (`actors.esi.budget.OWNER_TOKENS`).

Source: ESI's OpenAPI document, compatibility date 2026-08-18.
"""

from typing import Final, Literal

import msgspec

from actors.esi.budget import CHAR_DETAIL, CHAR_KILLMAIL, CORP_KILLMAIL
from actors.esi.client import Esi
from actors.esi.conditional import Fetched, fetch_cached
from actors.esi.decoding import decoder_of
from actors.esi.request import Request
from actors.shared.killmail import Id, KillmailHash

RECENT_TTL_S: Final = 300
ROLES_TTL_S: Final = 3600
DIRECTOR: Final = "Director"

Kind = Literal["character", "corporation"]
_ROUTES: Final[dict[Kind, tuple[str, str]]] = {
    "character": (CHAR_KILLMAIL, "characters"),
    "corporation": (CORP_KILLMAIL, "corporations"),
}


class _Recent(msgspec.Struct, frozen=True, gc=False):
    killmail_id: Id
    killmail_hash: KillmailHash


class Roles(msgspec.Struct, frozen=True):
    """A character's roles in its corporation; those bound to a place are left out."""

    roles: frozenset[str] = frozenset()

    @property
    def is_director(self) -> bool:
        """Tell whether the character may read the corporation's killmails."""
        return DIRECTOR in self.roles


_decode_recent: Final = decoder_of(list[_Recent])
_decode_roles: Final = decoder_of(Roles)


def _decode_page(body: bytes) -> list[tuple[int, str]]:
    return [(recent.killmail_id, recent.killmail_hash) for recent in _decode_recent(body)]


async def recent_killmails(
    esi: Esi,
    kind: Kind,
    entity_id: int,
    page: int,
    *,
    token: str,
    owner: int,
    etag: str | None = None,
) -> Fetched[list[tuple[int, str]]]:
    """List ids and hashes of the killmails of the last 90 days, one page of `pages`.

    ESI allows 15 requests in a window for each owner, and 6 that are denied.

    Args:
        esi: the client.
        kind: whose killmails; a corporation's need the Director role (see `roles`).
        entity_id: the character or corporation.
        page: from 1 to `pages`.
        token: the owner's access token.
        owner: the character whose token it is.
        etag: of the caller's copy of this page.

    Raises:
        TokenRejected: the token is expired, revoked, or lacks the scope.
        Forbidden: the owner lacks the role or left the corporation; final.
        Refused: there is no such page.
        UnexpectedStatus, Garbled, Unavailable, RetryLater: retry later.
    """
    group, folder = _ROUTES[kind]
    path = f"/{folder}/{entity_id}/killmails/recent?page={page}"
    request = Request(group, path, etag=etag, token=token, owner=owner)
    return await fetch_cached(esi, request, _decode_page, RECENT_TTL_S)


async def roles(esi: Esi, character_id: int, token: str, etag: str | None = None) -> Fetched[Roles]:
    """Fetch a character's roles, with its own token.

    Raises:
        TokenRejected: the token is expired, revoked, or lacks the scope.
        Forbidden: ESI denies it for another reason; final.
        Refused, UnexpectedStatus, Garbled, Unavailable, RetryLater: retry later.
    """
    path = f"/characters/{character_id}/roles"
    request = Request(CHAR_DETAIL, path, etag=etag, token=token, owner=character_id)
    return await fetch_cached(esi, request, _decode_roles, ROLES_TTL_S)
