"""Simple reads by GET: killmails with names, lists, entities, and search.

Each is a GraphQL document of ours, so that names, meanings, limits and costs are those of GraphQL.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

import msgspec
from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from graphql import GraphQLObjectType, is_leaf_type
from graphql import get_named_type as named

from api.context import context_of
from api.doors.answers import cached, door, parameter
from api.doors.parameters import one, whole_number
from api.errors import BadInput
from api.execution import Limited, execute, prepare
from api.execution import Request as Operation
from api.filters.rest import filter_of_query
from api.filters.syntax import FILTER, to_json
from api.graphql import DOCUMENTS, SCHEMA
from api.openapi import filter_parameters, schema_of_answer

ROUTER: Final = APIRouter(prefix="/api", tags=["reads"])

_AGE_S: Final = 5
"""How long caches may keep an answer."""
_STATUS: Final = {"BAD_USER_INPUT": 400, "TOO_COMPLEX": 400, "INTERNAL": 500}
"""Of errors; all others are temporary."""
_OWN: Final = ("first", "after", "orderBy")
_SEARCHED: Final = (
    *("characters", "corporations", "alliances", "types", "groups"),
    *("solarSystems", "constellations", "regions", "factions"),
)


def _leaves(of_type: str) -> str:
    """Select all plain fields of a type."""
    of = SCHEMA.type_map[of_type]
    assert isinstance(of, GraphQLObjectType)
    return " ".join(name for name, field in of.fields.items() if is_leaf_type(named(field.type)))


_ITEM: Final = _leaves("Item")
_WHOLE: Final = f"""
  {_leaves("Killmail")}
  victim {{ {_leaves("Victim")} position {{ x y z }} items {{ {_ITEM} items {{ {_ITEM} }} }} }}
  attackers {{ {_leaves("Attacker")} }}
  zkb {{ {_leaves("Zkb")} }}
"""
_BRIEF: Final = f"""
  {_leaves("Killmail")}
  victim {{ {_leaves("Victim")} }}
  finalBlow {{ {_leaves("Attacker")} }}
"""
_KILLMAIL: Final = f"query ($id: Long!) {{ killmail(id: $id) {{ {_WHOLE} }} }}"
_LIST: Final = f"""
  query ($first: Int, $after: String, $filter: KillmailFilter, $orderBy: KillmailOrder = time) {{
    killmails(first: $first, after: $after, filter: $filter, orderBy: $orderBy) {{
      nodes {{ {_BRIEF} }}
      pageInfo {{ hasNextPage endCursor }}
      complete
    }}
  }}
