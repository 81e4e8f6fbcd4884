"""GraphQL by POST, and GraphiQL by GET: Ariadne's handler, with our statuses and headers."""

from typing import Any, Final

import msgspec
from ariadne.asgi.handlers import GraphQLHTTPHandler
from ariadne.exceptions import HttpBadRequestError
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

    async def extract_data_from_request(self, request: Request) -> Any:
        """Decode the body.

        Text that isn't Unicode, as half of a surrogate pair, is refused here: no answer could
        repeat it, and neither hashes nor databases take it.

        Raises:
            HttpBadRequestError: it isn't JSON, or is nested too deeply.
        """
        if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
            raise HttpBadRequestError("the Content-Type must be application/json")
        try:
            return msgspec.json.decode(await request.body())
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            raise HttpBadRequestError(f"the body isn't valid JSON: {error}") from None


def _errors(error: Exception) -> dict[str, Any]:
    return {"errors": [format_failure(error)]}
