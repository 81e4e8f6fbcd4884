"""ESI's public routes of characters, corporations and alliances.

What the killmails don't tell is made up from the id, always the same.

Source: ESI's OpenAPI document (compatibility date 2026-08-18; read 2026-11-27).
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web

from deploy.standin.census import DOOMHEIM, Affiliation, Census
from deploy.standin.esi_cache import Lifetimes, cacheable
from deploy.standin.esi_gateway import (
    JSON,
    EsiGateway,
    Handler,
    Route,
    each_spelling,
    error,
    path_id,
)
from deploy.standin.participants import Participants
from deploy.standin.playback import Playback

CHARACTER_MAX_AGE_S: Final = 86_400
MAX_AGE_S: Final = 3_600

_NPC_CORPORATIONS: Final = range(1_000_000, 2_000_000)
_EPOCH: Final = datetime(2003, 5, 6, tzinfo=UTC)
_RACES: Final = (1, 2, 4, 8)
_Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
_Ids = Annotated[list[_Int64], msgspec.Meta(min_length=1, max_length=1000)]


class Entities:
    """Serves `/characters`, `/corporations` and `/alliances`."""

    def __init__(
        self, playback: Playback, gateway: EsiGateway, participants: Participants, census: Census
    ) -> None:
        self._playback = playback
        self._gateway = gateway
        self._participants = participants
        self._census = census
        self._lifetimes = Lifetimes()

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return each_spelling(
            (web.post, "/characters/affiliation", self.affiliation),
            (web.get, "/characters/{id}", self.character),
            (web.get, "/corporations/{id}", self.corporation),
            (web.get, "/alliances", self.alliances),
            (web.get, "/alliances/{id}", self.alliance),
            (web.get, "/alliances/{id}/corporations", self.alliance_corporations),
        )

    async def character(self, request: web.Request) -> web.Response:
        """Answer one character."""
        return await self._answer(request, _CHARACTER, self._character)

    async def affiliation(self, request: web.Request) -> web.Response:
        """Answer where up to 1,000 characters belong, or nothing when one is unknown."""
        body = await request.read()
        return await self._answer(request, _AFFILIATION, lambda _: self._affiliations(body))

    async def corporation(self, request: web.Request) -> web.Response:
        """Answer one corporation."""
        return await self._answer(request, _CORPORATION, self._corporation)

    async def alliances(self, request: web.Request) -> web.Response:
        """Answer the ids of all alliances."""
        return await self._answer(request, _ALLIANCES, self._alliances)

    async def alliance(self, request: web.Request) -> web.Response:
        """Answer one alliance."""
        return await self._answer(request, _ALLIANCE, self._alliance)

    async def alliance_corporations(self, request: web.Request) -> web.Response:
        """Answer the ids of an alliance's corporations."""
        return await self._answer(request, _MEMBERS, self._alliance_corporations)

    async def _answer(self, request: web.Request, route: Route, handle: Handler) -> web.Response:
        await self._participants.catch_up(self._playback.now_s())
        await self._playback.characters.load()
        return await self._gateway.answer(request, route, handle)

    def _character(self, request: web.Request) -> web.Response:
        character_id = path_id(request, "id") or 0
        found = self._census.affiliation(character_id)
        if found is None:
            return error(404, "Character not found")
        return self._cacheable(
            request, _character(found, self._census.name(character_id)), CHARACTER_MAX_AGE_S
        )

    def _affiliations(self, body: bytes) -> web.Response:
        try:
            ids = msgspec.json.decode(body, type=_Ids)
        except msgspec.DecodeError as reason:
            return error(400, f"Request validation failed: {reason}")
        if len(set(ids)) != len(ids):
            return error(400, "Request validation failed: the ids must be unique")
        answer = []
        for character_id in ids:
            found = self._census.affiliation(character_id)
            if found is None:
                return error(400, "Invalid character ID")
            answer.append(_present(_ids_of(found) | {"character_id": character_id}))
        return web.Response(body=msgspec.json.encode(answer), headers=JSON)

    def _corporation(self, request: web.Request) -> web.Response:
        corporation_id = path_id(request, "id") or 0
        census = self._census
        if not census.is_known(corporation_id, "corporation"):
            return error(404, "Corporation not found")
        corporation = _corporation(corporation_id, census.name(corporation_id))
        members = self._playback.characters.members(corporation_id)
        ceo_id = min(
            (one.character_id for one in members), default=90_000_000 + corporation_id % 97
        )
        closed = corporation_id in self._playback.faults.esi_closed
        corporation |= {
            "state": "closed" if closed else "active",
            "alliance_id": census.alliance_of(corporation_id),
            "ceo_id": ceo_id,
            "creator_id": ceo_id,
            "member_count": census.member_count(corporation_id),
        }
        return self._cacheable(request, corporation, MAX_AGE_S)

    def _alliances(self, request: web.Request) -> web.Response:
        known = self._participants.ids("alliance")
        alliances = [id_ for id_ in sorted(known) if self._census.is_known(id_, "alliance")]
        return self._cacheable(request, alliances, MAX_AGE_S)

    def _alliance(self, request: web.Request) -> web.Response:
        alliance_id = path_id(request, "id") or 0
        if not self._census.is_known(alliance_id, "alliance"):
            return error(404, "Alliance not found")
        members = self._census.corporations_of(alliance_id)
        creator = members[0] if members else 98_000_000 + alliance_id % 1_000
        alliance = {
            "creator_corporation_id": creator,
            "creator_id": 90_000_000 + creator % 97,
            "date_founded": _date(alliance_id),
            "executor_corporation_id": creator if members else None,
            "name": self._census.name(alliance_id),
            "ticker": _ticker(alliance_id),
        }
        return self._cacheable(request, alliance, MAX_AGE_S)

    def _alliance_corporations(self, request: web.Request) -> web.Response:
        alliance_id = path_id(request, "id") or 0
        if not self._census.is_known(alliance_id, "alliance"):
            return error(404, "Alliance not found")
        return self._cacheable(request, self._census.corporations_of(alliance_id), MAX_AGE_S)

    def _cacheable(self, request: web.Request, answer: Any, max_age_s: int) -> web.Response:
        body = msgspec.json.encode(_present(answer) if isinstance(answer, dict) else answer)
        lifetime = self._lifetimes.of(request.path, body, self._playback.now_s(), max_age_s)
        return cacheable(request, body, lifetime)


