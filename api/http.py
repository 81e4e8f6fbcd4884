"""GraphQL by POST, and GraphiQL by GET: Ariadne's handler, with our statuses and headers."""

from typing import Any, Final

import msgspec
from ariadne.asgi.handlers import GraphQLHTTPHandler
from ariadne.exceptions import HttpBadRequestError
from ariadne.explorer import Explorer
from ariadne.graphql import validate_data
from ariadne.types import GraphQLResult
from graphql import DocumentNode, GraphQLError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from api.database import DatabaseUnavailable
from api.documents import Documents
from api.errors import format_error, format_failure
from api.explorer import HEADERS
from api.login.viewer import InvalidBearer

_UNAUTHENTICATED: Final = {"WWW-Authenticate": 'Bearer error="invalid_token"'}


class HttpHandler(GraphQLHTTPHandler):
    """Answers requests; nothing that came with a wrong token is executed."""

    def __init__(self, documents: Documents) -> None:
        super().__init__()
        self._documents = documents

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

    async def execute_graphql_query(
        self,
        request: Any,
        data: Any,
        *,
        context_value: Any = None,
        query_document: DocumentNode | None = None,
    ) -> GraphQLResult:
        """Execute the operation of a valid document."""
        try:
            validate_data(data)
        except GraphQLError as error:
            return False, {"errors": [format_error(error)]}
        valid = self._documents.validated(data["query"])
        if isinstance(valid, list):
            return False, {"errors": [format_error(error) for error in valid]}
        return await super().execute_graphql_query(
            request, data, context_value=context_value, query_document=valid.document
        )

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
