"""The command of the stand-in, with its options."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer

from actors.shared.errors import Misconfigured
from deploy.standin.fault_options import faults_of, with_fault_options
from deploy.standin.playback import Window
from deploy.standin.server import StandinOptions, run_standin
from deploy.standin.sso.applications import DEVELOPMENT, Application

_DATASET = "Dataset"
_SERVE = "Server"


@with_fault_options
def standin(
    killmails: Annotated[
        Path | None,
        typer.Option(
            help="Serve this file: ESI bodies, one per line, plain or .gz.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    hashes: Annotated[
        Path | None,
        typer.Option(
            help="CSV with killmail_id and hash; without it hashes are computed.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    zkb: Annotated[
        Path | None,
        typer.Option(
            help='Lines of {"killID","zkb"}; missing blocks are made up.', rich_help_panel=_DATASET
        ),
    ] = None,
    universe: Annotated[
        Path | None,
        typer.Option(
            help="Folder of tables with real names; without it names are made up.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    synthetic: Annotated[
        bool,
        typer.Option(
            "--synthetic",
            help="Make up killmails (the default without --killmails).",
            rich_help_panel=_DATASET,
        ),
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="Number of killmails to make up; without it an endless dataset, one per second.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(help="Seed of the dataset and the faults.", rich_help_panel=_DATASET),
    ] = 1,
    begin: Annotated[
        str | None,
        typer.Option(
            help="Time of the first made-up kill: 'now' or ISO 8601; default 2026-01-01.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Killmails released per second (EVE has 0.25); without it all at once.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    released_before_s: Annotated[
        float,
        typer.Option(
            min=0,
            help="How long before the start the first number was released; files expire after a "
            "day.",
            rich_help_panel=_DATASET,
        ),
    ] = 0,
    first_sequence: Annotated[
        int, typer.Option(min=0, help="R2Z2's first number.", rich_help_panel=_DATASET)
    ] = 96_000_000,
    host: Annotated[
        str, typer.Option(help="Address to listen on.", rich_help_panel=_SERVE)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 chooses a free one.", rich_help_panel=_SERVE)
    ] = 4400,
    ban: Annotated[
        float,
        typer.Option(
            help="Seconds for which R2Z2 refuses all requests after its limit was exceeded.",
            rich_help_panel=_SERVE,
        ),
    ] = 3_600,
    sso_application: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JSON",
            help="An application of the SSO; repeatable; in place of killstream-dev with the "
            "secret killstream-dev-secret and the callback http://127.0.0.1:4000/auth/callback: "
            '{"client_id": "mine", "secret": "s", "callbacks": ["http://127.0.0.1/callback"]}.',
            rich_help_panel=_SERVE,
        ),
    ] = None,
    sso_url: Annotated[
        str | None,
        typer.Option(
            help="Where browsers and the gateway reach the SSO, when not where it is asked.",
            rich_help_panel=_SERVE,
        ),
    ] = None,
    esi_window: Annotated[
        float,
        typer.Option(
            min=1,
            help="Seconds until ESI's tokens come back; 15 minutes in truth.",
            rich_help_panel=_SERVE,
        ),
    ] = 900,
    recent_days: Annotated[
        int,
        typer.Option(
            min=1,
            help="How far back recent killmails go: from now, or from the newest that is out when "
            "all are older.",
            rich_help_panel=_SERVE,
        ),
    ] = 90,
    recent_page_size: Annotated[
        int,
        typer.Option(min=1, help="Recent killmails on one page.", rich_help_panel=_SERVE),
    ] = 1_000,
    recent_cache: Annotated[
        float,
        typer.Option(
            min=0,
            help="Seconds that ESI keeps a list of recent killmails.",
            rich_help_panel=_SERVE,
        ),
    ] = 300,
    window: Annotated[
        list[str] | None,
        typer.Option(
            metavar="JSON",
            help="Temporary faults; repeatable: "
            '{"faults": {"esi_wrong": ["html"]}, "from_s": 30, "for_s": 120}.',
            rich_help_panel=_SERVE,
        ),
    ] = None,
    **faults: Any,
) -> None:
    """Serve R2Z2, RedisQ, ESI, EVE's SSO, zKillboard's API and CCP's static data on one port.

    The killmails are from a file, or made up.

    Point KILLSTREAM_R2Z2_URL, KILLSTREAM_REDISQ_URL, KILLSTREAM_ESI_URL, KILLSTREAM_SSO_URL and
    KILLSTREAM_ZKILLBOARD_URL at its address, and KILLSTREAM_SDE_URL at
    /static-data/eve-online-static-data-latest-jsonl.zip there. While it runs, GET /standin/stats
    counts what was asked of it, and PUT /standin/faults changes the faults, with ?for_s=120 for a
    while:
    curl -X PUT -d '{"hole_rate": 0.05}' http://127.0.0.1:4400/standin/faults

    GET /standin/characters lists who can log in; a program that adds &character_id=ID (or &deny=1)
    to the SSO's address needs no page. GET /standin/sso/grants counts the tokens of each
    character, DELETE /standin/sso/grants/ID takes back what it granted.
    """
    try:
        if synthetic and killmails:
            raise Misconfigured("choose one: --killmails FILE or --synthetic")
        options = StandinOptions(
            host=host,
            port=port,
            killmails=killmails,
            hashes=hashes,
            zkb=zkb,
            universe=universe,
            synthetic=count,
            begins_at=_begins_at(begin),
            seed=seed,
            rate_per_s=rate,
            released_before_s=released_before_s,
            first_sequence=first_sequence,
            r2z2_ban_s=ban,
            esi_window_s=esi_window,
            recent_days=recent_days,
            recent_page_size=recent_page_size,
            recent_cache_s=recent_cache,
            faults=faults_of(faults),
            windows=tuple(_window(given) for given in window or ()),
            applications=tuple(map(_application, sso_application or ())) or (DEVELOPMENT,),
            sso_url=sso_url and sso_url.rstrip("/"),
        )
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run_standin(options))
    except (Misconfigured, OSError) as error:
        typer.echo(f"killstream standin: {error}", err=True)
        raise typer.Exit(2) from None


def _window(given: str) -> Window:
    try:
        return msgspec.json.decode(given, type=Window)
    except msgspec.DecodeError as error:
        raise Misconfigured(f"--window {given}: {error}") from None


def _application(given: str) -> Application:
    try:
        return msgspec.json.decode(given, type=Application)
    except msgspec.DecodeError as error:
        raise Misconfigured(f"--sso-application {given}: {error}") from None


def _begins_at(given: str | None) -> datetime | None:
    if given is None:
        return None
    if given == "now":
        return datetime.now(UTC)
    try:
        begins_at = datetime.fromisoformat(given)
    except ValueError:
        raise Misconfigured(f"--begin takes 'now' or ISO 8601, not {given!r}") from None
    return begins_at if begins_at.tzinfo else begins_at.replace(tzinfo=UTC)


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32":
        return None
    import uvloop

    return uvloop.new_event_loop
