"""Who takes part in what: an index of the released killmails by those on them."""

import asyncio
from collections import defaultdict
from typing import Final, Literal, NamedTuple

import msgspec

from deploy.standin.dataset import Dataset

Kind = Literal["character", "corporation", "alliance"]
KINDS: Final[tuple[Kind, ...]] = ("character", "corporation", "alliance")

_AT_ONCE: Final = 500
"""So many killmails are read before other requests get their turn."""


class Entry(NamedTuple):
    """One killmail in the order of their times; `place` is its index in the dataset."""

    killed_at_s: int
    killmail_id: int
    place: int


class _Who(msgspec.Struct, gc=False):
    character_id: int | None = None
    corporation_id: int | None = None
    alliance_id: int | None = None


class _Parties(msgspec.Struct, gc=False):
    victim: _Who
    attackers: list[_Who]


class Participants:
    """Knows the kills and losses of each character, corporation and alliance.

    Each killmail is read once, when it is out: `catch_up` reads what came since the last call.
    No request reads a killmail again.
    """

    def __init__(self, dataset: Dataset) -> None:
        self._dataset = dataset
        self._decode = msgspec.json.Decoder(_Parties).decode
        self._kills: dict[Kind, defaultdict[int, list[Entry]]] = _lists()
        self._losses: dict[Kind, defaultdict[int, list[Entry]]] = _lists()
        self._alliances: dict[int, tuple[Entry, int | None]] = {}
        """Corporation -> the newest killmail that shows it, and its alliance then."""
        self._corporations: dict[int, tuple[Entry, int]] = {}
        """Character -> the newest killmail that shows it, and its corporation then."""
        self._next_position = 0
        self._read: set[int] = set()
        self._reading = asyncio.Lock()
        self.newest_s: int | None = None
        """When the newest killmail that is out happened."""

    async def catch_up(self, now_s: float) -> None:
        """Read what is out by now and wasn't before."""
        async with self._reading:
            until = self._dataset.released(now_s)
            while self._next_position < until and len(self._read) < len(self._dataset.killmails):
                stop = min(until, self._next_position + _AT_ONCE)
                for position in range(self._next_position, stop):
                    self._add(position)
                self._next_position = stop
                await asyncio.sleep(0)

    def newest_first(
        self, kind: Kind, entity_id: int, *, kills: bool = True, losses: bool = True
    ) -> list[Entry]:
        """List the killmails of an entity, each once, newest first."""
        found: list[Entry] = []
        for wanted, by_kind in ((kills, self._kills), (losses, self._losses)):
            if wanted:
                found += by_kind[kind].get(entity_id, ())
        found.sort(reverse=True)
        return list(dict.fromkeys(found))

    def ids(self, kind: Kind) -> set[int]:
        """Tell everyone of a kind who takes part in a killmail that is out."""
        return self._kills[kind].keys() | self._losses[kind].keys()

    def alliance_of(self, corporation_id: int) -> int | None:
        """Tell the alliance of a corporation, as its newest killmail has it."""
        seen = self._alliances.get(corporation_id)
        return seen[1] if seen else None

    def corporation_of(self, character_id: int) -> int | None:
        """Tell the corporation of a character, as its newest killmail has it."""
        seen = self._corporations.get(character_id)
        return seen[1] if seen else None

    def corporations_of(self, alliance_id: int) -> list[int]:
        """List the corporations whose newest killmail shows them in an alliance."""
        members = (id_ for id_, (_, seen) in self._alliances.items() if seen == alliance_id)
        return sorted(members)

    def _add(self, position: int) -> None:
        slot = self._dataset.slot(position)
        if slot.kind != "killmail" or slot.index in self._read:
            return
        self._read.add(slot.index)
        played = self._dataset.killmails[slot.index]
        entry = Entry(played.killed_at_s, played.killmail_id, slot.index)
        self.newest_s = max(self.newest_s or 0, entry.killed_at_s)
        parties = self._decode(played.body)
        self._list(entry, self._losses, [parties.victim])
        self._list(entry, self._kills, parties.attackers)

    def _list(
        self, entry: Entry, lists: dict[Kind, defaultdict[int, list[Entry]]], side: list[_Who]
    ) -> None:
        for kind in KINDS:
            ids = {getattr(who, f"{kind}_id") for who in side} - {None}
            for entity_id in ids:
                lists[kind][entity_id].append(entry)
        for who in side:
            if who.corporation_id is not None:
                self._affiliate(entry, who, who.corporation_id)

    def _affiliate(self, entry: Entry, who: _Who, corporation_id: int) -> None:
        seen = self._alliances.get(corporation_id)
        if seen is None or seen[0] <= entry:
            self._alliances[corporation_id] = (entry, who.alliance_id)
        if who.character_id is None:
            return
        known = self._corporations.get(who.character_id)
        if known is None or known[0] <= entry:
            self._corporations[who.character_id] = (entry, corporation_id)


def _lists() -> dict[Kind, defaultdict[int, list[Entry]]]:
    return {kind: defaultdict(list) for kind in KINDS}
