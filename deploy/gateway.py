"""Serve the gateway with uvicorn, inside a running loop."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from actors.shared.database import check_schema, open_database
from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from api.app import create_app


class _Server(uvicorn.Server):
    """Signals belong to the process that hosts the gateway."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; open connections get a few seconds to end.

    Raises:
        Misconfigured: the address is taken, or the database has no tables.
    """
    async with open_database(settings, "api") as database:
        await check_schema(database)
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            ws_max_size=1024 * 1024,
            ws_per_message_deflate=False,  # browsers would get it; it costs more than it saves
        )
    )
    with _listen(settings) as listening:
        serving = asyncio.create_task(server.serve(sockets=[listening]))
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        server.should_exit = True
        await serving


def _listen(settings: Settings) -> socket.socket:
    address = (settings.api_host, settings.api_port)
    family = socket.AF_INET6 if ":" in settings.api_host else socket.AF_INET
    try:
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        raise Misconfigured(
            f"can't listen on {address[0]} port {address[1]} ({error.strerror}):"
            " set KILLSTREAM_API_HOST or KILLSTREAM_API_PORT"
        ) from None
