"""HTTP requests to an upstream: rate limited, bounded, retried.

A failure pauses all requests; after that one request at a time is sent until one succeeds.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import aiohttp
import structlog
from yarl import URL

from actors.shared.killmail import MAX_BODY_BYTES
from actors.shared.settings import Settings, masked
from actors.shared.useragent import user_agent
from streams.sources.bans import Ban
from streams.sources.pace import Pace
from streams.sources.waits import Waits

MAX_REDIRECTS: Final = 5
MAX_ANSWER_BYTES: Final = MAX_BODY_BYTES

log: Final = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Answer:
    """A response; redirects were followed unless the redirect itself is the answer."""

    status: int
    body: bytes
    path: str
    """The path after redirects."""
    redirects: int = 0
    location: URL | None = None
    """The redirect's target, when the redirect is the answer."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a response is unusable, and the pause after it, which doubles up to `max_s`."""

    reason: str
    wait_s: float
    max_s: float
    is_ban: bool = False
    """Whether it concerns all requests from this address, also those of other processes."""


Classify = Callable[[Answer], Failure | None]
IsAnswer = Callable[[URL], bool]
REDIRECTS: Final = (301, 302, 303, 307, 308)


@asynccontextmanager
async def open_upstream(
    settings: Settings,
    base_url: str,
    per_s: float,
    waits: Waits,
    classify: Classify,
    is_answer: IsAnswer = lambda _: False,
    ban: Ban | None = None,
) -> AsyncIterator["Upstream"]:
    """Open the connections to one upstream.

    A redirect is not followed when `is_answer` returns True for its target. `ban` is what this
    process shares with others that send requests there.

    Raises:
        Misconfigured: KILLSTREAM_CONTACT is missing, and the upstream isn't on this machine.
    """
    async with aiohttp.ClientSession(
        headers={"User-Agent": user_agent(settings, base_url), "Accept-Encoding": "gzip"},
        timeout=aiohttp.ClientTimeout(total=waits.request_s),
        cookie_jar=aiohttp.DummyCookieJar(),
    ) as session:
        url, pace = base_url.rstrip("/"), Pace(per_s)
        yield Upstream(session, url, pace, waits, classify, is_answer, ban or Ban())


class Upstream:
    """Sends requests and retries them until `classify` finds no failure."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        base_url: str,
        pace: Pace,
        waits: Waits,
        classify: Classify,
        is_answer: IsAnswer,
        ban: Ban,
    ) -> None:
        self._session = session
        self._base_url = base_url
        self._pace = pace
        self._waits = waits
        self._classify = classify
        self._is_answer = is_answer
        self._ban = ban
        self._one_at_a_time = asyncio.Lock()
        self._failures = 0
        self._since_s = 0.0
        self._failed_s = 0.0
        self._until_s = 0.0
        self.answered_at: datetime | None = None
        """Time of the last usable response."""

    async def get(self, path: str, params: Mapping[str, str] | None = None) -> Answer:
        """Send a request; retries until there is a usable response or it is cancelled."""
        while True:
            if not self._failures and self._wait_s <= 0:
                answer = await self._try(path, params, self._classify)
            else:
                async with self._one_at_a_time:
                    while (wait_s := self._wait_s) > 0:  # noqa: ASYNC110  # it may grow meanwhile
                        await asyncio.sleep(wait_s)
                    answer = await self._try(path, params, self._classify)
            if answer is not None:
                return answer

    async def try_once(
        self, path: str, params: Mapping[str, str] | None, classify: Classify
    ) -> Answer | None:
        """Send a request once; None on a failure or during a pause."""
        if self._wait_s > 0:
            return None
        return await self._try(path, params, classify)

    @property
    def _wait_s(self) -> float:
        """How long no request may be sent; negative when one may."""
        return max(self._until_s, self._ban.until_s) - asyncio.get_running_loop().time()

    async def _try(
        self, path: str, params: Mapping[str, str] | None, classify: Classify
    ) -> Answer | None:
        await self._pace.turn()
        began_s = asyncio.get_running_loop().time()
        try:
            answer = await self._ask(path, params)
            failure = classify(answer)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            reason = f"{type(error).__name__}: {error}".rstrip(": ")
            failure = Failure(reason, self._waits.outage_s, self._waits.outage_max_s)
        if failure is not None:
            self._failed(failure, began_s)
            if failure.is_ban:
                self._ban.begin(self._until_s)
            return None
        self._worked(began_s)
        self.answered_at = datetime.now(UTC)
        return answer

    async def _ask(self, path: str, params: Mapping[str, str] | None) -> Answer:
        url, query = URL(self._base_url + path), params
        for redirects in range(MAX_REDIRECTS + 1):
            async with self._session.get(url, params=query, allow_redirects=False) as response:
                target = _target(response)
                if target is None or self._is_answer(target):
                    body = await _read(response.content)
                    return Answer(response.status, body, response.url.path, redirects, target)
            self._pace.count(1)
            url, query = target, None
        raise aiohttp.ClientError("too many redirects")

    def _failed(self, failure: Failure, began_s: float) -> None:
        now_s = asyncio.get_running_loop().time()
        if self._failures and began_s < self._failed_s:
            # Sent before the failure was known: not counted again, but may extend the pause.
            self._until_s = max(self._until_s, now_s + failure.wait_s)
            return
        if not self._failures:
            self._since_s = now_s
            log.warning(
                "upstream.unavailable",
                url=masked(self._base_url),
                reason=failure.reason,
                wait_s=failure.wait_s,
            )
        wait_s = min(failure.wait_s * 2**self._failures, failure.max_s)
        self._failures += 1
        self._failed_s = now_s
        self._until_s = now_s + wait_s

    def _worked(self, began_s: float) -> None:
        if self._failures and began_s >= self._failed_s:
            down_s = asyncio.get_running_loop().time() - self._since_s
            log.info("upstream.available", url=masked(self._base_url), down_s=round(down_s, 1))
            self._failures = 0


def _target(response: aiohttp.ClientResponse) -> URL | None:
    """Return a redirect's target; None when there is none or it is invalid."""
    location = response.headers.get("Location", "")
    if response.status not in REDIRECTS or not location:
        return None
    try:
        return response.url.join(URL(location))
    except ValueError:
        return None


async def _read(content: aiohttp.StreamReader) -> bytes:
    """Read a body up to one byte above the limit."""
    parts, size = [], 0
    async for part in content.iter_any():
        parts.append(part)
        size += len(part)
        if size > MAX_ANSWER_BYTES:
            break
    return b"".join(parts)[: MAX_ANSWER_BYTES + 1]
