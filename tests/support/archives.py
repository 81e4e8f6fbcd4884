"""EVE Ref's archives of any killmails, in a folder, and a server of them."""

from collections import defaultdict
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path
from random import Random

import msgspec
from aiohttp import web

from actors.shared.killmail import killmail_hash, parse_killmail
from deploy.standin.everef import pack
from deploy.standin.synthetic import make_killmail

FIRST_ID = 20_000_000
ADDED = b',"killmail_hash":"%b","http_last_modified":"2026-01-01T00:00:00Z"}'


def made_up(counts: Mapping[date, int]) -> Iterator[bytes]:
    """Make up so many killmails of each day, in the order of days and ids."""
    killmail_id = FIRST_ID
    for day, count in sorted(counts.items()):
        for number in range(count):
            killed_at = datetime.combine(day, time(), UTC) + timedelta(days=number / count)
            made = make_killmail(Random(killmail_id), killmail_id, killed_at)
            yield msgspec.json.encode(made)
            killmail_id += 2


def write_archives(folder: Path, bodies: Iterable[bytes]) -> dict[date, int]:
    """Write the archives of all days; return the number of killmails of each."""
    days: dict[date, list[tuple[str, bytes]]] = defaultdict(list)
    for body in bodies:
        killmail = parse_killmail(body)
        added = ADDED % killmail_hash(killmail).encode()
        file = f"killmails/{killmail.killmail_id}.json", body[:-1] + added
        days[killmail.killmail_time.astimezone(UTC).date()].append(file)
    for day, files in days.items():
        (folder / f"killmails-{day}.tar.bz2").write_bytes(pack(files))
    return {day: len(files) for day, files in days.items()}


@asynccontextmanager
async def serving_archives(folder: Path, totals: Mapping[date, int]) -> AsyncIterator[str]:
    """Serve archives and totals; give the URL."""

    async def archive(request: web.Request) -> web.FileResponse:
        return web.FileResponse(folder / request.match_info["name"])

    async def counted(_: web.Request) -> web.Response:
        return web.json_response({f"{day:%Y%m%d}": count for day, count in totals.items()})

    app = web.Application()
    app.router.add_get("/killmails/totals.json", counted)
    app.router.add_get("/killmails/{year}/{name}", archive)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()
