"""The plain HTTP doors."""

import asyncio
from datetime import datetime
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import yaml
from jsonschema import ValidationError

from actors.shared.errors import ServerUnavailable
from actors.shared.feed import encode_entry
from actors.shared.settings import Settings
from api.app import create_app
from streams.asyncapi.__main__ import FILE
from tests.api.gateway import Writer, a_killmail, serve
from tests.test_docs import ENGINEERS, blocks


async def test_body_is_esis_byte_for_byte(client: aiohttp.ClientSession, writer: Writer) -> None:
    body = b' { "spaces":  1.50,' + a_killmail(7)[1:]
    await writer.store(body)
    async with client.get("/killmails/7") as answer:
        assert (answer.status, await answer.read()) == (200, body)
        assert answer.content_type == "application/json"
        etag = answer.headers["ETag"]
    async with client.get("/killmails/7", headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


async def test_the_asyncapi_document_is_served(client: aiohttp.ClientSession) -> None:
    async with client.get("/asyncapi.yaml") as answer:
        assert (answer.status, await answer.read()) == (200, FILE.read_bytes())
        version = yaml.safe_load(FILE.read_bytes())["asyncapi"]
        said = answer.headers["Content-Type"]
        assert said == f"application/vnd.aai.asyncapi+yaml;version={version}"
        etag = answer.headers["ETag"]
    async with client.get("/asyncapi.yaml", headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")
    async with client.get("/asyncapi.yaml", headers={"If-None-Match": '"other"'}) as answer:
        assert answer.status == 200


async def test_the_example_checks_entries_by_the_served_document(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    (example,) = (one for one in blocks(ENGINEERS, "python") if "jsonschema" in one)
    (entry,) = await writer.store(a_killmail(7))
    given = encode_entry(entry)
    program: dict[str, Any] = {}
    async with client.get("/asyncapi.yaml") as answer:
        ours = example.replace("http://127.0.0.1:4000/asyncapi.yaml", str(answer.url))
    await asyncio.to_thread(exec, ours, program)
    assert program["read"](given)["killmail_id"] == 7
    with pytest.raises(ValidationError, match="'sequence' is a required property"):
        program["read"](given.replace(b'"sequence"', b'"other"'))


@pytest.mark.parametrize(
    ("path", "status", "says"),
    [
        ("/killmails/8", 404, "killmail 8 isn't stored here"),
        ("/killmails/x", 422, "killmail_id"),
        ("/killmails/-1", 422, "killmail_id"),
        (f"/killmails/{2**64}", 422, "killmail_id"),
        ("/nothing", 404, "Not Found"),
    ],
)
async def test_errors_are_json(
    client: aiohttp.ClientSession, path: str, status: int, says: str
) -> None:
    async with client.get(path) as answer:
        assert answer.status == status
        assert says in (await answer.json())["error"]


async def test_redis_health_without_redis(client: aiohttp.ClientSession) -> None:
    async with client.get("/health/redis") as answer:
        health = await answer.json()
    datetime.strptime(health.pop("timestamp"), "%Y-%m-%dT%H:%M:%S%z")
    assert health == {
        "enabled": False,
        "publishClient": False,
        "subscribeClient": False,
        "connected": False,
        "url": None,
    }


async def test_unavailable_redis_is_shown_without_its_password(
    tmp_path: Path, writer: Writer
) -> None:
    settings = Settings(data_dir=tmp_path, redis_url="redis://user:secret@127.0.0.1:1/0")
    async with serve(settings) as address, aiohttp.ClientSession(address) as client:
        async with client.get("/health/redis") as answer:
            health = await answer.json()
        assert (health["enabled"], health["connected"]) == (True, False)
        assert health["url"] == "redis://user:***@127.0.0.1:1/0"


async def test_metrics(client: aiohttp.ClientSession) -> None:
    async with client.get("/metrics") as answer:
        assert answer.content_type == "text/plain"
        assert "killstream_subscribers " in await answer.text()


async def test_root_redirects_to_graphiql(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as answer:
        assert str(answer.url).endswith("/graphql")
        assert answer.content_type == "text/html"
        assert "GraphiQL" in await answer.text()


async def test_unavailable_database_prevents_the_start_with_a_message(tmp_path: Path) -> None:
    url = "postgresql+asyncpg://user:secret@127.0.0.1:1/none"
    app = create_app(Settings(data_dir=tmp_path, database_url=url))
    with pytest.raises(ServerUnavailable, match=r"no database at .*user:\*\*\*@127.0.0.1:1/none"):
        async with app.router.lifespan_context(app):
            pass
