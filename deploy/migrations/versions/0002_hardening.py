"""Append-only feed, versions of body and zkb, tries and holes in the ledger, gaps, fencing."""

from uuid import uuid4

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

TIME = sa.DateTime(timezone=True)
NEWEST = "killmails_newest"


def upgrade() -> None:
    """Change the tables; nothing that they hold is lost."""
    _publish_marks()
    _versions()
    _feed_id()
    _sources()
    with op.batch_alter_table("rejected") as rejected:
        rejected.alter_column("letter", new_column_name="rejection")


def _publish_marks() -> None:
    op.create_table(
        "unpublished", sa.Column("sequence", sa.BigInteger, primary_key=True, nullable=False)
    )
    op.execute("INSERT INTO unpublished SELECT sequence FROM feed WHERE told_at IS NULL")
    op.drop_index("feed_untold", "feed")
    with op.batch_alter_table("feed") as feed:
        feed.drop_column("told_at")


def _versions() -> None:
    op.drop_index(NEWEST, "killmails")
    with op.batch_alter_table("killmails") as killmails:
        killmails.alter_column("as_of", new_column_name="body_as_of")
        killmails.add_column(sa.Column("zkb_as_of", TIME))
    op.execute("UPDATE killmails SET zkb_as_of = body_as_of WHERE zkb IS NOT NULL")
    op.create_index(NEWEST, "killmails", ["killmail_time", "killmail_id"])


def _feed_id() -> None:
    with op.batch_alter_table("feed_counter") as counter:
        counter.add_column(sa.Column("feed_id", sa.Text))
    counters = sa.table("feed_counter", sa.column("feed_id", sa.Text))
    op.execute(counters.update().values(feed_id=uuid4().hex))
    with op.batch_alter_table("feed_counter") as counter:
        counter.alter_column("feed_id", nullable=False)


def _sources() -> None:
    zero = sa.text("0")
    with op.batch_alter_table("cursors") as cursors:
        cursors.alter_column("position", nullable=True)
        cursors.add_column(sa.Column("tip", sa.BigInteger))
        cursors.add_column(sa.Column("checked_at", TIME))
        cursors.add_column(
            sa.Column("fencing_token", sa.BigInteger, nullable=False, server_default=zero)
        )
    with op.batch_alter_table("ledger") as ledger:
        ledger.add_column(sa.Column("kind", sa.Text, nullable=False, server_default="received"))
        ledger.add_column(sa.Column("killmail_id", sa.BigInteger))
        ledger.add_column(sa.Column("killmail_hash", sa.Text))
        ledger.add_column(sa.Column("object_id", sa.Text))
        ledger.add_column(sa.Column("tries", sa.BigInteger, nullable=False, server_default=zero))
        ledger.add_column(sa.Column("next_try_at", TIME))
        ledger.add_column(sa.Column("refusals", sa.BigInteger, nullable=False, server_default=zero))
        ledger.add_column(sa.Column("refused_at", TIME))
    op.execute("UPDATE ledger SET next_try_at = received_at")
    with op.batch_alter_table("ledger") as ledger:
        ledger.alter_column("kind", server_default=None)
        ledger.alter_column("next_try_at", nullable=False)
    op.create_table(
        "gaps",
        sa.Column("source", sa.Text, primary_key=True, nullable=False),
        sa.Column("first_position", sa.BigInteger, primary_key=True, nullable=False),
        sa.Column("last_position", sa.BigInteger, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("recorded_at", TIME, nullable=False),
    )
