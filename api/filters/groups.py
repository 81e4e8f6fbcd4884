"""Groups of the static universe, by which filters name types. No I/O."""

from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Final, NamedTuple

from actors.shared.finding.universe import Universe
from api.errors import BadInput


class Groups(NamedTuple):
    """What types and groups belong to."""

    types: Mapping[int, frozenset[int]]
    """By group."""
    groups: Mapping[int, frozenset[int]]
    """By category."""

    def types_of(self, path: str, group_ids: Collection[int]) -> frozenset[int]:
        """List the types of groups.

        Raises:
            BadInput: a group isn't one; the message has the place in the filter.
        """
        return _all_of(self.types, group_ids, f"{path}: no group")

    def groups_of(self, path: str, category_ids: Collection[int]) -> frozenset[int]:
        """List the groups of categories; raises the same."""
        return _all_of(self.groups, category_ids, f"{path}: no category")


def groups_of(universe: Universe) -> Groups:
    """Turn around what the universe says of types."""
    types: dict[int, set[int]] = defaultdict(set)
    groups: dict[int, set[int]] = defaultdict(set)
    for type_id, ship in universe.ships.items():
        types[ship.group_id].add(type_id)
        groups[ship.category_id].add(ship.group_id)
    return Groups(
        {id_: frozenset(ids) for id_, ids in types.items()},
        {id_: frozenset(ids) for id_, ids in groups.items()},
    )


def _all_of(of: Mapping[int, frozenset[int]], ids: Collection[int], what: str) -> frozenset[int]:
    for id_ in ids:
        if id_ not in of:
            raise BadInput(f"{what} of CCP's static data with types is {id_}")
    return frozenset().union(*(of[id_] for id_ in ids))


NO_GROUPS: Final = Groups({}, {})
