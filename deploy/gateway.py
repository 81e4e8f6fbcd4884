"""Serve the gateway with uvicorn in a running event loop."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import structlog
import uvicorn
from fastapi import FastAPI

from actors.shared.database import check_schema, open_database
from actors.shared.errors import ServerUnavailable
from actors.shared.redis_check import check_redis
from actors.shared.settings import Settings
from actors.shared.startup import ends_before
from actors.shared.supervisor import READY, notify
from api.app import create_app
from api.connections import raise_open_files
from api.database import check_pool_size
from api.state import end_streams
from deploy.http_protocol import server_config
from deploy.ports import listen

log: Final = structlog.get_logger()

CONNECTIONS_CLOSE_S: Final = 3
"""How long the clients' connections may take to close."""
SERVERS_CLOSE_S: Final = 5
"""How long the connections to database and Redis may take to close afterwards."""


class _Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process that runs it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Install no signal handlers."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, and log the address.

        Raises:
            KillstreamError: what the application needs can't be opened.
        """
        try:
            await super().startup(sockets)
        except SystemExit:
            assert isinstance(self.config.app, FastAPI)
            raise getattr(self.config.app.state, "failure", None) or ServerUnavailable(
                "the gateway couldn't start; the log says why"
            ) from None
        if self.should_exit or not sockets:
            return
        host, port, *_ = sockets[0].getsockname()
        host = f"[{host}]" if ":" in host else host
        log.info("ready", part="api", address=f"http://{host}:{port}/graphql")
        notify(READY)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams of the doors, then close the connections."""
        assert isinstance(self.config.app, FastAPI)
        end_streams(self.config.app)
        await super().shutdown(sockets)


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; then wait up to `CONNECTIONS_CLOSE_S` for open connections.

    Raises:
        Misconfigured: the address is in use, a server refuses the connection, or there are too few
            connections to PostgreSQL.
        SchemaMismatch: the tables are missing, older or newer.
        ServerUnavailable: a server wasn't available in time.
    """
    check_pool_size(settings)
    raise_open_files()
    listen(settings).close()  # reports a wrong address before it waits for servers
    if not await ends_before(stop, _check_servers(settings)):
        return
    server = _Server(
        server_config(
            create_app(settings),
            settings,
            timeout_graceful_shutdown=CONNECTIONS_CLOSE_S,
        )
    )
    with listen(settings) as listener:
        serving = asyncio.create_task(server.serve(sockets=[listener]))
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
