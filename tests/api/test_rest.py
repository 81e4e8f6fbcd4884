"""The plain HTTP doors."""

from datetime import datetime
from pathlib import Path

import aiohttp
import pytest

from actors.shared.errors import ServerUnavailable
from actors.shared.settings import Settings
from api.app import create_app
from tests.api.gateway import Writer, a_killmail, serve


async def test_body_is_esis_byte_for_byte(client: aiohttp.ClientSession, writer: Writer) -> None:
    body = b' { "spaces":  1.50,' + a_killmail(7)[1:]
    await writer.store(body)
    async with client.get("/killmails/7") as answer:
        assert (answer.status, await answer.read()) == (200, body)
        assert answer.content_type == "application/json"
        etag = answer.headers["ETag"]
    async with client.get("/killmails/7", headers={"If-None-Match": etag}) as answer:
        assert (answer.status, await answer.read()) == (304, b"")


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
        assert "OnNewKillmail" in await answer.text()


async def test_unavailable_database_prevents_the_start_with_a_message(tmp_path: Path) -> None:
    url = "postgresql+asyncpg://user:secret@127.0.0.1:1/none"
    app = create_app(Settings(data_dir=tmp_path, database_url=url))
    with pytest.raises(ServerUnavailable, match=r"no database at .*user:\*\*\*@127.0.0.1:1/none"):
        async with app.router.lifespan_context(app):
            pass
