"""The static universe: types, systems and so on, from CCP's archive."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"

Column = sa.Column[Any]


def _key(name: str) -> Column:
    return sa.Column(name, sa.BigInteger, primary_key=True, autoincrement=False)


def _columns(kind: Any, *names: str, nullable: bool = True) -> list[Column]:
    return [sa.Column(name, kind, nullable=nullable) for name in names]


def _ids(*names: str) -> list[Column]:
    return _columns(sa.BigInteger, *names, nullable=False)


def _described() -> list[Column]:
    return [*_columns(sa.Text, "name"), *_columns(sa.Boolean, "published")]


def upgrade() -> None:
    """Add the tables."""
    time = sa.DateTime(timezone=True)
    op.create_table(
        "universe",
        _key("only"),
        *_columns(sa.BigInteger, "build_number"),
        *_columns(sa.Text, "digest", "source", "etag"),
        *_columns(time, "loaded_at", "checked_at"),
        *_columns(time, "next_check_at", nullable=False),
        sa.Column("tries", sa.BigInteger, nullable=False, server_default=sa.text("0")),
        *_columns(sa.Text, "last_error"),
    )
    op.create_table("universe_categories", _key("category_id"), *_described())
    op.create_table("universe_groups", _key("group_id"), *_ids("category_id"), *_described())
    op.create_table("universe_types", _key("type_id"), *_ids("group_id"), *_described())
    op.create_table("regions", _key("region_id"), *_columns(sa.Text, "name"))
    op.create_table(
        "constellations",
        _key("constellation_id"),
        *_ids("region_id"),
        *_columns(sa.Text, "name"),
    )
    op.create_table(
        "solar_systems",
        _key("solar_system_id"),
        *_ids("constellation_id", "region_id"),
        *_columns(sa.Text, "name"),
        sa.Column("security_status", sa.Float, nullable=False, server_default=sa.text("0")),
        *_columns(sa.Text, "band", nullable=False),
        *_columns(sa.Float, "x", "y", "z"),
    )
    op.create_table(
        "stargates",
        _key("stargate_id"),
        *_ids("solar_system_id", "destination_stargate_id", "destination_solar_system_id"),
    )
    op.create_table("factions", _key("faction_id"), *_columns(sa.Text, "name"))
    op.create_table(
        "npc_corporations",
        _key("corporation_id"),
        *_columns(sa.BigInteger, "faction_id"),
        *_columns(sa.Text, "name", "ticker"),
    )
