"""GraphQL over HTTP: queries by GET and POST, mutations by POST, GraphiQL for browsers.

Source: https://graphql.github.io/graphql-over-http/draft/ (read 2026-11-27).
"""

from collections.abc import Mapping
from typing import Final

import msgspec
from graphql import GraphQLError, OperationType
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.budget import WINDOW_S, Level
from api.clients import client_of
from api.context import Context, context_of
from api.database import DatabaseUnavailable
from api.documents import Documents
from api.errors import format_failure
from api.execution import (
    Answer,
    InvalidDocument,
    Limited,
    Prepared,
    Request,
    execute,
    prepare,
    refusal,
)
from api.explorer import page
from api.login.viewer import InvalidBearer
from api.media_types import GRAPHQL_JSON, HTML, JSON, preferred
from api.request import BadRequest, parameters_of

_UNAUTHENTICATED: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
_NOT_STORED: Final = {"Cache-Control": "private, no-store", "Vary": "Accept"}
_SUBSCRIPTION: Final = "subscriptions run over the websocket, not by GET or POST"


class GraphQLEndpoint:
    """ASGI application that answers requests; nothing that came with a wrong token is executed."""

    def __init__(self, documents: Documents) -> None:
        self._documents = documents

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = HttpRequest(scope, receive)
        media_type = preferred(request.headers.get("accept"), (JSON, GRAPHQL_JSON))
        try:
            response = await self._respond(request, media_type)
        except BadRequest as error:
            response = _response(error.status, media_type, _errors(str(error)), error.headers)
        except InvalidBearer as error:
            response = _response(401, media_type, _failure(error), _UNAUTHENTICATED)
        except DatabaseUnavailable as error:  # a session can't be read
            response = _response(503, media_type, _failure(error))
        except Limited as error:
            wait = {"Retry-After": str(error.level.retry_after_s)}
            response = _response(429, media_type, _failure(error), wait | _rate_limit(error.level))
        await response(scope, receive, send)

    async def _respond(self, request: HttpRequest, media_type: str) -> Response:
        is_get = request.method in ("GET", "HEAD")
        if not is_get and request.method != "POST":
            raise BadRequest("the method must be GET or POST", 405, {"Allow": "GET, HEAD, POST"})
        if is_get and _is_for_browser(request):
            return await page(request)
        parameters = await parameters_of(request)
        context = await context_of(request, None)
        await context.state.capacity.turns.enter()
        answer = await self._run(parameters, context, is_get=is_get)
        is_refused = "data" not in answer.payload and media_type == GRAPHQL_JSON
        level = context.state.capacity.budget.level(client_of(context.viewer))
        return _response(400 if is_refused else 200, media_type, answer.body, _rate_limit(level))

    async def _run(self, request: Request, context: Context, *, is_get: bool) -> Answer:
        schema = self._documents.schema
        try:
            prepared = prepare(schema, self._documents, request, context)
            _check_kind(prepared, is_get=is_get)
        except InvalidDocument as error:
            return refusal(error.errors)
        except Limited:
            raise
        except GraphQLError as error:
            return refusal([error])
        return await execute(schema, prepared, context)


def _is_for_browser(request: HttpRequest) -> bool:
    """Tell whether a GET asks for the page and not for data."""
    offered = (JSON, GRAPHQL_JSON, HTML) if "query" in request.query_params else (HTML,)
    return preferred(request.headers.get("accept"), offered) == HTML


def _check_kind(prepared: Prepared, *, is_get: bool) -> None:
    kind = prepared.operation.operation
    if kind == OperationType.SUBSCRIPTION:
        raise GraphQLError(_SUBSCRIPTION)
    if kind == OperationType.MUTATION and is_get:  # a link must not change its reader's data
        raise BadRequest("mutations run by POST only", 405, {"Allow": "POST"})


def _response(
    status: int, media_type: str, body: bytes, headers: Mapping[str, str] | None = None
) -> Response:
    content_type = f"{media_type}; charset=utf-8"
    return Response(body, status, {**_NOT_STORED, **(headers or {}), "Content-Type": content_type})


def _rate_limit(level: Level) -> dict[str, str]:
    """Write the budget in the headers of the IETF's draft.

    Source: draft-ietf-httpapi-ratelimit-headers-10 (read 2026-11-27).
    """
    return {
        "RateLimit-Policy": f'"cost";q={level.limit};w={WINDOW_S}',
        "RateLimit": f'"cost";r={level.remaining};t={level.full_in_s}',
    }


def _failure(error: Exception) -> bytes:
    return msgspec.json.encode({"errors": [format_failure(error)]})


def _errors(message: str) -> bytes:
    return msgspec.json.encode(
        {"errors": [{"message": message, "extensions": {"code": "BAD_REQUEST"}}]}
    )
