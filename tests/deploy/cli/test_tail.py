"""`killstream tail` against the real gateway."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import msgspec
import pytest
from websockets.asyncio.server import ServerConnection, serve

from actors.shared.settings import Settings
from deploy.cli import tail
from deploy.cli.tail import Killmail, RequestRejected, Tail, isk, json_line, line
from deploy.ports import gateway_url
from tests.deploy.cli.conftest import Gateway, Store

KILLSTREAM = Path(sys.executable).with_name("killstream")
A_KILLMAIL: Killmail = {
    "sequence": 7,
    "killmailId": 1,
    "killmailTime": "2026-01-02T03:04:05Z",
    "solarSystemName": "Amamake",
    "attackerCount": 1,
    "victim": {"characterName": "Ann", "corporationName": "Corp", "shipTypeName": "Rifter"},
    "zkb": {"totalValue": 1_234_000_000.0},
}


async def take(killmails: AsyncIterator[Killmail], count: int) -> list[int]:
    return [(await anext(killmails))["sequence"] for _ in range(count)]


async def test_resumes_after_an_outage_of_the_gateway(
    embedded: Settings, persist: Store, gateway: Gateway
) -> None:
    tailing = Tail(gateway_url(embedded, "ws"), after=0)
    await persist(3)
    async with aclosing(tailing.killmails()) as killmails:
        async with gateway():
            assert await take(killmails, 3) == [1, 2, 3]
        await persist(2)
        async with gateway():
            assert await take(killmails, 2) == [4, 5]
            await persist(1)
            assert await take(killmails, 1) == [6]
    assert (tailing.after, tailing.count) == (6, 6)


async def test_starts_at_the_end_of_the_feed_and_loses_nothing_before_the_first_killmail(
    embedded: Settings, persist: Store, gateway: Gateway
) -> None:
    tailing = Tail(gateway_url(embedded, "ws"))
    await persist(3)
    async with aclosing(tailing.killmails()) as killmails:
        first = asyncio.ensure_future(take(killmails, 2))
        async with gateway():
            while tailing.after is None:
                await asyncio.sleep(0.01)
        await persist(2)
        async with gateway():
            assert await first == [4, 5]


async def test_duplicates_are_dropped_and_pings_are_answered() -> None:
    async def twice(socket: ServerConnection) -> None:
        await socket.recv()
        await socket.send('{"type":"ping"}')
        assert msgspec.json.decode(await socket.recv()) == {"type": "pong"}
        await socket.send('{"type":"connection_ack"}')
        asked = msgspec.json.decode(await socket.recv())
        for sequence in (7, 7, 8):
            data = {"killmailAdded": {**A_KILLMAIL, "sequence": sequence}}
            answer = {"type": "next", "id": asked["id"], "payload": {"data": data}}
            await socket.send(msgspec.json.encode(answer).decode())
        await socket.wait_closed()

    async with serve(twice, "127.0.0.1", 0, subprotocols=[tail.PROTOCOL]) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        async with aclosing(Tail(f"ws://127.0.0.1:{port}", 6).killmails()) as killmails:
            assert await take(killmails, 2) == [7, 8]


async def test_a_rejected_subscription_ends_with_the_reason(
    embedded: Settings, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tail, "DOCUMENT", "subscription { noSuchField }")
    async with gateway():
        with pytest.raises(RequestRejected, match="noSuchField"):
            await anext(Tail(gateway_url(embedded, "ws"), 0).killmails())


async def test_another_kind_of_server_ends_with_the_reason() -> None:
    async def silent(socket: ServerConnection) -> None:
        await socket.wait_closed()

    async with serve(silent, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(RequestRejected, match="gateway"):
            await anext(Tail(f"ws://127.0.0.1:{port}", 0).killmails())


async def start(settings: Settings, *arguments: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        KILLSTREAM,
        "tail",
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=os.environ | {"KILLSTREAM_API_PORT": str(settings.api_port)},
    )


@pytest.mark.parametrize("ending", [signal.SIGINT, signal.SIGTERM])
async def test_command_prints_lines_and_ends_with_its_count(
    ending: signal.Signals, embedded: Settings, persist: Store, gateway: Gateway
) -> None:
    await persist(3)
    async with gateway():
        process = await start(embedded, "--json", "--after", "1")
        assert process.stdout
        lines = [await process.stdout.readline() for _ in range(2)]
        process.send_signal(ending)
        _, errors = await process.communicate()
    assert [msgspec.json.decode(text)["sequence"] for text in lines] == [2, 3]
    assert process.returncode == 0
    assert errors.decode() == "tail: 2 killmails, last sequence 3\n"


async def test_command_ends_without_error_when_its_output_is_closed(
    embedded: Settings, persist: Store, gateway: Gateway
) -> None:
    await persist(1)
    async with gateway():
        reading, writing = os.pipe()
        process = await asyncio.create_subprocess_exec(
            KILLSTREAM,
            *("tail", "--after", "0", "--url", gateway_url(embedded, "ws")),
            stdout=writing,
            stderr=asyncio.subprocess.PIPE,
        )
        os.close(writing)
        os.close(reading)
        _, errors = await process.communicate()
    assert process.returncode == 0
    assert errors.decode() == "tail: 1 killmails, last sequence 1\n"


async def test_command_reports_an_invalid_url() -> None:
    process = await asyncio.create_subprocess_exec(
        KILLSTREAM, "tail", "--url", "http://x", stderr=asyncio.subprocess.PIPE
    )
    _, errors = await process.communicate()
    assert process.returncode == 2
    assert "http://x" in errors.decode()
    assert "Traceback" not in errors.decode()


async def test_command_ends_after_its_timeout_without_a_killmail(
    embedded: Settings, persist: Store, gateway: Gateway
) -> None:
    async def tailed(*arguments: str) -> tuple[int | None, str, str]:
        process = await asyncio.create_subprocess_exec(
            KILLSTREAM,
            "tail",
            f"--url={gateway_url(embedded, 'ws')}",
            *arguments,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        output, errors = await process.communicate()
        return process.returncode, output.decode(), errors.decode()

    code, output, errors = await tailed("--timeout", "0.2")
    assert (code, output) == (1, "")
    assert "no killmail arrived within 0.2 s" in errors
    await persist(2)
    async with gateway():
        code, output, errors = await tailed("--after", "0", "--timeout", "1")
    assert (code, len(output.splitlines())) == (1, 2)
    assert errors.endswith("tail: 2 killmails, last sequence 2\n")


def test_line_has_victim_ship_and_system() -> None:
    assert line(A_KILLMAIL) == (
        "2026-01-02T03:04:05Z  Ann (Rifter) in Amamake, 1 attacker, 1.23b ISK"
    )


def test_line_of_a_structure_without_names_and_value() -> None:
    structure = {
        **A_KILLMAIL,
        "attackerCount": 3,
        "solarSystemName": None,
        "victim": {"characterName": None, "corporationName": None, "shipTypeName": None},
        "zkb": None,
    }
    assert line(structure) == "2026-01-02T03:04:05Z  ? (?) in ?, 3 attackers, value unknown"


def test_line_holds_nothing_that_a_terminal_obeys() -> None:
    hostile = {**A_KILLMAIL, "solarSystemName": "\x1b]0;title\x07\nAmamake"}
    assert "in \\x1b]0;title\\x07\\nAmamake," in line(hostile)


def test_json_line_is_one_line() -> None:
    assert msgspec.json.decode(json_line(A_KILLMAIL)) == A_KILLMAIL
    assert "\n" not in json_line(A_KILLMAIL)


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "value unknown"), (0, "0.00 ISK"), (9_000, "9.00k ISK"), (2.5e12, "2.50t ISK")],
)
def test_value_is_formatted_as_players_do(value: float | None, text: str) -> None:
    assert isk(value) == text


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "ws://127.0.0.1:4000/graphql"),
        ("::", "ws://[::1]:4000/graphql"),
        ("kills.example", "ws://kills.example:4000/graphql"),
    ],
)
def test_gateway_is_reached_from_this_host(host: str, url: str) -> None:
    assert gateway_url(Settings(api_host=host), "ws") == url
