"""The poller: reads a source, records in the ledger, sends, and recalls due entries.

Reading continues while a batch is recorded and sent: a single killmail is sent at once, a backlog
in batches of hundreds. Temporary errors are logged once and retried.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Final, TypeVar

import structlog
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.shared.cancellation import cancel_and_wait
from actors.shared.errors import Invalid
from actors.shared.metrics import RECEIVED
from actors.shared.reference import Reference, decode_reference
from streams.intake import Intake
from streams.ledger import (
    Cursor,
    Fence,
    Progress,
    check_fence,
    due_entries,
    next_due_at,
    recall_all,
    record,
    record_tries,
    take_over,
)
from streams.lock import Lease
from streams.outage import finish, retry_until_available
from streams.sources.step import LedgerEntry, Refused, Source, Step
from streams.sources.waits import Waits

MAX_BATCH: Final = 500
"""Maximum number of steps in one transaction and one send."""
MAX_AHEAD: Final = 1000
"""Maximum number of steps read and not yet recorded; bounds memory."""
RECALLED_AT_ONCE: Final = 50
"""Due ledger entries in one query."""
CLOSE_S: Final = 1.0
"""How long a cancelled transaction may take to complete."""
MAX_PATIENCE: Final = timedelta(hours=6)

Send = Callable[[list[Reference]], Awaitable[None]]
Refuse = Callable[[list[Refused]], Awaitable[None]]
T = TypeVar("T")

log: Final = structlog.get_logger()


@dataclass
class Counts:
    """The counts of a poller, updated while it runs."""

    polling: bool = False
    """Whether this process polls."""
    received: int = 0
    """References sent, including repeated ones."""
    refused: int = 0
    recalled: int = 0
    """Ledger entries that were read or sent again."""
    skipped: Counter[str] = field(default_factory=Counter)
    """Positions without a killmail, by reason."""


@dataclass(frozen=True)
class PollOptions:
    """Options that aren't settings; tests shorten them."""

    waits: Waits = field(default_factory=Waits)
    lease: Lease = field(default_factory=Lease)
    patience: timedelta = timedelta(minutes=15)
    """Time for a killmail to become durable before it is read again; doubles with each try."""
    drain_s: float = 5.0
    """Time limit of a graceful stop for sending what was read."""
    given_once_s: float = 15.0
    """The same for a source that gives each message once: its current poll must be completed."""
    check_s: float = 10.0
    """Interval of database queries while idle."""
    database_s: float = 15.0
    """Time limit of one transaction."""
    send_s: float = 60.0
    """Time limit of sending one batch."""


