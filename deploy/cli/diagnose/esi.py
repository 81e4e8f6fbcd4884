"""ESI, step by step."""

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
from deploy.cli.diagnose.finding import PATIENCE_S, Failed, Finding, attempt, said_ms
from deploy.cli.diagnose.upstream import ask, upstream_advice

NAME: Final = f"{PREFIX}ESI_URL"
JITA: Final = 30_000_142
HEADERS: Final = {"X-Compatibility-Date": COMPATIBILITY_DATE}
NOT_ESI: Final = f"{NAME} doesn't lead to ESI: https://esi.evetech.net is CCP's"


async def esi_steps(settings: Settings) -> AsyncIterator[Finding]:
    """Try ESI: environment, the game server, a name, a killmail that is stored here.

    Ends with the first step that fails; three requests.
    """
    yield Finding("environment", f"{NAME}={masked(settings.esi_url)}")

    def advice(error: Exception) -> str:
        return upstream_advice(NAME, settings.esi_url, error)

    for step, trying in (
        ("game server", _ask_status),
        ("names", _ask_name),
        ("killmail", _ask_killmail),
    ):
        finding = await attempt(step, trying(settings), advice)
        yield finding
        if finding.advice:
            return


async def _ask_status(settings: Settings) -> str:
    began_s = asyncio.get_running_loop().time()
    body, _ = await ask(settings, "GET", f"{settings.esi_url}/status", NOT_ESI, headers=HEADERS)
    status = _json(body)
    if not isinstance(status, dict) or "players" not in status:
        raise Failed("the answer isn't ESI's", NOT_ESI)
    return f"{said_ms(began_s)}, {status['players']:,} players"


async def _ask_name(settings: Settings) -> str:
    began_s = asyncio.get_running_loop().time()
    url = f"{settings.esi_url}/universe/names"
    body, _ = await ask(settings, "POST", url, NOT_ESI, headers=HEADERS, json=[JITA])
    names = _json(body)
    if not (isinstance(names, list) and names and names[0].get("id") == JITA):
        raise Failed("the answer isn't ESI's", NOT_ESI)
    return f"{said_ms(began_s)}, {JITA} is {names[0].get('name')}"


async def _ask_killmail(settings: Settings) -> str:
    stored = await _stored_here(settings)
    if stored is None:
        return "none is stored here to ask for"
    killmail_id, hashed = stored
    began_s = asyncio.get_running_loop().time()
    url = f"{settings.esi_url}/killmails/{killmail_id}/{hashed}"
    refused = "ESI refuses a killmail that it gave before: it is overloaded; try again later"
    body, headers = await ask(settings, "GET", url, refused, headers=HEADERS)
    if killmail_hash(parse_killmail(body)) != hashed:
        raise Failed("the answer is another killmail", NOT_ESI)
    left = headers.get("X-Ratelimit-Remaining")
    return f"{said_ms(began_s)}, {killmail_id}" + (f", {left} tokens are left" if left else "")


async def _stored_here(settings: Settings) -> tuple[int, str] | None:
    """Give the newest killmail of the database; None without one, or without a database."""
    if not settings.database_url and not (settings.data_dir / "killstream.db").exists():
        return None
    newest = select(KILLMAILS.c.killmail_id, KILLMAILS.c.killmail_hash).order_by(
        KILLMAILS.c.killmail_time.desc()
    )
    try:
        async with (
            asyncio.timeout(PATIENCE_S),
            open_database(settings, "diagnose") as database,
            reading(database) as connection,
        ):
            row = (await connection.execute(newest.limit(1))).first()
    except Exception:  # `diagnose postgres` says what is wrong with it
        return None
    return (row.killmail_id, row.killmail_hash) if row else None


def _json(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:
        raise Failed("the answer is no JSON", NOT_ESI) from None
