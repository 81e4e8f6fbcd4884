"""RedisQ: a queue per reader, long polls, packages behind a redirect.

Source: zKillboard's RedisQ server as of 2026-03-19. It was shut down on 2026-05-31; mirrors still
use its protocol.
"""

import asyncio
from dataclasses import dataclass
from random import Random
from typing import Final

import msgspec
from aiohttp import web

from deploy.standin.evekill import evekill_body
from deploy.standin.faults import Faults, WrongObject
from deploy.standin.limits import RequestLimit
from deploy.standin.malformed import occurs
from deploy.standin.playback import Playback
from deploy.standin.redisq_filter import Filter, InvalidFilter, parse_filter

MAX_TTW_S: Final = 10
MAX_TTL_S: Final = 10_800
OBJECT_TTL_S: Final = 10_800

_EMPTY_PACKAGE: Final = b'{"package":null}'
_SUNSET: Final = msgspec.json.encode(
    {
        "access": "denied!",
        "remaining": "0 days until May 31, 2026",
        "chance": "100.00%",
        "message": "RedisQ is retired, use R2Z2 instead "
        "https://github.com/zKillboard/zKillboard/wiki/API-(R2Z2)",
    }
)
_JSON: Final = {"Content-Type": "application/json"}
_CORS: Final = {"Access-Control-Allow-Origin": "*"}
_SCAN_AT_ONCE: Final = 100
_RECHECK_INTERVAL_S: Final = 0.05


@dataclass
class Queue:
    """A reader's state: the next position of the dataset, and when it expires."""

    position: int
    expires_at_s: float
    polled: bool = False


@dataclass
class Object:
    """A package behind a redirect: its position, its expiry, and the number of requests."""

    position: int
    expires_at_s: float
    requests: int = 0


