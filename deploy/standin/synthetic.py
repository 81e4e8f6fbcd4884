"""Make up realistic killmails; the same seed and index give the same killmail."""

from bisect import bisect
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Any, Final, TypeVar

import msgspec

from actors.shared.killmail import killmail_hash, parse_killmail
from deploy.standin import synthetic_types as types
from deploy.standin.killmails import KillmailSummary, UpstreamKillmail
from deploy.standin.zkb import make_zkb

ENDLESS: Final = 900_000_000
"""Length of an endless dataset: 28 years at one killmail per second."""

FIRST_KILLMAIL_ID: Final = 140_000_000
BEGINS_AT: Final = datetime(2026, 1, 1, tzinfo=UTC)
CACHE_SIZE: Final = 100_000
"""Killmails in memory; the others are generated again at their next access."""

_BANDS: Final = {system: band for _, band, systems in types.BANDS for system in systems}
_Choice = TypeVar("_Choice")


class SyntheticKillmails:
    """A sequence of made-up killmails, each generated at its first access.

    Ids ascend with the index and have gaps, as EVE's do.
    """

    def __init__(
        self, count: int, seed: int, begins_at: datetime | None, rate_per_s: float | None
    ) -> None:
        self._count = count
        self._seed = seed
        self._clock = _KillClock(begins_at or BEGINS_AT, rate_per_s)
        self._cached = lru_cache(CACHE_SIZE)(self._make)

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: int, /) -> UpstreamKillmail:
        if not 0 <= index < self._count:
            raise IndexError(index)
        return self._cached(index)

    def __iter__(self) -> Iterator[UpstreamKillmail]:
        return (self._cached(index) for index in range(self._count))

    def summary(self, index: int, /) -> KillmailSummary:
        """Return id and time of one killmail without generating it."""
        return KillmailSummary(_killmail_id(index), int(self._clock.killed_at(index).timestamp()))

    def find(self, killmail_id: int, /) -> UpstreamKillmail | None:
        """Return the killmail with this id, or None."""
        index = (killmail_id - FIRST_KILLMAIL_ID) // 2
        known = 0 <= index < self._count and _killmail_id(index) == killmail_id
        return self._cached(index) if known else None

    def category_hints(self) -> Mapping[int, str]:
        """Return nothing, as the category of each made-up id follows from its number."""
        return {}

    def _make(self, index: int) -> UpstreamKillmail:
        random = Random(f"{self._seed} {index}")
        killmail_id = _killmail_id(index)
        killed_at = self._clock.killed_at(index)
        body = msgspec.json.encode(make_killmail(random, killmail_id, killed_at))
        killmail = parse_killmail(body)
        hash_ = killmail_hash(killmail)
        zkb = make_zkb(killmail, hash_, _BANDS)
        return UpstreamKillmail(killmail_id, hash_, int(killed_at.timestamp()), body, zkb)


def _killmail_id(index: int) -> int:
    """Return ids that ascend by about two."""
    return FIRST_KILLMAIL_ID + 2 * index + (index * 40_503 >> 7 & 1)


def make_killmail(random: Random, killmail_id: int, killed_at: datetime) -> dict[str, Any]:
    """Make up one killmail in ESI's format."""
    roll = random.random() * 100
    structure = roll < types.STRUCTURES.share
    deployable = not structure and roll < types.STRUCTURES.share + types.DEPLOYABLES.share
    hull = types.STRUCTURES if structure else types.DEPLOYABLES
    if not (structure or deployable):
        hull = _weighted(random, types.SHIPS, _SHIP_SHARES)
    damage = int(hull.damage * random.lognormvariate(0, 0.5)) + 1
    _, _, systems = _weighted(random, types.BANDS, _BAND_SHARES)
    victim: dict[str, Any] = _side(random, character=not (structure or (deployable and roll < 1.8)))
    if random.random() > 0.8:
        victim.pop("alliance_id", None)
    victim["damage_taken"] = damage
    victim["items"] = _items(random, hull)
    victim["position"] = {axis: _coordinate(random) for axis in "xyz"}
    victim["ship_type_id"] = random.choice(hull.ship_type_ids)
    killmail: dict[str, Any] = {
        "attackers": _attackers(random, damage),
        "killmail_id": killmail_id,
        "killmail_time": f"{killed_at:%Y-%m-%dT%H:%M:%SZ}",
        "solar_system_id": random.choice(systems),
        "victim": victim,
    }
    if random.random() < 0.0138:
        killmail["war_id"] = 700_000 + random.randrange(30_000)
    if structure and random.random() < 0.25:
        killmail["moon_id"] = 40_000_000 + random.randrange(350_000)
    return killmail


