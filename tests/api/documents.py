"""GraphQL documents made from the schema, so that a test reaches every field that is added."""

from collections.abc import Mapping
from typing import Any

from graphql import (
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    get_named_type,
    is_abstract_type,
    is_required_argument,
)

from api.graphql import SCHEMA

_SAMPLES = {"Long": "1", "Int": "1", "Boolean": "true", "String": '"x"', "ID": '"x"'}


NODE = SCHEMA.type_map["Node"]


def of_type(name: str) -> GraphQLObjectType:
    object_type = SCHEMA.type_map[name]
    assert isinstance(object_type, GraphQLObjectType)
    return object_type


def fields_of(type_name: str) -> Mapping[str, GraphQLField]:
    """The fields of an object type."""
    fields: Mapping[str, GraphQLField] = of_type(type_name).fields
    return fields


def whole(field: str, arguments: Mapping[str, str] | None = None, of: str = "Query") -> str:
    """Ask for a field with all that is below it.

    Objects with global ids that are parts of others have their plain fields only. `arguments` are
    by `Type.field`; required ones that it lacks are made up.
    """
    return f"{of.lower()} {{ {_field(field, of, arguments or {}, frozenset())} }}"


def _field(name: str, of: str, arguments: Mapping[str, str], above: frozenset[str]) -> str:
    field = fields_of(of)[name]
    given = arguments.get(f"{of}.{name}", _made_up(field))
    return f"{name}{given}{_below(get_named_type(field.type), arguments, above)}"


def _below(kind: Any, arguments: Mapping[str, str], above: frozenset[str]) -> str:
    if is_abstract_type(kind):
        return " { __typename }"
    if not isinstance(kind, GraphQLObjectType):
        return ""
    if kind.name.endswith("Edge"):
        return " { cursor }"  # its node is in `nodes`, too
    if kind.name == "ItemType" and "Item" in above:
        return " { name }"  # the whole of it is below the ship
    is_part = NODE in kind.interfaces and any(NODE in of_type(name).interfaces for name in above)
    above |= {kind.name}
    selected = [
        _field(name, kind.name, arguments, above)
        for name, field in kind.fields.items()
        if get_named_type(field.type).name not in above
        and not (is_part and isinstance(get_named_type(field.type), GraphQLObjectType))
    ]
    return f" {{ {' '.join(selected)} }}"


def made_up(field: GraphQLField) -> dict[str, str]:
    """Make up the arguments that a field requires."""
    required = {n: a.type for n, a in field.args.items() if is_required_argument(a)}
    return {name: _sample(kind) for name, kind in required.items()}


def _made_up(field: GraphQLField) -> str:
    given = made_up(field)
    return f"({', '.join(f'{name}: {value}' for name, value in given.items())})" if given else ""


def _sample(kind: Any) -> str:
    match kind:
        case GraphQLNonNull():
            return _sample(kind.of_type)
        case GraphQLList():
            return f"[{_sample(kind.of_type)}]"
        case GraphQLInputObjectType():
            return "{}"
        case GraphQLEnumType():
            return str(next(iter(kind.values)))
        case GraphQLInputObjectType():
            return "{}"
    return _SAMPLES[kind.name]
