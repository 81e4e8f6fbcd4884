"""Serve the gateway with uvicorn, inside a running loop."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

import uvicorn

from actors.shared.settings import Settings
from api.app import create_app


class _Server(uvicorn.Server):
    """Signals belong to the process that hosts the gateway."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals alone."""
        yield


async def run_gateway(settings: Settings, stop: asyncio.Event) -> None:
    """Serve until `stop` is set; open connections get a few seconds to end."""
    server = _Server(
        uvicorn.Config(
            create_app(settings),
            host=settings.api_host,
            port=settings.api_port,
            log_config=None,
            access_log=False,
            timeout_graceful_shutdown=3,
            ws_max_size=1024 * 1024,
            ws_per_message_deflate=False,  # browsers would get it; it costs more than it saves
        )
    )
    serving = asyncio.create_task(server.serve())
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    server.should_exit = True
    await serving
