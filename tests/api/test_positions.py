"""`after`: what no feed has is refused, on every way in, and disturbs nobody else."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.api.gateway import Connection, Writer, a_killmail, connect, query

DOCUMENTS = {
    "killmailAdded": "subscription ($after: Long) { killmailAdded(after: $after) { sequence } }",
    "killmailFeed": (
        "subscription ($after: Long) { killmailFeed(after: $after)"
        " { ... on KillmailAdded { sequence } } }"
    ),
    "feed": "query ($after: Long!) { feed(after: $after) { lastSequence } }",
}


@pytest.fixture
async def connection(client: aiohttp.ClientSession, writer: Writer) -> Any:
    await writer.add(1, 2, 3)
    async with connect(client) as opened:
        yield opened


async def refusal(connection: Connection, field: str, after: int) -> dict[str, Any]:
    payload = {"query": DOCUMENTS[field], "variables": {"after": after}}
    message = {"type": "subscribe", "id": "1", "payload": payload}
    await connection.socket.send_json(message)
    answer = await connection.socket.receive_json(timeout=5)
    assert answer["id"] == "1"
    if field == "feed":  # a query answers with its errors, then it is complete
        assert answer["type"] == "next"
        assert await connection.socket.receive_json(timeout=5) == {"type": "complete", "id": "1"}
        (error,) = answer["payload"]["errors"]
    else:
        assert answer["type"] == "error"
        (error,) = answer["payload"]
    refused: dict[str, Any] = error
    return refused


@pytest.mark.parametrize("field", DOCUMENTS)
@pytest.mark.parametrize("after", [-1, -(2**63)])
async def test_negative_after_is_refused(connection: Connection, field: str, after: int) -> None:
    error = await refusal(connection, field, after)
    assert error["extensions"] == {"code": "BAD_USER_INPUT"}
    assert str(after) in error["message"]


@pytest.mark.parametrize("field", DOCUMENTS)
@pytest.mark.parametrize("after", [4, 2**63 - 1])
async def test_after_beyond_the_end_is_an_error_that_names_the_end(
    connection: Connection, field: str, after: int
) -> None:
    error = await refusal(connection, field, after)
    assert error["extensions"] == {"code": "BEYOND_END", "lastSequence": 3}
    assert "3" in error["message"]


async def test_id_of_a_rejected_subscription_can_be_reused(
    connection: Connection, writer: Writer
) -> None:
    await refusal(connection, "killmailAdded", 99)
    await connection.subscribe(DOCUMENTS["killmailAdded"], after=3)
    await writer.add(4)
    assert await connection.next() == {"killmailAdded": {"sequence": 4}}


async def test_last_sequence_is_a_valid_position(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(1)
    assert await query(client, DOCUMENTS["feed"], after=1) == {
        "data": {"feed": {"lastSequence": 1}}
    }


async def test_after_is_compared_with_the_feed_table_and_not_with_the_tail(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    """A client may have resumed from another gateway, which was ahead of this one."""
    async with connect(client) as connection:
        await connection.subscribe(DOCUMENTS["killmailFeed"], "2")
        seen_elsewhere = await writer.store(a_killmail(1), a_killmail(2))
        await connection.subscribe(DOCUMENTS["killmailAdded"], after=2)
        await writer.publish(*seen_elsewhere)
        await writer.add(3)
        messages = [await connection.socket.receive_json(timeout=5) for _ in range(4)]
        assert sorted(
            (message["id"], data["sequence"])
            for message in messages
            for data in message["payload"]["data"].values()
        ) == [("1", 3), ("2", 1), ("2", 2), ("2", 3)]


async def test_invalid_after_of_one_client_does_not_affect_other_replays(
    client: aiohttp.ClientSession, writer: Writer
) -> None:
    await writer.add(*range(1, 6))
    async with connect(client) as one, connect(client) as another:
        await refusal(one, "killmailAdded", -(2**63))
        await another.subscribe(DOCUMENTS["killmailAdded"], after=0)
        async with asyncio.timeout(5):
            replayed = [(await another.next())["killmailAdded"]["sequence"] for _ in range(5)]
        assert replayed == [1, 2, 3, 4, 5]
