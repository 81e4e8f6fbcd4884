"""All actors, in the order of a killmail's flow. `killstream actors` runs this module."""

from typing import Final

from actors.broker import DATABASE_QUEUE, actor, broker
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist
from actors.killmails.publish import sweep
from actors.killmails.recall import recall
from actors.killmails.reject import reject
from actors.names.resolve import resolve_names

keep: Final = actor(actor_name="keep", queue_name=DATABASE_QUEUE)(persist.fn)
"""The name of `persist` until version 0.1; the queues may still hold messages under it."""

__all__ = ["broker", "fetch", "persist", "recall", "reject", "resolve_names", "sweep"]
