"""Resolvers of the killmail types, over `View` and the structs of ESI's body.

The schema's field names are ESI's in camel case; `EsiFields` binds them by name. The other fields
have a resolver here.
"""

from collections.abc import Mapping
from operator import attrgetter
from typing import Any, Final, NamedTuple

from ariadne import ObjectType, SchemaBindable, convert_camel_case_to_snake
from graphql import GraphQLObjectType, GraphQLSchema

from actors.shared.feed import ImportedDay
from actors.shared.killmail import Attacker, Victim
from api.node import encode_id
from api.view import DayView, FeedView, View


class Participant(NamedTuple):
    """A victim or an attacker, with the names of its killmail."""

    of: Victim | Attacker
    names: Mapping[int, str]


KILLMAIL: Final = ObjectType("Killmail")
KILLMAIL.set_field("id", lambda view, _: encode_id("Killmail", view.entry.killmail_id))
KILLMAIL.set_field("killmailHash", lambda view, _: view.entry.hash)
KILLMAIL.set_field("solarSystemName", lambda view, _: view.names.get(view.killmail.solar_system_id))
KILLMAIL.set_field("victim", lambda view, _: Participant(view.killmail.victim, view.names))
KILLMAIL.set_field("attackerCount", lambda view, _: len(view.killmail.attackers))
KILLMAIL.set_field("zkb", lambda view, _: view.zkb)
KILLMAIL.set_field("sequence", lambda view, _: view.sequence)

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


@KILLMAIL.field("attackers")
def resolve_attackers(view: View, _info: Any) -> list[Participant]:
    """Pair each attacker with the killmail's names."""
    return [Participant(attacker, view.names) for attacker in view.killmail.attackers]


class EsiFields(SchemaBindable):
    """Binds each field without a resolver to ESI's field of that name."""

    def bind_to_schema(self, schema: GraphQLSchema) -> None:
        """Bind the fields; must run after all other bindables."""
        for type_name, path in {
            "Killmail": "killmail.",
            "Victim": "of.",
            "Attacker": "of.",
            "Item": "",
        }.items():
            graphql_type = schema.type_map[type_name]
            assert isinstance(graphql_type, GraphQLObjectType)
            for name, field in graphql_type.fields.items():
                field.resolve = field.resolve or _esi_field(path, convert_camel_case_to_snake(name))


def _esi_field(path: str, name: str) -> Any:
    if path == "of." and name.endswith("_name"):
        get_id = attrgetter(f"of.{name.removesuffix('_name')}_id")
        return lambda party, _info: party.names.get(get_id(party))
    get = attrgetter(path + name)
    return lambda source, _info: get(source)
