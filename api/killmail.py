"""Resolvers of the killmail types, over `View` and the structs of ESI's body.

The schema's field names are ESI's in camel case; `EsiFields` binds them by name. The other fields
have a resolver here. None of them reads anything, and none needs GraphQL's `info`.
"""

from collections.abc import Callable
from operator import attrgetter
from typing import Any, Final, NamedTuple

from ariadne import ObjectType, SchemaBindable, convert_camel_case_to_snake
from graphql import GraphQLObjectType, GraphQLSchema

from actors.entities.kinds import ALLIANCE, CHARACTER, CORPORATION, Kind
from actors.shared.feed import ImportedDay
from actors.shared.finding.facts import Fact
from actors.shared.killmail import Attacker, Victim
from api.fitting import Stack, location_of, stacks_of
from api.node import encode_id
from api.objects import (
    BANDS,
    ZKILLBOARD,
    Entity,
    Thing,
    entity_or_none,
    faction,
    item_type,
    solar_system,
    thing,
)
from api.view import DayView, FeedView, View

ESI: Final = "https://esi.evetech.net"
Resolver = Callable[[Any, Any], Any]


class Participant(NamedTuple):
    """A victim or an attacker, with its killmail."""

    of: Victim | Attacker
    view: View


def _system_of(view: View) -> Thing:
    id_ = view.killmail.solar_system_id
    return solar_system(id_, view.static, view.names.get(id_))


def _of_system(key: str) -> Resolver:
    return lambda view, _: getattr(
        view.static.systems.get(view.killmail.solar_system_id), key, None
    )


def _name_of_area(type_name: str, key: str) -> Resolver:
    get_id = _of_system(key)

    def resolve(view: View, info: Any) -> str | None:
        id_ = get_id(view, info)
        return None if id_ is None else thing(type_name, id_, view.static).name

    return resolve


def _fact(fact: Fact) -> Resolver:
    return lambda view, _: None if view.facts is None else fact in view.facts


KILLMAIL: Final = ObjectType("Killmail")
KILLMAIL.set_field("id", lambda view, _: encode_id("Killmail", view.entry.killmail_id))
KILLMAIL.set_field("killmailHash", lambda view, _: view.entry.hash)
KILLMAIL.set_field("solarSystem", lambda view, _: _system_of(view))
KILLMAIL.set_field("solarSystemName", lambda view, _: _system_of(view).name)
KILLMAIL.set_field("constellationId", _of_system("constellation_id"))
KILLMAIL.set_field("constellationName", _name_of_area("Constellation", "constellation_id"))
KILLMAIL.set_field("regionId", _of_system("region_id"))
KILLMAIL.set_field("regionName", _name_of_area("Region", "region_id"))
KILLMAIL.set_field("securityStatus", _of_system("security_status"))
KILLMAIL.set_field("victim", lambda view, _: Participant(view.killmail.victim, view))
KILLMAIL.set_field("attackerCount", lambda view, _: len(view.killmail.attackers))
KILLMAIL.set_field("zkb", lambda view, _: view.zkb)
KILLMAIL.set_field("labels", lambda view, _: view.of_zkb("labels"))
KILLMAIL.set_field("totalValue", lambda view, _: view.of_zkb("totalValue"))
KILLMAIL.set_field("sequence", lambda view, _: view.sequence)
KILLMAIL.set_field("zkillboardUrl", lambda view, _: f"{ZKILLBOARD}/kill/{view.entry.killmail_id}/")
for _one in Fact:
    KILLMAIL.set_field(_one.name.lower(), _fact(_one))


@KILLMAIL.field("esiUrl")
def resolve_esi_url(view: View, _info: Any) -> str:
    """Return the address of ESI's body."""
    return f"{ESI}/killmails/{view.entry.killmail_id}/{view.entry.hash}/"


@KILLMAIL.field("spaceBand")
def resolve_space_band(view: View, _info: Any) -> str | None:
    """Return the band by its name in the schema."""
    system = view.static.systems.get(view.killmail.solar_system_id)
    return BANDS.get(system.band, system.band) if system else None


@KILLMAIL.field("attackers")
def resolve_attackers(view: View, _info: Any) -> list[Participant]:
    """Give each attacker its killmail."""
    return [Participant(attacker, view) for attacker in view.killmail.attackers]


@KILLMAIL.field("finalBlow")
def resolve_final_blow(view: View, _info: Any) -> Participant | None:
    """Return the attacker that struck last."""
    blows = (one for one in view.killmail.attackers if one.final_blow)
    return next((Participant(one, view) for one in blows), None)


def _entity(kind: Kind) -> Callable[[Participant, Any], Entity | None]:
    get_id = attrgetter(f"of.{kind.key.name}")
    return lambda party, _: entity_or_none(kind, get_id(party), party.view.names)


def _type(key: str) -> Callable[[Participant, Any], Thing | None]:
    def resolve(party: Participant, _info: Any) -> Thing | None:
        id_ = getattr(party.of, key)
        return None if id_ is None else item_type(id_, party.view.static, party.view.names.get(id_))

    return resolve


