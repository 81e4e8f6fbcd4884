"""`killstream users`: the characters that logged in."""

from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console

from deploy.cli.on_database import run_on_database

app = typer.Typer(
    no_args_is_help=True,
    help="""List the characters that logged in, and choose whose killmails come sooner.

    Example: killstream users list --state login_required
    """,
)

CharacterId = Annotated[int, typer.Argument(metavar="CHARACTER_ID", min=1, max=2**63 - 1)]
State = Literal["active", "login_required"]


@app.command("list")
def list_(
    name: Annotated[
        str, typer.Argument(metavar="[NAME]", help="Only names with this text, or this id.")
    ] = "",
    state: Annotated[State | None, typer.Option(help="Only logins in this state.")] = None,
    premium: Annotated[bool, typer.Option("--premium", help="Only premium users.")] = False,
    limit: Annotated[int, typer.Option(min=0, help="Characters to show, by name.")] = 50,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show each character's login and sync: its state, the last and the next sync, and why not.

    The reason is that of a login that has ended, else the error of the last sync. Shows no tokens.

    Example: killstream users list 90000001
    """
    from deploy.cli.user_list import list_users, table

    listing = run_on_database(lambda database: list_users(database, name, state, premium, limit))
    if as_json:
        typer.echo(msgspec.json.encode(listing))
    else:
        Console(highlight=False).print(table(listing))


@app.command()
def premium(
    character_id: CharacterId,
    off: Annotated[bool, typer.Option("--off", help="Make it an ordinary user again.")] = False,
) -> None:
    """Have a character synchronized every 5 minutes, instead of every 15.

    So is the corporation whose killmails its token lists. Takes effect after the next sync. Safe to
    run twice. A character that never logged in is refused with exit code 1.

    Example: killstream users premium 90000001
    """
    from deploy.cli.user_list import set_premium

    name, changed = run_on_database(
        lambda database: set_premium(database, character_id, is_premium=not off)
    )
    what = "an ordinary user" if off else "a premium user"
    typer.echo(f"{name} ({character_id}) {'is now' if changed else 'was already'} {what}")
