"""Resolvers of `workerStatus` and `workerStatusUpdates`. Everybody may see them: no secrets."""

import asyncio
from collections.abc import AsyncGenerator
from typing import Final

from ariadne import QueryType, SubscriptionType

from actors.shared.metrics import SUBSCRIBERS
from api.context import Info
from api.workers.state import Entry, WorkersView

UPDATE_S: Final = 3.0
"""Interval of the subscription."""

WORKER_QUERY: Final = QueryType()
WORKER_SUBSCRIPTION: Final = SubscriptionType()


@WORKER_QUERY.field("workerStatus")
async def resolve_worker_status(_: None, info: Info) -> list[Entry]:
    """Return all entries."""
    return (await info.context.state.workers.view()).entries


@WORKER_SUBSCRIPTION.source("workerStatusUpdates")
async def worker_status_updates(_: None, info: Info) -> AsyncGenerator[WorkersView, None]:
    """Yield the entries now, and each time that they have changed."""
    last: WorkersView | None = None
    with SUBSCRIBERS.track_inprogress():
        while True:
            view = await info.context.state.workers.view()
            if view.differs(last):
                yield view
                last = view
            await asyncio.sleep(UPDATE_S)


@WORKER_SUBSCRIPTION.field("workerStatusUpdates")
def resolve_update(view: WorkersView, _info: Info) -> list[Entry]:
    """Return the entries."""
    return view.entries


WORKER_TYPES: Final = (WORKER_QUERY, WORKER_SUBSCRIPTION)
