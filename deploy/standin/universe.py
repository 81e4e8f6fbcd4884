"""ESI's routes of types and groups: real ones from a universe folder, else made up.

Source: ESI's OpenAPI document (compatibility date 2026-08-18; read 2026-11-27).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
from aiohttp import web

from deploy.standin.esi_cache import Lifetime, cacheable
from deploy.standin.esi_gateway import EsiGateway, Route, each_spelling, error, path_id
from deploy.standin.names import make_name, read_table
from deploy.standin.playback import Playback

_TYPE: Final = Route("type", None)
_GROUP: Final = Route("group", None)
_EXPIRES: Final = timedelta(hours=11, minutes=5)
_MADE_UP_TYPES: Final = range(1, 500_000)
_MADE_UP_GROUPS: Final = range(1_000)
_SHIP: Final = 6


class Type(NamedTuple):
    """What a type is, of which group."""

    name: str
    group_id: int
    published: bool


class Group(NamedTuple):
    """What a group is, of which category, with which types."""

    name: str
    category_id: int
    published: bool
    type_ids: list[int]


class Universe:
    """Serves `/universe/types` and `/universe/groups`."""

    def __init__(self, playback: Playback, gateway: EsiGateway) -> None:
        self._playback = playback
        self._gateway = gateway
        folder = playback.options.universe
        self._real = _read(folder) if folder else None

    def routes(self) -> list[web.RouteDef]:
        """List what is served."""
        return each_spelling(
            (web.get, "/universe/types/{id}", self.type),
            (web.get, "/universe/groups/{id}", self.group),
        )

    async def type(self, request: web.Request) -> web.Response:
        """Answer one type."""
        return await self._gateway.answer(request, _TYPE, self._type)

    async def group(self, request: web.Request) -> web.Response:
        """Answer one group."""
        return await self._gateway.answer(request, _GROUP, self._group)

    def _type(self, request: web.Request) -> web.Response:
        type_id = path_id(request, "id") or 0
        found = self._real[0].get(type_id) if self._real else _made_up_type(type_id)
        if found is None or type_id in self._playback.faults.unknown_ids:
            return error(404, "Type not found!")
        renamed = self._playback.faults.renamed.get(type_id, found.name)
        answer = {"type_id": type_id, "description": "", "volume": 1.0 + type_id % 100}
        return self._cacheable(request, answer | found._asdict() | {"name": renamed})

    def _group(self, request: web.Request) -> web.Response:
        group_id = path_id(request, "id")
        known = self._real[1].get if self._real else _made_up_group
        found = None if group_id is None else known(group_id)
        if found is None:
            return error(404, "Group not found")
        answer = found._asdict()
        answer["types"] = answer.pop("type_ids")
        return self._cacheable(request, answer | {"group_id": group_id})

    def _cacheable(self, request: web.Request, answer: dict[str, Any]) -> web.Response:
        lifetime = _lifetime(self._playback.now_s())
        return cacheable(
            request, msgspec.json.encode(answer), lifetime, headers={"Content-Language": "en"}
        )


def _lifetime(now_s: float) -> Lifetime:
    """Static data stands until 11:05 UTC."""
    now = datetime.fromtimestamp(now_s, UTC)
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    expires = midnight + _EXPIRES
    if expires <= now:
        expires += timedelta(days=1)
    return Lifetime((expires - timedelta(days=1)).timestamp(), expires.timestamp())


def _read(folder: Path) -> tuple[dict[int, Type], dict[int, Group]]:
    types: dict[int, Type] = {}
    members: dict[int, list[int]] = {}
    for row in read_table(folder / "types.json.gz"):
        type_id, group_id = int(str(row["id"])), int(str(row["group_id"]))
        types[type_id] = Type(str(row["name"] or ""), group_id, bool(row["published"]))
        members.setdefault(group_id, []).append(type_id)
    groups: dict[int, Group] = {}
    for row in read_table(folder / "groups.json.gz"):
        group_id, category_id = int(str(row["id"])), int(str(row["category_id"]))
        name, published = str(row["name"] or ""), bool(row["published"])
        groups[group_id] = Group(name, category_id, published, members.get(group_id, []))
    return types, groups


def _made_up_type(type_id: int) -> Type | None:
    if type_id not in _MADE_UP_TYPES:
        return None
    return Type(make_name(type_id, "inventory_type"), type_id % len(_MADE_UP_GROUPS), True)


def _made_up_group(group_id: int) -> Group | None:
    if group_id not in _MADE_UP_GROUPS:
        return None
    types = [type_id for type_id in _MADE_UP_TYPES[:20_000] if type_id % 1_000 == group_id]
    return Group(f"Group {group_id}", _SHIP, True, types)
