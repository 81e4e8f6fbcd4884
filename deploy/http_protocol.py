"""Uvicorn's protocol for HTTP/1.1 with limits on connections and on the time that clients take."""

import asyncio
from typing import Any, Final

import msgspec
import uvicorn
from fastapi import FastAPI
from h11 import IDLE, SEND_BODY
from uvicorn.protocols.http.h11_impl import H11Protocol

from actors.shared.settings import Settings
from api.connections import Connections
from api.socket.handover import Handover

GRACE_S: Final = 3.0
"""How much longer than the application a connection waits for a request: the answer says more."""
READ_S: Final = 30.0
"""How long a client may leave an answer unread."""
REFUSE_S: Final = 1.0
"""How long a client that is refused may take to read why."""


def protocol_class(settings: Settings) -> type[H11Protocol]:
    """Make the class that a server with these settings uses."""

    class Protocol(LimitedProtocol):
        counted = Connections(settings)
        request_s = settings.api_request_s + GRACE_S

    return Protocol


class LimitedProtocol(H11Protocol):
    """Serves a connection if there is a place for it, and not for ever."""

    counted: Connections
    request_s: float
    _request_timer: asyncio.TimerHandle | None = None
    _read_timer: asyncio.TimerHandle | None = None
    _is_refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count the connection, or refuse it."""
        super().connection_made(transport)
        address = self.client[0] if self.client else ""
        if reason := self.counted.admit(transport, address):
            self._is_refused = True
            transport.write(_refusal(reason))
            self.loop.call_later(REFUSE_S, transport.abort)
        else:
            self._expect_request()

    def data_received(self, data: bytes) -> None:
        """Serve what came, or wait for the rest of it, but not for long."""
        if self._is_refused:
            return
        super().data_received(data)
        if self.transport.get_protocol() is not self:
            self._request_ended()  # it is a websocket's now
        elif self.conn.their_state in (IDLE, SEND_BODY):
            self._expect_request()
        else:
            self._request_ended()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting."""
        super().connection_lost(exc)
        self._stop(self._request_timer, self._read_timer)

    def pause_writing(self) -> None:
        """Wait for the client to read, but not for long."""
        super().pause_writing()
        self._read_timer = self.loop.call_later(READ_S, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on; the client reads."""
        super().resume_writing()
        self._stop(self._read_timer)

    def _expect_request(self) -> None:
        if self._request_timer is None:
            self._request_timer = self.loop.call_later(self.request_s, self.transport.abort)

    def _request_ended(self) -> None:
        self.counted.heard(self.transport)
        self._stop(self._request_timer)
        self._request_timer = None

    def _stop(self, *timers: asyncio.TimerHandle | None) -> None:
        for timer in timers:
            if timer is not None:
                timer.cancel()


def server_config(app: FastAPI, settings: Settings, **options: Any) -> uvicorn.Config:
    """Configure the gateway's server; its proxies are those of our settings."""
    return uvicorn.Config(
        app,
        http=protocol_class(settings),
        ws=Handover,
        ws_per_message_deflate=False,  # compression costs more time than it saves
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        **options,
    )


def _refusal(reason: str) -> bytes:
    body = msgspec.json.encode({"error": reason})
    return (
        b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\n"
        b"Retry-After: 10\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)
    )
