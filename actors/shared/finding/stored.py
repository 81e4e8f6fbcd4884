"""Read of stored killmails what conditions need that postings don't tell."""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import ColumnElement

from actors.shared.body import parse_stored, stored_attackers, zkb_or_none
from actors.shared.finding.plan import reads_body, reads_items, reads_zkb
from actors.shared.finding.subject import Subject
from actors.shared.finding.tree import Tree
from actors.shared.tables import KILLMAILS

ROW_COST: Final = 50
"""What a row counts where no term leads, in postings."""
ZKB_COST: Final = 150
"""What the reading and parsing of a zkb block counts, in postings."""
BODY_COST: Final = 500
"""The same of a body."""

_FACTS: Final = (
    "killmail_id",
    "killmail_time",
    "total_value",
    "attacker_count",
    "solar_system_id",
)


def columns_for(tree: Tree) -> list[ColumnElement[Any]]:
    """List the columns that a tree is applied to."""
    packed = [("body", reads_body(tree)), ("zkb", reads_zkb(tree))]
    return [KILLMAILS.c[name] for name in (*_FACTS, *(name for name, read in packed if read))]


def cost_of_row(tree: Tree) -> int:
    """Return what a row of these columns counts, in postings."""
    return (BODY_COST if reads_body(tree) else ROW_COST) + ZKB_COST * reads_zkb(tree)


def subjects_of(
    tree: Tree, rows: Iterable[Any], listed: Mapping[int, Collection[int]]
) -> Iterable[tuple[int, Subject]]:
    """Make what a tree is applied to, by id.

    Args:
        tree: Decides what of a row is read.
        rows: Of `columns_for`; their dictionaries are known.
        listed: The killmails that each term lists.
    """
    with_items, with_body, with_zkb = reads_items(tree), reads_body(tree), reads_zkb(tree)
    for row in rows:
        id_ = row.killmail_id
        killmail = parse_stored(id_, row.body) if with_items else None
        items = killmail.victim.items if killmail else None
        attackers = killmail.attackers if killmail else ()
        yield (
            id_,
            Subject(
                row.killmail_time,
                row.total_value,
                row.attacker_count,
                stored_attackers(id_, row.body) if with_body and not with_items else attackers,
                {term for term, ids in listed.items() if id_ in ids},
                row.solar_system_id,
                items or (),
                _block_of(id_, row.zkb) if with_zkb else None,
            ),
        )


def _block_of(killmail_id: int, stored: bytes | None) -> dict[str, Any] | None:
    """Read a block; one that isn't an object is as if there were none."""
    raw = zkb_or_none(killmail_id, stored)
    try:
        block = msgspec.json.decode(raw) if raw else None
    except (msgspec.DecodeError, RecursionError):
        return None
    return block if isinstance(block, dict) else None
