"""The characters of the stand-in: those who occur in the killmails that it plays."""

from base64 import b64encode
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from functools import cached_property
from hashlib import sha1
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from actors.shared.killmail import Attacker, Killmail, Victim, parse_killmail
from deploy.standin.killmails import Killmails
from deploy.standin.names import Names, make_name

MAX_KILLMAILS: Final = 5_000
"""How many killmails of the dataset are read for characters: some datasets have no end."""

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

    The killmails are read when a character is asked for first, not before.
    """

    def __init__(self, killmails: Killmails, names: Names) -> None:
        self._killmails = killmails
        self._names = names

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
        newest: dict[int, _Player] = {}
        counts: Counter[int] = Counter()
        for killmail in self._oldest_first():
            here = {player.character_id: player for player in _players(killmail)}
            newest.update(here)
            counts.update(here.keys())
        directors = _directors(newest.values())
        by_count = sorted(
            newest.values(), key=lambda one: (-counts[one.character_id], one.character_id)
        )
        return {
            player.character_id: self._character(player, player.character_id in directors)
            for player in by_count
        }

    @cached_property
    def _by_corporation(self) -> dict[int, list[Character]]:
        members: dict[int, list[Character]] = defaultdict(list)
        for character in self._by_id.values():
            members[character.corporation_id].append(character)
        return dict(members)

    def _oldest_first(self) -> list[Killmail]:
        played = islice(self._killmails, MAX_KILLMAILS)
        return sorted(
            (parse_killmail(one.body) for one in played), key=lambda one: one.killmail_time
        )

    def _character(self, player: "_Player", is_director: bool) -> Character:
        known = self._names.find(player.character_id)
        return Character(
            player.character_id,
            known.name if known else make_name(player.character_id, "character"),
            player.corporation_id,
            player.alliance_id,
            owner_hash(player.character_id),
            is_director,
        )


def owner_hash(character_id: int, owner: int = 1) -> str:
    """Make up the hash of a character's first, second, ... owner, in the shape of EVE's."""
    digest = sha1(f"owner {owner} of {character_id}".encode(), usedforsecurity=False)
    return b64encode(digest.digest()).decode()


class _Player(NamedTuple):
    character_id: int
    corporation_id: int
    alliance_id: int | None


def _players(killmail: Killmail) -> Iterator[_Player]:
    everyone: list[Victim | Attacker] = [killmail.victim, *killmail.attackers]
    for side in everyone:
        if side.character_id and side.corporation_id:
            yield _Player(side.character_id, side.corporation_id, side.alliance_id)


def _directors(players: Iterable[_Player]) -> set[int]:
    lowest: dict[int, int] = {}
    for character_id, corporation_id, _ in players:
        if corporation_id >= _PLAYERS_FROM:
            lowest[corporation_id] = min(lowest.get(corporation_id, character_id), character_id)
    return set(lowest.values())
