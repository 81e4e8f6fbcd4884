"""A killmail as ESI gives it: its schema, its hash, its limits. No I/O.

The column `body` holds ESI's bytes unchanged, so fields that ESI adds later are preserved; only the
fields needed to store and to find a killmail are parsed.

Source: ESI's OpenAPI document, operation `GetKillmailsKillmailIdKillmailHash`,
compatibility date 2026-08-18.
"""

from datetime import UTC, datetime
from hashlib import sha1
from typing import Annotated, Final

import msgspec

from actors.shared.errors import DECODE_ERRORS, Invalid

MAX_BODY_BYTES: Final = 8 * 1024 * 1024
"""Largest body accepted. The largest known one has 668 kB (3,753 attackers)."""

Id = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
KillmailHash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{40}\Z")]


class _Esi(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Fields absent in ESI are None; unknown fields are ignored."""


class Position(_Esi, frozen=True):
    """Metres from the sun of the solar system."""

    x: float
    y: float
    z: float


class Item(_Esi, frozen=True):
    """An item in the ship; a container has items of its own, one level deep."""

    item_type_id: Id
    flag: Int64
    singleton: Int64
    quantity_destroyed: Int64 | None = None
    quantity_dropped: Int64 | None = None
    items: tuple["Item", ...] | None = None


class Victim(_Esi, frozen=True):
    """The victim and its ship. A structure has no character."""

    damage_taken: Int64
    ship_type_id: Id
    character_id: Id | None = None
    corporation_id: Id | None = None
    alliance_id: Id | None = None
    faction_id: Id | None = None
    position: Position | None = None
    items: tuple[Item, ...] | None = None


class Attacker(_Esi, frozen=True):
    """An attacker. An NPC usually has no character."""

    damage_done: Int64
    final_blow: bool
    security_status: float
    character_id: Id | None = None
    corporation_id: Id | None = None
    alliance_id: Id | None = None
    faction_id: Id | None = None
    ship_type_id: Id | None = None
    weapon_type_id: Id | None = None


class Killmail(_Esi, frozen=True):
    """One killmail, complete."""

    killmail_id: Id
    killmail_time: datetime
    solar_system_id: Id
    victim: Victim
    attackers: tuple[Attacker, ...]
    moon_id: Id | None = None
    war_id: Id | None = None


_decoder: Final = msgspec.json.Decoder(Killmail)
_WINDOWS_EPOCH_S: Final = 11_644_473_600


def parse_killmail(body: bytes | msgspec.Raw) -> Killmail:
    """Validate and parse one ESI body.

    Raises:
        Invalid: the body is too large, isn't JSON or isn't a killmail; says why.
    """
    size = len(memoryview(body))
    if size > MAX_BODY_BYTES:
        raise Invalid(f"body of {size} bytes is over the limit of {MAX_BODY_BYTES}")
    try:
        str(body, "utf-8")  # the decoder doesn't check fields that it ignores
        killmail = _decoder.decode(body)
    except DECODE_ERRORS as error:
        raise Invalid(f"not a killmail: {error}") from None
    if killmail.killmail_time.tzinfo is None:
        raise Invalid("not a killmail: killmail_time has no time zone")
    try:
        killmail.killmail_time.astimezone(UTC)
    except OverflowError:
        raise Invalid("not a killmail: killmail_time is out of range") from None
    return killmail


def killmail_hash(killmail: Killmail) -> str:
    """Compute the hash that belongs to a killmail's id.

    SHA-1 over the victim's and the final blow's character_id (or "None"), the victim's ship and
    the kill's Windows file time. Without a final blow the first attacker is used. Different
    killmails may have the same hash: the key is the id.
    """
    final_blow = killmail.attackers[0] if killmail.attackers else None
    for attacker in killmail.attackers:
        if attacker.final_blow:
            final_blow = attacker
            break
    unix_s = int(killmail.killmail_time.timestamp())
    file_time = (unix_s + _WINDOWS_EPOCH_S) * 10_000_000
    parts = (
        killmail.victim.character_id,
        final_blow.character_id if final_blow else None,
        killmail.victim.ship_type_id,
        file_time,
    )
    return sha1("".join(map(str, parts)).encode(), usedforsecurity=False).hexdigest()


def entity_ids(killmail: Killmail) -> set[int]:
    """List the ids to resolve: characters, groups, ships, weapons and the solar system."""
    victim = killmail.victim
    ids = {
        killmail.solar_system_id,
        victim.ship_type_id,
        victim.character_id,
        victim.corporation_id,
        victim.alliance_id,
        victim.faction_id,
    }
    for attacker in killmail.attackers:
        ids.add(attacker.character_id)
        ids.add(attacker.corporation_id)
        ids.add(attacker.alliance_id)
        ids.add(attacker.faction_id)
        ids.add(attacker.ship_type_id)
        ids.add(attacker.weapon_type_id)
    return {entity_id for entity_id in ids if entity_id}
