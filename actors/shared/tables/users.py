"""The tables of users: accounts, characters, tokens, sessions, and what they synchronize."""

from datetime import datetime

from sqlalchemy import BigInteger, Index, LargeBinary, Text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import DEFAULT_0, DEFAULT_1, DEFAULT_FALSE, Utc


class AccountRow(SQLModel, table=True):
    """One person, with one or several characters."""

    __tablename__ = "accounts"

    account_id: str = Field(primary_key=True, sa_type=Text)
    created_at: datetime = Field(sa_type=Utc)


class UserRow(SQLModel, table=True):
    """One character that logged in: its account, its login, and the schedule of its sync."""

    __tablename__ = "users"
    __table_args__ = (
        Index("users_of_account", "account_id"),
        Index("users_due", "next_sync_at"),
    )

    character_id: int = Field(primary_key=True, sa_type=BigInteger)
    account_id: str = Field(sa_type=Text)
    character_name: str = Field(sa_type=Text)
    owner_hash: str = Field(sa_type=Text)
    corporation_id: int | None = Field(default=None, sa_type=BigInteger)
    scopes: str = Field(sa_type=Text)
    state: str = Field(sa_type=Text)
    state_reason: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=Utc)
    logged_in_at: datetime = Field(sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)
    publication_delay_h: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    is_premium: bool = Field(default=False, sa_column_kwargs=DEFAULT_FALSE)
    sync_corporation: bool = Field(default=False, sa_column_kwargs=DEFAULT_FALSE)
    next_enrollment_at: datetime | None = Field(default=None, sa_type=Utc)
    next_sync_at: datetime | None = Field(default=None, sa_type=Utc)
    next_full_sync_at: datetime | None = Field(default=None, sa_type=Utc)
    sync_started_at: datetime | None = Field(default=None, sa_type=Utc)
    first_synced_at: datetime | None = Field(default=None, sa_type=Utc)
    last_killmail_sync_at: datetime | None = Field(default=None, sa_type=Utc)
    last_sync_count: int | None = Field(default=None, sa_type=BigInteger)
    last_sync_duration_ms: int | None = Field(default=None, sa_type=BigInteger)
    last_sync_error: str | None = Field(default=None, sa_type=Text)
    list_expires_at: datetime | None = Field(default=None, sa_type=Utc)
    next_page: int = Field(default=1, sa_type=BigInteger, sa_column_kwargs=DEFAULT_1)


class CorporationSyncRow(SQLModel, table=True):
    """A corporation whose killmails a director's token fetches."""

    __tablename__ = "corporation_syncs"
    __table_args__ = (Index("corporation_syncs_due", "next_sync_at"),)

    corporation_id: int = Field(primary_key=True, sa_type=BigInteger)
    character_id: int = Field(primary_key=True, sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    state_reason: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=Utc)
    next_sync_at: datetime | None = Field(default=None, sa_type=Utc)
    next_full_sync_at: datetime | None = Field(default=None, sa_type=Utc)
    sync_started_at: datetime | None = Field(default=None, sa_type=Utc)
    first_synced_at: datetime | None = Field(default=None, sa_type=Utc)
    last_killmail_sync_at: datetime | None = Field(default=None, sa_type=Utc)
    last_sync_count: int | None = Field(default=None, sa_type=BigInteger)
    last_sync_duration_ms: int | None = Field(default=None, sa_type=BigInteger)
    last_sync_error: str | None = Field(default=None, sa_type=Text)
    list_expires_at: datetime | None = Field(default=None, sa_type=Utc)
    next_page: int = Field(default=1, sa_type=BigInteger, sa_column_kwargs=DEFAULT_1)


class TokenRow(SQLModel, table=True):
    """The tokens of one character, encrypted."""

    __tablename__ = "tokens"

    character_id: int = Field(primary_key=True, sa_type=BigInteger)
    access_token: bytes = Field(sa_type=LargeBinary)
    refresh_token: bytes | None = Field(default=None, sa_type=LargeBinary)
    refreshing_until: datetime | None = Field(default=None, sa_type=Utc)
    updated_at: datetime = Field(sa_type=Utc)


class LoginStateRow(SQLModel, table=True):
    """A login that was begun; deleted when its callback arrives."""

    __tablename__ = "login_states"
    __table_args__ = (Index("login_states_expired", "expires_at"),)

    state_hash: str = Field(primary_key=True, sa_type=Text)
    client_hash: str = Field(sa_type=Text)
    verifier: bytes = Field(sa_type=LargeBinary)
    account_id: str | None = Field(default=None, sa_type=Text)
    expires_at: datetime = Field(sa_type=Utc)


class SessionRow(SQLModel, table=True):
    """A session or API key of an account; the token itself isn't stored, only its hash."""

    __tablename__ = "sessions"
    __table_args__ = (
        Index("sessions_of_account", "account_id"),
        Index("sessions_expired", "expires_at"),
    )

    token_hash: str = Field(primary_key=True, sa_type=Text)
    account_id: str = Field(sa_type=Text)
    kind: str = Field(sa_type=Text)
    name: str | None = Field(default=None, sa_type=Text)
    created_at: datetime = Field(sa_type=Utc)
    expires_at: datetime | None = Field(default=None, sa_type=Utc)
    used_at: datetime = Field(sa_type=Utc)


class UserKillmailRow(SQLModel, table=True):
    """A killmail that a character's sync, its corporation's sync or an import listed."""

    __tablename__ = "user_killmails"
    __table_args__ = (Index("user_killmails_of_killmail", "killmail_id"),)

    character_id: int = Field(primary_key=True, sa_type=BigInteger)
    killmail_id: int = Field(primary_key=True, sa_type=BigInteger)
    source: str = Field(primary_key=True, sa_type=Text)


class DelayedRow(SQLModel, table=True):
    """A killmail whose publication is delayed: only its owners' queries read it."""

    __tablename__ = "delayed"
    __table_args__ = (Index("delayed_due", "publish_at"),)

    killmail_id: int = Field(primary_key=True, sa_type=BigInteger)
    killmail_time: datetime = Field(sa_type=Utc)
    reference: bytes = Field(sa_type=LargeBinary)
    publish_at: datetime = Field(sa_type=Utc)


class ImportRow(SQLModel, table=True):
    """An import of an entity's history from zKillboard, and how far it is."""

    __tablename__ = "imports"

    entity: str = Field(primary_key=True, sa_type=Text)
    entity_id: int = Field(primary_key=True, sa_type=BigInteger)
    requested_by: int | None = Field(default=None, sa_type=BigInteger)
    state: str = Field(sa_type=Text)
    state_reason: str | None = Field(default=None, sa_type=Text)
    next_page: int = Field(default=1, sa_type=BigInteger)
    killmails: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    created_at: datetime = Field(sa_type=Utc)
    updated_at: datetime = Field(sa_type=Utc)
    next_try_at: datetime = Field(sa_type=Utc)
