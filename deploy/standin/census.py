"""Which corporation each character is in, and which alliance each corporation, by now."""

from typing import Final, NamedTuple

from deploy.standin.participants import Participants
from deploy.standin.playback import Playback

DOOMHEIM: Final = 1_000_001
"""The corporation of deleted characters."""


class Affiliation(NamedTuple):
    """Where a character belongs."""

    character_id: int
    corporation_id: int
    alliance_id: int | None
    is_director: bool


class Census:
    """Joins what the killmails show with the switches that change it.

    A character is where `Characters` has it, which is also who logs in; one that only later
    killmails show is where the newest of those has it. A corporation is in the alliance of its
    newest killmail that is out.
    """

    def __init__(self, playback: Playback, participants: Participants) -> None:
        self._playback = playback
        self._participants = participants

    def affiliation(self, character_id: int) -> Affiliation | None:
        """Tell where a character belongs; None for an id that is no character's."""
        faults = self._playback.faults
        deleted = faults.esi_deleted.get(character_id)
        if deleted == "404" or not self.is_known(character_id, "character"):
            return None
        if deleted == "doomheim":
            return Affiliation(character_id, DOOMHEIM, None, False)
        character = self._playback.characters.get(character_id)
        corporation_id = self._corporation_of(character_id)
        director = (
            character is not None
            and character.is_director
            and character_id not in faults.esi_moved
            and character_id not in faults.esi_not_director
        )
        alliance_id = self.alliance_of(corporation_id)
        return Affiliation(character_id, corporation_id, alliance_id, director)

    def alliance_of(self, corporation_id: int) -> int | None:
        """Tell the alliance of a corporation."""
        if corporation_id in self._playback.faults.esi_closed:
            return None
        return self._participants.alliance_of(corporation_id)

    def corporations_of(self, alliance_id: int) -> list[int]:
        """List the corporations of an alliance."""
        closed = self._playback.faults.esi_closed
        return [id_ for id_ in self._participants.corporations_of(alliance_id) if id_ not in closed]

    def member_count(self, corporation_id: int) -> int:
        """Count the members of a corporation: those known by name, and some who never fight."""
        faults = self._playback.faults
        if corporation_id in faults.esi_closed:
            return 0
        made_up = len(self._playback.characters.members(corporation_id)) + corporation_id % 490
        return faults.esi_members.get(corporation_id, made_up)

    def is_known(self, entity_id: int, category: str) -> bool:
        """Tell whether an id belongs to something of this category."""
        known = self._playback.names.find(entity_id)
        unknown = entity_id in self._playback.faults.unknown_ids
        return known is not None and known.category == category and not unknown

    def name(self, entity_id: int) -> str:
        """Tell the name of an id that is known."""
        known = self._playback.names.find(entity_id)
        return self._playback.faults.renamed.get(entity_id, known.name if known else "")

    def _corporation_of(self, character_id: int) -> int:
        moved = self._playback.faults.esi_moved.get(character_id)
        if moved is not None:
            return moved
        character = self._playback.characters.get(character_id)
        if character is not None and character.corporation_id:
            return character.corporation_id
        seen = self._participants.corporation_of(character_id)
        return seen if seen is not None else 98_000_000 + character_id % 1_000
