"""All doors."""

from typing import Final

from fastapi import APIRouter

from api.doors import export, history, ndjson, r2z2, redisq, sse, zkillboard

ROUTER: Final = APIRouter()
for _door in (export, history, sse, ndjson, r2z2, redisq, zkillboard):
    ROUTER.include_router(_door.ROUTER)
