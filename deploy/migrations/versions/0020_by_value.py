"""Killmails are found in the order of their values, and by their number of attackers."""

import sqlalchemy as sa
from alembic import op

revision = "0020"
down_revision = "0019"


def upgrade() -> None:
    """Create the index; killmails stored before get their new postings from a repair."""
    known = sa.text("total_value IS NOT NULL")
    op.create_index(
        "killmails_value",
        "killmails",
        ["total_value", "killmail_id"],
        postgresql_where=known,
        sqlite_where=known,
    )
    op.execute("UPDATE postings_state SET complete = false WHERE EXISTS (SELECT 1 FROM killmails)")
    op.execute("DELETE FROM repaired_blocks")
