"""The gateway: GraphQL, REST, health and metrics in one ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route, WebSocketRoute
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from actors.shared.errors import KillstreamError, NotFound
from actors.shared.settings import Settings, listed
from api.body_limit import BodyLimit
from api.closed import ClosedParts
from api.database import DatabaseUnavailable
from api.doors.routes import ROUTER as DOORS_ROUTER
from api.errors import INTERNAL_MESSAGE, UNAVAILABLE_MESSAGE
from api.explorer import ROUTER as EXPLORER_ROUTER
from api.graphql import DOCUMENTS
from api.http import GraphQLEndpoint
from api.login.routes import ROUTER as LOGIN_ROUTER
from api.rest import ROUTER
from api.rest_queries import ROUTER as QUERIES_ROUTER
from api.socket.server import graphql_socket, open_sockets
from api.state import open_state
from api.transfer import Gzip

EXPOSED_HEADERS: Final = (
    "ETag",
    "Killstream-Complete",
    "RateLimit",
    "RateLimit-Policy",
    "Retry-After",
    "WWW-Authenticate",
)
"""Headers of answers that pages of other origins may read, beside those that they always may."""
PREFLIGHT_S: Final = 86_400
"""How long a browser may remember what pages of other origins may send."""

_log = structlog.get_logger()


def create_app(settings: Settings) -> FastAPI:
    """Create the application, whose lifespan opens database, channel and tail.

    The lifespan raises `ServerUnavailable` or `Misconfigured` when the database can't be read.
    Redis may be unavailable at start.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        try:
            async with open_state(settings) as state:
                app.state.gateway = state
                async with open_sockets(state, DOCUMENTS) as app.state.sockets:
                    yield
        except KillstreamError as error:
            app.state.failure = error  # the server only says that the start failed
            raise

    # No pages with scripts from elsewhere: here they could use a visitor's session. No redirects of
    # addresses with a slash too many: they would name the scheme that a proxy has hidden.
    app = FastAPI(
        title="Killstream",
        lifespan=lifespan,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.add_middleware(Gzip)
    app.add_middleware(BodyLimit, receive_s=settings.api_request_s)
    app.add_middleware(ClosedParts, settings=settings)
    # Any page may ask, but no browser lets a foreign one use its visitor's cookies.
    app.add_middleware(
        CORSMiddleware,
        allow_origins=listed(settings.api_origins),
        allow_methods=["GET", "HEAD", "POST"],
        allow_headers=["*"],
        expose_headers=EXPOSED_HEADERS,
        max_age=PREFLIGHT_S,
    )
    if proxies := listed(settings.api_proxies):
        app.add_middleware(ProxyHeadersMiddleware, trusted_hosts=proxies)
    app.include_router(ROUTER)
    app.include_router(LOGIN_ROUTER)
    app.include_router(EXPLORER_ROUTER)
    app.include_router(DOORS_ROUTER)
    app.include_router(QUERIES_ROUTER)
    # Not mounted: a mount would answer POST /graphql with a redirect.
    app.router.routes += [
        Route("/graphql", GraphQLEndpoint(DOCUMENTS)),
        WebSocketRoute("/graphql", graphql_socket),
    ]
    for error in (NotFound, RequestValidationError, HTTPException, DatabaseUnavailable, Exception):
        app.add_exception_handler(error, _answer)
    return app


async def _answer(_request: Request, error: Exception) -> JSONResponse:
    """Format an error as `{"error": …}` with its status."""
    match error:
        case NotFound():
            return JSONResponse({"error": str(error)}, 404)
        case RequestValidationError():
            reasons = [f"{e['loc'][-1]}: {e['msg']}" for e in error.errors()]
            return JSONResponse({"error": "; ".join(reasons)}, 422)
        case HTTPException():
            return JSONResponse({"error": error.detail}, error.status_code)
        case DatabaseUnavailable():
            _log.warning("database.unavailable", error=str(error))
            return JSONResponse({"error": UNAVAILABLE_MESSAGE}, 503)
    return JSONResponse({"error": INTERNAL_MESSAGE}, 500)  # the server logs it
