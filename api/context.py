"""The context of resolvers: the resources of the process, and the viewer."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from graphql import GraphQLResolveInfo
from starlette.requests import HTTPConnection

from api.loaders import Loaders
from api.login.viewer import Viewer, find_viewer
from api.state import State, state_of


@dataclass(frozen=True)
class Context:
    """GraphQL's context (`info.context`) of one operation."""

    state: State
    viewer: Viewer
    live_from: int | None = None
    """The sequence after which a subscription begins that doesn't say so."""

    @cached_property
    def loaders(self) -> Loaders:
        """What reads at once what many resolvers need of the database."""
        return Loaders(self.state.database)


Info = GraphQLResolveInfo[Context]
"""What a resolver gets beside its arguments."""


async def context_of(connection: HTTPConnection, _data: Any) -> Context:
    """Make the context of a request.

    Raises:
        InvalidBearer: its bearer token is invalid.
        DatabaseUnavailable: the session can't be read.
    """
    state = state_of(connection)
    return Context(state, await find_viewer(state, connection))
