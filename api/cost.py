"""What an operation costs: how many values its answer may have, and what its reads weigh.

Each field counts 1, times the lengths of the lists around it. A list is as long as the argument
says that bounds it (`first`, `last`, `limit`, `days`, or the number of `ids`), on the field itself
or on the one above it, as with connections; of others a length is assumed.

Source of the model: IBM's "GraphQL Cost Directives Specification", `@listSize` with
`slicingArguments`, `sizedFields` and `assumedSize` (read 2026-11-27).
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLArgument,
    GraphQLField,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    VariableNode,
    get_named_type,
    get_nullable_type,
    is_list_type,
    value_from_ast_untyped,
)

from api.documents import ValidatedDocument
from api.errors import BadInput
from api.limits import weight_of

COST_OF_WEIGHT: Final = 100
"""A field of weight 50 costs as much as 5,000 values: that is how the times compare."""
SLICING: Final = ("first", "last", "limit", "days")
LISTED: Final = "ids"
MAX_LENGTH: Final = 10_000
"""No argument asks for longer lists; whatever is above is refused by its resolver."""
PAGE: Final = 50
"""Of a page whose length isn't asked for, and has no default in the schema."""
DEFAULT_LENGTH: Final = 10
DEFAULT_PAGE: Final = 50
"""Of a page of which neither the `first` nor the `last` are asked for by number."""
LENGTHS: Final = {
    "Killmail.attackers": 10,
    "Victim.items": 20,
    "Item.items": 2,
    "Fitting.highSlots": 4,
    "Fitting.midSlots": 3,
    "Fitting.lowSlots": 3,
    "Fitting.rigSlots": 2,
    "Fitting.subsystemSlots": 1,
    "Fitting.serviceSlots": 1,
    "Fitting.fighterTubes": 1,
    "Fitting.cargo": 5,
    "Fitting.droneBay": 2,
    "Fitting.fighterBay": 1,
    "Fitting.implants": 1,
    "Fitting.boosters": 1,
    "Fitting.holds": 2,
    "FittingSlot.items": 2,
    "Hold.items": 4,
    "Killmail.labels": 5,
    "Zkb.labels": 5,
    "__Schema.types": 100,
    "__Schema.directives": 8,
    "__Type.fields": 8,
    "__Type.inputFields": 4,
    "__Type.enumValues": 3,
    "__Type.interfaces": 1,
    "__Type.possibleTypes": 2,
    "__Field.args": 2,
    "__Directive.args": 2,
    "__Directive.locations": 4,
}
"""Lengths that are assumed. Killmails of 2026 have 5 attackers and 17 items on average."""


def cost_of(
    schema: GraphQLSchema,
    valid: ValidatedDocument,
    operation: OperationDefinitionNode,
    variables: Mapping[str, Any],
) -> int:
    """Estimate the cost of an operation; of a subscription, that of one event.

    Raises:
        BadInput: null is given for an argument that has a default.
    """
    root = schema.get_root_type(operation.operation)
    assert root
    return _Estimate(schema, valid, _given(operation, variables)).below(
        operation.selection_set, root, None
    )


def _given(operation: OperationDefinitionNode, variables: Mapping[str, Any]) -> dict[str, Any]:
    defaults = {
        node.variable.name.value: value_from_ast_untyped(node.default_value)
        for node in operation.variable_definitions or ()
        if node.default_value
    }
    return {**defaults, **variables}


@dataclass(frozen=True)
class _Estimate:
    schema: GraphQLSchema
    valid: ValidatedDocument
    variables: Mapping[str, Any]

    def below(
        self, selections: SelectionSetNode | None, parent: GraphQLNamedType, length: int | None
    ) -> int:
        """Sum up the fields of one object; `length` is that of its lists, if it was asked for."""
        return sum(self._field(node, of, length) for node, of in self._fields(selections, parent))

    def _fields(
        self, selections: SelectionSetNode | None, parent: GraphQLNamedType
    ) -> Iterator[tuple[FieldNode, GraphQLNamedType]]:
        for node in selections.selections if selections else ():
            match node:
                case FieldNode():
                    yield node, parent
                case InlineFragmentNode():
                    condition = node.type_condition
                    of = self.schema.get_type(condition.name.value) if condition else parent
                    yield from self._fields(node.selection_set, of or parent)
                case FragmentSpreadNode():
                    fragment = self.valid.fragments[node.name.value]
                    of = self.schema.get_type(fragment.type_condition.name.value)
                    yield from self._fields(fragment.selection_set, of or parent)

    def _field(self, node: FieldNode, parent: GraphQLNamedType, length: int | None) -> int:
        field = self.schema.get_field(parent, node.name.value)  # type: ignore[arg-type] # checked
        assert field, "the document is valid"
        asked_for = self._asked_for(node, field)
        cost = weight_of(self.schema, parent, node.name.value) * COST_OF_WEIGHT + 1
        of = get_named_type(field.type)
        if not is_list_type(get_nullable_type(field.type)):
            return cost + self.below(node.selection_set, of, asked_for)
        if asked_for is None:
            asked_for = length
        if asked_for is None:
            asked_for = LENGTHS.get(f"{parent.name}.{node.name.value}", DEFAULT_LENGTH)
        return cost + asked_for * max(1, self.below(node.selection_set, of, None))

    def _asked_for(self, node: FieldNode, field: GraphQLField) -> int | None:
        """Return the length that the field's arguments bound its lists to."""
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        for name, argument in field.args.items():
            self._refuse_null(name, argument, given.get(name))
        lengths = [
            length
            for name, argument in field.args.items()
            if (length := self._length(name, argument, given.get(name))) is not None
        ]
        if not lengths and {"first", "last"} <= field.args.keys():
            return DEFAULT_PAGE
        if not lengths and "first" in field.args:
            return PAGE
        return min(max(lengths), MAX_LENGTH) if lengths else None

    def _refuse_null(self, name: str, argument: GraphQLArgument, node: ValueNode | None) -> None:
        """Refuse null for an argument that has a default; resolvers don't expect it."""
        is_null = isinstance(node, NullValueNode) or (
            isinstance(node, VariableNode)
            and node.name.value in self.variables
            and self.variables[node.name.value] is None
        )
        if is_null and argument.default is not None:
            raise BadInput(f"{name}: must not be null; leave it out for its default")

    def _length(self, name: str, argument: GraphQLArgument, node: ValueNode | None) -> int | None:
        value = self._value(argument, node)
        if name == LISTED:
            return len(value) if isinstance(value, list) else 1
        return max(value, 1) if name in SLICING and isinstance(value, int) else None

    def _value(self, argument: GraphQLArgument, node: ValueNode | None) -> Any:
        if isinstance(node, VariableNode) and node.name.value not in self.variables:
            node = None
        if node is None and argument.default is not None:
            node = argument.default.literal
        return None if node is None else value_from_ast_untyped(node, dict(self.variables))
