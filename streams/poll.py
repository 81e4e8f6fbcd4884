"""Poll the chosen source: note what it gives in the ledger, then pass it on.

Step 1 of a killmail's way. Of many processes one polls; when it dies another takes over. Fetching
goes on while a batch is noted and sent: a lone killmail goes on at once, a backlog in hundreds.
Nothing that passes ends it: it says once what it waits for, and goes on.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import asyncpg
import structlog
from aiokafka.errors import KafkaError
from redis.exceptions import RedisError
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.errors import Invalid
from actors.shared.metrics import RECEIVED
from actors.shared.reference import Reference, decode_reference, encode_reference
from actors.shared.settings import Settings
from streams.cancellation import cancel_and_wait
from streams.ledger import LedgerEntry, overdue, read_cursor, record
from streams.lock import Lease, LockLost, run_alone
from streams.sources.r2z2 import open_r2z2, r2z2_name
from streams.sources.redisq import open_redisq, redisq_name
from streams.sources.step import Refused, Source, Step
from streams.sources.waits import Waits

MAX_BATCH: Final = 500
"""Most steps in one transaction and one send."""
MAX_AHEAD: Final = 1000
"""Steps fetched ahead of what is noted; bounds memory."""
RECALLED_AT_ONCE: Final = 50
"""Places read again before the ledger is asked anew which are still open."""
MAX_PATIENCE: Final = timedelta(hours=6)
MAX_DELAY_S: Final = 10.0
OUTAGES: Final = (
    OSError,
    SQLAlchemyError,
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    KafkaError,
    RedisError,
)
"""What passes by itself: servers that are away."""

Send = Callable[[list[Reference]], Awaitable[None]]
Refuse = Callable[[list[Refused]], Awaitable[None]]
T = TypeVar("T")

log: Final = structlog.get_logger()


@dataclass
class Counts:
    """What a poller did so far; read it whenever you like."""

    polling: bool = False
    """Whether this process is the one that polls."""
    received: int = 0
    """References passed on, repeated ones too."""
    refused: int = 0
    recalled: int = 0
    """Places that were read or sent again, since they hadn't become durable."""
    passed: Counter[str] = field(default_factory=Counter)
    """Places that gave nothing, by reason."""


@dataclass(frozen=True)
class PollOptions:
    """What an operator need not set and a test may."""

    waits: Waits = field(default_factory=Waits)
    lease: Lease = field(default_factory=Lease)
    patience: timedelta = timedelta(minutes=15)
    """How long a place may take to become durable before it is read again."""
    drain_s: float = 15.0
    """How long a graceful end may take to pass on what was fetched."""


async def poll(
    settings: Settings,
    database: AsyncEngine,
    send: Send,
    refuse: Refuse,
    stop: asyncio.Event,
    counts: Counts | None = None,
    options: PollOptions = PollOptions(),
    forgot: asyncio.Event | None = None,
) -> Counts:
    """Poll until `stop` is set; then pass on what was fetched and give the counts.

    At least once: after a crash references come again, never fewer. `send` and `refuse` return
    once the event log has what they got; what they raise as `OUTAGES` is tried again.
    Cancelling ends it at once and loses nothing that the ledger holds. Whenever `forgot` is set,
    the event log has lost what it had: the whole ledger is recalled.

    Raises:
        Misconfigured: the source can't be polled with these settings; says which.
        UpstreamRetired: the upstream is gone for good.
    """
    counts = counts or Counts()
    if settings.source == "none":
        return counts
    name = r2z2_name(settings) if settings.source == "r2z2" else redisq_name(settings)

    async def work() -> None:
        async with open_source(settings, options.waits) as source:
            await _Poller(source, database, send, refuse, counts, options, forgot).run(stop)

    try:
        await _until_stopped(settings, name, work, stop, options.lease)
    finally:
        log.info(
            "poll.ended",
            source=name,
            received=counts.received,
            refused=counts.refused,
            recalled=counts.recalled,
            passed=dict(counts.passed),
        )
    return counts


@asynccontextmanager
async def open_source(settings: Settings, waits: Waits) -> AsyncIterator[Source]:
    """Open the feed that the settings name.

    Raises:
        Misconfigured: a setting it needs is missing; says which.
    """
    if settings.source == "redisq":
        async with open_redisq(settings, waits) as redisq:
            yield redisq
    else:
        async with open_r2z2(settings, waits) as r2z2:
            yield r2z2


async def _until_stopped(
    settings: Settings,
    name: str,
    work: Callable[[], Awaitable[None]],
    stop: asyncio.Event,
    lease: Lease,
) -> None:
    """Hold the lock and work, again and again, until the work ends by itself or is stopped."""
    lock = settings.named(f"killstream:poll:{name}")
    while not stop.is_set():
        try:
            await run_alone(settings.redis_url, lock, work, stop, lease)
            return
        except (LockLost, RedisError, OSError) as error:
            log.warning("poll.waits", what="the lock in Redis", reason=_reason(error))
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), lease.renewed_every_s)


