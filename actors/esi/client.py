"""The ESI client: asks within the limits, heeds what each answer says about them, tries again.

A request ends in one of four ways: with its answer, as `Refused` (ESI says that we asked for the
wrong thing), as `Unavailable` (trouble over there, already tried a few times), or as `RetryLater`
(we are to wait; ESI's wish counts for all processes).

Source: ESI's OpenAPI document, compatibility date 2026-08-18, and its documentation of rate limits
and errors (read 2026-11-21).
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

import aiohttp
import msgspec
import structlog
from prometheus_client import Counter
from yarl import URL

from actors.esi.budget import (
    ALL,
    BUCKETLESS,
    KILLMAIL,
    NOTHING,
    SOON_MS,
    STATUS,
    TRANQUILITY,
    Budget,
    Paused,
    Reservation,
)
from actors.shared.errors import Invalid, KillstreamError, RetryLater
from actors.shared.killmail import MAX_BODY_BYTES, parse_killmail
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent

log: Final = structlog.get_logger()
T = TypeVar("T")

COMPATIBILITY_DATE: Final = "2026-08-18"
TIMEOUT: Final = aiohttp.ClientTimeout(total=20, sock_connect=5)
"""ESI itself gives up on Tranquility after 10 s. Must stay below `budget.ANSWER_MS`."""
BACKOFF_S: Final = (0.25, 0.75, 2.0)
"""Waits before the second, third and fourth try; each is spread by half to either side."""
BUCKETLESS_CONCURRENCY: Final = 4
"""Requests in flight on routes whose errors are counted: few, so that few can fail at once."""
LEAST_ERRORS_LEFT: Final = 50
"""Of ESI's 100 errors a minute, for all who share our address: below this we stop risking any."""
OUTAGES_IN_A_ROW: Final = 5
"""So many 502, 503, 504 or no answers without a good one between them, and we ask `/status`."""
STATUS_S: Final = 30.0
"""How long ESI keeps the answer of `/status`."""
DEFAULT_PAUSE_MS: Final = 60_000
"""Pause after an answer that asks for one without a time, or that ESI shouldn't give (403 …)."""
SOON_S: Final = 5.0
"""How long a request waits here for others that are under way, before it is put off."""

REQUESTS: Final = Counter(
    "killstream_esi_requests",
    "Answers by ESI. 420 or 429 at all: someone beside us spends the limits of this address.",
    ["group", "status"],
)
PAUSES: Final = Counter(
    "killstream_esi_pauses",
    "Pauses that ESI asked for. Rises: it is overloaded, down, or displeased; read the log.",
    ["scope"],
)


class Unavailable(KillstreamError):
    """ESI didn't answer as it should. Later it may."""


class Garbled(Unavailable):
    """ESI's answer isn't what was asked for."""


class Refused(Invalid):
    """ESI says that the request is wrong: unknown id or hash."""


@dataclass(frozen=True)
class Answer:
    """What came back. The body is complete and decompressed."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def number(self, header: str) -> int | None:
        """Read a header that is a whole number; None when it isn't there or is none."""
        value = self.headers.get(header, "")
        return int(value) if value.isascii() and value.isdigit() else None

    def ms(self, header: str) -> int:
        """Read a header of seconds as milliseconds; without it, what we wait by default."""
        seconds = self.number(header)
        return DEFAULT_PAUSE_MS if seconds is None else seconds * 1000

    @property
    def words(self) -> str:
        """What an answer says, as far as it fits into a line of log."""
        return self.body[:200].decode(errors="replace")


class EsiName(msgspec.Struct, frozen=True, gc=False):
    """What `/universe/names` says of one id."""

    id: int
    name: str
    category: str


class _Status(msgspec.Struct, frozen=True):
    vip: bool = False


_names_decoder: Final = msgspec.json.Decoder(list[EsiName])
_status_decoder: Final = msgspec.json.Decoder(_Status)


