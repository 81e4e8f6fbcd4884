"""The gateway: GraphQL, REST, health and metrics in one ASGI application."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import structlog
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route, WebSocketRoute

from actors.shared.errors import KillstreamError, NotFound
from actors.shared.settings import Settings
from api.body_limit import BodyLimit
from api.database import DatabaseUnavailable
from api.doors.routes import ROUTER as DOORS_ROUTER
from api.errors import INTERNAL_MESSAGE, UNAVAILABLE_MESSAGE
from api.graphql import graphql_app
from api.login.routes import ROUTER as LOGIN_ROUTER
from api.rest import ROUTER
from api.state import open_state

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
                yield
        except KillstreamError as error:
            app.state.failure = error  # the server only says that the start failed
            raise

    # No pages with scripts from elsewhere: here they could use a visitor's session.
    app = FastAPI(title="Killstream", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.add_middleware(BodyLimit)
    # Any page may ask, but no browser lets a foreign one use its visitor's cookies.
    app.add_middleware(
        CORSMiddleware, allow_origins=["*"], allow_methods=["GET", "POST"], allow_headers=["*"]
    )
    app.include_router(ROUTER)
    app.include_router(LOGIN_ROUTER)
    app.include_router(DOORS_ROUTER)
    graphql = graphql_app()
    # Not mounted: a mount would answer POST /graphql with a redirect.
    app.router.routes += [Route("/graphql", graphql), WebSocketRoute("/graphql", graphql)]
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
