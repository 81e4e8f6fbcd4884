"""Users: accounts, characters, tokens, sessions, syncs, delayed killmails; when each was stored."""

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

TIME = sa.DateTime(timezone=True)


def _text(name: str, *, nullable: bool = False, primary_key: bool = False) -> sa.Column[str]:
    return sa.Column(name, sa.Text, nullable=nullable, primary_key=primary_key)


def _number(name: str, *, nullable: bool = False, **options: Any) -> sa.Column[int]:
    return sa.Column(name, sa.BigInteger, nullable=nullable, **options)


def _time(name: str, *, nullable: bool = True) -> sa.Column[Any]:
    return sa.Column(name, TIME, nullable=nullable)


def _bytes(name: str, *, nullable: bool = False) -> sa.Column[bytes]:
    return sa.Column(name, sa.LargeBinary, nullable=nullable)


def upgrade() -> None:
    """Add the tables and columns."""
    _created_at()
    with op.batch_alter_table("feed") as feed:
        feed.add_column(sa.Column("origin", sa.Text, nullable=False, server_default="live"))
    _users()
    _syncs()
    op.create_table("pauses", _text("name", primary_key=True), _time("paused_at", nullable=False))


def _created_at() -> None:
    """Take the time of a killmail's first entry in the feed."""
    with op.batch_alter_table("killmails") as killmails:
        killmails.add_column(_time("created_at"))
    op.execute(  # one pass of each table: `feed` has no index on killmail_id
        "UPDATE killmails SET created_at = first.stored_at"
        " FROM (SELECT killmail_id, min(stored_at) AS stored_at FROM feed GROUP BY killmail_id)"
        " AS first WHERE first.killmail_id = killmails.killmail_id"
    )
    op.execute("UPDATE killmails SET created_at = body_as_of WHERE created_at IS NULL")
    with op.batch_alter_table("killmails") as killmails:
        killmails.alter_column("created_at", nullable=False)
    op.create_index("killmails_created", "killmails", ["created_at"], postgresql_using="brin")


def _users() -> None:
    op.create_table(
        "accounts", _text("account_id", primary_key=True), _time("created_at", nullable=False)
    )
    op.create_table(
        "users",
        _number("character_id", primary_key=True),
        _text("account_id"),
        _text("character_name"),
        _text("owner_hash"),
        _number("corporation_id", nullable=True),
        _text("scopes"),
        _text("state"),
        _text("state_reason", nullable=True),
        _time("created_at", nullable=False),
        _time("logged_in_at", nullable=False),
        _time("expires_at"),
        _number("publication_delay_h", server_default=sa.text("0")),
        sa.Column("is_premium", sa.Boolean, nullable=False, server_default=sa.text("false")),
        sa.Column("sync_corporation", sa.Boolean, nullable=False, server_default=sa.text("false")),
        _time("next_enrollment_at"),
        *_schedule(),
    )
    op.create_index("users_of_account", "users", ["account_id"])
    op.create_index("users_due", "users", ["next_sync_at"])
    op.create_table(
        "tokens",
        _number("character_id", primary_key=True),
        _bytes("access_token"),
        _bytes("refresh_token", nullable=True),
        _time("refreshing_until"),
        _time("updated_at", nullable=False),
    )
    op.create_table(
        "login_states",
        _text("state_hash", primary_key=True),
        _text("client_hash"),
        _bytes("verifier"),
        _text("scopes"),
        _text("account_id", nullable=True),
        _time("created_at", nullable=False),
        _time("expires_at", nullable=False),
    )
    op.create_table(
        "sessions",
        _text("token_hash", primary_key=True),
        _text("account_id"),
        _text("kind"),
        _text("name", nullable=True),
        _time("created_at", nullable=False),
        _time("expires_at"),
        _time("used_at", nullable=False),
    )
    op.create_index("sessions_of_account", "sessions", ["account_id"])


def _syncs() -> None:
    op.create_table(
        "corporation_syncs",
        _number("corporation_id", primary_key=True),
        _number("character_id", primary_key=True),
        _text("state"),
        _text("state_reason", nullable=True),
        _time("created_at", nullable=False),
        *_schedule(),
    )
    op.create_index("corporation_syncs_due", "corporation_syncs", ["next_sync_at"])
    op.create_table(
        "user_killmails",
        _number("character_id", primary_key=True),
        _number("killmail_id", primary_key=True),
        _text("source", primary_key=True),
    )
    op.create_index("user_killmails_of_killmail", "user_killmails", ["killmail_id"])
    op.create_table(
        "delayed",
        _number("killmail_id", primary_key=True),
        _time("killmail_time", nullable=False),
        _bytes("reference"),
        _time("publish_at", nullable=False),
    )
    op.create_index("delayed_due", "delayed", ["publish_at"])
    op.create_table(
        "imports",
        _text("entity", primary_key=True),
        _number("entity_id", primary_key=True),
        _number("requested_by", nullable=True),
        _text("state"),
        _text("state_reason", nullable=True),
        _number("next_page"),
        _number("killmails", server_default=sa.text("0")),
        _time("created_at", nullable=False),
        _time("updated_at", nullable=False),
        _time("next_try_at", nullable=False),
    )


def _schedule() -> list[sa.Column[Any]]:
    return [
        _time("next_sync_at"),
        _time("next_full_sync_at"),
        _time("sync_started_at"),
        _time("first_synced_at"),
        _time("last_killmail_sync_at"),
        _number("last_sync_count", nullable=True),
        _number("last_sync_duration_ms", nullable=True),
        _text("last_sync_error", nullable=True),
        _time("list_expires_at"),
        _number("next_page", server_default=sa.text("1")),
    ]
