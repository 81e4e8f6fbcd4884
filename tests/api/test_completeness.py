"""`completeness`: days as audits found them, of a bounded range."""

from datetime import UTC, date, datetime

import aiohttp
import pytest

from actors.shared.tables import COMPLETENESS_DAYS
from tests.api.gateway import Writer, query

DOCUMENT = """
query ($from: String!, $to: String!) {
  completeness(from: $from, to: $to) {
    day state upstreamTotal have missing hashDiffers repaired unobtainable checkedAt
  }
}
"""


async def test_audited_days_are_told(client: aiohttp.ClientSession, writer: Writer) -> None:
    at = datetime(2026, 2, 1, 6, tzinfo=UTC)
    row = {
        "upstream_total": 10, "have": 8, "missing": 2, "hash_differs": 1, "repaired": 3,
        "state": "repairing", "checked_at": at, "next_check_at": at,
    }  # fmt: skip
    async with writer.database.begin() as connection:
        for number in (1, 2, 3):
            values = row | {"day": date(2026, 1, number)}
            await connection.execute(COMPLETENESS_DAYS.insert().values(values))
    answer = await query(client, DOCUMENT, **{"from": "2026-01-02", "to": "2026-12-31"})
    days = answer["data"]["completeness"]
    assert [day["day"] for day in days] == ["2026-01-02", "2026-01-03"]
    assert days[0] == {
        "day": "2026-01-02", "state": "repairing", "upstreamTotal": 10, "have": 8, "missing": 2,
        "hashDiffers": 1, "repaired": 3, "unobtainable": 0, "checkedAt": "2026-02-01T06:00:00Z",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("first", "last"),
    [("2026-01-01", "2027-02-05"), ("2026-01-02", "2026-01-01"), ("x", "2026-01-01")],
)
async def test_a_wrong_range_is_refused(
    client: aiohttp.ClientSession, first: str, last: str
) -> None:
    answer = await query(client, DOCUMENT, **{"from": first, "to": last})
    assert answer["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"
