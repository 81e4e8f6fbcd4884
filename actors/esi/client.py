"""The ESI client: sends requests within ESI's limits and retries failures.

A request ends in one of six ways: with its response; as `Refused` (ESI says that the request is
wrong); as `TokenRejected` or `Forbidden` (ESI refuses this token, or its character);
as `UnexpectedStatus` (a status that the route doesn't document, such as 403 or 301); as
`Unavailable` (ESI failed several times; a response that isn't the requested object is a failure,
too); as `RetryLater` (a pause, which holds for all processes).

What fails for one owner of a token alone pauses nothing for others. An access token is sent to ESI
and appears in no log, error, URL or metric.

Source: ESI's OpenAPI document, compatibility date 2026-08-18, and its documentation of rate limits
and errors (read 2026-11-21).
"""

import asyncio
import random
import time
from collections import defaultdict
from collections.abc import Callable, Collection
from typing import Final, NoReturn, TypeVar

import aiohttp
import msgspec
import structlog
from yarl import URL

from actors.esi.answer import (
    DEFAULT_PAUSE_MS,
    Answer,
    Denial,
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
    BudgetClass,
    Paused,
    Reservation,
    bucket_of,
    scopes_of,
)
from actors.esi.errors import (
    Forbidden,
    Garbled,
    Refused,
    TokenRejected,
    Unavailable,
    UnexpectedStatus,
)
from actors.esi.metrics import PAUSES, REQUESTS, TOKENS_LEFT
from actors.esi.request import Request
from actors.esi.slots import open_slots, slot_of
from actors.shared.errors import DECODE_ERRORS, Invalid, KillstreamError, RetryLater
from actors.shared.killmail import parse_killmail
from actors.shared.settings import Settings
from actors.shared.useragent import user_agent

log: Final = structlog.get_logger()
T = TypeVar("T")

COMPATIBILITY_DATE: Final = "2026-08-18"
TIMEOUT: Final = aiohttp.ClientTimeout(total=12, sock_connect=5)
"""ESI's own timeout for Tranquility is 10 s. Must stay below `budget.ANSWER_MS`."""
RETRY_WITHIN_S: Final = 5.0
"""How long a failing request is retried here; after that the caller must retry later."""
BACKOFF_S: Final = (0.25, 0.75, 2.0)
"""Waits before the second, third and fourth try, with a jitter of 50 %."""
ERRORS: Final = 100
"""ESI's error limit per minute and address."""
MIN_ERRORS_LEFT: Final = 50
"""Below this the routes with an error limit are paused."""
FAILURES_IN_A_ROW: Final = 5
"""Failures in a row after which `/status` is requested; with this many distinct requests among
them the group pauses."""
FAILURE_PAUSE_MS: Final = (1_000, 60_000)
"""First and longest pause of a failing group."""
UNEXPECTED_IN_A_ROW: Final = 3
"""Distinct requests with an unexpected status after which the group pauses, as for a ban."""
UNEXPECTED_PAUSE_MS: Final = (DEFAULT_PAUSE_MS, 4 * DEFAULT_PAUSE_MS)
STATUS_S: Final = 30.0
"""How long ESI caches the response of `/status`."""
SOON_S: Final = 5.0
"""How long a request waits for others in flight before it is postponed."""


class _Status(msgspec.Struct, frozen=True):
    vip: bool = False


_status_decoder: Final = msgspec.json.Decoder(_Status)


