"""All actors, in the order of a killmail's flow. `killstream actors` runs this module."""

from typing import Final

from actors.broker import DATABASE_QUEUE, actor, broker
from actors.completeness.run import audit
from actors.entities.alliances import refresh_alliance, refresh_alliances
from actors.entities.characters import refresh_characters
from actors.entities.corporations import refresh_corporation
from actors.entities.follow import follow_feed
from actors.entities.schedule import schedule_refreshes
from actors.entities.types import refresh_type
from actors.history.imports import sync_zkillboard
from actors.history.run import import_day, schedule_days
from actors.killmails.compress import compress
from actors.killmails.fetch import fetch
from actors.killmails.persist import persist
from actors.killmails.publish import sweep
from actors.killmails.recall import recall
from actors.killmails.reject import reject
from actors.killmails.relist import relist
from actors.names.resolve import resolve_names
from actors.retention import remove_expired
from actors.snapshots.take import take_snapshots
from actors.sync.character import sync_character
from actors.sync.corporation import enroll_corporation, sync_corporation
from actors.sync.delayed import publish_delayed
from actors.sync.schedule import schedule_syncs
from actors.universe.refresh import load_universe

keep: Final = actor(actor_name="keep", queue_name=DATABASE_QUEUE)(persist.fn)
"""The name of `persist` until version 0.1; the queues may still hold messages under it."""

__all__ = [
    "audit",
    "broker",
    "compress",
    "enroll_corporation",
    "fetch",
    "follow_feed",
    "import_day",
    "load_universe",
    "persist",
    "publish_delayed",
    "recall",
    "refresh_alliance",
    "refresh_alliances",
    "refresh_characters",
    "refresh_corporation",
    "refresh_type",
    "reject",
    "relist",
    "remove_expired",
    "resolve_names",
    "schedule_days",
    "schedule_refreshes",
    "schedule_syncs",
    "sweep",
    "sync_character",
    "sync_corporation",
    "sync_zkillboard",
    "take_snapshots",
]
