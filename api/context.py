"""The context of resolvers: the resources of the process, and the viewer."""

from dataclasses import dataclass
from typing import Any

from graphql import GraphQLResolveInfo
from starlette.requests import HTTPConnection

from api.login.viewer import Viewer, find_viewer, identify
from api.state import State, state_of


@dataclass(frozen=True)
class Context:
    """GraphQL's context (`info.context`) of one operation."""

    state: State
    viewer: Viewer


Info = GraphQLResolveInfo[Context]
"""What a resolver gets beside its arguments."""


async def context_of(connection: HTTPConnection, _data: Any) -> Context:
    """Make the context of one operation of a request or of an initialised websocket.

    The session of a websocket is read again for each operation, since it may have ended.

    Raises:
        InvalidBearer: the request's bearer token is invalid, or the websocket's session has ended.
        DatabaseUnavailable: the session can't be read.
    """
    state = state_of(connection)
    if connection.scope["type"] == "http":
        return Context(state, await find_viewer(state, connection))
    return Context(
        state, await identify(state, connection.state.address, connection.state.credential)
    )