def _type_name(key: str) -> Callable[[Participant, Any], str | None]:
    return lambda party, _: party.view.name_of_type(getattr(party.of, key))


def _faction(party: Participant, _info: Any) -> Thing | None:
    id_ = party.of.faction_id
    return None if id_ is None else faction(id_, party.view.static, party.view.names.get(id_))


VICTIM: Final = ObjectType("Victim")
ATTACKER: Final = ObjectType("Attacker")
for _party in (VICTIM, ATTACKER):
    for _kind in (CHARACTER, CORPORATION, ALLIANCE):
        _party.set_field(_kind.name.removesuffix("s"), _entity(_kind))
    _party.set_field("faction", _faction)
    _party.set_field("shipType", _type("ship_type_id"))
    _party.set_field("shipTypeName", _type_name("ship_type_id"))
ATTACKER.set_field("weaponType", _type("weapon_type_id"))
ATTACKER.set_field("weaponTypeName", _type_name("weapon_type_id"))
VICTIM.set_field("items", lambda party, _: stacks_of(party.of.items, party.view))
VICTIM.set_field("fitting", lambda party, _: party.view)


@VICTIM.field("shipGroupId")
@ATTACKER.field("shipGroupId")
def resolve_ship_group_id(party: Participant, _info: Any) -> int | None:
    """Return the group of the ship."""
    id_ = party.of.ship_type_id
    known = None if id_ is None else party.view.static.types.get(id_)
    return known.group_id if known else None


@VICTIM.field("shipGroupName")
@ATTACKER.field("shipGroupName")
def resolve_ship_group_name(party: Participant, info: Any) -> str | None:
    """Return the name of the ship's group."""
    id_ = resolve_ship_group_id(party, info)
    return None if id_ is None else thing("ItemGroup", id_, party.view.static).name


@VICTIM.field("shipCategoryId")
def resolve_ship_category_id(party: Participant, _info: Any) -> int | None:
    """Return the category of the victim's ship or structure."""
    id_ = party.of.ship_type_id
    return None if id_ is None else party.view.static.category_of(id_)


@VICTIM.field("shipCategoryName")
def resolve_ship_category_name(party: Participant, info: Any) -> str | None:
    """Return the name of that category."""
    id_ = resolve_ship_category_id(party, info)
    return None if id_ is None else party.view.static.categories.get(id_)


ITEM: Final = ObjectType("Item")
ITEM.set_field("items", lambda stack, _: stacks_of(stack.of.items, stack.view))
ITEM.set_field("itemTypeName", lambda stack, _: stack.view.name_of_type(stack.of.item_type_id))
ITEM.set_field("location", lambda stack, _: location_of(stack.of.flag))


@ITEM.field("itemType")
def resolve_item_type(stack: Stack, _info: Any) -> Thing:
    """Return the type."""
    id_ = stack.of.item_type_id
    return item_type(id_, stack.view.static, stack.view.names.get(id_))


ZKB: Final = ObjectType("Zkb")
ZKB.set_field("locationId", lambda zkb, _: zkb.get("locationID"))

FEED_ENTRY: Final = ObjectType("FeedEntry")
FEED_ENTRY.set_field("kind", lambda view, _: view.entry.kind)
FEED_ENTRY.set_field("storedAt", lambda view, _: view.stored_at)


@FEED_ENTRY.field("killmail")
def resolve_killmail(view: FeedView, _info: Any) -> View | None:
    """Return the killmail; None for an imported day."""
    return view if isinstance(view, View) else None


@FEED_ENTRY.field("importedDay")
def resolve_imported_day(view: FeedView, _info: Any) -> ImportedDay | None:
    """Return the imported day; None for a killmail."""
    return view.entry if isinstance(view, DayView) else None


class EsiFields(SchemaBindable):
    """Binds each field without a resolver to ESI's field of that name."""

    def bind_to_schema(self, schema: GraphQLSchema) -> None:
        """Bind the fields; must run after all other bindables."""
        for type_name, path in {
            "Killmail": "killmail.",
            "Victim": "of.",
            "Attacker": "of.",
            "Item": "of.",
        }.items():
            graphql_type = schema.type_map[type_name]
            assert isinstance(graphql_type, GraphQLObjectType)
            for name, field in graphql_type.fields.items():
                field.resolve = field.resolve or _esi_field(path, convert_camel_case_to_snake(name))


def _esi_field(path: str, name: str) -> Any:
    if path == "of." and name.endswith("_name"):
        get_id = attrgetter(f"of.{name.removesuffix('_name')}_id")
        return lambda party, _info: party.view.names.get(get_id(party))
    get = attrgetter(path + name)
    return lambda source, _info: get(source)


KILLMAIL_TYPES: Final[tuple[SchemaBindable, ...]] = (
    *(KILLMAIL, VICTIM, ATTACKER, ITEM),
    *(ZKB, FEED_ENTRY),
)
