"""History by days: what is imported, and its entries of the feed."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"


def upgrade() -> None:
    """Create the tables; an entry of the feed may concern a day and no killmail."""
    with op.batch_alter_table("feed") as feed:
        feed.alter_column("killmail_id", existing_type=sa.BigInteger, nullable=True)
    op.create_table(
        "imported_days",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("day", sa.Date, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("added", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "history_days",
        sa.Column("day", sa.Date, primary_key=True),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("state_reason", sa.Text),
        sa.Column("total", sa.BigInteger),
        sa.Column("added", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("rejected", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_try_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("lease", sa.Text),
        sa.Column("leased_until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("downloading_until", sa.DateTime(timezone=True)),
    )
    op.create_index("history_days_due", "history_days", ["state", "next_try_at"])
