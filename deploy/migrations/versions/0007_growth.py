"""Views with deltas and growth of alliances and corporations over 1, 7 and 30 days."""

from alembic import op

revision = "0007"
down_revision = "0006"

STOCKS = ("members", "corporations")
COUNTS = ("kills", "losses", "ships_destroyed", "ships_lost")
ISK = ("isk_destroyed", "isk_lost")


def upgrade() -> None:
    """Create the views."""
    is_postgresql = op.get_bind().dialect.name == "postgresql"
    op.execute(PERIODS_POSTGRESQL if is_postgresql else PERIODS_SQLITE)
    op.execute(_growth("alliance", STOCKS))
    op.execute(_growth("corporation", STOCKS[:1]))


DAYS = """
    SELECT min(day) AS first_day, max(day) AS last_day FROM (
        SELECT min(day) AS day FROM alliance_snapshots
        UNION ALL SELECT max(day) FROM alliance_snapshots
        UNION ALL SELECT min(day) FROM corporation_snapshots
        UNION ALL SELECT max(day) FROM corporation_snapshots
        UNION ALL SELECT {today}
    ) AS known
"""

PERIODS_POSTGRESQL = f"""
CREATE VIEW growth_periods AS
SELECT day, days, day - days AS former_day, day - 2 * days AS former_start
FROM (
    SELECT first_day + n AS day
    FROM ({DAYS.format(today="(now() AT TIME ZONE 'UTC')::date")}) AS bounds
    CROSS JOIN generate_series(0, last_day - first_day) AS n
) AS calendar
CROSS JOIN (VALUES (1), (7), (30)) AS periods (days)
"""

PERIODS_SQLITE = f"""
CREATE VIEW growth_periods AS
WITH RECURSIVE
    bounds AS ({DAYS.format(today="date('now')")}),
    calendar (day) AS (
        SELECT first_day FROM bounds
        UNION ALL
        SELECT date(day, '+1 day') FROM calendar, bounds WHERE day < last_day
    ),
    periods (days) AS (VALUES (1), (7), (30))
SELECT
    day,
    days,
    date(day, (-days) || ' days') AS former_day,
    date(day, (-2 * days) || ' days') AS former_start
FROM calendar CROSS JOIN periods
"""


def _growth(entity: str, stocks: tuple[str, ...]) -> str:
    of_period = [
        *(_of_day(name) for name in stocks),
        *(_of_days(name, "BIGINT") for name in COUNTS),
        *(_of_days(name, "DOUBLE PRECISION") for name in ISK),
    ]
    changes = [_change(name) for name in (*stocks, *COUNTS, *ISK)]
    return f"""
CREATE VIEW {entity}_growth AS
SELECT
    {entity}_id,
    day,
    days,
    {_joined(changes)}
FROM (
    SELECT
        {entity}_id,
        period.day,
        days,
        {_joined(of_period)}
    FROM growth_periods AS period
    JOIN {entity}_snapshots AS snapshot
        ON snapshot.day > former_start AND snapshot.day <= period.day
    GROUP BY {entity}_id, period.day, days
) AS compared
"""


def _joined(columns: list[str]) -> str:
    return ",\n".join(columns)


def _of_day(name: str) -> str:
    return f"""
max({name}) FILTER (WHERE snapshot.day = period.day) AS {name},
max({name}) FILTER (WHERE snapshot.day = former_day) AS former_{name}"""


def _of_days(name: str, kind: str) -> str:
    total = f"CAST(coalesce(sum({name}) FILTER (WHERE snapshot.day"
    return f"""
{total} > former_day), 0) AS {kind}) AS {name},
{total} <= former_day), 0) AS {kind}) AS former_{name}"""


def _change(name: str) -> str:
    delta = f"{name} - former_{name}"
    return f"""
{name},
{delta} AS {name}_delta,
CAST({delta} AS DOUBLE PRECISION) / nullif(former_{name}, 0) AS {name}_growth"""
