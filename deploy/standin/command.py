"""The command of the stand-in: its options, and what each is good for."""

import asyncio
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from actors.shared.errors import Misconfigured
from deploy.standin.faults import Faults, changed
from deploy.standin.server import StandinOptions, run_standin

_DATASET = "What is played"
_SERVE = "Where and how"
_R2Z2 = "R2Z2's faults"
_REDISQ = "RedisQ's faults"
_ESI = "ESI's faults"


def standin(
    killmails: Annotated[
        Path | None,
        typer.Option(
            help="Play this file: ESI bodies, one a line, plain or .gz.", rich_help_panel=_DATASET
        ),
    ] = None,
    hashes: Annotated[
        Path | None,
        typer.Option(
            help="CSV with killmail_id and hash; else hashes are computed.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    zkb: Annotated[
        Path | None,
        typer.Option(
            help='Lines of {"killID","zkb"}; what is missing is made up.', rich_help_panel=_DATASET
        ),
    ] = None,
    universe: Annotated[
        Path | None,
        typer.Option(
            help="Folder of tables with real names; else names are made up.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    synthetic: Annotated[
        bool,
        typer.Option(
            "--synthetic",
            help="Make killmails up (the default without --killmails).",
            rich_help_panel=_DATASET,
        ),
    ] = False,
    count: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many to make up; without it there is no end, one a second.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(
            help="The same seed gives the same dataset and faults.", rich_help_panel=_DATASET
        ),
    ] = 1,
    begin: Annotated[
        str | None,
        typer.Option(
            help="When the made-up kills begin: 'now' or ISO 8601; else 2026-01-01.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    rate: Annotated[
        float | None,
        typer.Option(
            min=0.001,
            help="Killmails released per second (EVE makes 0.25); else all are out at once.",
            rich_help_panel=_DATASET,
        ),
    ] = None,
    first_sequence: Annotated[
        int, typer.Option(min=0, help="R2Z2's first number.", rich_help_panel=_DATASET)
    ] = 96_000_000,
    host: Annotated[
        str, typer.Option(help="Address to listen on.", rich_help_panel=_SERVE)
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port to listen on; 0 takes a free one.", rich_help_panel=_SERVE)
    ] = 4400,
    limits: Annotated[
        bool,
        typer.Option(
            help="Hold the rate limits: R2Z2 15/s, RedisQ 2/s, ESI 3600 tokens per 15 min.",
            rich_help_panel=_SERVE,
        ),
    ] = True,
    ban: Annotated[
        float,
        typer.Option(
            help="Seconds that R2Z2 refuses everything after its limit was broken.",
            rich_help_panel=_SERVE,
        ),
    ] = 3_600,
    r2z2_from_start: Annotated[
        bool,
        typer.Option(
            help="Let sequence.json name the first number at first; the real one names the tip.",
            rich_help_panel=_R2Z2,
        ),
    ] = True,
    r2z2_latency_ms: Annotated[
        int, typer.Option(help="Hold back each answer.", rich_help_panel=_R2Z2)
    ] = 0,
    r2z2_status: Annotated[
        int | None,
        typer.Option(help="Answer everything with 403, 429 or 503.", rich_help_panel=_R2Z2),
    ] = None,
    hole_rate: Annotated[
        float, typer.Option(help="Fraction of numbers that stay 404.", rich_help_panel=_R2Z2)
    ] = 0,
    null_rate: Annotated[
        float,
        typer.Option(help="Fraction that are placeholders with null ids.", rich_help_panel=_R2Z2),
    ] = 0,
    html_rate: Annotated[
        float,
        typer.Option(
            help="Fraction that answer HTML with status 200 at first.", rich_help_panel=_R2Z2
        ),
    ] = 0,
    duplicate_rate: Annotated[
        float,
        typer.Option(help="Fraction that repeat an earlier killmail.", rich_help_panel=_R2Z2),
    ] = 0,
    rewrite_rate: Annotated[
        float,
        typer.Option(
            help="Fraction that say an older file was rewritten (sequence_updated).",
            rich_help_panel=_R2Z2,
        ),
    ] = 0,
    shuffle: Annotated[
        int,
        typer.Option(
            help="Draw each killmail from the next N of the dataset.", rich_help_panel=_R2Z2
        ),
    ] = 0,
    redisq_from_start: Annotated[
        bool,
        typer.Option(
            help="Give a new queue the whole dataset; the real one only what comes after.",
            rich_help_panel=_REDISQ,
        ),
    ] = True,
    redisq_embedded: Annotated[
        bool,
        typer.Option(
            "--redisq-embedded",
            help="Embed the killmail, as until 2025-12-01.",
            rich_help_panel=_REDISQ,
        ),
    ] = False,
    redisq_delay: Annotated[
        bool,
        typer.Option(
            "--redisq-delay",
            help="Wait 0.5 to 1.5 s before each package.",
            rich_help_panel=_REDISQ,
        ),
    ] = False,
    redisq_status: Annotated[
        int | None, typer.Option(help="Answer everything with 503.", rich_help_panel=_REDISQ)
    ] = None,
    redisq_sunset: Annotated[
        bool,
        typer.Option(
            "--redisq-sunset",
            help="Answer with the 403 of the retired service.",
            rich_help_panel=_REDISQ,
        ),
    ] = False,
    esi_latency_ms: Annotated[
        int, typer.Option(help="Hold back each answer.", rich_help_panel=_ESI)
    ] = 0,
    esi_error_rate: Annotated[
        float, typer.Option(help="Fraction of answers that fail.", rich_help_panel=_ESI)
    ] = 0,
    esi_fail_next: Annotated[
        int, typer.Option(help="How many of the next answers fail.", rich_help_panel=_ESI)
    ] = 0,
    esi_error_status: Annotated[
        int, typer.Option(help="What a failing answer says.", rich_help_panel=_ESI)
    ] = 502,
    tranquility_down: Annotated[
        bool,
        typer.Option(
            "--tranquility-down", help="The game server is down: 504.", rich_help_panel=_ESI
        ),
    ] = False,
    unknown_id: Annotated[
        list[int] | None,
        typer.Option(help="An id that /universe/names refuses; repeatable.", rich_help_panel=_ESI),
    ] = None,
) -> None:
    """Serve R2Z2, RedisQ and ESI on one port, from a file or made up.

    Point KILLSTREAM_R2Z2_URL, KILLSTREAM_REDISQ_URL and KILLSTREAM_ESI_URL at its address. While
    it runs, GET /standin/stats counts what was asked of it, and PUT /standin/faults changes the
    faults: curl -X PUT -d '{"hole_rate": 0.05}' http://127.0.0.1:4400/standin/faults
    """
    given = locals()
    try:
        if synthetic and killmails:
            raise Misconfigured("choose one: --killmails FILE or --synthetic")
        names = Faults.__struct_fields__
        faults = changed(Faults(), {name: given[name] for name in names if name in given})
        faults = changed(faults, {"unknown_ids": unknown_id or []})
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
            first_sequence=first_sequence,
            limits=limits,
            r2z2_ban_s=ban,
            faults=faults,
        )
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run_standin(options))
    except (Misconfigured, OSError) as error:
        typer.echo(f"killstream standin: {error}", err=True)
        raise typer.Exit(2) from None


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
