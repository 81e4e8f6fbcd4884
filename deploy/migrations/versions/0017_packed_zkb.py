"""zKillboard's blocks as bytes, for compression."""

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"


def upgrade() -> None:
    """Make the JSON text bytes, which readers take, too, and have them compressed."""
    op.execute("UPDATE dictionaries SET recompressed_to = -1")
    if op.get_bind().dialect.name == "postgresql":
        op.execute("ALTER TABLE killmails ALTER zkb TYPE bytea USING convert_to(zkb::text, 'UTF8')")
        return
    with op.batch_alter_table("killmails") as killmails:
        killmails.alter_column("zkb", type_=sa.LargeBinary)
    op.execute("UPDATE killmails SET zkb = CAST(zkb AS BLOB) WHERE zkb IS NOT NULL")
