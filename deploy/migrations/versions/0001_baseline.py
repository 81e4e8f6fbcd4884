"""Baseline: killmails, their attackers, the feed, names, positions of the sources, rejects."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None

TIME = sa.DateTime(timezone=True)
JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def _id(name: str) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger)


def _number(name: str, *, primary_key: bool = False) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=False, primary_key=primary_key)


def upgrade() -> None:
    """Make all tables, and the feed's counter at zero."""
    op.create_table(
        "killmails",
        _number("killmail_id", primary_key=True),
        sa.Column("killmail_hash", sa.Text, nullable=False),
        sa.Column("killmail_time", TIME, nullable=False),
        _number("solar_system_id"),
        _id("moon_id"),
        _id("war_id"),
        _id("victim_character_id"),
        _id("victim_corporation_id"),
        _id("victim_alliance_id"),
        _id("victim_faction_id"),
        _number("victim_ship_type_id"),
        _number("victim_damage_taken"),
        _number("attacker_count"),
        sa.Column("zkb", JSON),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("as_of", TIME, nullable=False),
    )
    op.create_index(
        "killmails_newest",
        "killmails",
        [sa.text("killmail_time DESC"), sa.text("killmail_id DESC")],
    )
    op.create_table(
        "attackers",
        _number("killmail_id", primary_key=True),
        _number("ordinal", primary_key=True),
        _id("character_id"),
        _id("corporation_id"),
        _id("alliance_id"),
        _id("faction_id"),
        _id("ship_type_id"),
        _id("weapon_type_id"),
        _number("damage_done"),
        sa.Column("final_blow", sa.Boolean, nullable=False),
        sa.Column("security_status", sa.Double, nullable=False),
    )
    op.create_table(
        "feed",
        _number("sequence", primary_key=True),
        _number("killmail_id"),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("stored_at", TIME, nullable=False),
        sa.Column("told_at", TIME),
    )
    untold = sa.text("told_at IS NULL")
    op.create_index(
        "feed_untold", "feed", ["sequence"], postgresql_where=untold, sqlite_where=untold
    )
    counter = op.create_table(
        "feed_counter", _number("only", primary_key=True), _number("last_sequence")
    )
    op.bulk_insert(counter, [{"only": 1, "last_sequence": 0}])
    op.create_table(
        "names",
        _number("id", primary_key=True),
        sa.Column("name", sa.Text),
        sa.Column("category", sa.Text),
        sa.Column("checked_at", TIME, nullable=False),
    )
    op.create_table(
        "cursors",
        sa.Column("source", sa.Text, primary_key=True, nullable=False),
        _number("position"),
        sa.Column("updated_at", TIME, nullable=False),
    )
    op.create_table(
        "ledger",
        sa.Column("source", sa.Text, primary_key=True, nullable=False),
        _number("position", primary_key=True),
        sa.Column("reference", sa.LargeBinary),
        sa.Column("received_at", TIME, nullable=False),
    )
    op.create_table(
        "rejected",
        sa.Column("digest", sa.Text, primary_key=True, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("letter", sa.LargeBinary, nullable=False),
        sa.Column("rejected_at", TIME, nullable=False),
    )


def downgrade() -> None:
    """Drop all tables."""
    for table in (
        "rejected",
        "ledger",
        "cursors",
        "names",
        "feed_counter",
        "feed",
        "attackers",
        "killmails",
    ):
        op.drop_table(table)
