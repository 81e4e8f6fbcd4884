"""ESI's bulk route for characters' corporations, alliances and factions.

Source: ESI's OpenAPI document, compatibility date 2026-08-18; that one unknown id makes ESI refuse
the whole request was reported in October 2026.
"""

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import timedelta
from typing import Final

import msgspec

from actors.esi.answer import Answer
from actors.esi.budget import BUCKETLESS
from actors.esi.client import Esi
from actors.esi.decoding import decoder_of
from actors.esi.entities import Affiliation
from actors.esi.halving import ask_in_halves
from actors.esi.request import Request
from actors.shared.errors import Invalid

AFFILIATION_TTL: Final = timedelta(seconds=3600)
"""When ESI may be asked again; responses to a POST don't say so."""
MAX_IDS: Final = 1000
"""Ids in one request."""

_decode: Final = decoder_of(list[Affiliation])


async def affiliations(esi: Esi, ids: Collection[int]) -> list[Affiliation]:
    """Fetch affiliations of 1 to `MAX_IDS` distinct characters, all or none.

    Raises:
        Refused: at least one id is unknown; ESI doesn't say which.
        UnexpectedStatus, Garbled, Unavailable, RetryLater: retry later.
    """
    wanted = set(ids)

    def read(answer: Answer) -> list[Affiliation]:
        found = _decode(answer.body)
        if not {affiliation.character_id for affiliation in found} <= wanted:
            raise Invalid("there are ids in the response that aren't in the request")
        return found

    body = msgspec.json.encode(sorted(wanted))
    return await esi.ask(Request(BUCKETLESS, "/characters/affiliation", body), read)


async def affiliations_in_halves(
    esi: Esi, ids: Collection[int]
) -> AsyncIterator[tuple[list[Affiliation], list[int]]]:
    """Fetch affiliations of any number of characters; find out which ids ESI doesn't know.

    Yields:
        What one request brought: affiliations, or one id that ESI refuses.

    Raises:
        UnexpectedStatus, Garbled, Unavailable, RetryLater: ask for the rest later; what was
            yielded before holds.
    """

    async def ask(some: Sequence[int]) -> list[Affiliation]:
        return await affiliations(esi, some)

    wanted = sorted(set(ids))
    for start in range(0, len(wanted), MAX_IDS):
        async for some, found in ask_in_halves(wanted[start : start + MAX_IDS], ask):
            if found is not None:
                yield found, []
            elif len(some) == 1:
                yield [], list(some)
