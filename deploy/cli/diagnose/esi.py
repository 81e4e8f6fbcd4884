"""The steps for ESI."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec
from sqlalchemy import select

from actors.esi.client import COMPATIBILITY_DATE
from actors.shared.database import open_database, reading
from actors.shared.killmail import killmail_hash, parse_killmail
from actors.shared.settings import PREFIX, Settings, masked
from actors.shared.tables import KILLMAILS
from deploy.cli.diagnose.finding import ANSWER_S, Failed, Finding, elapsed_ms, run_step
from deploy.cli.diagnose.upstream import request, upstream_advice

NAME: Final = f"{PREFIX}ESI_URL"
JITA: Final = 30_000_142
HEADERS: Final = {"X-Compatibility-Date": COMPATIBILITY_DATE}
NOT_ESI: Final = f"{NAME} isn't ESI's address: CCP's is https://esi.evetech.net"


async def esi_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Check ESI: environment, the game server's status, a name, a stored killmail.

    Ends with the first step that fails. Sends three requests.
    """
    yield Finding("environment", f"{NAME}={masked(settings.esi_url)}")

    def advice(error: Exception) -> str:
        return upstream_advice(NAME, settings.esi_url, error)

    for step, run in (
        ("game server", _ask_status),
        ("names", _ask_name),
        ("killmail", _ask_killmail),
    ):
        finding = await run_step(step, run(settings), advice)
        yield finding
        if finding.advice:
            return


async def _ask_status(settings: Settings) -> str:
    began_s = asyncio.get_running_loop().time()
    body, _ = await request(settings, "GET", f"{settings.esi_url}/status", NOT_ESI, headers=HEADERS)
    status = _json(body)
    if not isinstance(status, dict) or "players" not in status:
        raise Failed("the answer isn't ESI's", NOT_ESI)
    return f"{elapsed_ms(began_s)}, {status['players']:,} players"


async def _ask_name(settings: Settings) -> str:
    began_s = asyncio.get_running_loop().time()
    url = f"{settings.esi_url}/universe/names"
    body, _ = await request(settings, "POST", url, NOT_ESI, headers=HEADERS, json=[JITA])
    names = _json(body)
    if not (isinstance(names, list) and names and names[0].get("id") == JITA):
        raise Failed("the answer isn't ESI's", NOT_ESI)
    return f"{elapsed_ms(began_s)}, {JITA} is {names[0].get('name')}"


async def _ask_killmail(settings: Settings) -> str:
    stored = await _stored_here(settings)
    if stored is None:
        return "skipped: no killmail is stored here"
    killmail_id, hashed = stored
    began_s = asyncio.get_running_loop().time()
    url = f"{settings.esi_url}/killmails/{killmail_id}/{hashed}"
    refused = "ESI refuses a killmail that it gave before: it is overloaded; try again later"
    body, headers = await request(settings, "GET", url, refused, headers=HEADERS)
    if killmail_hash(parse_killmail(body)) != hashed:
        raise Failed("the answer is another killmail", NOT_ESI)
    left = headers.get("X-Ratelimit-Remaining")
    return f"{elapsed_ms(began_s)}, {killmail_id}" + (f", {left} tokens left" if left else "")


async def _stored_here(settings: Settings) -> tuple[int, str] | None:
    """Return the newest killmail's id and hash; None if none is stored or the database fails."""
    if not settings.database_url and not (settings.data_dir / "killstream.db").exists():
        return None
    newest = select(KILLMAILS.c.killmail_id, KILLMAILS.c.killmail_hash).order_by(
        KILLMAILS.c.killmail_time.desc()
    )
    try:
        async with (
            asyncio.timeout(ANSWER_S),
            open_database(settings, "diagnose") as database,
            reading(database) as connection,
        ):
            row = (await connection.execute(newest.limit(1))).first()
    except Exception:  # `diagnose postgres` reports it
        return None
    return (row.killmail_id, row.killmail_hash) if row else None


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Failed("the answer isn't JSON", NOT_ESI) from None
