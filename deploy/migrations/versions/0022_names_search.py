"""Names are found by their beginnings."""

from alembic import op

revision = "0022"
down_revision = "0021"


def upgrade() -> None:
    """Create the index; each database compares texts without case in its own way."""
    on_postgresql = op.get_bind().dialect.name == "postgresql"
    name = "lower(name) text_pattern_ops" if on_postgresql else "name COLLATE NOCASE"
    op.execute(f"CREATE INDEX names_search ON names (category, {name})")
