"""RedisQ: a queue at the server; each poll returns one killmail, once.

A poll is answered by a redirect to an object. Its id is recorded in the ledger first; then the
object is fetched, with retries: the server stores it for three hours. Other servers answer a poll
with the package itself, which is recorded in the ledger.

zKillboard's server was shut down on 2026-05-31; mirrors and self-hosted servers implement it.

Source: zKillboard's RedisQ, README, `listen.js` and `object.js` (read 2026-11-21); EVE-KILL's
`redisq/index.get.ts` (read 2026-11-26).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from posixpath import dirname
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog
from yarl import URL

from actors.shared.errors import DECODE_ERRORS, Misconfigured
from actors.shared.settings import Settings
from streams.sources.decode import Found, Garbage, Nothing, Outcome, decode_package
from streams.sources.step import (
    MAX_REJECTED_BYTES,
    UNALLOTTED,
    LedgerEntry,
    Refused,
    Step,
    UpstreamRetired,
)
from streams.sources.upstream import Answer, Classify, Failure, Upstream, open_upstream
from streams.sources.waits import Waits

LISTEN: Final = "/listen.php"
OBJECT: Final = "object.php"
OBJECT_ID: Final = "objectID"
NO_OBJECT: Final = "null"
"""The id of an empty queue's object."""
MAX_OBJECT_ID_CHARS: Final = 200
GONE_AFTER: Final = 5
"""Requests for an absent object after which it is considered gone."""

log: Final = structlog.get_logger()


def redisq_name(settings: Settings) -> str:
    """Name the feed, as references and cursors do.

    Raises:
        Misconfigured: no queue is named.
    """
    if not settings.redisq_queue_id.strip():
        raise Misconfigured("KILLSTREAM_REDISQ_QUEUE_ID is missing: a name for this deployment")
    host = urlsplit(settings.redisq_url).netloc.rpartition("@")[2]
    return f"redisq:{host}/{settings.redisq_queue_id.strip()}"


@asynccontextmanager
async def open_redisq(settings: Settings, waits: Waits) -> AsyncIterator["Redisq"]:
    """Open the feed.

    Raises:
        Misconfigured: no queue is named, or KILLSTREAM_CONTACT is missing.
    """
    name = redisq_name(settings)
    url = URL(settings.redisq_url)
    listen = url.path if url.path.strip("/") else LISTEN
    async with open_upstream(
        settings,
        str(url.with_path("/").with_query(None).with_fragment(None)),
        settings.redisq_requests_per_s,
        waits,
        _classify(waits, _poll_outage),
        is_answer=lambda target: OBJECT_ID in target.query,
    ) as upstream:
        yield Redisq(name, upstream, listen, settings, waits)


