"""Entries of the feed: messages on topic and channel, for a stored killmail or an imported day.

Shapes: {"v": 1, "feed_id": "5d0c…", "sequence": 17, "kind": "added" | "updated",
"killmail_id": 132467594, "hash": "8ef2…", "stored_at": 1767793100.25,
"names": {"30004371": "Amamake", …}, "zkb": {…} | absent,
"killmail": {ESI's body, exactly} | absent, "truncated": true | absent,
"origin": "sync" | "import" | absent when live}
and {"v": 2, "feed_id": "5d0c…", "sequence": 18, "kind": "imported", "day": "2015-03-01",
"source": "everef" | "r2z2", "added": 14807, "total": 14809, "stored_at": 1767793101.5}

`sequence` has no gaps and follows the order of commits: when N is committed, so are all below N.
Topic and channel deliver entries at least once and not always in order: fold by sequence.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from sqlalchemy import Select, select

from actors.shared.among import among
from actors.shared.body import unpack, unpack_zkb
from actors.shared.killmail import Id, Killmail
from actors.shared.reference import NO_JSON, Origin, RawZkb
from actors.shared.tables import FEED, FEED_COUNTER, IMPORTED_DAYS, KILLMAILS, NAMES

CHANNEL: Final = "killmails"
"""The Redis channel of entries, one JSON object per line."""

_KIND: Final = msgspec.Meta(extra_json_schema={"enum": ["added", "updated"]})
_ORIGIN: Final = msgspec.Meta(extra_json_schema={"enum": list(get_args(Origin))})
_HASH: Final = msgspec.Meta(extra_json_schema={"pattern": "^[0-9a-f]{40}$"})
_NAMES: Final = msgspec.Meta(extra_json_schema={"propertyNames": {"pattern": "^[0-9]+$"}})
"""What our own entries are like, which decoding doesn't check."""


HistorySource = Literal["everef", "r2z2"]
"""Where a day's killmails are imported from: the archives of EVE Ref, or R2Z2's of zKillboard."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, tag_field="v", tag=1):
    """One entry of the feed with its killmail."""

    sequence: int
    """Number in the feed, from 1, without gaps, in the order of commits."""
    kind: Annotated[str, _KIND]
    """`added` for a new killmail, `updated` when an upstream changed its body or zkb block."""
    killmail_id: Id
    """The killmail's id."""
    hash: Annotated[str, _HASH]
    """The killmail's hash, computed from its body."""
    stored_at: float
    """Unix seconds of the commit."""
    killmail: Annotated[msgspec.Raw, msgspec.Meta(extra={"holds": Killmail})] = NO_JSON
    """ESI's body, byte for byte; absent when `truncated`."""
    names: Annotated[dict[int, str], _NAMES] = {}
    """Names of the ids in the body that were known at publishing; absent when none was."""
    zkb: RawZkb = NO_JSON
    """zKillboard's block, unchanged; absent when no source gave one."""
    truncated: bool = False
    """True when the entry was too large for its topic; the tables have all of it."""
    origin: Annotated[str, _ORIGIN] = "live"
    """What brought the killmail: the live feed, a user's sync, or an import of history."""
    feed_id: str = ""
    """Distinguishes this feed from others: created with the database."""

    @property
    def key(self) -> bytes:
        """The key of its message on the topic."""
        return str(self.killmail_id).encode()


class ImportedDay(msgspec.Struct, frozen=True, tag_field="v", tag=2):
    """One entry of the feed for a day whose history was imported: take all of the day again."""

    sequence: int
    """Number in the feed, as of the other entries."""
    day: date
    """The day of the killmails' times, in UTC."""
    source: HistorySource
    """Where the killmails come from."""
    added: int
    """How many killmails of that day the import stored; they have no entries of their own."""
    total: int
    """How many killmails the source has of that day."""
    stored_at: float
    """Unix seconds of the commit. The killmails were stored before."""
    feed_id: str = ""
    """Distinguishes this feed from others: created with the database."""
    kind: Literal["imported"] = "imported"
    """What the entry says."""

    @property
    def key(self) -> bytes:
        """The key of its message on the topic: empty."""
        return b""

    @property
    def origin(self) -> Origin:
        """What brought its killmails."""
        return "import"

    @property
    def truncated(self) -> bool:
        """Whether it lacks a part: never, as it is small."""
        return False


