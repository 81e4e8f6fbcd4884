"""Indexes by which expired sessions and logins are deleted."""

from alembic import op

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    """Create them."""
    op.create_index("login_states_expired", "login_states", ["expires_at"])
    op.create_index("sessions_expired", "sessions", ["expires_at"])
