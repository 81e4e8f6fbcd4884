"""Read, retry and drop dead letters: messages whose last try failed, in RabbitMQ's `.XQ` queues.

Reading doesn't remove them: RabbitMQ requeues unacknowledged messages at their old position when
the channel closes.
"""

import re
from collections import Counter
from collections.abc import Callable, Collection, Generator, Iterator
from contextlib import closing, contextmanager
from hashlib import sha256
from typing import Any, Final

import msgspec
import pika
from dramatiq.common import xq_name
from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker, UnroutableError

from actors.rabbitmq import connection_parameters
from actors.shared.errors import DECODE_ERRORS, KillstreamError
from deploy.shorten import printable

NO_REASON: Final = "none recorded: rejected at the first try"
UNREADABLE: Final = "unreadable"
"""The actor's name for a body that isn't a dramatiq message."""
REASON_CHARACTERS: Final = 200
DELIVERY_S: Final = 1.0
"""Time without a delivery after which the queue's message count is read again."""
RETRY_OPTIONS: Final = frozenset({"retries", "traceback", "requeue_timestamp", "eta"})
"""Options that dramatiq adds to a message that it retries."""
NOT_FOUND: Final = 404
ACCESS_REFUSED: Final = 403
PERSISTENT: Final = 2


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter, without its arguments."""

    queue: str
    """The queue without `.XQ`, to which a retry sends it."""
    message_id: str
    actor: str
    sent_at_ms: int | None
    tries: int
    reason: str
    size_bytes: int
    killmail_ids: list[int]


class SentMessage(msgspec.Struct, frozen=True):
    """A message as dramatiq encodes it."""

    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str
    message_timestamp: int


class _WithKillmailId(msgspec.Struct):
    killmail_id: int | None = None


_decode_message: Final = msgspec.msgpack.Decoder(SentMessage).decode
_decode_killmail_id: Final = msgspec.json.Decoder(_WithKillmailId).decode


@contextmanager
def connected(url: str) -> Iterator[BlockingConnection]:
    """Connect until the block ends; raises pika's errors."""
    connection = BlockingConnection(connection_parameters(url))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


def read_all(
    connection: BlockingConnection, queues: Collection[str]
) -> Generator[DeadLetter, None, None]:
    """Yield the dead letters of these queues, the oldest first; changes nothing.

    Raises:
        KillstreamError: another command is reading them.
    """
    for queue in queues:
        for _, _, body in _messages(connection, queue):
            yield describe(queue, body)


def read_body(connection: BlockingConnection, dead: DeadLetter) -> bytes | None:
    """Return the message's body, or None when the message doesn't exist any more."""
    with closing(_messages(connection, dead.queue)) as messages:
        return next((body for _, _, body in messages if _id_of(body) == dead.message_id), None)


def drop(connection: BlockingConnection, chosen: Collection[DeadLetter]) -> Iterator[DeadLetter]:
    """Delete these dead letters; yields each after its deletion."""
    return _remove(connection, chosen, lambda queue, body: None)


def retry(url: str, chosen: Collection[DeadLetter]) -> Iterator[DeadLetter]:
    """Send these dead letters to their queues again; yields each afterwards.

    Acknowledges the dead letter after RabbitMQ has confirmed the new message: a crash between the
    two leaves both messages.

    Raises:
        KillstreamError: the queue doesn't exist, or another command is reading.
    """
    with connected(url) as sending, connected(url) as reading:
        channel = sending.channel()
        channel.confirm_delivery()

        def send(queue: str, body: bytes) -> None:
            message = renewed(queue, _decode_message(body))
            properties = pika.BasicProperties(
                delivery_mode=PERSISTENT, priority=message.options.get("broker_priority")
            )
            try:
                channel.basic_publish(
                    "", queue, msgspec.msgpack.encode(message), properties, mandatory=True
                )
            except UnroutableError:
                raise KillstreamError(
                    f"there is no queue {queue}: start `killstream actors` once, which creates it"
                ) from None

        yield from _remove(reading, chosen, send, lambda: sending.process_data_events(0))


