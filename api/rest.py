"""The REST endpoints: ESI's body, the AsyncAPI document, health, metrics."""

from collections.abc import Callable
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar

from fastapi import APIRouter, Header, Request, Response
from fastapi import Path as InPath
from fastapi.responses import JSONResponse, RedirectResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest

from actors.shared.errors import NotFound
from actors.shared.settings import masked
from api import reads
from api.state import state_of

ROUTER: Final = APIRouter()

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

ASYNCAPI: Final = (Path(__file__).parents[1] / "streams" / "asyncapi.yaml").read_bytes()
ASYNCAPI_TYPE: Final = "application/vnd.aai.asyncapi+yaml;version=3.0.0"
"""Source: IANA's registry of media types (read 2026-11-26)."""
IfNoneMatch = Annotated[str | None, Header()]


def _read(path: str, **options: Any) -> Callable[[Endpoint], Endpoint]:
    """Serve GET and HEAD at a path."""

    def register(endpoint: Endpoint) -> Endpoint:
        ROUTER.get(path, **options)(endpoint)
        ROUTER.head(path, include_in_schema=False, **options)(endpoint)
        return endpoint

    return register


@ROUTER.get("/", include_in_schema=False)
async def root() -> RedirectResponse:
    """Redirect a browser to GraphiQL."""
    return RedirectResponse("/graphql")


@_read("/killmails/{killmail_id}", response_class=Response)
async def killmail_body(
    request: Request,
    killmail_id: Annotated[int, InPath(ge=0, le=2**63 - 1)],
    if_none_match: IfNoneMatch = None,
) -> Response:
    """Return ESI's body of a killmail, byte for byte as received."""
    body = await reads.body(state_of(request).database, killmail_id)
    if body is None:
        raise NotFound(f"killmail {killmail_id} isn't stored here")
    return _unless_known(body, "application/json", if_none_match)


@_read("/asyncapi.yaml", response_class=Response)
async def asyncapi(if_none_match: IfNoneMatch = None) -> Response:
    """Return the AsyncAPI document of the Kafka topics and the Redis channel."""
    return _unless_known(ASYNCAPI, ASYNCAPI_TYPE, if_none_match)


@_read("/health/live")
async def health_live() -> dict[str, bool]:
    """Return 200 while this process responds; a supervisor may restart it when it doesn't."""
    return {"live": True}


@_read("/health/ready")
async def health_ready(request: Request) -> JSONResponse:
    """Return whether this process is ready: 200, or 503 while its database is unavailable."""
    ready = await state_of(request).health.is_ready()
    return JSONResponse({"ready": ready}, 200 if ready else 503)


@_read("/health")
async def health(request: Request) -> JSONResponse:
    """Return the problems of all parts: 200 for "up" and "degraded", 503 while not ready."""
    ready, report = await state_of(request).health.report()
    return JSONResponse(report, 200 if ready else 503)


@_read("/health/redis")
async def health_redis(request: Request) -> dict[str, Any]:
    """Return the state of the Redis channel's connections for publish and subscribe."""
    state = state_of(request)
    url = state.settings.redis_url
    connectivity = await state.events.connectivity()
    return {
        "enabled": bool(url),
        "publishClient": bool(url) and connectivity.publish,
        "subscribeClient": bool(url) and connectivity.subscribe,
        "connected": bool(url) and connectivity.publish and connectivity.subscribe,
        "url": masked(url) if url else None,
        "timestamp": datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
    }


@_read("/metrics")
async def metrics() -> Response:
    """Return this process's metrics for Prometheus."""
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


def _unless_known(content: bytes, media_type: str, if_none_match: str | None) -> Response:
    """Answer with content, or with 304 when the client has it."""
    etag = f'"{blake2b(content, digest_size=12).hexdigest()}"'
    headers = {"ETag": etag, "Cache-Control": "public, max-age=3600"}
    if if_none_match and etag in if_none_match:
        return Response(status_code=304, headers=headers)
    return Response(content, media_type=media_type, headers=headers)
