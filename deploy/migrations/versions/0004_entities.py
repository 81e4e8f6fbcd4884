"""Characters, corporations, alliances and types from ESI; daily snapshots."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

Column = sa.Column[Any]


def _key(name: str, kind: Any = sa.BigInteger) -> Column:
    return sa.Column(name, kind, primary_key=True)


def _columns(kind: Any, *names: str, nullable: bool = True) -> list[Column]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def _texts(*names: str) -> list[Column]:
    return _columns(sa.Text, *names)


def _numbers(*names: str) -> list[Column]:
    return _columns(sa.BigInteger, *names)


def _times(*names: str, nullable: bool = True) -> list[Column]:
    return _columns(sa.DateTime(timezone=True), *names, nullable=nullable)


def upgrade() -> None:
    """Add the tables."""
    _refreshed("characters", "character_id", _numbers(*_AFFILIATION))
    op.create_table(
        "affiliations",
        _key("character_id"),
        _key("since", sa.DateTime(timezone=True)),
        *_columns(sa.BigInteger, "corporation_id", nullable=False),
        *_numbers("alliance_id", "faction_id"),
    )
    _refreshed("corporations", "corporation_id", _corporation())
    op.create_index("corporations_of_alliance", "corporations", ["alliance_id"])
    _refreshed("alliances", "alliance_id", _alliance())
    op.create_table("alliance_corporations", _key("alliance_id"), _key("corporation_id"))
    _refreshed("types", "type_id", _type())
    op.create_table(
        "esi_lists",
        _key("name", sa.Text),
        *_texts("etag"),
        *_times("requested_at", nullable=False),
        *_times("updated_at", "expires_at"),
    )
    op.create_table(
        "feed_readers",
        _key("name", sa.Text),
        *_columns(sa.BigInteger, "sequence", nullable=False),
    )
    _snapshots()


_AFFILIATION = ("corporation_id", "alliance_id", "faction_id")


def _refreshed(table: str, key: str, columns: list[Column]) -> None:
    op.create_table(
        table,
        _key(key),
        sa.Column("state", sa.Text, nullable=False, server_default="unknown"),
        *columns,
        *_times("seen_at", "next_refresh_at", "requested_at", "updated_at", "expires_at"),
    )
    op.create_index(f"{table}_due", table, ["next_refresh_at"])
    op.create_index(f"{table}_requested", table, ["requested_at"])


def _corporation() -> list[Column]:
    return [
        *_texts("name", "ticker"),
        *_numbers("member_count", "alliance_id", "faction_id", "ceo_id", "creator_id"),
        *_times("date_founded"),
        *_numbers("home_station_id"),
        *_columns(sa.Float, "tax_rate"),
        *_columns(sa.Boolean, "war_eligible"),
        *_texts("url", "description", "etag"),
    ]


def _alliance() -> list[Column]:
    return [
        *_texts("name", "ticker"),
        *_numbers("creator_id", "creator_corporation_id", "executor_corporation_id", "faction_id"),
        *_times("date_founded"),
        *_texts("etag", "corporations_etag"),
    ]


def _type() -> list[Column]:
    return [
        *_texts("name"),
        *_numbers("group_id", "market_group_id"),
        *_columns(sa.Boolean, "published"),
        *_columns(sa.Float, "volume", "packaged_volume", "mass", "capacity"),
        *_texts("etag"),
    ]


def _snapshots() -> None:
    op.create_table(
        "snapshot_days",
        _key("day", sa.Date),
        *_times("changed_at", nullable=False),
        *_times("computed_at"),
    )
    op.create_table(
        "alliance_snapshots",
        _key("alliance_id"),
        _key("day", sa.Date),
        *_numbers("members", "corporations"),
        *_counts(),
    )
    op.create_index("alliance_snapshots_of_day", "alliance_snapshots", ["day"])
    op.create_table(
        "corporation_snapshots",
        _key("corporation_id"),
        _key("day", sa.Date),
        *_numbers("alliance_id", "members"),
        *_counts(),
    )
    op.create_index("corporation_snapshots_of_day", "corporation_snapshots", ["day", "alliance_id"])


def _counts() -> list[Column]:
    zero: dict[str, Any] = {"nullable": False, "server_default": sa.text("0")}
    return [
        *(
            sa.Column(name, sa.BigInteger, **zero)
            for name in ("kills", "losses", "ships_destroyed", "ships_lost")
        ),
        *(sa.Column(name, sa.Float, **zero) for name in ("isk_destroyed", "isk_lost")),
    ]