class Esi:
    """One client a process and event loop; the budget makes all of them one."""

    def __init__(self, settings: Settings, http: aiohttp.ClientSession, budget: Budget) -> None:
        self._base = settings.esi_url.rstrip("/")
        self._http = http
        self._budget = budget
        self._headers = {
            "User-Agent": user_agent(settings, settings.esi_url),
            "X-Compatibility-Date": COMPATIBILITY_DATE,
            "Accept": "application/json",
            "Accept-Encoding": "gzip",
        }
        self._slots = {
            KILLMAIL: asyncio.Semaphore(settings.esi_concurrency),
            BUCKETLESS: asyncio.Semaphore(BUCKETLESS_CONCURRENCY),
            STATUS: asyncio.Semaphore(1),
        }
        self._outages = 0
        self._is_down = False
        self._looked_at_s = -STATUS_S
        self._looking = asyncio.Lock()

    async def killmail(self, killmail_id: int, killmail_hash: str) -> bytes:
        """Fetch one killmail's body, the very bytes that ESI gave.

        Raises:
            Refused: ESI knows no such id and hash. Under load it says so of good ones, too.
            Garbled: what came isn't this killmail.
            Unavailable, RetryLater: try again later.
        """

        def read(answer: Answer) -> bytes:
            found = parse_killmail(answer.body).killmail_id
            if found != killmail_id:
                raise Invalid(f"the body is of killmail {found}")
            return answer.body

        return await self.ask(KILLMAIL, f"/killmails/{killmail_id}/{killmail_hash}", read)

    async def names(self, ids: Collection[int]) -> list[EsiName]:
        """Resolve up to 1,000 distinct ids.

        Raises:
            Refused: one of them is unknown; ESI doesn't say which.
            Garbled, Unavailable, RetryLater: try again later.
        """

        def read(answer: Answer) -> list[EsiName]:
            try:
                return _names_decoder.decode(answer.body)
            except msgspec.DecodeError as error:
                raise Invalid(f"not a list of names: {error}") from None

        body = msgspec.json.encode(sorted(ids))
        return await self.ask(BUCKETLESS, "/universe/names", read, body=body)

    async def ask(
        self,
        group: str,
        path: str,
        read: Callable[[Answer], T],
        *,
        body: bytes | None = None,
        etag: str | None = None,
    ) -> T:
        """Ask, a few times if need be, and read the answer.

        Args:
            group: the rate limit group of the route, or `BUCKETLESS`.
            path: the path below ESI's base.
            read: takes an answer with status 2xx (304 too, when an etag was given) and raises
                `Invalid` when it isn't what it should be.
            body: JSON to post.
            etag: the ETag of what the caller has; answers 304 come cheaper.

        Raises:
            Refused, Garbled, Unavailable, RetryLater: as the class says.
        """
        for backoff_s in BACKOFF_S:
            try:
                return await self._ask_once(group, path, read, body, etag)
            except Unavailable as error:
                log.debug("esi: trying again", path=path, why=str(error))
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))
        return await self._ask_once(group, path, read, body, etag)

    async def _ask_once(
        self,
        group: str,
        path: str,
        read: Callable[[Answer], T],
        body: bytes | None,
        etag: str | None,
    ) -> T:
        if self._is_down:
            await self._look_at_tranquility()
        try:
            async with self._slots[group]:
                answer = await self._exchange(group, path, body, etag)
        except Unavailable:
            await self._count_outage()
            raise
        await self._heed(group, path, answer)
        try:
            return read(answer)
        except Invalid as error:
            raise Garbled(f"ESI's {path}: {error}") from None

    async def _exchange(
        self, group: str, path: str, body: bytes | None, etag: str | None
    ) -> Answer:
        """Send one request within the budget and charge what it cost."""
        reservation = await self._reserve(group)
        try:
            answer = await self._send(path, body, etag)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            await self._budget.charge(reservation, 0)
            raise Unavailable(f"ESI can't be reached: {error}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await self._budget.charge(reservation, None)
            raise Unavailable(f"no answer to {path}: {error!r}") from None
        REQUESTS.labels(group=group, status=answer.status).inc()
        remaining = answer.number("X-Ratelimit-Remaining")
        await self._budget.charge(reservation, tokens_of(answer.status), remaining)
        return answer

    async def _reserve(self, group: str) -> Reservation:
        give_up_at_s = time.monotonic() + SOON_S
        while True:
            try:
                return await self._budget.reserve(group)
            except Paused as pause:
                self._is_down = self._is_down or pause.scope == TRANQUILITY
                raise
            except RetryLater as wait:
                if wait.delay_ms > 2 * SOON_MS or time.monotonic() > give_up_at_s:
                    raise
                await asyncio.sleep(wait.delay_ms / 1000)

    async def _send(self, path: str, body: bytes | None, etag: str | None) -> Answer:
        headers = dict(self._headers)
        if body is not None:
            headers["Content-Type"] = "application/json"
        if etag is not None:
            headers["If-None-Match"] = etag
        async with self._http.request(
            "GET" if body is None else "POST",
            URL(self._base + path, encoded=True),
            headers=headers,
            data=body,
            timeout=TIMEOUT,
            allow_redirects=False,
        ) as response:
            return Answer(response.status, response.headers, await _read(response))

    async def _heed(self, group: str, path: str, answer: Answer) -> None:
        """Do what the answer says about the limits; raise unless it is good."""
        status = answer.status
        await self._heed_errors_left(group, answer)
        if status < 300 or status == 304:
            self._outages = 0
        elif status in (400, 404, 422):
            raise Refused(f"ESI answers {status} to {path}: {answer.words}")
        elif status >= 500:
            if status in (502, 503, 504):
                await self._count_outage()
            raise Unavailable(f"ESI answers {status} to {path}: {answer.words}")
        elif status == 420:
            reset_ms = answer.ms("X-ESI-Error-Limit-Reset")
            await self._pause(ALL, reset_ms, "this address spent ESI's error budget")
        elif status == 429:
            await self._pause(group, answer.ms("Retry-After"), f"too many {group} requests for ESI")
        else:
            why = f"ESI answers {status} to {path}: {answer.words}"
            await self._pause(group, DEFAULT_PAUSE_MS, why)

    async def _heed_errors_left(self, group: str, answer: Answer) -> None:
        left = answer.number("X-ESI-Error-Limit-Remain")
        if group == BUCKETLESS and left is not None and left < LEAST_ERRORS_LEFT:
            with suppress(RetryLater):  # this answer still counts
                why = f"only {left} errors are left before ESI refuses everything"
                await self._pause(group, answer.ms("X-ESI-Error-Limit-Reset"), why)

    async def _count_outage(self) -> None:
        self._outages += 1
        if self._outages >= OUTAGES_IN_A_ROW:
            await self._look_at_tranquility()

    async def _look_at_tranquility(self) -> None:
        """Ask how the game server is, unless somebody just did; pause while it is down.

        Raises:
            RetryLater: it is down.
        """
        async with self._looking:
            await self._reserve(NOTHING)  # raises while a pause goes on
            if time.monotonic() < self._looked_at_s + STATUS_S:
                return
            self._is_down = not await self._is_tranquility_up()
            self._looked_at_s = time.monotonic()
            self._outages = 0
            if self._is_down:
                why = "Tranquility is down, or ESI itself"
                await self._pause(TRANQUILITY, int(STATUS_S * 1000), why)

    async def _is_tranquility_up(self) -> bool:
        try:
            answer = await self._exchange(STATUS, "/status", None, None)
            return answer.status == 200 and not _status_decoder.decode(answer.body).vip
        except (Unavailable, msgspec.DecodeError):
            return False

    async def _pause(self, scope: str, duration_ms: int, why: str) -> NoReturn:
        """Pause all processes, say so once, and raise the wait."""
        if await self._budget.pause(scope, duration_ms, why):
            PAUSES.labels(scope=scope).inc()
            log.warning("esi: pausing", what=scope, for_s=duration_ms / 1000, why=why)
        raise RetryLater(why, delay_ms=duration_ms)


def tokens_of(status: int) -> int:
    """Tell what an answer costs in the bucket of its group."""
    if status == 429 or status >= 500:
        return 0
    return {2: 2, 3: 1}.get(status // 100, 5)


async def _read(response: aiohttp.ClientResponse) -> bytes:
    """Read a body, no further than a little past the limit."""
    body = bytearray()
    async for chunk in response.content.iter_any():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            response.close()
            break
    return bytes(body)
