"""When ESI first refused an entity, so that one refusal isn't taken for its end."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0004"


def upgrade() -> None:
    """Add a column to each table of entities; those that are known to be gone were refused."""
    for table, gone in (
        ("characters", "deleted"),
        ("corporations", "absent"),
        ("alliances", "absent"),
        ("types", "absent"),
    ):
        op.add_column(table, sa.Column("refused_at", sa.DateTime(timezone=True)))
        entities = sa.table(table, *map(sa.column, ("state", "refused_at", "updated_at")))
        op.execute(
            entities.update()
            .where(entities.c.state == gone)
            .values(refused_at=entities.c.updated_at)
        )
