"""What fields of object types stand for: entities that ESI describes, and CCP's static data.

A resolver that has to read is a coroutine function or returns a future; all others are plain
functions of their source, so that the results of subscriptions can be compiled.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

from ariadne import ObjectType, SchemaBindable

from actors.entities.kinds import ALLIANCE, CHARACTER, CORPORATION, TYPE, Kind
from api.context import Info
from api.errors import BadInput
from api.loaders import Row
from api.node import encode_id
from api.static_data import StaticData

IMAGES: Final = "https://images.evetech.net"
"""CCP's server of images. Source: its documentation (read 2026-11-27)."""
SIZES: Final = (32, 64, 128, 256, 512, 1024)
ZKILLBOARD: Final = "https://zkillboard.com"
BANDS: Final = {"high": "highsec", "low": "lowsec", "null": "nullsec"}
"""Bands of space as the schema names them, where their names differ."""


class _Unread:
    """Stands for a name that hasn't been read."""


UNREAD: Final = _Unread()
_TYPE_NAMES: Final = {
    CHARACTER.name: "Character",
    CORPORATION.name: "Corporation",
    ALLIANCE.name: "Alliance",
}


class Entity(NamedTuple):
    """A character, corporation or alliance."""

    kind: Kind
    number: int
    name: str | _Unread | None = UNREAD
    row: Row | None = None
    """Its row, if it was read already."""

    @property
    def type_name(self) -> str:
        """Its type in the schema."""
        return _TYPE_NAMES[self.kind.name]


class Thing(NamedTuple):
    """A type, group, category, solar system, constellation, region or faction."""

    type_name: str
    number: int
    data: StaticData
    name: str | None
    """As the killmail has it, or else the static data."""


def entity_or_none(kind: Kind, id_: int | None, names: Mapping[int, str]) -> Entity | None:
    """Make an entity of a killmail, whose name is known from there."""
    return None if id_ is None else Entity(kind, id_, names.get(id_))


def item_type(type_id: int, data: StaticData, name: str | None = None) -> Thing:
    """Make a type."""
    return Thing("ItemType", type_id, data, name or data.type_name(type_id))


def solar_system(id_: int, data: StaticData, name: str | None = None) -> Thing:
    """Make a solar system."""
    known = data.systems.get(id_)
    return Thing("SolarSystem", id_, data, name or (known.name if known else None))


def faction(id_: int, data: StaticData, name: str | None = None) -> Thing:
    """Make a faction."""
    return Thing("Faction", id_, data, name or data.factions.get(id_))


def _group(id_: int, data: StaticData) -> Thing:
    known = data.groups.get(id_)
    return Thing("ItemGroup", id_, data, known.name if known else None)


def _category(id_: int, data: StaticData) -> Thing:
    return Thing("ItemCategory", id_, data, data.categories.get(id_))


def _constellation(id_: int, data: StaticData) -> Thing:
    known = data.constellations.get(id_)
    return Thing("Constellation", id_, data, known.name if known else None)


def _region(id_: int, data: StaticData) -> Thing:
    return Thing("Region", id_, data, data.regions.get(id_))


_THINGS: Final[Mapping[str, Callable[[int, StaticData], Thing]]] = {
    "ItemType": item_type,
    "ItemGroup": _group,
    "ItemCategory": _category,
    "SolarSystem": solar_system,
    "Constellation": _constellation,
    "Region": _region,
    "Faction": faction,
}


def thing(type_name: str, id_: int, data: StaticData) -> Thing:
    """Make a thing of any type."""
    return _THINGS[type_name](id_, data)


def known_things(type_name: str, data: StaticData) -> Mapping[int, Any]:
    """Return what the static data has of a type, by id."""
    known: Mapping[str, Mapping[int, Any]] = {
        "ItemType": data.types,
        "ItemGroup": data.groups,
        "ItemCategory": data.categories,
        "SolarSystem": data.systems,
        "Constellation": data.constellations,
        "Region": data.regions,
        "Faction": data.factions,
    }
    return known[type_name]


