"""What nothing reads of a login in progress is dropped."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    """Drop the columns."""
    with op.batch_alter_table("login_states") as login_states:
        login_states.drop_column("scopes")
        login_states.drop_column("created_at")
