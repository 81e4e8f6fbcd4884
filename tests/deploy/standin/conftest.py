from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest

from deploy.standin.faults import Faults
from deploy.standin.server import Standin, StandinOptions, start_standin
from deploy.standin.synthetic import SyntheticKillmails

NOON = 1_790_000_000.0


@dataclass
class Clock:
    """A clock that stands until a test moves it."""

    now_s: float = NOON

    def __call__(self) -> float:
        return self.now_s


@dataclass(frozen=True)
class Answer:
    """What a request brought, read to its end."""

    status: int
    headers: Mapping[str, str]
    content_type: str
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


@dataclass(frozen=True)
class Client:
    """Asks one stand-in, and never follows a redirect by itself."""

    session: aiohttp.ClientSession
    standin: Standin

    async def get(self, path: str, **options: Any) -> Answer:
        return await self.ask("GET", path, **options)

    async def ask(self, method: str, path: str, **options: Any) -> Answer:
        url = self.standin.url + path
        async with self.session.request(method, url, allow_redirects=False, **options) as answer:
            body = await answer.read()
            return Answer(answer.status, answer.headers, answer.content_type, body)

    async def json(self, path: str, **options: Any) -> Any:
        answer = await self.get(path, **options)
        assert answer.status == 200
        return answer.json()

    async def switch(self, **faults: Any) -> None:
        answer = await self.ask("PUT", "/standin/faults", json=faults)
        assert answer.status == 200, answer.body

    async def stats(self) -> Any:
        return await self.json("/standin/stats")


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def start(clock: Clock) -> AsyncIterator[Start]:
    """Start stand-ins: 20 made-up killmails, all out, limits off, unless told otherwise."""
    async with AsyncExitStack() as stack:

        async def start_one(**options: Any) -> Client:
            faults = Faults(**options.pop("faults", {}))
            given: dict[str, Any] = {"synthetic": 20, "limits": False, "clock": clock}
            standin = await start_standin(StandinOptions(**(given | options), faults=faults))
            stack.push_async_callback(standin.stop)
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Client(session, standin)

        yield start_one


@pytest.fixture
def lines() -> list[bytes]:
    """Ten bodies, with spaces that no encoder of ours would write."""
    return [one.body.replace(b":", b": ", 3) for one in SyntheticKillmails(10, 7, None, None)]


@pytest.fixture
def killmails_file(tmp_path: Path, lines: list[bytes]) -> Path:
    """A file of them, one a line."""
    path = tmp_path / "killmails.jsonl"
    path.write_bytes(b"\n".join(lines) + b"\n")
    return path
