"""Describe answers of GraphQL documents, and parameters of filters, for OpenAPI. No I/O."""

from collections.abc import Iterator
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLInputObjectType,
    GraphQLInputType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLSchema,
    OperationDefinitionNode,
    SelectionSetNode,
    get_nullable_type,
    parse,
)

from api.filters.rest import PARAMETERS, WHOLE
from api.filters.syntax import FILTER, named_type

Json = dict[str, Any]

_SCALARS: Final[dict[str, Json]] = {
    "ID": {"type": "string"},
    "String": {"type": "string"},
    "Int": {"type": "integer", "format": "int32"},
    "Long": {"type": "integer", "format": "int64"},
    "Float": {"type": "number"},
    "Boolean": {"type": "boolean"},
    "DateTime": {"type": "string", "format": "date-time"},
}


def schema_of_answer(schema: GraphQLSchema, document: str) -> Json:
    """Describe the data that a document's operation returns, as JSON Schema."""
    definitions = parse(document).definitions
    fragments = {d.name.value: d for d in definitions if isinstance(d, FragmentDefinitionNode)}
    (operation,) = (d for d in definitions if isinstance(d, OperationDefinitionNode))
    root = schema.get_root_type(operation.operation)
    return _object(root, operation.selection_set, fragments)


def _object(
    of: Any, selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]
) -> Json:
    properties: Json = {}
    for node in _fields(selections, fragments):
        field = of.fields[node.name.value]
        described = _type(field.type, node, fragments)
        properties[node.alias.value if node.alias else node.name.value] = {
            "description": field.description,
            **described,
        }
    return {"type": "object", "properties": properties, "required": list(properties)}


def _fields(
    selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode]
) -> Iterator[FieldNode]:
    for node in selections.selections:
        if isinstance(node, FieldNode):
            yield node
        elif isinstance(node, FragmentSpreadNode):
            yield from _fields(fragments[node.name.value].selection_set, fragments)


def _type(of: Any, node: FieldNode, fragments: dict[str, FragmentDefinitionNode]) -> Json:
    if isinstance(of, GraphQLNonNull):
        return _not_null(of.of_type, node, fragments)
    return {"anyOf": [_not_null(of, node, fragments), {"type": "null"}]}


def _not_null(of: Any, node: FieldNode, fragments: dict[str, FragmentDefinitionNode]) -> Json:
    if isinstance(of, GraphQLList):
        return {"type": "array", "items": _type(of.of_type, node, fragments)}
    if node.selection_set:
        return _object(of, node.selection_set, fragments)
    return _leaf(of)


def _leaf(of: Any) -> Json:
    if isinstance(of, GraphQLEnumType):
        return {"type": "string", "enum": list(of.values)}
    return dict(_SCALARS[of.name])


def filter_parameters() -> list[Json]:
    """Describe all parameters of filters."""
    whole = {
        "name": WHOLE,
        "in": "query",
        "description": "A whole GraphQL filter as JSON; it can combine filters.",
        "schema": {"type": "string"},
    }
    return [whole, *(_parameter(name, of) for name, of in PARAMETERS.items())]


def _parameter(name: str, of: GraphQLInputType) -> Json:
    schema = _leaf(named_type(of))
    more: Json = {}
    if isinstance(get_nullable_type(of), GraphQLList):
        schema, more = {"type": "array", "items": schema}, {"explode": False}
    return {
        "name": name,
        "in": "query",
        "description": _description(name),
        "schema": schema,
        **more,
    }


def _description(name: str) -> str:
    of: Any = FILTER
    said = ""
    for part in name.split("."):
        assert isinstance(of, GraphQLInputObjectType)
        field = of.fields[part]
        said, of = field.description or said, named_type(field.type)
    return said
