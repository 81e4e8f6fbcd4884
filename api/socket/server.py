"""Serve websockets: authenticate their clients and run their operations."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import aclosing, asynccontextmanager, suppress
from typing import Any, Final, NoReturn, TypeVar

import msgspec
import structlog
from graphql import (
    ExecutionResult,
    Executor,
    OperationType,
)
from graphql.execution import create_source_event_stream
from starlette.websockets import WebSocket

from actors.shared.background import in_background
from actors.shared.metrics import DELIVERIES, SUBSCRIBERS_CLOSED
from api.context import Context
from api.database import DatabaseUnavailable
from api.documents import Documents
from api.errors import INTERNAL_MESSAGE, UNAVAILABLE_MESSAGE, format_error, format_failure
from api.execution import InvalidDocument, Prepared, Request, execute, prepare
from api.live.events import CursorTooOld
from api.live.frames import message
from api.live.render import Renderer
from api.live.selection import Feed
from api.live.stream import Stream
from api.login.viewer import (
    Credential,
    InvalidBearer,
    Viewer,
    bearer_token_of_payload,
    identify,
    recorded_refusals,
)
from api.login.watch import wait_for_end
from api.request import BadRequest, request_of
from api.socket.codes import BAD_MESSAGE, FORBIDDEN, NOT_ACCEPTABLE, TOO_SLOW, TRY_AGAIN_LATER
from api.socket.connection import Connection, Operation
from api.socket.handover import take
from api.socket.handshake import Handshake
from api.state import State
from api.tail import TooSlow

PROTOCOL: Final = "graphql-transport-ws"
CANCEL_S: Final = 2.0
"""Time limit for mutations that are running when the gateway stops, and again for rollbacks."""

_log: Final = structlog.get_logger()
T = TypeVar("T")


@asynccontextmanager
async def open_sockets(state: State, documents: Documents) -> AsyncIterator["Sockets"]:
    """Serve websockets until the block ends."""
    sockets = Sockets(state, documents)
    async with in_background(sockets.inspect(), "websockets: times"):
        yield sockets
    await sockets.stop()


async def graphql_socket(websocket: WebSocket) -> None:
    """Accept a websocket, and hand its connection over."""
    if PROTOCOL not in websocket.scope["subprotocols"]:
        await websocket.accept()
        await websocket.close(NOT_ACCEPTABLE, f"the subprotocol must be {PROTOCOL}")
        return
    sockets: Sockets = websocket.app.state.sockets
    connection = Connection(sockets, Handshake(websocket))
    await websocket.accept(PROTOCOL)
    with suppress(ConnectionError):  # the client has gone
        take(websocket, connection)


class Sockets:
    """The websockets of a process."""

    def __init__(self, state: State, documents: Documents) -> None:
        self._state = state
        self._documents = documents
        self.connections: dict[Connection, None] = {}
        self._loop = asyncio.get_running_loop()
        self._tasks: set[asyncio.Task[Any]] = set()
        """Operations that are running, and mutations whose client has gone."""

    def now_s(self) -> float:
        """Return the loop's time."""
        return self._loop.time()

    async def inspect(self) -> NoReturn:
        """Check the times of all connections, until cancelled."""
        while True:
            await asyncio.sleep(1)
            for connection in tuple(self.connections):
                connection.inspect()

    async def stop(self) -> None:
        """Wait for what is running, at most `CANCEL_S`, then cancel it."""
        if self._tasks:
            _, running = await asyncio.wait(tuple(self._tasks), timeout=CANCEL_S)
            for task in running:
                task.cancel()
            if running:
                await asyncio.wait(running, timeout=CANCEL_S)

    def _start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    # Authentication.

    def initialise(self, connection: Connection, handshake: Handshake, payload: Any) -> None:
        """Authenticate a client; at once, when it has no credential."""
        if handshake.credential is None and handshake.refusal is None and not payload:
            connection.acknowledge(Viewer(handshake.address), None)
        else:
            connection.run(self._authenticate(connection, handshake, payload))

    async def _authenticate(
        self, connection: Connection, handshake: Handshake, payload: Any
    ) -> None:
        try:
            with recorded_refusals(handshake.address):
                token = bearer_token_of_payload(payload)
                if token is None and handshake.refusal is not None:
                    raise handshake.refusal
                credential = handshake.credential if token is None else Credential(token, True)
                viewer = await identify(self._state, handshake.address, credential)
        except InvalidBearer as error:
            return connection.close(FORBIDDEN, error.message)
        except DatabaseUnavailable:
            return connection.close(TRY_AGAIN_LATER, UNAVAILABLE_MESSAGE)
        except Exception:  # unexpected; the client may try again
            _log.exception("websocket.client_unidentified")
            return connection.close(TRY_AGAIN_LATER, INTERNAL_MESSAGE)
        if viewer.session is None or credential is None:
            # With an invalid cookie the connection is anonymous.
            return connection.acknowledge(viewer, None)
        connection.acknowledge(viewer, credential)
        return await self._close_with_session(connection, credential.token)

    async def _close_with_session(self, connection: Connection, token: str) -> None:
        """Close the connection when its session has ended, or can't be known to go on."""
        code, reason = FORBIDDEN, "your session has ended: log in again"
        try:
            await wait_for_end(self._state.database, token)
        except DatabaseUnavailable:
            code, reason = TRY_AGAIN_LATER, UNAVAILABLE_MESSAGE
        except Exception:  # whatever fails, nobody would see the end of the session
            _log.exception("websocket.session_unwatched")
            code, reason = TRY_AGAIN_LATER, INTERNAL_MESSAGE
        connection.close(code, reason)

    # Operations.

    def subscribe(self, connection: Connection, operation_id: str, payload: Any) -> None:
        """Start an operation; a payload that can't be one's closes the connection."""
        try:
            request = request_of(payload)
        except BadRequest as error:
            return connection.close(BAD_MESSAGE, f"bad message: {error}")
        live_from = self._state.tail.last
        assert connection.operations is not None
        connection.operations[operation_id] = self._start(
            self._run(connection, operation_id, request, live_from)
        )
        return None

    def end(self, operation: Operation) -> None:
        """End an operation: nothing is sent for it any more."""
        if isinstance(operation, Stream):
            self._state.engine.close(operation)
        else:
            operation.cancel()

    def fell_behind(self, stream: Stream) -> None:
        """Have a stream read the feed."""
        self._state.engine.fell_behind(stream)

    def fail(self, connection: Connection, stream: Stream, error: Exception) -> None:
        """End a stream with an error; a client that is too far behind is disconnected."""
        if isinstance(error, TooSlow):
            SUBSCRIBERS_CLOSED.labels(reason="behind").inc()
            connection.close(TOO_SLOW, str(error))
        elif connection.operations and connection.operations.get(stream.operation_id) is stream:
            self._state.engine.close(stream)
            _finish(connection, stream.operation_id, "error", [format_failure(error)])

    async def _run(
        self, connection: Connection, operation_id: str, request: Request, live_from: int
    ) -> None:
        """Run an operation to its last message, or until its stream is open."""
        try:
            last = await self._execute(connection, operation_id, request, live_from)
        except InvalidDocument as error:
            last = "error", [format_error(one) for one in error.errors]
        except Exception as error:  # ends this operation only
            last = "error", [format_failure(error)]
        if last is not None:
            await connection.drained()
            _finish(connection, operation_id, *last)

    async def _execute(
        self, connection: Connection, operation_id: str, request: Request, live_from: int
    ) -> tuple[str, Any] | None:
        """Execute an operation; return type and payload of its last message."""
        context = await self._context(connection, live_from)
        prepared = prepare(self._documents.schema, self._documents, request, context)
        kind = prepared.operation.operation
        if kind == OperationType.SUBSCRIPTION:
            return await self._subscribe(connection, operation_id, prepared, context)
        executing = execute(self._documents.schema, prepared, context)
        if kind == OperationType.MUTATION:  # runs to its end, as by POST
            answer = await asyncio.shield(self._start(executing))
        else:
            answer = await executing
        if "data" not in answer.payload:
            return "error", answer.payload["errors"]
        await connection.drained()
        connection.send(message("next", operation_id, answer.body))
        return "complete", None

    async def _context(self, connection: Connection, live_from: int) -> Context:
        """Make the context of an operation; a session is read again, as it may have ended."""
        viewer = connection.viewer
        assert viewer
        if connection.credential is not None:
            viewer = await identify(self._state, viewer.address, connection.credential)
        return Context(self._state, viewer, live_from)

    async def _subscribe(
        self,
        connection: Connection,
        operation_id: str,
        prepared: Prepared,
        context: Context,
    ) -> tuple[str, Any] | None:
        executor = Executor.build(
            self._documents.schema,
            prepared.valid.document,
            context_value=context,
            raw_variable_values=dict(prepared.request.variables),
            operation_name=prepared.request.operation_name,
        )
        if isinstance(executor, list):
            return "error", [format_error(error) for error in executor]
        source: Any = create_source_event_stream(executor)
        if executor.is_awaitable(source):
            source = await source
        if isinstance(source, ExecutionResult):
            return "error", [format_error(error) for error in source.errors or []]
        if not isinstance(source, Feed):
            return await _send_all(connection, operation_id, executor, source)
        if source.first_sequence is not None:
            too_old = CursorTooOld(source.after, source.first_sequence)
            result = await Renderer(executor).render(too_old)
            connection.send(message("next", operation_id, result))
            return "complete", None
        if connection.operations is not None:
            open_ = self._state.engine.open
            connection.operations[operation_id] = open_(connection, executor, source, operation_id)
        return None


async def _send_all(
    connection: Connection, operation_id: str, executor: Executor[Any], source: Any
) -> tuple[str, Any]:
    """Send a result for each event of a source, until it ends."""
    renderer = Renderer(executor)
    async with aclosing(source):
        async for event in source:
            result = await renderer.render(event)
            await connection.drained()
            connection.send(message("next", operation_id, result))
            DELIVERIES.inc()
    return "complete", None


def _finish(connection: Connection, operation_id: str, kind: str, payload: Any) -> None:
    """Send an operation's last message; the client may reuse the id as soon as it has it."""
    if connection.operations is not None:
        connection.operations.pop(operation_id, None)
    encoded = None if payload is None else msgspec.json.encode(payload)
    connection.send(message(kind, operation_id, encoded))
