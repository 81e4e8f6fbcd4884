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
"""An id of ESI's."""
Int64 = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
KillmailHash = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{40}\Z")]


class _Esi(msgspec.Struct, frozen=True, gc=False, omit_defaults=True):
    """Fields absent in ESI are None; unknown fields are ignored."""


class Position(_Esi, frozen=True):
    """Where the victim was, in metres from the sun of the solar system."""

    x: float
    """Metres."""
    y: float
    """Metres."""
    z: float
    """Metres."""


class Item(_Esi, frozen=True):
    """An item in the ship; a container has items of its own, one level deep."""

    item_type_id: Id
    """Type of the item."""
    flag: Int64
    """Where in the ship it was: a slot or a bay."""
    singleton: Int64
    """0 for a stack; 1 for an assembled item, 2 for a copy of a blueprint."""
    quantity_destroyed: Int64 | None = None
    """How many were destroyed."""
    quantity_dropped: Int64 | None = None
    """How many dropped."""
    items: tuple["Item", ...] | None = None
    """What a container holds."""


class Victim(_Esi, frozen=True):
    """The victim and its ship. A structure has no character."""

    damage_taken: Int64
    """All damage; negative in some old killmails."""
    ship_type_id: Id
    """Type of the destroyed ship or structure."""
    character_id: Id | None = None
    """Absent for structures."""
    corporation_id: Id | None = None
    """The victim's corporation."""
    alliance_id: Id | None = None
    """Absent without an alliance."""
    faction_id: Id | None = None
    """The faction of factional warfare, or the NPCs'."""
    position: Position | None = None
    """Absent in old killmails."""
    items: tuple[Item, ...] | None = None
    """What was in the ship, without the ship itself."""


class Attacker(_Esi, frozen=True):
    """An attacker. An NPC usually has no character."""

    damage_done: Int64
    """Damage of this attacker; negative in some old killmails."""
    final_blow: bool
    """Whether it destroyed the victim; true for one attacker."""
    security_status: float
    """The character's security status, -10 to 10."""
    character_id: Id | None = None
    """Absent for most NPCs."""
    corporation_id: Id | None = None
    """The attacker's corporation."""
    alliance_id: Id | None = None
    """Absent without an alliance."""
    faction_id: Id | None = None
    """The faction of factional warfare, or the NPC's."""
    ship_type_id: Id | None = None
    """Type of the attacker's ship."""
    weapon_type_id: Id | None = None
    """Type of the weapon, or of the ship."""


class Killmail(_Esi, frozen=True):
    """One killmail as ESI gives it. What ESI leaves out is absent; it may add fields."""

    killmail_id: Id
    """The killmail's id, which is its key."""
    killmail_time: Annotated[datetime, msgspec.Meta(tz=True)]
    """When the victim was destroyed, in UTC."""
    solar_system_id: Id
    """Where it was destroyed."""
    victim: Victim
    """Who was destroyed."""
    attackers: tuple[Attacker, ...]
    """Who attacked, in ESI's order."""
    moon_id: Id | None = None
    """The moon, if it was at one."""
    war_id: Id | None = None
    """The war, if it belongs to one."""


class _OfAttackers(_Esi, frozen=True):
    attackers: tuple[Attacker, ...]


_decoder: Final = msgspec.json.Decoder(Killmail)
_attackers_decoder: Final = msgspec.json.Decoder(_OfAttackers)
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
    try:
        killmail.killmail_time.astimezone(UTC)
    except OverflowError:
        raise Invalid("not a killmail: killmail_time is out of range") from None
    return killmail


def parse_attackers(body: bytes) -> tuple[Attacker, ...]:
    """Parse the attackers of a body that is a killmail; takes a third of the time.

    Raises:
        Invalid: it is none.
    """
    try:
        return _attackers_decoder.decode(body).attackers
    except DECODE_ERRORS as error:
        raise Invalid(f"not a killmail: {error}") from None


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
