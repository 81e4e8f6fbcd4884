"""`killstream settings`: list all settings with value and origin."""

from typing import Annotated, Any

import msgspec
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from actors.shared.settings import PREFIX, Settings, environment, masked
from deploy.cli.process import configure


def settings(
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """List all settings with their values, and whether each is from the environment or a default.

    Passwords are masked. If a setting is wrong, prints the error instead and ends with exit code 2.

    Example: killstream settings --json | jq .KILLSTREAM_SOURCE
    """
    listed = list_settings(configure())
    if as_json:
        typer.echo(msgspec.json.encode(listed))
        return
    table = Table(show_header=True)
    for column in ("setting", "value", "from"):
        table.add_column(column, overflow="fold")
    for name, one in listed.items():
        table.add_row(
            Text(name), Text(_text(one["value"])), Text(one["from"], _STYLES[one["from"]])
        )
    Console(highlight=False).print(table)


_STYLES = {"environment": "bold", "default": "dim"}


def list_settings(settings: Settings) -> dict[str, dict[str, Any]]:
    """Return value and origin of each setting by its variable; passwords are masked."""
    is_set = environment()
    return {
        PREFIX + name.upper(): {
            "value": _shown(getattr(settings, name)),
            "from": "environment" if name in is_set else "default",
        }
        for name in Settings.model_fields
    }


def _shown(value: object) -> object:
    if isinstance(value, SecretStr):
        return "***" if value.get_secret_value() else ""
    return value if isinstance(value, bool | int | float) else masked(str(value))


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
