"""GraphiQL from files of our own, and the policy under which a browser shows it.

The policy is strict, as the page may use a visitor's session: whatever runs comes from here, and
talks to this gateway only. GraphiQL's editor writes styles into the page.
"""

from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Final

from fastapi import APIRouter, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response

from api.clients import CLOSED, is_closed
from api.context import context_of

FOLDER: Final = Path(__file__).parent / "graphiql"
ASSETS: Final = FOLDER / "assets"
"""Made from npm's package by `just graphiql`."""
OWN: Final = ("start.js", "open.js")
TYPES: Final = {".js": "text/javascript", ".css": "text/css", ".html": "text/html"}
POLICY: Final = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "worker-src 'self'",
        "style-src 'self' 'unsafe-inline'",
        "font-src 'self' data:",
        "img-src 'self' data:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",
    "Vary": "Accept-Encoding",
}

ROUTER: Final = APIRouter(include_in_schema=False)


async def page(request: Request) -> Response:
    """Answer with GraphiQL's page, or with one that says how to install it.

    Raises:
        HTTPException: 403, it is closed to the client.
        InvalidBearer: the request's bearer token is invalid.
        DatabaseUnavailable: the session can't be read.
    """
    await _check_open(request)
    name = "page.html" if (ASSETS / "graphiql.js").exists() else "missing.html"
    return _answer(request, FOLDER / name)


@ROUTER.get("/graphiql/{name}")
async def asset(name: str, request: Request) -> Response:
    """Answer with one of the page's files."""
    folder = FOLDER if name in OWN else ASSETS
    if name not in OWN and name not in _assets():
        raise HTTPException(404, "there is no such file")
    return _answer(request, folder / name)


async def _check_open(request: Request) -> None:
    context = await context_of(request, None)
    viewer, settings = context.viewer, context.state.settings
    if viewer.session is None and is_closed("graphiql", settings, viewer.address):
        raise HTTPException(403, f"GraphiQL: {CLOSED}")


@cache
def _assets() -> frozenset[str]:
    return frozenset(path.name for path in ASSETS.glob("*") if path.suffix in TYPES)


def _answer(request: Request, path: Path) -> Response:
    """Answer with a file, compressed if it is and the client takes it."""
    media_type, headers = TYPES[path.suffix], dict(HEADERS)
    compressed = path.with_name(f"{path.name}.gz")
    if "gzip" in request.headers.get("accept-encoding", "") and compressed.exists():
        path, headers["Content-Encoding"] = compressed, "gzip"
    headers["ETag"] = f'"{_hash(path)}"'
    if headers["ETag"] in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(path.read_bytes(), media_type=media_type, headers=headers)


@cache
def _hash(path: Path) -> str:
    return blake2b(path.read_bytes(), digest_size=12).hexdigest()
