"""Dictionaries by which bodies are compressed."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"


def upgrade() -> None:
    """Create the table."""
    op.create_table(
        "dictionaries",
        sa.Column("version", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("dictionary_id", sa.BigInteger, nullable=False, unique=True),
        sa.Column("dictionary", sa.LargeBinary, nullable=False),
        sa.Column("killmails", sa.BigInteger, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("recompressed_to", sa.BigInteger),
    )
