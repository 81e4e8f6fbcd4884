"""Limits on the length, depth and weight of a GraphQL document."""

from typing import Any, Final

from graphql import (
    FieldNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLNamedType,
    GraphQLSchema,
    InlineFragmentNode,
    NamedTypeNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValidationContext,
    ValidationRule,
    get_named_type,
)

MAX_TOKENS: Final = 4_000
MAX_DEPTH: Final = 12
MAX_WEIGHT: Final = 1_000
WEIGHTS: Final = {
    "killmails": 50,
    "totalCount": 50,
    "killmailsByIds": 50,
    "killmailsDateCounts": 50,
    "killStats": 50,
    "hasPreviousPage": 20,
    "hasNextPage": 20,
    "node": 20,
    "feed": 50,
    "killmail": 20,
    "explain": 20,
    "myKillmails": 50,
    "workerStatus": 50,
    "completeness": 50,
    "unknownValues": 50,
    "users": 50,
    "alliance": 20,
    "alliances": 50,
    "corporation": 20,
    "corporations": 50,
    "character": 20,
    "characters": 50,
    "type": 1,
    "group": 1,
    "solarSystem": 1,
    "constellation": 1,
    "region": 1,
    "faction": 1,
    "types": 20,
    "groups": 20,
    "solarSystems": 20,
    "constellations": 20,
    "regions": 20,
    "factions": 20,
    "metrics": 20,
    "snapshots": 50,
    "chart": 50,
    "me": 20,
    "authStatus": 20,
    "apiKeys": 20,
    "syncStatus": 20,
    "imports": 20,
    "limits": 1,
    "syncMyKillmails": 600,
}
"""Weights of the fields that read the database; any other field of a query weighs 1.

`syncMyKillmails` waits for a run, so no operation has room for two.
"""
MUTATION_WEIGHT: Final = 200
"""Of each other mutation: it writes."""


def weight_of(schema: GraphQLSchema, parent: GraphQLNamedType, field: str) -> int:
    """Return the weight of a field; 0 if it reads nothing."""
    if parent is schema.mutation_type:
        return WEIGHTS.get(field, MUTATION_WEIGHT)
    query = schema.query_type
    if query and field in query.fields and parent is not query:
        return 0  # a part of a killmail that is named like a query
    return WEIGHTS.get(field, 0)


class OperationLimits(ValidationRule):
    """Rejects operations that are too deep or too heavy; introspection is exempt."""

    def __init__(self, context: ValidationContext) -> None:
        super().__init__(context)
        self._fragments: dict[str, tuple[int, int]] = {}

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        """Check one operation, including its fragments."""
        root = self.context.schema.get_root_type(node.operation)
        depth, weight = self._measure(node.selection_set, root)
        self._check(node, "deep", depth, MAX_DEPTH)
        self._check(node, "heavy", weight, MAX_WEIGHT)

    def _check(self, node: OperationDefinitionNode, what: str, size: int, limit: int) -> None:
        if size > limit:
            message = f"The operation is too {what}: {size}, and {limit} is the limit."
            self.report_error(GraphQLError(message, node, extensions={"code": "TOO_COMPLEX"}))

    def _measure(
        self, selections: SelectionSetNode | None, parent: GraphQLNamedType | None
    ) -> tuple[int, int]:
        depth = weight = 0
        for node in selections.selections if selections else ():
            below, more = 0, 0
            match node:
                case FieldNode() if not node.name.value.startswith("__"):
                    below, more = self._measure_field(node, parent)
                case InlineFragmentNode():
                    of = self._type(node.type_condition) if node.type_condition else parent
                    below, more = self._measure(node.selection_set, of)
                case FragmentSpreadNode():
                    below, more = self._measure_fragment(node.name.value)
            depth, weight = max(depth, below), weight + more
        return depth, weight

    def _measure_field(self, node: FieldNode, parent: GraphQLNamedType | None) -> tuple[int, int]:
        name = node.name.value
        field = getattr(parent, "fields", {}).get(name)
        depth, weight = self._measure(
            node.selection_set, get_named_type(field.type) if field else None
        )
        own = weight_of(self.context.schema, parent, name) if parent else 0
        return depth + 1, weight + max(own, 1)

    def _type(self, node: NamedTypeNode) -> GraphQLNamedType | None:
        return self.context.schema.get_type(node.name.value)

    def _measure_fragment(self, name: str) -> tuple[int, int]:
        """Measure a fragment once, however often it is spread; ends at a cycle."""
        if name not in self._fragments:
            self._fragments[name] = 0, 0
            if fragment := self.context.get_fragment(name):
                of = self._type(fragment.type_condition)
                self._fragments[name] = self._measure(fragment.selection_set, of)
        return self._fragments[name]
