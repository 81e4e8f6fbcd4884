"""Ask the servers how they are, for `killstream status`; changes nothing.

Each inspection gives facts, or `Unreachable` with the reason, or `Embedded` where no server is
named: then the part lives in the process of `killstream up` and can't be seen from here.
"""

import asyncio
from collections.abc import Awaitable, Callable, Collection
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import asyncpg
import pika
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import GroupCoordinatorNotAvailableError, KafkaError
from dramatiq.common import dq_name, xq_name
from pika.adapters.blocking_connection import BlockingConnection
from pika.exceptions import AMQPError, ChannelClosedByBroker
from redis.asyncio import Redis
from redis.exceptions import RedisError
from sqlalchemy import func, select
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine
from sqlalchemy.pool import NullPool

from actors.shared.settings import Settings
from actors.shared.tables import (
    CURSORS,
    FEED,
    FEED_COUNTER,
    KILLMAILS,
    LEDGER,
    NAMES,
    REJECTED,
    UNPUBLISHED,
)
from actors.shared.topics import RECEIVED, TOPICS
from deploy.cli.facts import (
    DatabaseFacts,
    Embedded,
    Facts,
    KafkaFacts,
    QueueFacts,
    RabbitmqFacts,
    RedisFacts,
    Refusal,
    Source,
    TopicFacts,
    Unreachable,
)

GROUP: Final = "killstream"
"""The consumer group of the streams: the id of the Faust app."""
REASONS: Final = 3
"""How many of the latest refusals are shown."""
WITHIN_S: Final = 15.0
"""A server that hasn't said all by then counts as away."""

T = TypeVar("T")


async def inspect(settings: Settings) -> Facts:
    """Ask all servers at once; `ok` is false when one of them is away. Raises nothing."""
    database, rabbitmq, kafka, redis = await asyncio.gather(
        _or_unreachable(inspect_database, settings),
        _or_embedded(settings.rabbitmq_url, inspect_rabbitmq, settings),
        _or_embedded(settings.kafka_url, inspect_kafka, settings),
        _or_embedded(settings.redis_url, inspect_redis, settings),
    )
    ok = not any(isinstance(part, Unreachable) for part in (database, rabbitmq, kafka, redis))
    return Facts(ok, datetime.now(UTC), database, rabbitmq, kafka, redis)


async def inspect_database(settings: Settings) -> DatabaseFacts:
    """Count what is stored. Opens no file that isn't there and locks none that is."""
    if not settings.database_url and not (settings.data_dir / "killstream.db").exists():
        raise FileNotFoundError(
            f"no database in {settings.data_dir}: run `killstream up`, or set"
            " KILLSTREAM_DATABASE_URL or KILLSTREAM_DATA_DIR to where it is"
        )
    engine = create_async_engine(settings.database_dsn, poolclass=NullPool)
    try:
        async with engine.connect() as connection:
            return await _count(connection)
    finally:
        await engine.dispose()


async def _count(connection: AsyncConnection) -> DatabaseFacts:
    now = datetime.now(UTC)

    def age_s(time: datetime | None) -> float | None:
        return None if time is None else round((now - time).total_seconds(), 1)

    async def scalar(statement: Any) -> Any:
        return await connection.scalar(statement)

    last = await scalar(select(FEED_COUNTER.c.last_sequence))
    refusals = await connection.execute(
        select(REJECTED.c.reason, REJECTED.c.rejected_at)
        .order_by(REJECTED.c.rejected_at.desc())
        .limit(REASONS)
    )
    cursors = await connection.execute(select(CURSORS).order_by(CURSORS.c.source))
    return DatabaseFacts(
        killmails=await scalar(select(func.count()).select_from(KILLMAILS)),
        last_sequence=last or 0,
        last_stored_age_s=age_s(
            await scalar(select(FEED.c.stored_at).where(FEED.c.sequence == last))
        ),
        unpublished=await scalar(select(func.count()).select_from(UNPUBLISHED)),
        rejected=await scalar(select(func.count()).select_from(REJECTED)),
        latest_rejected=[Refusal(reason, age_s(at) or 0.0) for reason, at in refusals],
        sources=[Source(row.source, row.position, age_s(row.updated_at) or 0.0) for row in cursors],
        ledger=await scalar(select(func.count()).select_from(LEDGER)),
        ledger_oldest_age_s=age_s(await scalar(select(func.min(LEDGER.c.received_at)))),
        names=await scalar(select(func.count()).where(NAMES.c.name.is_not(None))),
    )


async def inspect_rabbitmq(settings: Settings) -> RabbitmqFacts:
    """Count the messages of each queue, with those put off and those given up."""
    return await asyncio.to_thread(_count_messages, settings.rabbitmq_url)


