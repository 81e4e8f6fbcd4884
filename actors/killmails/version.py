"""Versions of a killmail: selects the latest body and the latest zkb block, each by its own time.

Sources rewrite killmails and deliver versions out of order. Body and zkb block are each replaced
only by a later one, so the resulting row doesn't depend on the order of arrival.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, TypeVar

import msgspec
from msgspec.structs import replace

from actors.killmails.zkb import ZkbFacts, facts_of
from actors.shared.body import NO_DICTIONARY, pack, pack_zkb, unpack, unpack_zkb
from actors.shared.errors import Invalid
from actors.shared.finding.kinds import MAX_KILLMAIL_ID
from actors.shared.killmail import Killmail, parse_killmail
from actors.shared.reference import Origin, Reference
from actors.shared.rows import Columns

N = TypeVar("N", int, float)

MAX_INTEGER: Final = 2**31 - 1
MAX_ATTACKERS: Final = 2**15
"""The largest known killmail has 3,753."""
MAX_REAL: Final = 3.4e38
"""PostgreSQL's largest 4-byte numbers."""


class Version(msgspec.Struct, frozen=True, gc=False):
    """A killmail with its body and zkb block, each as of a time in Unix seconds (0: unknown)."""

    killmail: Killmail
    killmail_hash: str
    """Computed from the body."""
    body: msgspec.Raw
    body_as_of: float
    zkb: msgspec.Raw
    zkb_as_of: float | None
    """None without a zkb block."""
    origin: Origin = "live"


class Arrival(msgspec.Struct, frozen=True, gc=False):
    """A reference whose body was parsed."""

    value: bytes
    """The encoded reference, as received."""
    reference: Reference
    version: Version


@dataclass(frozen=True, slots=True)
class Change:
    """What a version changes in the stored row of its killmail."""

    version: Version
    """The row after the change."""
    columns: dict[str, Any]
    killmail_before: Killmail
    zkb_before: ZkbFacts
    body_differs: bool
    """False leaves the attackers' rows unchanged."""
    worth_an_entry: bool
    """Whether a reader sees a difference; otherwise only times change."""


def merge(one: Version, other: Version) -> Version:
    """Combine the later body and the later zkb block; prefers `one` where times are equal.

    The origin is `live` when one of them is.
    """
    origin = other.origin if other.origin == "live" else one.origin
    if other.body_as_of > one.body_as_of:
        one = replace(other, zkb=one.zkb, zkb_as_of=one.zkb_as_of)
    if other.zkb_as_of is not None and other.zkb_as_of > _or_never(one.zkb_as_of):
        one = replace(one, zkb=other.zkb, zkb_as_of=other.zkb_as_of)
    return one if one.origin == origin else replace(one, origin=origin)


def change(row: Any, version: Version, dictionary: int = NO_DICTIONARY) -> Change | None:
    """Compare a version with the stored row; None when neither body nor zkb block is later.

    The first zkb block is stored regardless of its time.

    Args:
        row: the columns `body`, `body_as_of`, `zkb`, `zkb_as_of`.
        version: the version received.
        dictionary: id of the dictionary that what is new is compressed with.
    """
    newer_body = _time(version.body_as_of) > row.body_as_of
    newer_zkb = version.zkb_as_of is not None and (
        row.zkb_as_of is None or _time(version.zkb_as_of) > row.zkb_as_of
    )
    if not (newer_body or newer_zkb):
        return None
    stored, stored_zkb = unpack(row.body), unpack_zkb(row.zkb)
    before = parse_killmail(stored)
    columns: dict[str, Any] = {}
    if newer_body:
        columns = {"body_as_of": _time(version.body_as_of)}
        if stored != bytes(version.body):
            columns = _first(body_columns([version], dictionary))
    else:
        version = replace(version, killmail=before, body=msgspec.Raw(stored))
    if newer_zkb:
        columns |= _first(zkb_columns([version], dictionary))
    elif stored_zkb:
        version = replace(version, zkb=msgspec.Raw(stored_zkb))
    body_differs = newer_body and not _same(stored, bytes(version.body))
    zkb_differs = newer_zkb and not (stored_zkb and _same(stored_zkb, bytes(version.zkb)))
    return Change(
        version=version,
        columns=columns,
        killmail_before=before,
        zkb_before=facts_of(stored_zkb),
        body_differs=body_differs,
        worth_an_entry=body_differs or zkb_differs,
    )


