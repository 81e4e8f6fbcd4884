"""What lies near what in the static universe: solar systems by jumps, light years and security."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from sqlalchemy import Select, select

from actors.shared.finding.kinds import Kind, term_of
from actors.shared.finding.tree import MAX_LEADS, NOTHING, HasAny, InSystems, Tree
from actors.shared.finding.universe import rows_of
from actors.shared.finding.windows import Read
from actors.shared.tables import SOLAR_SYSTEMS, STARGATES
from actors.universe.band import shown_security

LIGHT_YEAR_M: Final = 9_460_730_472_580_800
"""Metres of a light year. Source: the International Astronomical Union's definition."""
MAX_SYSTEM_TERMS: Final = 100
"""Solar systems by whose own terms killmails are found; more are found by their constellations."""


class Space:
    """The solar systems and their stargates."""

    def __init__(
        self,
        systems: Sequence[tuple[Any, ...]],
        gates: Mapping[int, set[int]],
    ) -> None:
        """Take rows of id, constellation, region, security status, x, y and z; and neighbours."""
        self._gates = gates
        self._at = {row[0]: index for index, row in enumerate(systems)}
        self._ids = np.array([row[0] for row in systems], np.int64)
        self._constellations = np.array([row[1] for row in systems], np.int64)
        self._regions = np.array([row[2] for row in systems], np.int64)
        self._security = np.array([shown_security(row[3]) for row in systems], np.float64)
        positions = [[np.nan if one is None else one for one in row[4:7]] for row in systems]
        self._positions = np.array(positions, np.float64).reshape(len(systems), 3)
        self.within_jumps = lru_cache(200)(self._within_jumps)

    def has(self, system_id: int) -> bool:
        """Tell whether this is a solar system."""
        return system_id in self._at

    def of_security(self, low: float | None, high: float | None) -> frozenset[int]:
        """List the systems whose security status, as the game shows it, is between two bounds."""
        inside = np.ones(len(self._ids), bool)
        if low is not None:
            inside &= self._security >= low
        if high is not None:
            inside &= self._security <= high
        return frozenset(self._ids[inside].tolist())

    def within_light_years(self, system_id: int, light_years: float) -> frozenset[int]:
        """List the systems that are so far from one at most, and itself."""
        offsets = self._positions - self._positions[self._at[system_id]]
        near = np.linalg.norm(offsets, axis=1) <= light_years * LIGHT_YEAR_M
        return frozenset(self._ids[near].tolist()) | {system_id}

    def _within_jumps(self, system_id: int, jumps: int) -> frozenset[int]:
        """List the systems that are so many jumps from one at most, and itself."""
        found = edge = {system_id}
        for _ in range(jumps):
            edge = set().union(*(self._gates.get(one, ()) for one in edge)) - found
            found = found | edge
            if not edge:
                break
        return frozenset(found)

    def condition(self, system_ids: frozenset[int]) -> Tree:
        """Build the condition that a kill was in one of these systems."""
        if len(system_ids) <= MAX_SYSTEM_TERMS:
            terms = frozenset(term_of(Kind.SOLAR_SYSTEM, one) for one in system_ids)
            return HasAny(terms) if terms else NOTHING
        at = [self._at[one] for one in system_ids]
        for kind, of in ((Kind.CONSTELLATION, self._constellations), (Kind.REGION, self._regions)):
            ids = np.unique(of[at]).tolist()
            if len(ids) <= MAX_LEADS:
                return InSystems(system_ids, frozenset(term_of(kind, one) for one in ids))
        return InSystems(system_ids)


async def read_space(read: Read) -> Space:
    """Read the solar systems; all queries should see the same state of the database."""
    of, gate = SOLAR_SYSTEMS.c, STARGATES.c
    columns = (of.solar_system_id, of.constellation_id, of.region_id, of.security_status)
    positions = (of.x, of.y, of.z)
    of_systems: Select[Any] = select(*columns).add_columns(*positions)
    systems = [
        tuple(getattr(row, column.name) for column in (*columns, *positions))
        async for row in rows_of(read, of_systems, of.solar_system_id)
    ]
    gates: dict[int, set[int]] = {}
    ends = select(gate.stargate_id, gate.solar_system_id, gate.destination_solar_system_id)
    async for row in rows_of(read, ends, gate.stargate_id):
        gates.setdefault(row.solar_system_id, set()).add(row.destination_solar_system_id)
    return Space(systems, gates)