class Poller:
    """Polls one source under one fence."""

    def __init__(
        self,
        source: Source,
        database: AsyncEngine,
        send: Send,
        refuse: Refuse,
        counts: Counts,
        options: PollOptions,
        forgot: asyncio.Event | None = None,
        intake: Intake | None = None,
    ) -> None:
        self._intake = intake or Intake()
        self._source = source
        self._database = database
        self._send = send
        self._refuse = refuse
        self._counts = counts
        self._options = options
        self._forgot = forgot or asyncio.Event()
        self._fence = Fence(source.name, 0)
        self._fetched: asyncio.Queue[Step | asyncio.Event | None] = asyncio.Queue(MAX_AHEAD)
        """None ends it; an event is set when everything before it has been sent."""
        self._due_soon = asyncio.Event()
        self._checked_s = 0.0
        self._recording: list[Step] = []
        """Steps that the database hasn't stored yet."""

    async def run(self, ending: asyncio.Event) -> None:
        """Run until `ending` is set; an error of one task ends all.

        Raises:
            Fenced: another process took the source over.
        """
        taking_over = asyncio.create_task(
            self._in_database(lambda: take_over(self._database, self._source.name))
        )
        stopping = asyncio.create_task(ending.wait())
        try:
            await asyncio.wait({taking_over, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if taking_over.done():
                self._fence, cursor = taking_over.result()
                await self._poll(cursor, ending, stopping)
        finally:
            await cancel_and_wait(taking_over, stopping)

    async def _poll(
        self, cursor: Cursor, ending: asyncio.Event, stopping: asyncio.Task[bool]
    ) -> None:
        reading = asyncio.create_task(self._read(cursor, ending))
        passing = asyncio.create_task(self._pass_on())
        recalling = asyncio.create_task(self._recall())
        checking = asyncio.create_task(self._check())
        recalling_on_loss = asyncio.create_task(self._recall_on_loss())
        tasks = (reading, passing, recalling, checking, recalling_on_loss)
        log.info("poll.started", source=self._source.name, cursor=cursor.position)
        self._counts.polling = True
        try:
            await asyncio.wait({*tasks, stopping}, return_when=asyncio.FIRST_COMPLETED)
            await self._drain(reading, passing)
        finally:
            self._counts.polling = False
            await cancel_and_wait(*tasks)
        for task in tasks:
            if not task.cancelled() and (error := task.exception()):
                raise error

    async def _drain(self, reading: asyncio.Task[None], passing: asyncio.Task[None]) -> None:
        """Send what was read, within a time limit; the rest stays in the ledger."""
        limit_s = self._options.given_once_s if self._source.gives_once else self._options.drain_s
        if not self._source.gives_once:
            reading.cancel()
        try:
            async with asyncio.timeout(limit_s):
                await asyncio.wait({reading, passing}, return_when=asyncio.FIRST_COMPLETED)
                if not passing.done():
                    await self._fetched.put(None)
                    await asyncio.wait({passing})
        except TimeoutError:
            log.warning("poll.drain_timed_out", source=self._source.name, after_s=limit_s)
            if self._source.gives_once:
                self._log_lost()

    def _log_lost(self) -> None:
        """Log what was given once and isn't recorded, so that it can be fetched by hand."""
        while not self._fetched.empty():
            if isinstance(step := self._fetched.get_nowait(), Step):
                self._recording.append(step)
        for step in self._recording:
            log.error(
                "poll.given_once_lost",
                source=self._source.name,
                objects=step.objects,
                killmails=[f"{r.killmail_id}/{r.hash}" for r in step.references],
            )

    async def _read(self, cursor: Cursor, ending: asyncio.Event) -> None:
        started = cursor.position is not None
        await self._intake.until_running(ending)
        async with aclosing(self._source.steps(cursor.position, cursor.updated_at)) as steps:
            async for step in steps:
                if not step.is_empty:
                    await self._fetched.put(step)
                if self._source.gives_once or not started:
                    # The start is recorded before reading on, so that a successor starts there.
                    await self._fetched.join()
                    started = True
                await self._intake.until_running(ending)
                if ending.is_set():
                    return

    async def _pass_on(self) -> None:
        ended = False
        while not ended:
            batch = [await self._fetched.get()]
            while len(batch) < MAX_BATCH and not self._fetched.empty():
                batch.append(self._fetched.get_nowait())
            ended = None in batch
            steps = await self._record([step for step in batch if isinstance(step, Step)])
            for _ in batch:
                self._fetched.task_done()
            await self._send_all(
                [reference for step in steps for reference in step.references],
                [refused for step in steps for refused in step.refused],
            )
            self._counts.skipped.update(step.skipped for step in steps if step.skipped)
            for passed_on in batch:
                if isinstance(passed_on, asyncio.Event):
                    passed_on.set()

    async def _record(self, steps: list[Step]) -> list[Step]:
        if not steps:
            return []
        self._recording = steps
        recorded = await self._in_database(
            lambda: record(
                self._database,
                self._fence,
                steps,
                patience=self._options.patience,
                progress=self._progress(),
                gives_once=self._source.gives_once,
            )
        )
        self._recording = []
        self._checked_s = asyncio.get_running_loop().time()
        if any(step.pending or step.objects for step in recorded):
            self._due_soon.set()
        return recorded

    async def _send_all(self, references: list[Reference], refused: list[Refused]) -> None:
        limit_s = self._options.send_s
        if references:
            await retry_until_available(
                "the event log", lambda: self._send(references), try_s=limit_s
            )
        if refused:
            await retry_until_available(
                "the actors' broker", lambda: self._refuse(refused), try_s=limit_s
            )
        RECEIVED.labels(source=self._source.name).inc(len(references))
        self._counts.received += len(references)
        self._counts.refused += len(refused)

    async def _recall(self) -> None:
        """Read or send entries again when they are due."""
        name = self._source.name
        while True:
            due_at = await self._in_database(
                lambda: next_due_at(self._database, name, self._kinds())
            )
            wait_s = self._options.check_s
            if due_at is not None:
                wait_s = min(wait_s, (due_at - datetime.now(UTC)).total_seconds())
            if wait_s > 0:
                with suppress(TimeoutError):
                    async with asyncio.timeout(wait_s):
                        await self._due_soon.wait()
                self._due_soon.clear()
            else:
                await self._recall_due()

    async def _recall_on_loss(self) -> None:
        """Make all received entries due when the event log has lost its data."""
        while True:
            await self._forgot.wait()
            self._forgot.clear()
            recalled = await self._in_database(lambda: recall_all(self._database))
            log.warning("ledger.recalled", entries=recalled, reason="the event log lost its data")
            self._due_soon.set()

    async def _recall_due(self) -> None:
        """Read or send due entries again; after a crash they are still due."""
        name, kinds = self._source.name, self._kinds()
        entries = await self._in_database(
            lambda: due_entries(self._database, name, kinds, limit=RECALLED_AT_ONCE)
        )
        self._counts.recalled += sum(entry.kind == "received" for entry in entries)
        await self._send_all(*self._given_once(entries))
        unchanged = {entry.position: entry for entry in entries}
        to_read = [entry for entry in entries if entry.reference is None]
        async with aclosing(self._source.read_again(to_read)) as steps:
            async for step in steps:
                if not step.is_empty:
                    await self._fetched.put(step)
                    for position in _rescheduled(step, unchanged):
                        del unchanged[position]
        passed_on = asyncio.Event()
        await self._fetched.put(passed_on)
        await passed_on.wait()
        now = datetime.now(UTC)
        next_try_at = {entry: self._next_try_at(entry, now) for entry in unchanged.values()}
        await self._in_database(lambda: record_tries(self._database, self._fence, next_try_at))

    def _kinds(self) -> frozenset[str] | None:
        """Return the kinds of entries to recall: holes would bring new killmails in."""
        return frozenset({"received"}) if self._intake.is_paused else None

    def _next_try_at(self, entry: LedgerEntry, now: datetime) -> datetime:
        """Return when an entry that is tried now is due again; the delay grows with each try."""
        waits = self._options.waits
        if entry.kind == "received":
            doublings = min(entry.tries + 1, 16)
            return now + min(self._options.patience * float(2**doublings), MAX_PATIENCE)
        is_hole = entry.kind == "hole"  # whose first delay has passed before its first try
        delays_s = waits.late_s if is_hole else waits.retry_s
        delay_s = delays_s[min(entry.tries + is_hole, len(delays_s) - 1)]
        next_try_at = now + timedelta(seconds=delay_s)
        expires_at = entry.received_at + timedelta(seconds=waits.live_s)
        return expires_at if now < expires_at < next_try_at else next_try_at

    def _given_once(self, entries: Sequence[LedgerEntry]) -> tuple[list[Reference], list[Refused]]:
        """Decode the references that are stored in the ledger."""
        references, refused = [], []
        for entry in entries:
            if entry.reference is None:
                continue
            try:
                references.append(decode_reference(entry.reference))
            except Invalid as error:
                name = self._source.name
                refused.append(Refused(name, entry.position, str(error), entry.reference))
        return references, refused

    async def _check(self) -> None:
        """Write the upstream's state and check the fence while idle."""
        check_s = self._options.check_s
        while True:
            await asyncio.sleep(check_s)
            if asyncio.get_running_loop().time() - self._checked_s >= check_s:
                await self._in_database(
                    lambda: check_fence(self._database, self._fence, self._progress())
                )

    def _progress(self) -> Progress:
        return Progress(self._source.tip, self._source.answered_at)

    async def _in_database(self, act: Callable[[], Awaitable[T]]) -> T:
        return await retry_until_available(
            "the database", lambda: finish(act(), CLOSE_S), try_s=self._options.database_s
        )


def _rescheduled(step: Step, entries: Mapping[int, LedgerEntry]) -> set[int]:
    """Return the entries whose `next_try_at` the step has set."""
    postponed = {pending.position for pending in step.pending}
    received = {r.position for r in step.references} | {r.position for r in step.refused}
    return {
        p for p, e in entries.items() if p in postponed or (p in received and e.kind != "received")
    }
