"""`killstream tail`: a line a killmail, live, from the gateway's GraphQL subscription."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import typer
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidURI, WebSocketException
from websockets.typing import Subprotocol

from actors.shared.errors import KillstreamError, Misconfigured
from actors.shared.settings import Settings
from deploy.cli.process import configure, fail

DOCUMENT: Final = """
subscription Tail($after: Long) {
  killmailAdded(after: $after) {
    sequence killmailId killmailTime solarSystemName attackerCount
    victim { characterName corporationName shipTypeName }
    zkb { totalValue }
  }
}
"""
LAST_SEQUENCE: Final = "query LastSequence { feed(after: 0, first: 1) { lastSequence } }"
PROTOCOL: Final = Subprotocol("graphql-transport-ws")
ANSWER_WITHIN_S: Final = 10.0
"""How long the gateway may take to acknowledge us."""
LEAST_PAUSE_S: Final = 0.5
MOST_PAUSE_S: Final = 15.0
"""How long it pauses before it connects again; doubles from the one to the other."""

Killmail = dict[str, Any]


class Broken(KillstreamError):
    """The subscription broke, or can't be had now: try again."""


class NotTaken(KillstreamError):
    """The gateway refuses the request for good."""


class Silence(KillstreamError):
    """No killmail came for as long as the caller waits."""


@dataclass
class Tail:
    """A subscription that survives its connections; its fields say how far it is."""

    url: str
    after: int | None = None
    """The last sequence seen; None until the gateway says where the feed ends."""
    seen: int = 0

    async def killmails(self) -> AsyncGenerator[Killmail, None]:
        """Give killmails for ever, in the feed's order, each once, whatever breaks meanwhile.

        Raises:
            NotTaken: the gateway refuses the subscription, or isn't ours.
            InvalidURI: `url` is none.
        """
        pause_s = LEAST_PAUSE_S
        while True:
            try:
                async with aclosing(self._subscribed()) as subscribed:
                    async for killmail in subscribed:
                        pause_s = LEAST_PAUSE_S
                        if killmail["sequence"] > (self.after or 0):
                            self.after = killmail["sequence"]
                            self.seen += 1
                            yield killmail
            except InvalidURI:
                raise
            except (Broken, WebSocketException, OSError) as error:
                wait_s = pause_s * random.uniform(0.5, 1)
                typer.echo(f"tail: {self.url}: {_said(error)}; again in {wait_s:.1f} s", err=True)
                await asyncio.sleep(wait_s)
                pause_s = min(2 * pause_s, MOST_PAUSE_S)

    async def _subscribed(self) -> AsyncGenerator[Killmail, None]:
        """Give killmails until the connection breaks."""
        async with connect(self.url, subprotocols=[PROTOCOL], close_timeout=1) as socket:
            if socket.subprotocol != PROTOCOL:
                raise NotTaken(f"{self.url} doesn't speak {PROTOCOL}: is it Killstream's gateway?")
            await _send(socket, type="connection_init")
            async with asyncio.timeout(ANSWER_WITHIN_S):
                await _answer(socket, "connection_ack")
                if self.after is None:  # asked for, so that the very first break loses nothing
                    await _ask(socket, "last", LAST_SEQUENCE)
                    self.after = (await _data(socket, "last"))["feed"]["lastSequence"]
            await _ask(socket, "tail", DOCUMENT, after=self.after)
            while True:
                yield (await _data(socket, "tail"))["killmailAdded"]


