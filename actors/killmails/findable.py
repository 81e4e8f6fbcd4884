"""Have killmails found that a transaction stores or changes."""

from collections.abc import Mapping, Sequence
from datetime import UTC, date

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection

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
from actors.shared.finding.terms import terms_of
from actors.shared.killmail import Killmail
from actors.shared.rows import among
from actors.shared.tables import LABELS


def labels_of(versions: Sequence[Version]) -> set[str]:
    """List the labels that have to be numbered before the transaction."""
    return set().union(*(facts_of(version.zkb).labels for version in versions))


async def make_findable(
    connection: AsyncConnection,
    label_ids: Mapping[str, int],
    added: Sequence[Version],
    changes: Sequence[Change],
) -> None:
    """List new killmails under their terms, and changed ones under those that they have now."""
    changed = [one.version for one in changes]
    ids = [version.killmail.killmail_id for version in (*added, *changed)]
    await lock_blocks(connection, ids, exclusive=bool(changes))
    await add_postings(connection, [posted(version, label_ids) for version in added])
    if changes:
        before = {label for one in changes for label in one.zkb_before.labels}
        known = dict(label_ids) | await _numbered(connection, before)
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


def posted(version: Version, label_ids: Mapping[str, int]) -> Posted:
    """Derive what postings say of a killmail; a label without a number is left out."""
    facts = facts_of(version.zkb)
    terms = _terms(version.killmail, facts, label_ids)
    return Posted(version.killmail.killmail_id, terms, facts.total_value)


def _terms(killmail: Killmail, zkb: ZkbFacts, label_ids: Mapping[str, int]) -> set[int]:
    """List the terms; a label without a number has no rows."""
    return terms_of(killmail, [label_ids[one] for one in zkb.labels if one in label_ids])


async def _numbered(connection: AsyncConnection, labels: set[str]) -> dict[str, int]:
    if not labels:
        return {}
    rows = await connection.execute(select(LABELS).where(among(connection, LABELS.c.label, labels)))
    return {row.label: row.label_id for row in rows}
