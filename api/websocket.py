"""The graphql-transport-ws protocol: Ariadne's handler, with time limits and an end for each case.

Source: graphql-ws' PROTOCOL.md (subprotocol `graphql-transport-ws`).
"""

import asyncio
from collections.abc import AsyncGenerator, Collection, Coroutine
from contextlib import aclosing, suppress
from typing import Any, Final, NotRequired, TypedDict, TypeVar, cast

import msgspec
import structlog
from ariadne.asgi.handlers import GraphQLTransportWSHandler
from ariadne.asgi.handlers.graphql_transport_ws import ClientContext
from ariadne.graphql import parse_query, validate_data
from graphql import DocumentNode, GraphQLError, OperationType, get_operation_ast
from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketDisconnected

from actors.shared.metrics import DELIVERIES, SUBSCRIBERS_CLOSED
from api.database import DatabaseUnavailable
from api.errors import INTERNAL_MESSAGE, UNAVAILABLE_MESSAGE, format_error, format_failure
from api.login.viewer import (
    Credential,
    InvalidBearer,
    Viewer,
    address_of,
    bearer_token_of_payload,
    credential_of,
    identify,
    recorded_refusals,
)
from api.login.watch import wait_for_end
from api.operation import subscribe
from api.state import state_of
from api.tail import TooSlow

PROTOCOL: Final = "graphql-transport-ws"
INIT_S: Final = 10
"""Time within which a client must send `connection_init`."""
SEND_S: Final = 30.0
"""Time limit for sending one message; sending waits while the client doesn't read."""
CANCEL_S: Final = 5.0
"""Time limit for operations to end when their connection has."""
MAX_OPERATIONS: Final = 50
"""Open operations per connection."""

BAD_MESSAGE: Final = 4400
UNAUTHORIZED: Final = 4401
FORBIDDEN: Final = 4403
NOT_ACCEPTABLE: Final = 4406
NOT_INITIALISED: Final = 4408
ALREADY_EXISTS: Final = 4409
TOO_SLOW: Final = 4413
TOO_MANY_OPERATIONS: Final = 4429
TRY_AGAIN_LATER: Final = 1013

_DISCONNECTED: Final = (WebSocketDisconnect, WebSocketDisconnected)
log: Final = structlog.get_logger()

T = TypeVar("T")


class SendTimeout(Exception):
    """A message couldn't be sent within `SEND_S`, as the client doesn't read."""


class Message(TypedDict):
    """A message of a client."""

    type: str
    id: NotRequired[str]
    payload: NotRequired[Any]


class Client(ClientContext):
    """One connection; rescheduling `deadline` to now ends it."""

    def __init__(self) -> None:
        super().__init__()
        self.deadline = asyncio.timeout(None)
        self.watching: asyncio.Task[None] | None = None
        """Closes the connection when its session has ended."""


