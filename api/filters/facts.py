"""What a gateway process keeps to judge killmails by itself: the universe, and labels' numbers."""

import asyncio
from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from typing import Any, Final, NoReturn

import structlog
from sqlalchemy import select

from actors.shared.among import among
from actors.shared.background import in_background
from actors.shared.finding.kinds import ID_BITS, Kind, term_of
from actors.shared.finding.subject import Subject, subject_of
from actors.shared.finding.universe import NOT_LOADED, Universe, read_universe
from actors.shared.tables import LABELS, UNIVERSE
from actors.shared.zkb import labels_of
from api.database import DatabaseUnavailable, ReadDatabase
from api.errors import BadInput, ClientError
from api.filters.groups import Groups, groups_of
from api.filters.space import Space, read_space
from api.view import View

POLL_S: Final = 30.0
"""Interval at which it is seen whether another universe was loaded."""
FIRST_UNNUMBERED: Final = 1 << ID_BITS - 1
"""Labels that no stored killmail has get numbers of this process from here on."""
MAX_UNNUMBERED: Final = 1_000
"""How many of those a process keeps."""

_log: Final = structlog.get_logger()


class UniverseUnknown(ClientError):
    """The static universe isn't loaded, which a condition needs."""

    def __init__(self) -> None:
        super().__init__(
            "UNIVERSE_UNKNOWN",
            "filter: regions, constellations, bands and groups aren't known yet: the static"
            " universe is being loaded; try again in some minutes",
        )


@asynccontextmanager
async def open_facts(database: ReadDatabase) -> AsyncIterator["Facts"]:
    """Keep what the database has until the block ends; it needn't be available."""
    facts = Facts(database)
    async with in_background(facts.follow(), "facts: universe"):
        yield facts


class Facts:
    """The universe and the labels as this process knows them."""

    def __init__(self, database: ReadDatabase) -> None:
        self.database = database
        self.universe: Universe = NOT_LOADED
        """The one that is loaded; another object when another one is."""
        self.changed = asyncio.Event()
        """Set, and replaced by a new event, when another universe was read."""
        self._groups: tuple[Universe, Groups] | None = None
        self._space: tuple[Universe, Space] | None = None
        self._reading = asyncio.Lock()
        self._numbers: dict[str, int] = {}
        """Of labels that a filter has named; they keep them."""
        self._unnumbered: dict[str, int] = {}

    def subject(self, view: View) -> Subject:
        """Return what conditions are applied to; made once for each view, and kept there."""
        known = (self.universe, len(self._numbers), len(self._unnumbered))
        if view.subject is None or view.subject[0] != known:
            zkb = view.zkb if isinstance(view.zkb, dict) else None
            labels = labels_of(zkb)
            ids = [
                of[label]
                for of in (self._numbers, self._unnumbered)
                for label in labels & of.keys()
            ]
            view.subject = known, subject_of(view.killmail, zkb, ids, self.universe)
        return view.subject[1]

    async def loaded_universe(self) -> Universe:
        """Return the universe, read now if none was known.

        Raises:
            UniverseUnknown: none is loaded.
            DatabaseUnavailable: it can't be read now.
        """
        if self.universe is NOT_LOADED:
            await self._refresh()
        if self.universe is NOT_LOADED:
            raise UniverseUnknown
        return self.universe

    async def groups(self) -> Groups:
        """Return the groups of the loaded universe; raises like the above."""
        universe = await self.loaded_universe()
        if self._groups is None or self._groups[0] is not universe:
            self._groups = universe, groups_of(universe)
        return self._groups[1]

    async def space(self) -> Space:
        """Return what lies near what, read when it is first asked for; raises like the above."""
        universe = await self.loaded_universe()
        async with self._reading:
            if self._space is None or self._space[0] is not universe:
                self._space = universe, await self.database.in_snapshot(_read_space)
            return self._space[1]

    async def label_terms(self, labels: Collection[str]) -> dict[str, int]:
        """Return the term of each label.

        A label that no stored killmail has gets one of this process's own, by which `subject` finds
        it in killmails that come later.

        Raises:
            BadInput: too many such labels were asked for.
            DatabaseUnavailable: they can't be read now.
        """
        if missing := set(labels) - self._numbers.keys():
            of_missing = select(LABELS).where(among(LABELS.c.label, missing))
            rows = await self.database.fetch_all(of_missing)
            self._numbers |= {row["label"]: row["label_id"] for row in rows}
        return {label: term_of(Kind.LABEL, self._number(label)) for label in labels}

    def _number(self, label: str) -> int:
        if (number := self._numbers.get(label)) is not None:
            return number
        if label not in self._unnumbered and len(self._unnumbered) >= MAX_UNNUMBERED:
            raise BadInput(f"filter: no stored killmail has the label {label}")
        return self._unnumbered.setdefault(label, FIRST_UNNUMBERED + len(self._unnumbered))

    async def follow(self) -> NoReturn:
        """Read the universe whenever another one is loaded, until cancelled."""
        while True:
            try:
                await self._refresh()
            except DatabaseUnavailable:
                pass  # health and tail say so
            except Exception:  # unexpected; filters go on with what was read before
                _log.exception("facts.universe_unreadable", retry_in_s=POLL_S)
            await asyncio.sleep(POLL_S)

    async def _refresh(self) -> None:
        async with self._reading:
            loaded_at = await self.database.fetch_val(select(UNIVERSE.c.loaded_at))
            if loaded_at != self.universe.loaded_at:
                self.universe = await self.database.in_snapshot(_read)
                self.changed.set()
                self.changed = asyncio.Event()


async def _read(read: Any) -> Universe:
    return await read_universe(read)


async def _read_space(read: Any) -> Space:
    return await read_space(read)
