"""The GraphQL door itself: its address, its errors, its limits."""

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import aiohttp
import pytest
from graphql import (
    build_client_schema,
    get_introspection_query,
    is_scalar_type,
    print_schema,
    specified_scalar_types,
)

from api.graphql import SCHEMA
from api.limits import MUTATION_WEIGHT, WEIGHTS
from api.scalars import serialize_date_time
from tests.api.gateway import Writer, query
from tests.test_docs import PROJECT, table


async def test_post_is_answered_without_a_redirect(client: aiohttp.ClientSession) -> None:
    body = {"query": "{ __typename }"}
    async with client.post("/graphql", json=body, allow_redirects=False) as answer:
        assert answer.status == 200
        assert (await answer.json())["data"] == {"__typename": "Query"}


async def test_introspection_returns_the_schema(client: aiohttp.ClientSession) -> None:
    result = await query(client, get_introspection_query(specified_by_url=True))
    assert print_schema(build_client_schema(result["data"])) == print_schema(SCHEMA)


def nested(depth: int) -> str:
    return (
        "{ killmails { nodes { victim { items "
        + "{ items " * depth
        + "{ flag }"
        + "}" * depth
        + "} } } }"
    )


FRAGMENT_BOMB = (
    "{ ...a } "
    + " ".join(
        f"fragment {name} on Query {{ ...{next_name} ...{next_name} }}"
        for name, next_name in zip("abcdefghijkl", "bcdefghijklm", strict=True)
    )
    + " fragment m on Query { killmails { nodes { killmailId } } }"
)


def aliased(count: int, field: str) -> str:
    return " ".join(f"f{number}: {field}" for number in range(count))


def mutations(count: int, field: str) -> str:
    return f"mutation {{ ...all }} fragment all on Mutation {{ {aliased(count, field)} }}"


@pytest.mark.parametrize(
    ("document", "code", "says"),
    [
        ("{", "GRAPHQL_PARSE_FAILED", "Syntax Error"),
        ("{ nothing }", "GRAPHQL_VALIDATION_FAILED", "Cannot query field"),
        ('{ killmail(id: "x") { killmailId } }', "GRAPHQL_VALIDATION_FAILED", "Long"),
        (
            "{ killmail(id: 99999999999999999999) { killmailId } }",
            "GRAPHQL_VALIDATION_FAILED",
            "Long",
        ),
        (nested(10), "TOO_COMPLEX", "too deep"),
        (FRAGMENT_BOMB, "TOO_COMPLEX", "too many selections"),
        (mutations(6, "logout"), "TOO_COMPLEX", "too heavy"),
        (mutations(2, "syncMyKillmails { message }"), "TOO_COMPLEX", "too heavy"),
        ("{ " + aliased(50, "authStatus { reason }") + " }", "TOO_COMPLEX", "too heavy"),
        ("{ " + "x " * 5_000 + "}", "GRAPHQL_PARSE_FAILED", "tokens"),
    ],
)
async def test_errors_have_a_message_and_a_code(
    client: aiohttp.ClientSession, document: str, code: str, says: str
) -> None:
    errors = (await query(client, document))["errors"]
    assert {e["extensions"]["code"] for e in errors} == {code}
    assert any(says in e["message"] for e in errors)


async def test_internal_errors_show_no_internal_details(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    async with writer.database.begin() as connection:
        await connection.exec_driver_sql("DROP TABLE feed")
    (error,) = (await query(client, "{ feed(after: 0) { lastSequence } }"))["errors"]
    assert error["extensions"] == {"code": "INTERNAL"}
    assert "table" not in error["message"]


def test_readme_has_the_weight_of_each_field() -> None:
    assert SCHEMA.query_type
    assert SCHEMA.mutation_type
    assert set(SCHEMA.query_type.fields) <= WEIGHTS.keys()
    documented = {
        field: int(weight)
        for weight, fields in table(PROJECT / "api" / "README.md", "weight")
        for field in re.findall(r"`(\w+)`", fields)
    }
    assert documented == WEIGHTS
    rows = dict(table(PROJECT / "api" / "README.md", "weight"))
    assert rows[str(MUTATION_WEIGHT)] == "each other mutation"


def test_everything_in_the_schema_is_described() -> None:
    bare = []
    for name, of_type in SCHEMA.type_map.items():
        if name.startswith("__"):
            continue
        parts: dict[str, Any] = {name: of_type}
        for field, of_field in getattr(of_type, "fields", {}).items():
            parts[f"{name}.{field}"] = of_field
            for argument, of_argument in getattr(of_field, "args", {}).items():
                parts[f"{name}.{field}({argument}:)"] = of_argument
        for value, of_value in getattr(of_type, "values", {}).items():
            parts[f"{name}.{value}"] = of_value
        bare += [part for part, it in parts.items() if not (it.description or "").strip()]
    assert bare == []


def test_scalars_say_how_they_are_specified() -> None:
    own = [
        of_type
        for name, of_type in SCHEMA.type_map.items()
        if is_scalar_type(of_type) and name not in specified_scalar_types
    ]
    assert {of_type.name for of_type in own} >= {"Long", "DateTime"}
    assert all(of_type.specified_by_url for of_type in own)


def test_times_are_told_to_the_millisecond() -> None:
    time = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert serialize_date_time(time) == "2026-01-01T12:00:00Z"
    assert serialize_date_time(time.replace(microsecond=250_999)) == "2026-01-01T12:00:00.250Z"
    east = time.astimezone(timezone(timedelta(hours=3)))
    assert serialize_date_time(east) == "2026-01-01T12:00:00Z"
