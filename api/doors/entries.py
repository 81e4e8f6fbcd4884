"""Entries of the feed as the doors give them."""

import msgspec

from actors.shared.feed import Entry, encode_entry
from actors.shared.killmail import entity_ids
from api.view import FeedView, View


def encoded(view: FeedView) -> bytes:
    """Encode an entry as on the topic, in one line.

    JSON allows line breaks only between tokens, so those of a body become spaces.
    """
    entry = _with_names(view) if isinstance(view, View) else view.entry
    return encode_entry(entry).translate(_IN_ONE_LINE)


def _with_names(view: View) -> Entry:
    """Add the names of a killmail that was read from the table: they are in its view."""
    if view.entry.names or not view.names:
        return view.entry
    known = view.names
    names = {id_: known[id_] for id_ in entity_ids(view.killmail) if id_ in known}
    return msgspec.structs.replace(view.entry, names=names)


_IN_ONE_LINE = bytes.maketrans(b"\r\n", b"  ")
