"""All units of work, in the order a killmail meets them. `killstream actors` runs this module."""

from actors.broker import broker
from actors.fetch import fetch
from actors.keep import keep
from actors.names import resolve_names
from actors.reject import reject
from actors.tell import sweep

__all__ = ["broker", "fetch", "keep", "reject", "resolve_names", "sweep"]
