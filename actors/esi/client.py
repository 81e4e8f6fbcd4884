"""The ESI client: asks within the limits, follows what each answer says about them, tries again.

A request ends in one of five ways: with its answer; as `Refused` (ESI says that the request is
wrong); as `UnexpectedStatus` (a status that its route doesn't have, such as 403 or 301); as
`Unavailable` (trouble at ESI, already tried a few times: what isn't the thing that was asked for
is an outage, too); as `RetryLater` (wait; the wait holds for all processes).

Source: ESI's OpenAPI document, compatibility date 2026-08-18, and its documentation of rate limits
and errors (read 2026-11-21).
"""

import asyncio
import random
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Final, NoReturn, TypeVar

import aiohttp
import msgspec
import structlog
from prometheus_client import Counter, Gauge
from yarl import URL

from actors.esi.answer import (
    DEFAULT_PAUSE_MS,
    Answer,
    EsiName,
    decode_names,
    read_answer,
    tokens_of,
)
from actors.esi.breaker import Breaker
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
    scopes_of,
)
from actors.shared.errors import Invalid, KillstreamError, RetryLater
from actors.shared.killmail import parse_killmail
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent

log: Final = structlog.get_logger()
T = TypeVar("T")

COMPATIBILITY_DATE: Final = "2026-08-18"
TIMEOUT: Final = aiohttp.ClientTimeout(total=12, sock_connect=5)
"""ESI itself gives up on Tranquility after 10 s. Must stay below `budget.ANSWER_MS`."""
RETRY_WITHIN_S: Final = 5.0
"""So long after its beginning a request that fails is tried again here; then it is put off."""
BACKOFF_S: Final = (0.25, 0.75, 2.0)
"""Waits before the second, third and fourth try; each is spread by half to either side."""
BUCKETLESS_CONCURRENCY: Final = 4
"""Requests in flight on routes whose errors are counted: few, so that few can fail at once."""
ERRORS: Final = 100
"""Errors that ESI grants in a minute to all who share our address."""
LEAST_ERRORS_LEFT: Final = 50
"""Below this we stop risking any."""
FAILURES_IN_A_ROW: Final = 5
"""So many failures without a good answer between them, and we ask `/status`; so many different
requests, and the group pauses."""
FAILURE_PAUSE_MS: Final = (1_000, 60_000)
"""The first and the longest pause of a group that fails."""
UNEXPECTED_IN_A_ROW: Final = 3
"""So many different requests with an unexpected status look like a ban: the group pauses."""
UNEXPECTED_PAUSE_MS: Final = (DEFAULT_PAUSE_MS, 4 * DEFAULT_PAUSE_MS)
STATUS_S: Final = 30.0
"""How long ESI keeps the answer of `/status`."""
SOON_S: Final = 5.0
"""How long a request waits here for others that are under way, before it is put off."""

REQUESTS: Final = Counter(
    "killstream_esi_requests",
    "Answers by ESI. 420 or 429 at all: someone beside us spends the limits of this address.",
    ["group", "status"],
)
PAUSES: Final = Counter(
    "killstream_esi_pauses",
    "Pauses of requests to ESI. Rises: it is overloaded, down, or displeased; read the log.",
    ["scope"],
)
TOKENS_LEFT: Final = Gauge(
    "killstream_esi_tokens_left",
    "What ESI said is left of a group's budget. Near 0: bodies wait for it; that is no error, but "
    "falls below what we spend when others share this address.",
    ["group"],
    multiprocess_mode="mostrecent",
)


class Unavailable(KillstreamError):
    """ESI didn't answer as it should. Later it may."""


class Garbled(Unavailable):
    """ESI's answer isn't what was asked for."""


class UnexpectedStatus(KillstreamError):
    """ESI answered with a status that the route doesn't have; other requests may fare well."""


class Refused(Invalid):
    """ESI says that the request is wrong: unknown id or hash.

    Under load it says so of good ones, too.
    """


class _Status(msgspec.Struct, frozen=True):
    vip: bool = False