def tail(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a line.")] = False,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Go on behind this sequence; 0 begins with the oldest stored."),
    ] = None,
    url: Annotated[
        str | None, typer.Option(help="Another gateway, as ws://HOST:4000/graphql.")
    ] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, help="End after so many seconds without a killmail, with exit code 1."),
    ] = None,
) -> None:
    """Print killmails as they come, one a line, from a running gateway.

    When the connection breaks it comes back and goes on where it was: no killmail is lost and none
    comes twice. Ctrl-C ends it with the count and the last sequence, which --after takes.

    Example: killstream tail --json | jq -r .victim.shipTypeName
    """
    tailing = Tail(url or gateway_url(configure()), after)
    try:
        asyncio.run(_print_all(tailing, json_line if as_json else line, timeout))
    except InvalidURI as error:
        fail(Misconfigured(str(error)))
    except (NotTaken, Silence) as error:
        fail(error)
    finally:
        last = "" if tailing.after is None else f", last sequence {tailing.after}"
        typer.echo(f"tail: {tailing.seen} killmails{last}", err=True)


def gateway_url(settings: Settings) -> str:
    """Say where the gateway of these settings is reached from this host."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.api_host, settings.api_host)
    return f"ws://{f'[{host}]' if ':' in host else host}:{settings.api_port}/graphql"


def line(killmail: Killmail) -> str:
    """Write a killmail for people: time, who, in what, where, by how many, worth what."""
    victim = killmail["victim"]
    who = victim["characterName"] or victim["corporationName"] or "?"
    value = (killmail["zkb"] or {}).get("totalValue")
    attackers = killmail["attackerCount"]
    return (
        f"{killmail['killmailTime']}  {who} ({victim['shipTypeName'] or '?'})"
        f" in {killmail['solarSystemName'] or '?'},"
        f" {attackers} attacker{'' if attackers == 1 else 's'}, {isk(value)}"
    )


def json_line(killmail: Killmail) -> str:
    """Write a killmail for programs, as the gateway gave it."""
    return msgspec.json.encode(killmail).decode()


def isk(value: float | None) -> str:
    """Write a value the way players do: 1.24b, 350.10m, 9.00k."""
    if value is None:
        return "value unknown"
    for suffix, size in (("t", 1e12), ("b", 1e9), ("m", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f}{suffix} ISK"
    return f"{value:.2f} ISK"


async def _print_all(
    tailing: Tail, write: Callable[[Killmail], str], timeout_s: float | None
) -> None:
    """Print until SIGINT or SIGTERM, or until nobody reads any more.

    Raises:
        Silence: no killmail came for so long.
    """

    async def print_each() -> None:
        async with aclosing(tailing.killmails()) as killmails:
            while True:
                try:
                    async with asyncio.timeout(timeout_s) as limit:
                        killmail = await anext(killmails)
                except TimeoutError:
                    if not limit.expired():
                        raise
                    raise Silence(f"no killmail came within {timeout_s:g} s") from None
                sys.stdout.write(write(killmail) + "\n")
                sys.stdout.flush()

    printing = asyncio.create_task(print_each())
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, printing.cancel)
    with suppress(asyncio.CancelledError):
        try:
            await printing
        except BrokenPipeError:  # as in `| head`; Python would complain when it flushes at exit
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _ask(socket: ClientConnection, operation: str, document: str, **variables: Any) -> None:
    payload = {"query": document, "variables": variables}
    await _send(socket, id=operation, type="subscribe", payload=payload)


async def _send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(msgspec.json.encode(message).decode())


async def _data(socket: ClientConnection, operation: str) -> dict[str, Any]:
    """Wait for an operation's next result."""
    payload = (await _answer(socket, "next", operation))["payload"]
    if payload.get("errors"):
        raise Broken(payload["errors"][0]["message"])
    data: dict[str, Any] = payload["data"]
    return data


async def _answer(socket: ClientConnection, kind: str, operation: str | None = None) -> Any:
    """Wait for a message of a kind; what concerns other operations is passed over."""
    while True:
        message = msgspec.json.decode(await socket.recv())
        if message["type"] == "ping":
            await _send(socket, type="pong")
        elif message.get("id") != operation:
            continue
        elif message["type"] == kind:
            return message
        elif message["type"] == "error":
            raise NotTaken(f"the gateway refuses it: {message['payload'][0]['message']}")
        elif message["type"] == "complete":
            raise Broken("the gateway ended the subscription")


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
