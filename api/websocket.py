"""The graphql-transport-ws protocol: Ariadne's handler, with bounded sends and clear ends.

Source: graphql-ws' PROTOCOL.md (subprotocol `graphql-transport-ws`).
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Final, NotRequired, TypedDict, cast

import msgspec
from ariadne.asgi.handlers import GraphQLTransportWSHandler
from ariadne.asgi.handlers.graphql_transport_ws import ClientContext
from ariadne.graphql import parse_query, validate_data
from ariadne.types import Operation
from graphql import DocumentNode, GraphQLError, OperationType, get_operation_ast
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from actors.shared.metrics import DELIVERIES, SUBSCRIBERS_CLOSED
from api.errors import format_error, format_failure
from api.operation import subscribe
from api.tail import TooSlow

PROTOCOL: Final = "graphql-transport-ws"
INIT_S: Final = 10
"""How long a client may take to send `connection_init`."""
SEND_S: Final = 30.0
"""How long one message may take to leave; a client that doesn't read holds it up."""
MAX_OPERATIONS: Final = 50
"""Operations that one connection may have open."""

BAD_MESSAGE: Final = 4400
UNAUTHORIZED: Final = 4401
NOT_ACCEPTABLE: Final = 4406
NOT_INITIALISED: Final = 4408
EXISTS: Final = 4409
TOO_SLOW: Final = 4413
TOO_MANY: Final = 4429

_GONE: Final = (WebSocketDisconnect, WebSocketDisconnected)


class Blocked(Exception):
    """A client doesn't read what it is sent."""


class Message(TypedDict):
    """What a client sends."""

    type: str
    id: NotRequired[str]
    payload: NotRequired[Any]


class Client(ClientContext):
    """One connection; `patience` runs out when it is to be given up."""

    def __init__(self) -> None:
        super().__init__()
        self.patience = asyncio.timeout(None)