class Redisq:
    """The open feed. Positions count the messages of this deployment."""

    gives_once = True

    def __init__(
        self, name: str, upstream: Upstream, listen: str, settings: Settings, waits: Waits
    ) -> None:
        self.name = name
        self._upstream = upstream
        self._listen = listen
        self._object = f"{dirname(listen).rstrip('/')}/{OBJECT}"
        self._bodies = settings.redisq_bodies
        self._waits = waits
        self._classify_object = _classify(waits, _outage)
        self._filter = settings.redisq_filter
        self._params = {
            "queueID": settings.redisq_queue_id.strip(),
            "ttw": str(settings.redisq_ttw_s),
        }
        if self._filter:
            self._params["filter"] = self._filter

    @property
    def tip(self) -> int | None:
        """None: the length of the queue is unknown; see `Source`."""
        return None

    @property
    def answered_at(self) -> datetime | None:
        """Time of the last usable response; see `Source`."""
        return self._upstream.answered_at

    async def steps(self, cursor: int | None, updated_at: datetime) -> AsyncGenerator[Step, None]:
        """Poll the queue; see `Source`."""
        while True:
            answer = await self._upstream.get(self._listen, self._params)
            self._check(answer)
            if answer.location is not None:
                yield self._redirected(answer.location)
            else:
                outcome = decode_package(answer.body, bodies=self._bodies)
                yield self._given(UNALLOTTED, outcome, answer.body) or Step()

    async def read_again(self, entries: Sequence[LedgerEntry]) -> AsyncGenerator[Step, None]:
        """Fetch objects whose ids the ledger holds; see `Source`."""
        for entry in entries:
            if entry.object_id is None:
                continue
            params = {OBJECT_ID: entry.object_id}
            answer = await self._upstream.try_once(self._object, params, self._classify_object)
            if answer is not None:
                yield self._fetched(entry, answer)

    def _redirected(self, location: URL) -> Step:
        object_id = location.query[OBJECT_ID]
        if object_id in ("", NO_OBJECT):
            return Step()
        if len(object_id) > MAX_OBJECT_ID_CHARS or not object_id.isprintable():
            return self._refuse(UNALLOTTED, "not an object's id", str(location).encode())
        return Step(objects=(object_id,))

    def _fetched(self, entry: LedgerEntry, answer: Answer) -> Step:
        """Make the step for an object; an empty step leaves it in the ledger."""
        age_s = (datetime.now(UTC) - entry.received_at).total_seconds()
        last_chance = age_s >= self._waits.object_s - 2 * self._waits.retry_s[-1]
        if answer.status == 200:
            outcome = decode_package(answer.body, bodies=self._bodies)
            readable = not (isinstance(outcome, Garbage) and outcome.may_pass)
            step = self._given(entry.position, outcome, answer.body)
            if step is not None:
                return step if readable or last_chance else Step()
        if entry.tries + 1 < GONE_AFTER or not (answer.status in (200, 404) or last_chance):
            return Step()
        log.warning("redisq.object_lost", source=self.name, object_id=entry.object_id)
        reason = f"the object is gone ({answer.status})"
        value = msgspec.json.encode({OBJECT_ID: entry.object_id})
        return self._refuse(entry.position, reason, value, skipped="lost")

    def _given(self, position: int, outcome: Outcome, value: bytes) -> Step | None:
        match outcome:
            case Found():
                return Step(references=(outcome.reference(self.name, position),))
            case Garbage(reason):
                return self._refuse(position, reason, value)
            case Nothing():
                return None

    def _refuse(self, position: int, reason: str, value: bytes, skipped: str = "") -> Step:
        refused = Refused(self.name, position, reason, value[:MAX_REJECTED_BYTES])
        return Step(refused=(refused,), skipped=skipped)

    def _check(self, answer: Answer) -> None:
        if answer.status == 400:
            raise Misconfigured(
                f"{self.name} refuses KILLSTREAM_REDISQ_FILTER={self._filter!r}: rules are "
                "key, operator, value; joined by ; (and) or , (or), never both"
            )
        if answer.status == 403:
            raise UpstreamRetired(
                f"{self.name} says that it is retired: set KILLSTREAM_SOURCE=r2z2, or "
                "KILLSTREAM_REDISQ_URL to a server that still speaks RedisQ"
            )


class _Shutdown(msgspec.Struct):
    access: str
    message: str


def _is_shutdown(answer: Answer) -> bool:
    try:
        return "R2Z2" in msgspec.json.decode(answer.body, type=_Shutdown).message
    except DECODE_ERRORS:
        return False


def _classify(waits: Waits, outage: Callable[[Answer], str]) -> Classify:
    def classify(answer: Answer) -> Failure | None:
        if answer.status == 429:
            reason = "polled too fast, or another process polls this queue (429)"
            return Failure(reason, waits.too_fast_s, waits.too_fast_s)
        if answer.status == 403 and not _is_shutdown(answer):
            return Failure("ban (403)", waits.ban_s, waits.ban_max_s)
        reason = outage(answer)
        return Failure(reason, waits.outage_s, waits.outage_max_s) if reason else None

    return classify


def _outage(answer: Answer) -> str:
    """Return why a response is unusable; empty when it is usable."""
    return "" if answer.status in (200, 400, 403, 404) else f"status {answer.status}"


def _poll_outage(answer: Answer) -> str:
    """Return the same for a poll's response.

    What starts as JSON may be a damaged package, so it is no outage.
    """
    if answer.location is not None:
        return ""
    if answer.status == 404:
        return "no RedisQ here (404)"
    if answer.status == 200 and answer.body.lstrip()[:1] != b"{":
        return "no package (HTML or else)"
    return _outage(answer)
