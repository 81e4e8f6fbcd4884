"""Resolvers of the types that `killmailFeed` sends; all without waiting, so that they compile."""

from typing import Any, Final

from ariadne import ObjectType, UnionType

from api.live.events import Event, KillmailEvent
from api.view import View

EVENT: Final = UnionType("KillmailFeedEvent")
_KILLMAILS: Final = (ObjectType("KillmailAdded"), ObjectType("KillmailUpdated"))
DAY: Final = ObjectType("DayImported")
HEARTBEAT: Final = ObjectType("Heartbeat")
LAGGED: Final = ObjectType("Lagged")
TOO_OLD: Final = ObjectType("CursorTooOld")
TIMINGS: Final = ObjectType("Timings")


@EVENT.type_resolver
def resolve_type(event: Event, *_: Any) -> str:
    """Return the name of an event's type."""
    if isinstance(event, KillmailEvent):
        return "KillmailAdded" if event.view.entry.kind == "added" else "KillmailUpdated"
    return type(event).__name__


def resolve_view(event: KillmailEvent, _info: Any) -> View:
    """Return the killmail, which knows its times, too."""
    return event.view


for _type in _KILLMAILS:
    _type.set_field("killmail", resolve_view)
    _type.set_field("timings", resolve_view)
DAY.set_field("day", lambda event, _: event.view.entry)
HEARTBEAT.set_field("sentAt", lambda event, _: event.sent_at)
LAGGED.set_field("lastSequence", lambda event, _: event.last_sequence)
TOO_OLD.set_field("firstSequence", lambda event, _: event.first_sequence)
TIMINGS.set_field("stored", lambda view, _: view.stored_at)
TIMINGS.set_field("received", lambda view, _: view.received_at)

FEED_TYPES: Final = (EVENT, *_KILLMAILS, DAY, HEARTBEAT, LAGGED, TOO_OLD, TIMINGS)
