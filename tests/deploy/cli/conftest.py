import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from itertools import islice
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.client import connect

from actors.killmails.persist import read, store
from actors.shared.database import open_database
from actors.shared.reference import Reference, encode_reference
from actors.shared.settings import Settings
from deploy.gateway import run_gateway
from deploy.migrate import migrate
from deploy.ports import free_port
from deploy.standin.server import StandinOptions, load_dataset

Store = Callable[[int], Awaitable[None]]
Gateway = Callable[[], AbstractAsyncContextManager[None]]


@pytest.fixture
async def embedded(tmp_path: Path) -> Settings:
    """Settings of an embedded Killstream with an empty database."""
    settings = Settings(data_dir=tmp_path, api_port=free_port(), names_deadline_ms=0)
    await migrate(settings)
    return settings


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
