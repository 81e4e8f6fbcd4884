"""By which static universe killmails are listed."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    """Add the times at which the universes were loaded."""
    op.add_column("postings_state", sa.Column("universe_loaded_at", sa.DateTime(timezone=True)))
    op.add_column(
        "postings_state", sa.Column("repair_universe_loaded_at", sa.DateTime(timezone=True))
    )
