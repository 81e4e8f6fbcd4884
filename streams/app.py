"""The Faust app."""

import os
from typing import Any, Final

import faust
from faust.transport.drivers.aiokafka import AIOKafkaConsumerThread, Consumer, Transport
from faust.types.settings import Settings as FaustSettings
from mode.services import WaitResults
from mode.threads import WorkerThread

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings, settings

GROUP: Final = "killstream"
"""The consumer group of all streams processes."""
SESSION_TIMEOUT_S: Final = 6
"""Time until the partitions of a dead process are reassigned; a first join takes half of it."""


METADATA_MS: Final = 5_000
"""Refresh interval of the metadata, to notice a recreated topic."""


class _DaemonThread(WorkerThread):
    """A thread of Faust that doesn't keep the process from its exit while Kafka is silent."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.daemon = True


AIOKafkaConsumerThread.Worker = _DaemonThread


class DirectConsumer(Consumer):
    """Delivers a message to the agents at once where nothing can hold it up.

    Faust makes four tasks for each message, so that a delivery that waits ends with the flow or the
    process: that takes most of its time.
    """

    async def wait_first(self, *waited: Any, **options: Any) -> WaitResults:
        """Deliver a message, given with the end of the flow; anything else is waited for."""
        if len(waited) != 2 or self._may_wait():
            return await super().wait_first(*waited, **options)
        delivery, end_of_flow = waited
        end_of_flow.close()
        return WaitResults([delivery], [await delivery], False)

    def _may_wait(self) -> bool:
        is_flowing = self.flow_active and self.app.flow_control.is_active()
        return not is_flowing or any(topic.queue.full() for topic in self.app.topics)


Transport.Consumer = DirectConsumer


def make_app(settings: Settings) -> faust.App:
    """Make the app that consumes our topics.

    Raises:
        Misconfigured: one of Faust's own environment variables is set, which would override ours.
    """
    foreign = sorted(
        name
        for setting in FaustSettings.SETTINGS.values()
        if (name := setting.env_name) and name in os.environ
    )
    if foreign:
        raise Misconfigured(f"unset {', '.join(foreign)}: it would override Killstream's settings")
    return faust.App(
        settings.named(GROUP),
        broker=f"kafka://{settings.kafka_bootstrap.replace(',', ';')}",
        store="memory://",
        web_enabled=False,
        key_serializer="raw",
        value_serializer="raw",
        topic_replication_factor=settings.kafka_replication,
        broker_session_timeout=SESSION_TIMEOUT_S,
        broker_heartbeat_interval=SESSION_TIMEOUT_S / 3,
        broker_commit_interval=1.0,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        consumer_auto_offset_reset="earliest",
        consumer_metadata_max_age_ms=METADATA_MS,
        logging_config=None,
    )


app: Final = make_app(settings())
