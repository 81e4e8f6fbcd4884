"""Our requests, as they arrive, against ESI's own document where it is at hand."""

import gzip
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from jsonschema import Draft202012Validator

from actors.esi.budget import Terms
from actors.esi.client import COMPATIBILITY_DATE, Esi
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


async def heard(ask: str, *args: Any) -> tuple[web.Request, bytes]:
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
            await getattr(esi, ask)(*args)
    await runner.cleanup()
    return requests[0]


async def test_killmail() -> None:
    request, body = await heard("killmail", 106140056, "ab" * 20)
    date, schema = documented(KILLMAIL_PATH, "get")
    assert (request.method, request.path_qs, body) == (
        "GET",
        f"/killmails/106140056/{'ab' * 20}",
        b"",
    )
    assert schema is None
    Draft202012Validator(date).validate(request.headers["X-Compatibility-Date"])


async def test_names() -> None:
    request, body = await heard("names", {30000142, 95465499})
    date, schema = documented("/universe/names", "post")
    assert (request.method, request.path_qs) == ("POST", "/universe/names")
    assert request.content_type == "application/json"
    Draft202012Validator(schema).validate(msgspec.json.decode(body))
    Draft202012Validator(date).validate(request.headers["X-Compatibility-Date"])
