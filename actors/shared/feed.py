"""Entries of the feed: what topics, channels and doors pass on about one stored killmail.

Shape: {"v": 1, "feed_id": "5d0c…", "sequence": 17, "kind": "added" | "updated",
"killmail_id": 132467594, "hash": "8ef2…", "stored_at": 1767793100.25,
"names": {"30004371": "Amamake", …}, "zkb": {…} | absent,
"killmail": {ESI's body, exactly} | absent, "truncated": true | absent}

`sequence` has no gaps and follows the order of commits: whoever has seen N has seen all below N.
Entries arrive at least once and, over topics and channels, not always in order: fold by sequence.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Select, select

from actors.shared.body import unpack
from actors.shared.reference import NO_JSON
from actors.shared.tables import FEED, FEED_COUNTER, KILLMAILS, NAMES

CHANNEL: Final = "killmails"
"""The Redis channel that carries entries, one JSON object a line."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True):
    """One entry of the feed with its killmail."""

    sequence: int
    kind: str
    killmail_id: int
    hash: str
    stored_at: float
    """Unix seconds of the commit."""
    killmail: msgspec.Raw = NO_JSON
    """ESI's body; empty when `truncated`."""
    names: dict[int, str] = {}
    zkb: msgspec.Raw = NO_JSON
    truncated: bool = False
    """The whole was too large for its topic: the tables have it."""
    feed_id: str = ""
    """Tells this feed from another one on the same servers."""
    v: int = 1


_decoder: Final = msgspec.json.Decoder(Entry)
_encoder: Final = msgspec.json.Encoder()


def encode_entry(entry: Entry) -> bytes:
    """Write an entry as JSON; `v` is always there."""
    # Only NO_JSON itself is left out; any other empty Raw would be a value of no characters.
    entry = msgspec.structs.replace(
        entry, zkb=entry.zkb or NO_JSON, killmail=entry.killmail or NO_JSON
    )
    return b'{"v":1,' + _encoder.encode(entry)[1:]


def decode_entry(value: bytes | str) -> Entry:
    """Read what `encode_entry` wrote; msgspec's errors pass through."""
    return _decoder.decode(value)


def entries_after(sequence: int, limit: int) -> Select[Any]:
    """Build the query for the entries that follow a sequence, in order."""
    return (
        select(
            FEED.c.sequence,
            FEED.c.kind,
            FEED.c.stored_at,
            KILLMAILS.c.killmail_id,
            KILLMAILS.c.killmail_hash,
            KILLMAILS.c.zkb,
            KILLMAILS.c.body,
            select(FEED_COUNTER.c.feed_id).scalar_subquery().label("feed_id"),
        )
        .join(KILLMAILS, KILLMAILS.c.killmail_id == FEED.c.killmail_id)
        .where(FEED.c.sequence > sequence)
        .order_by(FEED.c.sequence)
        .limit(limit)
    )


def names_of(ids: Collection[int]) -> Select[Any]:
    """Build the query for the known names among some ids: rows of `id`, `name`."""
    return select(NAMES.c.id, NAMES.c.name).where(NAMES.c.id.in_(ids), NAMES.c.name.is_not(None))


def entry_of(row: Mapping[str, Any], names: Mapping[int, str]) -> Entry:
    """Make an entry of a row of `entries_after`; `names` may hold more than it needs."""
    body = unpack(row["body"])
    zkb = row["zkb"]
    if not isinstance(zkb, str | None):  # SQLite through `databases` decodes what it reads
        zkb = _encoder.encode(zkb).decode()
    return msgspec.structs.replace(
        truncated_entry_of(row),
        truncated=False,
        killmail=msgspec.Raw(body),
        names=dict(names),
        zkb=msgspec.Raw(zkb.encode()) if zkb else NO_JSON,
    )


def truncated_entry_of(row: Mapping[str, Any]) -> Entry:
    """Make an entry of a row of `entries_after` without looking at what the row holds."""
    return Entry(
        sequence=row["sequence"],
        kind=row["kind"],
        killmail_id=row["killmail_id"],
        hash=row["killmail_hash"],
        stored_at=row["stored_at"].timestamp(),
        truncated=True,
        feed_id=row["feed_id"],
    )


def join_entries(entries: Iterable[bytes]) -> str:
    """Pack entries into one message of the channel: one a line.

    A body may have line breaks of its own, which JSON allows only where a space may stand.
    """
    return b"\n".join(entry.replace(b"\n", b" ") for entry in entries).decode()