class _Poller:
    """One turn at polling: reads, passes on, recalls, side by side."""

    def __init__(
        self,
        source: Source,
        database: AsyncEngine,
        send: Send,
        refuse: Refuse,
        counts: Counts,
        options: PollOptions,
        forgot: asyncio.Event | None = None,
    ) -> None:
        self._source = source
        self._database = database
        self._send = send
        self._refuse = refuse
        self._counts = counts
        self._options = options
        self._forgot = forgot or asyncio.Event()
        self._fetched: asyncio.Queue[Step | None] = asyncio.Queue(MAX_AHEAD)

    async def run(self, stop: asyncio.Event) -> None:
        """Work until stopped; whatever one part raises ends all."""
        reading = asyncio.create_task(self._read(stop))
        recalling = asyncio.create_task(self._recall())
        passing = asyncio.create_task(self._pass_on())
        stopping = asyncio.create_task(stop.wait())
        tasks = (reading, recalling, passing, stopping)
        log.info("poll.begins", source=self._source.name)
        self._counts.polling = True
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(reading, passing)
        finally:
            self._counts.polling = False
            await cancel_and_wait(*tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _drain(self, reading: asyncio.Task[None], passing: asyncio.Task[None]) -> None:
        """Let what was fetched go on, for a while; the ledger holds the rest."""
        if not self._source.gives_once:
            reading.cancel()
        try:
            async with asyncio.timeout(self._options.drain_s):
                await asyncio.wait({reading, passing}, return_when=asyncio.FIRST_COMPLETED)
                await self._fetched.put(None)
                await asyncio.wait({passing})
        except TimeoutError:
            log.warning("poll.left_in_ledger", source=self._source.name)

    async def _read(self, stop: asyncio.Event) -> None:
        cursor = await retry_until_available(
            "the database", lambda: read_cursor(self._database, self._source.name)
        )
        log.info("poll.reads", source=self._source.name, cursor=cursor)
        async with aclosing(self._source.steps(cursor)) as steps:
            async for step in steps:
                if not step.quiet:
                    await self._fetched.put(step)
                if self._source.gives_once or cursor is None:
                    # Where it starts is durable before it goes on: a successor starts there too.
                    await self._fetched.join()
                    cursor = step.cursor
                if stop.is_set():
                    return

    async def _pass_on(self) -> None:
        ended = False
        while not ended:
            batch = [await self._fetched.get()]
            while len(batch) < MAX_BATCH and not self._fetched.empty():
                batch.append(self._fetched.get_nowait())
            ended = None in batch
            steps = [step for step in batch if step is not None]
            await self._record(steps)
            for _ in batch:
                self._fetched.task_done()
            await self._send_all(
                [reference for step in steps for reference in step.references],
                [refused for step in steps for refused in step.refused],
            )
            self._counts.passed.update(step.passed for step in steps if step.passed)

    async def _record(self, steps: Sequence[Step]) -> None:
        if not steps:
            return
        places: dict[int, bytes | None] = {}
        for step in steps:
            places.update(dict.fromkeys(step.pending))
            for reference in step.references:
                whole = encode_reference(reference) if self._source.gives_once else None
                places[reference.position] = whole
            for refused in step.refused:
                places[refused.position] = refused.value if self._source.gives_once else None
        acked = [position for step in steps for position in step.acked]
        name, cursor = self._source.name, steps[-1].cursor
        await retry_until_available(
            "the database", lambda: record(self._database, name, cursor, places, acked)
        )

    async def _send_all(self, references: list[Reference], refused: list[Refused]) -> None:
        if references:
            await retry_until_available("the event log", lambda: self._send(references))
        if refused:
            await retry_until_available("the event log", lambda: self._refuse(refused))
        RECEIVED.labels(source=self._source.name).inc(len(references))
        self._counts.received += len(references)
        self._counts.refused += len(refused)

    async def _recall(self) -> None:
        """Have read or sent again what isn't durable: at the start all, later what is overdue."""
        before, pause = datetime.now(UTC), self._options.patience
        while True:
            recalled = await self._recall_all(before)
            # What waits for a stopped actor isn't lost: ask less and less often.
            pause = min(pause * 2, MAX_PATIENCE) if recalled else self._options.patience
            with suppress(TimeoutError):
                await asyncio.wait_for(self._forgot.wait(), pause.total_seconds())
            before = datetime.now(UTC)
            if self._forgot.is_set():
                self._forgot.clear()
            else:
                before -= self._options.patience

    async def _recall_all(self, before: datetime) -> int:
        after, recalled = -1, 0
        while places := await self._overdue(before, after):
            if not recalled:
                log.info("poll.recalls", source=self._source.name, first=places[0].position)
            after = places[-1].position
            recalled += len(places)
            self._counts.recalled += len(places)
            await self._send_all(*self._recorded_of(places))
            await self._source.recall(p.position for p in places if p.reference is None)
        return recalled

    async def _overdue(self, before: datetime, after: int) -> list[LedgerEntry]:
        return await retry_until_available(
            "the database",
            lambda: overdue(
                self._database,
                self._source.name,
                before=before,
                after=after,
                limit=RECALLED_AT_ONCE,
            ),
        )

    def _recorded_of(self, places: Sequence[LedgerEntry]) -> tuple[list[Reference], list[Refused]]:
        """Take out what the ledger holds whole."""
        references, refused = [], []
        for place in places:
            if place.reference is None:
                continue
            try:
                references.append(decode_reference(place.reference))
            except Invalid as error:
                refused.append(
                    Refused(self._source.name, place.position, str(error), place.reference)
                )
        return references, refused


async def retry_until_available(what: str, act: Callable[[], Awaitable[T]]) -> T:
    """Do something until it works; say once what is waited for, and when it is back."""
    delay_s, waiting = 0.2, False
    while True:
        try:
            done = await act()
        except OUTAGES as error:
            if not waiting:
                log.warning("poll.waits", what=what, reason=_reason(error))
            waiting = True
            await asyncio.sleep(delay_s)
            delay_s = min(delay_s * 2, MAX_DELAY_S)
        else:
            if waiting:
                log.info("poll.goes_on", what=what)
            return done


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
