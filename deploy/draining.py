"""Drain a deployment: take nothing in, and finish what is there."""

import asyncio
import time
from dataclasses import dataclass
from typing import Final

import typer
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.database import reading
from actors.shared.health.queues import MANAGEMENT, QueueReport
from actors.shared.pauses import INTAKE, WATCH_S, pause, resume
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER, UNPUBLISHED
from deploy.queue_report import read_queues

EVERY_S: Final = 1.0
READ_S: Final = 5.0
"""Time limit of reading the queues."""
PAUSE_KNOWN_S: Final = 2 * WATCH_S
"""Time after which every process knows of the pause."""


@dataclass(frozen=True)
class Left:
    """What isn't finished."""

    ledger: int
    """Received killmails that are neither stored nor refused so far."""
    unpublished: int
    messages: dict[str, int]
    """By queue, delays included and dead letters not."""
    is_polling: bool
    unknown: dict[str, str]
    refused: int
    """Killmails that ESI refused and that wait for hours: not waited for."""
    unread: int
    """Positions of the source that are to be read again: not waited for."""
    dead: int
    paused: list[str]

    @property
    def is_empty(self) -> bool:
        """Whether all is finished that can be waited for."""
        started = self.ledger or self.unpublished or any(self.messages.values())
        return not (started or self.is_polling or self.unknown)

    def line(self) -> str:
        """Describe it in one line."""
        waiting = [f"{count:,} in {name}" for name, count in self.messages.items() if count]
        parts = [
            f"ledger {self.ledger:,}",
            f"messages {', '.join(waiting) or 0}",
            f"unpublished {self.unpublished:,}",
            *(["still polling"] if self.is_polling else []),
            *(f"queue {name} is paused" for name in self.paused),
            *(f"{server} didn't answer: {reason}" for server, reason in self.unknown.items()),
        ]
        return ", ".join(parts)


async def begin_drain(database: AsyncEngine) -> None:
    """Take nothing in."""
    await pause(database, [INTAKE])


async def drained(settings: Settings, database: AsyncEngine, timeout_s: float) -> Left:
    """Print progress, and return what is left: nothing, or after the timeout."""
    began_s, printed = time.monotonic(), ""
    while True:
        left = await read_left(settings, database)
        took_s = time.monotonic() - began_s
        if (left.is_empty and took_s > PAUSE_KNOWN_S) or took_s > timeout_s:
            return left
        if left.line() != printed:
            printed = left.line()
            typer.echo(printed)
        await asyncio.sleep(EVERY_S)


async def end_drain(database: AsyncEngine) -> None:
    """Take in again."""
    await resume(database, [INTAKE])


async def read_left(settings: Settings, database: AsyncEngine) -> Left:
    """Read what isn't finished."""
    received = LEDGER.c.kind == "received"
    counts = select(
        func.count().filter(received, LEDGER.c.refusals == 0),
        func.count().filter(received, LEDGER.c.refusals > 0),
        func.count().filter(~received),
    ).select_from(LEDGER)
    report = await read_queues(settings, limit_s=READ_S)
    async with reading(database) as connection:
        ledger, refused, unread = (await connection.execute(counts)).one()
        unpublished = await connection.scalar(select(func.count()).select_from(UNPUBLISHED))
    return Left(
        ledger=ledger,
        unpublished=unpublished or 0,
        messages=_messages(report),
        is_polling=any(process.is_polling for process in report.processes),
        unknown={server: why for server, why in report.unknown.items() if server != MANAGEMENT},
        refused=refused,
        unread=unread,
        dead=sum(q.messages or 0 for q in report.queues if q.name.endswith(".XQ")),
        paused=[queue.name for queue in report.queues if queue.paused_age_s is not None],
    )


def _messages(report: QueueReport) -> dict[str, int]:
    return {q.name: q.messages or 0 for q in report.queues if not q.name.endswith(".XQ")}


def print_left(left: Left, took_s: float) -> None:
    """Print the end of a drain."""
    if left.is_empty:
        typer.echo(f"drained in {took_s:.0f} s: queues and ledger are empty")
    else:
        typer.echo(f"not drained after {took_s:.0f} s: {left.line()}")
    for count, what in (
        (left.refused, "killmails that ESI refused stay in the ledger, to be tried for hours"),
        (left.unread, "positions of the source are to be read again after the drain"),
        (left.dead, "dead letters: see `killstream dead list`"),
    ):
        if count:
            typer.echo(f"{count:,} {what}")