@dataclass(frozen=True)
class Request:
    """What is asked of ESI."""

    group: str
    """The rate limit group of the route, or `BUCKETLESS`."""
    path: str
    """The path below ESI's base."""
    body: bytes | None = None
    """JSON to post."""
    etag: str | None = None
    """The ETag of what the caller has; answers 304 come cheaper."""


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
        self._breakers = {group: Breaker() for group in self._slots}
        self._is_down = False
        self._checked_at_s = -STATUS_S
        self._checking = asyncio.Lock()
        self._said_paused: set[str] = set()
        self._errors_left = ERRORS
        self._errors_reset_s = 0.0

    async def killmail(self, killmail_id: int, killmail_hash: str) -> bytes:
        """Fetch one killmail's body, the very bytes that ESI gave.

        Raises:
            Refused: ESI knows no such id and hash.
            UnexpectedStatus: ESI has another reason not to give this one.
            Garbled, Unavailable, RetryLater: try again later.
        """

        def read(answer: Answer) -> bytes:
            found = parse_killmail(answer.body).killmail_id
            if found != killmail_id:
                raise Invalid(f"the body is of killmail {found}")
            return answer.body

        return await self.ask(Request(KILLMAIL, f"/killmails/{killmail_id}/{killmail_hash}"), read)

    async def names(self, ids: Collection[int]) -> list[EsiName]:
        """Resolve up to 1,000 distinct ids: all of them, or none.

        Raises:
            Refused: one of them is unknown; ESI doesn't say which.
            UnexpectedStatus, Garbled, Unavailable, RetryLater: try again later.
        """
        wanted = set(ids)
        body = msgspec.json.encode(sorted(wanted))
        request = Request(BUCKETLESS, "/universe/names", body)
        return await self.ask(request, lambda answer: decode_names(answer.body, wanted))

    async def ask(self, request: Request, read: Callable[[Answer], T]) -> T:
        """Ask, a few times if need be, and read the answer.

        Args:
            request: what to ask.
            read: takes an answer with status 2xx (304 too, when an etag was given) and raises
                `Invalid` when it isn't what it should be.

        Raises:
            Refused, UnexpectedStatus, Garbled, Unavailable, RetryLater: as the module says.
        """
        give_up_at_s = time.monotonic() + RETRY_WITHIN_S
        for backoff_s in BACKOFF_S:
            try:
                return await self._ask_once(request, read)
            except Unavailable as error:
                if self._breakers[request.group].is_open or time.monotonic() > give_up_at_s:
                    raise
                log.debug("esi.retries", path=request.path, reason=str(error))
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))
        return await self._ask_once(request, read)

    def errors_left(self) -> int:
        """Give the errors until ESI refuses every request of this address, as it said last."""
        return ERRORS if time.monotonic() >= self._errors_reset_s else self._errors_left

    async def pause(self, scope: str, duration_ms: int, reason: str) -> NoReturn:
        """Pause requests of all processes, log it when it is news, and raise the wait.

        Raises:
            RetryLater: always.
        """
        await self._pause(scope, duration_ms, reason)
        raise RetryLater(reason, delay_ms=duration_ms)

    async def _ask_once(self, request: Request, read: Callable[[Answer], T]) -> T:
        if self._is_down:
            await self._check_tranquility()
        breaker = self._breakers[request.group]
        if breaker.is_open:
            async with breaker.probing:
                if breaker.is_open:
                    return await self._ask_and_judge(request, read)
        return await self._ask_and_judge(request, read)

    async def _ask_and_judge(self, request: Request, read: Callable[[Answer], T]) -> T:
        try:
            async with self._slots[request.group]:
                answer = await self._exchange(request)
            await self._check_status(request, answer)
            result = _read(request, answer, read)
        except UnexpectedStatus as error:
            await self._fail(request, UNEXPECTED_IN_A_ROW, UNEXPECTED_PAUSE_MS, error)
            raise
        except Unavailable as error:
            delay_ms = await self._fail(request, FAILURES_IN_A_ROW, FAILURE_PAUSE_MS, error)
            if delay_ms:
                raise RetryLater(str(error), delay_ms=delay_ms) from None
            raise
        self._breakers[request.group].succeed()
        self._say_resumed(request.group)
        await self._check_errors_left(request.group, answer)
        return result

    async def _exchange(self, request: Request) -> Answer:
        """Send one request within the budget and charge what it cost."""
        reservation = await self._reserve(request.group)
        try:
            answer = await self._send(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            await self._budget.charge(reservation, 0)
            raise Unavailable(f"ESI can't be reached: {error}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await self._budget.charge(reservation, None)
            raise Unavailable(f"no answer to {request.path}: {error!r}") from None
        REQUESTS.labels(group=request.group, status=answer.status).inc()
        remaining = answer.number("X-Ratelimit-Remaining")
        if remaining is not None:
            TOKENS_LEFT.labels(group=request.group).set(remaining)
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

    async def _send(self, request: Request) -> Answer:
        headers = dict(self._headers)
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        if request.etag is not None:
            headers["If-None-Match"] = request.etag
        async with self._http.request(
            "GET" if request.body is None else "POST",
            URL(self._base + request.path, encoded=True),
            headers=headers,
            data=request.body,
            timeout=TIMEOUT,
            allow_redirects=False,
        ) as response:
            return await read_answer(response)

    async def _check_status(self, request: Request, answer: Answer) -> None:
        """Raise unless the answer is good; pause when it asks for that."""
        status = answer.status
        if status < 300 or (status == 304 and request.etag is not None):
            return
        said = f"ESI answers {status} to {request.path}: {answer.error}"
        if status in (400, 404, 422):
            await self._check_errors_left(request.group, answer)
            raise Refused(said)
        if status >= 500:
            await self._check_errors_left(request.group, answer)
            raise Unavailable(said)
        if status == 420:
            reset_ms = answer.ms("X-ESI-Error-Limit-Reset")
            await self.pause(ALL, reset_ms, "this address spent ESI's error budget")
        if status == 429:
            reason = f"too many {request.group} requests for ESI"
            await self.pause(request.group, answer.ms("Retry-After"), reason)
        raise UnexpectedStatus(said)

    async def _check_errors_left(self, group: str, answer: Answer) -> None:
        left = answer.number("X-ESI-Error-Limit-Remain")
        if group != BUCKETLESS or left is None:
            return
        self._errors_left = left
        self._errors_reset_s = time.monotonic() + answer.ms("X-ESI-Error-Limit-Reset") / 1000
        if left < LEAST_ERRORS_LEFT:
            reason = f"only {left} errors are left before ESI refuses everything"
            await self._pause(group, answer.ms("X-ESI-Error-Limit-Reset"), reason)

    async def _fail(
        self, request: Request, limit: int, pause_ms: tuple[int, int], error: KillstreamError
    ) -> int:
        """Count a failure; pause the group when several different requests failed in a row.

        Returns:
            How long the group pauses, 0 when it doesn't.

        Raises:
            RetryLater: Tranquility is down, or ESI refuses `/status`, too.
        """
        breaker = self._breakers[request.group]
        backs_off = breaker.fail((request.path, request.body), limit)
        if backs_off or breaker.failures >= FAILURES_IN_A_ROW:
            await self._check_tranquility()
        if not backs_off:
            return 0
        delay_ms = breaker.back_off_ms(*pause_ms)
        await self._pause(request.group, delay_ms, str(error))
        return delay_ms

    async def _check_tranquility(self) -> None:
        """Ask how the game server is, unless somebody just did; pause while it is down.

        Raises:
            RetryLater: it is down.
        """
        async with self._checking:
            await self._reserve(NOTHING)  # raises while a pause goes on
            if time.monotonic() < self._checked_at_s + STATUS_S:
                return
            self._is_down = not await self._is_tranquility_up()
            self._checked_at_s = time.monotonic()
            if self._is_down:
                reason = "Tranquility is down, or ESI itself"
                await self.pause(TRANQUILITY, int(STATUS_S * 1000), reason)

    async def _is_tranquility_up(self) -> bool:
        try:
            answer = await self._exchange(Request(STATUS, "/status"))
            return answer.status == 200 and not _status_decoder.decode(answer.body).vip
        except (Unavailable, msgspec.DecodeError, UnicodeDecodeError):
            return False

    async def _pause(self, scope: str, duration_ms: int, reason: str) -> None:
        begins = await self._budget.pause(scope, duration_ms, reason)
        if begins:
            PAUSES.labels(scope=scope).inc()
        if begins and scope not in self._said_paused:
            self._said_paused.add(scope)
            log.warning("esi.paused", scope=scope, for_s=duration_ms / 1000, reason=reason)

    def _say_resumed(self, group: str) -> None:
        for scope in self._said_paused.intersection(scopes_of(group)):
            self._said_paused.remove(scope)
            log.info("esi.resumed", scope=scope)


def _read(request: Request, answer: Answer, read: Callable[[Answer], T]) -> T:
    try:
        return read(answer)
    except Invalid as error:
        raise Garbled(f"ESI's {request.path}: {error}") from None
