"""The options of a stand-in, and the state that its upstreams share."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from actors.shared.errors import Misconfigured
from deploy.standin.characters import Characters
from deploy.standin.dataset import Dataset
from deploy.standin.faults import COUNTDOWNS, LAYOUT_FAULTS, Faults, Seconds, changed
from deploy.standin.names import Names
from deploy.standin.sso.applications import DEVELOPMENT, Application
from deploy.standin.sso.grants import Grants
from deploy.standin.stats import Stats

ENDLESS_RATE_PER_S: Final = 1.0
"""Rate of a dataset without end to which no rate was given."""


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Switches that are set for a while, and then stand again as before."""

    faults: dict[str, Any]
    for_s: Seconds
    from_s: Seconds = 0.0
    """How long after now, or after the start, it opens."""


@dataclass(frozen=True, kw_only=True)
class StandinOptions:
    """What a stand-in plays, where, and by which rules."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 takes a free one."""
    killmails: Path | None = None
    """ESI bodies, one a line, plain or .gz. None makes killmails up."""
    hashes: Path | None = None
    """CSV with killmail_id and hash. None computes them."""
    zkb: Path | None = None
    """Lines of {"killID","zkb"}. What it lacks is made up."""
    universe: Path | None = None
    """A folder with the names of types, systems and so on. None makes names up."""
    synthetic: int | None = None
    """How many killmails to make up; None for no end (one per second, unless a rate is given)."""
    begins_at: datetime | None = None
    """When the made-up kills begin. None: 2026-01-01, so that one seed gives one dataset."""
    seed: int = 1
    rate_per_s: float | None = None
    """Sequence numbers released per second. None: all are out at once."""
    released_before_s: float = 0.0
    """How long before the start the first number came out."""
    first_sequence: int = 96_000_000
    limits: bool = True
    """Whether the rate limits hold at the start (with the switch of that name in `faults`)."""
    faults: Faults = field(default_factory=Faults)
    windows: tuple[Window, ...] = ()
    r2z2_per_s: int = 15
    r2z2_ban_s: float = 3_600
    redisq_per_s: int = 2
    esi_tokens: int = 3_600
    """Tokens of the killmail bucket."""
    esi_window_s: float = 900
    esi_errors: int = 100
    """Errors per minute on routes without a bucket, before ESI answers nothing but 420."""
    recent_page_size: int = 1_000
    """Killmails on one page of a recent list."""
    recent_days: int = 90
    """How far back a recent list goes: from now, or from the newest killmail that is out when all
    of them are older, so that an old dataset has recent killmails too."""
    recent_cache_s: float = 300
    """How long a recent list stands before it is made anew, as ESI's cache has it."""
    zkillboard_per_s: int = 1
    """Requests per second that zKillboard's API takes; more are counted as refused."""
    zkillboard_page_size: int = 200
    applications: tuple[Application, ...] = (DEVELOPMENT,)
    """What is registered at the SSO."""
    sso_url: str | None = None
    """Where the SSO says it is, without a slash at the end. None: where it was asked."""
    clock: Callable[[], float] = time.time
    """Unix seconds."""

    @property
    def effective_rate_per_s(self) -> float | None:
        """The rate in effect: a dataset without end has one in any case."""
        if self.rate_per_s is None and self.killmails is None and self.synthetic is None:
            return ENDLESS_RATE_PER_S
        return self.rate_per_s


class Playback:
    """What R2Z2, RedisQ, ESI and the SSO have in common.

    `faults` are the switches as they stand now, windows included; replaced, never changed.
    """

    def __init__(
        self, options: StandinOptions, dataset: Dataset, names: Names, faults: Faults
    ) -> None:
        self.options = options
        self.dataset = dataset
        self.names = names
        self.characters = Characters(dataset.killmails, names)
        self.grants = Grants()
        self.stats = Stats()
        self._faults = self._first_faults = faults
        self._windows: list[_Opening] = []
        for window in options.windows:
            self.open_window(window)

    def now_s(self) -> float:
        """Read the clock."""
        return self.options.clock()

    @property
    def faults(self) -> Faults:
        """The switches as they stand now."""
        faults = self._faults
        if self._windows:
            now_s = self.now_s()
            self._windows = [window for window in self._windows if now_s < window.until_s]
            for window in self._windows:
                if now_s >= window.from_s:
                    faults = msgspec.structs.replace(faults, **window.values)
        return faults

    @faults.setter
    def faults(self, faults: Faults) -> None:
        self._faults = faults

    def switch(self, changes: Any) -> None:
        """Set some switches for good; lay out anew what follows if they ask for it.

        Raises:
            Misconfigured: what `changed` refuses.
        """
        self._switch_to(changed(self._faults, changes))

    def reset(self) -> None:
        """Set all switches as at the start, and close all windows."""
        self._windows = []
        self._switch_to(self._first_faults)

    def open_window(self, window: Window) -> None:
        """Set some switches for a while. Of two open windows the later one's switches hold.

        Raises:
            Misconfigured: what `changed` refuses, or a switch that can't be set for a while.
        """
        lasting = sorted(window.faults.keys() & {*LAYOUT_FAULTS, *COUNTDOWNS})
        if lasting:
            raise Misconfigured(f"{', '.join(lasting)} can't be set for a while, only for good")
        validated = changed(Faults(), window.faults)
        values = {name: getattr(validated, name) for name in window.faults}
        from_s = self.now_s() + window.from_s
        self._windows.append(_Opening(from_s, from_s + window.for_s, values))

    def count_down(self, switch: str) -> bool:
        """Use up one of a switch that counts down; say whether there was one."""
        left: int = getattr(self._faults, switch)
        if left:
            self._faults = msgspec.structs.replace(self._faults, **{switch: left - 1})
        return left > 0

    def _switch_to(self, faults: Faults) -> None:
        before, self._faults = self._faults, faults
        if any(getattr(before, name) != getattr(faults, name) for name in LAYOUT_FAULTS):
            self.dataset.relayout(faults, self.now_s())


class _Opening(NamedTuple):
    from_s: float
    until_s: float
    values: dict[str, Any]
