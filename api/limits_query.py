"""Query: the limits of the gateway."""

from typing import Any, Final

from ariadne import QueryType

from api.body_limit import MAX_BODY_BYTES
from api.bounds import MAX_ALIAS_CHARACTERS, MAX_SELECTIONS
from api.clients import client_of
from api.connections import connections_at_most
from api.context import Info
from api.documents import MAX_DOCUMENT_CHARACTERS
from api.limits import MAX_DEPTH
from api.socket.connection import MAX_OPERATIONS

LIMITS: Final = QueryType()


@LIMITS.field("limits")
def resolve_limits(_: None, info: Info) -> dict[str, Any]:
    """Return all limits, and the client's budget."""
    settings, capacity = info.context.state.settings, info.context.state.capacity
    level = capacity.budget.level(client_of(info.context.viewer))
    in_all, per_client = connections_at_most(settings)
    return {
        "operationCost": settings.api_operation_cost,
        "costPerMinute": level.limit,
        "costRemaining": level.remaining,
        "costFullInSeconds": level.full_in_s,
        "operationSeconds": settings.api_operation_s,
        "requestSeconds": settings.api_request_s,
        "answerBytes": settings.api_answer_bytes,
        "bodyBytes": MAX_BODY_BYTES,
        "documentCharacters": MAX_DOCUMENT_CHARACTERS,
        "documentSelections": MAX_SELECTIONS,
        "documentDepth": MAX_DEPTH,
        "aliasCharacters": MAX_ALIAS_CHARACTERS,
        "operationsPerConnection": MAX_OPERATIONS,
        "connectionsPerClient": per_client,
        "connections": in_all,
        "streamsPerClient": settings.api_streams_per_client,
        "exportsPerClient": settings.api_exports_per_client,
        "filesPerSecond": settings.api_files_per_s,
        "pollsPerSecond": settings.api_polls_per_s,
    }
