"""What tests of the poller stand on: a database, an upstream, and an event log that can fail."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from aiohttp import web
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.ack import ack
from actors.shared.reference import Reference
from actors.shared.settings import Settings
from actors.shared.tables import LEDGER
from deploy.standin.dataset import Dataset
from deploy.standin.faults import Faults
from deploy.standin.server import Standin, StandinOptions, start_standin
from streams.lock import Lease
from streams.poll import Counts, PollOptions, poll
from streams.sources.step import Refused
from streams.sources.waits import Waits

QUICK = PollOptions(
    waits=Waits(
        not_yet_s=0.02,
        late_s=(0.05, 0.1, 0.2),
        retry_s=(0.02, 0.02, 0.05, 0.1, 0.2),
        reset_s=0.3,
        ban_s=0.3,
        ban_max_s=1.0,
        too_fast_s=0.1,
        outage_s=0.02,
        outage_max_s=0.1,
        request_s=20.0,
    ),
    lease=Lease(lasts_s=1.5, renewed_every_s=0.3),
    patience=timedelta(minutes=15),
    check_s=0.5,
)
TIMEOUT_S = 30


@dataclass
class Log:
    """Plays the event log and all behind it: what it takes may become durable, or be lost."""

    database: AsyncEngine
    persists: bool = True
    """Whether what is taken becomes durable, which acks its ledger entry."""
    taken: list[Reference] = field(default_factory=list)
    refused: list[Refused] = field(default_factory=list)
    durable: set[int] = field(default_factory=set)
    """Ids."""
    before: Callable[[], Awaitable[None]] | None = None
    """What happens before anything is taken."""
    polled: AsyncEngine | None = None
    """The poller's way to the database, where it is another one."""

    async def send(self, references: list[Reference]) -> None:
        if self.before:
            await self.before()
        self.taken += references
        if self.persists:
            await self._persist((r.source, r.position) for r in references)
            self.durable |= {r.killmail_id for r in references}

    async def refuse(self, refused: list[Refused]) -> None:
        self.refused += refused
        if self.persists:
            await self._persist((r.source, r.position) for r in refused)

    async def _persist(self, positions: Any) -> None:
        # Whole, whatever crashes: SQLite's lock would stay with a transaction that is cut off.
        await asyncio.shield(asyncio.ensure_future(self._ack(list(positions))))

    async def _ack(self, positions: list[tuple[str, int]]) -> None:
        async with self.database.begin() as connection:
            await ack(connection, positions)


async def poll_until(
    wanted: Callable[[], bool],
    settings: Settings,
    log: Log,
    options: PollOptions = QUICK,
    *,
    acked: bool = False,
) -> Counts:
    """Poll until what is wanted has come about, then end gracefully.

    With `acked` also until nothing that was received is left in the ledger.
    """
    async with stopped_when(wanted, log, acked=acked) as stop, asyncio.timeout(TIMEOUT_S):
        return await poll(settings, log.database, log.send, log.refuse, stop, options=options)


@asynccontextmanager
async def stopped_when(
    wanted: Callable[[], bool], log: Log, *, acked: bool
) -> AsyncIterator[asyncio.Event]:
    """Give an event that is set once what is wanted has come about."""
    stop = asyncio.Event()

    async def watch() -> None:
        while not stop.is_set():
            await asyncio.sleep(0.01)
            if wanted() and not (acked and await ledger_positions(log.database)):
                stop.set()

    watching = asyncio.create_task(watch())
    try:
        yield stop
    finally:
        stop.set()
        await watching


@asynccontextmanager
async def polling(
    settings: Settings, log: Log, options: PollOptions = QUICK
) -> AsyncIterator[Counts]:
    """Poll while the block runs, then end gracefully."""
    stop, counts = asyncio.Event(), Counts()
    task = asyncio.create_task(
        poll(
            settings,
            log.polled or log.database,
            log.send,
            log.refuse,
            stop,
            counts,
            options,
        )
    )
    try:
        yield counts
    finally:
        stop.set()
        async with asyncio.timeout(TIMEOUT_S):
            await task


async def until(wanted: Callable[[], Awaitable[bool]]) -> None:
    """Wait until something has come about."""
    async with asyncio.timeout(TIMEOUT_S):
        while not await wanted():
            await asyncio.sleep(0.02)


async def ledger_positions(database: AsyncEngine) -> list[int]:
    """List what was received and isn't durable."""
    query = select(LEDGER.c.position).where(LEDGER.c.kind != "hole").order_by(LEDGER.c.position)
    async with database.connect() as connection:
        return [row.position for row in await connection.execute(query)]


@asynccontextmanager
async def standin(faults: dict[str, Any] | None = None, **options: Any) -> AsyncIterator[Standin]:
    """Serve made-up killmails; limits off and all out at once unless published otherwise."""
    given: dict[str, Any] = {"synthetic": 60, "limits": False}
    served = await start_standin(
        StandinOptions(**(given | options), faults=Faults(**(faults or {})))
    )
    try:
        yield served
    finally:
        await served.stop()


def dataset_ids(dataset: Dataset) -> set[int]:
    return {played.killmail_id for played in dataset.killmails}


Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def upstream(routes: dict[str, Handler]) -> AsyncIterator[str]:
    """Serve what no well-meaning stand-in would; gives the base URL."""
    app = web.Application()
    app.add_routes([web.get(path, handler) for path, handler in routes.items()])
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
    async with AsyncExitStack() as stack:
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
