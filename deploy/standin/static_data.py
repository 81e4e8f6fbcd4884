"""Serve CCP's archive of static data as JSON Lines.

Source: CCP's documentation of the static data export (read 2026-11-26).
"""

import asyncio
import hashlib
import io
import zipfile
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from aiohttp import web

from deploy.standin.playback import Playback
from deploy.standin.played_ids import played_ids
from deploy.standin.static_data_files import Files, made_up_files, real_files

LATEST: Final = "/static-data/eve-online-static-data-latest-jsonl.zip"
OF_BUILD: Final = "/static-data/tranquility/eve-online-static-data-{build}-jsonl.zip"
NEWEST: Final = "/static-data/tranquility/latest.jsonl"
HTML: Final = b"<html><body><h1>We are down for maintenance</h1></body></html>"
_DATE: Final = "2026-01-01T11:00:00Z"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class StaticData:
    """Serves the archive. It is made when it is asked for, and again when a switch changes it."""

    def __init__(self, playback: Playback) -> None:
        self._playback = playback
        self._made: tuple[object, bytes] | None = None
        self._making = asyncio.Lock()

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return [
            web.get(LATEST, self.latest),
            web.get(NEWEST, self.newest),
            web.get(OF_BUILD, self.archive),
        ]

    async def latest(self, request: web.Request) -> web.StreamResponse:
        """Redirect to the archive of the newest build."""
        return await self._answer(request, "latest", self._latest)

    async def newest(self, request: web.Request) -> web.StreamResponse:
        """Answer the newest build number."""
        return await self._answer(request, "newest", self._newest)

    async def archive(self, request: web.Request) -> web.StreamResponse:
        """Answer the archive, or 304 to who has it."""
        return await self._answer(request, "archive", self._archive)

    async def _answer(
        self, request: web.Request, endpoint: str, answer: Handler
    ) -> web.StreamResponse:
        faults, stats = self._playback.faults, self._playback.stats
        await asyncio.sleep(faults.sde_latency_ms / 1000)
        if faults.sde_status:
            stats.faults["sde_status"] += 1
            answered: web.StreamResponse = web.Response(status=faults.sde_status)
        else:
            answered = await answer(request)
        stats.requests["sde", endpoint, answered.status] += 1
        return answered

    async def _latest(self, request: web.Request) -> web.StreamResponse:
        build = self._playback.faults.sde_build
        return web.Response(status=302, headers={"Location": OF_BUILD.format(build=build)})

    async def _newest(self, request: web.Request) -> web.StreamResponse:
        return web.Response(body=_build_line(self._playback.faults.sde_build))

    async def _archive(self, request: web.Request) -> web.StreamResponse:
        faults, stats = self._playback.faults, self._playback.stats
        if request.match_info["build"] != str(faults.sde_build):
            return web.Response(status=404, text="no such build")
        for wrong in faults.sde_wrong:
            stats.faults[f"sde_{wrong}"] += 1
        if "html" in faults.sde_wrong:
            return web.Response(body=HTML, content_type="text/html")
        content = await self._content()
        etag = f'"{hashlib.sha1(content, usedforsecurity=False).hexdigest()}"'
        if request.headers.get("If-None-Match") == etag:
            return web.Response(status=304, headers={"ETag": etag})
        headers = {"ETag": etag, "Content-Type": "application/zip"}
        if "cut" in faults.sde_wrong:
            return await _cut(request, content, headers)
        return web.Response(body=content, headers=headers)

    async def _content(self) -> bytes:
        """Return the archive, made once for each state of the switches."""
        faults = self._playback.faults
        state = faults.sde_build, faults.sde_wrong, tuple(faults.renamed.items())
        async with self._making:
            if self._made is None or self._made[0] != state:
                self._made = state, await asyncio.to_thread(self._make)
            return self._made[1]

    def _make(self) -> bytes:
        options, faults = self._playback.options, self._playback.faults
        files = (
            real_files(options.universe, options.seed)
            if options.universe
            else made_up_files(*played_ids(self._playback.dataset.killmails), options.seed)
        )
        for record in files["types"]:
            if record["_key"] in faults.renamed:
                record["name"] = {"en": faults.renamed[record["_key"]]}
        if "rows" in faults.sde_wrong:
            files["types"] = files["types"][: len(files["types"]) // 2]
        if "twice" in faults.sde_wrong:
            files["types"].append(files["types"][0])
        if "file" in faults.sde_wrong:
            del files["mapSolarSystems"]
        return pack(files, faults.sde_build)


def pack(files: Files, build: int) -> bytes:
    """Write an archive; the same content gives the same bytes."""
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", zipfile.ZIP_DEFLATED) as zipped:
        zipped.writestr(zipfile.ZipInfo("_sde.jsonl"), _build_line(build))
        for name, records in files.items():
            lines = b"".join(msgspec.json.encode(record) + b"\n" for record in records)
            zipped.writestr(
                zipfile.ZipInfo(f"{name}.jsonl"), lines, zipfile.ZIP_DEFLATED, compresslevel=1
            )
    return written.getvalue()


def _build_line(build: int) -> bytes:
    return msgspec.json.encode({"_key": "sde", "buildNumber": build, "releaseDate": _DATE}) + b"\n"


async def _cut(request: web.Request, content: bytes, headers: dict[str, str]) -> web.StreamResponse:
    """Give half of the archive, and close the connection."""
    response = web.StreamResponse(headers=headers | {"Content-Length": str(len(content))})
    await response.prepare(request)
    await response.write(content[: len(content) // 2])
    if request.transport:
        request.transport.close()
    return response
