"""Hand the socket of an accepted websocket over to a protocol of our own.

uvicorn does the opening handshake and runs the application, so that routes and limits are the
application's. After the handover uvicorn's object, its task and the scope are freed, which are nine
tenths of the memory of an idle connection. It is a subclass of uvicorn's class and uses its
attributes; a test fails when a new version of uvicorn has others.
"""

import asyncio
from abc import ABC, abstractmethod
from typing import Any, Final, cast

from starlette.websockets import WebSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

_EXTENSION: Final = "killstream.handover"


class Successor(asyncio.Protocol, ABC):
    """A protocol that uvicorn counts among its connections, and closes at its end."""

    __slots__ = ("connections",)
    connections: set[Any]
    """Uvicorn's; the protocol removes itself when its connection is lost."""

    @abstractmethod
    def shutdown(self) -> None:
        """End, as the server stops."""


class Handover(WebSocketsSansIOProtocol):
    """Uvicorn's websocket, whose transport the application may take."""

    def handle_connect(self, event: Any) -> None:
        """Offer the handover in the scope; the application's task starts in a later turn."""
        super().handle_connect(event)
        if hasattr(self, "scope"):
            cast(Any, self.scope)["extensions"][_EXTENSION] = self

    def give(self, successor: Successor) -> None:
        """Give the transport away; nothing may be awaited between `accept` and this.

        Raises:
            ConnectionError: the client is gone, or has sent something before it was accepted.
        """
        transport = self.transport
        if self.disconnected or self.close_sent or transport.is_closing() or self.queue.qsize():
            transport.close()
            raise ConnectionError("there is nothing to take over")
        self.stop_keepalive()
        self.connections.discard(self)
        self.connections.add(cast(Any, successor))
        successor.connections = self.connections
        transport.set_protocol(successor)
        successor.connection_made(transport)
        transport.resume_reading()
        self.transport = cast(asyncio.Transport, _GIVEN)


class _Given:
    """Stands in for the transport, which uvicorn closes when the application returns."""

    def close(self) -> None:
        pass

    def is_closing(self) -> bool:
        return True

    def pause_reading(self) -> None:
        pass

    def resume_reading(self) -> None:
        pass

    def write(self, _data: bytes) -> None:
        pass


_GIVEN: Final = _Given()


def take(websocket: WebSocket, successor: Successor) -> None:
    """Take the socket of a websocket that was just accepted; see `Handover.give`."""
    handover: Handover = websocket.scope["extensions"][_EXTENSION]
    handover.give(successor)
