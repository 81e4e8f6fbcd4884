"""All units of work, in the order a killmail meets them. `killstream actors` runs this module."""

from actors.broker import broker
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist
from actors.killmails.publish import sweep
from actors.killmails.reject import reject
from actors.names.resolve import resolve_names

__all__ = ["broker", "fetch", "persist", "reject", "resolve_names", "sweep"]
