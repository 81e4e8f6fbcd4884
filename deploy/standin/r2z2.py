"""R2Z2: numbered files with killmails, and the history of each day.

Source: zKillboard's API reference and its queue code (read 2026-11-21).
"""

import asyncio
from datetime import UTC, datetime
from random import Random
from typing import Any, Final

import msgspec
from aiohttp import web

from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.limits import RequestLimit
from deploy.standin.playback import Playback

REFRESH_EVERY: Final = 51
"""Killmails after which `sequence.json` is updated."""

_DAY_S: Final = 86_400
_PUBLISHED_AFTER_S: Final = 6 * 3_600
_BAN_TEXT: Final = (
    b"exceeded rate limit of %d/s! ban will last up to 1 hour; every retry prolongs it"
)
_HTML: Final = b"<!DOCTYPE html><html><body><h1>One moment, please...</h1></body></html>"


class R2z2:
    """Serves `/ephemeral` and `/history`."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._request_limits: dict[str | None, RequestLimit] = {}
        self._html_given: set[int] = set()

    def routes(self) -> list[web.RouteDef]:
        """Return the routes."""
        return [
            web.get("/ephemeral/{name}.json", self.ephemeral),
            web.get("/history/totals.json", self.totals),
            web.get("/history/{day}.json", self.day),
            web.get("/history/raw/{day}.json", self.raw_day),
        ]

    def highest_per_s(self) -> int:
        """Return the most requests of one address within one second."""
        return max((limit.highest_per_s for limit in self._request_limits.values()), default=0)

    async def ephemeral(self, request: web.Request) -> web.Response:
        """Return `sequence.json` or the file of one number."""
        refusal = await self._refusal(request)
        name = request.match_info["name"]
        if name == "sequence":
            return self._counted("sequence", refusal or self._sequence())
        return self._counted("ephemeral", refusal or self._file(name))

    async def totals(self, request: web.Request) -> web.Response:
        """Return the number of killmails of each finished day."""
        refusal = await self._refusal(request)
        if refusal is None:
            totals = {day: len(indexes) for day, indexes in sorted(self.days().items())}
            return self._counted("totals", _json(msgspec.json.encode(totals)))
        return self._counted("totals", refusal)

    async def day(self, request: web.Request) -> web.Response:
        """Return the ids and hashes of one day."""
        refusal = await self._refusal(request)
        if refusal is None and (hashes := self.hashes_of(request.match_info["day"])):
            return self._counted("history", _json(hashes))
        return self._counted("history", refusal or _not_found())

    async def raw_day(self, request: web.Request) -> web.Response:
        """Return the ESI bodies of one day, by id."""
        refusal = await self._refusal(request)
        if refusal is None and (played := self.played_on(request.match_info["day"])):
            lacking = self._playback.faults.history_without_body
            bodies = b",".join(
                b'"%d":%b' % (one.killmail_id, one.body)
                for one in played
                if one.killmail_id not in lacking
            )
            return self._counted("history", _json(b"{" + bodies + b"}"))
        return self._counted("history", refusal or _not_found())

    def hashes_of(self, day: str) -> bytes | None:
        """Write the ids and hashes of one day; None when it isn't published."""
        played = self.played_on(day)
        wrong = self._playback.faults.history_wrong_hash
        hashes = {
            str(one.killmail_id): one.killmail_hash[:: -1 if one.killmail_id in wrong else 1]
            for one in played
        }
        return msgspec.json.encode(hashes) if played else None

    async def _refusal(self, request: web.Request) -> web.Response | None:
        playback = self._playback
        if playback.faults.r2z2_latency_ms:
            await asyncio.sleep(playback.faults.r2z2_latency_ms / 1000)
        if not request.headers.get("User-Agent"):
            return web.Response(status=403, body=b"a User-Agent is needed")
        limit = self._request_limits.get(request.remote)
        if limit is None:
            limit = RequestLimit(playback.options.r2z2_per_s, playback.options.r2z2_ban_s)
            self._request_limits[request.remote] = limit
        if not limit.allows(playback.now_s(), enforce=playback.faults.limits):
            playback.stats.refused["r2z2"] += 1
            return web.Response(status=429, body=_BAN_TEXT % playback.options.r2z2_per_s)
        if playback.faults.r2z2_status is not None:
            playback.stats.faults["r2z2_status"] += 1
            return web.Response(status=playback.faults.r2z2_status, body=b"switched off")
        return None

    def _sequence(self) -> web.Response:
        playback = self._playback
        dataset, faults = playback.dataset, playback.faults
        if playback.count_down("sequence_zero_next"):
            playback.stats.faults["sequence_zero"] += 1
            return _json(b'{"sequence":0}')
        if faults.sequence_number is not None:
            playback.stats.faults["sequence_number"] += 1
            return _json(b'{"sequence":%d}' % faults.sequence_number)
        behind = 0
        if dataset.requested_until or not faults.r2z2_from_start:
            newest = dataset.released(playback.now_s()) - 1
            behind = max(0, newest // REFRESH_EVERY * REFRESH_EVERY - faults.sequence_behind)
        return _json(b'{"sequence":%d}' % (dataset.first_sequence + behind))

    def _file(self, name: str) -> web.Response:
        playback = self._playback
        dataset, faults = playback.dataset, playback.faults
        now_s = playback.now_s()
        if not (name.isascii() and name.isdigit()):
            return _not_found()
        position = int(name) - dataset.first_sequence
        if not 0 <= position < dataset.released(now_s):
            return _not_found()
        available_at_s = dataset.available_at_s(position, faults)
        if now_s < available_at_s:
            playback.stats.faults["late"] += 1
            return _not_found()
        if now_s - available_at_s > faults.r2z2_expire_s:
            playback.stats.faults["expired"] += 1
            return _not_found()
        dataset.mark_requested(position)
        if faults.html_rate and self._gives_html(position):
            playback.stats.faults["html"] += 1
            return web.Response(body=_HTML, content_type="text/html")
        document = dataset.document(position, faults)
        self._count_faults(position)
        return _not_found() if document is None else _json(document)

    def _gives_html(self, position: int) -> bool:
        if position in self._html_given:
            return False
        roll = Random(f"html {self._playback.options.seed} {position}").random()
        self._html_given.add(position)
        return roll < self._playback.faults.html_rate

    def _count_faults(self, position: int) -> None:
        dataset = self._playback.dataset
        slot = dataset.slot(position)
        faults = self._playback.stats.faults
        if slot.kind != "killmail":
            faults[slot.kind] += 1
        else:
            faults.update(dataset.parts(position, self._playback.faults).applied)
        if slot.duplicate:
            faults["duplicate"] += 1
        if slot.updates is not None:
            faults["rewrite"] += 1

    def played_on(self, day: str) -> list[UpstreamKillmail]:
        """Return the killmails of a day (YYYYMMDD); none when it isn't published."""
        killmails = self._playback.dataset.killmails
        return [killmails[index] for index in self.days().get(day, ())]

    def days(self) -> dict[str, list[int]]:
        """Sort what is out by day of the kill; a day is published at 06:00 of the next."""
        now_s = self._playback.now_s()
        dataset = self._playback.dataset
        days: dict[int, list[int]] = {}
        for index in dataset.released_indexes(now_s):
            day = dataset.killmails.summary(index).killed_at_s // _DAY_S
            if (day + 1) * _DAY_S + _PUBLISHED_AFTER_S <= now_s:
                days.setdefault(day, []).append(index)
        return {f"{datetime.fromtimestamp(day * _DAY_S, UTC):%Y%m%d}": days[day] for day in days}

    def _counted(self, endpoint: str, answer: web.Response) -> web.Response:
        self._playback.stats.requests["r2z2", endpoint, answer.status] += 1
        return answer


def _json(body: bytes) -> web.Response:
    return web.Response(body=body, headers=_JSON)


def _not_found() -> web.Response:
    return web.Response(status=404, body=b"Not Found")


_JSON: Final[dict[str, Any]] = {"Content-Type": "application/json"}
