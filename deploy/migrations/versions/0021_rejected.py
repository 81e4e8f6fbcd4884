"""Rejections are found by killmail."""

import sqlalchemy as sa
from alembic import op

revision = "0021"
down_revision = "0020"


def upgrade() -> None:
    """Add the column; what was rejected before has none."""
    op.add_column("rejected", sa.Column("killmail_id", sa.BigInteger))
    op.create_index("rejected_killmail", "rejected", ["killmail_id"])
