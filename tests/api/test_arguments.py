"""Arguments that no honest client gives get an answer with a code, and never an internal error."""

from collections.abc import Iterator

import aiohttp
from graphql import GraphQLNonNull, GraphQLObjectType, get_named_type

from tests.api.documents import fields_of, made_up
from tests.api.gateway import Writer, a_killmail, query

EXTREMES = {
    "Int": ["null", "-2147483648", "0", "2147483647"],
    "Long": ["null", "-9223372036854775808", "0", "9223372036854775807"],
    "String": ["null", '""', '"\\u0000"', '"' + "x" * 3_000 + '"'],
    "ID": ["null", '""', '"\\u0000"', '"KillmailFilter:1"', '"S2lsbG1haWw6MQ=="'],
    "Boolean": ["null"],
    "DateTime": ["null", '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:59Z"'],
    "Float": ["null", "1e308", "-1e308"],
}


def documents() -> Iterator[str]:
    """Give each argument of each query each extreme that its type allows."""
    for name, field in fields_of("Query").items():
        required = made_up(field)
        for argument, kind in field.args.items():
            of = get_named_type(kind.type).name
            for value in EXTREMES.get(of, ["null"]):
                if value == "null" and isinstance(kind.type, GraphQLNonNull):
                    continue
                given = ", ".join(
                    f"{one}: {value if one == argument else text}"
                    for one, text in (required | {argument: value}).items()
                )
                is_object = isinstance(get_named_type(field.type), GraphQLObjectType)
                yield f"{{ {name}({given}) {'{ __typename }' if is_object else ''} }}"


async def test_extreme_arguments_are_no_internal_errors(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(a_killmail(1))
    internal = []
    for document in documents():
        answer = await query(client, document)
        codes = {error["extensions"]["code"] for error in answer.get("errors", ())}
        if codes & {"INTERNAL"}:
            internal.append(document)
    assert internal == []


async def test_null_in_a_variable_is_refused_where_there_is_a_default(
    client: aiohttp.ClientSession,
) -> None:
    document = "query ($first: Int) { feed(after: 0, first: $first) { lastSequence } }"
    (error,) = (await query(client, document, first=None))["errors"]
    assert error["message"] == "first: must not be null; leave it out for its default"
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert (await query(client, document))["data"] == {"feed": {"lastSequence": 0}}
