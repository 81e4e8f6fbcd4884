"""Entries of the feed that concern a killmail."""

from actors.shared.feed import Entry, FeedEntry, decode_entry


def decode_killmail(value: bytes | str) -> Entry:
    """Decode the entry of a killmail."""
    return of_killmail(decode_entry(value))


def of_killmail(entry: FeedEntry) -> Entry:
    """Assert that an entry concerns a killmail."""
    assert isinstance(entry, Entry)
    return entry
