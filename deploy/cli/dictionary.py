"""`killstream dictionary`: the dictionaries that bodies are compressed with."""

import json
from typing import TYPE_CHECKING, Annotated

import typer

from deploy.cli.on_database import run_on_database

if TYPE_CHECKING:
    from actors.killmails.dictionary import Listed

app = typer.Typer(
    no_args_is_help=True,
    help="""Show and train the dictionaries that stored bodies are compressed with.

    Running processes train the first one by themselves, from the first 20,000 killmails.

    Example: killstream dictionary list
    """,
)


@app.command()
def train() -> None:
    """Train a new dictionary from stored killmails, and print what it gains.

    Takes some seconds and 200 MB. What is stored from now on uses it; running processes
    recompress the rest where that saves a tenth, in the background. Older dictionaries stay, as
    long as bodies may need them.

    Example: killstream dictionary train
    """
    from actors.killmails.dictionary import train as train_on

    trained = run_on_database(train_on)
    if trained is None:
        typer.echo("another process has trained one meanwhile")
        return
    typer.echo(
        f"version {trained.version}, from {trained.killmails:,} killmails: others take"
        f" {trained.bytes_after:,.0f} bytes each with it, {trained.bytes_before:,.0f} without any"
    )


@app.command(name="list")
def list_(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON list.")] = False,
) -> None:
    """List the dictionaries, the newest first, and how far bodies were recompressed with it.

    Example: killstream dictionary list --json
    """
    from actors.killmails.dictionary import list_dictionaries

    found = run_on_database(list_dictionaries)
    if as_json:
        typer.echo(json.dumps([one._asdict() for one in found], default=str))
    else:
        _print(found)


def _print(found: "list[Listed]") -> None:
    if not found:
        typer.echo("none yet: the first is trained when 20,000 killmails are stored")
    for one in found:
        typer.echo(
            f"version {one.version}  id {one.dictionary_id}  {one.created_at:%Y-%m-%d %H:%M}"
            f"  {one.bytes:,} bytes, from {one.killmails:,} killmails{_progress(one, found[0])}"
        )


def _progress(one: "Listed", newest: "Listed") -> str:
    if one is not newest or one.recompressed_to is None:
        return ""
    return f", recompressed up to killmail {max(one.recompressed_to, 0)}"
