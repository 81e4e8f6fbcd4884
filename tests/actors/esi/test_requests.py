"""Our requests, as they arrive, against ESI's own document where it is at hand."""

import gzip
import re
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from actors.esi.affiliations import affiliations
from actors.esi.authenticated import recent_killmails, roles
from actors.esi.budget import KILLMAIL, OWNER_TOKENS, Terms, terms_of
from actors.esi.client import COMPATIBILITY_DATE, Esi
from actors.esi.details import (
    alliance,
    alliance_corporations,
    alliances,
    corporation,
    item_type,
)
from actors.esi.entities import (
    Affiliation,
    Alliance,
    Corporation,
    ItemType,
)
from actors.esi.errors import Refused
from actors.esi.local_budget import LocalBudget
from actors.shared.settings import Settings
from tests.deploy.standin.shapes import DOCUMENT

KILLMAIL_PATH = "/killmails/{killmail_id}/{killmail_hash}"
NAMES_BODY = {"type": "array", "minItems": 1, "maxItems": 1000, "uniqueItems": True}
COMPATIBILITY = {"const": COMPATIBILITY_DATE}


def documented(path: str, method: str) -> tuple[Any, Any]:
    """Give the schemas of the compatibility date and of the body; ours without the document."""
    if not DOCUMENT.exists():
        return COMPATIBILITY, NAMES_BODY if method == "post" else None
    document = msgspec.json.decode(gzip.decompress(DOCUMENT.read_bytes()))
    operation = document["paths"][path][method]
    body = operation.get("requestBody")
    return (
        document["components"]["parameters"]["CompatibilityDate"]["schema"],
        body["content"]["application/json"]["schema"] if body else None,
    )


async def heard(ask: Callable[[Esi], Awaitable[Any]]) -> tuple[web.Request, bytes]:
    """Give the first request that a call of the client makes."""
    requests: list[tuple[web.Request, bytes]] = []

    async def listen(request: web.Request) -> web.Response:
        requests.append((request, await request.read()))
        return web.Response(status=422)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", listen)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    settings = Settings(esi_url=f"http://127.0.0.1:{runner.addresses[0][1]}/")
    async with aiohttp.ClientSession() as http:
        esi = Esi(settings, http, LocalBudget(Terms({}, 1000)))
        with pytest.raises(Refused):
            await ask(esi)
    await runner.cleanup()
    return requests[0]


async def test_killmail() -> None:
    request, body = await heard(lambda esi: esi.killmail(106140056, "ab" * 20))
    date, schema = documented(KILLMAIL_PATH, "get")
    assert (request.method, request.path_qs, body) == (
        "GET",
        f"/killmails/106140056/{'ab' * 20}",
        b"",
    )
    assert schema is None
    Draft202012Validator(date).validate(request.headers["X-Compatibility-Date"])


async def test_names() -> None:
    request, body = await heard(lambda esi: esi.names({30000142, 95465499}))
    date, schema = documented("/universe/names", "post")
    assert (request.method, request.path_qs) == ("POST", "/universe/names")
    assert request.content_type == "application/json"
    Draft202012Validator(schema).validate(msgspec.json.decode(body))
    Draft202012Validator(date).validate(request.headers["X-Compatibility-Date"])


ROUTES: dict[str, Callable[[Esi], Awaitable[Any]]] = {
    "/characters/{character_id}/killmails/recent": lambda esi: recent_killmails(
        esi, "character", 7, 1, token="token", owner=7
    ),
    "/corporations/{corporation_id}/killmails/recent": lambda esi: recent_killmails(
        esi, "corporation", 8, 1, token="token", owner=7
    ),
    "/characters/{character_id}/roles": lambda esi: roles(esi, 7, "token"),
    "/characters/affiliation": lambda esi: affiliations(esi, [9, 7, 8]),
    "/corporations/{corporation_id}": lambda esi: corporation(esi, 8),
    "/alliances": alliances,
    "/alliances/{alliance_id}": lambda esi: alliance(esi, 9),
    "/alliances/{alliance_id}/corporations": lambda esi: alliance_corporations(esi, 9),
    "/universe/types/{type_id}": lambda esi: item_type(esi, 587),
}
OWNER_GROUPS = {
    "/characters/{character_id}/killmails/recent": "char-killmail",
    "/corporations/{corporation_id}/killmails/recent": "corp-killmail",
    "/characters/{character_id}/roles": "char-detail",
}


@pytest.mark.parametrize("route", ROUTES)
async def test_route(route: str) -> None:
    request, body = await heard(ROUTES[route])
    assert re.fullmatch(re.sub(r"{\w+}", r"\\d+", route), request.path)
    assert (request.method == "POST") == (route == "/characters/affiliation") == bool(body)
    assert ("Authorization" in request.headers) == (route in OWNER_GROUPS)
    date, schema = documented(route, request.method.lower())
    Draft202012Validator(date).validate(request.headers["X-Compatibility-Date"])
    if schema:
        Draft202012Validator(schema).validate(msgspec.json.decode(body))


def operation_of(route: str, method: str) -> Any:
    document = msgspec.json.decode(gzip.decompress(DOCUMENT.read_bytes()))
    return document["paths"][route][method], document["components"]["schemas"]


def test_budgets_are_those_of_the_document() -> None:
    tokens = {KILLMAIL: 3600, **dict(zip(OWNER_GROUPS.values(), (30, 30, 600), strict=True))}
    if DOCUMENT.exists():
        limits = [
            operation_of(route, "get")[0]["x-rate-limit"]
            for route in (KILLMAIL_PATH, *OWNER_GROUPS)
        ]
        assert tokens == {limit["group"]: limit["max-tokens"] for limit in limits}
        assert {limit["window-size"] for limit in limits} == {"15m"}
    assert terms_of(Settings()) == Terms(tokens, 900_000)
    assert KILLMAIL not in OWNER_TOKENS


@pytest.mark.parametrize(
    ("route", "struct", "ours"),
    [
        ("/characters/affiliation", Affiliation, "character_id corporation_id"),
        ("/corporations/{corporation_id}", Corporation, "name ticker member_count"),
        ("/alliances/{alliance_id}", Alliance, "name ticker"),
        ("/universe/types/{type_id}", ItemType, "type_id name group_id published"),
    ],
)
def test_what_we_require_esi_always_gives(
    route: str, struct: type[msgspec.Struct], ours: str
) -> None:
    fields = msgspec.structs.fields(struct)
    required = {field.name for field in fields if field.required}
    assert required == set(ours.split())
    if DOCUMENT.exists():
        operation, schemas = operation_of(route, "post" if "affiliation" in route else "get")
        schema = operation["responses"]["200"]["content"]["application/json"]["schema"]
        schema = schemas[schema["$ref"].rpartition("/")[2]] if "$ref" in schema else schema
        schema = schema.get("items", schema)
        assert required <= set(schema["required"])
        assert {field.name for field in fields} <= set(schema["properties"])
