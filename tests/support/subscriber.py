"""A dashboard client: subscribes by graphql-transport-ws and remembers what came."""

import asyncio
import time
from collections import Counter

import aiohttp
import msgspec

from tests.support.waiting import within

ON_NEW_KILLMAIL = """
subscription OnNewKillmail {
  killmailAdded { killmailId killmailTime victim { characterName shipTypeName } }
}
"""
RESUMING = """
subscription Resuming($after: Long) {
  killmailAdded(after: $after) { sequence killmailId }
}
"""
PROTOCOLS = ["graphql-transport-ws"]
HANDSHAKE_S = 30


class Subscriber:
    """One subscription. With `after` it resumes there and comes back when the gateway goes."""

    def __init__(self, url: str, after: int | None = None) -> None:
        self.url = url.replace("http", "ws", 1) + "/graphql"
        self.after = after
        self.seen: Counter[int] = Counter()
        self.interruptions: Counter[str] = Counter()
        """Why the subscription ended and was resumed."""
        self.ready = asyncio.Event()

    async def run(self) -> None:
        """Take what comes until cancelled."""
        while True:
            try:
                await self._connected()
            except (aiohttp.ClientError, aiohttp.WSMessageTypeError, OSError) as error:
                if self.after is None:
                    raise
                self.interruptions[type(error).__name__] += 1
            await asyncio.sleep(0.2)

    async def _connected(self) -> None:
        document = ON_NEW_KILLMAIL if self.after is None else RESUMING
        variables = {} if self.after is None else {"after": self.after}
        async with (
            aiohttp.ClientSession() as http,
            http.ws_connect(self.url, protocols=PROTOCOLS) as socket,
        ):
            await socket.send_json({"type": "connection_init"})
            async with asyncio.timeout(HANDSHAKE_S):
                assert (await socket.receive_json())["type"] == "connection_ack"
            payload = {"query": document, "variables": variables}
            await socket.send_json({"id": "1", "type": "subscribe", "payload": payload})
            self.ready.set()
            async for frame in socket:
                message = msgspec.json.decode(frame.data)
                if message["type"] == "ping":
                    await socket.send_json({"type": "pong"})
                elif message["type"] == "next":
                    self.take(message["payload"]["data"]["killmailAdded"])
                elif message["type"] in ("error", "complete") and self.after is not None:
                    self.interruptions[message["type"]] += 1
                    return
                else:
                    raise AssertionError(f"unexpected {message}")
            self.interruptions[f"closed with {socket.close_code}"] += 1

    def take(self, killmail: dict[str, int]) -> None:
        """Remember one killmail."""
        self.seen[killmail["killmailId"]] += 1
        if self.after is not None:
            self.after = killmail["sequence"]

    async def until(self, count: int, timeout_s: float = 600) -> None:
        """Wait until so many different killmails came."""
        async with within(timeout_s, lambda: f"{len(self.seen)} of {count} came"):
            while len(self.seen) < count:
                await asyncio.sleep(0.2)


class TimedSubscriber(Subscriber):
    """Records when each killmail came first."""

    def __init__(self, url: str) -> None:
        super().__init__(url, after=0)
        self.came_s: dict[int, float] = {}

    def take(self, killmail: dict[str, int]) -> None:
        """Record the time first."""
        self.came_s.setdefault(killmail["killmailId"], time.time())
        super().take(killmail)
