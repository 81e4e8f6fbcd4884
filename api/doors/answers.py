"""Routes of doors, and their refusals as JSON."""

from collections.abc import Awaitable, Callable
from functools import wraps
from hashlib import blake2b
from typing import Any, Final

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse
from graphql import GraphQLError

from api.doors.rates import TooOften
from api.doors.slots import TooMany

Endpoint = Callable[[Request], Awaitable[Response]]
_RESPONSES: Final[dict[int | str, dict[str, Any]]] = {
    400: {"description": "A parameter is wrong; `error` says which."},
    404: {"description": "There is no such thing."},
    429: {"description": "Too many requests, or too many open."},
    503: {"description": "A server that this needs is unavailable; try again later."},
}
_TEMPORARY: Final = ("UNIVERSE_UNKNOWN",)
RETRY_S: Final = 10
"""When a client that has too many open may try again."""


def door(
    router: APIRouter, path: str, *parameters: dict[str, Any], **options: Any
) -> Callable[[Endpoint], Endpoint]:
    """Serve GET and HEAD at a path; what the client did wrong is answered as 400 or 429.

    Args:
        router: gets the routes.
        path: where it is.
        parameters: for OpenAPI's document; see `parameter`.
        options: FastAPI's of the route.
    """

    def register(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def answer(request: Request) -> Response:
            try:
                return await endpoint(request)
            except GraphQLError as error:
                return _refusal(error)
            except TooMany as error:
                return too_many(error)
            except TooOften as error:
                return JSONResponse({"error": str(error)}, 429, {"Retry-After": "1"})

        router.add_api_route(
            path,
            answer,
            methods=["GET"],
            response_class=Response,
            responses=_RESPONSES,
            openapi_extra={"parameters": list(parameters)},
            **options,
        )
        router.add_api_route(path, answer, methods=["HEAD"], include_in_schema=False)
        return answer

    return register


def parameter(
    name: str, description: str, *, where: str = "query", of: str = "integer", **schema: Any
) -> dict[str, Any]:
    """Describe a parameter for OpenAPI's document."""
    required = where == "path"
    said = {"name": name, "in": where, "required": required, "description": description}
    return said | {"schema": {"type": of, **schema}}


def _refusal(error: GraphQLError) -> Response:
    """Answer with the error of an argument, with the facts and code that GraphQL has for it."""
    facts = error.extensions or {}
    status = 503 if facts.get("code") in _TEMPORARY else 400
    return JSONResponse({"error": error.message, **facts}, status)


def too_many(error: TooMany) -> Response:
    """Answer that the client has too many requests open."""
    return JSONResponse({"error": str(error)}, 429, {"Retry-After": str(RETRY_S)})


def cached(request: Request, content: bytes, age_s: int) -> Response:
    """Answer with JSON, or with 304 when the client has it; caches may keep it so long."""
    etag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": f"public, max-age={age_s}" if age_s else "no-cache"}
    if etag in request.headers.get("If-None-Match", ""):
        return Response(status_code=304, headers=headers)
    return Response(content, headers=headers, media_type="application/json")
