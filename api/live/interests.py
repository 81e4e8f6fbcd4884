"""An index over the filters of all groups: a killmail looks up which of them it may meet.

Each filter is registered under terms of which every killmail that meets it has one; filters without
such terms are tried always. Each distinct filter is tried once for a killmail.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from actors.shared.finding.plan import leads_of
from actors.shared.finding.subject import Subject, matches
from actors.shared.finding.tree import Tree
from api.live.events import Event
from api.live.group import Group
from api.view import FeedView, View

MAX_LEADS: Final = 200
"""Terms under which one filter is registered, at most; a filter with more is tried always."""


class Interests:
    """The groups by what they want."""

    def __init__(self) -> None:
        self._by_term: dict[int, dict[Tree, None]] = defaultdict(dict)
        self._always: dict[Tree, None] = {}
        self._wanted: dict[Tree, dict[Group, list[str]]] = {}
        """The groups that want a filter, and under which names."""
        self._unfiltered: dict[Group, None] = {}
        self._all: dict[Group, None] = {}

    def add(self, group: Group) -> None:
        """Register a group."""
        self._all[group] = None
        if not group.selection.filters:
            self._unfiltered[group] = None
        for name, tree in group.selection.filters:
            if tree not in self._wanted:
                self._wanted[tree] = {}
                for registered in self._registers_of(tree):
                    registered[tree] = None
            self._wanted[tree].setdefault(group, []).append(name)

    def remove(self, group: Group) -> None:
        """Forget a group."""
        self._all.pop(group, None)
        self._unfiltered.pop(group, None)
        for _, tree in group.selection.filters:
            groups = self._wanted.get(tree)
            if groups is None:
                continue
            groups.pop(group, None)
            if not groups:
                del self._wanted[tree]
                self._forget(tree)

    def _forget(self, tree: Tree) -> None:
        for registered in self._registers_of(tree):
            registered.pop(tree, None)
        for term in _leads(tree):
            if not self._by_term[term]:
                del self._by_term[term]

    def _registers_of(self, tree: Tree) -> Iterator[dict[Tree, None]]:
        leads = _leads(tree)
        if not leads:
            yield self._always
        for term in leads:
            yield self._by_term[term]

    def events(
        self, view: FeedView, subject_of: Callable[[View], Subject]
    ) -> Iterator[tuple[Group, Event]]:
        """Yield the groups that send an entry, and their events."""
        if not isinstance(view, View):
            matched: dict[Group, list[str]] = {group: [] for group in self._all}
        else:
            matched = self._matched(view, subject_of)
        for group, names in matched.items():
            event = group.selection.event_of(view, names)
            if event is not None:
                yield group, event

    def _matched(self, view: View, subject_of: Callable[[View], Subject]) -> dict[Group, list[str]]:
        matched: dict[Group, list[str]] = {group: [] for group in self._unfiltered}
        if self._wanted:
            subject = subject_of(view)
            for tree in self._candidates(subject):
                if matches(tree, subject):
                    for group, names in self._wanted[tree].items():
                        matched.setdefault(group, []).extend(names)
        return matched

    def _candidates(self, subject: Subject) -> dict[Tree, None]:
        candidates = dict(self._always)
        for term in self._by_term.keys() & subject.terms:
            candidates |= self._by_term[term]
        return candidates


def _leads(tree: Tree) -> frozenset[int]:
    leads = min(leads_of(tree), key=len, default=frozenset())
    return leads if len(leads) <= MAX_LEADS else frozenset()
