"""The characters of the stand-in: those who occur in the killmails that it plays."""

import asyncio
from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha1
from itertools import islice
from typing import Final

import msgspec

from deploy.standin.killmails import Killmails
from deploy.standin.names import Names, make_name

READ_WHOLE: Final = 20_000
"""The longest dataset that is read whole for its characters."""
READ_OF_LONGER: Final = 5_000
"""How many killmails of a longer one are read: some have no end."""

_PLAYERS_FROM: Final = 2_000_000
"""Corporations below are NPCs', which have no directors among the players."""


class Character(msgspec.Struct, frozen=True):
    """A character as of the newest killmail it occurs in."""

    character_id: int
    name: str
    corporation_id: int
    alliance_id: int | None
    owner_hash: str
    """Of its first owner; the switch `sso_sold` gives it another."""
    is_director: bool
    """Exactly one known member of each player corporation is: the one with the lowest id."""


class Characters:
    """Who can log in. The same dataset has the same characters.

    The killmails are read when a character is requested first, not before: await `load` in a
    handler, so that this doesn't hold up other requests.
    """

    def __init__(self, killmails: Killmails, names: Names) -> None:
        self._killmails = killmails
        self._names = names
        self._loading = asyncio.Lock()

    async def load(self) -> None:
        """Read the killmails in a thread, if they weren't read before."""
        async with self._loading:
            if "_by_corporation" not in self.__dict__:
                await asyncio.to_thread(getattr, self, "_by_corporation")

    def get(self, character_id: int) -> Character | None:
        """Return a character; None when it doesn't occur."""
        return self._by_id.get(character_id)

    def members(self, corporation_id: int) -> list[Character]:
        """List the members of a corporation, those with most killmails first."""
        return self._by_corporation.get(corporation_id, [])

    def all(self, limit: int) -> list[Character]:
        """List characters, those with most killmails first."""
        return list(islice(self._by_id.values(), limit))

    @cached_property
    def _by_id(self) -> dict[int, Character]:
        newest: dict[int, _Side] = {}
        counts: Counter[int] = Counter()
        for sides in self._oldest_first():
            here = {side.character_id: side for side in sides}
            newest.update(here)
            counts.update(here.keys())
        directors = _directors(newest.values())
        by_count = sorted(newest, key=lambda character_id: (-counts[character_id], character_id))
        return {
            character_id: self._character(newest[character_id], character_id in directors)
            for character_id in by_count
        }

    @cached_property
    def _by_corporation(self) -> dict[int, list[Character]]:
        members: dict[int, list[Character]] = defaultdict(list)
        for character in self._by_id.values():
            members[character.corporation_id].append(character)
        return dict(members)

    def _oldest_first(self) -> Iterator[list["_Side"]]:
        whole = len(self._killmails) <= READ_WHOLE
        played = islice(self._killmails, None if whole else READ_OF_LONGER)
        decode = msgspec.json.Decoder(_Sides).decode
        for one in sorted(played, key=lambda one: (one.killed_at_s, one.killmail_id)):
            sides = decode(one.body)
            everyone = (sides.victim, *sides.attackers)
            yield [side for side in everyone if side.character_id and side.corporation_id]

    def _character(self, side: "_Side", is_director: bool) -> Character:
        known = self._names.find(side.character_id)
        return Character(
            side.character_id,
            known.name if known else make_name(side.character_id, "character"),
            side.corporation_id,
            side.alliance_id,
            owner_hash(side.character_id),
            is_director,
        )


def owner_hash(character_id: int, owner: int = 1) -> str:
    """Make up the hash of a character's first, second, ... owner, in the shape of EVE's."""
    digest = sha1(f"owner {owner} of {character_id}".encode(), usedforsecurity=False)
    return b64encode(digest.digest()).decode()


class _Side(msgspec.Struct, frozen=True, gc=False):
    character_id: int = 0
    corporation_id: int = 0
    alliance_id: int | None = None


class _Sides(msgspec.Struct, frozen=True, gc=False):
    victim: _Side
    attackers: list[_Side]


def _directors(sides: Iterable[_Side]) -> set[int]:
    lowest: dict[int, int] = {}
    for side in sides:
        if side.corporation_id >= _PLAYERS_FROM:
            so_far = lowest.get(side.corporation_id, side.character_id)
            lowest[side.corporation_id] = min(so_far, side.character_id)
    return set(lowest.values())