def _count_messages(url: str) -> RabbitmqFacts:
    from actors.broker import DATABASE_QUEUE, ESI_QUEUE  # makes a broker when it is imported

    parameters = pika.URLParameters(url)
    parameters.socket_timeout = parameters.stack_timeout = WITHIN_S / 2
    connection = BlockingConnection(parameters)
    try:
        return RabbitmqFacts(
            {
                name: QueueFacts(
                    ready=_messages(connection, name),
                    delayed=_messages(connection, dq_name(name)),
                    dead=_messages(connection, xq_name(name)),
                )
                for name in (DATABASE_QUEUE, ESI_QUEUE)
            }
        )
    finally:
        connection.close()


def _messages(connection: BlockingConnection, queue: str) -> int | None:
    channel = connection.channel()  # one each: a queue that isn't there closes it
    try:
        declared = channel.queue_declare(queue, passive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code != 404:
            raise
        return None
    channel.close()
    return int(declared.method.message_count)


async def inspect_kafka(settings: Settings) -> KafkaFacts:
    """Count the messages of each topic, and those that the streams have yet to read."""
    bootstrap = settings.kafka_bootstrap
    names = [settings.named(topic.name) for topic in TOPICS]
    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    try:
        await admin.start()
        await consumer.start()
        partitions = await _partitions(admin, names)
        begins = await consumer.beginning_offsets(partitions)
        ends = await consumer.end_offsets(partitions)
        next_offsets = await _next_offsets(admin, settings.named(GROUP))
    finally:
        await consumer.stop()
        await admin.close()
    return KafkaFacts({name: _topic(name, begins, ends, next_offsets) for name in names})


async def _partitions(admin: AIOKafkaAdminClient, names: Collection[str]) -> list[TopicPartition]:
    there = set(names) & set(await admin.list_topics())
    return [
        TopicPartition(topic["topic"], partition["partition"])
        for topic in (await admin.describe_topics(sorted(there)) if there else ())
        for partition in topic["partitions"]
    ]


async def _next_offsets(admin: AIOKafkaAdminClient, group: str) -> dict[TopicPartition, int]:
    """Where the streams go on reading; nothing where no group has ever been."""
    try:
        committed = await admin.list_consumer_group_offsets(group)
    except GroupCoordinatorNotAvailableError:
        return {}
    return {partition: place.offset for partition, place in committed.items()}


def _topic(
    name: str,
    begins: dict[TopicPartition, int],
    ends: dict[TopicPartition, int],
    next_offsets: dict[TopicPartition, int],
) -> TopicFacts:
    mine = [partition for partition in ends if partition.topic == name]
    is_read = name.endswith(RECEIVED.name) or not next_offsets.keys().isdisjoint(mine)
    behind = [ends[p] - max(begins[p], next_offsets.get(p, 0)) for p in mine]
    return TopicFacts(
        partitions=len(mine),
        messages=sum(ends[p] - begins[p] for p in mine),
        lag=sum(behind) if is_read else None,
    )


async def inspect_redis(settings: Settings) -> RedisFacts:
    """PING it and ask for its version."""
    async with Redis.from_url(settings.redis_url, socket_connect_timeout=5) as redis:
        server = await redis.info("server")
        loop = asyncio.get_running_loop()
        began_s = loop.time()
        await redis.execute_command("PING")
        return RedisFacts(str(server["redis_version"]), round((loop.time() - began_s) * 1000, 2))


async def _or_embedded(
    url: str, ask: Callable[[Settings], Awaitable[T]], settings: Settings
) -> T | Unreachable | Embedded:
    return await _or_unreachable(ask, settings) if url else Embedded()


async def _or_unreachable(
    ask: Callable[[Settings], Awaitable[T]], settings: Settings
) -> T | Unreachable:
    try:
        async with asyncio.timeout(WITHIN_S):
            return await ask(settings)
    except TimeoutError:
        return Unreachable(f"no answer within {WITHIN_S:g} s")
    except DBAPIError as error:
        return Unreachable(_without_tables(error))
    except (OSError, ValueError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
        return Unreachable(_said(error))
    except (AMQPError, KafkaError, RedisError) as error:
        return Unreachable(_said(error))


def _without_tables(error: DBAPIError) -> str:
    said = _said(error.orig or error)
    missing = "no such table" in said or "does not exist" in said
    return f"{said}: run `killstream migrate`" if missing else said


def _said(error: BaseException) -> str:
    """What an error says in one line; pika's often say it only in their repr."""
    return " ".join((str(error) or repr(error)).split())