def renewed(queue: str, message: SentMessage) -> SentMessage:
    """Return the message without its options for retries, for its first queue."""
    options = {name: value for name, value in message.options.items() if name not in RETRY_OPTIONS}
    return msgspec.structs.replace(message, queue_name=queue, options=options)


def describe(queue: str, body: bytes) -> DeadLetter:
    """Describe a dead letter; a body that isn't a message is described as `UNREADABLE`."""
    message = parse(body)
    if message is None:
        return DeadLetter(
            queue, _id_of(body), UNREADABLE, None, 0, "not a message of Killstream", len(body), []
        )
    return DeadLetter(
        queue=queue,
        message_id=message.message_id,
        actor=message.actor_name,
        sent_at_ms=message.message_timestamp,
        tries=int(message.options.get("retries", 0)) + 1,
        reason=reason_of(str(message.options.get("traceback", ""))),
        size_bytes=len(body),
        killmail_ids=killmail_ids(message.args),
    )


def parse(body: bytes) -> SentMessage | None:
    """Decode a message; None when the body isn't one."""
    try:
        return _decode_message(body)
    except DECODE_ERRORS:
        return None


def _id_of(body: bytes) -> str:
    message = parse(body)
    return message.message_id if message else f"{UNREADABLE}-{sha256(body).hexdigest()[:12]}"


def reason_of(traceback: str) -> str:
    """Return the last error of a traceback in one line of at most `REASON_CHARACTERS`."""
    lines = [
        re.sub(r"^[\s|+]*\| ", "", line) for line in traceback.splitlines()
    ]  # exception groups
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    after = lines[frames[-1] + 1 :] if frames else lines
    error = next((line for line in after if line.strip() and not line.startswith(" ")), NO_REASON)
    return printable(error.strip())[:REASON_CHARACTERS]


def killmail_ids(arguments: list[Any]) -> list[int]:
    """Return the killmail ids of a message's references or rejections."""
    values = arguments[0] if arguments and isinstance(arguments[0], list) else []
    return [found for value in values if (found := _killmail_id(value)) is not None]


def _killmail_id(value: Any) -> int | None:
    try:
        return _decode_killmail_id(value).killmail_id if isinstance(value, bytes) else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _remove(
    connection: BlockingConnection,
    chosen: Collection[DeadLetter],
    before_ack: Callable[[str, bytes], None],
    on_message: Callable[[], None] = lambda: None,
) -> Iterator[DeadLetter]:
    """Acknowledge the chosen messages, each after `before_ack`; calls `on_message` for all."""
    for queue in sorted({dead.queue for dead in chosen}):
        left = Counter(dead.message_id for dead in chosen if dead.queue == queue)
        with closing(_messages(connection, queue)) as messages:
            for channel, tag, body in messages:
                if left[_id_of(body)]:
                    before_ack(queue, body)
                    channel.basic_ack(tag)
                    left[_id_of(body)] -= 1
                    yield describe(queue, body)
                if not left.total():
                    break
                on_message()


def _messages(
    connection: BlockingConnection, queue: str
) -> Generator[tuple[BlockingChannel, int, bytes], None, None]:
    """Yield a queue's dead letters with their delivery tags; unacknowledged ones stay there."""
    name = xq_name(queue)
    channel = connection.channel()
    try:
        yield from ((channel, tag, body) for tag, body in _consumed(channel, name))
    except ChannelClosedByBroker as error:
        if error.reply_code == ACCESS_REFUSED:
            raise _busy(name) from None
        if error.reply_code != NOT_FOUND:  # no actors have run
            raise
    finally:
        if channel.is_open:
            channel.close()


def _consumed(channel: BlockingChannel, name: str) -> Iterator[tuple[int, bytes]]:
    declared = channel.queue_declare(name, passive=True).method
    if declared.consumer_count:
        raise _busy(name)
    left = declared.message_count
    consumed = channel.consume(name, exclusive=True, inactivity_timeout=DELIVERY_S)
    while left:
        method, _, body = next(consumed)
        if method is None:  # fewer than counted: some have expired
            left = channel.queue_declare(name, passive=True).method.message_count
        else:
            left -= 1
            yield method.delivery_tag, body


def _busy(name: str) -> KillstreamError:
    return KillstreamError(f"another command is reading {name}: try again after it has ended")
