"""Serve the gateway with uvicorn, inside a running loop."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn

from actors.shared.database import check_schema, open_database
from actors.shared.redis_check import check_redis
from actors.shared.settings import Settings
from actors.shared.startup import ends_before
from api.app import create_app
from deploy.ports import listen

log: Final = structlog.get_logger()

CONNECTIONS_CLOSE_S: Final = 3
"""How long clients' connections may take to end."""
SERVERS_CLOSE_S: Final = 5
"""How long the connections to our servers may take then."""


class _Server(uvicorn.Server):
    """Signals belong to the process that hosts the gateway."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and say so."""
        await super().startup(sockets)
        if self.should_exit or not sockets:
            return
        host, port, *_ = sockets[0].getsockname()
        host = f"[{host}]" if ":" in host else host
        log.info("ready", part="api", address=f"http://{host}:{port}/graphql")


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; open connections get a few seconds to end.

    Raises:
        Misconfigured: the address is taken, or a server refuses us.
        KillstreamError: what `check_schema` raises.
    """
    listen(settings).close()  # what is wrong is said before servers are waited for
    if not await ends_before(stop, _check_servers(settings)):
        return
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=CONNECTIONS_CLOSE_S,
            ws_max_size=1024 * 1024,
            ws_per_message_deflate=False,  # browsers would get it; it costs more than it saves
        )
    )
    with listen(settings) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            server.should_exit = True
            await asyncio.wait([serving], timeout=CONNECTIONS_CLOSE_S + SERVERS_CLOSE_S)
        if serving.done():
            serving.result()
        else:
            log.error("gateway.close_abandoned", after_s=CONNECTIONS_CLOSE_S + SERVERS_CLOSE_S)
            serving.cancel()


async def _check_servers(settings: Settings) -> None:
    async with open_database(settings, "api") as database:
        await check_schema(database)
    await check_redis(settings)
