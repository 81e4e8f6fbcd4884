"""The gateway on PostgreSQL keeps to the setting's connections, whatever clients do at once."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import update

from actors.shared.pauses import pause
from actors.shared.settings import Settings
from actors.shared.tables import SESSIONS
from api.database import MIN_POOL_SIZE
from deploy.standin.server import Standin
from tests.api.gateway import serve
from tests.api.login.browser import Gateway, Program, program
from tests.support.sessions import most_sessions

pytestmark = pytest.mark.service
READ = "{ me { roles } killmails(first: 1) { nodes { killmailId } } workerStatus { name paused } }"
WRITE = 'mutation { createApiKey(name: "bot") { token } }'


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
async def test_all_that_clients_do_stays_within_the_setting(
    settings: Settings,
    database: Any,
    standin: Standin,
    port: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in ("api.workers.state", "api.health"):
        monkeypatch.setattr(f"{module}.FRESH_S", 0.0)
    monkeypatch.setattr("api.health.INTERVAL_S", 0.05)
    least = settings.model_copy(update={"database_pool_size": MIN_POOL_SIZE})
    await pause(database, ["esi"])
    async with most_sessions(settings) as most, serve(least, port) as address:
        gateway = Gateway(address, least, standin, database)
        async with program(gateway) as client:
            await client.log_in()
            for _ in range(5):
                past = datetime.now(UTC) - timedelta(hours=1)
                async with database.begin() as connection:
                    await connection.execute(update(SESSIONS).values(used_at=past))
                kinds = [READ, WRITE] * 4
                answers = await asyncio.gather(
                    *(client.query(document) for document in kinds),
                    *(health(client) for _ in range(4)),
                )
                for answer in answers[:8:2]:
                    status = answer["data"]["workerStatus"]
                    assert [one["name"] for one in status if one["paused"]] == ["esi"]
                for answer in answers[1:8:2]:
                    assert answer["data"]["createApiKey"]["token"]
                assert answers[8:] == [200] * 4
    ours = [name for name in most[0] if name in ("killstream/api", "killstream/health")]
    assert "killstream/health" in ours
    assert len(ours) <= MIN_POOL_SIZE


async def health(client: Program) -> int:
    async with client.http.get(f"{client.gateway.address}/health/ready") as answer:
        return answer.status