class WebsocketHandler(GraphQLTransportWSHandler):
    """Receives a client's messages and sends the results of its operations."""

    def __init__(self) -> None:
        super().__init__()
        self._mutations: set[asyncio.Task[Any]] = set()
        """Those that are running, so that they aren't garbage-collected."""

    async def handle_websocket(self, websocket: WebSocket) -> None:
        """Serve a client until one side closes the connection."""
        if PROTOCOL not in websocket.scope["subprotocols"]:
            await websocket.accept()
            await websocket.close(NOT_ACCEPTABLE, f"the subprotocol must be {PROTOCOL}")
            return
        await websocket.accept(PROTOCOL)
        client = Client()
        waiting = asyncio.create_task(self.handle_connection_init_timeout(websocket, client))
        try:
            async with client.deadline:
                await self._receive_messages(websocket, client)
        except (TimeoutError, *_DISCONNECTED):
            pass
        except (msgspec.MsgspecError, RecursionError, GraphQLError) as error:
            await _close(websocket, BAD_MESSAGE, f"bad message: {error}")
        finally:
            waiting.cancel()
            if client.watching is not None:
                client.watching.cancel()
            await _cancel(client.operation_tasks.values())

    async def handle_connection_init_timeout(
        self, websocket: WebSocket, client_context: ClientContext
    ) -> None:
        """Close the connection when no `connection_init` has arrived within `INIT_S`."""
        await asyncio.sleep(INIT_S)
        if not client_context.connection_init_received:
            await _close(websocket, NOT_INITIALISED, f"no connection_init within {INIT_S} s")

    async def handle_websocket_connection_init_message(
        self, websocket: WebSocket, message: dict[str, Any], client_context: ClientContext
    ) -> None:
        """Authenticate the client and acknowledge; an invalid bearer token closes the connection.

        Shape: the payload may be {"authorization": "Bearer …"}, the key in any case.
        """
        if not client_context.connection_init_received:
            try:
                viewer = await _authenticate(websocket, message.get("payload"))
            except InvalidBearer as error:
                return await _close(websocket, FORBIDDEN, error.message)
            except DatabaseUnavailable:
                return await _close(websocket, TRY_AGAIN_LATER, UNAVAILABLE_MESSAGE)
            if viewer.session is not None:
                client, token = cast(Client, client_context), websocket.state.credential.token
                client.watching = asyncio.create_task(_close_with_session(websocket, token))
        await super().handle_websocket_connection_init_message(websocket, message, client_context)
        return None

    async def _receive_messages(self, websocket: WebSocket, client: Client) -> None:
        while (frame := await websocket.receive())["type"] == "websocket.receive":
            message = msgspec.json.decode(frame.get("text") or b"", type=Message)
            await self.handle_websocket_message(websocket, dict(message), client)

    async def handle_websocket_subscribe(
        self, websocket: WebSocket, data: Any, operation_id: str, client_context: ClientContext
    ) -> None:
        """Start an operation in a task of its own, so that a slow one holds up no other message."""
        tasks = client_context.operation_tasks
        if not client_context.connection_acknowledged:
            return await _close(websocket, UNAUTHORIZED, "send connection_init first")
        if operation_id in tasks:
            return await _close(
                websocket, ALREADY_EXISTS, f"Subscriber for {operation_id} already exists"
            )
        if len(tasks) >= MAX_OPERATIONS:
            return await _close(
                websocket, TOO_MANY_OPERATIONS, f"at most {MAX_OPERATIONS} operations at once"
            )
        validate_data(data)
        tasks[operation_id] = asyncio.create_task(
            self._run(websocket, data, operation_id, cast(Client, client_context))
        )
        return None

    async def stop_websocket_operation(
        self, websocket: WebSocket, operation_id: str, client_context: ClientContext
    ) -> None:
        """Cancel an operation, if it hasn't ended; doesn't wait for its rollback."""
        task = client_context.operation_tasks.pop(operation_id, None)
        if task is not None:
            task.cancel()

    async def _to_its_end(self, mutation: Coroutine[Any, Any, T]) -> T:
        """Run a mutation to its end, as by POST, even if the operation is cancelled."""
        running = asyncio.create_task(mutation)
        self._mutations.add(running)
        running.add_done_callback(self._mutations.discard)
        return await asyncio.shield(running)

    async def _run(
        self, websocket: WebSocket, data: dict[str, Any], operation_id: str, client: Client
    ) -> None:
        """Send an operation's results as they arrive, then `complete`, or `error` if it fails."""
        try:
            kind, last_payload = await self._execute(websocket, data, operation_id)
            # The client may reuse the id as soon as it has the last message.
            client.operation_tasks.pop(operation_id, None)
            await _send(websocket, kind, operation_id, last_payload)
        except TooSlow as error:
            SUBSCRIBERS_CLOSED.labels(reason="behind").inc()
            await _close(websocket, TOO_SLOW, str(error))
        except SendTimeout:
            SUBSCRIBERS_CLOSED.labels(reason="blocked").inc()
            await _close(websocket, TOO_SLOW, f"too slow: nothing was read for {SEND_S:.0f} s")
            client.deadline.reschedule(0)
        except _DISCONNECTED:
            pass

    async def _execute(
        self, websocket: WebSocket, data: dict[str, Any], operation_id: str
    ) -> tuple[str, bytes | None]:
        """Send results until they end; return type and payload of the last message to send."""
        try:
            results = await self._start(websocket, data)
            if isinstance(results, list):
                return "error", msgspec.json.encode(results)
            async with aclosing(results):
                async for payload in results:
                    await _send(websocket, "next", operation_id, payload)
                    DELIVERIES.inc()
        except (TooSlow, SendTimeout, *_DISCONNECTED):
            raise
        except Exception as error:  # ends this operation only
            return "error", msgspec.json.encode([format_failure(error)])
        return "complete", None

    async def _start(
        self, websocket: WebSocket, data: dict[str, Any]
    ) -> AsyncGenerator[bytes, None] | list[dict[str, Any]]:
        """Return the operation's results as JSON, or its errors."""
        context = await self.get_context_for_request(websocket, data)
        document = parse_query(context, self.query_parser, data)
        kind = _operation_type(document, data.get("operationName"))
        assert self.schema
        assert self.http_handler
        if kind == OperationType.SUBSCRIPTION:
            results = await subscribe(self.schema, document, data, context)
            return [format_error(e) for e in results] if isinstance(results, list) else results
        executing = self.http_handler.execute_graphql_query(
            websocket, data, context_value=context, query_document=document
        )
        is_mutation = kind == OperationType.MUTATION
        _success, result = await (self._to_its_end(executing) if is_mutation else executing)
        return _single_result(result) if "data" in result else result["errors"]


