"""How many requests to ESI one process has in flight."""

import asyncio
from typing import Final

from actors.esi.budget import (
    BUCKETLESS,
    CHAR_DETAIL,
    CHAR_KILLMAIL,
    CORP_KILLMAIL,
    KILLMAIL,
    STATUS,
    BudgetClass,
)
from actors.esi.request import Request
from actors.shared.settings import Settings

CONCURRENCY: Final = {BUCKETLESS: 4, STATUS: 1, CHAR_KILLMAIL: 4, CORP_KILLMAIL: 4, CHAR_DETAIL: 4}
"""Requests in flight by group; few on routes with an error limit, so that few fail at once."""
LOWER_CLASS_PART: Final = 4
"""A class below `LIVE` has this part of the slots of `LIVE`."""

Slots = dict[tuple[str, BudgetClass], asyncio.Semaphore]


def open_slots(settings: Settings) -> Slots:
    """Open the slots of one process.

    Each class of requests for killmails has its own: a request that waits for its class's share of
    the budget must not take a slot from those above.
    """
    return {key: asyncio.Semaphore(count) for key, count in _counts(settings).items()}


def slot_of(slots: Slots, request: Request) -> asyncio.Semaphore:
    """Return the slots that a request takes one of."""
    class_ = request.budget_class if request.group == KILLMAIL else BudgetClass.LIVE
    return slots[request.group, class_]


def max_in_flight(settings: Settings) -> int:
    """Return how many requests to ESI a process has in flight at most."""
    return sum(_counts(settings).values())


def _counts(settings: Settings) -> dict[tuple[str, BudgetClass], int]:
    live = settings.esi_concurrency
    lower = max(1, live // LOWER_CLASS_PART)
    killmail = {
        (KILLMAIL, class_): live if class_ is BudgetClass.LIVE else lower for class_ in BudgetClass
    }
    return killmail | {(group, BudgetClass.LIVE): n for group, n in CONCURRENCY.items()}
