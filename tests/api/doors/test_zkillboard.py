"""zKillboard's websocket."""

import asyncio
from typing import Any

import aiohttp
import msgspec
import pytest

from actors.shared.feed import Entry
from actors.shared.finding.universe import Location, Ship, Universe
from actors.shared.metrics import SUBSCRIBERS_CLOSED
from actors.shared.settings import Settings
from api.doors import channels
from api.doors import zkillboard as door
from api.view import View
from tests.api.gateway import FEED_ID, TIME, Writer, a_killmail, serve

UNIVERSE = Universe(TIME, {3: Location(20, 10, 2)}, {2: Ship(29, 6), 5: Ship(26, 6)})
ZKB = {"totalValue": 2e10, "labels": ["pvp", "isk:10b+"], "locationID": 77}
CHANNELS = {
    *("killstream", "all:*", "system:3", "constellation:20", "region:10", "location:77"),
    *("character:1", "character:4", "corporation:8", "alliance:9", "faction:500001"),
    *("ship:2", "ship:5", "group:26", "group:29", "label:pvp", "label:isk:10b+"),
    "total_value:10b+",
}
UNKNOWN = ("", "killstreams", "character:", "character:x", "character:-1", "character:01", "all:1")


async def _asked(socket: aiohttp.ClientWebSocketResponse, *messages: Any) -> list[Any]:
    """Send messages; return what is answered before the pong to a ping."""
    for message in messages:
        await socket.send_str(message if isinstance(message, str) else _encoded(message))
    await socket.send_str("ping")
    answers = []
    while (answer := await socket.receive_str(timeout=10)) != "pong":
        answers.append(msgspec.json.decode(answer))
    return answers


def _encoded(message: Any) -> str:
    return msgspec.json.encode(message).decode()


def _sub(channel: str) -> dict[str, str]:
    return {"action": "sub", "channel": channel}


async def test_channels_get_what_is_on_them(client: aiohttp.ClientSession, writer: Writer) -> None:
    async with client.ws_connect("/websocket/") as socket:
        assert await _asked(socket, _sub("character:4"), _sub("ship:99"), _sub("killstream")) == []
        (added,) = await writer.store(body := a_killmail(7), zkb=ZKB)
        await writer.publish(added)
        assert await socket.receive_json(timeout=10) == {
            "action": "littlekill",
            "killID": 7,
            "character_id": 1,
            "corporation_id": None,
            "alliance_id": None,
            "ship_type_id": 2,
            "group_id": None,
            "url": "https://zkillboard.com/kill/7/",
            "hash": "a" * 40,
            "channel": "character:4",
        }
        assert await socket.receive_json(timeout=10) == msgspec.json.decode(body) | {
            "zkb": ZKB
            | {
                "hash": "a" * 40,
                "esi": f"https://esi.evetech.net/killmails/7/{'a' * 40}/",
                "url": "https://zkillboard.com/kill/7/",
            }
        }
        unsub = {"action": "unsub", "channel": "killstream"}
        assert await _asked(socket, unsub, unsub) == []
        await writer.publish(*await writer.store(a_killmail(7), kind="updated"))
        await writer.add(8, origin="import")  # months before it was stored
        await writer.add(9)
        assert (await socket.receive_json(timeout=10))["killID"] == 9


def test_a_killmail_is_on_the_channels_of_all_who_are_involved() -> None:
    victim = {"ship_type_id": 2, "damage_taken": 1, "character_id": 1, "corporation_id": 8}
    body = a_killmail(7, victim=victim | {"alliance_id": 9, "faction_id": 500001})
    raw, zkb = msgspec.Raw(body), msgspec.Raw(msgspec.json.encode(ZKB))
    view = View(Entry(1, "added", 7, "a" * 40, 1.0, raw, zkb=zkb, feed_id=FEED_ID))
    on = channels.channels_of(view, UNIVERSE)
    assert on == {*CHANNELS, "label:pvp"} | {one for one in on if one.endswith(":None")}
    assert all(channels.is_channel(name) for name in CHANNELS)
    assert not any(
        channels.is_channel(name) for name in (*UNKNOWN, *(on - {*CHANNELS, "label:pvp"}))
    )
    summary = msgspec.json.decode(channels.message(view, "group:29", UNIVERSE))
    assert (summary["group_id"], summary["channel"]) == (29, "group:29")


async def test_odd_messages_are_answered(client: aiohttp.ClientSession) -> None:
    odd = ("{", "null", "[]", '{"action":"sub"}', '{"action":1,"channel":"all:*"}', "[" * 900, "\0")
    async with client.ws_connect("/websocket") as socket:
        for channel in UNKNOWN:
            (answer,) = await _asked(socket, _sub(channel))
            assert answer == {"action": "error", "channel": channel, "message": "unknown channel"}
        for message in odd:
            (answer,) = await _asked(socket, message)
            assert (answer["action"], "message" in answer) == ("error", True)
        (answer,) = await _asked(socket, {"action": "shout", "channel": "all:*"})
        assert answer["message"].startswith("unknown action")
        await socket.send_bytes(b"\xff\xfe")
        assert (await socket.receive_json(timeout=10))["action"] == "error"
        await socket.send_str("x" * 1001)
        assert (await socket.receive(timeout=10)).data == door.TOO_BIG


async def test_connections_and_channels_are_bounded(
    settings: Settings, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "MAX_CHANNELS", 2)
    few = settings.model_copy(update={"api_streams_per_client": 1})
    async with aiohttp.ClientSession() as client:
        async with serve(few) as address:
            socket = await client.ws_connect(f"{address}/websocket/")
            wanted = [_sub(f"system:{n}") for n in (1, 2, 2, 3)]
            (answer,) = await _asked(socket, *wanted)
            assert answer["message"] == "at most 2 channels"
            second = await client.ws_connect(f"{address}/websocket/")
            assert (await second.receive(timeout=10)).data == door.TRY_AGAIN_LATER
        assert (await socket.receive(timeout=10)).data == door.RESTARTING


async def test_a_client_that_reads_nothing_is_closed(
    client: aiohttp.ClientSession, writer: Writer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(door, "SEND_S", 0.2)
    blocked = SUBSCRIBERS_CLOSED.labels(reason="blocked")
    before = blocked._value.get()
    async with client.ws_connect("/websocket/", max_msg_size=0) as socket:
        await _asked(socket, _sub("killstream"))
        assert socket._conn is not None
        transport = socket._conn.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        bodies = [a_killmail(id_, padding="x" * 500_000) for id_ in range(1, 31)]
        await writer.publish(*await writer.store(*bodies))
        async with asyncio.timeout(10):
            while blocked._value.get() == before:
                await asyncio.sleep(0.02)
        transport.abort()