async def _cancel(tasks: Collection[asyncio.Task[None]]) -> None:
    """Cancel a connection's operations, and wait up to `CANCEL_S` for their rollbacks."""
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks, timeout=CANCEL_S)


async def _authenticate(websocket: WebSocket, payload: Any) -> Viewer:
    """Read the connection's credential, which holds for all its operations.

    Raises:
        InvalidBearer: it is an invalid bearer token.
        DatabaseUnavailable: the session can't be read.
    """
    state, address = state_of(websocket), address_of(websocket)
    with recorded_refusals(address):
        token = bearer_token_of_payload(payload)
        credential = credential_of(state, websocket) if token is None else Credential(token, True)
        viewer = await identify(state, address, credential)
    # With an invalid cookie the connection is anonymous; a session that ends later closes it.
    websocket.state.credential = credential if viewer.session else None
    websocket.state.address = viewer.address
    return viewer


async def _close_with_session(websocket: WebSocket, token: str) -> None:
    """Close the connection when its session has ended, or can't be known to go on."""
    code, reason = FORBIDDEN, "your session has ended: log in again"
    try:
        await wait_for_end(state_of(websocket).database, token)
    except DatabaseUnavailable:
        code, reason = TRY_AGAIN_LATER, UNAVAILABLE_MESSAGE
    except Exception:  # whatever fails, nobody would see the end of the session
        log.exception("websocket.session_unwatched")
        code, reason = TRY_AGAIN_LATER, INTERNAL_MESSAGE
    await _close(websocket, code, reason)


def _operation_type(document: DocumentNode, operation_name: str | None) -> OperationType:
    """Return the type of the operation to execute.

    Raises:
        GraphQLError: the document has no operation of that name, or several and no name is given.
    """
    operation = get_operation_ast(document, operation_name)
    if operation is None:
        unknown = f"Unknown operation named {operation_name!r}."
        missing = "Must provide operationName: the document has no operation, or several."
        raise GraphQLError(missing if operation_name is None else unknown)
    return operation.operation


async def _single_result(result: Any) -> AsyncGenerator[bytes, None]:
    yield msgspec.json.encode(result)


async def _send(
    websocket: WebSocket, kind: str, operation_id: str, payload: bytes | None = None
) -> None:
    """Send a message.

    Raises:
        SendTimeout: the client didn't read within `SEND_S`.
    """
    message = b'{"type":"%b","id":%b' % (kind.encode(), msgspec.json.encode(operation_id))
    message += b',"payload":%b}' % payload if payload is not None else b"}"
    try:
        async with asyncio.timeout(SEND_S):
            await websocket.send_text(message.decode())
    except TimeoutError:
        raise SendTimeout from None


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    """Close with a code and a reason; waits 1 s at most for a client that doesn't read."""
    with suppress(TimeoutError, *_DISCONNECTED):
        async with asyncio.timeout(1):
            await websocket.close(code, reason.encode()[:120].decode(errors="ignore"))
