"""The options of a stand-in, and the state that its upstreams share."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final

from deploy.standin.dataset import Dataset
from deploy.standin.faults import Faults
from deploy.standin.names import Names
from deploy.standin.stats import Stats

ENDLESS_RATE_PER_S: Final = 1.0
"""Rate of a dataset without end to which no rate was given."""


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
    first_sequence: int = 96_000_000
    limits: bool = True
    """Whether the rate limits hold at the start (with the switch of that name in `faults`)."""
    faults: Faults = field(default_factory=Faults)
    expire_s: float = 86_400
    """How long an R2Z2 file stays."""
    r2z2_per_s: int = 15
    r2z2_ban_s: float = 3_600
    redisq_per_s: int = 2
    esi_tokens: int = 3_600
    """Tokens of the killmail bucket."""
    esi_window_s: float = 900
    esi_errors: int = 100
    """Errors per minute on routes without a bucket, before ESI answers nothing but 420."""
    clock: Callable[[], float] = time.time
    """Unix seconds."""

    @property
    def effective_rate_per_s(self) -> float | None:
        """The rate in effect: a dataset without end has one in any case."""
        if self.rate_per_s is None and self.killmails is None and self.synthetic is None:
            return ENDLESS_RATE_PER_S
        return self.rate_per_s


@dataclass
class Playback:
    """What R2Z2, RedisQ and ESI have in common. `faults` is replaced, never changed."""

    options: StandinOptions
    dataset: Dataset
    names: Names
    faults: Faults
    stats: Stats = field(default_factory=Stats)

    def now_s(self) -> float:
        """Read the clock."""
        return self.options.clock()
