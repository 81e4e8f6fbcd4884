"""The tables of the static universe: what CCP's archive of static data says.

One transaction replaces the rows of all of them; see `actors/universe`.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Text
from sqlmodel import Field, SQLModel

from actors.shared.tables.columns import DEFAULT_0, Utc


class UniverseRow(SQLModel, table=True):
    """The one row that says which archive was loaded, and when the next check is due."""

    __tablename__ = "universe"

    only: int = Field(default=1, primary_key=True, sa_type=BigInteger)
    build_number: int | None = Field(default=None, sa_type=BigInteger)
    digest: str | None = Field(default=None, sa_type=Text)
    source: str | None = Field(default=None, sa_type=Text)
    etag: str | None = Field(default=None, sa_type=Text)
    loaded_at: datetime | None = Field(default=None, sa_type=Utc)
    checked_at: datetime | None = Field(default=None, sa_type=Utc)
    next_check_at: datetime = Field(sa_type=Utc)
    tries: int = Field(default=0, sa_type=BigInteger, sa_column_kwargs=DEFAULT_0)
    last_error: str | None = Field(default=None, sa_type=Text)


class UniverseCategoryRow(SQLModel, table=True):
    """A category of types, as ships."""

    __tablename__ = "universe_categories"

    category_id: int = Field(primary_key=True, sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)
    published: bool | None = Field(default=None)


class UniverseGroupRow(SQLModel, table=True):
    """A group of types, as frigates."""

    __tablename__ = "universe_groups"

    group_id: int = Field(primary_key=True, sa_type=BigInteger)
    category_id: int = Field(sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)
    published: bool | None = Field(default=None)


class UniverseTypeRow(SQLModel, table=True):
    """A type of items; `types` has what ESI says of those in killmails."""

    __tablename__ = "universe_types"

    type_id: int = Field(primary_key=True, sa_type=BigInteger)
    group_id: int = Field(sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)
    published: bool | None = Field(default=None)


class RegionRow(SQLModel, table=True):
    """A region of space."""

    __tablename__ = "regions"

    region_id: int = Field(primary_key=True, sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)


class ConstellationRow(SQLModel, table=True):
    """A constellation of a region."""

    __tablename__ = "constellations"

    constellation_id: int = Field(primary_key=True, sa_type=BigInteger)
    region_id: int = Field(sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)


class SolarSystemRow(SQLModel, table=True):
    """A solar system, with its position in metres."""

    __tablename__ = "solar_systems"

    solar_system_id: int = Field(primary_key=True, sa_type=BigInteger)
    constellation_id: int = Field(sa_type=BigInteger)
    region_id: int = Field(sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)
    security_status: float = Field(default=0.0, sa_column_kwargs=DEFAULT_0)
    band: str = Field(sa_type=Text)
    x: float | None = Field(default=None)
    y: float | None = Field(default=None)
    z: float | None = Field(default=None)


class StargateRow(SQLModel, table=True):
    """A stargate, and where it leads."""

    __tablename__ = "stargates"

    stargate_id: int = Field(primary_key=True, sa_type=BigInteger)
    solar_system_id: int = Field(sa_type=BigInteger)
    destination_stargate_id: int = Field(sa_type=BigInteger)
    destination_solar_system_id: int = Field(sa_type=BigInteger)


class FactionRow(SQLModel, table=True):
    """A faction of NPCs."""

    __tablename__ = "factions"

    faction_id: int = Field(primary_key=True, sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)


class NpcCorporationRow(SQLModel, table=True):
    """A corporation of NPCs; `corporations` has the players'."""

    __tablename__ = "npc_corporations"

    corporation_id: int = Field(primary_key=True, sa_type=BigInteger)
    faction_id: int | None = Field(default=None, sa_type=BigInteger)
    name: str | None = Field(default=None, sa_type=Text)
    ticker: str | None = Field(default=None, sa_type=Text)