def _attackers(random: Random, damage: int) -> list[dict[str, Any]]:
    _, fewest, most = _weighted(random, types.ATTACKER_COUNTS, _ATTACKER_SHARES)
    count = int(fewest * ((most + 1) / fewest) ** random.random())
    if random.random() < 0.148:
        return _shared_damage(random, damage, [_npc(random) for _ in range(min(count, 3))])
    alliance = _side(random, character=True) if count > 1 else None
    attackers = [_player(random, alliance) for _ in range(count)]
    if random.random() < 0.05:
        attackers.append(_npc(random))
    return _shared_damage(random, damage, attackers)


def _shared_damage(
    random: Random, damage: int, attackers: list[dict[str, Any]]
) -> list[dict[str, Any]]:
    """Split the damage among the attackers, the most first; any of them has the final blow."""
    cuts = sorted(random.randrange(damage + 1) for _ in attackers[1:])
    parts = [high - low for low, high in zip([0, *cuts], [*cuts, damage], strict=True)]
    last = random.randrange(len(attackers))
    return [
        who | {"damage_done": done, "final_blow": place == last}
        for place, (who, done) in enumerate(
            zip(attackers, sorted(parts, reverse=True), strict=True)
        )
    ]


def _player(random: Random, friend: dict[str, Any] | None) -> dict[str, Any]:
    player = _side(random, character=True)
    if friend and random.random() < 0.7:
        player["corporation_id"] = friend["corporation_id"] + random.randrange(12)
        player["alliance_id"] = friend.get("alliance_id", 99_000_001)
    player["security_status"] = round(random.triangular(-10, 5, 1), 1)
    player["ship_type_id"] = random.choice(types.ATTACKER_SHIP_IDS)
    player["weapon_type_id"] = random.choice((player["ship_type_id"], *types.WEAPON_IDS))
    for rarely_absent in ("ship_type_id", "weapon_type_id"):
        if random.random() < 0.012:
            del player[rarely_absent]
    return player


def _npc(random: Random) -> dict[str, Any]:
    corporation_id, faction_id, ship_type_id = random.choice(types.NPCS)
    npc = {
        "corporation_id": corporation_id,
        "faction_id": faction_id,
        "security_status": 0,
        "ship_type_id": ship_type_id,
    }
    return {name: value for name, value in npc.items() if value is not None}


def _side(random: Random, *, character: bool) -> dict[str, Any]:
    """Make up the ids of a participant: a few occur often, most of them rarely."""
    corporation = int(random.random() ** 2 * 6_700)
    side = {"corporation_id": 98_000_001 + corporation * 120}
    if random.random() < 0.86:
        side["alliance_id"] = 99_000_001 + corporation * corporation % 785 * 12
    if character:
        number = int(random.random() ** 2 * 40_000)
        start = 2_112_000_000 if number % 3 else 90_000_000
        side["character_id"] = start + number * 97
    if random.random() < 0.06:
        side["faction_id"] = 500_001 + random.randrange(4)
    return side


