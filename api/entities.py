"""Query: characters, corporations, alliances, and what CCP's static data has."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final

from ariadne import ObjectType, QueryType, SchemaBindable

from actors.entities.kinds import ALLIANCE, CHARACTER, CORPORATION, Kind
from actors.entities.want import want_known
from api import name_search
from api.context import Info
from api.errors import BadInput
from api.growth import resolve_chart, resolve_metrics, resolve_snapshots
from api.loaders import Row
from api.node import encode_id
from api.objects import (
    STATIC_TYPES,
    UNREAD,
    ZKILLBOARD,
    Entity,
    Thing,
    faction,
    known_things,
    set_image,
    thing,
)

MAX_LISTED: Final = 100

_QUERY: Final = QueryType()
_CHARACTER: Final = ObjectType("Character")
_CORPORATION: Final = ObjectType("Corporation")
_ALLIANCE: Final = ObjectType("Alliance")
ENTITY_TYPES: Final[tuple[SchemaBindable, ...]] = (
    *(_QUERY, _CHARACTER, _CORPORATION, _ALLIANCE),
    *STATIC_TYPES,
)
_TYPES: Final = ((CHARACTER, _CHARACTER), (CORPORATION, _CORPORATION), (ALLIANCE, _ALLIANCE))


async def read_entity(kind: Kind, info: Info, id_: int) -> Entity | None:
    """Read an entity; None when no killmail mentions it. Reading it requests its refresh."""
    row = await info.context.loaders.row(kind, id_)
    if row is None:
        name = await info.context.loaders.names.load(id_) if kind is CHARACTER else None
        return None if name is None else Entity(kind, id_, name)
    if _is_due(row):
        write = partial(want_known, kind=kind, ids=[id_])
        info.context.state.users.background.add((kind.name, id_), write)
    return Entity(kind, id_, row.get("name") or UNREAD, row)


def _is_due(row: Row) -> bool:
    is_old = row["expires_at"] is None or row["expires_at"] <= datetime.now(UTC)
    return row["next_refresh_at"] is None and is_old


async def read_thing(type_name: str, info: Info, id_: int) -> Thing | None:
    """Return a type, a solar system or the like; None when the static data hasn't it."""
    data = info.context.state.database.static
    return thing(type_name, id_, data) if id_ in known_things(type_name, data) else None


def _one(read: Callable[[Info, int], Any]) -> Callable[..., Any]:
    async def resolve(_: None, info: Info, id: int) -> Any:  # noqa: A002 # GraphQL's name
        return await read(info, id)

    return resolve


def _entities(kind: Kind, category: str) -> Callable[..., Any]:
    async def resolve(
        _: None, info: Info, name: str | None = None, ids: Any = None, first: int = 20
    ) -> list[Entity | None]:
        _check(name, ids, first)
        if ids is not None:
            return [Entity(kind, id_) for id_ in ids]
        database = info.context.state.database
        found = await name_search.entities(database, category, name or "", first)
        return [Entity(kind, id_, known) for id_, known in found]

    return resolve


def _things(type_name: str) -> Callable[..., Any]:
    async def resolve(
        _: None, info: Info, name: str | None = None, ids: Any = None, first: int = 20
    ) -> Sequence[Thing]:
        _check(name, ids, first)
        data = info.context.state.database.static
        known = known_things(type_name, data)
        if ids is None:
            ids = name_search.things(type_name, data, name or "", first)
        return [thing(type_name, id_, data) for id_ in ids if id_ in known]

    return resolve


def _check(name: str | None, ids: list[int] | None, first: int) -> None:
    if (name is None) == (ids is None):
        raise BadInput("name: give either name or ids")
    if not 1 <= first <= MAX_LISTED:
        raise BadInput(f"first: must be 1 to {MAX_LISTED}, not {first}")
    if ids is not None and len(ids) > MAX_LISTED:
        raise BadInput(f"ids: at most {MAX_LISTED}, not {len(ids)}")
    if name is not None:
        name_search.check(name)


READS: Final[dict[str, Callable[[Info, int], Any]]] = {
    "Character": partial(read_entity, CHARACTER),
    "Corporation": partial(read_entity, CORPORATION),
    "Alliance": partial(read_entity, ALLIANCE),
} | {
    name: partial(read_thing, name)
    for name in (
        *("ItemType", "ItemGroup", "ItemCategory"),
        *("SolarSystem", "Constellation", "Region", "Faction"),
    )
}
"""How an object of each type is read by its own id."""
for _kind, _object in _TYPES:
    _name = _kind.name.removesuffix("s")
    _QUERY.set_field(_name, _one(READS[_name.title()]))
    _QUERY.set_field(_kind.name, _entities(_kind, _name))