class Esi:
    """The client of one process and event loop; all clients share the budget."""

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
        self._slots = open_slots(settings)
        self._breakers = defaultdict[str, Breaker](Breaker)
        self._is_down = False
        self._checked_at_s = -STATUS_S
        self._checking = asyncio.Lock()
        self._logged_pauses: set[str] = set()
        self._errors_left = ERRORS
        self._errors_reset_s = 0.0

    async def killmail(
        self,
        killmail_id: int,
        killmail_hash: str,
        class_: BudgetClass = BudgetClass.LIVE,
    ) -> bytes:
        """Fetch one killmail's body, byte for byte as ESI sent it.

        Raises:
            Refused: ESI says that id or hash is unknown.
            UnexpectedStatus: ESI refuses this one for another reason.
            Garbled, Unavailable, RetryLater: retry later.
        """

        def read(answer: Answer) -> bytes:
            found = parse_killmail(answer.body).killmail_id
            if found != killmail_id:
                raise Invalid(f"the body is of killmail {found}")
            return answer.body

        path = f"/killmails/{killmail_id}/{killmail_hash}"
        return await self.ask(Request(KILLMAIL, path, budget_class=class_), read)

    async def names(self, ids: Collection[int]) -> list[EsiName]:
        """Resolve up to 1,000 distinct ids, all or none.

        Raises:
            Refused: at least one id is unknown; ESI doesn't say which.
            UnexpectedStatus, Garbled, Unavailable, RetryLater: retry later.
        """
        wanted = set(ids)
        body = msgspec.json.encode(sorted(wanted))
        request = Request(BUCKETLESS, "/universe/names", body)
        return await self.ask(request, lambda answer: decode_names(answer.body, wanted))

    async def ask(self, request: Request, read: Callable[[Answer], T]) -> T:
        """Send a request, retry failures, and decode the response.

        Args:
            request: the request.
            read: decodes a response with status 2xx (304 too, when an ETag was given) and raises
                `Invalid` when it isn't the requested object.

        Raises:
            Refused, UnexpectedStatus, Garbled, Unavailable, RetryLater: see the module's docstring.
            TokenRejected, Forbidden: only with a token.
        """
        give_up_at_s = time.monotonic() + RETRY_WITHIN_S
        for backoff_s in BACKOFF_S:
            try:
                return await self._ask_once(request, read)
            except Unavailable as error:
                if self._breakers[request.group].is_open or time.monotonic() > give_up_at_s:
                    raise
                log.debug("esi.retried", path=request.path, reason=str(error))
            await asyncio.sleep(backoff_s * random.uniform(0.5, 1.5))
        return await self._ask_once(request, read)

    def errors_left(self) -> int:
        """Return how many errors remain of ESI's error limit, as it last reported."""
        return ERRORS if time.monotonic() >= self._errors_reset_s else self._errors_left

    async def pause(self, scope: str, duration_ms: int, reason: str) -> NoReturn:
        """Pause requests of all processes, log the start of a pause, and raise `RetryLater`.

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
                    return await self._attempt(request, read)
        return await self._attempt(request, read)

    async def _attempt(self, request: Request, read: Callable[[Answer], T]) -> T:
        try:
            async with slot_of(self._slots, request):
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
        self._log_resumed(request)
        await self._check_errors_left(request.group, answer)
        return result

    async def _exchange(self, request: Request) -> Answer:
        """Send one request within the budget and charge its cost."""
        reservation = await self._reserve(request)
        try:
            answer = await self._send(request)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
            await self._budget.charge(reservation, 0)
            raise Unavailable(f"can't connect to ESI: {error}") from None
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            await self._budget.charge(reservation, None)
            raise Unavailable(f"no answer to {request.path}: {error!r}") from None
        REQUESTS.labels(group=request.group, status=answer.status).inc()
        remaining = answer.number("X-Ratelimit-Remaining")
        if answer.denial is Denial.TOKEN:
            remaining = None  # of the address: ESI doesn't know the owner
        if remaining is not None:
            TOKENS_LEFT.labels(group=request.group).set(remaining)
        await self._budget.charge(reservation, tokens_of(answer.status), remaining)
        return answer

    async def _reserve(self, request: Request) -> Reservation:
        give_up_at_s = time.monotonic() + SOON_S
        while True:
            try:
                return await self._budget.reserve(
                    request.group, request.owner, request.budget_class
                )
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
        if request.token is not None:
            headers["Authorization"] = f"Bearer {request.token}"
        async with self._http.request(
            "GET" if request.body is None else "POST",
            URL(self._base + request.path, encoded=True),
            headers=headers,
            data=request.body,
            timeout=TIMEOUT,
            allow_redirects=False,
        ) as response:
            return await read_answer(response, request.token)

    async def _check_status(self, request: Request, answer: Answer) -> None:
        """Raise unless the status is a success; pause when ESI asks for it."""
        status = answer.status
        if status < 300 or (status == 304 and request.etag is not None):
            return
        if request.token is not None and status in (401, 403):
            _raise_denied(request, answer)
        message = _message(request, answer)
        if status in (400, 404, 422):
            await self._check_errors_left(request.group, answer)
            raise Refused(message)
        if status >= 500:
            await self._check_errors_left(request.group, answer)
            raise Unavailable(message)
        if status == 420:
            reset_ms = answer.ms("X-ESI-Error-Limit-Reset")
            await self.pause(ALL, reset_ms, "ESI's error limit for this address is reached")
        if status == 429:
            bucket = bucket_of(request.group, request.owner)
            reason = f"too many {bucket} requests for ESI"
            await self.pause(bucket, answer.ms("Retry-After"), reason)
        raise UnexpectedStatus(message)

    async def _check_errors_left(self, group: str, answer: Answer) -> None:
        left = answer.number("X-ESI-Error-Limit-Remain")
        if group != BUCKETLESS or left is None:
            return
        self._errors_left = left
        self._errors_reset_s = time.monotonic() + answer.ms("X-ESI-Error-Limit-Reset") / 1000
        if left < MIN_ERRORS_LEFT:
            reason = f"only {left} errors are left of ESI's error limit"
            await self._pause(group, answer.ms("X-ESI-Error-Limit-Reset"), reason)

    async def _fail(
        self, request: Request, limit: int, pause_ms: tuple[int, int], error: KillstreamError
    ) -> int:
        """Record a failure; pause the group when several distinct requests failed in a row.

        Returns:
            The length of the group's pause, 0 for none.

        Raises:
            RetryLater: Tranquility is down, or `/status` fails, too.
        """
        breaker = self._breakers[request.group]
        backs_off = breaker.fail(request.subject, limit)
        if backs_off or breaker.failures >= FAILURES_IN_A_ROW:
            await self._check_tranquility()
        if not backs_off:
            return 0
        delay_ms = breaker.back_off_ms(*pause_ms)
        await self._pause(request.group, delay_ms, str(error))
        return delay_ms

    async def _check_tranquility(self) -> None:
        """Request `/status`, at most once in `STATUS_S`; pause while the game server is down.

        Raises:
            RetryLater: the game server is down.
        """
        async with self._checking:
            await self._reserve(Request(NOTHING, ""))  # raises during a pause
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
        except (Unavailable, *DECODE_ERRORS):
            return False

    async def _pause(self, scope: str, duration_ms: int, reason: str) -> None:
        begins = await self._budget.pause(scope, duration_ms, reason)
        if begins:
            PAUSES.labels(scope=scope.partition("/")[0]).inc()
        if begins and scope not in self._logged_pauses:
            self._logged_pauses.add(scope)
            log.warning("esi.paused", scope=scope, for_s=duration_ms / 1000, reason=reason)

    def _log_resumed(self, request: Request) -> None:
        scopes = scopes_of(request.group, request.owner)
        for scope in self._logged_pauses.intersection(scopes):
            self._logged_pauses.remove(scope)
            log.info("esi.resumed", scope=scope)


def _message(request: Request, answer: Answer) -> str:
    return f"ESI answers {answer.status} to {request.path}: {answer.error}"


def _raise_denied(request: Request, answer: Answer) -> None:
    """Raise when ESI refuses the token or its character; return on any other refusal."""
    match answer.denial:
        case Denial.TOKEN:
            raise TokenRejected(_message(request, answer))
        case Denial.CHARACTER:
            raise Forbidden(_message(request, answer), answer.error)
        case Denial.SSO_FAILED:
            raise Unavailable(_message(request, answer))


def _read(request: Request, answer: Answer, read: Callable[[Answer], T]) -> T:
    try:
        return read(answer)
    except Invalid as error:
        raise Garbled(f"ESI's {request.path}: {error}") from None