class WebsocketHandler(GraphQLTransportWSHandler):
    """Speaks with one client at a time: its messages in, the results of its operations out."""

    async def handle_websocket(self, websocket: WebSocket) -> None:
        """Speak with a client until one side closes."""
        if PROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(NOT_ACCEPTABLE, f"the subprotocol must be {PROTOCOL}")
            return
        await websocket.accept(PROTOCOL)
        client = Client()
        waiting = asyncio.create_task(self.handle_connection_init_timeout(websocket, client))
        try:
            async with client.patience:
                await self._converse(websocket, client)
        except (TimeoutError, *_GONE):
            pass
        except (msgspec.MsgspecError, RecursionError, GraphQLError) as error:
            await _close(websocket, BAD_MESSAGE, f"bad message: {error}")
        finally:
            waiting.cancel()
            for operation_id in list(client.operations):
                await self.stop_websocket_operation(websocket, operation_id, client)

    async def handle_connection_init_timeout(
        self, websocket: WebSocket, client_context: ClientContext
    ) -> None:
        """Close who doesn't begin."""
        await asyncio.sleep(INIT_S)
        if not client_context.connection_init_received:
            await _close(websocket, NOT_INITIALISED, f"no connection_init within {INIT_S} s")

    async def _converse(self, websocket: WebSocket, client: Client) -> None:
        while (frame := await websocket.receive())["type"] == "websocket.receive":
            message = msgspec.json.decode(frame.get("text") or b"", type=Message)
            await self.handle_websocket_message(websocket, dict(message), client)

    async def handle_websocket_subscribe(
        self, websocket: WebSocket, data: Any, operation_id: str, client_context: ClientContext
    ) -> None:
        """Start an operation, or say why it can't start."""
        operations = client_context.operations
        if not client_context.connection_acknowledged:
            return await _close(websocket, UNAUTHORIZED, "send connection_init first")
        if operation_id in operations:
            return await _close(websocket, EXISTS, f"Subscriber for {operation_id} already exists")
        if len(operations) >= MAX_OPERATIONS:
            return await _close(websocket, TOO_MANY, f"at most {MAX_OPERATIONS} operations at once")
        validate_data(data)
        try:
            results = await self._start(websocket, data)
        except Exception as error:  # it ends this operation and not the connection's others
            results = [format_failure(error)]
        if isinstance(results, list):
            await _send(websocket, "error", operation_id, msgspec.json.encode(results))
            return None
        operations[operation_id] = Operation(operation_id, data.get("operationName"), results)
        client_context.operation_tasks[operation_id] = asyncio.create_task(
            self.observe_async_results(websocket, results, operation_id, client_context)
        )
        return None

    async def _start(
        self, websocket: WebSocket, data: dict[str, Any]
    ) -> AsyncGenerator[bytes, None] | list[dict[str, Any]]:
        """Give the operation's results as JSON, or its errors."""
        context = await self.get_context_for_request(websocket, data)
        document = parse_query(context, self.query_parser, data)
        kind = _kind_of(document, data.get("operationName"))
        assert self.schema
        assert self.http_handler
        if kind == OperationType.SUBSCRIPTION:
            results = await subscribe(self.schema, document, data, context)
            return [format_error(e) for e in results] if isinstance(results, list) else results
        _success, result = await self.http_handler.execute_graphql_query(
            websocket, data, context_value=context, query_document=document
        )
        return _only(result) if "data" in result else result["errors"]

    async def observe_async_results(
        self,
        websocket: WebSocket,
        results_producer: AsyncGenerator[bytes, None],
        operation_id: str,
        client_context: ClientContext,
    ) -> None:
        """Send an operation's results as they come, then `complete`, or `error` when it breaks."""
        try:
            kind, last_payload = await _send_results(websocket, results_producer, operation_id)
            # The client may use the id again as soon as it has the last message.
            client_context.operations.pop(operation_id, None)
            client_context.operation_tasks.pop(operation_id, None)
            await _send(websocket, kind, operation_id, last_payload)
        except TooSlow as error:
            SUBSCRIBERS_CLOSED.labels(reason="behind").inc()
            await _close(websocket, TOO_SLOW, str(error))
        except Blocked:
            SUBSCRIBERS_CLOSED.labels(reason="blocked").inc()
            await _close(websocket, TOO_SLOW, f"too slow: nothing was read for {SEND_S:.0f} s")
            cast(Client, client_context).patience.reschedule(0)
        except _GONE:
            pass


async def _send_results(
    websocket: WebSocket, results: AsyncGenerator[bytes, None], operation_id: str
) -> tuple[str, bytes | None]:
    """Send results until they end; give the kind and the payload of the message to end with."""
    try:
        async for payload in results:
            await _send(websocket, "next", operation_id, payload)
            DELIVERIES.inc()
    except (TooSlow, Blocked, *_GONE):
        raise
    except Exception as error:
        return "error", msgspec.json.encode([format_failure(error)])
    return "complete", None


def _kind_of(document: DocumentNode, operation_name: str | None) -> OperationType:
    """Tell what kind of operation is asked for.

    Raises:
        GraphQLError: the document doesn't say, or has no operation of that name.
    """
    operation = get_operation_ast(document, operation_name)
    if operation is None:
        unknown = f"Unknown operation named {operation_name!r}."
        missing = "Must provide operationName: the document has no operation, or several."
        raise GraphQLError(missing if operation_name is None else unknown)
    return operation.operation


async def _only(result: Any) -> AsyncGenerator[bytes, None]:
    yield msgspec.json.encode(result)


async def _send(
    websocket: WebSocket, kind: str, operation_id: str, payload: bytes | None = None
) -> None:
    """Send a message.

    Raises:
        Blocked: the client doesn't read.
    """
    message = b'{"type":"%b","id":%b' % (kind.encode(), msgspec.json.encode(operation_id))
    message += b',"payload":%b}' % payload if payload is not None else b"}"
    try:
        async with asyncio.timeout(SEND_S):
            await websocket.send_text(message.decode())
    except TimeoutError:
        raise Blocked from None


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    """Close with a reason, as long as the client reads it."""
    with suppress(TimeoutError, *_GONE):
        async with asyncio.timeout(1):
            await websocket.close(code, reason.encode()[:120].decode(errors="ignore"))
