"""One turn at polling: reads, records, passes on, and recalls what doesn't become durable.

Fetching goes on while a batch is recorded and sent: a lone killmail goes on at once, a backlog in
hundreds. Nothing temporary ends it: it says once what it waits for, and goes on.
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

from actors.shared.errors import Invalid
from actors.shared.metrics import RECEIVED
from actors.shared.reference import Reference, decode_reference
from streams.cancellation import cancel_and_wait
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
"""Most steps in one transaction and one send."""
MAX_AHEAD: Final = 1000
"""Steps fetched ahead of what is recorded; bounds memory."""
RECALLED_AT_ONCE: Final = 50
"""Ledger entries read or sent again before the ledger is asked which are due."""
CLOSE_S: Final = 1.0
"""How long a transaction may go on when it is to end."""
MAX_PATIENCE: Final = timedelta(hours=6)

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
    """Ledger entries that were read or sent again."""
    passed: Counter[str] = field(default_factory=Counter)
    """Positions that gave nothing, by reason."""


@dataclass(frozen=True)
class PollOptions:
    """What an operator need not set and a test may."""

    waits: Waits = field(default_factory=Waits)
    lease: Lease = field(default_factory=Lease)
    patience: timedelta = timedelta(minutes=15)
    """How long a killmail may take to become durable before it is read again; doubles for it."""
    drain_s: float = 5.0
    """How long a graceful end may take to pass on what was fetched."""
    given_once_s: float = 15.0
    """The same where the poll that is under way must be finished, as it is answered only once."""
    check_s: float = 10.0
    """Between two queries of the database when nothing happens."""
    database_s: float = 15.0
    """Most of one transaction."""
    send_s: float = 60.0
    """Most of one batch's way to the event log."""


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
    ) -> None:
        self._source = source
        self._database = database
        self._send = send
        self._refuse = refuse
        self._counts = counts
        self._options = options
        self._forgot = forgot or asyncio.Event()
        self._fence = Fence(source.name, 0)
        self._fetched: asyncio.Queue[Step | asyncio.Event | None] = asyncio.Queue(MAX_AHEAD)
        """None ends it; an event is set when all before it has been passed on."""
        self._due_soon = asyncio.Event()
        self._checked_s = 0.0

    async def run(self, ending: asyncio.Event) -> None:
        """Work until it is to end; whatever one part raises ends all.

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
        remembering = asyncio.create_task(self._remember())
        tasks = (reading, passing, recalling, checking, remembering)
        log.info("poll.begins", source=self._source.name, cursor=cursor.position)
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
        """Let what was fetched go on, for a while; the ledger holds the rest."""
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
            log.warning("poll.left_in_ledger", source=self._source.name, after_s=limit_s)

    async def _read(self, cursor: Cursor, ending: asyncio.Event) -> None:
        started = cursor.position is not None
        async with aclosing(self._source.steps(cursor.position, cursor.updated_at)) as steps:
            async for step in steps:
                if not step.quiet:
                    await self._fetched.put(step)
                if self._source.gives_once or not started:
                    # Where it starts is durable before it goes on: a successor starts there too.
                    await self._fetched.join()
                    started = True
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
            self._counts.passed.update(step.passed for step in steps if step.passed)
            for passed_on in batch:
                if isinstance(passed_on, asyncio.Event):
                    passed_on.set()

    async def _record(self, steps: list[Step]) -> list[Step]:
        if not steps:
            return []
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
        """Have read or sent again what isn't durable, each entry when its time has come."""
        name = self._source.name
        while True:
            due_at = await self._in_database(lambda: next_due_at(self._database, name))
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

    async def _remember(self) -> None:
        """Make all that was received due whenever the event log forgot it."""
        while True:
            await self._forgot.wait()
            self._forgot.clear()
            recalled = await self._in_database(lambda: recall_all(self._database))
            log.warning("ledger.recalled", entries=recalled, reason="the event log forgot")
            self._due_soon.set()

    async def _recall_due(self) -> None:
        """Have read or sent again what is due; a crash on the way leaves it due."""
        name = self._source.name
        entries = await self._in_database(
            lambda: due_entries(self._database, name, limit=RECALLED_AT_ONCE)
        )
        self._counts.recalled += sum(entry.kind == "received" for entry in entries)
        await self._send_all(*self._given_once(entries))
        unchanged = {entry.position: entry for entry in entries}
        to_read = [entry for entry in entries if entry.reference is None]
        async with aclosing(self._source.read_again(to_read)) as steps:
            async for step in steps:
                if not step.quiet:
                    await self._fetched.put(step)
                    for position in _begun_anew(step, unchanged):
                        del unchanged[position]
        passed_on = asyncio.Event()
        await self._fetched.put(passed_on)
        await passed_on.wait()
        now = datetime.now(UTC)
        next_try_at = {p: self._next_try_at(entry, now) for p, entry in unchanged.items()}
        await self._in_database(lambda: record_tries(self._database, self._fence, next_try_at))

    def _next_try_at(self, entry: LedgerEntry, now: datetime) -> datetime:
        """Return when an entry that is tried now is due again: later each time."""
        waits = self._options.waits
        if entry.kind == "received":
            doublings = min(entry.tries + 1, 16)
            return now + min(self._options.patience * float(2**doublings), MAX_PATIENCE)
        is_hole = entry.kind == "hole"  # which has waited once when it is tried first
        delays_s = waits.late_s if is_hole else waits.again_s
        delay_s = delays_s[min(entry.tries + is_hole, len(delays_s) - 1)]
        next_try_at = now + timedelta(seconds=delay_s)
        expires_at = entry.received_at + timedelta(seconds=waits.live_s)
        return expires_at if now < expires_at < next_try_at else next_try_at

    def _given_once(self, entries: Sequence[LedgerEntry]) -> tuple[list[Reference], list[Refused]]:
        """Take out what the ledger holds whole."""
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
        """Write down that the upstream answers, and notice a successor, when nothing happens."""
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


def _begun_anew(step: Step, entries: Mapping[int, LedgerEntry]) -> set[int]:
    """Name the entries that got a next time of their own with the step."""
    put_off = {pending.position for pending in step.pending}
    came = {r.position for r in step.references} | {r.position for r in step.refused}
    return {p for p, e in entries.items() if p in put_off or (p in came and e.kind != "received")}
