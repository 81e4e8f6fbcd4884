"""Cheap bounds on a parsed document, checked before rules whose time isn't linear.

The rule of overlapping fields compares each pair of fields that answer under the same name, with
all that is below them, so that a document of some kilobytes takes seconds. What it would compare is
counted here by walking the document once.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    InlineFragmentNode,
    OperationDefinitionNode,
    SelectionSetNode,
)

MAX_ALIAS_CHARACTERS: Final = 64
"""Of an alias, which is repeated in the answer for each element of a list."""
MAX_SELECTIONS: Final = 1_000
"""Fields, with those of a fragment for each time that it is spread."""
MAX_FRAGMENTS: Final = 50
MAX_OPERATIONS: Final = 20
"""In one document."""
MAX_PAIRS: Final = 5_000
"""Pairs of fields that answer under the same name, to be compared."""
MAX_NESTING: Final = 20
"""Of selections, introspection's included: a standard introspection nests 14 deep."""


class TooComplex(GraphQLError):
    """The document or operation exceeds a limit; the message has the limit."""

    def __init__(self, message: str, node: FieldNode | None = None, **facts: int) -> None:
        super().__init__(message, node, extensions={"code": "TOO_COMPLEX", **facts})


def check_bounds(document: DocumentNode) -> None:
    """Check the sizes of a document.

    Raises:
        TooComplex: a limit is exceeded.
    """
    fragments = fragments_of(document)
    operations = [n for n in document.definitions if isinstance(n, OperationDefinitionNode)]
    _at_most(len(fragments), MAX_FRAGMENTS, "fragments")
    _at_most(len(operations), MAX_OPERATIONS, "operations")
    walk = _Walk(fragments)
    for node in (*operations, *fragments.values()):
        walk.merged([node.selection_set], 1)


def fragments_of(document: DocumentNode) -> dict[str, FragmentDefinitionNode]:
    """Return a document's fragments by name."""
    return {
        node.name.value: node
        for node in document.definitions
        if isinstance(node, FragmentDefinitionNode)
    }


class _Walk:
    """Visits the selections of a document as they are merged, and counts."""

    def __init__(self, fragments: Mapping[str, FragmentDefinitionNode]) -> None:
        self._fragments = fragments
        self._selections = 0
        self._pairs = 0

    def merged(self, sets: Iterable[SelectionSetNode], depth: int) -> None:
        """Visit selection sets that answer in one object."""
        _at_most(depth, MAX_NESTING, "levels")
        groups: dict[str, list[SelectionSetNode]] = defaultdict(list)
        counts: dict[str, int] = defaultdict(int)
        for selection_set in sets:
            for field in self._fields(selection_set, frozenset()):
                name = field.alias.value if field.alias else field.name.value
                counts[name] += 1
                if field.selection_set:
                    groups[name].append(field.selection_set)
        self._pairs += sum(count * (count - 1) // 2 for count in counts.values())
        _at_most(self._pairs, MAX_PAIRS, "pairs of fields with the same name")
        for group in groups.values():
            self.merged(group, depth + 1)

    def _fields(
        self, selection_set: SelectionSetNode, above: frozenset[str]
    ) -> Iterator[FieldNode]:
        for node in selection_set.selections:
            self._selections += 1
            _at_most(self._selections, MAX_SELECTIONS, "selections")
            match node:
                case FieldNode():
                    _check_alias(node)
                    yield node
                case InlineFragmentNode():
                    yield from self._fields(node.selection_set, above)
                case FragmentSpreadNode() if node.name.value not in above:
                    name = node.name.value
                    if fragment := self._fragments.get(name):
                        yield from self._fields(fragment.selection_set, above | {name})


def _check_alias(field: FieldNode) -> None:
    if field.alias and len(field.alias.value) > MAX_ALIAS_CHARACTERS:
        raise TooComplex(f"An alias may have {MAX_ALIAS_CHARACTERS} characters.", field)


def _at_most(size: int, limit: int, what: str) -> None:
    if size > limit:
        raise TooComplex(f"The document has too many {what}: {limit} is the limit.")
