"""The tables as SQLModel classes; `schema.sql` has the same as SQL for PostgreSQL.

A test asserts that these files, `schema.sql` and the migrations are equal.
"""

from typing import Final

from sqlmodel import SQLModel

from actors.shared.tables import (
    completeness,
    entities,
    history,
    killmails,
    operations,
    postings,
    universe,
    users,
)
from actors.shared.tables.columns import Utc

__all__ = [
    "METADATA",
    "REVISION",
    "Utc",
    "completeness",
    "entities",
    "history",
    "killmails",
    "operations",
    "postings",
    "universe",
    "users",
]

REVISION: Final = "0022"
"""The migration that makes these tables."""

METADATA = SQLModel.metadata
KILLMAILS = METADATA.tables["killmails"]
ATTACKERS = METADATA.tables["attackers"]
DICTIONARIES = METADATA.tables["dictionaries"]
POSTINGS = METADATA.tables["postings"]
LABELS = METADATA.tables["labels"]
KILLMAIL_DAYS = METADATA.tables["killmail_days"]
POSTINGS_STATE = METADATA.tables["postings_state"]
REPAIRED_BLOCKS = METADATA.tables["repaired_blocks"]
HISTORY_DAYS = METADATA.tables["history_days"]
IMPORTED_DAYS = METADATA.tables["imported_days"]
COMPLETENESS_DAYS = METADATA.tables["completeness_days"]
UNOBTAINABLE = METADATA.tables["unobtainable"]
REQUEST_TURNS = METADATA.tables["request_turns"]
FEED = METADATA.tables["feed"]
UNPUBLISHED = METADATA.tables["unpublished"]
FEED_COUNTER = METADATA.tables["feed_counter"]
NAMES = METADATA.tables["names"]
CURSORS = METADATA.tables["cursors"]
LEDGER = METADATA.tables["ledger"]
GAPS = METADATA.tables["gaps"]
REJECTED = METADATA.tables["rejected"]
ACCOUNTS = METADATA.tables["accounts"]
USERS = METADATA.tables["users"]
TOKENS = METADATA.tables["tokens"]
LOGIN_STATES = METADATA.tables["login_states"]
SESSIONS = METADATA.tables["sessions"]
CORPORATION_SYNCS = METADATA.tables["corporation_syncs"]
USER_KILLMAILS = METADATA.tables["user_killmails"]
DELAYED = METADATA.tables["delayed"]
IMPORTS = METADATA.tables["imports"]
PAUSES = METADATA.tables["pauses"]
CHARACTERS = METADATA.tables["characters"]
AFFILIATIONS = METADATA.tables["affiliations"]
CORPORATIONS = METADATA.tables["corporations"]
ALLIANCES = METADATA.tables["alliances"]
ALLIANCE_CORPORATIONS = METADATA.tables["alliance_corporations"]
TYPES = METADATA.tables["types"]
ESI_LISTS = METADATA.tables["esi_lists"]
FEED_READERS = METADATA.tables["feed_readers"]
SNAPSHOT_DAYS = METADATA.tables["snapshot_days"]
ALLIANCE_SNAPSHOTS = METADATA.tables["alliance_snapshots"]
CORPORATION_SNAPSHOTS = METADATA.tables["corporation_snapshots"]
UNIVERSE = METADATA.tables["universe"]
UNIVERSE_CATEGORIES = METADATA.tables["universe_categories"]
UNIVERSE_GROUPS = METADATA.tables["universe_groups"]
UNIVERSE_TYPES = METADATA.tables["universe_types"]
REGIONS = METADATA.tables["regions"]
CONSTELLATIONS = METADATA.tables["constellations"]
SOLAR_SYSTEMS = METADATA.tables["solar_systems"]
STARGATES = METADATA.tables["stargates"]
FACTIONS = METADATA.tables["factions"]
NPC_CORPORATIONS = METADATA.tables["npc_corporations"]
