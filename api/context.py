"""What a resolver gets: what the process holds open, and who asks."""

from dataclasses import dataclass
from typing import Any

from starlette.requests import HTTPConnection

from api.login.viewer import Viewer, find_viewer, identify
from api.state import State


@dataclass(frozen=True)
class Context:
    """GraphQL's context (`info.context`) of one operation."""

    state: State
    viewer: Viewer


async def context_of(connection: HTTPConnection, _data: Any) -> Context:
    """Make the context of one operation of a request, or of a websocket that was initialised.

    A websocket's session is looked up for each operation: it may have ended meanwhile.

    Raises:
        InvalidBearer: the request's bearer token is wrong; the websocket's session has ended.
        DatabaseUnavailable: the database can't tell.
    """
    state: State = connection.app.state.gateway
    if connection.scope["type"] == "http":
        return Context(state, await find_viewer(state, connection))
    return Context(
        state, await identify(state, connection.state.client, connection.state.credential)
    )
