"""All doors."""

from typing import Final

from fastapi import APIRouter

from api.doors import ndjson, sse

ROUTER: Final = APIRouter()
for _door in (sse, ndjson):
    ROUTER.include_router(_door.ROUTER)
