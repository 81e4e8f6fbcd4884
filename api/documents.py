"""Parse and validate GraphQL documents, in bounded time, and remember those that are valid."""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from graphql import (
    DocumentNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLSchema,
    OperationDefinitionNode,
    parse,
    specified_rules,
    validate,
)

from api.bounds import TooComplex, check_bounds, fragments_of
from api.limits import MAX_TOKENS, OperationLimits

MAX_DOCUMENT_CHARACTERS: Final = 64 * 1024
MAX_ERRORS: Final = 3
"""Errors that are reported; each may print a part of the document and look for similar names."""
MAX_CACHE_BYTES: Final = 32 * 1024 * 1024
BYTES_PER_TOKEN: Final = 1_200
"""Memory of a parsed document for each token, at most: that of a field without an alias."""
_BYTES: Final = 4_096


@dataclass(frozen=True)
class ValidatedDocument:
    """A document that may be executed."""

    text: str
    document: DocumentNode
    operations: Mapping[str | None, OperationDefinitionNode]
    """By name; None is an anonymous one."""
    fragments: Mapping[str, FragmentDefinitionNode]
    has_introspection: bool
    """It reads the schema."""

    @property
    def size(self) -> int:
        """Estimate of its memory in bytes, never too low."""
        return _BYTES + 4 * len(self.text) + self.document.token_count * BYTES_PER_TOKEN

    def operation(self, name: str | None) -> OperationDefinitionNode:
        """Return the operation to execute; with None the only one.

        Raises:
            GraphQLError: there is none of that name, or several and no name is given.
        """
        if name is None and len(self.operations) == 1:
            return next(iter(self.operations.values()))
        if name is None:
            raise GraphQLError(
                "Must provide operationName: the document has no operation, or several."
            )
        if name not in self.operations:
            raise GraphQLError(f"Unknown operation named {name!r}.")
        return self.operations[name]


class Documents:
    """Validates documents against one schema; the latest valid ones are remembered.

    Invalid ones aren't: honest clients don't repeat them, and others would displace good ones.
    """

    def __init__(self, schema: GraphQLSchema, max_cache_bytes: int = MAX_CACHE_BYTES) -> None:
        self.schema = schema
        self._max_cache_bytes = max_cache_bytes
        self._cached: OrderedDict[str, ValidatedDocument] = OrderedDict()
        self.cached_bytes = 0
        """Estimate of the memory of all cached documents."""

    def validated(self, text: str) -> ValidatedDocument | list[GraphQLError]:
        """Parse and validate a document; return its errors if there are any."""
        if cached := self._cached.get(text):
            self._cached.move_to_end(text)
            return cached
        try:
            document = _parse(text)
            check_bounds(document)
        except GraphQLError as error:
            return [error]
        if errors := validate(
            self.schema, document, [*specified_rules, OperationLimits], MAX_ERRORS
        ):
            return errors
        valid = ValidatedDocument(
            text,
            document,
            _operations(document),
            fragments_of(document),
            "__schema" in text or "__type" in text.replace("__typename", ""),
        )
        self._remember(valid)
        return valid

    def is_cached(self, text: str) -> bool:
        """Return whether a document needs no validation."""
        return text in self._cached

    def _remember(self, valid: ValidatedDocument) -> None:
        self._cached[valid.text] = valid
        self.cached_bytes += valid.size
        while self.cached_bytes > self._max_cache_bytes:
            _, oldest = self._cached.popitem(last=False)
            self.cached_bytes -= oldest.size


def _parse(text: str) -> DocumentNode:
    if len(text) > MAX_DOCUMENT_CHARACTERS:
        raise TooComplex(f"The document is too long: {MAX_DOCUMENT_CHARACTERS} characters.")
    return parse(text, max_tokens=MAX_TOKENS)


def _operations(document: DocumentNode) -> dict[str | None, OperationDefinitionNode]:
    return {
        node.name.value if node.name else None: node
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
    }
