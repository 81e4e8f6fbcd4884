"""Read killmails as they are stored, with what should be derived from them."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import msgspec
import zstandard
from numpy import float32
from sqlalchemy import Select, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.killmails.findable import Known
from actors.killmails.known_universe import current_universe
from actors.killmails.version import Version, attacker_columns, derived_columns
from actors.killmails.zkb import facts_of
from actors.shared.among import among
from actors.shared.body import unpack, unpack_zkb
from actors.shared.dictionaries import read_bodies
from actors.shared.errors import Invalid
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.reference import NO_JSON
from actors.shared.tables import ATTACKERS, KILLMAILS, LABELS

Attackers = dict[int, list[tuple[Any, ...]]]
"""The columns of attackers by killmail, without its id; what PostgreSQL rounds is rounded."""
_SECURITY: Final = [column.name for column in ATTACKERS.c].index("security_status") - 1


@dataclass(frozen=True)
class Stored:
    """Killmails with their stored columns, side by side."""

    versions: list[Version]
    rows: list[Any]
    unreadable: set[int]

    def derived(self) -> list[dict[str, Any]]:
        """Build the columns that follow from body and zkb block."""
        values = [facts_of(version.zkb).total_value for version in self.versions]
        columns = derived_columns(self.versions) | {"total_value": values}
        return [dict(zip(columns, of, strict=True)) for of in zip(*columns.values(), strict=True)]


async def read_stored(connection: AsyncConnection, query: Select[Any]) -> Stored:
    """Run a query on all columns of `killmails`."""
    versions, rows, unreadable = [], [], set()
    for row in await read_bodies(connection, query):
        try:
            versions.append(_version(row))
            rows.append(row)
        except (Invalid, zstandard.ZstdError, msgspec.MsgspecError):
            unreadable.add(row.killmail_id)
    return Stored(versions, rows, unreadable)


def by_ids(ids: Collection[int]) -> Select[Any]:
    """Select killmails by id, in its order."""
    column = KILLMAILS.c.killmail_id
    return select(KILLMAILS).where(among(column, ids)).order_by(column)


async def attackers_between(connection: AsyncConnection, first: int, last: int) -> Attackers:
    """Read the attackers' rows of a range of killmails, in their order.

    A range, as the BRIN index serves no list of ids.
    """
    key = ATTACKERS.c.killmail_id
    query = select(ATTACKERS).where(key >= first, key <= last)
    return _by_killmail(await connection.execute(query.order_by(key, ATTACKERS.c.ordinal)))


def attackers_derived(versions: Sequence[Version]) -> Attackers:
    """Build the same from the bodies."""
    columns = attacker_columns(versions)
    ordered = (columns[column.name] for column in ATTACKERS.c)
    return _by_killmail(zip(*ordered, strict=True))


async def read_known(database: AsyncEngine, connection: AsyncConnection) -> Known:
    """Read the numbers of all labels, and the universe."""
    label_ids = {row.label: row.label_id for row in await connection.execute(select(LABELS))}
    return Known(label_ids, await current_universe(database))


def _by_killmail(rows: Iterable[Any]) -> Attackers:
    found: Attackers = {}
    for killmail_id, *columns in rows:
        columns[_SECURITY] = float32(columns[_SECURITY])
        found.setdefault(killmail_id, []).append(tuple(columns))
    return found


def _version(row: Any) -> Version:
    body, zkb = unpack(row.body), unpack_zkb(row.zkb)
    killmail = parse_killmail(body)
    return Version(
        killmail=killmail,
        killmail_hash=killmail_hash(killmail),
        body=msgspec.Raw(body),
        body_as_of=row.body_as_of.timestamp(),
        zkb=msgspec.Raw(zkb) if zkb else NO_JSON,
        zkb_as_of=None if row.zkb_as_of is None else row.zkb_as_of.timestamp(),
    )


def unnumbered(versions: Iterable[Version], label_ids: Mapping[str, int]) -> set[int]:
    """List the killmails that have a label without a number."""
    return {
        version.killmail.killmail_id
        for version in versions
        if not facts_of(version.zkb).labels <= label_ids.keys()
    }
