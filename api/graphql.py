"""The GraphQL schema with its resolvers."""

from pathlib import Path
from typing import Final

from ariadne import (
    convert_camel_case_to_snake,
    load_schema_from_path,
    make_executable_schema,
)
from graphql import GraphQLObjectType, GraphQLSchema

from api.completeness import COMPLETENESS_TYPES
from api.documents import Documents
from api.entities import ENTITY_TYPES
from api.filters.explain import EXPLAIN
from api.fitting import FITTING_TYPES
from api.killmail import KILLMAIL_TYPES, EsiFields
from api.limits_query import LIMITS
from api.live.types import FEED_TYPES
from api.node import NODE
from api.queries import QUERY
from api.scalars import DATE_TIME, LONG
from api.stats_queries import STATS_TYPES
from api.subscriptions import SUBSCRIPTION
from api.users.schema import USER_TYPES
from api.workers.resolvers import WORKER_TYPES


def _python_name(name: str, schema: GraphQLSchema, path: tuple[str, ...]) -> str:
    """Pass arguments and inputs in snake case; fields keep their names."""
    of_type = schema.type_map[path[0]]
    is_field = len(path) == 2 and isinstance(of_type, GraphQLObjectType)
    return name if is_field else convert_camel_case_to_snake(name)


SCHEMA: Final = make_executable_schema(
    load_schema_from_path(str(Path(__file__).parent / "schema")),
    *(QUERY, EXPLAIN, LIMITS, SUBSCRIPTION, NODE),
    *KILLMAIL_TYPES,
    *FITTING_TYPES,
    *STATS_TYPES,
    *(LONG, DATE_TIME, EsiFields()),
    *USER_TYPES,
    *WORKER_TYPES,
    *ENTITY_TYPES,
    *COMPLETENESS_TYPES,
    *FEED_TYPES,
    convert_names_case=_python_name,
)

DOCUMENTS: Final = Documents(SCHEMA)
"""Validates what clients send, by HTTP and by websocket."""