class Redisq:
    """Serves `/listen.php`, also as `/redisq`, and `/object.php`."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._random = Random(playback.options.seed)
        self._request_limits: dict[str | None, RequestLimit] = {}
        self._queues: dict[str, Queue] = {}
        self._objects: dict[str, Object] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/listen.php", self.listen),
            web.get("/redisq", self.listen),
            web.get("/object.php", self.object),
        ]

    async def listen(self, request: web.Request) -> web.Response:
        """Wait for the queue's next package and redirect to it."""
        answer = await self._listen(request)
        self._playback.stats.requests["redisq", "listen", answer.status] += 1
        return answer

    async def object(self, request: web.Request) -> web.Response:
        """Return the package of a redirect."""
        answer = self._refusal(request) or self._object(request.query.get("objectID", ""))
        self._playback.stats.requests["redisq", "object", answer.status] += 1
        return answer

    async def _listen(self, request: web.Request) -> web.Response:
        refusal = self._refusal(request) or self._too_fast(request)
        if refusal:
            return refusal
        name = request.query.get("queueID", "").strip()
        if not name:
            return web.Response(status=429, body=b"queueID is required")
        given = request.query.get("filter", "").strip()
        try:
            filter_ = parse_filter(given) if given else None
        except InvalidFilter:
            return web.Response(status=400)
        ttw_s = _clamped(request.query.get("ttw"), MAX_TTW_S)
        queue = self._queue(name, _clamped(request.query.get("ttl"), MAX_TTL_S))
        if queue.polled:
            return web.Response(status=429, body=b"one request at a time per queueID")
        queue.polled = True
        try:
            return await self._poll(queue, filter_, ttw_s)
        finally:
            queue.polled = False

    async def _poll(self, queue: Queue, filter_: Filter | None, ttw_s: int) -> web.Response:
        faults = self._playback.faults
        if faults.redisq_sunset:
            if faults.redisq_delay:
                await asyncio.sleep(3)
            self._playback.stats.faults["redisq_sunset"] += 1
            return web.Response(status=403, body=_SUNSET, headers=_JSON)
        position = await self._next(queue, filter_, ttw_s)
        if position is None:
            return _answer(_EMPTY_PACKAGE) if faults.redisq_evekill else _redirect("null")
        if faults.redisq_delay:
            await asyncio.sleep(self._random.uniform(0.5, 1.5))
        if faults.redisq_evekill:
            return _answer(self._package(position))
        object_id = f"{self._random.getrandbits(128):032x}"
        self._objects[object_id] = Object(position, self._playback.now_s() + OBJECT_TTL_S)
        self._drop_expired_objects()
        return _redirect(object_id)

    async def _next(self, queue: Queue, filter_: Filter | None, ttw_s: int) -> int | None:
        """Pop the queue's next matching position; drops positions that don't match."""
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + ttw_s
        scanned = 0
        while True:
            while queue.position < self._playback.dataset.released(self._playback.now_s()):
                position = queue.position
                queue.position += 1
                self._playback.dataset.mark_requested(position)
                if self._matches(position, filter_):
                    return position
                scanned += 1
                if scanned % _SCAN_AT_ONCE == 0:
                    await asyncio.sleep(0)
            if loop.time() >= deadline_s:
                return None
            await asyncio.sleep(_RECHECK_INTERVAL_S)

    def _matches(self, position: int, filter_: Filter | None) -> bool:
        slot = self._playback.dataset.slot(position)
        if slot.kind != "killmail":
            return False
        if filter_ is None:
            return True
        played = self._playback.dataset.killmails[slot.index]
        package = _package(played.killmail_id, played.body, played.zkb)
        return filter_.matches(msgspec.json.decode(package))

    def _object(self, object_id: str) -> web.Response:
        if object_id == "null":
            return _answer(_EMPTY_PACKAGE)
        found = self._objects.get(object_id)
        if found is None or self._playback.now_s() >= found.expires_at_s:
            return web.Response(status=404)
        found.requests += 1
        faults = self._playback.faults
        package = self._package(found.position)
        if self._fails(found, faults):
            self._playback.stats.faults["redisq_object_wrong"] += 1
            return _wrong_object(self._random.choice(faults.redisq_object_wrong), package)
        return _answer(package)

    def _fails(self, found: Object, faults: Faults) -> bool:
        seed, rate = self._playback.options.seed, faults.redisq_object_wrong_rate
        return (
            bool(faults.redisq_object_wrong)
            and found.requests <= faults.redisq_object_wrong_first
            and occurs("object", rate, seed, found.position)
        )

    def _package(self, position: int) -> bytes:
        playback = self._playback
        dataset, faults = playback.dataset, playback.faults
        killmail = dataset.killmails[dataset.slot(position).index]
        parts = dataset.parts(position, faults)
        playback.stats.faults.update(parts.applied)
        if faults.redisq_evekill:
            return _package(killmail.killmail_id, evekill_body(killmail.body), parts.zkb)
        body = parts.body if faults.redisq_embedded else None
        return _package(killmail.killmail_id, body, parts.zkb)

    def _drop_expired_objects(self) -> None:
        now_s = self._playback.now_s()
        while True:
            oldest = next(iter(self._objects))
            if self._objects[oldest].expires_at_s > now_s:
                return
            del self._objects[oldest]

    def _queue(self, name: str, ttl_s: int) -> Queue:
        now_s = self._playback.now_s()
        queue = self._queues.get(name)
        if queue is None or (now_s >= queue.expires_at_s and not queue.polled):
            from_start = self._playback.faults.redisq_from_start
            queue = Queue(0 if from_start else self._playback.dataset.released(now_s), 0.0)
            self._queues[name] = queue
        queue.expires_at_s = now_s + ttl_s
        return queue

    def _refusal(self, request: web.Request) -> web.Response | None:
        if not request.headers.get("User-Agent"):
            return web.Response(status=403, body=b"a User-Agent is needed")
        status = self._playback.faults.redisq_status
        if status is not None:
            self._playback.stats.faults["redisq_status"] += 1
            return web.Response(status=status, body=b"switched off")
        return None

    def _too_fast(self, request: web.Request) -> web.Response | None:
        limit = self._request_limits.get(request.remote)
        if limit is None:
            limit = self._request_limits[request.remote] = RequestLimit(
                self._playback.options.redisq_per_s
            )
        if limit.allows(self._playback.now_s(), enforce=self._playback.faults.limits):
            return None
        self._playback.stats.refused["redisq"] += 1
        return web.Response(status=429, body=b"2 requests per second are allowed")


def _package(killmail_id: int, body: bytes | None, zkb: bytes) -> bytes:
    killmail = b"" if body is None else b',"killmail":%b' % body
    return b'{"package":{"killID":%d%b,"zkb":%b}}' % (killmail_id, killmail, zkb)


def _wrong_object(kind: WrongObject, package: bytes) -> web.Response:
    half = len(package) // 2
    if kind == "cut":
        return _answer(package[:half])
    if kind == "utf8":
        return _answer(package[:half] + b"\xff\xfe" + package[half:])
    return web.Response(status=int(kind), body=b"try again")


def _answer(body: bytes) -> web.Response:
    return web.Response(body=body, headers=_JSON | _CORS)


def _redirect(object_id: str) -> web.Response:
    location = {"Location": f"/object.php?objectID={object_id}"}
    return web.Response(status=302, headers=location | _CORS)


def _clamped(given: str | None, maximum: int) -> int:
    try:
        return min(max(int(given or maximum), 1), maximum)
    except ValueError:
        return maximum
