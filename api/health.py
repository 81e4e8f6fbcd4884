"""Whether what the gateway stands on is there."""

import asyncio
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import select

from actors.shared.tables import FEED
from api.state import State


async def health_of(state: State) -> dict[str, dict[str, Any]]:
    """Ask every part; each answers within some seconds."""
    feed, connectivity = await asyncio.gather(_feed(state), state.events.connectivity())
    return {
        "database": {"up": feed is not None},
        "events": {
            "up": connectivity.publish and connectivity.subscribe,
            "publish": connectivity.publish,
            "subscribe": connectivity.subscribe,
        },
        "feed": {"up": state.tail.alive, "sentUpTo": state.tail.last, **(feed or {})},
    }


async def _feed(state: State) -> dict[str, Any] | None:
    newest = select(FEED.c.sequence, FEED.c.stored_at).order_by(FEED.c.sequence.desc()).limit(1)
    try:
        async with asyncio.timeout(3):
            row = await state.database.fetch_one(newest)
    except Exception:  # whatever it is, health says it
        return None
    if row is None:
        return {"lastSequence": 0, "ageSeconds": None}
    age_s = (datetime.now(UTC) - row["stored_at"]).total_seconds()
    return {"lastSequence": row["sequence"], "ageSeconds": round(age_s, 1)}
