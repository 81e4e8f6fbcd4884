"""ESI: killmail bodies, names and status.

Source: ESI's OpenAPI document (compatibility date 2026-08-18; read 2026-11-21).
"""

from datetime import UTC, datetime, timedelta
from random import Random
from typing import Annotated, Final

import msgspec
from aiohttp import web

from deploy.standin.esi_cache import Lifetime, cacheable
from deploy.standin.esi_gateway import JSON, EsiGateway, Group, Route, each_spelling, error
from deploy.standin.killmails import UpstreamKillmail
from deploy.standin.playback import Playback

MAX_AGE_S: Final = 2_592_000

_NO_SUCH_KILLMAIL: Final = "Invalid killmail_id and/or killmail_hash"
_NO_SUCH_ID: Final = "Ensure all IDs are valid before resolving."
_HTML: Final = b"<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>"

_ROUTES: Final = (
    ("GET", "/killmails/{killmail_id}/{killmail_hash}"),
    ("POST", "/universe/names"),
    ("GET", "/status"),
    ("GET", "/meta/status"),
    ("GET", "/characters/{character_id}/killmails/recent"),
    ("GET", "/corporations/{corporation_id}/killmails/recent"),
    ("GET", "/characters/{character_id}/roles"),
    ("GET", "/characters/{character_id}"),
    ("POST", "/characters/affiliation"),
    ("GET", "/corporations/{corporation_id}"),
    ("GET", "/alliances"),
    ("GET", "/alliances/{alliance_id}"),
    ("GET", "/alliances/{alliance_id}/corporations"),
    ("GET", "/universe/types/{type_id}"),
    ("GET", "/universe/groups/{group_id}"),
)
"""What `/meta/status` tells of."""

_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Ids = Annotated[list[_Int64], msgspec.Meta(min_length=1, max_length=1000)]


class Esi:
    """Serves `/killmails`, `/universe/names`, `/status` and `/meta/status`."""

    def __init__(self, playback: Playback, gateway: EsiGateway) -> None:
        options = playback.options
        self._playback = playback
        self._gateway = gateway
        self._random = Random(f"esi {options.seed}")
        window_s = options.esi_window_s
        self._killmail = Route("killmail", Group("killmail", options.esi_tokens, window_s))
        self._names = Route("names", None)
        self._status = Route("status", Group("status", 600, window_s), down_status=503)
        meta = Group("meta", 150, window_s)
        self._meta = Route("meta_status", meta, "2025-11-06", down_status=None)
        started_s = options.clock()
        self._lifetime = Lifetime(started_s, started_s + MAX_AGE_S)

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return each_spelling(
            (web.get, "/killmails/{killmail_id}/{killmail_hash}", self.killmail),
            (web.post, "/universe/names", self.names),
            (web.get, "/status", self.status),
            (web.get, "/meta/status", self.meta_status),
        )

    async def killmail(self, request: web.Request) -> web.Response:
        """Answer one body, exactly as the dataset has it."""
        return await self._gateway.answer(request, self._killmail, self._find_killmail)

    async def names(self, request: web.Request) -> web.Response:
        """Answer the names of up to 1,000 ids, or nothing when one is unknown."""
        body = await request.read()
        return await self._gateway.answer(request, self._names, lambda _: self._find_names(body))

    async def status(self, request: web.Request) -> web.Response:
        """Answer how Tranquility is."""
        return await self._gateway.answer(request, self._status, self._status_answer)

    async def meta_status(self, request: web.Request) -> web.Response:
        """Answer how each route is."""
        return await self._gateway.answer(request, self._meta, self._meta_answer)

    def _find_killmail(self, request: web.Request) -> web.Response:
        given_id = request.match_info["killmail_id"]
        if not (given_id.isascii() and given_id.isdigit()):
            return error(400, "killmail_id must be an integer")
        played = self._playback.dataset.killmails.find(int(given_id))
        if played is None or played.killmail_hash != request.match_info["killmail_hash"]:
            return error(422, _NO_SUCH_KILLMAIL)
        wrong = self._wrong_answer(request, played)
        if wrong is not None:
            return wrong
        return cacheable(request, played.body, self._lifetime, etag=played.killmail_hash)

    def _wrong_answer(
        self, request: web.Request, killmail: UpstreamKillmail
    ) -> web.Response | None:
        faults, given = self._playback.faults, self._playback.stats.faults
        status = faults.esi_killmail_status.get(killmail.killmail_id)
        if status is not None:
            given["esi_killmail_status"] += 1
            answer = error(status, "No access")
            if status in (301, 302, 303, 307, 308):
                answer.headers["Location"] = f"/moved{request.path}"
            return answer
        if not faults.esi_wrong or not self._gateway.hits(faults.esi_wrong_rate):
            return None
        given["esi_wrong"] += 1
        kind = self._random.choice(faults.esi_wrong)
        if kind in ("404", "422"):
            return error(int(kind), _NO_SUCH_KILLMAIL)
        if kind == "html":
            return web.Response(body=_HTML, content_type="text/html")
        cut = b"" if kind == "empty" else killmail.body[: len(killmail.body) // 2]
        return web.Response(body=cut, headers=JSON)

    def _find_names(self, body: bytes) -> web.Response:
        try:
            ids = msgspec.json.decode(body, type=_Ids)
        except msgspec.DecodeError as reason:
            return error(400, f"Request validation failed: {reason}")
        if len(set(ids)) != len(ids):
            return error(400, "Request validation failed: the ids must be unique")
        faults = self._playback.faults
        found = []
        for entity_id in ids:
            name = None if entity_id in faults.unknown_ids else self._playback.names.find(entity_id)
            if name is None:
                return error(404, _NO_SUCH_ID)
            if faults.names_refused and name.category in ("character", "corporation"):
                self._playback.stats.faults["names_refused"] += 1
                return error(404, _NO_SUCH_ID)
            known_as = faults.renamed.get(entity_id, name.name)
            found.append({"category": name.category, "id": entity_id, "name": known_as})
        return web.Response(body=msgspec.json.encode(found), headers=JSON)

    def _status_answer(self, _: web.Request) -> web.Response:
        today = datetime.fromtimestamp(self._playback.now_s(), UTC)
        started = today.replace(hour=11, minute=1, second=30, microsecond=0)
        if started > today:
            started -= timedelta(days=1)
        status = {
            "players": 23_456,
            "server_version": "3012345",
            "start_time": f"{started:%Y-%m-%dT%H:%M:%SZ}",
            "vip": False,
        }
        headers = JSON | {"Cache-Control": "public, max-age=30"}
        return web.Response(body=msgspec.json.encode(status), headers=headers)

    def _meta_answer(self, _: web.Request) -> web.Response:
        state = "Down" if self._playback.faults.tranquility_down else "OK"
        routes = [
            {"method": method, "path": path, "status": "OK" if path == "/meta/status" else state}
            for method, path in _ROUTES
        ]
        return web.Response(body=msgspec.json.encode({"routes": routes}), headers=JSON)
