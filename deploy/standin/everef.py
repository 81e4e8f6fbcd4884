"""Serve EVE Ref's killmail archives: for each day one, and the totals of all days.

Source: EVE Ref's documentation of its killmail dataset (read 2026-11-21).
"""

import asyncio
import hashlib
import io
import tarfile
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from aiohttp import web

from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.playback import Playback
from deploy.standin.r2z2 import R2z2

REQUESTS_AT_ONCE: Final = 2
"""More at once are refused."""
HTML: Final = b"<html><body><h1>Bad gateway</h1></body></html>"


class EveRef:
    """Serves the days that R2Z2 has in its history. An archive is made when it is asked for."""

    def __init__(self, playback: Playback, r2z2: R2z2) -> None:
        self._playback = playback
        self._r2z2 = r2z2
        self._made: dict[tuple[object, ...], bytes] = {}
        self._under_way = 0

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return [
            web.get("/killmails/totals.json", self.totals),
            web.get("/killmails/{year:[0-9]{4}}/killmails-{day}.tar.bz2", self.archive),
        ]

    async def totals(self, request: web.Request) -> web.StreamResponse:
        """Return the number of killmails of each day."""
        return await self._answer(request, "totals")

    async def archive(self, request: web.Request) -> web.StreamResponse:
        """Return the archive of a day."""
        return await self._answer(request, "archive")

    async def _answer(self, request: web.Request, endpoint: str) -> web.StreamResponse:
        faults, stats = self._playback.faults, self._playback.stats
        self._under_way += 1
        try:
            await asyncio.sleep(faults.everef_latency_ms / 1000)
            if not request.headers.get("User-Agent"):
                answer: web.StreamResponse = web.Response(status=403)
            elif faults.limits and self._under_way > REQUESTS_AT_ONCE:
                stats.refused["everef"] += 1
                answer = web.Response(status=429)
            elif faults.everef_status:
                stats.faults["everef_status"] += 1
                answer = web.Response(status=faults.everef_status)
            elif endpoint == "totals":
                totals = {day: len(played) for day, played in self._r2z2.days().items()}
                answer = web.json_response(body=msgspec.json.encode(totals))
            else:
                answer = await self._archive(request)
        finally:
            self._under_way -= 1
        stats.requests["everef", endpoint, answer.status] += 1
        return answer

    async def _archive(self, request: web.Request) -> web.StreamResponse:
        faults, stats = self._playback.faults, self._playback.stats
        day = request.match_info["day"]
        played = self._r2z2.played_on(day.replace("-", ""))
        if not played or not day.startswith(request.match_info["year"]):
            return web.Response(status=404)
        if faults.everef_wrong:
            stats.faults[f"everef_{faults.everef_wrong}"] += 1
        if faults.everef_wrong == "html":
            return web.Response(body=HTML, content_type="text/html")
        key = day, len(played), faults.everef_wrong
        if key not in self._made:
            files = [*map(_file, played)]
            if faults.everef_wrong == "file":
                files.insert(1, ("killmails/0.json", b'{"killmail_id":'))
            self._made[key] = await asyncio.to_thread(pack, files)
        content = self._made[key]
        if faults.everef_wrong == "cut":
            content = content[: len(content) // 2]
        etag = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
        return web.Response(body=content, headers={"ETag": etag})


def pack(files: Sequence[tuple[str, bytes]]) -> bytes:
    """Write an archive."""
    written = io.BytesIO()
    with tarfile.open(fileobj=written, mode="w:bz2") as archive:
        for name, text in files:
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text))
    return written.getvalue()


def _file(played: UpstreamKillmail) -> tuple[str, bytes]:
    """Write a killmail as EVE Ref does: ESI's body with two more keys."""
    modified = datetime.fromtimestamp(played.killed_at_s + 60, UTC)
    added = (
        b',"killmail_hash":"%b"' % played.killmail_hash.encode(),
        b',"http_last_modified":"%b"' % f"{modified:%Y-%m-%dT%H:%M:%SZ}".encode(),
    )
    text = played.body.rstrip()[:-1] + b"".join(added) + b"}"
    return f"killmails/{played.killmail_id}.json", text
