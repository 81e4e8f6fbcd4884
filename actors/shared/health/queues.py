"""The state of our queues, put together from RabbitMQ, the processes and the database."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from datetime import UTC, datetime
from functools import partial
from typing import Any, Final, TypeVar

import msgspec
from pika.adapters.blocking_connection import BlockingConnection

from actors.shared.daemon import in_daemon
from actors.shared.database import open_database
from actors.shared.health.facts import Unreachable
from actors.shared.health.management import ManagedQueue, read_management
from actors.shared.health.probe import within
from actors.shared.health.rabbitmq import count, probe_parameters
from actors.shared.heartbeat import Heartbeat, read_heartbeats
from actors.shared.pauses import INTAKE
from actors.shared.pauses import read_pauses as read_pauses_of
from actors.shared.postgres import Limits
from actors.shared.queues import Queue
from actors.shared.settings import Settings

KINDS: Final = ("", ".DQ", ".XQ")
"""Suffixes: of a queue, of its delayed messages, of its dead letters."""

MANAGEMENT: Final = "management API"
"""RabbitMQ's, which is optional: without it less is known."""

T = TypeVar("T")
ReadPauses = Callable[[], Coroutine[Any, Any, dict[str, datetime]]]


class QueueState(msgspec.Struct, frozen=True):
    """One queue. None: not known."""

    name: str
    """Without the namespace; delays end with `.DQ`, dead letters with `.XQ`."""
    ready: int | None
    unacked: int | None
    """Delivered to a process and not acknowledged."""
    consumers: int | None
    in_per_s: float | None
    out_per_s: float | None
    """Processed messages."""
    oldest_age_s: float | None
    """Since the oldest known message was sent; None also where there is no message."""
    killmails: int
    """Processed by the processes that run, since each of them started."""
    uptime_s: float | None
    """Of the process that consumes it the longest; None: none is known to run."""
    paused_age_s: float | None
    """None: not paused."""

    @property
    def messages(self) -> int | None:
        """Messages ready and unacknowledged, as far as known."""
        return None if self.ready is None else self.ready + (self.unacked or 0)


class QueueReport(msgspec.Struct, frozen=True):
    """All queues, the processes, and what couldn't be read."""

    queues: list[QueueState]
    processes: list[Heartbeat]
    source_paused_age_s: float | None
    """Since polling was paused; None: it isn't."""
    unknown: dict[str, str] = {}
    """Servers that didn't answer, with the reason."""

    def queue(self, name: str) -> QueueState:
        """Return the queue of this name."""
        return next(queue for queue in self.queues if queue.name == name)


async def inspect_queues(
    settings: Settings, *, limit_s: float, read_pauses: ReadPauses | None = None
) -> QueueReport:
    """Read the state of all queues within the limit. Changes and raises nothing.

    Args:
        settings: the servers.
        limit_s: time limit.
        read_pauses: reads what is paused; by default on a connection of its own.
    """
    pauses = _read_pauses(settings, limit_s) if read_pauses is None else read_pauses()
    counted, managed, processes, paused = await asyncio.gather(
        within(limit_s, in_daemon(partial(_count, settings, limit_s), "rabbitmq probe")),
        read_management(settings, limit_s=limit_s),
        within(limit_s, read_heartbeats(settings)),
        within(limit_s, pauses),
    )
    unknown = {
        server: part.reason
        for server, part in (
            ("rabbitmq", counted),
            (MANAGEMENT, managed),
            ("redis", processes),
            ("database", paused),
        )
        if isinstance(part, Unreachable)
    }
    known = _or(counted, {})
    by_api = _or(managed, {})
    beats = _or(processes, [])
    paused_at = _or(paused, {})
    now = datetime.now(UTC)
    ages_s = {name: max(0.0, (now - at).total_seconds()) for name, at in paused_at.items()}
    states = [
        _state(settings, name, kind, known.get(name + kind), by_api, beats, ages_s.get(name), now)
        for name in Queue
        for kind in KINDS
        if settings.rabbitmq_url or not kind.endswith("XQ")
    ]
    return QueueReport(states, beats, ages_s.get(INTAKE), unknown)


def _or(part: T | Unreachable, otherwise: T) -> T:
    return otherwise if isinstance(part, Unreachable) else part


def _state(
    settings: Settings,
    name: str,
    kind: str,
    counted: tuple[int, int] | None,
    managed: dict[str, ManagedQueue],
    processes: list[Heartbeat],
    paused_age_s: float | None,
    now: datetime,
) -> QueueState:
    full_name = settings.named(name) + kind
    consuming = [one for one in processes if full_name in one.queues]
    beats = [one.queues[full_name] for one in consuming]
    api = managed.get(full_name)
    ready, consumers = counted or (None, None)
    if not settings.rabbitmq_url and beats:
        known = [beat.ready for beat in beats if beat.ready is not None]
        ready, consumers = sum(known) if known else None, len(beats)
    unacked = sum(beat.unacked for beat in beats) if beats else None
    out_per_s = _sum(beat.processed_per_s for beat in beats)  # the API counts no rejected messages
    if out_per_s is None and api:
        out_per_s = api.out_per_s
    return QueueState(
        name=name + kind,
        ready=ready,
        unacked=api.unacked if api else (0 if unacked is None and consumers == 0 else unacked),
        consumers=consumers,
        in_per_s=api.in_per_s if api else None,
        out_per_s=out_per_s,
        oldest_age_s=_oldest_s(api, consuming, full_name),
        killmails=sum(beat.killmails for beat in beats),
        uptime_s=max(((now - one.started_at).total_seconds() for one in consuming), default=None),
        paused_age_s=None if kind else paused_age_s,
    )


def _oldest_s(api: ManagedQueue | None, consuming: list[Heartbeat], name: str) -> float | None:
    """Return the age of the oldest message, by the processes that hold it and by the API."""
    ages_s = [one.queues[name].oldest_age_s for one in consuming]
    held_s = [
        age_s + one.age_s for age_s, one in zip(ages_s, consuming, strict=True) if age_s is not None
    ]
    if api and api.oldest_age_s is not None:
        held_s.append(api.oldest_age_s)
    return max(held_s, default=None)


def _sum(rates: Iterable[float | None]) -> float | None:
    known = [rate for rate in rates if rate is not None]
    return round(sum(known), 2) if known else None


def _count(settings: Settings, limit_s: float) -> dict[str, tuple[int, int]]:
    """Count messages that are ready, and consumers, of the queues that exist."""
    if not settings.rabbitmq_url:
        return {}
    connection = BlockingConnection(probe_parameters(settings, limit_s))
    try:
        found = {n + k: count(connection, settings.named(n) + k) for n in Queue for k in KINDS}
    finally:
        if connection.is_open:
            connection.close()
    return {name: counted for name, counted in found.items() if counted is not None}


async def nothing_paused() -> dict[str, datetime]:
    """For those who don't ask what is paused."""
    return {}


async def _read_pauses(settings: Settings, limit_s: float) -> dict[str, datetime]:
    limits = Limits(connect_s=limit_s, command_s=limit_s)
    if not settings.database_url and not (settings.data_dir / "killstream.db").exists():
        return {}
    async with open_database(settings, "health", limits=limits) as database:
        return await read_pauses_of(database)