def body_columns(versions: Sequence[Version], dictionary: int = NO_DICTIONARY) -> Columns:
    """Build the columns of `killmails` that depend on the body.

    Args:
        versions: The killmails.
        dictionary: `current_dictionary` of the transaction that stores them.
    """
    return derived_columns(versions) | {
        "body": [pack(bytes(v.body), dictionary) for v in versions],
        "body_as_of": [_time(v.body_as_of) for v in versions],
    }


def derived_columns(versions: Sequence[Version]) -> Columns:
    """Build those of them that repeat what is in the body."""
    mails = [v.killmail for v in versions]
    victims = [m.victim for m in mails]
    return {
        "killmail_id": [m.killmail_id for m in mails],
        "killmail_hash": [v.killmail_hash for v in versions],
        "killmail_time": [m.killmail_time for m in mails],
        "solar_system_id": [m.solar_system_id for m in mails],
        "moon_id": [m.moon_id for m in mails],
        "war_id": [m.war_id for m in mails],
        "victim_character_id": [v.character_id for v in victims],
        "victim_corporation_id": [v.corporation_id for v in victims],
        "victim_alliance_id": [v.alliance_id for v in victims],
        "victim_faction_id": [v.faction_id for v in victims],
        "victim_ship_type_id": [v.ship_type_id for v in victims],
        "victim_damage_taken": [v.damage_taken for v in victims],
        "attacker_count": [len(m.attackers) for m in mails],
    }


def zkb_columns(versions: Sequence[Version], dictionary: int = NO_DICTIONARY) -> Columns:
    """Build the columns that depend on the zkb block; arguments as of `body_columns`."""
    times = [v.zkb_as_of for v in versions]
    return {
        "zkb": [pack_zkb(v.zkb, dictionary) for v in versions],
        "total_value": [facts_of(v.zkb).total_value for v in versions],
        "zkb_as_of": [None if unix_s is None else _time(unix_s) for unix_s in times],
    }


def check_storable(killmail: Killmail) -> None:
    """Check that the tables can hold a killmail.

    Raises:
        Invalid: its id is too high, or it has too many attackers.
    """
    if killmail.killmail_id > MAX_KILLMAIL_ID:
        raise Invalid(f"killmail_id is over {MAX_KILLMAIL_ID}, so nothing could find the killmail")
    if (count := len(killmail.attackers)) > MAX_ATTACKERS:
        raise Invalid(f"{count} attackers, and {MAX_ATTACKERS} is the limit")


def attacker_columns(versions: Sequence[Version]) -> Columns:
    """Build the columns of `attackers`.

    An id that the column can't hold is NULL, and another number the nearest that it can: ESI
    promises 8 bytes, but its ids fit in 4, except those of characters some day.
    """
    rows = [
        (v.killmail.killmail_id, ordinal, attacker)
        for v in versions
        for ordinal, attacker in enumerate(v.killmail.attackers)
    ]
    attackers = [attacker for _, _, attacker in rows]
    return {
        "killmail_id": [killmail_id for killmail_id, _, _ in rows],
        "character_id": [a.character_id for a in attackers],
        "ordinal": [ordinal for _, ordinal, _ in rows],
        "corporation_id": _narrow([a.corporation_id for a in attackers]),
        "alliance_id": _narrow([a.alliance_id for a in attackers]),
        "faction_id": _narrow([a.faction_id for a in attackers]),
        "ship_type_id": _narrow([a.ship_type_id for a in attackers]),
        "weapon_type_id": _narrow([a.weapon_type_id for a in attackers]),
        "damage_done": [_within(a.damage_done, MAX_INTEGER) for a in attackers],
        "security_status": [_within(a.security_status, MAX_REAL) for a in attackers],
        "final_blow": [a.final_blow for a in attackers],
    }


def _narrow(ids: list[int | None]) -> list[int | None]:
    return [one if one is None or one <= MAX_INTEGER else None for one in ids]


def _within(number: N, limit: N) -> N:
    return number if -limit <= number <= limit else limit if number > 0 else -limit


def _first(columns: Columns) -> dict[str, Any]:
    return {name: values[0] for name, values in columns.items()}


def _same(one: bytes, other: bytes) -> bool:
    """Compare JSON values; compares the text where it can't be decoded."""
    try:
        return one == other or bool(msgspec.json.decode(one) == msgspec.json.decode(other))
    except (msgspec.DecodeError, RecursionError):
        return False


def _or_never(unix_s: float | None) -> float:
    return -1.0 if unix_s is None else unix_s


def _time(unix_s: float) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)
