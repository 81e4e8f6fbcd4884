"""Killmails are found by npc, solo and awox: those stored before are listed anew."""

from alembic import op

revision = "0019"
down_revision = "0018"


def upgrade() -> None:
    """Have the listing by the static universe done again, in the background."""
    op.execute("UPDATE postings_state SET universe_loaded_at = NULL")
