"""Completeness: what upstreams have and we lack, by days."""

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "completeness_days",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("upstream_total", sa.BigInteger, nullable=False),
        sa.Column("have", sa.BigInteger, nullable=False),
        sa.Column("missing", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("hash_differs", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("repaired", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("repair", sa.Text),
        sa.Column("checked_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_check_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_table(
        "unobtainable",
        sa.Column("killmail_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("killmail_hash", sa.Text, nullable=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), nullable=False),
    )
    op.create_index("unobtainable_day", "unobtainable", ["day"])
    op.create_table(
        "request_turns",
        sa.Column("upstream", sa.Text, primary_key=True),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
    )
