"""`killstream tail`: print each new killmail in one line, from the gateway's subscription."""

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
from deploy.cli.process import configure, fail
from deploy.ports import gateway_url
from deploy.shorten import printable

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
ANSWER_S: Final = 10.0
"""Time limit for the gateway's `connection_ack`."""
MIN_PAUSE_S: Final = 0.5
MAX_PAUSE_S: Final = 15.0
"""Pause before it reconnects; doubles from the minimum to the maximum."""

Killmail = dict[str, Any]


class SubscriptionLost(KillstreamError):
    """The subscription ended or failed; reconnecting may help."""


class RequestRejected(KillstreamError):
    """The gateway rejects the request; a retry gives the same result."""


class NoKillmail(KillstreamError):
    """No killmail arrived within the timeout."""


@dataclass
class Tail:
    """A subscription that reconnects and resumes."""

    url: str
    after: int | None = None
    """The last sequence received; None until the feed's end was read."""
    count: int = 0
    """Killmails received."""

    async def killmails(self) -> AsyncGenerator[Killmail, None]:
        """Yield killmails in the feed's order, each once; reconnects until closed.

        Raises:
            RequestRejected: the gateway rejects the subscription, or the server isn't Killstream's.
            InvalidURI: `url` isn't a websocket URL.
        """
        pause_s = MIN_PAUSE_S
        while True:
            try:
                async with aclosing(self._from_one_connection()) as received:
                    async for killmail in received:
                        pause_s = MIN_PAUSE_S
                        if killmail["sequence"] > (self.after or 0):
                            self.after = killmail["sequence"]
                            self.count += 1
                            yield killmail
            except InvalidURI:
                raise
            except (SubscriptionLost, WebSocketException, OSError) as error:
                wait_s = pause_s * random.uniform(0.5, 1)
                typer.echo(
                    f"tail: {self.url}: {_reason(error)}; reconnecting in {wait_s:.1f} s", err=True
                )
                await asyncio.sleep(wait_s)
                pause_s = min(2 * pause_s, MAX_PAUSE_S)

    async def _from_one_connection(self) -> AsyncGenerator[Killmail, None]:
        """Yield killmails until the connection fails."""
        async with connect(self.url, subprotocols=[PROTOCOL], close_timeout=1) as socket:
            if socket.subprotocol != PROTOCOL:
                raise RequestRejected(
                    f"{self.url} isn't Killstream's gateway: it doesn't support {PROTOCOL}"
                )
            await _send(socket, type="connection_init")
            async with asyncio.timeout(ANSWER_S):
                await _receive(socket, "connection_ack")
                if self.after is None:  # read at once, so that a later failure loses nothing
                    await _subscribe(socket, "last", LAST_SEQUENCE)
                    self.after = (await _next_result(socket, "last"))["feed"]["lastSequence"]
            await _subscribe(socket, "tail", DOCUMENT, after=self.after)
            while True:
                yield (await _next_result(socket, "tail"))["killmailAdded"]


def tail(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line.")
    ] = False,
    after: Annotated[
        int | None,
        typer.Option(min=0, help="Resume after this sequence; 0 starts with the oldest."),
    ] = None,
    url: Annotated[str | None, typer.Option(help="The gateway, as ws://HOST:4000/graphql.")] = None,
    timeout: Annotated[
        float | None,
        typer.Option(min=0, help="End after so many seconds without a killmail, with exit code 1."),
    ] = None,
) -> None:
    """Print new killmails, one per line, from a running gateway.

    After a lost connection it reconnects and resumes, without loss or duplicate. Ctrl-C ends it;
    it prints the number of killmails and the last sequence, which can be passed to --after.

    Example: killstream tail --json | jq -r .victim.shipTypeName
    """
    tailing = Tail(url or gateway_url(configure(), "ws"), after)
    try:
        asyncio.run(_print_all(tailing, json_line if as_json else line, timeout))
    except InvalidURI as error:
        fail(Misconfigured(str(error)))
    except (RequestRejected, NoKillmail) as error:
        fail(error)
    finally:
        last = "" if tailing.after is None else f", last sequence {tailing.after}"
        typer.echo(f"tail: {tailing.count} killmails{last}", err=True)


def line(killmail: Killmail) -> str:
    """Format a killmail as text: time, victim, ship, system, number of attackers, value."""
    victim = killmail["victim"]
    who = victim["characterName"] or victim["corporationName"] or "?"
    value = (killmail["zkb"] or {}).get("totalValue")
    attackers = killmail["attackerCount"]
    return printable(
        f"{killmail['killmailTime']}  {who} ({victim['shipTypeName'] or '?'})"
        f" in {killmail['solarSystemName'] or '?'},"
        f" {attackers} attacker{'' if attackers == 1 else 's'}, {isk(value)}"
    )


def json_line(killmail: Killmail) -> str:
    """Format a killmail as the gateway's JSON."""
    return msgspec.json.encode(killmail).decode()


def isk(value: float | None) -> str:
    """Format a value with the suffixes that players use: 1.24b, 350.10m, 9.00k."""
    if value is None:
        return "value unknown"
    for suffix, size in (("t", 1e12), ("b", 1e9), ("m", 1e6), ("k", 1e3)):
        if value >= size:
            return f"{value / size:.2f}{suffix} ISK"
    return f"{value:.2f} ISK"


async def _print_all(
    tailing: Tail, write: Callable[[Killmail], str], timeout_s: float | None
) -> None:
    """Print killmails until SIGINT or SIGTERM, or until standard output is closed.

    Raises:
        NoKillmail: none arrived within `timeout_s`.
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
                    raise NoKillmail(f"no killmail arrived within {timeout_s:g} s") from None
                sys.stdout.write(write(killmail) + "\n")
                sys.stdout.flush()

    printing = asyncio.create_task(print_each())
    for signum in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(signum, printing.cancel)
    with suppress(asyncio.CancelledError):
        try:
            await printing
        except BrokenPipeError:  # as in `| head`; Python's flush at exit would fail, too
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


async def _subscribe(
    socket: ClientConnection, operation: str, document: str, **variables: Any
) -> None:
    payload = {"query": document, "variables": variables}
    await _send(socket, id=operation, type="subscribe", payload=payload)


async def _send(socket: ClientConnection, **message: Any) -> None:
    await socket.send(msgspec.json.encode(message).decode())


async def _next_result(socket: ClientConnection, operation: str) -> dict[str, Any]:
    """Receive an operation's next result."""
    payload = (await _receive(socket, "next", operation))["payload"]
    if payload.get("errors"):
        raise SubscriptionLost(payload["errors"][0]["message"])
    data: dict[str, Any] = payload["data"]
    return data


async def _receive(socket: ClientConnection, kind: str, operation: str | None = None) -> Any:
    """Receive a message of a type; skips messages of other operations."""
    while True:
        message = msgspec.json.decode(await socket.recv())
        if message["type"] == "ping":
            await _send(socket, type="pong")
        elif message.get("id") != operation:
            continue
        elif message["type"] == kind:
            return message
        elif message["type"] == "error":
            raise RequestRejected(f"the gateway rejects it: {message['payload'][0]['message']}")
        elif message["type"] == "complete":
            raise SubscriptionLost("the gateway ended the subscription")


def _reason(error: BaseException) -> str:
    return str(error) or type(error).__name__