for _field, _type_name in (
    ("type", "ItemType"),
    ("group", "ItemGroup"),
    ("solarSystem", "SolarSystem"),
    ("constellation", "Constellation"),
    ("region", "Region"),
    ("faction", "Faction"),
):
    _QUERY.set_field(_field, _one(READS[_type_name]))
    _QUERY.set_field(f"{_field}s", _things(_type_name))


async def _row(entity: Entity, info: Info) -> Row:
    return entity.row or await info.context.loaders.row(entity.kind, entity.number) or {}


def _column(column: str, default: Any = None) -> Callable[[Entity, Info], Any]:
    async def resolve(entity: Entity, info: Info) -> Any:
        return (await _row(entity, info)).get(column, default)

    return resolve


def _other(kind: Kind, column: str) -> Callable[[Entity, Info], Any]:
    async def resolve(entity: Entity, info: Info) -> Entity | None:
        id_ = (await _row(entity, info)).get(column)
        return None if id_ is None else Entity(kind, id_)

    return resolve


async def _faction(entity: Entity, info: Info) -> Thing | None:
    id_ = (await _row(entity, info)).get("faction_id")
    return None if id_ is None else faction(id_, info.context.state.database.static)


def resolve_name(entity: Entity, info: Info) -> Any:
    """Return the name; it is read where no killmail has told it."""
    if entity.name is UNREAD:
        return info.context.loaders.names.load(entity.number)
    return entity.name


_COLUMNS: Final = {
    CHARACTER.name: {
        "corporationId": "corporation_id",
        "allianceId": "alliance_id",
        "factionId": "faction_id",
        "updatedAt": "updated_at",
    },
    CORPORATION.name: {
        "ticker": "ticker",
        "memberCount": "member_count",
        "allianceId": "alliance_id",
        "factionId": "faction_id",
        "ceoId": "ceo_id",
        "creatorId": "creator_id",
        "dateFounded": "date_founded",
        "homeStationId": "home_station_id",
        "taxRate": "tax_rate",
        "warEligible": "war_eligible",
        "url": "url",
        "updatedAt": "updated_at",
    },
    ALLIANCE.name: {
        "ticker": "ticker",
        "creatorId": "creator_id",
        "creatorCorporationId": "creator_corporation_id",
        "executorCorporationId": "executor_corporation_id",
        "factionId": "faction_id",
        "dateFounded": "date_founded",
        "updatedAt": "updated_at",
    },
}
for _kind, _object in _TYPES:
    _name = _kind.name.removesuffix("s")
    _object.set_field("id", lambda entity, _: encode_id(entity.type_name, entity.number))
    _object.set_field(f"{_name}Id", lambda entity, _: entity.number)
    _object.set_field("name", resolve_name)
    _object.set_field("state", _column("state", "unknown"))
    _object.set_field("faction", _faction)
    _object.set_field(
        "zkillboardUrl",
        lambda entity, _, _path=_name: f"{ZKILLBOARD}/{_path}/{entity.number}/",
    )
    for _field, _from in _COLUMNS[_kind.name].items():
        _object.set_field(_field, _column(_from))
_CHARACTER.set_field("corporation", _other(CORPORATION, "corporation_id"))
_CHARACTER.set_field("alliance", _other(ALLIANCE, "alliance_id"))
_CORPORATION.set_field("alliance", _other(ALLIANCE, "alliance_id"))
_CORPORATION.set_field("ceo", _other(CHARACTER, "ceo_id"))
_ALLIANCE.set_field("creator", _other(CHARACTER, "creator_id"))
_ALLIANCE.set_field("executorCorporation", _other(CORPORATION, "executor_corporation_id"))
set_image(_CHARACTER, "portrait", "characters/{}/portrait")
set_image(_CORPORATION, "logo", "corporations/{}/logo")
set_image(_ALLIANCE, "logo", "alliances/{}/logo")
for _object in (_CORPORATION, _ALLIANCE):
    _object.set_field("snapshots", resolve_snapshots)
    _object.set_field("chart", resolve_chart)
    _object.set_field("metrics", resolve_metrics)
