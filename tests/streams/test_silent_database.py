"""A connection to PostgreSQL that goes silent costs the poller seconds and no killmail."""

import asyncio

import pytest

from actors.shared.database import open_database
from actors.shared.postgres import Limits
from actors.shared.settings import Settings
from deploy.migrate import migrate
from streams.poll import poll
from tests.streams.rig import QUICK, Log, dataset_ids, ledger_positions, standin, stopped_when
from tests.support.proxy import open_proxy
from tests.support.servers import fresh_database

pytestmark = pytest.mark.service
LIMITS = Limits(connect_s=1, command_s=1)


@pytest.mark.parametrize("at", [1, 30])
async def test_polling_goes_on_over_new_connections(at: int) -> None:
    async with (
        fresh_database() as url,
        open_proxy(url) as proxy,
        standin({"r2z2_latency_ms": 30}) as served,
    ):
        await migrate(Settings(database_url=url))
        settings = Settings(
            source="r2z2",
            r2z2_url=served.url,
            r2z2_requests_per_s=5000,
            database_url=proxy.url(url),
        )
        wanted = dataset_ids(served.dataset)
        async with (
            open_database(Settings(database_url=url)) as direct,
            open_database(settings, limits=LIMITS) as database,
        ):
            log = Log(direct)
            stranded = False

            async def strand_once() -> None:
                nonlocal stranded
                if not stranded and len(log.durable) >= at:
                    stranded = True
                    proxy.strand_connections()

            log.before = strand_once
            async with (
                stopped_when(lambda: log.durable >= wanted, log, acked=True) as stop,
                asyncio.timeout(20),
            ):
                await poll(settings, database, log.send, log.refuse, stop, options=QUICK)
            assert stranded
            assert await ledger_positions(direct) == []
