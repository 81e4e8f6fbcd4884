"""GraphQL by POST, and GraphiQL by GET: Ariadne's handler, with our statuses and headers."""

from typing import Any, Final

from ariadne.asgi.handlers import GraphQLHTTPHandler
from ariadne.explorer import Explorer
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.database import DatabaseUnavailable
from api.errors import format_failure
from api.explorer import HEADERS
from api.login.viewer import InvalidBearer

_UNAUTHENTICATED: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class HttpHandler(GraphQLHTTPHandler):
    """Answers requests; nothing that came with a wrong token is executed."""

    async def render_explorer(self, request: Request, explorer: Explorer) -> Response:
        """Answer a GET with GraphiQL, in the limits of its policy."""
        answer = await super().render_explorer(request, explorer)
        answer.headers.update(HEADERS)
        return answer

    async def graphql_http_server(self, request: Request) -> Response:
        """Answer one POST.

        Source: GraphQL over HTTP, "application/json": a request that isn't executed may be
        answered with a 4xx status (read 2026-11-26).
        """
        try:
            return await super().graphql_http_server(request)
        except InvalidBearer as error:
            return JSONResponse(_errors(error), 401, headers=_UNAUTHENTICATED)
        except DatabaseUnavailable as error:  # a session can't be read
            return JSONResponse(_errors(error), 503)


def _errors(error: Exception) -> dict[str, Any]:
    return {"errors": [format_failure(error)]}
