"""What the poller puts on its topic, and what it can't."""

import pytest

from actors.shared.reference import decode_reference, encode_reference
from actors.shared.topics import RECEIVED, open_producer
from streams.worker import send_references
from tests.support.esi import sent
from tests.support.made import a_body, a_reference
from tests.support.servers import empty_servers
from tests.support.topic_limits import create_limited_topics
from tests.support.topics import consumer_of, take


@pytest.mark.service
async def test_a_reference_too_large_for_its_topic_goes_straight_to_persist() -> None:
    references = [
        a_reference(a_body(i, padding="x" * (1_200_000 if i == 3 else 1)), i) for i in range(9)
    ]
    async with empty_servers() as settings:
        await create_limited_topics(settings, RECEIVED)
        async with open_producer(settings) as producer:
            await send_references(producer, RECEIVED.name, references)
        async with consumer_of(RECEIVED, settings) as consumer:
            taken = {decode_reference(m.value).position for m in await take(consumer, 8)}
    assert taken == set(range(9)) - {3}
    (message,) = sent("database")
    assert (message.actor_name, message.args) == ("persist", ([encode_reference(references[3])],))
