"""A Redis that can't serve us is refused at start, in one line."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from actors.shared.errors import Misconfigured
from actors.shared.redis_check import check_redis
from actors.shared.settings import Settings
from deploy.ports import free_port
from tests.support.redis_server import RedisServer

pytestmark = pytest.mark.service


@asynccontextmanager
async def redis(directory: Path, *options: str, password: str = "") -> AsyncIterator[Settings]:
    server = RedisServer(directory, *options)
    try:
        yield Settings(redis_url=f"redis://{password}127.0.0.1:{server.port}/0")
    finally:
        server.kill()


async def test_cluster_mode_is_refused(tmp_path: Path) -> None:
    # Its second port would be 10,000 above the first, which may be beyond all ports.
    options = ("--cluster-enabled", "yes", "--cluster-port", str(free_port()))
    async with redis(tmp_path, *options) as settings:
        with pytest.raises(Misconfigured, match=r"cluster mode, .*KILLSTREAM_REDIS_URL"):
            await check_redis(settings)


async def test_a_wrong_password_is_a_wrong_setting(tmp_path: Path) -> None:
    async with redis(tmp_path, "--requirepass", "right", password=":s3cret@") as settings:
        with pytest.raises(
            Misconfigured, match=r"refuses the connection: .*KILLSTREAM_REDIS_URL"
        ) as refusal:
            await check_redis(settings)
    assert "s3cret" not in str(refusal.value)


async def test_a_database_that_it_does_not_have_is_a_wrong_setting(tmp_path: Path) -> None:
    async with redis(tmp_path) as settings:
        beyond = Settings(redis_url=settings.redis_url.removesuffix("0") + "99")
        with pytest.raises(Misconfigured, match=r"no database of that number: .*REDIS_URL"):
            await check_redis(beyond)


async def test_a_plain_one_is_taken_and_an_absent_one_not_waited_for(tmp_path: Path) -> None:
    async with redis(tmp_path) as settings:
        await check_redis(settings)
    await check_redis(Settings(redis_url=f"redis://127.0.0.1:{free_port()}/0"))
    await check_redis(Settings())