"""
_SEARCH: Final = "query ($name: String!, $first: Int = 20) {{ {} }}".format(
    " ".join(
        f"{field}(name: $name, first: $first) {{ {_leaves(named(kind.type).name)} }}"
        for field in _SEARCHED
        if (kind := SCHEMA.query_type and SCHEMA.query_type.fields[field])
    )
)
_ID: Final = parameter("id", "ESI's id.", where="path", minimum=0)


async def _read(
    request: Request, document: str, variables: Mapping[str, Any], field: str | None
) -> Response:
    """Answer with the data of a field, or all; 404 where the field is null."""
    context = await context_of(request, None)
    try:
        prepared = prepare(SCHEMA, DOCUMENTS, Operation(document, variables, None), context)
    except Limited as error:
        wait = {"Retry-After": str(error.level.retry_after_s)}
        return JSONResponse({"error": error.message}, 429, wait)
    payload = (await execute(SCHEMA, prepared, context)).payload
    if errors := payload.get("errors"):
        status = _STATUS.get(errors[0]["extensions"]["code"], 503)
        return JSONResponse({"error": errors[0]["message"], **errors[0]["extensions"]}, status)
    data = payload["data"] if field is None else payload["data"][field]
    if data is None:
        return JSONResponse({"error": f"there is no such {field} here"}, 404)
    return cached(request, msgspec.json.encode(data), _AGE_S)


def _answers(document: str, field: str | None) -> dict[str, Any]:
    schema = schema_of_answer(SCHEMA, document)
    if field is not None:
        schema = schema["properties"][field]
        schema = next((one for one in schema.get("anyOf", ()) if one["type"] == "object"), schema)
    return {"content": {"application/json": {"schema": schema}}}


def _route(
    path: str, document: str, field: str | None, *parameters: dict[str, Any]
) -> Callable[[Callable[[Request], Awaitable[Response]]], Any]:
    options = {"response_description": "The data, as GraphQL has it."}

    def register(endpoint: Callable[[Request], Awaitable[Response]]) -> Any:
        made = door(ROUTER, path, *parameters, **options)(endpoint)
        route: Any = next(one for one in ROUTER.routes if one.path == f"/api{path}")  # type: ignore[attr-defined]
        route.responses = {**route.responses, 200: _answers(document, field)}
        return made

    return register


@_route("/killmails/{id}", _KILLMAIL, "killmail", _ID)
async def killmail(request: Request) -> Response:
    """Return a killmail with names and what the static data adds."""
    return await _read(request, _KILLMAIL, {"id": _id(request)}, "killmail")


@_route(
    "/killmails",
    _LIST,
    "killmails",
    parameter("first", "How many: 1 to 200, by default 50.", minimum=1, maximum=200),
    parameter("after", "The `endCursor` of the page before.", of="string"),
    parameter("orderBy", "By default the newest come first.", of="string", enum=["time", "value"]),
    *filter_parameters(),
)
async def killmails(request: Request) -> Response:
    """Return a page of killmails that meet a filter."""
    given = [one for one in request.query_params.multi_items() if one[0] not in _OWN]
    variables: dict[str, Any] = {"first": whole_number("first", one(request, "first"))}
    variables["after"] = one(request, "after")
    if order := one(request, "orderBy"):
        if order not in ("time", "value"):
            raise BadInput(f"orderBy: must be time or value, not {order!r}")
        variables["orderBy"] = order
    if given:
        variables["filter"] = to_json(filter_of_query(given), FILTER)
    return await _read(request, _LIST, variables, "killmails")


@_route(
    "/search",
    _SEARCH,
    None,
    parameter("name", "A part of the name, 1 to 100 characters.", of="string"),
    parameter("first", "How many of each kind: 1 to 100, by default 20.", minimum=1, maximum=100),
)
async def search(request: Request) -> Response:
    """Find characters, corporations, alliances, types and places by their names."""
    name, first = one(request, "name"), whole_number("first", one(request, "first"))
    if name is None:
        raise BadInput("name: must be given")
    variables = {"name": name} | ({} if first is None else {"first": first})
    return await _read(request, _SEARCH, variables, None)


def _id(request: Request) -> int:
    id_ = whole_number("id", request.path_params["id"])
    assert id_ is not None
    return id_


def _entity(path: str, field: str, of_type: str) -> None:
    document = f"query ($id: Long!) {{ {field}(id: $id) {{ {_leaves(of_type)} }} }}"

    async def read(request: Request) -> Response:
        return await _read(request, document, {"id": _id(request)}, field)

    read.__name__ = field
    read.__doc__ = f"Return the {field} with an id."
    _route(f"/{path}/{{id}}", document, field, _ID)(read)


for _path, _field, _of_type in (
    ("characters", "character", "Character"),
    ("corporations", "corporation", "Corporation"),
    ("alliances", "alliance", "Alliance"),
    ("types", "type", "ItemType"),
    ("groups", "group", "ItemGroup"),
    ("solar-systems", "solarSystem", "SolarSystem"),
    ("constellations", "constellation", "Constellation"),
    ("regions", "region", "Region"),
    ("factions", "faction", "Faction"),
):
    _entity(_path, _field, _of_type)
