"""graphql-transport-ws to the letter, and what ends a connection or one of its operations."""

import asyncio
from typing import Any

import aiohttp
import pytest

from api.socket import connection as connection_module
from api.socket.codes import NOT_ACCEPTABLE, TOO_MANY
from api.socket.server import PROTOCOL
from tests.api.gateway import Writer, a_killmail, connect

INIT = {"type": "connection_init"}


async def test_queries_run_over_the_websocket_too(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.store(a_killmail(1))
    async with connect(client) as connection:
        payload = {"query": "{ killmail(id: 1) { killmailId } }"}
        await connection.socket.send_json({"type": "subscribe", "id": "q", "payload": payload})
        assert await connection.next() == {"killmail": {"killmailId": 1}}
        assert await connection.socket.receive_json() == {"type": "complete", "id": "q"}


async def test_subscription_that_cannot_start_gets_an_error_with_the_reason(
    client: aiohttp.ClientSession,
) -> None:
    async with connect(client) as connection:
        for document in (
            "subscription { nothing }",
            "subscription {",
            "subscription { killmailFeed }",
        ):
            payload = {"query": document}
            await connection.socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
            message = await connection.socket.receive_json()
            assert (message["type"], message["id"]) == ("error", "1")
            assert message["payload"][0]["extensions"]["code"].startswith("GRAPHQL_")


async def test_complete_ends_an_operation_and_frees_its_id(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    document = "subscription { killmailAdded { killmailId } }"
    async with connect(client) as connection:
        await connection.subscribe(document)
        await connection.socket.send_json({"type": "complete", "id": "1"})
        await connection.subscribe(document)
        await writer.add(5)
        assert await connection.next() == {"killmailAdded": {"killmailId": 5}}


SUBSCRIBE = {
    "type": "subscribe",
    "id": "1",
    "payload": {"query": "subscription { killmailFeed { __typename } }"},
}


@pytest.mark.parametrize(
    ("messages", "code"),
    [
        (["no json"], 4400),
        ([{"type": "nonsense"}], 4400),
        ([{"id": "1"}], 4400),
        ([INIT, {"type": "subscribe", "id": "1"}], 4400),
        ([INIT, {"type": "subscribe", "id": 1, "payload": {}}], 4400),
        ([SUBSCRIBE], 4401),
        ([INIT, SUBSCRIBE, SUBSCRIBE], 4409),
        ([INIT, INIT], 4429),
    ],
)
async def test_protocol_violation_closes_with_its_code(
    client: aiohttp.ClientSession, messages: list[Any], code: int
) -> None:
    async with client.ws_connect("/graphql", protocols=[PROTOCOL]) as socket:
        for message in messages:
            await (socket.send_str if isinstance(message, str) else socket.send_json)(message)
        async for _ in socket:
            pass
        assert socket.close_code == code


async def test_other_subprotocols_are_refused(client: aiohttp.ClientSession) -> None:
    async with client.ws_connect("/graphql") as socket:
        await socket.receive()
        assert socket.close_code == NOT_ACCEPTABLE


async def test_client_that_never_initialises_is_closed(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "INIT_S", 0.05)
    async with client.ws_connect("/graphql", protocols=[PROTOCOL]) as socket:
        await socket.receive()
        assert socket.close_code == 4408


async def test_operations_of_a_connection_have_a_limit(
    client: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "MAX_OPERATIONS", 2)
    async with connect(client) as connection:
        for n in range(3):
            await connection.socket.send_json(SUBSCRIBE | {"id": str(n)})
        await connection.socket.receive()
        assert connection.socket.close_code == TOO_MANY


async def test_client_that_does_not_read_is_closed(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection_module, "BLOCKED_S", 0.2)
    document = "subscription { killmailAdded { zkb { labels } } }"
    zkb = {"labels": ["x" * 100_000] * 10}
    async with connect(client) as connection:
        await connection.subscribe(document)
        response = connection.socket._response.connection
        assert response
        assert response.transport
        response.transport.pause_reading()
        for killmail_id in range(1, 21):
            await writer.publish(*await writer.store(a_killmail(killmail_id), zkb=zkb))
        async with asyncio.timeout(20):
            while "killstream_subscribers 0.0" not in (metrics := await text(client, "/metrics")):
                pass
        assert 'killstream_subscribers_closed_total{reason="blocked"}' in metrics
        response.transport.abort()


async def text(client: aiohttp.ClientSession, path: str) -> str:
    async with client.get(path) as answer:
        return await answer.text()


@pytest.mark.parametrize(
    ("document", "name"),
    [
        ("query A { __typename }", "B"),
        ("query A { __typename }", ""),
        ("subscription A { killmailFeed { __typename } }", "B"),
        ("query A { ...B } fragment B on Query { __typename }", "B"),
        ("fragment B on Query { __typename }", None),
        ("query A { __typename } query B { __typename }", None),
    ],
)
async def test_unknown_operation_name_ends_its_operation_only(
    client: aiohttp.ClientSession, writer: Writer, document: str, name: str | None
) -> None:
    async with connect(client) as connection:
        await connection.subscribe("subscription { killmailAdded { killmailId } }", "other")
        payload = {"query": document, "operationName": name}
        await connection.socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
        message = await connection.socket.receive_json(timeout=5)
        assert (message["type"], message["id"]) == ("error", "1")
        assert message["payload"][0]["extensions"] == {"code": "GRAPHQL_VALIDATION_FAILED"}
        await writer.add(1)
        assert await connection.next() == {"killmailAdded": {"killmailId": 1}}


DEEP = "subscription { killmailAdded(after: " + "[" * 3_000 + "]" * 900 + ") { killmailId } }"


async def test_document_too_deep_to_parse_ends_its_operation_only(
    client: aiohttp.ClientSession,
) -> None:
    async with connect(client) as connection:
        payload = {"query": DEEP}
        await connection.socket.send_json({"type": "subscribe", "id": "1", "payload": payload})
        message = await connection.socket.receive_json(timeout=5)
        assert (message["type"], message["id"]) == ("error", "1")
        await connection.socket.send_json({"type": "ping"})
        assert (await connection.socket.receive_json(timeout=5))["type"] == "pong"
