"""`killstream up` on PostgreSQL: all parts together keep to the setting's connections."""

import asyncio
import os
from pathlib import Path

import pytest

from actors.shared.health.facts import Unreachable
from actors.shared.settings import Settings, settings
from api.database import MIN_POOL_SIZE as OF_GATEWAY
from deploy.embedded import MIN_POOL_SIZE, share_connections
from deploy.ports import free_port
from deploy.server_probes import ServerProbes, beside_probes, leave_to_probes, probe_backlogs
from deploy.standin.server import StandinOptions, start_standin
from tests.support.pipeline import pipeline
from tests.support.processes import killstream
from tests.support.proxy import open_proxy
from tests.support.servers import empty_servers, fresh_database
from tests.support.sessions import most_sessions

pytestmark = pytest.mark.service
KILLMAILS = 150


async def test_all_parts_stay_within_the_setting(tmp_path: Path) -> None:
    options = StandinOptions(synthetic=KILLMAILS, rate_per_s=50.0, limits=False)
    standin = await start_standin(options)
    upstream = {"r2z2_url": standin.url, "esi_url": standin.url, "r2z2_requests_per_s": 200.0}
    try:
        async with fresh_database() as url:
            settings = Settings(
                data_dir=tmp_path / "data", database_url=url, database_pool_size=MIN_POOL_SIZE
            )
            async with (
                most_sessions(settings) as most,
                pipeline(settings, tmp_path, parts=("up",), **upstream) as pipe,
            ):
                await pipe.until(lambda published: published >= KILLMAILS, timeout_s=60)
                assert await pipe.stop("up") == 0
            assert {"killstream/streams", "killstream/actors", "killstream/api"} <= set(most[0])
            assert len(most[0]) <= MIN_POOL_SIZE
    finally:
        await standin.stop()


@pytest.mark.parametrize("size", [MIN_POOL_SIZE, 7, 8, 9, 40])
def test_the_parts_share_what_the_setting_says(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KILLSTREAM_DATABASE_POOL_SIZE", str(size))
    parts = share_connections(Settings())
    of_actors = int(os.environ["KILLSTREAM_DATABASE_POOL_SIZE"])
    assert of_actors + sum(part.database_pool_size for part in parts) == size
    assert of_actors >= 1


def test_the_probes_have_a_connection_of_the_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    assert beside_probes(Settings(database_pool_size=8)).database_pool_size == 8
    assert beside_probes(Settings(database_pool_size=8, metrics_port=1)).database_pool_size == 7
    monkeypatch.setenv("KILLSTREAM_DATABASE_POOL_SIZE", "8")
    leave_to_probes(Settings(metrics_port=1))
    assert settings().database_pool_size == 7  # the actors read it
    settings.cache_clear()


async def test_the_metrics_of_a_streams_process_take_one_connection_to_each_server() -> None:
    async with (
        empty_servers() as servers,
        open_proxy(servers.database_url) as database,
        open_proxy(servers.rabbitmq_url) as rabbitmq,
    ):
        behind = servers.model_copy(
            update={
                "database_url": database.url(servers.database_url),
                "rabbitmq_url": rabbitmq.url(servers.rabbitmq_url),
            }
        )
        parts = await asyncio.to_thread(ServerProbes(behind, probe_backlogs).read)
        assert not any(isinstance(part, Unreachable) for part in parts.values())
        assert (database.accepted, rabbitmq.accepted) == (1, 1)


@pytest.mark.parametrize(("part", "least"), [("up", MIN_POOL_SIZE), ("api", OF_GATEWAY)])
async def test_too_few_connections_are_refused(tmp_path: Path, part: str, least: int) -> None:
    nobody = f"http://127.0.0.1:{free_port()}"
    settings = Settings(
        data_dir=tmp_path / "data",
        database_url="postgresql://u:p@127.0.0.1/d",
        database_pool_size=least - 1,
        redis_url="redis://127.0.0.1:1/0",
        r2z2_url=nobody,
        esi_url=nobody,
    )
    log = tmp_path / "part.log"
    async with killstream(part, settings=settings, log=log) as refused:
        assert await refused.ended() == 2
    assert f"KILLSTREAM_DATABASE_POOL_SIZE must be {least} at least" in log.read_text()