FeedEntry = Entry | ImportedDay

_decoder: Final[msgspec.json.Decoder[FeedEntry]] = msgspec.json.Decoder(FeedEntry)
_encoder: Final = msgspec.json.Encoder()


def encode_entry(entry: FeedEntry) -> bytes:
    """Encode an entry as JSON, always with `v`."""
    if isinstance(entry, Entry):
        # Only NO_JSON itself is omitted; another empty Raw would be encoded as an empty value.
        entry = msgspec.structs.replace(
            entry, zkb=entry.zkb or NO_JSON, killmail=entry.killmail or NO_JSON
        )
    return _encoder.encode(entry)


def decode_entry(value: bytes | str) -> FeedEntry:
    """Decode an entry. Raises msgspec's errors."""
    return _decoder.decode(value)


def entries_after(sequence: int, limit: int) -> Select[Any]:
    """Build the query for the entries that follow a sequence, in order."""
    return (
        select(
            FEED.c.sequence,
            FEED.c.kind,
            FEED.c.stored_at,
            FEED.c.origin,
            KILLMAILS.c.killmail_id,
            KILLMAILS.c.killmail_hash,
            KILLMAILS.c.zkb,
            KILLMAILS.c.body,
            IMPORTED_DAYS.c.day,
            IMPORTED_DAYS.c.source,
            IMPORTED_DAYS.c.added,
            IMPORTED_DAYS.c.total,
            select(FEED_COUNTER.c.feed_id).scalar_subquery().label("feed_id"),
        )
        .outerjoin(KILLMAILS, KILLMAILS.c.killmail_id == FEED.c.killmail_id)
        .outerjoin(IMPORTED_DAYS, IMPORTED_DAYS.c.sequence == FEED.c.sequence)
        .where(
            FEED.c.sequence > sequence,
            KILLMAILS.c.killmail_id.is_not(None) | IMPORTED_DAYS.c.day.is_not(None),
        )
        .order_by(FEED.c.sequence)
        .limit(limit)
    )


def names_of(ids: Collection[int]) -> Select[Any]:
    """Build the query for the known names among some ids: rows of `id`, `name`."""
    return select(NAMES.c.id, NAMES.c.name).where(among(NAMES.c.id, ids), NAMES.c.name.is_not(None))


def feed_entry_of(row: Mapping[str, Any]) -> FeedEntry:
    """Make an entry, without names, from a row of `entries_after`."""
    return imported_day_of(row) if row["kind"] == "imported" else entry_of(row, {})


def imported_day_of(row: Mapping[str, Any]) -> ImportedDay:
    """Make the entry of an imported day from a row of `entries_after`."""
    return ImportedDay(
        sequence=row["sequence"],
        day=row["day"],
        source=row["source"],
        added=row["added"],
        total=row["total"],
        stored_at=row["stored_at"].timestamp(),
        feed_id=row["feed_id"],
    )


def entry_of(row: Mapping[str, Any], names: Mapping[int, str]) -> Entry:
    """Make a killmail's entry from a row of `entries_after`; `names` are copied into it."""
    body = unpack(row["body"])
    zkb = unpack_zkb(row["zkb"])
    return msgspec.structs.replace(
        truncated_entry_of(row),
        truncated=False,
        killmail=msgspec.Raw(body),
        names=dict(names),
        zkb=msgspec.Raw(zkb) if zkb else NO_JSON,
    )


def truncated_entry_of(row: Mapping[str, Any]) -> Entry:
    """Make an entry from a row of `entries_after` without decoding its body."""
    return Entry(
        sequence=row["sequence"],
        kind=row["kind"],
        killmail_id=row["killmail_id"],
        hash=row["killmail_hash"],
        stored_at=row["stored_at"].timestamp(),
        truncated=True,
        origin=row["origin"],
        feed_id=row["feed_id"],
    )


def join_entries(entries: Iterable[bytes]) -> str:
    """Join entries into one message of the channel, one per line.

    Line breaks within a body are replaced: JSON allows them only as whitespace between tokens.
    """
    return b"\n".join(entry.replace(b"\n", b" ") for entry in entries).decode()
