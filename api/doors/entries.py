"""Entries of the feed as the doors give them."""

from datetime import timedelta
from typing import Final, TypeGuard

import msgspec

from actors.shared.feed import Entry, encode_entry
from actors.shared.killmail import entity_ids
from api.view import FeedView, View

NEWS_AGE: Final = timedelta(days=7)


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


def is_news(view: FeedView) -> TypeGuard[View]:
    """Tell whether an entry is a new killmail for clients that can't tell old ones from new ones.

    As for `killmailAdded`: a killmail that a sync or an import of history brought must be young.
    """
    if not isinstance(view, View) or view.entry.kind != "added":
        return False
    return view.entry.origin == "live" or view.stored_at - view.killmail.killmail_time <= NEWS_AGE
