"""Dead letters: messages of work that was given up, in RabbitMQ's `.XQ` queues.

They are read without being taken: what isn't acknowledged stands at its old place again when the
reading ends.
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
from actors.shared.errors import KillstreamError

NO_REASON: Final = "none recorded: it was refused at the first try"
UNREADABLE: Final = "unreadable"
"""Stands for the actor of what is no message."""
REASON_CHARACTERS: Final = 200
QUIET_S: Final = 1.0
"""How long the next dead letter may take before the queue is asked whether there still is one."""
RETRY_OPTIONS: Final = frozenset({"retries", "traceback", "requeue_timestamp", "eta"})
"""What dramatiq writes into a message that it tries again."""
NOT_FOUND: Final = 404
ACCESS_REFUSED: Final = 403
PERSISTENT: Final = 2


class DeadLetter(msgspec.Struct, frozen=True):
    """One dead letter, without its arguments."""

    queue: str
    """Where it came from and goes back to."""
    message_id: str
    actor: str
    sent_at_ms: int | None
    tries: int
    reason: str
    size_bytes: int
    killmail_ids: list[int]


class SentMessage(msgspec.Struct, frozen=True):
    """A message as dramatiq writes it."""

    queue_name: str
    actor_name: str
    args: list[Any]
    kwargs: dict[str, Any]
    options: dict[str, Any]
    message_id: str
    message_timestamp: int


class _Concerned(msgspec.Struct):
    killmail_id: int | None = None


_decode_message: Final = msgspec.msgpack.Decoder(SentMessage).decode
_decode_concerned: Final = msgspec.json.Decoder(_Concerned).decode


@contextmanager
def connected(url: str) -> Iterator[BlockingConnection]:
    """Connect for the length of the block; pika's errors pass through."""
    connection = BlockingConnection(connection_parameters(url))
    try:
        yield connection
    finally:
        if connection.is_open:
            connection.close()


def read_all(
    connection: BlockingConnection, queues: Collection[str]
) -> Generator[DeadLetter, None, None]:
    """Give the dead letters of these queues, the oldest first; changes nothing.

    Raises:
        KillstreamError: another command reads them.
    """
    for queue in queues:
        for _, _, body in _held(connection, queue):
            yield describe(queue, body)


def read_body(connection: BlockingConnection, dead: DeadLetter) -> bytes | None:
    """Give the message itself, or None when it is gone."""
    with closing(_held(connection, dead.queue)) as held:
        return next((body for _, _, body in held if _id_of(body) == dead.message_id), None)


def drop(connection: BlockingConnection, chosen: Collection[DeadLetter]) -> Iterator[DeadLetter]:
    """Delete these dead letters; gives each when it is gone."""
    return _remove(connection, chosen, lambda queue, body: None)


def retry(url: str, chosen: Collection[DeadLetter]) -> Iterator[DeadLetter]:
    """Send these dead letters to their queues again; gives each when it was.

    RabbitMQ has the new message before it is asked to forget the dead one: after a crash between
    the two there are both, and never none.

    Raises:
        KillstreamError: the queue is gone.
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
                    f"there is no queue {queue}: start `killstream actors` once, it makes it"
                ) from None

        yield from _remove(reading, chosen, send, lambda: sending.process_data_events(0))


def renewed(queue: str, message: SentMessage) -> SentMessage:
    """Make the message that is tried again as if for the first time."""
    options = {name: value for name, value in message.options.items() if name not in RETRY_OPTIONS}
    return msgspec.structs.replace(message, queue_name=queue, options=options)


def describe(queue: str, body: bytes) -> DeadLetter:
    """Read what an operator wants to know of a dead letter; never fails."""
    message = parse(body)
    if message is None:
        return DeadLetter(
            queue, _id_of(body), UNREADABLE, None, 0, "not a message of ours", len(body), []
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
    """Read a message, or give None when it is none."""
    try:
        return _decode_message(body)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def _id_of(body: bytes) -> str:
    message = parse(body)
    return message.message_id if message else f"{UNREADABLE}-{sha256(body).hexdigest()[:12]}"


def reason_of(traceback: str) -> str:
    """Give the error that a traceback ends with, in one line of bounded length."""
    lines = [re.sub(r"^[\s|+]*\| ", "", line) for line in traceback.splitlines()]  # of groups
    frames = [number for number, line in enumerate(lines) if line.startswith('  File "')]
    after = lines[frames[-1] + 1 :] if frames else lines
    said = next((line for line in after if line.strip() and not line.startswith(" ")), NO_REASON)
    return printable(said.strip())[:REASON_CHARACTERS]


def printable(text: str) -> str:
    """Escape what a terminal might obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def killmail_ids(arguments: list[Any]) -> list[int]:
    """Find the killmails that a message is of: those of its references or rejections."""
    values = arguments[0] if arguments and isinstance(arguments[0], list) else []
    return [found for value in values if (found := _killmail_id(value)) is not None]


def _killmail_id(value: Any) -> int | None:
    try:
        return _decode_concerned(value).killmail_id if isinstance(value, bytes) else None
    except (msgspec.DecodeError, RecursionError):
        return None


def _remove(
    connection: BlockingConnection,
    chosen: Collection[DeadLetter],
    first: Callable[[str, bytes], None],
    meanwhile: Callable[[], None] = lambda: None,
) -> Iterator[DeadLetter]:
    """Acknowledge what is chosen, each after `first` was done with it."""
    for queue in sorted({dead.queue for dead in chosen}):
        left = Counter(dead.message_id for dead in chosen if dead.queue == queue)
        with closing(_held(connection, queue)) as held:
            for channel, tag, body in held:
                if left[_id_of(body)]:
                    first(queue, body)
                    channel.basic_ack(tag)
                    left[_id_of(body)] -= 1
                    yield describe(queue, body)
                if not left.total():
                    break
                meanwhile()


def _held(
    connection: BlockingConnection, queue: str
) -> Generator[tuple[BlockingChannel, int, bytes], None, None]:
    """Give a queue's dead letters with their delivery tags; those not acknowledged stay."""
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
    consumed = channel.consume(name, exclusive=True, inactivity_timeout=QUIET_S)
    while left:
        method, _, body = next(consumed)
        if method is None:  # fewer came than were counted: some got too old
            left = channel.queue_declare(name, passive=True).method.message_count
        else:
            left -= 1
            yield method.delivery_tag, body


def _busy(name: str) -> KillstreamError:
    return KillstreamError(f"another command reads {name}: try again when it has ended")
