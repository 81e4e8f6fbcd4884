"""ESI's public routes that describe an entity. Their errors count against ESI's error limit.

Each takes the ETag of the caller's copy, gives `value` None when that is still valid, and says in
`expires_at` when ESI may be asked again. Each raises:

- `Refused`: ESI says that there is no such entity.
- `UnexpectedStatus`, `Garbled`, `Unavailable`, `RetryLater`: retry later.

Source: ESI's OpenAPI document, compatibility date 2026-08-18.
"""

from collections.abc import Callable
from typing import Final, TypeVar

from actors.esi.budget import BUCKETLESS
from actors.esi.client import Esi
from actors.esi.conditional import Fetched, fetch_cached
from actors.esi.decoding import decoder_of, struct_decoder
from actors.esi.entities import Alliance, Corporation, ItemType
from actors.esi.request import Request
from actors.shared.errors import Invalid
from actors.shared.killmail import Id

T = TypeVar("T")

CORPORATION_TTL_S: Final = 3600
ALLIANCE_TTL_S: Final = 3600
UNIVERSE_TTL_S: Final = 86_400
"""Types expire daily at 11:05 UTC."""

_decode_corporation: Final = struct_decoder(Corporation)
_decode_alliance: Final = struct_decoder(Alliance)
_decode_type: Final = struct_decoder(ItemType)
_decode_ids: Final = decoder_of(list[Id])


async def corporation(
    esi: Esi, corporation_id: int, etag: str | None = None
) -> Fetched[Corporation]:
    """Fetch a corporation."""
    path = f"/corporations/{corporation_id}"
    return await _fetch(esi, path, etag, _decode_corporation, CORPORATION_TTL_S)


async def alliance(esi: Esi, alliance_id: int, etag: str | None = None) -> Fetched[Alliance]:
    """Fetch an alliance."""
    path = f"/alliances/{alliance_id}"
    return await _fetch(esi, path, etag, _decode_alliance, ALLIANCE_TTL_S)


async def alliances(esi: Esi, etag: str | None = None) -> Fetched[list[int]]:
    """List the ids of all alliances."""
    return await _fetch(esi, "/alliances", etag, _decode_ids, ALLIANCE_TTL_S)


async def alliance_corporations(
    esi: Esi, alliance_id: int, etag: str | None = None
) -> Fetched[list[int]]:
    """List the ids of an alliance's corporations."""
    path = f"/alliances/{alliance_id}/corporations"
    return await _fetch(esi, path, etag, _decode_ids, ALLIANCE_TTL_S)


async def item_type(esi: Esi, type_id: int, etag: str | None = None) -> Fetched[ItemType]:
    """Fetch a type."""

    def decode(body: bytes) -> ItemType:
        found = _decode_type(body)
        if found.type_id != type_id:
            raise Invalid(f"it is type {found.type_id}")
        return found

    return await _fetch(esi, f"/universe/types/{type_id}", etag, decode, UNIVERSE_TTL_S)


async def _fetch(
    esi: Esi, path: str, etag: str | None, decode: Callable[[bytes], T], ttl_s: int
) -> Fetched[T]:
    return await fetch_cached(esi, Request(BUCKETLESS, path, etag=etag), decode, ttl_s)
