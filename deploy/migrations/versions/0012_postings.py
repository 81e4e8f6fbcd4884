"""Postings, by which killmails are found."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    """Create the tables, and the column for the total value."""
    op.create_table(
        "postings",
        sa.Column("key", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("top", sa.SmallInteger, nullable=False),
        sa.Column("places", sa.LargeBinary, nullable=False),
        sa.Column("worths", sa.LargeBinary, nullable=False),
    )
    if op.get_bind().dialect.name == "postgresql":
        for column in ("places", "worths"):  # incompressible
            op.execute(f"ALTER TABLE postings ALTER {column} SET STORAGE EXTERNAL")
        op.execute(
            "ALTER TABLE postings SET"
            " (autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02)"
        )
    op.create_table(
        "labels",
        sa.Column("label_id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("label", sa.Text, nullable=False, unique=True),
    )
    op.create_table(
        "killmail_days",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("first_killmail_id", sa.BigInteger, nullable=False),
        sa.Column("last_killmail_id", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "postings_state",
        sa.Column("only", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("complete", sa.Boolean, nullable=False),
    )
    op.create_table(
        "repaired_blocks",
        sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("row_count", sa.BigInteger, nullable=False),
    )
    op.execute(
        'INSERT INTO postings_state ("only", complete)'
        " SELECT 1, NOT EXISTS (SELECT 1 FROM killmails)"
    )
    op.add_column("killmails", sa.Column("total_value", sa.Double))
