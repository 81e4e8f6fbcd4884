import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from sqlalchemy.ext.asyncio import AsyncEngine
from websockets.asyncio.client import connect

from actors.killmails.persist import read, store
from actors.shared.database import open_database
from actors.shared.reference import Reference, encode_reference
from actors.shared.settings import PREFIX, Settings, settings
from deploy.cli import process
from deploy.gateway import run_gateway
from deploy.migrate import migrate
from deploy.ports import free_port
from deploy.standin.server import StandinOptions, load_dataset
from tests.support.servers import fresh_database

Store = Callable[[int], Awaitable[None]]
Gateway = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
async def embedded(tmp_path: Path) -> Settings:
    """Settings of an embedded Killstream with an empty database."""
    chosen = Settings(data_dir=tmp_path, api_port=free_port(), names_deadline_ms=0)
    await migrate(chosen)
    return chosen


@pytest.fixture
async def persist(embedded: Settings) -> AsyncIterator[Store]:
    """Store so many killmails more, without telling of them."""
    made_up = iter(load_dataset(StandinOptions(synthetic=50, seed=1)).killmails)
    async with open_database(embedded) as database:

        async def persist(count: int) -> None:
            references = [
                encode_reference(
                    Reference(
                        source="r2z2:test",
                        position=played.killmail_id,
                        as_of=1.0,
                        killmail_id=played.killmail_id,
                        hash=played.killmail_hash,
                        zkb=msgspec.Raw(played.zkb),
                        body=msgspec.Raw(played.body),
                    )
                )
                for played in islice(made_up, count)
            ]
            arrivals, refused = read(references)
            assert not refused
            await store(database, arrivals)

        yield persist


@pytest.fixture
def gateway(embedded: Settings) -> Gateway:
    """Serve the gateway for the length of a block; again on the same port."""

    @asynccontextmanager
    async def serve() -> AsyncIterator[None]:
        stop = asyncio.Event()
        serving = asyncio.create_task(run_gateway(embedded, stop))
        while not serving.done():
            try:
                async with connect(f"ws://127.0.0.1:{embedded.api_port}/graphql"):
                    break
            except OSError:
                await asyncio.sleep(0.01)
        yield
        stop.set()
        await serving

    return serve


@pytest.fixture(autouse=True)
def _log_of_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that runs in this process doesn't take its log."""
    monkeypatch.setattr(process, "set_up_logs", lambda _: None)


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.service)])
async def database(
    request: pytest.FixtureRequest, embedded: Settings, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AsyncEngine]:
    """The database that a command is to find, in this process."""
    monkeypatch.setenv(f"{PREFIX}DATA_DIR", str(embedded.data_dir))
    if request.param == "sqlite":
        settings.cache_clear()
        async with open_database(embedded) as engine:
            yield engine
    else:
        async with fresh_database() as url:
            monkeypatch.setenv(f"{PREFIX}DATABASE_URL", url)
            settings.cache_clear()
            await migrate(Settings(database_url=url))
            async with open_database(Settings(database_url=url)) as engine:
                yield engine
    settings.cache_clear()
