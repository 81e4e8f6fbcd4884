"""The kinds of entities that ESI describes, with their tables."""

from dataclasses import dataclass
from typing import Any, Final, Literal

from sqlalchemy import Column, Table

from actors.shared.tables import ALLIANCES, CHARACTERS, CORPORATIONS, TYPES

Name = Literal["characters", "corporations", "alliances", "types"]


@dataclass(frozen=True)
class Kind:
    """A kind, named after its table and its queue."""

    name: Name
    table: Table
    key: Column[Any]


CHARACTER: Final = Kind("characters", CHARACTERS, CHARACTERS.c.character_id)
CORPORATION: Final = Kind("corporations", CORPORATIONS, CORPORATIONS.c.corporation_id)
ALLIANCE: Final = Kind("alliances", ALLIANCES, ALLIANCES.c.alliance_id)
TYPE: Final = Kind("types", TYPES, TYPES.c.type_id)
KINDS: Final = {kind.name: kind for kind in (CHARACTER, CORPORATION, ALLIANCE, TYPE)}