def _image(path: str) -> Callable[..., str]:
    def resolve(source: Entity | Thing, _info: Any, size: int = 64) -> str:
        if size not in SIZES:
            raise BadInput(f"size: must be one of {', '.join(map(str, SIZES))}, not {size}")
        return f"{IMAGES}/{path.format(source.number)}?size={size}"

    return resolve


def _part(kind: str, of: str, key: str) -> Callable[[Thing, Any], Thing | None]:
    """Resolve the thing that a thing belongs to; None while that isn't known."""

    def resolve(source: Thing, _info: Any) -> Thing | None:
        known = known_things(of, source.data).get(source.number)
        return thing(kind, getattr(known, key), source.data) if known else None

    return resolve


def _attribute(of: str, key: str) -> Callable[[Thing, Any], Any]:
    return lambda one, _info: getattr(known_things(of, one.data).get(one.number), key, None)


def _object_type(name: str, key: str) -> ObjectType:
    made = ObjectType(name)
    made.set_field("id", lambda source, _info: encode_id(name, source.number))
    made.set_field(key, lambda source, _info: source.number)
    made.set_field("name", lambda source, _info: source.name)
    return made


def _volumes(column: str) -> Callable[[Thing, Info], Any]:
    async def resolve(source: Thing, info: Info) -> Any:
        row = await info.context.loaders.row(TYPE, source.number)
        return row[column] if row else None

    return resolve


_TYPE: Final = _object_type("ItemType", "typeId")
_TYPE.set_field("group", _part("ItemGroup", "ItemType", "group_id"))
_TYPE.set_field("groupId", _attribute("ItemType", "group_id"))
_TYPE.set_field("published", _attribute("ItemType", "published"))
_TYPE.set_field("icon", _image("types/{}/icon"))
_TYPE.set_field("render", _image("types/{}/render"))
for _column, _name in (
    ("volume", "volume"),
    ("packaged_volume", "packagedVolume"),
    ("mass", "mass"),
    ("capacity", "capacity"),
    ("market_group_id", "marketGroupId"),
):
    _TYPE.set_field(_name, _volumes(_column))

_GROUP: Final = _object_type("ItemGroup", "groupId")
_GROUP.set_field("category", _part("ItemCategory", "ItemGroup", "category_id"))
_GROUP.set_field("categoryId", _attribute("ItemGroup", "category_id"))
_CATEGORY: Final = _object_type("ItemCategory", "categoryId")

_SYSTEM: Final = _object_type("SolarSystem", "solarSystemId")
_SYSTEM.set_field("constellation", _part("Constellation", "SolarSystem", "constellation_id"))
_SYSTEM.set_field("region", _part("Region", "SolarSystem", "region_id"))
_SYSTEM.set_field("securityStatus", _attribute("SolarSystem", "security_status"))


@_SYSTEM.field("spaceBand")
def resolve_space_band(source: Thing, _info: Any) -> str | None:
    """Return the band by its name in the schema."""
    known = source.data.systems.get(source.number)
    return BANDS.get(known.band, known.band) if known else None


_CONSTELLATION: Final = _object_type("Constellation", "constellationId")
_CONSTELLATION.set_field("region", _part("Region", "Constellation", "region_id"))
_REGION: Final = _object_type("Region", "regionId")
_FACTION: Final = _object_type("Faction", "factionId")
_FACTION.set_field("logo", _image("corporations/{}/logo"))

STATIC_TYPES: Final[tuple[SchemaBindable, ...]] = (
    *(_TYPE, _GROUP, _CATEGORY),
    *(_SYSTEM, _CONSTELLATION, _REGION, _FACTION),
)


def set_image(of: ObjectType, field: str, path: str) -> None:
    """Give a type a field with the address of an image."""
    of.set_field(field, _image(path))
