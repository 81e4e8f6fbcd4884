"""Validation takes bounded time whatever the document, and what is remembered is bounded."""

import time

import pytest
from graphql import get_introspection_query

from api.bounds import MAX_ALIAS_CHARACTERS
from api.documents import MAX_DOCUMENT_CHARACTERS, Documents, ValidatedDocument
from api.graphql import SCHEMA

MAX_VALIDATION_S = 0.5
"""Each of these took some 20 to 90 ms; without the bounds, those of fields take seconds."""


def doubled(levels: int) -> str:
    """Select a field twice, and within each twice, and so on."""
    return " ".join(2 * [f"items {{ {doubled(levels - 1)} }}"]) if levels else "flag"


def fragments(count: int, selected: str) -> str:
    spread = " ".join(f"...f{number}" for number in range(count))
    return f"{{ {spread} }} " + " ".join(
        f"fragment f{number} on Query {{ {selected} }}" for number in range(count)
    )


def repeated(count: int, text: str) -> str:
    return " ".join(text.replace("#", str(number)) for number in range(count))


ATTACKS = {
    "the same field again and again": f"{{ {repeated(900, 'killmails { complete }')} }}",
    "doubled at each level": f"{{ killmail(id: 1) {{ victim {{ {doubled(8)} }} }} }}",
    "fragments with one another": fragments(300, "killmail(id: 1) { killmailId }"),
    "a chain of fragments": repeated(49, "fragment f# on Query { ...f ...g }")
    + " fragment f on Query { ...g ...g } fragment g on Query { ...f ...f } { ...f ...f }",
    "long aliases": f"{{ {'a' * (MAX_ALIAS_CHARACTERS + 1)}: __typename }}",
    "unknown fields": f"{{ {repeated(900, 'killmailz#')} }}",
    "unknown arguments": f"{{ killmails({repeated(900, 'killmail#: 1')}) {{ complete }} }}",
    "unknown keys": f"{{ killmails(filter: {{ {repeated(900, 'shipId#: 1')} }}) {{ complete }} }}",
    "unused variables": f"query ({repeated(900, '$v#: Int')}) {{ __typename }}",
    "undefined variables": f"{{ {repeated(400, 'a#: killmail(id: $v#) { killmailId }')} }}",
    "many operations": repeated(300, "query q# { ...f }") + " fragment f on Query { __typename }",
    "nested values": "{ killmails(filter: " + "{a: " * 900 + "1" + "}" * 900 + ") { complete } }",
    "nested inline fragments": "{ " + "... on Query { " * 900 + "__typename" + " }" * 901,
    "too long": "{ " + " " * MAX_DOCUMENT_CHARACTERS + "__typename }",
    "a string": '{ killmail(id: "' + "x" * (MAX_DOCUMENT_CHARACTERS - 100) + '") { killmailId } }',
    "tokens": f"{{ {repeated(4_000, 'a(b: 1)')} }}",
}


@pytest.mark.parametrize("document", ATTACKS.values(), ids=ATTACKS)
def test_attack_is_refused_soon(document: str) -> None:
    documents = Documents(SCHEMA)
    begun = time.thread_time()
    errors = documents.validated(document)
    assert time.thread_time() - begun < MAX_VALIDATION_S
    assert isinstance(errors, list)
    assert documents.cached_bytes == 0


def test_document_with_repeated_fields_and_fragments_is_valid() -> None:
    document = fragments(9, "killmail(id: 1) { ...k killmailId } killmails { nodes { ...k } }")
    kill = " fragment k on Killmail { killmailId victim { shipTypeId } }"
    assert isinstance(Documents(SCHEMA).validated(document + kill), ValidatedDocument)


def test_standard_introspection_is_valid() -> None:
    assert isinstance(Documents(SCHEMA).validated(get_introspection_query()), ValidatedDocument)


def test_valid_document_is_validated_once_and_the_oldest_is_forgotten() -> None:
    documents = Documents(SCHEMA, max_cache_bytes=20_000)
    first = documents.validated("{ __typename }")
    assert documents.validated("{ __typename }") is first
    for number in range(10):
        documents.validated(f"{{ a{number}: __typename }}")
        assert documents.cached_bytes <= 20_000
    assert documents.is_cached("{ a9: __typename }")
    assert not documents.is_cached("{ __typename }")
