"""The state of all workers, read from the servers for all clients together."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, Final

from sqlalchemy import func, select

from actors.shared.health.facts import Unreachable
from actors.shared.health.queues import QueueReport, QueueState, inspect_queues
from actors.shared.queues import Queue
from actors.shared.settings import Settings
from actors.shared.tables import PAUSES, USERS
from api.database import DatabaseUnavailable, ReadDatabase
from api.health import Prober
from api.payloads import Payloads

PROBE_S: Final = 4.0
"""Time limit of reading the servers; what isn't known by then is null."""
FRESH_S: Final = 2.0
"""How long what was read is used for all clients."""
CLOSE_S: Final = 1.0
VOLATILE: Final = frozenset({"uptime", "oldestAgeS", "pausedAgeS"})
"""Fields that change with time alone, and so make no update."""

Entry = dict[str, Any]


class WorkersView:
    """All entries at one time, shared by all clients."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.payloads = Payloads()
        """Encoded results of subscriptions."""

    def differs(self, other: "WorkersView | None") -> bool:
        """Return whether anything but the passing time changed."""
        return other is None or self._lasting() != other._lasting()

    def _lasting(self) -> list[Entry]:
        return [{k: v for k, v in entry.items() if k not in VOLATILE} for entry in self.entries]


class Workers:
    """Reads the state of all workers, at most each `FRESH_S`."""

    def __init__(self, settings: Settings, database: ReadDatabase) -> None:
        self._settings = settings
        self._database = database
        self._prober: Prober[WorkersView] = Prober(self._read)

    async def view(self) -> WorkersView:
        """Return the state."""
        if reading := self._prober.refresh(FRESH_S):
            await asyncio.wait([reading])
            reading.result()
        latest = self._prober.latest
        assert not isinstance(latest, Unreachable), "it was read"
        return latest

    async def close(self) -> None:
        """Wait up to `CLOSE_S` for a running read."""
        if reading := self._prober.running:
            await asyncio.wait([reading], timeout=CLOSE_S)
            reading.cancel()

    async def _read(self) -> WorkersView:
        report, whole = await asyncio.gather(
            inspect_queues(self._settings, limit_s=PROBE_S, read_pauses=self._pauses),
            self._whole(),
        )
        return WorkersView([entry | whole for entry in entries(self._settings, report)])

    async def _pauses(self) -> dict[str, datetime]:
        rows = await self._database.fetch_all(select(PAUSES))
        return {row["name"]: row["paused_at"] for row in rows}

    async def _whole(self) -> Entry:
        """Read the facts that are the same in each entry; None while the database is away."""
        last = (
            select(USERS.c.last_killmail_sync_at, USERS.c.last_sync_duration_ms)
            .where(USERS.c.last_killmail_sync_at.is_not(None))
            .order_by(USERS.c.last_killmail_sync_at.desc())
            .limit(1)
        )
        try:
            users = await self._database.fetch_val(select(func.count()).select_from(USERS))
            synced = await self._database.fetch_one(last)
        except DatabaseUnavailable:
            users = synced = None
        took_ms = synced.last_sync_duration_ms if synced else None
        return {
            "totalUsers": users,
            "lastSync": synced.last_killmail_sync_at if synced else None,
            "lastSyncDuration": None if took_ms is None else took_ms / 1000,
        }


@asynccontextmanager
async def open_workers(settings: Settings, database: ReadDatabase) -> AsyncIterator[Workers]:
    """Open the reader of the workers' state; reads nothing until it is asked."""
    workers = Workers(settings, database)
    try:
        yield workers
    finally:
        await workers.close()


def entries(settings: Settings, report: QueueReport) -> Iterator[Entry]:
    """Build the entries: the queues, the poller, the scheduled work."""
    for queue in Queue:
        yield _queue(settings, report, queue.value)
    streams = [process for process in report.processes if process.part == "streams"]
    started = [process.started_at for process in streams]
    uptime_s = (datetime.now(UTC) - min(started)).total_seconds() if started else None
    unknown = "unknown" if "redis" in report.unknown else "stopped"
    polls = "running" if any(process.is_polling for process in streams) else unknown
    is_paused = report.source_paused_age_s is not None
    yield _entry(
        "poller",
        "poller",
        "paused" if is_paused else polls,
        killmailsProcessed=sum(process.killmails for process in streams),
        uptime=uptime_s,
        pausedAgeS=report.source_paused_age_s,
    )
    resting = {name for process in streams for name in process.resting}
    for name in sorted({name for process in streams for name in process.runs}):
        runs = [run for process in streams if (run := process.runs.get(name))]
        state = "paused" if name in resting else "running"
        yield _entry(name, "scheduled", state, uptime=uptime_s, lastRun=max(runs, default=None))


def _queue(settings: Settings, report: QueueReport, name: str) -> Entry:
    queue = report.queue(name)
    dead = [q.messages for q in report.queues if q.name == f"{name}.XQ"]
    return _entry(
        name,
        "queue",
        _state(queue),
        queueName=settings.named(name),
        messageCount=queue.messages,
        ready=queue.ready,
        unacked=queue.unacked,
        delayed=report.queue(f"{name}.DQ").messages,
        dead=dead[0] if dead else 0,
        consumerCount=queue.consumers,
        rate=queue.out_per_s,
        oldestAgeS=queue.oldest_age_s,
        killmailsProcessed=queue.killmails,
        uptime=queue.uptime_s,
        pausedAgeS=queue.paused_age_s,
    )


def _state(queue: QueueState) -> str:
    if queue.paused_age_s is not None:
        return "paused"
    if queue.consumers or queue.uptime_s is not None:
        return "running"
    return "unknown" if queue.consumers is None else "stopped"


def _entry(name: str, kind: str, state: str, **fields: Any) -> Entry:
    shown = {"isRunning": state == "running", "paused": state == "paused"}
    return {"name": name, "kind": kind, "status": state} | shown | fields
