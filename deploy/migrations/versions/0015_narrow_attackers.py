"""Narrow attackers: columns of 2 and 4 bytes; on PostgreSQL a BRIN index instead of the key."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"

_NARROW = "attackers_narrow"
_IDS = ("corporation_id", "alliance_id", "faction_id", "ship_type_id", "weapon_type_id")
_MAX_INTEGER = 2**31 - 1
_MAX_SMALLINT = 2**15 - 1
_MAX_REAL = "3.4e38"
_MIN_REAL = "1e-37"
"""PostgreSQL refuses to round what is smaller to 0."""


def upgrade() -> None:
    """Copy the rows in the order of killmails, which BRIN needs."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    key = [] if is_postgresql else [sa.PrimaryKeyConstraint("killmail_id", "ordinal")]
    op.create_table(
        _NARROW,
        sa.Column("killmail_id", sa.Integer, nullable=False),
        sa.Column("ordinal", sa.SmallInteger, nullable=False),
        sa.Column("final_blow", sa.Boolean, nullable=False),
        sa.Column("character_id", sa.BigInteger),
        *(sa.Column(name, sa.Integer) for name in _IDS),
        sa.Column("damage_done", sa.Integer, nullable=False),
        sa.Column("security_status", sa.REAL, nullable=False),
        *key,
    )
    ids = ", ".join(f"CASE WHEN {name} <= {_MAX_INTEGER} THEN {name} END" for name in _IDS)
    op.execute(
        f"INSERT INTO {_NARROW} SELECT killmail_id, ordinal, final_blow, character_id, {ids},"
        f" {_within('damage_done', str(_MAX_INTEGER))}, {_real('security_status')}"
        f" FROM attackers WHERE killmail_id <= {_MAX_INTEGER} AND ordinal <= {_MAX_SMALLINT}"
        " ORDER BY killmail_id, ordinal"
    )
    op.drop_table("attackers")
    op.rename_table(_NARROW, "attackers")
    if is_postgresql:
        op.create_index(
            "attackers_killmail",
            "attackers",
            ["killmail_id"],
            postgresql_using="brin",
            postgresql_with={"autosummarize": "on"},
        )
        op.execute(
            "ALTER TABLE attackers SET (autovacuum_vacuum_insert_scale_factor = 0,"
            " autovacuum_vacuum_insert_threshold = 100000,"
            " autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.01)"
        )


def _within(column: str, limit: str) -> str:
    return (
        f"CASE WHEN {column} > {limit} THEN {limit}"
        f" WHEN {column} < -{limit} THEN -{limit} ELSE {column} END"
    )


def _real(column: str) -> str:
    tiny = f"abs({column}) < {_MIN_REAL}"
    return f"CASE WHEN {tiny} THEN 0 ELSE {_within(column, _MAX_REAL)} END"
