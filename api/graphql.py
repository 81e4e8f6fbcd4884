"""The GraphQL endpoint: the schema with its resolvers, as an ASGI application."""

import logging
from pathlib import Path
from typing import Any, Final

from ariadne import load_schema_from_path, make_executable_schema
from ariadne.asgi import GraphQL
from ariadne.asgi.handlers import GraphQLHTTPHandler
from ariadne.explorer import ExplorerGraphiQL

from api.errors import format_error
from api.killmail import FEED_ENTRY, KILLMAIL, ZKB, EsiFields
from api.limits import OperationLimits, parse_limited
from api.queries import QUERY
from api.scalars import DATE_TIME, LONG
from api.subscriptions import SUBSCRIPTION
from api.websocket import WebsocketHandler

SCHEMA: Final = make_executable_schema(
    load_schema_from_path(str(Path(__file__).parent / "schema")),
    *(QUERY, SUBSCRIPTION, KILLMAIL, ZKB, FEED_ENTRY, LONG, DATE_TIME, EsiFields()),
)

_DISABLED: Final = logging.getLogger("killstream.ariadne")
"""Ariadne's log of errors: it repeats what `format_error` logs and adds clients' mistakes."""
_DISABLED.disabled = True

FIRST_QUERY: Final = """\
# Each new killmail, as soon as it is stored.
subscription OnNewKillmail {
  killmailAdded {
    killmailId
    killmailTime
    victim { characterName shipTypeName }
  }
}
"""


def graphql_app() -> GraphQL:
    """Create the ASGI application: POST, GET (GraphiQL in a browser) and websocket."""
    return GraphQL(
        SCHEMA,
        context_value=_state_of,
        query_parser=parse_limited,
        validation_rules=[OperationLimits],
        error_formatter=format_error,
        explorer=ExplorerGraphiQL(title="Killstream", default_query=FIRST_QUERY),
        http_handler=GraphQLHTTPHandler(),
        websocket_handler=WebsocketHandler(),
        logger=_DISABLED,
    )


def _state_of(request: Any, _data: Any) -> Any:
    return request.app.state.gateway