def _items(random: Random, hull: types.Hull) -> list[dict[str, Any]]:
    low, mid, high, rigs = hull.slots
    items = [
        *_fitted(random, types.LOW_FLAG, low, types.LOW_IDS),
        *_fitted(random, types.MID_FLAG, mid, types.MID_IDS),
        *_fitted(random, types.HIGH_FLAG, high, types.HIGH_IDS),
        *_fitted(random, types.RIG_FLAG, rigs, types.RIG_IDS),
    ]
    if hull is types.CAPSULE:
        if random.random() < 0.1:
            items += _stacks(random, types.IMPLANT_FLAG, 5, types.IMPLANT_IDS, most=1)
        return items
    if high and random.random() < 0.3:
        items += _stacks(random, types.HIGH_FLAG, high, types.CHARGE_IDS, most=120)
    if mid and random.random() < 0.35:
        items += _stacks(random, types.DRONE_FLAG, 3, types.DRONE_IDS, most=5)
    stacks = min(int(random.expovariate(1 / hull.cargo)), 150)
    items += _stacks(random, types.CARGO_FLAG, stacks, types.CARGO_IDS, most=2_000)
    if stacks and random.random() < 0.018:
        items.append(_container(random))
    return items


def _fitted(random: Random, flag: int, slots: int, type_ids: Sequence[int]) -> list[dict[str, Any]]:
    used = sum(random.random() < 0.92 for _ in range(slots))
    return [_item(random, flag + slot, random.choice(type_ids), 1) for slot in range(used)]


def _stacks(
    random: Random, flag: int, count: int, type_ids: Sequence[int], *, most: int
) -> list[dict[str, Any]]:
    spread = count if flag == types.HIGH_FLAG else 1
    return [
        _item(
            random,
            flag + place % spread,
            random.choice(type_ids),
            1 + int(most * random.random() ** 4),
        )
        for place in range(count)
    ]


def _container(random: Random) -> dict[str, Any]:
    container = _item(random, types.CARGO_FLAG, random.choice(types.CONTAINER_IDS), 1)
    inside = _stacks(random, 0, random.randint(1, 30), types.CARGO_IDS, most=5_000)
    return container | {"items": inside}


def _item(random: Random, flag: int, item_type_id: int, quantity: int) -> dict[str, Any]:
    fate = "quantity_dropped" if random.random() < 0.45 else "quantity_destroyed"
    copy = 2 if random.random() < 0.00275 else 0
    return {"flag": flag, "item_type_id": item_type_id, fate: quantity, "singleton": copy}


def _coordinate(random: Random) -> float:
    return round(random.gauss(0, 1.5e12), random.choice((3, 4)))


def _weighted(random: Random, choices: Sequence[_Choice], up_to: Sequence[float]) -> _Choice:
    return choices[bisect(up_to, random.random() * up_to[-1], hi=len(choices) - 1)]


class _KillClock:
    """The times of the made-up kills.

    With a rate they have that rate; without, 15,000 per day, with the distribution of a real day.
    """

    def __init__(self, begins_at: datetime, rate_per_s: float | None) -> None:
        self._begins_at = begins_at
        self._rate_per_s = rate_per_s

    def killed_at(self, index: int) -> datetime:
        """Return the time of the kill with this index."""
        if self._rate_per_s is not None:
            return self._begins_at + timedelta(seconds=int(index / self._rate_per_s))
        day, place = divmod(index, 15_000)
        share = place / 15_000 * _HOURS_UPTO[-1]
        hour = bisect(_HOURS_UPTO, share, hi=23)
        before = _HOURS_UPTO[hour - 1] if hour else 0.0
        into = (share - before) / types.KILLS_BY_HOUR[hour]
        return self._begins_at + timedelta(days=day, seconds=int((hour + into) * 3600))


_SHIP_SHARES: Final = tuple(accumulate(hull.share for hull in types.SHIPS))
_BAND_SHARES: Final = tuple(accumulate(share for share, _, _ in types.BANDS))
_ATTACKER_SHARES: Final = tuple(accumulate(share for share, _, _ in types.ATTACKER_COUNTS))
_HOURS_UPTO: Final = tuple(accumulate(types.KILLS_BY_HOUR))
