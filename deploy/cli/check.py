"""`killstream check`: compare what is derived from bodies with them, and repair it."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.on_database import run_on_database

if TYPE_CHECKING:
    from actors.killmails.check.run import Outcome

DIFFERS = {
    "postings": "listed wrongly, so that filters miss them or find them falsely",
    "columns": "columns that don't follow from body and zkb block",
    "attackers": "rows of attackers that don't follow from the body",
    "days": "outside the bounds of their day",
    "unreadable": "a stored body that can't be read",
}


def check(
    every: Annotated[
        bool, typer.Option("--all", help="Check all killmails. Implied by --repair.")
    ] = False,
    sample: Annotated[
        int,
        typer.Option(min=1, help="Otherwise check so many, chosen at random."),
    ] = 1_000,
    repair: Annotated[
        bool, typer.Option("--repair", help="Derive anew what differs, of all killmails.")
    ] = False,
    restart: Annotated[
        bool,
        typer.Option("--restart", help="Repair from the start what an interrupted run has done."),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Compare the index, the columns and the attackers of killmails with their bodies.

    Bodies and zkb blocks are the truth; all else is derived from them. Run it with --repair after
    an upgrade that says so: until then filters may miss older killmails, and answers have
    `complete: false`. Safe beside running processes, and safe to interrupt: run it again, and it
    goes on where it was.

    Exit code 1 when something differs and wasn't repaired.

    Example: killstream check --repair
    """
    from actors.killmails.check.run import check_sample
    from deploy.cli.check_progress import check_with_progress

    if restart and not repair:
        raise typer.BadParameter("--restart is for --repair")
    if every or repair:
        outcome = run_on_database(
            lambda database: check_with_progress(database, mend=repair, restart=restart)
        )
    else:
        outcome = run_on_database(lambda database: check_sample(database, sample))
    if as_json:
        counts = {"killmails": outcome.killmails, **outcome.differing, "repaired": outcome.mended}
        counts["skipped_blocks"] = outcome.skipped_blocks
        typer.echo(json.dumps(counts))
    else:
        _print(outcome)
    if outcome.remaining:
        raise typer.Exit(1)


def _print(outcome: "Outcome") -> None:
    typer.echo(f"{outcome.killmails:,} killmails were checked")
    if outcome.skipped_blocks:
        typer.echo(
            f"{outcome.skipped_blocks:,} blocks of 65,536 ids were skipped: a repair that"
            " didn't end, or the actors after static data was loaded, had done them;"
            " --restart checks them, too"
        )
    for name, meaning in DIFFERS.items():
        if count := outcome.differing[name]:
            done = ", repaired" if outcome.mended and name != "unreadable" else ""
            typer.echo(f"{count:>12,}  {meaning}{done}")
    if not outcome.differing.total():
        typer.echo("nothing differs")
    elif not outcome.mended:
        typer.echo("repair with: killstream check --repair")
