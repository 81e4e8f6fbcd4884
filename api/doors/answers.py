"""Routes of doors, and their refusals as JSON."""

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from graphql import GraphQLError

from api.doors.slots import TooMany

Endpoint = Callable[[Request], Awaitable[Response]]
RETRY_S: Final = 10
"""When a client that has too many open may try again."""


def door(router: APIRouter, path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
    """Serve GET and HEAD at a path; what the client did wrong is answered as 400 or 429."""

    def register(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except GraphQLError as error:
                return _refusal(error)
            except TooMany as error:
                return too_many(error)

        router.add_api_route(path, answer, methods=["GET"], response_class=Response, **options)
        router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
        return answer

    return register


def _refusal(error: GraphQLError) -> Response:
    """Answer with the error of an argument, with the facts and code that GraphQL has for it."""
    return JSONResponse({"error": error.message, **(error.extensions or {})}, 400)


def too_many(error: TooMany) -> Response:
    """Answer that the client has too many requests open."""
    return JSONResponse({"error": str(error)}, 429, {"Retry-After": str(RETRY_S)})