def _character(found: Affiliation, name: str) -> dict[str, Any]:
    character_id = found.character_id
    race = character_id % 4
    return _ids_of(found) | {
        "achievement_score": character_id % 5_000,
        "birthday": _date(character_id),
        "bloodline_id": 1 + race,
        "description": "" if found.corporation_id == DOOMHEIM else "Flies.",
        "gender": ("female", "male")[character_id % 2],
        "name": name,
        "race_id": _RACES[race],
        "security_status": character_id % 150 / 10 - 10,
    }


def _ids_of(found: Affiliation) -> dict[str, Any]:
    return {"corporation_id": found.corporation_id, "alliance_id": found.alliance_id}


def _corporation(corporation_id: int, name: str) -> dict[str, Any]:
    npc = corporation_id in _NPC_CORPORATIONS
    return {
        "date_founded": None if npc else _date(corporation_id),
        "description": "",
        "friendly_fire": "illegal" if npc else "legal",
        "home_station_id": 60_000_000 + corporation_id % 4_000,
        "name": name,
        "shares": 1_000,
        "tax_rates": {"isk": float(corporation_id % 20), "loyalty_point": 0.0},
        "ticker": _ticker(corporation_id),
        "type": "npc_owned" if npc else "player_owned",
        "war_eligible": not npc,
    }


def _ticker(entity_id: int) -> str:
    return f"{entity_id % 36**4:05X}"[-5:]


def _date(entity_id: int) -> str:
    day = _EPOCH + timedelta(days=entity_id % 6_000, seconds=entity_id % 86_400)
    return f"{day:%Y-%m-%dT%H:%M:%SZ}"


def _present(answer: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is unknown: ESI has no null."""
    return {name: value for name, value in answer.items() if value is not None}


_CHARACTER: Final = Route("character", None, "2026-06-09")
_AFFILIATION: Final = Route("affiliation", None)
_CORPORATION: Final = Route("corporation", None, "2026-07-21")
_ALLIANCES: Final = Route("alliances", None)
_ALLIANCE: Final = Route("alliance", None)
_MEMBERS: Final = Route("alliance_corporations", None)
