"""Have killmails found that a transaction stores or changes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date
from typing import NamedTuple

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from actors.killmails.known_universe import current_universe
from actors.killmails.labels import number_labels
from actors.killmails.postings import (
    Correction,
    Posted,
    add_postings,
    correct_postings,
    extend_days,
    lock_blocks,
)
from actors.killmails.version import Change, Version
from actors.killmails.zkb import ZkbFacts, facts_of
from actors.shared.among import among
from actors.shared.finding.terms import terms_of
from actors.shared.finding.universe import Universe
from actors.shared.killmail import Killmail
from actors.shared.tables import LABELS


class Known(NamedTuple):
    """What the terms of a killmail need besides body and zkb block."""

    label_ids: Mapping[str, int]
    universe: Universe


async def known_for(database: AsyncEngine, versions: Sequence[Version]) -> Known:
    """Number the labels of killmails, and see what universe is loaded; before their transaction."""
    labels = set().union(*(facts_of(version.zkb).labels for version in versions))
    return Known(await number_labels(database, labels), await current_universe(database))


async def make_findable(
    connection: AsyncConnection, known: Known, added: Sequence[Version], changes: Sequence[Change]
) -> None:
    """List new killmails under their terms, and changed ones under those that they have now."""
    changed = [one.version for one in changes]
    ids = [version.killmail.killmail_id for version in (*added, *changed)]
    await lock_blocks(connection, ids, exclusive=bool(changes))
    await add_postings(connection, [posted(version, known) for version in added])
    if changes:
        before = {label for one in changes for label in one.zkb_before.labels}
        label_ids = dict(known.label_ids) | await _numbered(connection, before)
        known = known._replace(label_ids=label_ids)
        corrections = [
            Correction(
                _terms(one.killmail_before, one.zkb_before, known), posted(one.version, known)
            )
            for one in changes
        ]
        await correct_postings(connection, corrections)
    await extend_days(connection, map(day_of, (*added, *changed)))


def day_of(version: Version) -> tuple[date, int]:
    """Return the day of a killmail (UTC), and its id."""
    killmail = version.killmail
    return killmail.killmail_time.astimezone(UTC).date(), killmail.killmail_id


def posted(version: Version, known: Known) -> Posted:
    """Derive what postings say of a killmail; a label without a number is left out."""
    facts = facts_of(version.zkb)
    terms = _terms(version.killmail, facts, known)
    return Posted(version.killmail.killmail_id, terms, facts.total_value)


def _terms(killmail: Killmail, zkb: ZkbFacts, known: Known) -> set[int]:
    """List the terms; a label without a number has no rows."""
    label_ids = [known.label_ids[one] for one in zkb.labels if one in known.label_ids]
    return terms_of(killmail, label_ids, known.universe)


async def _numbered(connection: AsyncConnection, labels: set[str]) -> dict[str, int]:
    if not labels:
        return {}
    rows = await connection.execute(select(LABELS).where(among(LABELS.c.label, labels)))
    return {row.label: row.label_id for row in rows}
