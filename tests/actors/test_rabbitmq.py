"""Connections to RabbitMQ."""

from typing import Any

import pika
import pytest
from pika.adapters.utils.io_services_utils import _AsyncTransportBase

from actors.rabbitmq import connection_parameters
from tests.support.servers import server_urls


@pytest.mark.service
def test_a_large_message_is_received_in_few_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    receive = _AsyncTransportBase._sigint_safe_recv

    def counted(sock: Any, max_bytes: int) -> bytes:
        calls.append(max_bytes)
        received: bytes = receive(sock, max_bytes)
        return received

    body = b"x" * 2**20
    connection = pika.BlockingConnection(connection_parameters(server_urls()["rabbitmq_url"]))
    channel = connection.channel()
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, body)
    monkeypatch.setattr(_AsyncTransportBase, "_sigint_safe_recv", staticmethod(counted))
    _, _, received = channel.basic_get(queue, auto_ack=True)
    assert received == body
    assert len(calls) < 100
    connection.close()
