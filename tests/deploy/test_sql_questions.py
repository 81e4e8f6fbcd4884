"""The operator's questions in SQL that `deploy/README.md` gives are answered right."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import insert, text, update
from sqlalchemy.ext.asyncio import AsyncEngine

from actors.killmails.persist import read, store
from actors.shared.reference import encode_reference
from actors.shared.tables import KILLMAILS, USERS
from tests.support.made import a_body, a_reference, many_attackers
from tests.support.users import a_user

pytestmark = pytest.mark.service
GUIDE = Path(__file__).resolve().parents[2] / "deploy" / "README.md"


def questions() -> list[str]:
    """Take the statements below the title."""
    after = GUIDE.read_text().partition("**Questions in SQL**")[2]
    block = re.search(r"```sql\n(.*?)```", after, re.DOTALL)
    assert block is not None
    return [one.strip() for one in block[1].split(";") if one.strip()]


async def test_questions_are_answered(postgresql: AsyncEngine) -> None:
    hour, minute = timedelta(hours=1), timedelta(minutes=1)
    now = datetime.now(UTC)
    users = [
        a_user(id_, last_killmail_sync_at=now - synced_ago, expires_at=now + token_lasts)
        for id_, synced_ago, token_lasts in (
            (1, minute, minute),
            (2, 2 * minute, -minute),
            (3, 2 * hour, -hour),
        )
    ]
    async with postgresql.begin() as connection:
        await connection.execute(insert(USERS), users)
    bodies = [a_body(i, attackers=many_attackers(i)) for i in (1, 2, 3)]
    references = [encode_reference(a_reference(body, i)) for i, body in enumerate(bodies)]
    for reference in references:
        await store(postgresql, *read([reference]))
    async with postgresql.begin() as connection:
        earlier = {"created_at": now - 2 * hour}
        await connection.execute(
            update(KILLMAILS).where(KILLMAILS.c.killmail_id == 1).values(earlier)
        )
        synced, expired, stored, listed = [
            [tuple(row) for row in await connection.execute(text(question))]
            for question in questions()
        ]
    assert (synced, expired, stored) == ([(2,)], [(2,)], [(2,)])
    assert [(row[0], *row[2:]) for row in listed] == [(3, 100, 3), (2, 100, 2)]
