"""One streams process: the poller, the Faust agents and the timers."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime
from typing import Final

import structlog
from aiokafka import AIOKafkaProducer
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.broker import MAX_PRIORITY, enqueue
from actors.killmails.persist import persist
from actors.killmails.reject import reject
from actors.rabbitmq import check_rabbitmq
from actors.shared.database import check_schema, open_database
from actors.shared.heartbeat import HOST, STARTED_AT, Heartbeat, beating
from actors.shared.metrics import TRUNCATED
from actors.shared.pauses import watching_pauses
from actors.shared.produce import produce
from actors.shared.redis_check import check_redis
from actors.shared.reference import Reference, encode_reference
from actors.shared.rejection import encode_rejection
from actors.shared.settings import Settings
from actors.shared.startup import ends_before
from actors.shared.supervisor import READY, notify
from actors.shared.topics import RECEIVED, create_topics, open_producer
from streams.app import app
from streams.ingest import broken
from streams.intake import INTAKE
from streams.ledger import recall_all
from streams.outage import retry_until_available
from streams.poll import Counts, poll
from streams.schedule import INTAKE_WORK, LAST_RUNS  # and the timers register themselves
from streams.sources.step import Refused
from streams.topics import holds_nothing, keep_topics

__all__ = ["run_streams", "send_references"]

RECALL_S: Final = 30.0
"""Time limit of one try to make the whole ledger due."""

log: Final = structlog.get_logger()

FAUST_STOP_S: Final = 2.0
"""Time limit for stopping Faust."""


async def run_streams(
    settings: Settings, stop: asyncio.Event, forgot: asyncio.Event | None = None
) -> None:
    """Poll the source and send to the actors until `stop` is set.

    Args:
        settings: what to poll and where the servers are.
        stop: set to stop gracefully.
        forgot: set when the event log has lost its data; the ledger is then recalled.

    Raises:
        ExceptionGroup: of KillstreamErrors when the source is retired or misconfigured, or
            every reference is rejected; of other errors after a programming error.
    """
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(settings, "streams"))
        if not await ends_before(stop, _check_servers(settings, database)):
            return

        started_at = datetime.now(UTC)

        async def recall(before: datetime | None = None) -> None:
            entries = await retry_until_available(
                "the database", lambda: recall_all(database, before), try_s=RECALL_S
            )
            if entries:
                log.warning("ledger.recalled", entries=entries, reason="the event log is empty")

        has_lost_data = await holds_nothing(settings)
        producer = await stack.enter_async_context(open_producer(settings))
        await stack.enter_async_context(watching_pauses(database, INTAKE.switch))
        await stack.enter_async_context(_agents(stop))
        log.info("ready", part="streams", source=settings.source)
        notify(READY)

        topic = settings.named(RECEIVED.name)

        async def send(references: Sequence[Reference]) -> None:
            await send_references(producer, topic, references)

        async def refuse(refused: Sequence[Refused]) -> None:
            rejections = [
                encode_rejection(r.reason, r.value, source=r.source, position=r.position)
                for r in refused
            ]
            await enqueue(reject, rejections)

        counts = Counts()

        def describe() -> Heartbeat:
            return Heartbeat(
                part="streams",
                host=HOST,
                started_at=STARTED_AT,
                is_polling=counts.polling and not INTAKE.is_paused,
                killmails=counts.received,
                runs=dict(LAST_RUNS),
                resting=sorted(INTAKE_WORK) if INTAKE.is_paused else [],
            )

        await stack.enter_async_context(beating(settings, describe))
        stack.callback(stop.set)  # an error stops the process: its time limit starts here
        async with asyncio.TaskGroup() as group:
            group.create_task(
                poll(settings, database, send, refuse, stop, counts, forgot=forgot, intake=INTAKE)
            )
            watching = group.create_task(_raise_when_broken())
            keeping = group.create_task(keep_topics(settings, recall))
            recalling = group.create_task(recall(started_at)) if has_lost_data else None
            await stop.wait()
            watching.cancel()
            keeping.cancel()
            if recalling:
                recalling.cancel()


async def _check_servers(settings: Settings, database: AsyncEngine) -> None:
    await check_redis(settings)
    await create_topics(settings)
    if settings.rabbitmq_url:
        await check_rabbitmq(settings)
    await check_schema(database)


async def send_references(
    producer: AIOKafkaProducer, topic: str, references: Sequence[Reference]
) -> None:
    """Send references to their topic; returns when Kafka has stored them all.

    One that is too large for the topic is sent to `persist` directly.
    """
    values = [encode_reference(reference) for reference in references]
    keys = [str(reference.killmail_id).encode() for reference in references]
    for index in await produce(producer, topic, list(zip(keys, values, strict=True))):
        TRUNCATED.labels(topic=RECEIVED.name).inc()
        log.warning("message.too_large", topic=topic, bytes=len(values[index]))
        await enqueue(persist, [values[index]], priority=MAX_PRIORITY)


async def _raise_when_broken() -> None:
    """Raise when the agent has failed or Faust has crashed."""
    waited = await app.wait(broken.get())
    if waited.stopped:
        raise app.crash_reason or RuntimeError("Faust stopped by itself")
    raise waited.result


@asynccontextmanager
async def _agents(stop: asyncio.Event) -> AsyncIterator[None]:
    """Run Faust for the length of the block; `stop` interrupts its start, which takes seconds."""
    app.finalize()
    starting = asyncio.create_task(app.start(), name="faust start")
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if starting.done():
            await starting
        yield
    finally:
        # Faust waits for its broker even when cancelled. Uncommitted messages are redelivered.
        starting.cancel()
        stopping.cancel()
        ending = asyncio.create_task(app.stop(), name="faust stop")
        await asyncio.wait({ending}, timeout=FAUST_STOP_S)
        ending.cancel()
