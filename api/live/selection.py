"""Which events of the feed a subscription sends."""

from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass
from datetime import timedelta

from actors.shared.finding.tree import Tree
from api.live.events import DayImported, Event, KillmailEvent
from api.view import FeedView, View

NamedTree = tuple[str, Tree]


@dataclass(frozen=True)
class Selection:
    """Killmails that meet at least one of the filters; all without one."""

    filters: tuple[NamedTree, ...] = ()
    """With their names; the trees are those of `normal_form`."""
    max_age_days: int | None = None
    """Omits killmails of syncs and imports that are older; None for no limit."""
    added_only: bool = False
    """Omits corrections and imported days."""
    is_whole: bool = False
    """Whether the subscription's own state is sent, too: heartbeats and the like."""

    def matched(self, meets: Callable[[Tree], bool]) -> tuple[str, ...]:
        """Return the names of the filters that a killmail meets."""
        return tuple(name for name, tree in self.filters if meets(tree))

    def event_of(self, view: FeedView, matched: Collection[str]) -> Event | None:
        """Return the event of an entry that meets these filters; None when it isn't sent."""
        if not isinstance(view, View):
            return None if self.added_only else DayImported(view)
        if (
            (self.filters and not matched)
            or (self.added_only and view.entry.kind != "added")
            or (self.max_age_days is not None and not _is_news(view, self.max_age_days))
        ):
            return None
        return KillmailEvent(view, tuple(name for name, _ in self.filters if name in matched))


@dataclass(frozen=True)
class Feed:
    """What the source of a subscription to the feed returns, in place of the events themselves."""

    selection: Selection
    after: int
    """The sequence after which it begins."""
    first_sequence: int | None = None
    """The feed's first one, if entries between these are no longer there."""

    async def __aiter__(self) -> AsyncIterator["Feed"]:
        """Yield this once: graphql-core takes only sources that can be iterated."""
        yield self


def _is_news(view: View, max_age_days: int) -> bool:
    """Tell whether the live feed brought a killmail, or it is young enough."""
    if view.entry.origin == "live":
        return True
    return view.stored_at - view.killmail.killmail_time <= timedelta(days=max_age_days)
