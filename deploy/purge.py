"""Drop the messages of our queues."""

from collections.abc import Iterator
from typing import Final

from pika.exceptions import ChannelClosedByBroker

from actors.rabbitmq import UNAVAILABLE
from actors.shared.errors import ServerUnavailable
from actors.shared.health.queues import KINDS
from actors.shared.outage import one_line
from actors.shared.queues import Queue
from actors.shared.settings import Settings
from deploy.dead_letters import connected

NOT_FOUND: Final = 404


def purge(settings: Settings) -> Iterator[tuple[str, int]]:
    """Drop the ready messages of each queue; yield its full name with their number.

    Raises:
        ServerUnavailable: RabbitMQ was lost meanwhile; the other queues are unchanged.
    """
    try:
        with connected(settings.rabbitmq_url) as connection:
            for name in Queue:
                for kind in KINDS:
                    channel = connection.channel()  # one per queue: a missing queue closes it
                    full_name = settings.named(name) + kind
                    try:
                        purged = channel.queue_purge(full_name)
                    except ChannelClosedByBroker as error:
                        if error.reply_code != NOT_FOUND:
                            raise
                        continue
                    channel.close()
                    yield full_name, int(purged.method.message_count)
    except UNAVAILABLE as error:
        raise ServerUnavailable(
            f"lost RabbitMQ: {one_line(error)}; the other queues are unchanged"
        ) from None
