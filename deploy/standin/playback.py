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
"""Rate of an endless dataset without a given rate."""


class Window(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Switches that are set for a limited time."""

    faults: dict[str, Any]
    for_s: Seconds
    from_s: Seconds = 0.0
    """Time from now, or from the start, until it opens."""


@dataclass(frozen=True, kw_only=True)
class StandinOptions:
    """The dataset, the address and the rules of a stand-in."""

    host: str = "127.0.0.1"
    port: int = 0
    """0 chooses a free one."""
    killmails: Path | None = None
    """ESI bodies, one per line, plain or .gz. None: killmails are made up."""
    hashes: Path | None = None
    """CSV with killmail_id and hash. None: hashes are computed."""
    zkb: Path | None = None
    """Lines of {"killID","zkb"}. Missing blocks are made up."""
    universe: Path | None = None
    """A folder with the names of types, systems and so on. None: names are made up."""
    synthetic: int | None = None
    """Number of killmails to make up; None: endless (one per second, unless a rate is given)."""
    begins_at: datetime | None = None
    """Time of the first made-up kill. None: 2026-01-01, so that a seed gives one dataset."""
    seed: int = 1
    rate_per_s: float | None = None
    """Sequence numbers released per second. None: all at once."""
    released_before_s: float = 0.0
    """How long before the start the first number was released."""
    first_sequence: int = 96_000_000
    limits: bool = True
    """Whether the rate limits are enforced at the start (if the switch in `faults` is set, too)."""
    faults: Faults = field(default_factory=Faults)
    windows: tuple[Window, ...] = ()
    r2z2_per_s: int = 15
    r2z2_ban_s: float = 3_600
    redisq_per_s: int = 2
    esi_tokens: int = 3_600
    """Tokens of the killmail bucket."""
    esi_window_s: float = 900
    esi_errors: int = 100
    """Errors per minute on routes without a bucket, after which ESI answers only 420."""
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
        """The rate in use; an endless dataset always has one."""
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
        self._windows: list[_OpenWindow] = []
        for window in options.windows:
            self.open_window(window)

    def now_s(self) -> float:
        """Read the clock."""
        return self.options.clock()

    @property
    def faults(self) -> Faults:
        """The current switches."""
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
        """Set some switches permanently; change the layout if they are among LAYOUT_FAULTS.

        Raises:
            Misconfigured: as `changed`.
        """
        self._switch_to(changed(self._faults, changes))

    def reset(self) -> None:
        """Reset all switches to their values at the start, and close all windows."""
        self._windows = []
        self._switch_to(self._first_faults)

    def open_window(self, window: Window) -> None:
        """Set some switches for a limited time; of two open windows the later one has precedence.

        Raises:
            Misconfigured: as `changed`, or a switch can only be set permanently.
        """
        lasting = sorted(window.faults.keys() & {*LAYOUT_FAULTS, *COUNTDOWNS})
        if lasting:
            raise Misconfigured(f"{', '.join(lasting)} can only be set permanently")
        validated = changed(Faults(), window.faults)
        values = {name: getattr(validated, name) for name in window.faults}
        from_s = self.now_s() + window.from_s
        self._windows.append(_OpenWindow(from_s, from_s + window.for_s, values))

    def count_down(self, switch: str) -> bool:
        """Decrement a switch that counts down; return whether it was above 0."""
        left: int = getattr(self._faults, switch)
        if left:
            self._faults = msgspec.structs.replace(self._faults, **{switch: left - 1})
        return left > 0

    def _switch_to(self, faults: Faults) -> None:
        before, self._faults = self._faults, faults
        if any(getattr(before, name) != getattr(faults, name) for name in LAYOUT_FAULTS):
            self.dataset.relayout(faults, self.now_s())


class _OpenWindow(NamedTuple):
    from_s: float
    until_s: float
    values: dict[str, Any]
