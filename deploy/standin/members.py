"""ESI's routes that need a token: recent killmails of characters and corporations, and roles.

Source: ESI's OpenAPI document (compatibility date 2026-08-18; read 2026-11-27). Texts of
refusals are those that clients have seen; that a page beyond the last is 404 is not confirmed.
"""

from typing import Final, NamedTuple

import msgspec
from aiohttp import web

from deploy.standin.census import Census
from deploy.standin.esi_cache import Lifetime, Lifetimes, cacheable
from deploy.standin.esi_gateway import (
    BearerHandler,
    EsiGateway,
    Group,
    Route,
    each_spelling,
    error,
    path_id,
)
from deploy.standin.participants import Entry, Kind, Participants
from deploy.standin.playback import Playback
from deploy.standin.sso.grants import Bearer

CHARACTER_SCOPE: Final = "esi-killmails.read_killmails.v1"
CORPORATION_SCOPE: Final = "esi-killmails.read_corporation_killmails.v1"
ROLES_SCOPE: Final = "esi-characters.read_corporation_roles.v1"
ROLES_MAX_AGE_S: Final = 3_600

_DAY_S: Final = 86_400


class _RecentList(NamedTuple):
    entries: list[Entry]
    lifetime: Lifetime


class Members:
    """Serves recent killmails of characters and corporations, and roles of characters.

    A recent list has the released killmails of the last `recent_days`, newest first: days before
    now, or before the newest released killmail when that is older, so that an old dataset has
    recent killmails too. All pages of a list are cached together for `recent_cache_s`.
    """

    def __init__(
        self, playback: Playback, gateway: EsiGateway, participants: Participants, census: Census
    ) -> None:
        self._playback = playback
        self._gateway = gateway
        self._participants = participants
        self._census = census
        self._lists: dict[tuple[Kind, int], _RecentList] = {}
        self._lifetimes = Lifetimes()
        window_s = playback.options.esi_window_s
        self._character = Route(
            "character_recent", Group("char-killmail", 30, window_s), scope=CHARACTER_SCOPE
        )
        self._corporation = Route(
            "corporation_recent", Group("corp-killmail", 30, window_s), scope=CORPORATION_SCOPE
        )
        self._roles = Route("roles", Group("char-detail", 600, window_s), scope=ROLES_SCOPE)

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return each_spelling(
            (web.get, "/characters/{character_id}/killmails/recent", self.character),
            (web.get, "/corporations/{corporation_id}/killmails/recent", self.corporation),
            (web.get, "/characters/{character_id}/roles", self.roles),
        )

    async def character(self, request: web.Request) -> web.Response:
        """Answer a page of a character's recent killmails."""
        return await self._answer(request, self._character, self._find_of_character)

    async def corporation(self, request: web.Request) -> web.Response:
        """Answer a page of a corporation's recent killmails, to its directors."""
        return await self._answer(request, self._corporation, self._find_of_corporation)

    async def roles(self, request: web.Request) -> web.Response:
        """Answer a character's roles in its corporation."""
        return await self._answer(request, self._roles, self._find_roles)

    async def _answer(
        self, request: web.Request, route: Route, handle: BearerHandler
    ) -> web.Response:
        await self._participants.catch_up(self._playback.now_s())
        await self._playback.characters.load()
        return await self._gateway.answer_bearer(request, route, handle)

    def _find_of_character(self, request: web.Request, bearer: Bearer) -> web.Response:
        return self._page(request, "character", bearer.character_id)

    def _find_of_corporation(self, request: web.Request, bearer: Bearer) -> web.Response:
        corporation_id = path_id(request, "corporation_id")
        who = self._census.affiliation(bearer.character_id)
        if corporation_id is None or who is None or who.corporation_id != corporation_id:
            return error(403, "Character is not in the corporation")
        if not who.is_director:
            return error(403, "Character does not have required role(s)")
        return self._page(request, "corporation", corporation_id)

    def _find_roles(self, request: web.Request, bearer: Bearer) -> web.Response:
        who = self._census.affiliation(bearer.character_id)
        roles = ["Director"] if who and who.is_director else []
        body = msgspec.json.encode(
            {"roles": roles, "roles_at_hq": [], "roles_at_base": [], "roles_at_other": []}
        )
        now_s = self._playback.now_s()
        lifetime = self._lifetimes.of(request.path, body, now_s, ROLES_MAX_AGE_S)
        return cacheable(request, body, lifetime)

    def _page(self, request: web.Request, kind: Kind, entity_id: int) -> web.Response:
        given = request.query.get("page", "1")
        if not (given.isascii() and given.isdigit() and 0 < int(given) < 2**31):
            return error(400, "Request validation failed: page must be 1 or more")
        recent = self._recent(kind, entity_id)
        size = self._playback.options.recent_page_size
        pages = max(1, -(-len(recent.entries) // size))
        if int(given) > pages:
            return error(404, "Requested page does not exist!")
        first = (int(given) - 1) * size
        killmails = self._playback.dataset.killmails
        page = [killmails[entry.place] for entry in recent.entries[first : first + size]]
        body = msgspec.json.encode(
            [{"killmail_hash": one.killmail_hash, "killmail_id": one.killmail_id} for one in page]
        )
        return cacheable(request, body, recent.lifetime, headers={"X-Pages": str(pages)})

    def _recent(self, kind: Kind, entity_id: int) -> _RecentList:
        now_s, options = self._playback.now_s(), self._playback.options
        known = self._lists.get((kind, entity_id))
        if known and now_s < known.lifetime.expires_s:
            return known
        newest_s = self._participants.newest_s
        until_s = now_s if newest_s is None else min(now_s, newest_s)
        since_s = until_s - options.recent_days * _DAY_S
        made = _RecentList(
            [
                entry
                for entry in self._participants.newest_first(kind, entity_id)
                if entry.killed_at_s >= since_s
            ],
            Lifetime(int(now_s), int(now_s) + options.recent_cache_s),
        )
        self._lists[kind, entity_id] = made
        return made
