"""RedisQ: a queue at the server, one killmail a poll, given only once.

zKillboard's own was shut down on 2026-05-31; mirrors and self-hosted servers speak it.

Source: zKillboard's RedisQ, README and `listen.js` (read 2026-11-21).
"""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

import msgspec
import structlog

from actors.shared.errors import Misconfigured
from actors.shared.settings import Settings
from streams.sources.decode import Found, Garbage, Nothing, decode_package
from streams.sources.step import (
    MAX_REJECTED_BYTES,
    UNALLOTTED,
    LedgerEntry,
    Refused,
    Step,
    UpstreamRetired,
)
from streams.sources.upstream import Answer, Judge, Trouble, Upstream, open_upstream
from streams.sources.waits import Waits

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
        Misconfigured: no queue is named, or a real upstream and nobody to reach.
    """
    name = redisq_name(settings)
    per_s = settings.redisq_requests_per_s
    judge = _judge(waits)
    async with open_upstream(settings, settings.redisq_url, per_s, waits, judge) as upstream:
        yield Redisq(name, upstream, settings)


class Redisq:
    """The feed, open. Positions count what this deployment was given."""

    gives_once = True

    def __init__(self, name: str, upstream: Upstream, settings: Settings) -> None:
        self.name = name
        self._upstream = upstream
        self._filter = settings.redisq_filter
        self._params = {
            "queueID": settings.redisq_queue_id.strip(),
            "ttw": str(settings.redisq_ttw_s),
        }
        if self._filter:
            self._params["filter"] = self._filter

    @property
    def tip(self) -> int | None:
        """Nothing: nobody knows what waits in the queue; see `Source`."""
        return None

    @property
    def answered_at(self) -> datetime | None:
        """When the upstream gave the last answer of use; see `Source`."""
        return self._upstream.answered_at

    async def steps(self, cursor: int | None, updated_at: datetime) -> AsyncGenerator[Step, None]:
        """Poll the queue; see `Source`."""
        while True:
            answer = await self._upstream.get("/listen.php", self._params)
            if answer.status == 404:
                log.warning("redisq.package_lost", source=self.name)
                yield Step(passed="lost")
                continue
            self._check(answer)
            yield self._step(answer.body)

    async def read_again(self, entries: Sequence[LedgerEntry]) -> AsyncGenerator[Step, None]:
        """Do nothing: the ledger holds all that RedisQ gave."""
        for _ in ():
            yield Step()

    def _step(self, value: bytes) -> Step:
        match decode_package(value):
            case Found() as found:
                reference = found.reference(self.name, UNALLOTTED)
                return Step(references=(reference,))
            case Garbage(reason):
                refused = Refused(self.name, UNALLOTTED, reason, value[:MAX_REJECTED_BYTES])
                return Step(refused=(refused,))
            case Nothing():
                return Step()

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


class _Farewell(msgspec.Struct):
    access: str
    message: str


def _is_farewell(answer: Answer) -> bool:
    try:
        return "R2Z2" in msgspec.json.decode(answer.body, type=_Farewell).message
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def _judge(waits: Waits) -> Judge:
    def judge(answer: Answer) -> Trouble | None:
        status = answer.status
        if status == 429:
            reason = "polled too fast, or another process polls this queue (429)"
            return Trouble(reason, waits.too_fast_s, waits.too_fast_s)
        if status == 403 and not _is_farewell(answer):
            return Trouble("ban (403)", waits.ban_s, waits.ban_most_s)
        if status == 404 and answer.path.endswith("/listen.php"):
            return Trouble("no RedisQ here (404)", waits.outage_s, waits.outage_most_s)
        if status not in (200, 400, 403, 404):
            return Trouble(f"status {status}", waits.outage_s, waits.outage_most_s)
        return _unreadable(answer, waits) if status == 200 else None

    return judge


def _unreadable(answer: Answer, waits: Waits) -> Trouble | None:
    outcome = decode_package(answer.body)
    if isinstance(outcome, Garbage) and outcome.may_pass:
        return Trouble(outcome.reason, waits.outage_s, waits.outage_most_s)
    return None
